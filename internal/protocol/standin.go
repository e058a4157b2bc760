package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// StandIns are the arcs that a program serves, without having taken them over, in the place of
// members that have left and are to be back. The zero StandIns is none.
type StandIns struct{ all []standIn }

type standIn struct {
	arc ring.Arc
	end time.Duration
}

// Gain notes that the program serves an arc from now on whose former owner is to be back at
// that time.
func (s *StandIns) Gain(arc ring.Arc, back time.Duration) {
	s.all = append(s.all, standIn{arc, back})
}

// Lose notes that the program does not serve an arc any more: whoever is back has it, or
// another.
func (s *StandIns) Lose(arc ring.Arc) {
	var kept []standIn
	for _, x := range s.all {
		for _, left := range x.arc.Minus(arc) {
			kept = append(kept, standIn{left, x.end})
		}
	}
	s.all = kept
}

// Over are the arcs whose former owners are not back in time. They are to be taken over now, and
// are none of s any more.
func (s *StandIns) Over(now time.Duration) []ring.Arc {
	var out []ring.Arc
	s.all = slices.DeleteFunc(s.all, func(x standIn) bool {
		if x.end > now {
			return false
		}
		out = append(out, x.arc)
		return true
	})
	return out
}

// At reports whether the program stands in at a point, and until when.
func (s *StandIns) At(id uint64) (end time.Duration, ok bool) {
	for _, x := range s.all {
		if x.arc.Contains(id) {
			return x.end, true
		}
	}
	return 0, false
}
