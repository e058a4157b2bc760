package protocol

import (
	"testing"
	"time"
)

func TestRingFormsByJoins(t *testing.T) {
	for _, r := range []int{1, 2, 3, 5} {
		for _, n := range []int{1, 2, 3, 5, 8, 24} {
			ringOf(t, uint64(n), r, n)
		}
	}
}

func TestManyJoinAtOnceThroughOne(t *testing.T) {
	for seed := range uint64(5) {
		for _, n := range []int{16, 64, 128} {
			w := newWorld(t, seed, 3)
			first := w.member(0)
			w.step(first, Create{})
			for i := 1; i < n; i++ {
				w.rejoin(w.member(i), first.addr)
			}
			d := w.ideal(20*time.Second, n)
			t.Logf("seed %d: %d members ideal after %v, sent %v", seed, n, d, w.sent)
		}
	}
}

func TestAdjacentMembersDie(t *testing.T) {
	for seed := range uint64(10) {
		w := ringOf(t, seed, 3, 16)
		ms := w.live()
		k := w.rng.IntN(16)
		ms[k].up, ms[(k+1)%16].up = false, false
		before := ms[(k+15)%16]
		w.step(before, Lost{Addr: ms[k].addr})
		t.Logf("ideal after %v", w.ideal(4*time.Second, 14))
	}
}

func TestRingOfTwoLosesOne(t *testing.T) {
	w := ringOf(t, 1, 3, 2)
	w.order[1].up = false
	w.ideal(2*time.Second, 1)
	h := w.order[0]
	if last := h.ranges[len(h.ranges)-1]; !last.New.Whole() || last.Cause != CauseAlone {
		t.Errorf("last range change %+v, want the whole circle, alone", last)
	}
}

func TestLeaveHandsOver(t *testing.T) {
	for seed := range uint64(5) {
		for _, n := range []int{2, 3, 8} {
			w := ringOf(t, seed, 3, n)
			h := w.order[w.rng.IntN(n)]
			w.step(h, Depart{})
			d := w.until(2*time.Second, "departed", func() bool { return h.departed })
			h.up = false
			e := w.ideal(2*time.Second, n-1)
			t.Logf("n=%d departed after %v, ideal %v later", n, d, e)
		}
	}
}

func TestAdjacentMembersLeaveAtOnce(t *testing.T) {
	for seed := range uint64(10) {
		w := ringOf(t, seed, 3, 8)
		ms := w.live()
		k := w.rng.IntN(8)
		a, b := ms[k], ms[(k+1)%8]
		w.step(a, Depart{})
		w.step(b, Depart{})
		for _, h := range []*host{a, b} {
			var watch func()
			watch = func() {
				if h.departed {
					h.up = false
					return
				}
				w.after(time.Millisecond, watch)
			}
			watch()
		}
		w.until(3*time.Second, "departed", func() bool { return a.departed && b.departed })
		w.ideal(4*time.Second, 6)
	}
}

func TestFrozenMemberComesBack(t *testing.T) {
	for seed := range uint64(10) {
		w := ringOf(t, seed, 3, 6)
		h := w.order[w.rng.IntN(6)]
		h.frozen = true
		w.ideal(6*time.Second, 5)
		w.run(30 * time.Second)
		h.frozen = false
		w.step(h, Tick{})
		t.Logf("back after %v", w.ideal(5*time.Second, 6))
	}
}

func TestPartitionHeals(t *testing.T) {
	for seed := range uint64(10) {
		for _, n := range []int{2, 8, 32} {
			w := ringOf(t, seed, 3, n)
			normal := w.latency
			side := map[string]bool{}
			for i, h := range w.order {
				side[h.addr] = i%2 == 0
			}
			w.latency = func(a, b string) time.Duration {
				if side[a] != side[b] {
					return -1
				}
				return normal(a, b)
			}
			w.run(5 * time.Minute)
			w.latency = normal
			t.Logf("n=%d one ring after %v", n, w.ideal(60*time.Second, n))
		}
	}
}

func TestRestartAtOnceIsANewIncarnation(t *testing.T) {
	for seed := range uint64(10) {
		w := ringOf(t, seed, 3, 6)
		old := w.order[w.rng.IntN(5)+1]
		old.up = false
		self := old.m.self
		again := w.add(self.Name, self.ID, self.Addr, self.Incarnation+1)
		w.rejoin(again, w.order[0].addr)
		t.Logf("back after %v", w.ideal(5*time.Second, 6))
	}
}

func TestRestartWithAClockThatWentBack(t *testing.T) {
	w := ringOf(t, 3, 3, 6)
	old := w.order[3]
	old.up = false
	self := old.m.self
	again := w.add(self.Name, self.ID, self.Addr, self.Incarnation-500)
	w.rejoin(again, w.order[0].addr)
	w.ideal(5*time.Second, 6)
	if got := again.m.self.Incarnation; got <= self.Incarnation {
		t.Errorf("incarnation %d after one of %d", got, self.Incarnation)
	}
}

func TestNameOfALiveMemberIsTaken(t *testing.T) {
	for _, tc := range []struct {
		name string
		want Reason
	}{{"n3", NameTaken}, {"other", IdentifierTaken}} {
		w := ringOf(t, 4, 3, 6)
		self := w.order[3].m.self
		h := w.add(tc.name, self.ID, "elsewhere:1", 5000)
		w.step(h, Join{Via: []string{w.order[0].addr}})
		w.until(5*time.Second, "refused", func() bool { return h.joinDone != nil })
		if c := h.joinDone.Causes; len(c) == 0 || c[len(c)-1].Refusal.Reason != tc.want || c[len(c)-1].Refusal.Other != self {
			t.Errorf("%s: %+v, want %v by %v", tc.name, c, tc.want, self)
		}
		w.ideal(time.Second, 6)
	}
}

func TestWrongAdvertisedAddressIsRefused(t *testing.T) {
	w := ringOf(t, 4, 3, 6)
	h := w.member(99)
	delete(w.hosts, h.addr) // nobody can reach it there
	w.step(h, Join{Via: []string{w.order[0].addr}})
	w.until(5*time.Second, "refused", func() bool { return h.joinDone != nil })
	if c := h.joinDone.Causes; len(c) == 0 || c[len(c)-1].Refusal.Reason != NotReached {
		t.Errorf("%+v, want not reached", c)
	}
	w.ideal(0, 6)
}

func TestEarlierIncarnationYields(t *testing.T) {
	w := ringOf(t, 5, 3, 6)
	old := w.order[2]
	old.frozen = true
	w.ideal(6*time.Second, 5)
	again := w.add(old.m.self.Name, old.m.self.ID, "moved:1", 9000)
	w.rejoin(again, w.order[0].addr)
	w.ideal(20*time.Second, 6)
	old.frozen = false
	w.step(old, Tick{})
	w.until(20*time.Second, "superseded", func() bool { return old.m.phase == Superseded })
	if old.view.HasArc {
		t.Error("a superseded member claims a range")
	}
	w.ideal(time.Second, 6)
}

func TestIdleRingIsQuiet(t *testing.T) {
	w := ringOf(t, 6, 3, 32)
	w.run(60 * time.Second)
	clear(w.sent)
	w.run(100 * time.Second)
	total := 0
	for _, n := range w.sent {
		total += n
	}
	perRound := float64(total) / 32 / 100
	t.Logf("%.2f requests per member and round: %v", perRound, w.sent)
	if perRound > 2.5 {
		t.Errorf("%.2f requests per member and round, want at most 2.5", perRound)
	}
}
