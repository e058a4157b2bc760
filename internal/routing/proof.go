package routing

import (
	"math/bits"
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file holds what a process has met itself against what it is told. A member can
// say of any arc that it is its own, or another's, and can name nearer members without
// end. But whoever has answered this process as a member is one, and owns what is between
// the member before it and itself.

// known is whom a search knows by itself, and how far it has relied on others.
type known struct {
	near     []ring.Member // of the table that the search began at
	patience int           // questions in a row that may follow what others name
	asked    int           // such questions since
	asks     []visit
	from     int // the first of asks that count as visited
}

// visit is a question that a search has asked.
type visit struct {
	who     ring.Member
	outcome outcome
}

// outcome is what became of a visit; 0: nothing yet.
type outcome uint8

const (
	spoke outcome = iota + 1 // there was an answer
	mute                     // there was none
)

// detourAfter is how many members a search asks one after another, besides the logarithm
// of the ring's size, before it tries one that it knows by itself.
const detourAfter = 8

// know takes from t whom the search knows by itself.
func (s *Search) know(t *Table) {
	size := maxHops
	if !t.Self.IsZero() {
		size = t.Size()
	}
	s.known.near, s.known.patience, s.known.asked = t.near, detourAfter+bits.Len(uint(size)), 0
}

// visited reports whether x was asked before the latest detour: what it named led nowhere.
func (k *known) visited(x ring.Member) bool {
	n := len(k.asks) - k.asked
	return n > k.from && slices.ContainsFunc(k.asks[k.from:n], func(v visit) bool { return v.who.Instance() == x.Instance() })
}

func (k *known) visit(x ring.Member) {
	k.asks = append(k.asks, visit{who: x})
	k.asked++
}

// last is the last visit to x, nil if there was none.
func (k *known) last(x ring.Member) *visit {
	for i := len(k.asks) - 1; i >= 0; i-- {
		if k.asks[i].who.Instance() == x.Instance() {
			return &k.asks[i]
		}
	}
	return nil
}

// note notes what became of the last visit to x.
func (k *known) note(x ring.Member, o outcome) {
	if v := k.last(x); v != nil {
		v.outcome = o
	}
}

// outcome is what became of the last visit to x.
func (k *known) outcome(x ring.Member) outcome {
	if v := k.last(x); v != nil {
		return v.outcome
	}
	return 0
}

// detour has the search go on at members that it knows by itself, nearest before the
// identifier first, if it has followed what others name for long. It reports whether
// there is one that was not asked yet.
func (s *Search) detour() bool {
	k := &s.known
	if k.asked < k.patience {
		return false
	}
	k.asked = 0
	queue, floor := s.queue, s.floor
	s.queue, s.floor = nil, ring.Member{}
	for _, x := range k.near {
		s.add(x)
	}
	if len(s.queue) == 0 {
		s.queue, s.floor = queue, floor
		return false
	}
	return true
}

// between is a member that was met and stands at the identifier or between it and the
// owner that is claimed, nearest to the identifier: the owner is another if it is there.
// It is zero if there is none, or, as refuted says, if one has answered in this search. One
// that did not answer in it, before it began again too, contradicts nobody. A legacy member
// is not asked: it would hand the question on, which may lead back here.
func (s *Search) between(owner ring.Member) (best ring.Member, refuted bool) {
	if s.opts.Verified {
		return ring.Member{}, false
	}
	for _, x := range s.known.near {
		switch {
		case x.Legacy(), x.ID == owner.ID, !s.stands(x, owner), x.In(s.avoid), s.opts.apart(x):
		case s.known.outcome(x) == mute:
		case s.known.outcome(x) == spoke:
			return ring.Member{}, true
		case best.IsZero() || s.stands(x, best):
			best = x
		}
	}
	return best, false
}

// stands reports whether x stands at the identifier, or between it and owner.
func (s *Search) stands(x, owner ring.Member) bool {
	return s.circle.Distance(s.id, x.ID) < s.circle.Distance(s.id, owner.ID)
}

// unclaimed goes on after the member that stands between did not answer: a claim that waited
// for it holds, unless there is another.
func (s *Search) unclaimed() {
	if s.claim.Verdict != 0 {
		s.finish(s.claim, false)
	}
}

// refute ends a claim that x contradicts, which has answered. Who claimed that, or was
// said to, is an owner no longer for this search.
func (s *Search) refute(x ring.Member, a Answer) {
	claim := s.claim
	s.claim = Answer{}
	if claim.Verdict == 0 || !s.stands(x, claim.Owner) {
		return
	}
	if a.Verdict == Closer {
		s.disbelieve(claim.Owner)
	}
}

// disbelieve goes on without an owner that another contradicts, and without whoever has
// named it.
func (s *Search) disbelieve(owner ring.Member) {
	namer := s.namer
	s.namer = ring.Member{}
	s.pass(owner)
	s.pass(namer)
}

// pass goes on without x. If x is the closest that has answered, the search goes back to
// where it was before: to the closest of the others that have, which is to name others
// than x, and to whom it knows by itself.
func (s *Search) pass(x ring.Member) {
	if x.IsZero() || x == s.home {
		return
	}
	s.Failed(x, false)
	if s.floor != x {
		return
	}
	s.floor, s.spent = s.home, true
	for i := range s.known.asks {
		v := &s.known.asks[i]
		if v.outcome != spoke || v.who.In(s.avoid) {
			continue
		}
		if s.floor.IsZero() || ring.Between(s.floor.ID, v.who.ID, s.id) {
			s.floor, s.spent, s.retries = v.who, false, 0
		}
	}
	for _, y := range s.known.near {
		s.add(y)
	}
}

// shorten is the arc of the owner without what a member that this process has met owns, as
// t knows: it begins no sooner than after the last of them. Who is left out is not known to
// be there.
func (t *Table) shorten(arc ring.Arc, owner ring.Member, leftOut func(ring.Member) bool) ring.Arc {
	if t == nil {
		return arc
	}
	for _, x := range t.near {
		if x.ID != owner.ID && x.ID != arc.To && arc.Contains(x.ID) && !leftOut(x) {
			arc.After = x.ID
		}
	}
	if self := t.Self; !self.IsZero() && self.ID != owner.ID && self.ID != arc.To && arc.Contains(self.ID) {
		arc.After = self.ID
	}
	return arc
}

// alone reports whether nobody whom t knows stands at the identifier or between it and
// owner.
func (t *Table) alone(id uint64, owner ring.Member) bool {
	if t == nil {
		return true
	}
	circle := ring.Space{Bits: t.Bits}
	d := circle.Distance(id, owner.ID)
	return !slices.ContainsFunc(t.near, func(x ring.Member) bool { return x.ID != owner.ID && circle.Distance(id, x.ID) < d })
}
