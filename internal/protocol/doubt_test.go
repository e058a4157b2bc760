package protocol

import (
	"testing"
	"time"
)

func TestMemberThatHungOwnsNothingUntilItsHeadHasNamedIt(t *testing.T) {
	for seed := range uint64(20) {
		w := ringOf(t, seed, 3, 8)
		w.run(3 * interval)
		k := w.rng.IntN(8)
		h, heir := w.live()[k], successorOf(w, k)
		due := h.m.replaced.due
		owns := func() bool { return h.view.Owns(h.m.self.ID, due, w.now, interval) }
		if !owns() {
			t.Fatal("the test tests nothing: it owns nothing before")
		}
		h.frozen, h.wake = true, -1 // it has no round either
		w.run(10 * interval)
		if owns() {
			t.Errorf("seed %d: it hangs, and whoever reads its view finds that it owns its arc", seed)
		}
		h.frozen = false
		w.step(h, Tick{})
		if !h.view.Doubts {
			t.Errorf("seed %d: it has woken and does not doubt", seed)
		}
		w.until(time.Minute, "no doubt", func() bool {
			if !h.view.Doubts && h.view.Head() == heir.m.Self() && heir.view.Pred != h.m.Self() {
				t.Fatalf("seed %d: it doubts no longer, and its head has the predecessor %v", seed, heir.view.Pred)
			}
			return !h.view.Doubts
		})
		w.ideal(30*time.Second, 8)
	}
}

func TestWhoOwnsNothing(t *testing.T) {
	const sec = time.Second
	for what, tc := range map[string]struct {
		view View
		due  time.Duration
		owns bool
	}{
		"owner":                    {View{Phase: Joined, HasArc: true}, 9 * sec, true},
		"no arc":                   {View{Phase: Joined}, 9 * sec, false},
		"isolated":                 {View{Phase: Joined, HasArc: true, Isolated: true}, 9 * sec, false},
		"in doubt":                 {View{Phase: Joined, HasArc: true, Doubts: true}, 9 * sec, false},
		"hangs":                    {View{Phase: Joined, HasArc: true}, 9*sec - 1, false},
		"alone, and hangs":         {View{Phase: Joined, HasArc: true, Alone: true}, sec, true},
		"leaving, without a round": {View{Phase: Leaving, HasArc: true}, sec, true},
	} {
		if got := tc.view.Owns(0, tc.due, 10*sec, sec); got != tc.owns {
			t.Errorf("%s: %v", what, got)
		}
	}
	if Overdue(9*sec, 9*sec+leastHang, time.Millisecond) || !Overdue(9*sec, 9*sec+leastHang+1, time.Millisecond) {
		t.Error("a short interval makes every late round a hang")
	}
}
