package node

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Bounds on the confirmed arcs.
const (
	maxArcs = 1024
	// maxConfirming bounds how many arcs are being confirmed again at once.
	maxConfirming = 64
)

// Local answers a lookup from memory: from the member's own arc, or from one whose
// owner was confirmed of late; not longer than age ago, if that is not 0. It
// takes no lock, allocates nothing, and returns nil if somebody must be asked. The
// member is not to be modified: it is not copied, which would take as long as all
// the rest but the hash.
func (fd *Finder) Local(id uint64, age time.Duration) *ring.Member {
	switch t, c := fd.recall(id, age); {
	case t != nil:
		return &t.Self
	case c != nil:
		return &c.Owner
	}
	return nil
}

// remembered is Local with all that is known besides.
func (fd *Finder) remembered(id uint64, age time.Duration) (r Result, ok bool) {
	switch t, c := fd.recall(id, age); {
	case t != nil:
		r.Answer = t.Answer(routing.Query{ID: id}, fd.now())
		r.Source = routing.OwnRange
	case c != nil:
		w := c.Word()
		r.Answer = routing.Answer{Verdict: routing.Owned, By: w.By, Owner: c.Owner, Arc: c.Arc, HasArc: true, Age: fd.now() - w.At}
		r.Source = routing.ConfirmedArc
	default:
		return Result{}, false
	}
	return r, true
}

// recall answers from memory, see routing.Recall: by an arc whose owner was confirmed
// not longer than age ago.
func (fd *Finder) recall(id uint64, age time.Duration) (*routing.Table, *routing.Confirmed) {
	t, c := routing.Recall(fd.snap.Load().Table, fd.arcs, id)
	switch {
	case t != nil:
		fd.counters.owned.add(id)
		return t, nil
	case c != nil && c.Holds(fd.now(), age):
		fd.counters.confirmed.add(id)
		return nil, c
	}
	return nil, nil
}

// learn keeps what x answered about an identifier, asked at the time sent. What an
// older member answers, or what is said of one, is never kept, nor what is said of
// one that was rejected: it is an owner on its own word only, in each lookup.
//
// Only the owner's own word answers lookups from then on, since then there is a
// connection to it: if it ends, the owner may have, and the arc is doubted at once.
// Its predecessor's word is a hint whom to ask.
func (fd *Finder) learn(sent time.Duration, x ring.Member, id uint64, a routing.Answer) {
	owner := a.Owner
	if a.Verdict == routing.Mine {
		owner = x
	}
	if a.HasArc && !x.Older() && !owner.Older() && owner != fd.snap.Load().View.Self && !fd.peers.suspicions().Rejected(owner, fd.now()) {
		w := routing.Word{By: x, At: sent - a.Age}
		w.Until = w.At
		if x == owner {
			w.Until += min(a.Lease, fd.life)
		}
		fd.arcs.Confirm(a.Arc, owner, w)
		if x == owner {
			fd.connect(fd.arcs.Len())
			select {
			case fd.learned <- struct{}{}:
			default:
			}
		}
	}
	// Not Find: an arc that is confirmed would count as wanted, and be so for ever.
	if c := fd.arcs.Known(id); c != nil && c.Owner == x && (a.Verdict != routing.Mine || !a.HasArc) {
		fd.arcs.Drop(func(o ring.Member) bool { return o == x }) // it says no
	}
}

// contradict makes the arcs agree with the member's own new view: what it owns
// nobody else does, what lies between it and its head is the head's, and a
// neighbour that is one no longer may have gone.
func (n *Node) contradict(old, v *protocol.View) {
	if v.HasArc {
		if v.Arc.Whole() {
			n.arcs.Drop(func(ring.Member) bool { return true })
		} else {
			n.arcs.Contradict(v.Arc)
		}
	}
	switch h := v.Head(); {
	case h.IsZero() || h.Older():
	case v.Certain < 0:
		if h == old.Head() && old.Certain >= 0 {
			n.doubt(h) // it has named somebody before it
		}
	case h == old.Head() && v.Certain == old.Certain:
		// Nothing has been heard since; what has been lost in the meantime stays lost.
	case !n.peers.suspicions().Avoided(h, n.now()):
		n.arcs.Confirm(ring.Arc{After: v.Self.ID, To: h.ID}, h,
			routing.Word{By: v.Self, At: v.Certain, Until: v.Certain + n.life})
	}
	for _, x := range v.Succ {
		n.arcs.Stands(x)
	}
	if old.Pred != v.Pred && !old.Pred.IsZero() {
		n.doubt(old.Pred)
	}
	for _, x := range old.Succ {
		if !slices.Contains(v.Succ, x) {
			n.doubt(x)
		}
	}
}

// doubt ends the time of what a member is said to own.
func (fd *Finder) doubt(x ring.Member) {
	fd.arcs.Doubt(func(o ring.Member) bool { return o.Life() == x.Life() })
}

// confirmArcs confirms the arcs that lookups use before their time is over.
func (fd *Finder) confirmArcs() {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	pause := max(fd.life/6, time.Millisecond)
	for {
		select {
		case <-fd.learned:
		case <-timer.C:
		case <-fd.ctx.Done():
			timer.Stop()
			return
		}
		due, live := fd.arcs.Due(fd.now(), maxConfirming)
		for _, c := range due {
			c.Asked()
			fd.board(fd.ctx, c.Owner, c.Arc.To)
		}
		if live {
			timer.Reset(pause)
		} else {
			fd.connect(0)
		}
	}
}

// keep sets how many connections are kept that nobody uses.
func (fd *Finder) keep(idle int) {
	fd.boarding.Lock()
	defer fd.boarding.Unlock()
	fd.idle = idle
	fd.tr.Limit(fd.idle + fd.owners)
}

// connect has one more connection kept for every owner whose word is relied on.
// Zero: for none. Else it never makes them fewer.
func (fd *Finder) connect(owners int) {
	fd.boarding.Lock()
	defer fd.boarding.Unlock()
	if owners > fd.owners || owners == 0 && fd.owners > 0 {
		fd.owners = owners
		fd.tr.Limit(fd.idle + fd.owners)
	}
}
