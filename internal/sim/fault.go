package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Faults is a set of kinds of faults. The zero Faults is none.
type Faults uint32

// The kinds of faults.
const (
	Loss Faults = 1 << iota
	Duplicate
	Reorder
	Slow
	Cut
	OneWay
	Links
	Pause
	Crash
	Vanish
	Clock
	Twin
	Joins
	Leaves
	Astray

	All = 1<<iota - 1
)

// Busy is not one of All: what All draws from a seed stays the same.
const Busy Faults = All + 1

// Jump is not one of All either.
const Jump Faults = Busy << 1

// Drains is not one of All either.
const Drains Faults = Jump << 1

// Returns is not one of All either.
const Returns Faults = Drains << 1

// cutOff are those by which members can be cut off from others.
const cutOff = Loss | Slow | Cut | OneWay | Links | Astray

// FaultKinds lists the kinds of faults, by name, each with what it does.
var FaultKinds = []Kind[Faults]{
	{Loss, "loss", "messages get lost, 1 to 20 % of them"},
	{Duplicate, "duplicate", "requests and answers arrive twice, 1 to 20 % of them"},
	{Reorder, "reorder", "a fifth of the messages come up to an interval late"},
	{Slow, "slow", "messages to and from some members take up to 1.5 s more"},
	{Cut, "cut", "two parts of the ring cannot reach each other: any split, an arc, one member"},
	{OneWay, "oneway", "messages from one part to the other get lost, but not those in the other direction"},
	{Links, "links", "some pairs cannot reach each other, though others can reach both"},
	{Pause, "pause", "members hang and wake again (SIGSTOP), one to a quarter of them"},
	{Crash, "crash", "processes are killed, one to a quarter of them, or neighbours; most restart"},
	{Vanish, "vanish", "the same, and nobody is there to refuse connections"},
	{Clock, "clock", "the same as crash, and the clock has been set up to an hour back or forth at the restart"},
	{Twin, "twin", "a member hangs, its name is started at another address, then it wakes"},
	{Joins, "join", "up to a quarter as many new members join at once"},
	{Leaves, "leave", "up to four members leave properly, often neighbours"},
	{Astray, "astray", "the names of one to a quarter of the members lead to others, and half of the connections to them break"},
	{Busy, "busy", "members have too much to do and answer so, up to a quarter of them; not one of all"},
	{Jump, "jump", "the monotonic clocks of members leap ahead, one to a quarter of them; not one of all"},
	{Returns, "restart", "up to four members leave to return, and most are back in their places, some of them late; not one of all"},
	{Drains, "drain", "processes drain, or stand at half of their identifiers, up to a quarter or all of them, and come back; not one of all"},
}

// ParseFaults reads a list of names separated by commas, of which the first may be all, or
// none.
func ParseFaults(s string) (Faults, error) {
	switch s {
	case "all":
		return All, nil
	case "none", "":
		return 0, nil
	}
	if rest, ok := strings.CutPrefix(s, "all,"); ok {
		more, err := parseKinds(FaultKinds, rest, "fault", "all, none")
		return All | more, err
	}
	return parseKinds(FaultKinds, s, "fault", "all, none")
}

func (f Faults) String() string {
	switch f {
	case 0:
		return "none"
	case All:
		return "all"
	}
	if f&All == All {
		return "all," + namesOf(FaultKinds, f&^All)
	}
	return namesOf(FaultKinds, f)
}

// action is one fault: when it begins and how long it lasts, counted from the
// beginning of the faults, and draws from which it takes whom it concerns. It
// does not depend on how many members there are, so that the plan of a seed
// stays the same when a failing run is made smaller.
type action struct {
	fault    Faults
	lie      Lies // of a hostile member, instead of a fault
	lasts    bool // a lie: to the end of the siege
	at, last time.Duration
	level    float64 // how much of it, 0 … 1
	shape    uint64  // in which form
	pick     uint64  // who is concerned
}

// plan draws the actions of a run: what hostile members do, and then as many faults from
// each seed as fit into its duration.
func plan(c *Config, seed uint64) []action {
	return append(planLies(c, seed), planFaults(c, seed)...)
}

func planFaults(c *Config, seed uint64) []action {
	var kinds []Faults
	for _, k := range FaultKinds {
		if c.Faults&k.Set != 0 {
			kinds = append(kinds, k.Set)
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, 0x706c616e))
	gap := time.Duration((1 + 4*rng.Float64()) * float64(c.Interval)) // quiet seeds and hectic ones
	var out []action
	for at := time.Duration(0); ; {
		at += time.Duration(rng.ExpFloat64() * float64(gap))
		a := action{fault: kinds[rng.IntN(len(kinds))], at: at, level: rng.Float64(), shape: rng.Uint64(), pick: rng.Uint64()}
		// Some end before anybody notices, some after every time-out.
		a.last = time.Duration(float64(c.Interval) * 0.2 * float64(uint64(1)<<rng.IntN(8)) * (0.5 + rng.Float64()))
		if at >= c.Duration {
			return out
		}
		a.last = min(a.last, c.Duration-at)
		out = append(out, a)
	}
}

func (a action) String() string {
	name := namesOf(FaultKinds, a.fault)
	if a.lie != 0 {
		if name = "lies: " + a.lie.String(); a.lasts {
			return name
		}
	}
	return fmt.Sprintf("%s for %v", name, a.last.Round(time.Millisecond))
}

// mix spreads the bits of x over all of its width (the finalizer of
// SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// chance turns bits into a number of 0 … 1.
func chance(x uint64) float64 { return float64(mix(x)>>11) / (1 << 53) }
