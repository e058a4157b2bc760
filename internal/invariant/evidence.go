package invariant

import (
	"fmt"
	"maps"
	"time"
)

// HeardSince is the rule that Heard holds members against: a member counts a process as living
// at a time only if its own process has heard of that since, itself or through others. So on
// one side of a cut nobody counts those on the other.
const HeardSince = "heard-since"

// Heard is until when a process has heard of each other, by names, in times of one clock: the
// latest at which that has said something which has come here, through however many others.
// All processes are known to have lived at 0.
type Heard struct {
	of map[string]time.Duration // never written to
}

// Says is what a process of that name passes on with what it says at that time.
func (x Heard) Says(name string, now time.Duration) Heard {
	return x.and(map[string]time.Duration{name: now})
}

// Hear takes what another has passed on.
func (x *Heard) Hear(said Heard) { *x = x.and(said.of) }

func (x Heard) and(of map[string]time.Duration) Heard {
	out := maps.Clone(x.of)
	if out == nil {
		out = make(map[string]time.Duration, len(of))
	}
	for name, at := range of {
		out[name] = max(out[name], at)
	}
	return Heard{out}
}

// Counts says how it breaks the rule to count the process of a name as living at that time;
// empty if it does not.
func (x Heard) Counts(name string, at time.Duration) (broken string) {
	if last := x.of[name]; at > last {
		return fmt.Sprintf("%s counts as living at %v, and the last that was heard of it is from %v", name, at, last)
	}
	return ""
}
