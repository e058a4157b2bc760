package invariant

import (
	"fmt"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// Drained is a member that has drained, at the instant at which it has.
type Drained struct {
	By *protocol.View
	// Others is how many members of other processes are in the ring, or were when the
	// member began to drain and have failed or left since.
	Others int
}

// DrainRule is one thing that must hold of a member that has drained.
type DrainRule struct {
	Name   string
	Says   string // the rule in a sentence
	Source string
	Broken func(Drained) string // how the member breaks the rule; empty if it does not
}

// Rules of members that drain.
var (
	DrainedOwnsNothing = DrainRule{"drained-owns-nothing", "A member that has drained is in no ring and has no range.", "docs/PROTOCOL.md, Draining", func(d Drained) string {
		if d.By.Phase != protocol.Outside || d.By.HasArc {
			return fmt.Sprintf("%s is %v, and has a range: %t", d.By.Self.Name, d.By.Phase, d.By.HasArc)
		}
		return ""
	}}
	OneStays = DrainRule{"one-stays", "Members that drain do not leave a ring of nobody.", "docs/PROTOCOL.md, Draining", func(d Drained) string {
		if d.Others == 0 {
			return d.By.Self.Name + " has drained, and nobody else is in the ring"
		}
		return ""
	}}
)

// Drains lists the rules of members that drain.
func Drains() []DrainRule { return []DrainRule{DrainedOwnsNothing, OneStays} }
