package node

import (
	"context"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// fingerRounds is in how many rounds every finger is looked up once. A member
// that joins is a finger of all who need it after at most so many and one.
const fingerRounds = 3

// fingerPatience is for how many rounds a member that has joined waits for its
// neighbours to settle before it looks its fingers up for the first time: while
// many join at once, what is found is wrong a moment later.
const fingerPatience = 3

// tendFingers looks the fingers up: all of them when the member has joined and
// its neighbours have settled, a part in every round from then on.
func (n *Node) tendFingers() {
	timer := time.NewTimer(n.cfg.Interval)
	defer timer.Stop()
	var version uint64
	for waited := 0; ; {
		select {
		case <-timer.C:
		case <-n.ctx.Done():
			return
		}
		all := false
		if snap := n.Snapshot(); waited <= fingerPatience && snap.Table != nil {
			settled := snap.View.Version == version
			version = snap.View.Version
			if waited++; !settled && waited < fingerPatience {
				timer.Reset(n.cfg.Interval)
				continue
			}
			all, waited = true, fingerPatience+1
		}
		n.mu.Lock()
		steps := (len(n.fingers.Distinct()) + fingerRounds) / fingerRounds
		n.mu.Unlock()
		for all || steps > 0 {
			steps--
			if !n.tendFinger() {
				break
			}
		}
		timer.Reset(n.cfg.Interval)
	}
}

// tendFinger looks up the next finger. It reports false at the end of a round
// over all of them.
func (n *Node) tendFinger() bool {
	snap := n.Snapshot()
	if snap.Table == nil || n.ctx.Err() != nil {
		return false
	}
	covered := ring.Arc{After: snap.View.Self.ID, To: snap.View.Self.ID}
	if k := len(snap.View.Succ); k == n.cfg.Successors {
		covered.To = snap.View.Succ[k-1].ID
	}
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
	n.tr.Limit(n.idleConnections())
	return true
}

// findFinger asks the owner believed in; if that is it no longer, it looks the
// point up.
func (n *Node) findFinger(id uint64, believed ring.Member) (ring.Member, ring.Arc) {
	ctx, cancel := context.WithTimeout(n.ctx, timeoutCeil)
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
