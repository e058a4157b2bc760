package routing

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Bounds on the confirmed arcs that a process keeps.
const (
	// MaxArcs is how many it keeps.
	MaxArcs = 1024
	// MaxConfirming is how many are being confirmed again at once.
	MaxConfirming = 64
)

// ConfirmPause is how long it is between two looks at which arcs are due to be
// confirmed again, by those who keep confirmations for as long as lease.
func ConfirmPause(lease time.Duration) time.Duration { return max(lease/6, time.Millisecond) }

// Learn keeps what x answered about an identifier, to a question sent at the time
// given by the member self, the zero Member for a client. It reports whether that was
// the owner's own confirmation of an arc.
//
// Only the owner's own confirmation answers lookups from then on, since then there is a
// connection to it: if it ends, the owner may have, and the arc is doubted at once. That
// of its predecessor is a hint whom to ask. What a legacy member answers, or what
// is said of one, is never kept, nor what is said of a member that was rejected: it
// counts as an owner only if it confirms that itself, in each lookup.
// What a member of the table t owns is left out of the arc, unless that is suspected.
func (a *Arcs) Learn(self, x ring.Member, id uint64, ans Answer, sent time.Duration, t *Table, s peer.Suspicions, now, lease time.Duration) (confirmed bool) {
	owner := ans.Owner
	if ans.Verdict == Mine {
		owner = x
	}
	if ans.HasArc && !x.Legacy() && !owner.Legacy() && owner != self && !s.Rejected(owner, now) {
		given := Confirmation{By: x, At: sent - ans.Age, Epoch: ans.Epoch}
		given.Until = given.At
		if confirmed = x == owner; confirmed {
			given.Until += min(ans.Lease, lease)
		}
		arc := t.shorten(ans.Arc, owner, func(y ring.Member) bool { return s.Avoided(y, now) })
		a.Confirm(arc, owner, given)
	}
	// Not Find: an arc that is confirmed would count as wanted, and be so for ever.
	if c := a.Known(id); c != nil && c.Owner == x && (ans.Verdict != Mine || !ans.HasArc) {
		a.Drop(func(o ring.Member) bool { return o == x }) // it says no
	}
	return confirmed
}

// Reconcile makes the arcs agree with the member's own new pointers: what it owns
// nobody else does, what lies between it and its head is the head's, and a neighbour
// that is one no longer may have gone.
func (a *Arcs) Reconcile(old, now *Known, s peer.Suspicions, at, lease time.Duration) {
	if now.HasArc {
		if now.Arc.Whole() {
			a.Drop(func(ring.Member) bool { return true })
		} else {
			a.Contradict(now.Arc)
		}
	}
	switch h := now.head(); {
	case h.IsZero() || h.Legacy():
	case now.Certain < 0:
		if h == old.head() && old.Certain >= 0 {
			a.DoubtMember(h) // it has named somebody before it
		}
	case h == old.head() && now.Certain == old.Certain:
		// Nothing has been heard since. What has been lost in the meantime stays lost.
	case !s.Avoided(h, at):
		a.Confirm(ring.Arc{After: now.Self.ID, To: h.ID}, h, Confirmation{By: now.Self, At: now.Certain, Until: now.Certain + lease, Epoch: now.HeadEpoch})
	}
	for _, x := range now.Succ {
		a.NoteMember(x)
	}
	if old.Pred != now.Pred && !old.Pred.IsZero() {
		a.DoubtMember(old.Pred)
	}
	for _, x := range old.Succ {
		if !slices.Contains(now.Succ, x) {
			a.DoubtMember(x)
		}
	}
}

// DoubtMember ends the time of what an incarnation of a member is said to own.
func (a *Arcs) DoubtMember(x ring.Member) {
	a.Doubt(func(o ring.Member) bool { return o.Instance() == x.Instance() })
}

// DoubtAddress ends the time of what whoever is at an address is said to own: the
// connection there broke.
func (a *Arcs) DoubtAddress(addr string) {
	a.Doubt(func(o ring.Member) bool { return o.Addr == addr })
}

// head is the first successor, zero if there is none.
func (k *Known) head() ring.Member {
	if len(k.Succ) == 0 {
		return ring.Member{}
	}
	return k.Succ[0]
}
