package protocol

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// met counts how often members have met another ring.
func (w *world) met() (times int) {
	for _, h := range w.order {
		times += len(h.met)
	}
	return times
}

// twoRings makes rings of every second of n members, of whom one knows one of the
// other ring.
func twoRings(t *testing.T, seed uint64, n int) *world {
	w := newWorld(t, seed, 3)
	for i := range n {
		w.member(i)
	}
	ms := slices.Clone(w.order)
	slices.SortFunc(ms, func(a, b *host) int { return cmp.Compare(a.m.self.ID, b.m.self.ID) })
	link := w.rng.IntN(n)
	for i, h := range ms {
		at := Snapshot{}
		if n > 2 {
			at.Pred = ms[(i+n-2)%n].m.self
			for k := 2; k < n && len(at.Succ) < 3; k += 2 {
				at.Succ = append(at.Succ, ms[(i+k)%n].m.self)
			}
		}
		if i == link {
			at.Pending = []ring.Member{ms[(i+1+2*w.rng.IntN(n/2))%n].m.self}
		}
		h.m = Restore(h.m.self, h.m.cfg, h.m.self.ID, at)
		w.after(w.upTo(interval), func() { w.step(h, Tick{}) })
	}
	return w
}

// A member of one ring ends, and one of another ring is started at its address.
func TestRingsThatMeetAtAnAddressUsedAgainAreNoticedOnBothSides(t *testing.T) {
	const seeds = 40
	both, either := 0, 0
	for seed := range uint64(seeds) {
		w := newWorld(t, seed, 3)
		sides := make([][]*host, 2)
		for i := range 11 {
			h := w.member(i)
			if i < 2 {
				w.step(h, Create{})
				kin(w.order[0], h)
			} else {
				w.rejoin(h, w.order[i%2].addr)
			}
			sides[i%2] = append(sides[i%2], h)
		}
		w.run(2 * time.Minute)
		old := sides[0][2]
		old.up = false
		w.run(w.upTo(10 * interval))
		again := w.add("again", w.rng.Uint64(), old.addr, 1)
		w.rejoin(again, sides[1][0].addr)
		sides[1] = append(sides[1], again)
		w.ideal(5*time.Minute, 11)
		w.run(time.Minute)
		var met [2]int
		for i, side := range sides {
			for _, h := range side {
				met[i] += len(h.met)
			}
		}
		if met[0]+met[1] > 0 {
			either++
		}
		if met[0] > 0 && met[1] > 0 {
			both++
		} else {
			t.Logf("seed %d: noticed %d and %d times", seed, met[0], met[1])
		}
	}
	t.Logf("noticed in %d of %d seeds, on both sides in %d", either, seeds, both)
	if both < seeds {
		t.Errorf("noticed on both sides in %d of %d seeds", both, seeds)
	}
}

// When two rings become one some member notices, unless they had a single link and
// one member adopted another over it before it was placed; this is that case.
func TestRingsThatMeetAreNoticed(t *testing.T) {
	const seeds = 20
	for _, tc := range []struct{ members, noticed int }{{2, seeds}, {4, 5}, {16, 12}, {64, 16}} {
		n, noticed := tc.members, 0
		for seed := range uint64(seeds) {
			w := twoRings(t, seed, n)
			w.ideal(100*interval, n)
			if w.met() > 0 {
				noticed++
			}
		}
		if noticed < tc.noticed {
			t.Errorf("%d members: noticed in %d of %d seeds, want %d", n, noticed, seeds, tc.noticed)
		}
	}
}

// Parts of a ring that were cut apart meet when they reach each other again. One
// member that was alone always notices.
func TestPartsThatMeetAreNoticed(t *testing.T) {
	const seeds = 20
	for _, tc := range []struct{ members, alone, noticed int }{{6, 1, seeds}, {6, 3, 15}, {16, 8, 15}} {
		noticed := 0
		for seed := range uint64(seeds) {
			w := ringOf(t, seed, 3, tc.members)
			apart := map[string]bool{}
			for _, h := range w.order[:tc.alone] {
				apart[h.addr] = true
			}
			through := w.latency
			w.latency = func(from, to string) time.Duration {
				if apart[from] != apart[to] {
					return -1
				}
				return through(from, to)
			}
			w.run(time.Minute)
			// A cut through every successor list leaves several rings on one side,
			// which meet at once.
			before := w.met()
			w.latency = through
			w.ideal(2*time.Minute, tc.members)
			w.run(time.Minute)
			n := w.met()
			if n > before {
				noticed++
			}
			w.run(time.Minute)
			if again := w.met(); again != n {
				t.Errorf("%d of %d, seed %d: %d meetings after they have become one", tc.alone, tc.members, seed, again-n)
			}
		}
		t.Logf("%d of %d: noticed in %d of %d seeds", tc.alone, tc.members, noticed, seeds)
		if noticed < tc.noticed {
			t.Errorf("%d of %d: noticed in %d of %d seeds, want %d", tc.alone, tc.members, noticed, seeds, tc.noticed)
		}
	}
}

// A ring that has settled takes in seven times its members at once, and then its
// members are replaced one after another, some at the address of the one before.
func TestOneRingThatGrowsAtOnceAndIsReplacedMeetsNoOther(t *testing.T) {
	for seed := range seedsOf(8) {
		w := newWorld(t, seed, 3)
		first := w.member(0)
		w.step(first, Create{})
		for i := 1; i < 8; i++ {
			w.rejoin(w.member(i), first.addr)
		}
		w.ideal(20*time.Second, 8)
		w.run(20 * interval)
		for i := 8; i < 64; i++ {
			w.rejoin(w.member(i), first.addr)
		}
		w.ideal(time.Minute, 64)
		w.run(20 * interval)
		for i := range 60 {
			old := w.order[1+i]
			old.up = false
			w.run(w.upTo(10 * interval))
			addr := fmt.Sprintf("r%d:1", i)
			if i%2 == 0 {
				addr = old.addr
			}
			w.rejoin(w.add(fmt.Sprintf("r%d", i), w.rng.Uint64(), addr, 1), first.addr)
			w.run(w.upTo(10 * interval))
		}
		w.ideal(time.Minute, 64)
		w.run(time.Minute)
		if n := w.met(); n != 0 {
			t.Errorf("seed %d: %d meetings", seed, n)
		}
	}
}

// In one ring nobody meets another, whatever joins and fails.
func TestOneRingMeetsNoOther(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed, 3)
		first := w.member(0)
		w.step(first, Create{})
		for i := 1; i < 32; i++ {
			w.rejoin(w.member(i), first.addr)
		}
		w.ideal(20*time.Second, 32)
		for i := range 8 {
			w.order[4*i+1].up = false
			w.run(w.upTo(interval))
		}
		w.ideal(30*time.Second, 24)
		w.run(time.Minute)
		if n := w.met(); n != 0 {
			t.Errorf("seed %d: %d meetings", seed, n)
		}
	}
}
