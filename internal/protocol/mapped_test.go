package protocol

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Of a ring that the map is certain of from the head to the predecessor nothing is looked for. If it
// is not certain of one of them, or of an acquaintance, the turns of Check go on. Nor is the address
// asked that the members were given, where one of them is.
func TestNothingIsPlacedInARingThatTheMapHas(t *testing.T) {
	const members, rounds = 16, 400
	for _, x := range []struct {
		name    string
		charted func(w *world, of *host, x ring.Member) bool
		several bool // a process stands at several identifiers
		want    bool // placements
	}{
		{name: "no map", want: true},
		{name: "all", charted: func(*world, *host, ring.Member) bool { return true }},
		{name: "one at several identifiers", charted: func(*world, *host, ring.Member) bool { return true }, several: true, want: true},
		{name: "none", charted: func(*world, *host, ring.Member) bool { return false }, want: true},
		{name: "all but the predecessor", charted: func(_ *world, of *host, x ring.Member) bool { return x != of.m.pred }, want: true},
		{name: "all but the head", charted: func(_ *world, of *host, x ring.Member) bool { return x != of.m.head() }, want: true},
	} {
		w := ringOf(t, 1, 3, members)
		for _, h := range w.order {
			if x.charted != nil {
				h.m.cfg.Charted = func(m ring.Member) bool { return x.charted(w, h, m) }
				h.m.cfg.Single = func() bool { return !x.several }
			}
		}
		w.run(50 * interval) // pending members are placed whatever the map says
		before := w.sent[Place]
		w.run(rounds * interval)
		placed := w.sent[Place] - before
		if got := placed > 0; got != x.want {
			t.Errorf("%s: %d placements in %d rounds of %d members", x.name, placed, rounds, members)
		}
	}
}
