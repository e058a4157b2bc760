package protocol

import (
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

func TestStandIns(t *testing.T) {
	arc := func(after, to uint64) ring.Arc { return ring.Arc{After: after, To: to} }
	var s StandIns
	s.Gain(arc(1, 9), 10)
	s.Gain(arc(9, 12), 20)
	s.Lose(arc(3, 5)) // another has joined
	for id, want := range map[uint64]bool{1: false, 2: true, 3: true, 4: false, 5: false, 6: true, 9: true, 12: true, 13: false} {
		if _, ok := s.At(id); ok != want {
			t.Errorf("at %d: %v", id, ok)
		}
	}
	if end, _ := s.At(10); end != 20 {
		t.Errorf("it stands in until %v", end)
	}
	if over := s.Over(9); len(over) > 0 {
		t.Errorf("over too early: %v", over)
	}
	if over := s.Over(10); !slices.Equal(over, []ring.Arc{arc(1, 3), arc(5, 9)}) {
		t.Errorf("over: %v", over)
	}
	if _, ok := s.At(2); ok || len(s.Over(10)) > 0 {
		t.Error("what is over is stood in for")
	}
	if over := s.Over(20); !slices.Equal(over, []ring.Arc{arc(9, 12)}) {
		t.Errorf("over: %v", over)
	}
}
