package invariant

import (
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Founding is that a member has founded a ring where it found none.
type Founding struct {
	By ring.Member
	At time.Duration
	// Heard says when the other, which looked for a ring too, last answered at its
	// own address what By had asked, and whether it ever did.
	Heard func(other ring.Member) (at time.Duration, ever bool)
}

// FoundingRule is one thing that must hold of any two foundings.
type FoundingRule struct {
	Name   string
	Says   string // the rule in a sentence
	Source string
	Broken func(first, second Founding) string // how the two break it; empty if they do not
}

// OneFounder is what JoinOrCreate promises. Two that never met may both found, and
// their rings merge.
var OneFounder = FoundingRule{"one-founder", "Of two members that had each other's answers the second founds only if it has not heard the first for as long as a promise lasts.",
	"docs/GUARANTEES.md, Founding together", func(first, second Founding) string {
		if first.At > second.At {
			first, second = second, first
		}
		_, ever := first.Heard(second.By)
		if at, met := second.Heard(first.By); ever && met && second.At-at < protocol.Promise {
			return fmt.Sprintf("%s has founded %v after %s answered it, and that one too", second.By.Name, second.At-at, first.By.Name)
		}
		return ""
	}}
