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
				h.m.cfg.Processes = func() (int, bool) { return members, !x.several }
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

// Of many processes on a map, of which some stand at several identifiers, each looks for other
// rings after some turns. Where there are few, or the map is not certain of a neighbour, each looks
// in every turn.
func TestProcessesOnOneMapTakeTurnsInLooking(t *testing.T) {
	const members, rounds, turns = 16, 320, 64
	for _, x := range []struct {
		name      string
		processes int
		certain   bool
		each      int // of turns, in which each looks
	}{
		{"few", 15, true, turns},
		{"some", 16, true, turns / 2},
		{"many", 64, true, turns / 8},
		{"very many", 10_000, true, turns / 8},
		{"many, and the map is not certain", 64, false, turns},
	} {
		w := ringOf(t, 1, 3, members)
		for _, h := range w.order {
			h.m.cfg.Charted = func(y ring.Member) bool { return x.certain || y != h.m.pred }
			h.m.cfg.Processes = func() (int, bool) { return x.processes, false }
			looks := 0
			for turn := range uint64(turns) {
				if h.m.looks(turn) {
					looks++
				}
			}
			if looks != x.each {
				t.Errorf("%s: looks in %d of %d turns; want %d", x.name, looks, turns, x.each)
			}
		}
		w.run(100 * interval) // pending members are placed whatever the map says
		before := w.sent[Place]
		w.run(rounds * interval)
		// Of the four turns of 40 rounds one is for this, and addresses were given to all but one.
		// A placement asks one member, or some.
		placed, least := w.sent[Place]-before, members*rounds/40*x.each/turns
		if placed < least || placed > 8*least {
			t.Errorf("%s: %d placements in %d rounds of %d members; want %d, or some times as many", x.name, placed, rounds, members, least)
		}
	}
}

// So do they in asking at the addresses that they were given, if those are of members on the map.
// Whoever looks for others at first asks each time, and whoever has an address of nobody on the map.
func TestProcessesOnOneMapTakeTurnsInAskingAtAddresses(t *testing.T) {
	const members, turns = 6, 64
	for _, x := range []struct {
		name      string
		processes int
		single    bool
		charted   func(at, of *host, x ring.Member) bool
		asks      int // of turns
	}{
		{"few", 15, false, everybody, turns},
		{"some", 16, false, everybody, turns / 2},
		{"many", 64, false, everybody, turns / 8},
		{"many, each at one identifier", 64, true, everybody, 0},
		{"many, and the map is not certain of the address", 64, false, func(at, _ *host, x ring.Member) bool { return x != at.m.self }, turns},
		{"many, and the map is not certain of the predecessor", 64, false, func(at, of *host, x ring.Member) bool { return x != of.m.pred || x == at.m.self }, turns},
	} {
		w := ringOf(t, 1, 3, members)
		for _, h := range w.order[1:] {
			at := w.order[0]
			if at.m.self == h.m.pred {
				continue
			}
			h.m.cfg.Charted = func(y ring.Member) bool { return x.charted(at, h, y) }
			h.m.cfg.Processes = func() (int, bool) { return x.processes, x.single }
			h.m.setSeeds([]string{at.addr})
			asks := func(turns int) (n int) {
				for range turns {
					h.m.placing = placement{}
					h.m.round = h.m.probe.next
					if h.m.probeSeed() {
						n++
					}
				}
				return n
			}
			h.m.probeSeldom()
			if n := asks(turns); n != x.asks {
				t.Errorf("%s: asks in %d of %d turns; want %d", x.name, n, turns, x.asks)
			}
			soon := 0
			for wait := 1; wait < probePace*h.m.cfg.CheckEvery; wait *= 2 {
				soon++
			}
			want := soon
			if x.single {
				want = 0
			}
			h.m.probeSoon()
			if n := asks(soon); n != want {
				t.Errorf("%s: asks in %d of the first %d turns; want %d", x.name, n, soon, want)
			}
		}
	}
}

func everybody(_, _ *host, _ ring.Member) bool { return true }
