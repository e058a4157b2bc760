package invariant

import (
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Rules of members that do not ask their heads in every round.
const (
	// AsksInTime is the rule that Rests holds rounds against: a member of a ring asks
	// somebody for its ring at least as often as the pace of its head.
	AsksInTime = "asks-in-time"
	// LooksTogether says: when a member finds that a process does not answer, no other
	// member of its own process rests whose head is of that process.
	LooksTogether = "looks-together"
	// SilentTogether is the rule that Silent holds views against: when a member finds that a
	// process does not answer, no other member of its own process has that for live, but where
	// a pointer names it.
	SilentTogether = "silent-together"
)

// Silent is an identifier of the process of x that a member has for live, though it has been
// told that the process does not answer, and that no pointer names; zero: there is none.
func Silent(v *protocol.View, x ring.Member) ring.Member {
	for _, y := range v.Known {
		if y.SameProcess(x) && y.Incarnation == x.Incarnation && y != v.Pred && !slices.Contains(v.Succ, y) {
			return y
		}
	}
	return ring.Member{}
}

// Rests counts the rounds of one member in which it has asked nobody. The zero Rests is of
// one that has just begun.
type Rests struct{ rounds int }

// Asked notes that the member asks for a ring.
func (r *Rests) Asked() { r.rounds = 0 }

// Round takes what the member sees after a round has begun, and whether a question of its
// stabilization is open. It says how that breaks the rule; empty if it does not.
func (r *Rests) Round(v *protocol.View, open bool) (broken string) {
	if r.rounds++; v.Phase != protocol.Joined || len(v.Succ) == 0 || open {
		r.rounds = 0
	}
	if most := protocol.Pace(v.Head()); r.rounds > most {
		return fmt.Sprintf("%s has asked nobody in %d rounds, its head %s is to be asked in %d", v.Self.Name, r.rounds, v.Head().Name, most)
	}
	return ""
}
