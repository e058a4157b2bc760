package concord

import (
	"cmp"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Range is an arc of the circle of identifiers. It contains the identifiers clockwise after Start,
// up to and including End. If Start equals End, the arc is the whole circle. The only exception is
// the zero Range, which contains nothing.
type Range struct {
	// Start is the identifier just before the arc.
	Start uint64 `json:"start,string"`
	// End is the last identifier of the arc.
	End uint64 `json:"end,string"`
}

// IsZero reports whether r is the zero Range, which contains nothing.
func (r Range) IsZero() bool { return r == Range{} }

// Contains reports whether the identifier lies on the arc. The zero Range contains nothing.
func (r Range) Contains(id uint64) bool { return !r.IsZero() && r.arc().Contains(id) }

// Share returns the part of the circle that r is, from 0 to 1: about that part of many keys is in
// it. HashBits is that of the Config; 0 is 64, as there. The shares of the Ranges of a member add
// up to what it owns, and Status has the sum as Share.
func (r Range) Share(hashBits uint) float64 {
	if r.IsZero() {
		return 0
	}
	return ring.Space{Bits: cmp.Or(hashBits, DefaultHashBits)}.Share(r.arc())
}

// Minus returns what r contains and s does not: no range, one, or two, clockwise from the start of
// r.
func (r Range) Minus(s Range) []Range {
	return difference(r.arc(), !r.IsZero(), s.arc(), !s.IsZero())
}

// Intersect returns what both r and s contain: no range, one, or two, clockwise from the start of
// r. Two ranges have two ranges in common if each reaches over the start of the other.
func (r Range) Intersect(s Range) []Range {
	if r.IsZero() || s.IsZero() {
		return nil
	}
	if s.arc().Whole() {
		return []Range{r}
	}
	// What r has and the rest of the circle has not.
	rest := ring.Arc{After: s.End, To: s.Start}
	return difference(r.arc(), true, rest, true)
}

// arc is r unless r is zero.
func (r Range) arc() ring.Arc { return ring.Arc{After: r.Start, To: r.End} }

// rangeOf converts an arc that a member has. The result is never the zero Range: the whole circle
// of the member with identifier 0 is given from 1 to 1.
func rangeOf(a ring.Arc) Range {
	if a == (ring.Arc{}) {
		return Range{Start: 1, End: 1}
	}
	return Range{Start: a.After, End: a.To}
}

// difference is what a has and b has not.
func difference(a ring.Arc, hasA bool, b ring.Arc, hasB bool) []Range {
	if !hasA {
		return nil
	}
	if !hasB {
		return []Range{rangeOf(a)}
	}
	var out []Range
	for _, arc := range a.Minus(b) {
		out = append(out, rangeOf(arc))
	}
	return out
}
