package invariant

import (
	"fmt"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Rules of joins in which the joiner takes over before it owns.
var (
	// ReleasedFirst is about the step by which a joiner becomes a member. Whoever is
	// notified later has what its predecessor says.
	ReleasedFirst = ChangeRule{"released-first", "A joiner owns nothing before its successor has released it, and then no more than that.", "docs/PROTOCOL.md, Taking over", func(c Change) string {
		was, is := c.Before, c.After
		if was.Phase != protocol.Joining || is.Phase != protocol.Joined || is.Alone || !is.HasArc || is.Isolated {
			return ""
		}
		by := c.Entered
		switch {
		case by == nil || by.State.Self != is.Head():
			return fmt.Sprintf("%s owns %v, and nobody has released it", is.Self.Name, is.Arc)
		case by.State.Pred != is.Self:
			return fmt.Sprintf("%s owns %v, and %s, which says that its predecessor is %s, still owns that", is.Self.Name, is.Arc, by.State.Self.Name, by.State.Pred.Name)
		case by.Former.IsZero() || by.Former.ID != is.Arc.After:
			return fmt.Sprintf("%s owns %v, and %s has released what comes after %s", is.Self.Name, is.Arc, by.State.Self.Name, by.Former.Name)
		}
		return ""
	}}
	// ServedMeanwhile is about the member whose arc the joiner takes over.
	ServedMeanwhile = ChangeRule{"served-meanwhile", "Nobody gives anything up for a joiner that only prepares.", "docs/PROTOCOL.md, Taking over", func(c Change) string {
		was, is := c.Before, c.After
		if p := is.Pred; p != was.Pred && !p.IsZero() && c.Prepares != nil && c.Prepares(p) {
			return fmt.Sprintf("%s has taken %s for its predecessor, which only prepares to join", is.Self.Name, p.Name)
		}
		return ""
	}}
)

// TakesInTime is the rule that a joiner joins when its time to take over is over.
const TakesInTime = "takes-over-in-time"

// Releases knows what members have released to joiners. The zero Releases knows of none.
type Releases struct {
	to   []ring.Instance
	arcs []ring.Arc
}

// Release notes that a member has taken that joiner for its predecessor, and so released
// the arc.
func (r *Releases) Release(to ring.Member, arc ring.Arc) {
	r.to, r.arcs = append(r.to, to.Instance()), append(r.arcs, arc)
}

// Entered says how a joiner that has become a member breaks ReleasedFirst, since what it
// owns was not released to it; empty if it does not.
func (r *Releases) Entered(v *protocol.View) (broken string) {
	if !v.HasArc || v.Isolated || v.Alone {
		return ""
	}
	for i, to := range r.to {
		if to == v.Self.Instance() && len(v.Arc.Minus(r.arcs[i])) == 0 {
			return ""
		}
	}
	return fmt.Sprintf("%s owns %v, which nobody has released to it", v.Self.Name, v.Arc)
}
