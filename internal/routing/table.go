package routing

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Known is what a table is made of: a member's pointers and whom else it knows.
type Known struct {
	Self   ring.Member   // zero for a client, which has no place on the circle
	Arc    ring.Arc      // the member's own, if HasArc
	HasArc bool          // false: in no ring, or the predecessor is not known yet
	Epoch  uint64        // that by which the member claims Arc
	Alone  bool          // Succ is empty because nobody else is known to live
	Pred   ring.Member   // zero: unknown
	Succ   []ring.Member // nearest first
	Others []ring.Member // fingers and acquaintances, in any order
	Bits   uint          // width of the circle
	Full   int           // length of a full successor list
	// Certain is when the head of Succ last said that all between Self and it is its
	// own; negative: its arc is not certain at all.
	Certain time.Duration
	// HeadEpoch is that by which the head claims that arc; 0: not known.
	HeadEpoch uint64
	// Lease is how long an answer of this member about itself may be relied on.
	Lease time.Duration
}

// Table is an immutable snapshot of what a member knows of who owns what. It
// may be read concurrently.
type Table struct {
	Known
	near []ring.Member // everybody known but self, by clockwise distance from self
}

// NewTable makes a table. It keeps the slices of k, which must not be modified
// afterwards.
func NewTable(k Known) *Table {
	t := &Table{Known: k}
	// Pointers to members are sorted, not the members, which are long. Of two
	// records of one identifier a pointer's, which comes first, counts.
	type key struct {
		distance uint64
		order    int
		member   *ring.Member
	}
	var few [64]key
	keys := few[:0]
	add := func(x *ring.Member) {
		if x.Name != "" && (x.ID != k.Self.ID || k.Self.IsZero()) {
			keys = append(keys, key{x.ID - k.Self.ID, len(keys), x})
		}
	}
	for i := range k.Succ {
		add(&k.Succ[i])
	}
	add(&t.Pred)
	for i := range k.Others {
		add(&k.Others[i])
	}
	slices.SortFunc(keys, func(x, y key) int {
		return cmp.Or(cmp.Compare(x.distance, y.distance), cmp.Compare(x.order, y.order))
	})
	t.near = make([]ring.Member, 0, len(keys))
	for i, x := range keys {
		if i == 0 || x.distance != keys[i-1].distance {
			t.near = append(t.near, *x.member)
		}
	}
	return t
}

// Renew is NewTable(k) with those others, one list after another. It shares with t, which may be
// nil, whatever is the same in both: a table at rest is renewed in each round, and only the times
// in it are others.
func (t *Table) Renew(k Known, others ...[]ring.Member) *Table {
	if t == nil || t.Self != k.Self || t.Pred != k.Pred || !slices.Equal(t.Succ, k.Succ) || !joins(t.Others, others) {
		k.Others = slices.Concat(others...)
		return NewTable(k)
	}
	k.Others = t.Others
	return &Table{Known: k, near: t.near}
}

// joins reports whether all is the lists, one after another.
func joins(all []ring.Member, lists [][]ring.Member) bool {
	for _, l := range lists {
		if len(l) > len(all) || !slices.Equal(all[:len(l)], l) {
			return false
		}
		all = all[len(l):]
	}
	return len(all) == 0
}

// Near lists everybody known but the member itself, by clockwise distance.
func (t *Table) Near() []ring.Member { return t.near }

// After names those known beyond the identifier, nearest to it first, at most MaxCloser.
func (t *Table) After(id uint64) []ring.Member {
	i, _ := slices.BinarySearchFunc(t.near, id-t.Self.ID, func(x ring.Member, d uint64) int {
		return cmp.Compare(x.ID-t.Self.ID, d)
	})
	out := slices.DeleteFunc(slices.Concat(t.near[i:], t.near[:i]), func(x ring.Member) bool { return x.ID == id })
	return out[:min(len(out), MaxCloser)]
}

// Size estimates the number of members from the density of the successor list. A
// client, which has none, cannot tell.
func (t *Table) Size() int {
	n := len(t.Succ)
	if n < t.Full {
		return n + 1
	}
	circle := ring.Space{Bits: t.Bits}
	span := circle.Distance(t.Self.ID, t.Succ[n-1].ID)
	est := float64(n) * (float64(circle.Mask()) + 1) / float64(span)
	return max(n+1, int(min(est, 1<<30)))
}

// Connections is how many connections a member keeps that nobody uses in a ring of so many
// members: enough for the successor list and every finger, seen from both sides.
func (t *Table) Connections(size int) int { return t.Full + 2*(bits.Len(uint(size))-1) }

