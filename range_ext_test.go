package concord_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ollelogdahl/concord"
)

func TestShareIsThePartOfTheCircle(t *testing.T) {
	for _, c := range []struct {
		concord.Range
		bits uint
		want float64
	}{
		{concord.Range{}, 0, 0},
		{concord.Range{Start: 7, End: 7}, 0, 1},
		{concord.Range{Start: 1 << 62, End: 1 << 63}, 0, 0.25},
		{concord.Range{Start: 1 << 62, End: 1 << 63}, 64, 0.25},
		{concord.Range{Start: 12, End: 4}, 4, 0.5},
	} {
		if got := c.Share(c.bits); got != c.want {
			t.Errorf("%v of %d bits: %v, want %v", c.Range, c.bits, got, c.want)
		}
	}
	c := create(t, "member1")
	if got, want := c.Range().Share(0), c.Status().Share; got != want {
		t.Errorf("alone it has %v, by its status %v", got, want)
	}
}

// TestRangesAreSetsOfIdentifiers holds Minus and Intersect of every two ranges of a circle of eight
// identifiers against the identifiers that they contain.
func TestRangesAreSetsOfIdentifiers(t *testing.T) {
	const size = 8
	var all []concord.Range
	for a := range uint64(size) {
		for b := range uint64(size) {
			all = append(all, concord.Range{Start: a, End: b})
		}
	}
	holds := func(ranges []concord.Range, id uint64) bool {
		n := 0
		for _, r := range ranges {
			if r.Contains(id) {
				n++
			}
		}
		if n > 1 {
			t.Fatalf("%v contain %d twice", ranges, id)
		}
		return n > 0
	}
	for _, r := range all {
		for _, s := range all {
			minus, both := r.Minus(s), r.Intersect(s)
			if len(minus) > 2 || len(both) > 2 || slices.ContainsFunc(slices.Concat(minus, both), concord.Range.IsZero) {
				t.Fatalf("%v and %v: Minus %v, Intersect %v", r, s, minus, both)
			}
			for id := range uint64(size) {
				name := fmt.Sprintf("%d of %v and %v", id, r, s)
				if got, want := holds(minus, id), r.Contains(id) && !s.Contains(id); got != want {
					t.Errorf("%s: Minus %v, want %v", name, minus, want)
				}
				if got, want := holds(both, id), r.Contains(id) && s.Contains(id); got != want {
					t.Errorf("%s: Intersect %v, want %v", name, both, want)
				}
			}
		}
	}
}
