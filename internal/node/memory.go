package node

import (
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Local answers a lookup from memory: from the member's own arc, or from one whose
// owner was confirmed of late; not longer than age ago, if that is not 0. It
// takes no lock, allocates nothing, and returns nil if somebody must be asked. The
// member is not to be modified: it is not copied, which would take as long as all
// the rest but the hash.
func (fd *Finder) Local(id uint64, age time.Duration) *ring.Member {
	fd.useMap()
	m := fd.recall(id, age, true)
	if x := m.owner(); x != nil {
		return x
	}
	if other := fd.acting(); other != fd {
		return other.Local(id, age)
	}
	return nil
}

// recollection is what answers a lookup; zero: nothing does.
type recollection struct {
	own   *routing.Table     // the member's own arc
	claim *ringmap.Claim     // on the map
	as    time.Duration      // the time that the claim is of
	arc   *routing.Confirmed // an arc confirmed of late
}

// owner is whom it names, nil: nobody.
func (m *recollection) owner() *ring.Member {
	switch {
	case m.own != nil:
		return &m.own.Self
	case m.claim != nil:
		return m.claim.Of
	case m.arc != nil:
		return &m.arc.Owner
	}
	return nil
}

// remembered is Local with all that is known besides.
func (fd *Finder) remembered(id uint64, age time.Duration) (r Result, ok bool) {
	switch m := fd.recall(id, age, true); {
	case m.own != nil:
		r.Answer = m.own.Answer(routing.Query{ID: id}, fd.now())
		r.Source = routing.OwnRange
	case m.claim != nil:
		r.Answer = fd.mapAnswer(m.claim, m.as)
		r.Source = routing.RingMap
	case m.arc != nil:
		c := m.arc
		latest := c.Latest()
		r.Answer = routing.Answer{Verdict: routing.Owned, By: latest.By, Owner: c.Owner, Arc: c.Arc, HasArc: true, Epoch: latest.Epoch, Age: fd.now() - latest.At}
		r.Source = routing.ConfirmedArc
	default:
		return Result{}, false
	}
	return r, true
}

// recall answers from memory, see routing.Recall: by the member's own arc, by the map of
// the ring, or by an arc whose owner was confirmed; by what is not older than age, if
// that is not 0. Counts says whether it is a lookup of its own.
func (fd *Finder) recall(id uint64, age time.Duration, counts bool) recollection {
	t := fd.snap.Load().Table
	if t == nil {
		return recollection{}
	}
	if own := fd.ownTable(t, id); own != nil && own.HasArc && own.Arc.Contains(id) {
		if counts {
			fd.counters.owned.add(id)
		}
		return recollection{own: own}
	}
	if c, as := fd.mapLookup(id, age); c != nil {
		if counts {
			fd.counters.mapped.add(id)
		}
		return recollection{claim: c, as: as}
	}
	if _, c := routing.Recall(t, fd.arcs, id); c != nil && c.Holds(fd.now(), age) {
		if counts {
			fd.counters.confirmed.add(id)
		}
		return recollection{arc: c}
	}
	return recollection{}
}

// learn keeps what x answered about an identifier, asked at the time sent.
func (fd *Finder) learn(sent time.Duration, x ring.Member, id uint64, a routing.Answer) {
	fd.named(id, a)
	snap := fd.snap.Load()
	if fd.arcs.Learn(snap.Self, x, id, a, sent, snap.Table, fd.peers.suspicions(), fd.now(), fd.lease) {
		if c := fd.arcs.Known(id); c != nil && fd.confirmed != nil {
			fd.confirmed(c.Owner, c.Arc)
		}
		fd.connect(fd.arcs.Len())
		if fd.watching.Load() {
			return
		}
		select {
		case fd.learned <- struct{}{}:
		default:
		}
	}
}

// reconcile makes the arcs agree with the member's own new view.
func (n *Node) reconcile(old, v *protocol.View) {
	was, is := n.known(old), n.known(v)
	n.arcs.Reconcile(&was, &is, n.peers.suspicions(), n.now(), n.lease)
}

// known is what a table is made of, but for the routes.
func (n *Node) known(v *protocol.View) routing.Known {
	return routing.Known{
		Self: v.Self, Arc: v.Arc, HasArc: v.HasArc, Alone: v.Alone, Pred: v.Pred, Succ: v.Succ,
		Bits: n.cfg.Space.Bits, Full: n.cfg.Successors, Epoch: v.Epoch, Certain: v.Certain, HeadEpoch: v.HeadEpoch, Lease: n.lease,
	}
}

// Owns reports whether the node owns an identifier, and by which epoch. It takes no lock
// and allocates nothing.
func (n *Node) Owns(id uint64) (epoch uint64, ok bool) {
	epoch, _, ok = n.OwnsAfter(id)
	return epoch, ok
}

// OwnsAfter is Owns, and after how many changes of what the node answers for.
func (n *Node) OwnsAfter(id uint64) (epoch, changes uint64, ok bool) {
	n = n.At(id)
	s := n.snap.Load()
	v := s.View
	if !v.Owns(id, time.Duration(n.due.Load()), n.now(), n.cfg.Interval) {
		return 0, 0, false
	}
	return v.Epoch, s.Changes, true
}

// OwnsAll reports whether the node owns all of an arc that ends on its own, and after how many
// changes of what it answers for. Next is closed when its view is another.
func (n *Node) OwnsAll(a ring.Arc) (changes uint64, next <-chan struct{}, ok bool) {
	s := n.snap.Load()
	v := s.View
	ok = v.Owns(a.To, time.Duration(n.due.Load()), n.now(), n.cfg.Interval) && len(a.Minus(v.Arc)) == 0 &&
		(!v.Leased || len(a.Minus(v.Held)) == 0)
	return s.Changes, s.Next, ok
}

// OwnedUntil reports whether the node owns an identifier by a lease, and until when.
func (n *Node) OwnedUntil(id uint64) (until time.Time, ok bool) {
	n = n.At(id)
	v, now := n.snap.Load().View, n.now()
	if !v.Leased || !v.Owns(id, time.Duration(n.due.Load()), now, n.cfg.Interval) {
		return time.Time{}, false
	}
	return n.start.Add(min(v.Until, now+n.cfg.Lease)), true
}

// anySent joins every question that is under way.
func anySent(time.Duration, time.Duration) bool { return true }

// confirmArcs confirms the arcs that lookups use before their time is over.
func (fd *Finder) confirmArcs() {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	pause := routing.ConfirmPause(fd.lease)
	for {
		select {
		case <-fd.learned:
		case <-timer.C:
		case <-fd.ctx.Done():
			timer.Stop()
			return
		}
		fd.watching.Store(false) // what is learned from now on is news
		due, live := fd.arcs.Due(fd.now(), routing.MaxConfirming)
		for _, c := range due {
			c.Asked()
			fd.board(fd.ctx, c.Owner, c.Arc.To, anySent)
		}
		if live {
			timer.Reset(pause)
			fd.watching.Store(true)
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

// keepMore is keep if that are more than before: a ring has grown.
func (fd *Finder) keepMore(idle int) {
	fd.boarding.Lock()
	defer fd.boarding.Unlock()
	if idle > fd.idle {
		fd.idle = idle
		fd.tr.Limit(fd.idle + fd.owners)
	}
}

// connect has one more connection kept for every owner whose confirmation is relied on.
// Zero: for none. Else it never makes them fewer.
func (fd *Finder) connect(owners int) {
	fd.boarding.Lock()
	defer fd.boarding.Unlock()
	if owners > fd.owners || owners == 0 && fd.owners > 0 {
		fd.owners = owners
		fd.tr.Limit(fd.idle + fd.owners)
	}
}
