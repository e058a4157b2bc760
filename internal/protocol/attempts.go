package protocol

import (
	"cmp"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Pauses between attempts to get into a ring.
const (
	attemptPauseMin  = 20 * time.Millisecond
	attemptPauseBusy = 250 * time.Millisecond // the ring answers, and is being rebuilt
	attemptPauseMax  = time.Second
	// namesLag is how long others may resolve a name to the address of before, or to
	// none: names take a while to follow a member that moves.
	namesLag = 30 * time.Second
)

// Attempts is where a process stands that tries again and again to get into a ring: as
// a member, or as a client that wants somebody to ask. It says which failures are
// hopeless and how long to wait before the next attempt. The zero Attempts has made
// none. It is a value: its methods change nothing.
type Attempts struct {
	// Failed is how many attempts have failed.
	Failed int
	// Causes are those of the last attempt that failed.
	Causes []JoinCause

	pause          time.Duration // before the next, on average
	unreached      bool          // the last failed because nobody reached this process
	unreachedSince time.Duration // when the first did of those that did so in a row
}

// Newcomer is who tries.
type Newcomer struct {
	Self ring.Member // zero: a client
	// Named: its own address is a name, which may come to lead here.
	Named bool
}

// Fail takes the causes of an attempt that failed at the time now. It reports whether
// it is hopeless to try again.
//
// One address of another kind of ring does not make it so while others may be right. Nor
// does an address that leads to this process itself: it may lead to another the next
// time. Nor does it that nobody reaches this process, unless that lasts: for two attempts,
// or by a name for as long as names lag. That another member has answered that advertises
// the same address makes it hopeless at once.
func (a Attempts) Fail(causes []JoinCause, who Newcomer, now time.Duration) (next Attempts, hopeless bool) {
	limit := attemptPauseMax
	unreached := slices.ContainsFunc(causes, JoinCause.unreached)
	lasts := unreached && a.unreached && (!who.Named || now-a.unreachedSince > namesLag)
	if n := len(causes); n > 0 && causes[n-1].Failure == nil && !unreached {
		limit = attemptPauseBusy
	}
	next = a.again(limit)
	next.Causes = telling(causes, a.Causes)
	if next.unreached = unreached; unreached && !a.unreached {
		next.unreachedSince = now
	}
	hopeless = true
	for _, c := range causes {
		switch other := c.Refusal.Other; {
		case c.unreached():
			if lasts || other.Addr == who.Self.Addr && other.Name != who.Self.Name {
				return next, true
			}
			hopeless = false
		case c.Failure == nil && c.Permanent():
			return next, true
		case !c.Permanent():
			hopeless = false
		}
	}
	return next, hopeless
}

// telling is causes, but that a member that had too much to do, and has told more before,
// is said to have told that: what it refuses for now says nothing of why.
func telling(causes, before []JoinCause) []JoinCause {
	out := slices.Clone(causes)
	for i, c := range out {
		if !c.busy() {
			continue
		}
		if k := slices.IndexFunc(before, func(b JoinCause) bool { return b.At == c.At && b.Failure == nil }); k >= 0 {
			out[i] = before[k]
		}
	}
	return out
}

// busy reports whether a member had too much to do.
func (c JoinCause) busy() bool { return c.Failure == nil && c.Refusal.Reason == Busy }

// Repeat takes an attempt that has failed and that is repeated whatever the causes.
func (a Attempts) Repeat() Attempts { return a.again(attemptPauseMax) }

func (a Attempts) again(limit time.Duration) Attempts {
	a.Failed++
	a.pause = min(max(attemptPauseMin, 2*a.pause), limit)
	return a
}

// Pause is how long to wait before the next attempt. Random is drawn evenly from
// [0, 1), so that those that failed together do not try again together.
func (a Attempts) Pause(random float64) time.Duration {
	return a.pause/2 + time.Duration(random*float64(a.pause))
}

// Unreached reports whether the last attempt failed because nobody reached this process
// at the address by which it names itself.
func (a Attempts) Unreached() bool { return a.unreached }

// Open are the causes known while the next attempt is under way: those that it has met,
// one of the member that it waits for, if that is not the zero Member, and those of the
// attempt before of whom the next has not come to. That a member has not answered yet
// hides nothing that it has told before.
func (a Attempts) Open(met []JoinCause, waiting ring.Member) []JoinCause {
	last := a.Causes
	told := func(c JoinCause) bool {
		return c.At.Addr == waiting.Addr && (c.Failure == nil || c.Failure.Kind != TimedOut)
	}
	if waiting.Addr != "" && !slices.ContainsFunc(last, told) {
		open := JoinCause{At: waiting, Failure: &Failure{Kind: TimedOut, Detail: "no answer yet"}}
		last = withOthers([]JoinCause{open}, last)
	}
	return withOthers(telling(met, a.Causes), last)
}

// withOthers is newest, and besides the causes of last at other addresses.
func withOthers(newest, last []JoinCause) []JoinCause {
	out := slices.Clone(newest)
	for _, c := range last {
		if !slices.ContainsFunc(newest, func(n JoinCause) bool { return n.At.Addr == c.At.Addr }) {
			out = append(out, c)
		}
	}
	return out
}

// MostTelling are the causes in the order in which they help whoever reads them: what a member
// has said of self, or of its ring, before that one is in no ring, and that before silence. Equal
// ones are in the order of their addresses.
func MostTelling(causes []JoinCause, self ring.Member) []JoinCause {
	return slices.SortedStableFunc(slices.Values(causes), func(a, b JoinCause) int {
		return cmp.Or(cmp.Compare(a.rank(self), b.rank(self)), cmp.Compare(a.At.Addr, b.At.Addr), cmp.Compare(a.At.Name, b.At.Name))
	})
}

// rank is the place of a cause among others in MostTelling.
func (c JoinCause) rank(self ring.Member) int {
	if c.Permanent() {
		return 0
	}
	if f := c.Failure; f != nil {
		switch f.Kind {
		case Isolated, Invalid, WrongMember:
			return 1
		case Overloaded:
			return 2
		case NotJoined:
			if !f.By.IsZero() && f.By == self {
				return 6
			}
			return 3
		case Unreachable, Refused:
			return 4
		}
		return 5
	}
	switch c.Refusal.Reason {
	case Busy:
		return 2
	case NotInRing:
		return 3
	}
	return 1
}

// unreached reports whether others did not reach who wanted to join.
func (c JoinCause) unreached() bool { return c.Failure == nil && c.Refusal.Reason == NotReached }
