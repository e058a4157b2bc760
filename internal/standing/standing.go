// Package standing decides at how many identifiers a process stands, and when they come and
// go. Where on the circle they stand, package balance decides; how one joins and leaves,
// package protocol.
//
// It does nothing itself, and has no clock: the runtime and the simulator ask for the next
// step, take it, and tell what became of it.
package standing

import "time"

// MaxJoining is how many identifiers join at once.
const MaxJoining = 16

// ChangeEvery is after how many intervals a process looks for an identifier that it is to
// choose anew. Each such change costs keys, and the shares change only when members come
// and go.
const ChangeEvery = 60

// Do is a step.
type Do uint8

// The steps.
const (
	Rest     Do = iota // nothing is to be done
	Grow               // join with the identifiers that are missing, MaxJoining at once
	Shrink             // leave with the last identifier; see Last
	Drain              // leave with the first, which is the only one, if others are in the ring
	Return             // join with the first
	Rechoose           // move one identifier to another place, if package balance has one: join there, then leave
	Forget             // end all identifiers but the first: that is in the ring no longer
	Drop               // end those that another process of the name has taken, and all chosen later
)

var doNames = [...]string{"rest", "grow", "shrink", "drain", "return", "rechoose", "forget", "drop"}

func (d Do) String() string { return doNames[d] }

// Phase is where the process stands with its first identifier.
type Phase uint8

// The phases of a process.
const (
	Outside    Phase = iota // in no ring, or not yet: it has not joined by itself
	Joined                  // in the ring
	Superseded              // out for good
)

// PhaseOf is the phase of a process whose first identifier has joined, or is superseded.
func PhaseOf(joined, superseded bool) Phase {
	switch {
	case joined:
		return Joined
	case superseded:
		return Superseded
	}
	return Outside
}

// Standing is what a process wants, and what has come of it.
type Standing struct {
	interval time.Duration
	every    time.Duration // between two looks for an identifier to be chosen anew; 0: never
	weight   int           // at how many identifiers it wants to stand
	before   int           // the last weight above zero
	drained  bool          // it has left with the first, to come back
	due      time.Duration // when the next such look is
	pause    time.Duration // after the last failures, 0 if there were none
	until    time.Duration // no step is taken before
}

// New returns the standing of a process that wants to stand at so many identifiers, at
// least one. Home is where the first is by default: processes do not march in step. One that
// can stand at one only never chooses anew.
func New(weight int, interval time.Duration, home uint64, now time.Duration) *Standing {
	s := &Standing{interval: interval, weight: max(1, weight), before: max(1, weight)}
	if weight > 1 {
		every := ChangeEvery * interval
		s.every = every + time.Duration(home%uint64(every/4+1))
	}
	s.due = now + s.every
	return s
}

// Weight is at how many identifiers the process wants to stand.
func (s *Standing) Weight() int { return s.weight }

// Drained reports whether the process has left the ring to come back when its weight is
// above zero.
func (s *Standing) Drained() bool { return s.drained }

// Want sets at how many identifiers the process is to stand. 0: at none. What has failed is
// tried at once.
func (s *Standing) Want(weight int) {
	if s.weight = max(0, weight); weight > 0 {
		s.before = weight
	}
	s.pause, s.until = 0, 0
}

// Next is the step to be taken now by a process that holds so many identifiers in the ring, of
// which, of those but the first, so many are lost to another process of its name, and when to ask
// again if nothing changes. Every step but Rest is to be told by Done.
func (s *Standing) Next(now time.Duration, phase Phase, held, lost int) (Do, time.Duration) {
	const never = time.Duration(1<<63 - 1)
	switch {
	case phase == Superseded && held > 1:
		return Forget, now
	case phase == Superseded:
		return Rest, never
	case lost > 0:
		return Drop, now
	case now < s.until:
		return Rest, s.until
	case phase == Outside && s.drained && s.weight > 0:
		return Return, now
	case phase == Outside:
		return Rest, never
	case s.weight == 0 && held <= 1:
		return Drain, now
	case held > s.weight:
		return Shrink, now
	case held < s.weight:
		return Grow, now
	case s.every > 0 && now >= s.due:
		return Rechoose, now
	case s.every > 0:
		return Rest, s.due
	}
	return Rest, never
}

// Outcome is what became of a step.
type Outcome uint8

// What can become of a step.
const (
	Taken  Outcome = iota
	Failed         // it is to be tried again, after a pause
	// Alone, of a Drain: nobody else holds the ring. The process stands as before, and as
	// before it was to drain.
	Alone
)

// Done tells what became of a step.
func (s *Standing) Done(now time.Duration, do Do, o Outcome) {
	if do == Rechoose {
		s.due = now + s.every
	}
	switch {
	case o == Failed:
		s.pause = min(max(2*s.pause, s.interval/10), 4*s.interval)
		s.until = now + s.pause
		return
	case do == Drain && o == Alone:
		s.weight = s.before
	case do == Drain:
		s.drained = true
	case do == Return:
		s.drained = false
	}
	s.pause, s.until = 0, 0
}

// Joined tells that the process has joined a ring otherwise than by Return.
func (s *Standing) Joined() { s.drained = false }

// Last is which of the slots the process leaves with next: the last chosen, so that those
// kept are the first of those that it has. The first identifier, in slot 0, goes by Drain
// only. It is -1 if there is no other.
func Last(slots []int) int {
	last := -1
	for i, slot := range slots {
		if slot > 0 && (last < 0 || slot > slots[last]) {
			last = i
		}
	}
	return last
}
