package invariant

import (
	"fmt"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// Serving is what one member does for lookups.
type Serving struct {
	By         *protocol.View
	MinMembers int
	// Answers: the member has answered a lookup of another, or named an owner in one of
	// its own that began when its view was By.
	Answers bool
	// Members is how many its ring has, if that is ideal. 0: not known.
	Members int
}

// others is how many other members the member knows of. One at several identifiers counts once.
func (s Serving) others() int {
	names := map[string]bool{}
	for _, x := range s.By.Succ {
		names[x.Name] = true
	}
	delete(names, s.By.Self.Name)
	return len(names)
}

// few reports whether the member knows of fewer members than it is to have. It does not
// rely on what it judges.
func (s Serving) few() bool { return s.By.Phase.InRing() && 1+s.others() < s.MinMembers }

// ServingRule is one thing that must hold of whether a member serves.
type ServingRule struct {
	Name   string
	Says   string // the rule in a sentence
	Source string
	Broken func(Serving) string // how the member breaks the rule; empty if it does not
}

// Rules of members that are told how many there have to be.
var (
	IsolatedAreSilent = ServingRule{"isolated-are-silent", "A member that knows of fewer members than MinMembers answers no lookup and names no owner.", "docs/GUARANTEES.md, MinMembers", func(s Serving) string {
		if s.Answers && s.few() {
			return fmt.Sprintf("it answers a lookup and knows of %d others, of %d that there have to be with itself", s.others(), s.MinMembers)
		}
		return ""
	}}
	IsolatedAreFew = ServingRule{"isolated-are-few", "In an ideal ring the members are isolated if they are fewer than MinMembers, and only then.", "docs/GUARANTEES.md, MinMembers", func(s Serving) string {
		if s.Members > 0 && s.By.Isolated != (s.Members < s.MinMembers) {
			return fmt.Sprintf("isolated is %t in a ring of %d, of which %d have to be", s.By.Isolated, s.Members, s.MinMembers)
		}
		return ""
	}}
)

// Servings lists the rules of whether a member serves.
func Servings() []ServingRule { return []ServingRule{IsolatedAreSilent, IsolatedAreFew} }
