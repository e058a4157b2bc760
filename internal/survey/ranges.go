package survey

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord"
)

// held is a range and the place of its member.
type held struct {
	concord.Range

	of int
}

// ranges judges a ring in which members have VirtualNodes: the range before each ends where
// it begins. Where the ranges of the members lie is their own choice, and a list of servers
// does not say which of their identifiers are meant, so that lists are not judged.
func (r *Report) ranges(bits uint) {
	var all []held
	for i := range r.Members {
		m := &r.Members[i]
		for _, x := range m.Ranges {
			if x.IsZero() {
				r.find(WrongPredecessor, m.Server.Name, "does not know the predecessor of one of its identifiers")
				continue
			}
			all = append(all, held{x, i})
			m.Share += share(x.Start, x.End, bits)
		}
		if len(m.Ranges) == 0 {
			r.find(WrongPredecessor, m.Server.Name, "does not know its predecessor")
		}
	}
	slices.SortFunc(all, func(a, b held) int { return cmp.Compare(a.End, b.End) })
	for i, x := range all {
		before := all[(i+len(all)-1)%len(all)]
		if x.Start != before.End {
			r.find(WrongPredecessor, r.Members[x.of].Server.Name, fmt.Sprintf(
				"has a range that begins after %d, but the one before it, of %s, ends at %d",
				x.Start, r.Members[before.of].Server.Name, before.End))
		}
	}
	r.Rings = r.circles(all)
}

// circles are the names of those whose ranges follow each other round the circle.
func (r *Report) circles(all []held) [][]string {
	starts := map[uint64]int{}
	for i, x := range all {
		starts[x.Start] = i
	}
	seen := make([]bool, len(all))
	out := [][]string{}
	for i := range all {
		var names []string
		path := map[int]bool{}
		k, ok := i, true
		for ok && !seen[k] {
			seen[k], path[k] = true, true
			if name := r.Members[all[k].of].Server.Name; !slices.Contains(names, name) {
				names = append(names, name)
			}
			k, ok = starts[all[k].End]
		}
		if ok && path[k] {
			out = append(out, names)
		}
	}
	return out
}
