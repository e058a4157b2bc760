package protocol

import (
	"testing"
	"time"
)

// drained drains members and waits until each is outside or stays.
func (w *world) drained(hosts ...*host) {
	w.t.Helper()
	for _, h := range hosts {
		h.departed = false
		w.step(h, Depart{Drain: true})
	}
	w.until(5*time.Second, "drained", func() bool {
		for _, h := range hosts {
			if !h.departed {
				return false
			}
		}
		return true
	})
}

// A member that drains is as one that has left and was started anew, and joins again.
func TestDrainedMemberIsOutsideAndComesBack(t *testing.T) {
	for seed := range uint64(5) {
		for _, n := range []int{2, 3, 8} {
			w := ringOf(t, seed, 3, n)
			h := w.order[w.rng.IntN(n)]
			before := h.m.self
			w.drained(h)
			if h.m.phase != Outside || h.m.self != before || h.view.Phase != Outside || h.view.HasArc {
				t.Fatalf("%v is %v, and shows %+v", h.m.self, h.m.phase, h.view)
			}
			if last := h.ranges[len(h.ranges)-1]; last.HasNew || !last.HadOld || last.Cause != CauseGivenUp {
				t.Errorf("the program was told last of %+v", last)
			}
			w.ideal(2*time.Second, n-1)
			w.run(30 * time.Second)
			w.ideal(0, n-1)
			w.rejoin(h, w.live()[0].addr)
			w.ideal(10*time.Second, n)
			if !h.view.Self.Supersedes(before) || h.m.epoch == 0 || !h.view.HasArc {
				t.Errorf("it is back as %+v", h.view)
			}
		}
	}
}

// However many drain at once, one of all stays.
func TestOneStaysWhereAllDrain(t *testing.T) {
	for seed := range uint64(20) {
		for _, n := range []int{1, 2, 3, 8, 24} {
			w := ringOf(t, seed, 3, n)
			w.drained(w.order...)
			live := w.live()
			if len(live) == 0 {
				t.Fatalf("n=%d: nobody is left\n%s", n, w)
			}
			w.ideal(10*time.Second, len(live))
			for _, h := range w.order {
				if h.m.phase == Outside {
					w.rejoin(h, live[0].addr)
				}
			}
			w.ideal(20*time.Second, n)
		}
	}
}

// Nobody acknowledges the Leave of a member that is cut off: it stays, in doubt until
// its head has answered.
func TestDrainThatNobodyAcknowledgesStays(t *testing.T) {
	w := ringOf(t, 1, 3, 4)
	h := w.order[2]
	latency := w.latency
	w.latency = func(from, to string) time.Duration {
		if from == h.addr || to == h.addr {
			return -1
		}
		return latency(from, to)
	}
	h.departed = false
	w.step(h, Depart{Drain: true})
	w.until(20*time.Second, "stays", func() bool { return h.departed })
	if h.m.phase != Joined || !h.m.doubts && !h.m.alone {
		t.Errorf("it is %v, in doubt: %v", h.m.phase, h.m.doubts)
	}
	w.latency = latency
	w.ideal(60*time.Second, 4)
}

// A Leave that comes while the member drains is a leave.
func TestLeaveWhileDraining(t *testing.T) {
	w := ringOf(t, 1, 3, 2)
	a, b := w.order[0], w.order[1]
	w.step(a, Depart{Drain: true})
	w.step(b, Depart{Drain: true})
	w.step(a, Depart{})
	w.step(b, Depart{})
	w.until(5*time.Second, "departed", func() bool {
		for _, h := range w.order {
			h.up = !h.departed // as a process that has left
		}
		return a.departed && b.departed
	})
	if len(w.live()) != 0 {
		t.Errorf("a member stays\n%s", w)
	}
}

// A Leave that is said over and over, in the name of a member that stays, keeps nobody from
// draining.
func TestLeavesWithoutEndDoNotHoldUpADrain(t *testing.T) {
	w := ringOf(t, 1, 3, 4)
	lowest, highest := w.order[0], w.order[0]
	for _, h := range w.order {
		if h.m.self.ID < lowest.m.self.ID {
			lowest = h
		}
		if h.m.self.ID > highest.m.self.ID {
			highest = h
		}
	}
	highest.departed = false
	w.step(highest, Depart{Drain: true})
	for range 200 {
		if highest.departed {
			break
		}
		w.hear(highest, lowest.m.self, Request{Kind: Leave})
		w.run(time.Millisecond)
	}
	if !highest.departed || highest.m.phase != Outside {
		t.Errorf("after 200 ms it is %v, and has acknowledged %d", highest.m.phase, highest.m.depart.given)
	}
}
