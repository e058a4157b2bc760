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
	// Answered reports whether the member has had an answer of that incarnation of
	// another.
	Answered func(ring.Member) bool
	// Lives reports whether that incarnation is a member now.
	Lives func(ring.Member) bool
	// Heard is what another has said of itself in the answer that this step used;
	// nil: the step used none, or one that says of the member what an earlier one has
	// said by the same Number.
	Heard *protocol.State
	// Bidden: the step was taken for a Leave, and for nothing that anybody has answered.
	Bidden bool
	// Told reports whether the step has told the program of its range.
	Told bool
	// Entered is the answer by which the step has made a joiner a member; nil: it has not.
	Entered *protocol.Reply
	// Prepares reports whether that member is a joiner that has never asked anybody to hand
	// anything over. Nil: it is not known of anybody.
	Prepares func(ring.Member) bool
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
	// AskedFirst says nothing of further entries of a list: they are named by the
	// head, and are asked when they become the head.
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
	// LeaverAsked holds whoever sends what.
	LeaverAsked = ChangeRule{"leaver-asked", "Nobody does without a neighbour for a Leave, before the neighbour was asked.", "docs/PROTOCOL.md, Leave", func(c Change) string {
		was, is := c.Before, c.After
		if c.Bidden && (is.Head() != was.Head() || is.Pred != was.Pred) {
			return fmt.Sprintf("%s does without a neighbour, because somebody says that it leaves", is.Self.Name)
		}
		return ""
	}}
	// HeadKept holds as long as nobody is taken for dead by mistake.
	HeadKept = ChangeRule{"head-kept", "No member drops a head that lives but for a nearer one.", "docs/PROTOCOL.md, One time-out is no evidence", func(c Change) string {
		was, is := c.Before.Head(), c.After.Head()
		self := c.After.Self.ID
		if was.IsZero() || was == is || c.Before.Phase != protocol.Joined || c.After.Phase != protocol.Joined || !c.Lives(was) {
			return ""
		}
		if is.IsZero() || !ring.Between(self, is.ID, was.ID) {
			return fmt.Sprintf("%s has dropped its head %s, which lives", c.After.Self.Name, was.Name)
		}
		return ""
	}}
	// OneAddress is of those that a member remembers.
	OneAddress = ChangeRule{"one-address", "Of two members at one address only one is remembered.", "docs/PROTOCOL.md, Acquaintances", func(c Change) string {
		for i, x := range c.After.Known {
			if slices.ContainsFunc(c.After.Known[:i], func(y ring.Member) bool { return x.Addr == y.Addr }) {
				return fmt.Sprintf("%s remembers two members at the address of %s", c.After.Self.Name, x.Name)
			}
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
	// Told needs no clock and no memory of the one that took over: see
	// internal/protocol, replaced.go.
	Told = ChangeRule{"told-when-replaced", "A member that hears its head answer for its own identifier tells its program.", "docs/PROTOCOL.md, Replaced without knowing it", func(c Change) string {
		was, is, h := c.Before, c.After, c.Heard
		if h == nil || h.Phase != protocol.Joined || h.Self != is.Head() || c.Told || was.Replaced || !was.HasArc || is.Isolated || is.Phase != protocol.Joined {
			return ""
		}
		if h.Pred.IsZero() {
			return "" // it answers for nothing, or is a ring of one
		}
		if arc := (ring.Arc{After: h.Pred.ID, To: h.Self.ID}); arc.Contains(is.Self.ID) {
			return fmt.Sprintf("%s has heard that %s answers for its arc, and tells nobody", is.Self.Name, h.Self.Name)
		}
		return ""
	}}
)
