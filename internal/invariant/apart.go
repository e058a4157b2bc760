package invariant

import (
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// RingsApart is what origins are for. A predecessor is left out: one that was on its
// way into the ring may have entered another one.
var RingsApart = Rule{"rings-apart", "No member lists one of a ring that has nothing in common with its own.",
	"docs/GUARANTEES.md, Rings stay apart", broken(func(r Ring, s protocol.State) string {
		for _, x := range s.Succ {
			if i := r.index(x); i >= 0 && !s.Origin.Kin(r.Members[i].Origin) {
				return "lists " + x.Name + ", which is in another ring"
			}
		}
		return ""
	})}

// OriginsApart is of two rings that have nothing in common at the start, of these
// origins: whoever joins, leaves or was in both, they get nothing in common.
func OriginsApart(first, second *ring.Origin) Rule {
	return Rule{"origins-apart", "No member's origin is akin to those of two rings that have nothing in common.",
		"docs/GUARANTEES.md, Rings stay apart", broken(func(_ Ring, s protocol.State) string {
			if s.Origin != nil && s.Origin.Kin(first) && s.Origin.Kin(second) {
				return "is in a ring akin to two that have nothing in common"
			}
			return ""
		})}
}
