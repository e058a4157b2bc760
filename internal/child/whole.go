package child

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord"
)

// NotWhole says what is wrong with a ring whose members may have several ranges: one is not
// in the ring, stands at fewer identifiers than it is to, or the ranges are not the circle,
// each point once. It is empty if nothing is.
func NotWhole(all []concord.Status) string {
	type held struct {
		concord.Range
		by string
	}
	var ranges []held
	for _, s := range all {
		if s.Phase != concord.PhaseJoined || len(s.Ranges) != s.Weight {
			return fmt.Sprintf("%s is %s, with %d ranges of %d", s.Self.Name, s.Phase, len(s.Ranges), s.Weight)
		}
		for _, r := range s.Ranges {
			ranges = append(ranges, held{r, s.Self.Name})
		}
	}
	slices.SortFunc(ranges, func(a, b held) int { return cmp.Compare(a.End, b.End) })
	for i, r := range ranges {
		if before := ranges[(i+len(ranges)-1)%len(ranges)]; r.Start != before.End {
			return fmt.Sprintf("%s has all after %d, and %s up to %d", r.by, r.Start, before.by, before.End)
		}
	}
	return ""
}
