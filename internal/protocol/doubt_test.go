package protocol

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
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

// A ring of one does not doubt, unless the answer by which it finds that it has hung makes
// it a ring of more.
func TestRingOfOneThatHungDoubtsOnceItMeetsAnother(t *testing.T) {
	for what, meets := range map[string]bool{"stays alone": false, "meets another": true} {
		at := func(id uint64, name string) ring.Member {
			return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: 1}
		}
		self, other := at(5, "self"), at(9, "other")
		m := New(self, Config{Bits: 4, Successors: 2, Interval: interval, Named: true}, 1)
		m.Step(0, Create{})
		ev := Event(Tick{})
		for _, e := range m.Step(interval/2, Asked{From: other, Request: Request{Kind: Introduce, Subject: other}}) {
			if e, ok := e.(Ask); ok && e.To == other && meets {
				ev = Answer{Call: e.Call, Reply: Reply{State: State{Self: other, Phase: Joined, Pred: at(3, "before"), Succ: []ring.Member{at(3, "before")}}}}
			}
		}
		var v *View
		for _, e := range m.Step(10*interval, ev) {
			if e, ok := e.(Publish); ok {
				v = e.View
			}
		}
		if v == nil || v.Alone == meets || v.Doubts != meets {
			t.Errorf("%s: %+v", what, v)
		}
	}
}
