package protocol

import (
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// restless is a machine whose head, of another process, stands at the identifier of a slot,
// and that has asked it once; and a function that begins rounds, and tells in which of
// them the head is asked.
func restless(t *testing.T, slot int, lease time.Duration) (*Machine, ring.Member, func(n int) []bool) {
	t.Helper()
	self := ring.Member{ID: 10, Name: "a", Addr: "a:1", Incarnation: 1, Choice: ring.Chosen(5, 0), Home: 1}
	head := ring.Member{ID: 20, Name: "q", Addr: "q:1", Incarnation: 1, Choice: ring.Chosen(slot, 0), Home: 2}
	pred := ring.Member{ID: 90, Name: "p", Addr: "p:1", Incarnation: 1}
	m := Restore(self, Config{Bits: 64, Successors: 3, Interval: interval, Lease: lease, CheckEvery: 1000}, 1, Snapshot{Pred: pred, Succ: []ring.Member{head, pred}})
	now := time.Duration(0)
	m.Step(now, Asked{Token: 1, From: pred, Request: Request{Kind: AskRing}})
	rounds := func(n int) (asked []bool) {
		for range n {
			now += interval
			asked = append(asked, answers(m, now, m.Step(now, Tick{}), head, pred))
		}
		return asked
	}
	rounds(1)
	return m, head, rounds
}

// answers has the head answer its question, if it is asked one, and reports whether it is.
func answers(m *Machine, now time.Duration, effects []Effect, head, pred ring.Member) (asked bool) {
	for _, e := range slices.Clone(effects) {
		if e, ok := e.(Ask); ok && e.To == head && e.Request.Kind == AskRing {
			asked = true
			m.Step(now, Answer{Call: e.Call, Reply: Reply{State: State{
				Self: head, Phase: Joined, Pred: m.self, Succ: []ring.Member{pred}, Version: 7, Epoch: 3, Clock: 3,
				Lease: Lease{Length: m.cfg.Lease, Granted: m.cfg.Lease > 0, Chain: []time.Duration{0, 0, 0}},
			}}})
		}
	}
	return asked
}

func TestHeadIsAskedByWhichIdentifierItIs(t *testing.T) {
	for slot, want := range map[int][]bool{
		0:  {true, true, true, true, true, true, true, true},
		1:  {false, true, false, true, false, true, false, true},
		2:  {false, false, true, false, false, true, false, false},
		3:  {false, false, false, true, false, false, false, true},
		40: {false, false, false, false, false, true, false, false},
	} {
		_, _, rounds := restless(t, slot, 0)
		if got := rounds(8); !slices.Equal(got, want) {
			t.Errorf("identifier %d: asked in rounds %v, want %v", slot, got, want)
		}
	}
}

func TestLeasesHaveHeadsAskedInTime(t *testing.T) {
	for lease, want := range map[time.Duration][]bool{
		7 * interval:  {true, true, true, true},
		16 * interval: {false, true, false, true},
		60 * interval: {false, false, false, true},
	} {
		_, _, rounds := restless(t, 3, lease)
		if got := rounds(4); !slices.Equal(got, want) {
			t.Errorf("lease %v: asked in rounds %v, want %v", lease, got, want)
		}
	}
}

// Whatever happens ends the rest.
func TestWhatEndsTheRest(t *testing.T) {
	for what, ev := range map[string]Event{
		"a change of what it claims": Claimed{Epoch: 5, Contested: true},
		"a silent process":           Silent{Name: "q"},
		"a broken connection":        Lost{Addr: "q:1"},
		"a changed list":             Asked{Token: 9, From: ring.Member{ID: 20, Name: "q", Addr: "q:1", Incarnation: 1, Choice: ring.Chosen(3, 0), Home: 2}, Request: Request{Kind: Changed}},
	} {
		m, head, rounds := restless(t, 3, 0)
		if !m.Rests() {
			t.Fatalf("%s: it does not rest before", what)
		}
		asked := answers(m, 3*interval, m.Step(3*interval, ev), head, m.pred)
		if m.Rests() && !asked {
			t.Errorf("%s: it rests", what)
		}
		if got := rounds(1); !asked && !got[0] {
			t.Errorf("%s: the head is not asked", what)
		}
	}
	m, _, _ := restless(t, 3, 0)
	m.Step(3*interval, Silent{Name: "other"})
	if !m.Rests() {
		t.Error("a process that is not that of the head ends the rest")
	}
}

// One time-out has the others of the process look, and hints without end do not have them
// ask without end.
func TestProcessesLookTogether(t *testing.T) {
	m, head, _ := restless(t, 3, 0)
	asks := func(effects []Effect) (call uint64, suspects bool) {
		for _, e := range effects {
			switch e := e.(type) {
			case Ask:
				call = e.Call
			case Suspects:
				suspects = e.Who == head
			}
		}
		return call, suspects
	}
	call, _ := asks(m.Step(3*interval, Silent{Name: "q"}))
	if call == 0 {
		t.Fatal("a silent process is not asked")
	}
	again, suspects := asks(m.Step(3*interval, Answer{Call: call, Failure: &Failure{Kind: TimedOut}}))
	if again == 0 || !suspects {
		t.Errorf("after a time-out it asks again (%v) and tells the others (%v)", again != 0, suspects)
	}
	answers(m, 3*interval, []Effect{Ask{Call: again, To: head, Request: Request{Kind: AskRing}}}, head, m.pred)
	if call, _ := asks(m.Step(3*interval, Silent{Name: "q"})); call != 0 {
		t.Error("it is asked twice in a round for hints")
	}
}
