package node

import (
	"context"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// fingerRounds is in how many rounds one finger is looked up when nothing has
// happened. That is only the safety net, and so costs the same in a ring of any
// size: who joins tells those whose finger it becomes, and a finger to which the
// connection breaks is looked up at once.
const fingerRounds = 4

// fingerPatience is for how many rounds a member that has joined waits for its
// neighbours to settle before it looks its fingers up for the first time: while
// many join at once, what is found is wrong a moment later.
const fingerPatience = 3

// maxFollowers bounds how many members are told of a joiner for one start.
const maxFollowers = 4

// tendFingers looks the fingers up: all of them when the member has joined and
// its neighbours have settled, one in every few rounds from then on, and those
// that may be gone.
func (n *Node) tendFingers() {
	timer := time.NewTimer(n.cfg.Interval)
	defer timer.Stop()
	var version uint64
	joined := false
	for waited := 0; ; {
		select {
		case <-timer.C:
		case <-n.strayed:
			for joined && n.fingerDoubted() && n.tendFinger() {
			}
			continue
		case <-n.ctx.Done():
			return
		}
		timer.Reset(n.cfg.Interval)
		snap := n.Snapshot()
		if snap.Table == nil {
			continue
		}
		waited++
		if joined {
			if waited%fingerRounds == 0 {
				n.tendFinger()
			}
			continue
		}
		settled := snap.View.Version == version
		version = snap.View.Version
		if !settled && waited < fingerPatience {
			continue
		}
		joined = true
		for n.tendFinger() {
		}
		n.announce()
	}
}

// announce tells those members of this one whose finger it has become by joining.
func (n *Node) announce() {
	v := n.Snapshot().View
	if !v.HasArc || v.Arc.Whole() {
		return
	}
	for i := routing.Starts(n.cfg.Space.Bits) - 1; i >= 0; i-- {
		if routing.Reach(i) < n.cfg.Space.Distance(v.Arc.After, v.Arc.To) {
			return // those so near have this member in their successor lists
		}
		at := routing.Followers(i, v.Arc, n.cfg.Space)
		for id, told := n.cfg.Space.Add(at.After, 1), 0; told < maxFollowers; told++ {
			ctx, cancel := context.WithTimeout(n.ctx, peer.MaxTimeout)
			r, err := n.lookup(ctx, id, routing.Options{}, false)
			cancel()
			if err != nil || !at.Contains(r.Owner.ID) || r.Owner.ID == v.Self.ID || r.Owner.Older() {
				break
			}
			n.tellOf(r.Owner)
			id = n.cfg.Space.Add(r.Owner.ID, 1)
			if !at.Contains(id) {
				break
			}
		}
	}
}

// tellOf tells x of this member.
func (n *Node) tellOf(x ring.Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.tell(protocol.Tell{To: x, Request: protocol.Request{Kind: protocol.Introduce, Subject: n.machine.Self()}})
	}
}

// offer makes a member that tells of itself a finger, if it is one.
func (n *Node) offer(x ring.Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed && n.fingers.Offer(x) {
		n.rebuild()
	}
}

// fingerDoubted reports whether a finger may be gone.
func (n *Node) fingerDoubted() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fingers.Doubted()
}

// stray has the finger at an address looked up again. Callers hold mu.
func (n *Node) stray(addr string) {
	if n.fingers.Distrust(addr) {
		select {
		case n.strayed <- struct{}{}:
		default:
		}
	}
}

// covered is the arc that the successor list knows better than any finger.
func (n *Node) covered(v *protocol.View) ring.Arc {
	covered := ring.Arc{After: v.Self.ID, To: v.Self.ID}
	if k := len(v.Succ); k == n.cfg.Successors {
		covered.To = v.Succ[k-1].ID
	}
	return covered
}

// tendFinger looks up the next finger. It reports false at the end of a round
// over all of them.
func (n *Node) tendFinger() bool {
	snap := n.Snapshot()
	if snap.Table == nil || n.ctx.Err() != nil {
		return false
	}
	covered := n.covered(snap.View)
	n.mu.Lock()
	had := len(n.fingers.Distinct())
	i, believed, ok := n.fingers.Next(covered)
	if !ok && had != len(n.fingers.Distinct()) {
		n.rebuild()
	}
	n.mu.Unlock()
	if !ok {
		return false
	}
	owner, arc := n.findFinger(n.fingers.Start(i), believed)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.fingers.Set(i, owner, arc)
	if owner.Name != "" && owner != believed {
		n.stepLocked(protocol.Learned{Members: []ring.Member{owner}}) // to find the ring by, if all else is lost
	}
	n.counters.fingers.Add(1)
	n.rebuild()
	n.keep(n.idleConnections())
	return true
}

// findFinger asks the owner believed in; if that is it no longer, it looks the
// point up.
func (n *Node) findFinger(id uint64, believed ring.Member) (ring.Member, ring.Arc) {
	ctx, cancel := context.WithTimeout(n.ctx, peer.MaxTimeout)
	defer cancel()
	if believed.Name != "" {
		a, err := n.route(ctx, believed, routing.Query{ID: id})
		if err == nil && (a.Verdict == routing.Mine || a.Owner == believed) {
			return believed, a.Arc
		}
	}
	// The member's own table answers for the successor list only; anything
	// farther is asked for, and the owner's own arc wanted.
	r, err := n.lookup(ctx, id, routing.Options{Fresh: true}, false)
	if err != nil || !r.HasArc && !r.Owner.Older() {
		return ring.Member{}, ring.Arc{}
	}
	if !r.HasArc {
		r.Arc = ring.Arc{After: id - 1, To: id}
	}
	return r.Owner, r.Arc
}

// idleConnections is how many connections are kept when nobody uses them:
// enough for the successor list and every finger, seen from both sides.
func (n *Node) idleConnections() int {
	t := n.Snapshot().Table
	if t == nil {
		return n.cfg.Successors
	}
	log := 0
	for s := t.Size(); s > 1; s >>= 1 {
		log++
	}
	return n.cfg.Successors + 2*log
}
