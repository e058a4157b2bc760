package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord"
)

// several reports whether a member has VirtualNodes. Where it stands is its own choice then,
// and the truth about the ring is that its ranges follow each other.
func several(live []*member) bool {
	return slices.ContainsFunc(live, func(m *member) bool { return m.cfg.VirtualNodes > 1 })
}

// arc is one range of a member.
type arc struct {
	concord.Range

	of *member
}

// arcs are the ranges of all members, in the order in which they end.
func arcs(live []*member) (out []arc) {
	for _, m := range live {
		for _, r := range m.node.Ranges() {
			out = append(out, arc{r, m})
		}
	}
	slices.SortFunc(out, func(a, b arc) int { return cmp.Compare(a.End, b.End) })
	return out
}

// wrongArcs says what keeps a ring of members with VirtualNodes from being ideal: members
// that do not stand at all their identifiers or are not ready, ranges that do not follow each other, and what the maps have otherwise.
func wrongArcs(b *strings.Builder, live []*member) {
	for _, m := range live {
		if s := m.node.Status(); !m.node.Joined() || s.VirtualNodes != s.Weight {
			fmt.Fprintf(b, "%s: is %s, at %d of %d identifiers\n", s.Self.Name, s.Phase, s.VirtualNodes, s.Weight)
		}
	}
	all := arcs(live)
	type held struct {
		who concord.Server
		concord.Range
	}
	want := map[held]bool{}
	for i, a := range all {
		want[held{server(a.of), a.Range}] = true
		if before := all[(i+len(all)-1)%len(all)]; a.Start != before.End {
			fmt.Fprintf(b, "%s: has (%d, %d], but the range of %s before it ends at %d\n", a.of.node.Name(),
				a.Start, a.End, before.of.node.Name(), before.End)
		}
	}
	if b.Len() > 0 {
		return
	}
	for _, m := range live {
		known := 0
		for list := range m.node.WatchRing(context.Background()) {
			for _, x := range list {
				if known++; !want[held{x.Server, x.New}] {
					fmt.Fprintf(b, "%s: on its map %s has (%d, %d], which it has not\n", m.node.Name(), x.Server.Name, x.New.Start, x.New.End)
				}
			}
			break
		}
		if known != len(all) {
			fmt.Fprintf(b, "%s: has %d ranges on its map, not %d\n", m.node.Name(), known, len(all))
		}
	}
	for _, m := range live {
		if err := m.node.Ready(); err != nil {
			fmt.Fprintf(b, "%s: %v\n", m.node.Name(), err)
		}
	}
}
