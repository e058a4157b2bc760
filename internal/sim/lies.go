package sim

import (
	"math/rand/v2"
	"time"
)

// Lies is a set of kinds of what hostile members do. The zero Lies is all of them.
type Lies uint32

// The kinds of what hostile members do.
const (
	Pointers Lies = 1 << iota
	Incarnations
	WideArcs
	WrongOwners
	NearerNames
	Placements
	FalseFailures
	Silence
	Ghosts
	Rivals
	Forgeries
	Departures
	Replays
	Floods
	Origins
	FalseClaims
	FalseMaps

	// AllLies are all of them.
	AllLies = 1<<iota - 1
)

// LieKinds lists the kinds of what hostile members do, by name. Those of the first group
// are in their answers, those of the second in messages that they send of their own.
var LieKinds = []Kind[Lies]{
	{Pointers, "pointers", "answer with a predecessor, a list, a phase or a replacement that is not so"},
	{Incarnations, "incarnations", "are a later or an earlier incarnation in each message"},
	{WideArcs, "arcs", "own every key that they are asked for, on an arc as wide as that takes, or the whole circle"},
	{WrongOwners, "owners", "name others as owners: one of their own, an honest member, one that never was"},
	{NearerNames, "nearer", "name members nearer before the key that never were, without end"},
	{Placements, "placements", "say of members who join or look for their place that they are elsewhere, or taken"},
	{FalseFailures, "failures", "fail requests: another incarnation is here, or somebody else, or they are in no ring"},
	{Silence, "silence", "do not answer some kinds of requests, or some members"},
	{Ghosts, "ghosts", "introduce members that never were, at their own and at others' addresses"},
	{Rivals, "rivals", "introduce later incarnations of others to them and to their neighbours"},
	{Forgeries, "forge", "send messages in others' names"},
	{Departures, "departures", "send leaves, in their own and in others' names, and stay"},
	{Replays, "replay", "send again what they have received and sent"},
	{Origins, "origins", "say that they are in another ring, or that theirs is akin to others"},
	{Floods, "flood", "send a member up to 200 requests in an interval"},
	{FalseClaims, "claims", "push claims to maps that nobody has made: of their own arcs, of others' and of members that never were"},
	{FalseMaps, "maps", "say of their maps what is not so: that they are certain and the same, which claims they lack, or that the next sweep has begun"},
}

// aboutMaps are the kinds that there are only where maps are kept.
const aboutMaps = FalseClaims | FalseMaps

// ParseLies reads a list of names separated by commas, or all.
func ParseLies(s string) (Lies, error) {
	if s == "all" || s == "" {
		return 0, nil
	}
	return parseKinds(LieKinds, s, "lie", "all")
}

func (l Lies) String() string {
	if l == 0 || l == AllLies {
		return "all"
	}
	return namesOf(LieKinds, l)
}

// planLies draws what hostile members do in a run: how many and what does not depend on
// the number of members, nor on the duration. Each goes on for a while, or to the end
// of the siege.
func planLies(c *Config, seed uint64) []action {
	if c.Hostile == 0 {
		return nil
	}
	var kinds []Lies
	for _, k := range LieKinds {
		if (c.Lies == 0 || c.Lies&k.Set != 0) && (c.Maps || k.Set&aboutMaps == 0) {
			kinds = append(kinds, k.Set)
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0x6c696573))
	out := make([]action, 4+rng.IntN(12))
	for i := range out {
		a := &out[i]
		*a = action{lie: kinds[rng.IntN(len(kinds))], level: rng.Float64(), shape: rng.Uint64(), pick: rng.Uint64()}
		a.at = min(time.Duration(rng.ExpFloat64()*4*float64(c.Interval)), c.Duration)
		a.last = time.Duration((1 + rng.ExpFloat64()*10) * float64(c.Interval))
		a.lasts = rng.IntN(4) > 0
	}
	return out
}
