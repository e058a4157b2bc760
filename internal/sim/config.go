package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// Config says what is run. It is copied. The zero Config is 64 members that
// stand right from the start, and no faults.
type Config struct {
	// Members is how many there are at the start. 0: 64.
	Members int
	// Successors is the length of a full successor list. 0: 3.
	Successors int
	// Interval is the length of a round. 0: 1 s.
	Interval time.Duration
	// Identifiers are at how many identifiers the processes stand, one after another and
	// then again from the first. Each identifier counts as a member in Members. A fault of
	// one is a fault of its whole process, but for joins and leaves: by these it stands at
	// more and fewer. Nil: each member is a process.
	Identifiers []int
	// Start is how the members stand at the start: the name of a family of
	// States, or "ideal", which the empty string means.
	Start string
	// Warmup is for how long they are let alone before the faults begin. It is
	// not part of what is measured.
	Warmup time.Duration
	// Duration is how long the faults last. 0: there are none.
	Duration time.Duration
	// Faults are the kinds of faults made, one at a time or several at once.
	Faults Faults
	// Actions are which of the faults are made, counted from 0 in the order of
	// their beginning. Nil: all of them. For making a failing run smaller.
	Actions []int
	// Split cuts the ring into halves for so long, right after Warmup and
	// instead of other faults. 0: it does not.
	Split time.Duration
	// Sessions makes members come and go during Duration.
	Sessions Sessions
	// Latency is how long messages take. With faults, every fourth seed takes
	// another one if this is the zero Latency.
	Latency Latency
	// Lookups is how many lookups begin in each round of the faults, all
	// members together. 0: one for four members. Below 0: none.
	Lookups float64
	// Clients is how many processes look keys up that are no members. They do an eighth
	// of the lookups. 0: one for 16 members, at most 64, if there are faults and lookups.
	// Below 0: none.
	Clients int
	// MinMembers is how many members must be known to live for a member to serve, as
	// protocol.Config.MinMembers. 0: no number.
	MinMembers int
	// Lease is that by which members own their arcs, as protocol.Config.Lease. With one,
	// the clocks of members drift by up to 5 %. 0: there are none.
	Lease time.Duration
	// Takeover is how long joiners may take over what they will own before they own it, as
	// protocol.Join.Takeover. Their programs need up to twice as long, and some never
	// end. 0: they do not prepare.
	Takeover time.Duration
	// Hostile is the share of the processes of the start that lie, replay and flood, at all of
	// their identifiers, from the beginning of the faults to the end of the siege that follows
	// them; see Lies. Above 0 at least one does, and one does not. At most 0.5.
	Hostile float64
	// Lies are the kinds of what they do. 0: all.
	Lies Lies
	// Identity binds names and addresses to who sends and who answers, as mutual TLS with
	// identities does: hostile members lie in their own name only.
	Identity bool
	// Maps has every member keep a map of the ring, beside all else.
	Maps bool
	// NoFingers leaves the fingers out: only the machine mends the ring.
	NoFingers bool
	// NoMemory has hosts remember nothing of what lookups have taught: none is answered
	// by a confirmed arc.
	NoMemory bool
	// Bound is in how many rounds after the faults the ring must be ideal, of a second
	// at least each. 0: 120, see DefaultBound.
	Bound int
	// Idle is for how many rounds the ideal ring is then watched. 0: 20. Below
	// 0: not at all.
	Idle int
	// Tell makes Result.Story longer: everything of the run, not only its last
	// moments.
	Tell bool
}

// DefaultBound is in how many rounds a ring must be ideal again. Time is
// random, not bounded by the protocol: a member looks at one acquaintance
// outside its pointers in about 20 rounds, and a silent one is not looked at
// for up to 20 more. Where two parts know of each other by one record only,
// first contact takes 20 rounds on average and 120 with a chance of 1 in 400;
// where they know of each other by more, the chance is that to the power of
// their number.
const DefaultBound = 120

// Sessions is churn: how long members stay. Whoever goes is replaced at once by
// a new member that joins, so that their number stays what it was.
type Sessions struct {
	// Mean is how long members stay on average. 0: for ever.
	Mean time.Duration
	// Shape is that of the Weibull distribution of the stays: 1 is exponential,
	// below 1 many stay briefly and few very long. 0: 0.6.
	Shape float64
	// Polite is the share of those who leave instead of crashing, 0 … 1.
	Polite float64
}

// withDefaults fills in what is zero and says all that is wrong.
func (c Config) withDefaults() (Config, error) {
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&c.Members, 64)
	def(&c.Successors, 3)
	def(&c.Bound, DefaultBound)
	def(&c.Idle, 20)
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Start == "" {
		c.Start = "ideal"
	}
	if c.Lookups == 0 {
		c.Lookups = float64(c.Members) / 4
	}
	if c.Clients == 0 && c.Faults != 0 && c.Lookups > 0 {
		c.Clients = min(max(1, c.Members/16), 64)
	}
	if c.Sessions.Shape == 0 {
		c.Sessions.Shape = 0.6
	}
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(c.Members < 1 || c.Members > 1<<22, "members %d: use 1 to %d", c.Members, 1<<22)
	wrong(c.Successors < 1 || c.Successors > 64, "successors %d: use 1 to 64", c.Successors)
	wrong(c.MinMembers < 0 || c.MinMembers > c.Successors+1, "minimum of members %d: use at most %d, one more than a successor list names", c.MinMembers, c.Successors+1)
	wrong(c.Interval < 10*time.Millisecond, "interval %v: use at least 10ms", c.Interval)
	wrong(c.Bound < 1, "bound %d: use at least 1 round", c.Bound)
	wrong(c.Warmup < 0 || c.Duration < 0 || c.Split < 0 || c.Sessions.Mean < 0 || c.Takeover < 0, "a time below 0")
	wrong(!(c.Sessions.Shape >= 0.1 && c.Sessions.Shape <= 100), "shape %v: use 0.1 to 100", c.Sessions.Shape)
	wrong(!(c.Sessions.Polite >= 0 && c.Sessions.Polite <= 1), "polite %v: use 0 to 1", c.Sessions.Polite)
	wrong(!(c.Lookups <= 1e6), "lookups %v: use at most a million in a round", c.Lookups)
	wrong(!(c.Hostile >= 0 && c.Hostile <= 0.5), "hostile %v: use 0 to 0.5", c.Hostile)
	wrong(c.Lease != 0 && c.Lease < protocol.ShortestLease(c.Successors, c.Interval), "lease %v: use at least %v, %d intervals", c.Lease, protocol.ShortestLease(c.Successors, c.Interval), protocol.ShortestLease(c.Successors, 1))
	wrong(c.Lease != 0 && c.MinMembers < 2 && c.Faults&cutOff != 0, "leases with %v: without a minimum of members, who is cut off owns all the same", c.Faults&cutOff)
	wrong(slices.ContainsFunc(c.Identifiers, func(k int) bool { return k < 1 || k > 1024 }), "identifiers %v: use 1 to 1024 for each process", c.Identifiers)
	wrong(c.Lies&aboutMaps != 0 && !c.Maps, "lies %v: without maps there is nothing to lie about", c.Lies&aboutMaps)
	wrong(c.Start != "ideal" && !slices.ContainsFunc(States, func(s State) bool { return s.Name == c.Start }), "start %q: there is no such state", c.Start)
	return c, errors.Join(errs...)
}