// Charted is Connections of a member that a map tells who its fingers are: it asks its successor,
// one member in each doubling of the distance, and at times an acquaintance.
func (t *Table) Charted(size int) int { return t.Full + (bits.Len(uint(size))-1)*3/2 }

// maxHops bounds how many members one lookup may ask in a ring of any size.
const maxHops = 256

// HopLimit bounds how many members one lookup may ask: 32 + N/r, at most 256. A
// client cannot tell N.
func (t *Table) HopLimit() int {
	if t.Self.IsZero() {
		return maxHops
	}
	return min(maxHops, 32+t.Size()/max(1, t.Full))
}

// Answer says what the table knows of q, at the time now.
func (t *Table) Answer(q Query, now time.Duration) Answer {
	if t.HasArc && t.Arc.Contains(q.ID) {
		return Answer{Verdict: Mine, Owner: t.Self, Arc: t.Arc, HasArc: true, Epoch: t.Epoch, Lease: t.Lease}
	}
	if q.ID == t.Self.ID && len(t.Succ) > 0 {
		return Answer{Verdict: Mine, Owner: t.Self} // the predecessor is not known yet
	}
	if a, ok := t.listed(q.ID, now); ok {
		return a
	}
	a := Answer{Verdict: Closer, Closer: t.closer(q)}
	if x := t.beyond(q); len(a.Closer) == 0 && !x.IsZero() {
		return Answer{Verdict: Owned, Owner: x}
	}
	return a
}

// beyond is the member known nearest after the identifier, for whoever goes round all that
// are known before it: it is to be asked whether it is the owner. It is zero if nobody is
// known before the identifier, or there is none of whom that can be said.
func (t *Table) beyond(q Query) ring.Member {
	if t.Self.IsZero() {
		return ring.Member{}
	}
	round := false
	for _, x := range t.near {
		switch {
		case ring.Between(t.Self.ID, x.ID, q.ID):
			round = true
		case round && !x.Legacy() && !x.In(q.Avoid):
			return x
		}
	}
	return ring.Member{}
}

// listed looks between the adjacent entries of the successor list. The head's
// arc is certain as of the head's last answer; further entries are named by
// others and carry no arc.
func (t *Table) listed(id uint64, now time.Duration) (Answer, bool) {
	if t.Self.IsZero() {
		return Answer{}, false
	}
	prev := t.Self
	for i, s := range t.Succ {
		if (ring.Arc{After: prev.ID, To: s.ID}).Contains(id) {
			a := Answer{Verdict: Owned, Owner: s}
			if i == 0 && t.Certain >= 0 {
				a.Arc, a.HasArc = ring.Arc{After: t.Self.ID, To: s.ID}, true
				a.Age, a.Lease, a.Epoch = max(0, now-t.Certain), t.Lease, t.HeadEpoch
			}
			return a, true
		}
		prev = s
	}
	if t.Alone && !t.Pred.IsZero() {
		// A second member has been accepted and is on its way in.
		return Answer{Verdict: Owned, Owner: t.Pred}, true
	}
	return Answer{}, false
}

// closer names those known strictly between self and the identifier, nearest
// to it first. A client, which stands nowhere, names whom it knows.
func (t *Table) closer(q Query) []ring.Member {
	if t.Self.IsZero() {
		return t.before(q)
	}
	var out []ring.Member
	end, _ := slices.BinarySearchFunc(t.near, q.ID-t.Self.ID, func(x ring.Member, d uint64) int {
		return cmp.Compare(x.ID-t.Self.ID, d)
	})
	for i := end - 1; i >= 0 && len(out) < MaxCloser; i-- {
		if !t.near[i].In(q.Avoid) {
			out = append(out, t.near[i])
		}
	}
	// One of them is of the successor list, whose entries are asked in every
	// round: if the others are dead, the asker gets on all the same.
	for _, s := range slices.Backward(t.Succ) {
		if !ring.Between(t.Self.ID, s.ID, q.ID) || s.In(q.Avoid) {
			continue
		}
		if !slices.Contains(out, s) {
			out = append(out[:min(len(out), MaxCloser-1)], s)
		}
		break
	}
	return out
}

// before names those known before the identifier, going backwards all round the
// circle.
func (t *Table) before(q Query) []ring.Member {
	var out []ring.Member
	n := len(t.near)
	end, _ := slices.BinarySearchFunc(t.near, q.ID, func(x ring.Member, id uint64) int {
		return cmp.Compare(x.ID, id)
	})
	for i := range n {
		x := t.near[(end-1-i+n)%n]
		if len(out) < MaxCloser && !x.In(q.Avoid) {
			out = append(out, x)
		}
	}
	return out
}
