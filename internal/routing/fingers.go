package routing

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Fingers are a member's routes for distance: the owners of self + 2^i. Most
// of the 64 starts have the same few owners, so only the distinct ones are
// kept, each with the exponents that it covers, and only those are asked again.
// Not safe for concurrent use.
type Fingers struct {
	self uint64
	bits int
	list []Finger // from the farthest to the nearest
	next int      // the exponent to be looked up next
}

// Finger is a member and the exponents i, Low ≤ i ≤ High, for which it owns
// self + 2^i.
type Finger struct {
	Member    ring.Member
	Low, High int
}

// NewFingers returns the fingers of a member that knows none yet.
func NewFingers(self uint64, bits uint) *Fingers {
	return &Fingers{self: self, bits: int(bits), next: int(bits) - 1}
}

// Start is the point that exponent i is about.
func (f *Fingers) Start(i int) uint64 {
	return ring.Space{Bits: uint(f.bits)}.Add(f.self, 1<<i)
}

// Next says which exponent is to be looked up next and who was its owner, zero
// if unknown. At the end of a round over all exponents outside the arc covered
// it says false, and begins again.
func (f *Fingers) Next(covered ring.Arc) (exponent int, believed ring.Member, ok bool) {
	if f.next < 0 || covered.Whole() || covered.Contains(f.Start(f.next)) {
		// The successor list knows the rest better.
		f.list = slices.DeleteFunc(f.list, func(e Finger) bool { return e.High <= f.next })
		f.next = f.bits - 1
		return 0, ring.Member{}, false
	}
	for _, e := range f.list {
		if e.Low <= f.next && f.next <= e.High {
			believed = e.Member
		}
	}
	return f.next, believed, true
}

// Set notes the owner of exponent i and the arc that is certain to be its.
// The zero Member notes that nobody was found.
func (f *Fingers) Set(i int, owner ring.Member, arc ring.Arc) {
	low := i
	if !owner.IsZero() {
		for low > 0 && !arc.Whole() && arc.Contains(f.Start(low-1)) {
			low--
		}
	}
	at := 0
	kept := f.list[:0:0]
	for _, e := range f.list {
		if e.High > i && e.Low <= i { // what lies above i stays
			e.Low = i + 1
		}
		if e.Low < low && e.High >= low { // what lies below low stays
			e.High = low - 1
		}
		if e.Low > i {
			at = len(kept) + 1
		}
		if e.Low > i || e.High < low {
			kept = append(kept, e)
		}
	}
	if !owner.IsZero() && owner.ID != f.self {
		if at > 0 && kept[at-1].Member == owner {
			kept[at-1].Low = low
		} else {
			kept = slices.Insert(kept, at, Finger{Member: owner, Low: low, High: i})
		}
	}
	f.list = kept
	f.next = low - 1
}

// Distinct lists the fingers, the farthest first. The slice is never modified.
func (f *Fingers) Distinct() []Finger { return f.list }

// Members lists the members of the fingers, the farthest first.
func (f *Fingers) Members() []ring.Member {
	out := make([]ring.Member, 0, len(f.list))
	for _, e := range f.list {
		if !slices.Contains(out, e.Member) {
			out = append(out, e.Member)
		}
	}
	return out
}
