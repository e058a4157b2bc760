package invariant

import (
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Change is one step of one member that has changed its pointers or its arc.
type Change struct {
	Before, After *protocol.View
	// Answered reports whether the member has had an answer of that life of
	// another.
	Answered func(ring.Member) bool
	// Lives reports whether that life is a member now.
	Lives func(ring.Member) bool
}

// ChangeRule is one thing that must hold of every step of every member.
type ChangeRule struct {
	Name   string
	Says   string // the rule in a sentence
	Source string
	Broken func(Change) string // how the step breaks the rule; empty if it does not
}

// Rules of every step.
var (
	// AskedFirst says nothing of further entries of a list: they are the head's
	// word, and are asked when they become the head.
	AskedFirst = ChangeRule{"asked-first", "Nobody becomes a head that was not listed, or a predecessor, before it has answered.", "Zave 2017, section III-C: stabilize asks a member before it adopts it", func(c Change) string {
		was, is := c.Before, c.After
		if h := is.Head(); !h.IsZero() && !slices.Contains(was.Succ, h) && !c.Answered(h) {
			return fmt.Sprintf("%s has made %s its head unasked", is.Self.Name, h.Name)
		}
		if p := is.Pred; !p.IsZero() && p != was.Pred && !c.Answered(p) {
			return fmt.Sprintf("%s has made %s its predecessor unasked", is.Self.Name, p.Name)
		}
		return ""
	}}
	// NoTakeover holds as long as nobody is taken for dead by mistake.
	NoTakeover = ChangeRule{"no-takeover", "No member takes over the arc of its predecessor while that lives.", "docs/PROTOCOL.md, Zave's rectify and Recover", func(c Change) string {
		was, is := c.Before, c.After
		p := was.Pred
		if !is.HasArc || !was.HasArc || p.IsZero() || p == is.Pred || !c.Lives(p) {
			return ""
		}
		for _, a := range is.Arc.Minus(was.Arc) {
			if p.ID == a.To || ring.Between(a.After, p.ID, a.To) {
				return fmt.Sprintf("%s has taken over the arc of %s, which lives", is.Self.Name, p.Name)
			}
		}
		return ""
	}}
)
