// Package invariant says what must hold of a ring. Tests, the model checker and
// the simulator judge by this one list.
package invariant

import (
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Ring is the state of all live members, clockwise, and the length of a full
// successor list.
type Ring struct {
	Members    []protocol.State
	Successors int
	// Claims are the arcs that members answer for, for the rules about them.
	Claims []Claim
}

// Claim is what a member answers for.
type Claim struct {
	By    ring.Member
	Arc   ring.Arc
	Alone bool // it knows of nobody else that lives, or only of one on its way in
}

// NewRing sorts the members clockwise. Those that are in no ring are left out.
func NewRing(successors int, states []protocol.State) Ring {
	r := Ring{Successors: successors}
	for _, s := range states {
		if s.Phase.InRing() {
			r.Members = append(r.Members, s)
		}
	}
	slices.SortFunc(r.Members, func(a, b protocol.State) int {
		switch {
		case a.Self.ID < b.Self.ID:
			return -1
		case a.Self.ID > b.Self.ID:
			return 1
		}
		return 0
	})
	return r
}

// Rule is one thing that must hold.
type Rule struct {
	Name string
	// Says is the rule in a sentence.
	Says string
	// Source is where the rule comes from.
	Source string
	// Broken says how the ring breaks the rule; empty if it does not.
	Broken func(Ring) string
}

// Rules of every reachable state, whatever has happened.
var (
	NoSelf = Rule{"no-self", "No member lists itself.", "Zave 2017, section III-D", broken(func(r Ring, s protocol.State) string {
		if slices.ContainsFunc(s.Succ, func(x ring.Member) bool { return x.ID == s.Self.ID }) {
			return "lists itself"
		}
		return ""
	})}
	NoDuplicates = Rule{"no-duplicates", "No member is listed twice by one member.", "Zave 2017, NoDuplicates", broken(func(r Ring, s protocol.State) string {
		for i, x := range s.Succ {
			if slices.ContainsFunc(s.Succ[:i], func(y ring.Member) bool { return y.ID == x.ID }) {
				return "lists " + x.Name + " twice"
			}
		}
		return ""
	})}
	Ordered = Rule{"ordered-lists", "Every successor list is in clockwise order.", "Zave 2017, OrderedSuccessorLists", broken(func(r Ring, s protocol.State) string {
		last := s.Self
		for _, x := range s.Succ {
			if !ring.Between(last.ID, x.ID, s.Self.ID) {
				return fmt.Sprintf("lists %s after %s", x.Name, last.Name)
			}
			last = x
		}
		return ""
	})}
	Bounded = Rule{"bounded-lists", "No successor list goes on after it is full.", "the definition of a list", broken(func(r Ring, s protocol.State) string {
		if n := len(s.Succ); n > 0 && processes(s.Self, s.Succ[:n-1]) >= r.Successors {
			return fmt.Sprintf("lists %d members, of %d processes, a full list has %d", n, processes(s.Self, s.Succ), r.Successors)
		}
		return ""
	})}
)

// Zave's inductive invariant and what she derives from it.
var (
	OneLiveSuccessor = Rule{"one-live-successor", "Every member of a ring of several that has a list has a live entry in it.", "Zave 2017, OneLiveSuccessor", broken(func(r Ring, s protocol.State) string {
		if len(r.Members) > 1 && r.best(s) < 0 {
			return "has no live successor"
		}
		return ""
	})}
	// NoEmptyList is the rest of OneLiveSuccessor. A founder has no list, nor for a
	// moment has it one when the first has joined.
	NoEmptyList = Rule{"no-empty-list", "No member of a ring that was once large enough is without a list.", "Zave 2017, OneLiveSuccessor", broken(func(r Ring, s protocol.State) string {
		if len(r.Members) > 1 && len(s.Succ) == 0 {
			return "has no successor, though others live"
		}
		return ""
	})}
	SufficientPrincipals = Rule{"sufficient-principals", "At least SuccessorCount+1 processes have members that are skipped by nobody.", "Zave 2017, SufficientPrincipals", func(r Ring) string {
		if n := r.PrincipalProcesses(); n < r.Successors+1 {
			return fmt.Sprintf("principals of %d processes, %d are needed", n, r.Successors+1)
		}
		return ""
	}}
	AtLeastOneRing = Rule{"at-least-one-ring", "Some members reach themselves by their best successors.", "Zave 2017, AtLeastOneRing", func(r Ring) string {
		if len(r.Members) > 0 && len(r.Cycles()) == 0 {
			return "nobody reaches itself"
		}
		return ""
	}}
	AtMostOneRing = Rule{"at-most-one-ring", "All who reach themselves reach each other.", "Zave 2017, AtMostOneRing", func(r Ring) string {
		if c := r.Cycles(); len(c) > 1 {
			return fmt.Sprintf("%d rings", len(c))
		}
		return ""
	}}
	OrderedRing = Rule{"ordered-ring", "The ring goes round the circle once.", "Zave 2017, OrderedRing", func(r Ring) string {
		for _, c := range r.Cycles() {
			wraps := 0
			for i, m := range c {
				if c[(i+1)%len(c)] <= m {
					wraps++
				}
			}
			if wraps != 1 {
				return fmt.Sprintf("a ring winds round the circle %d times", wraps)
			}
		}
		return ""
	}}
	ConnectedAppendages = Rule{"connected-appendages", "Every member reaches the ring by best successors.", "Zave 2017, ConnectedAppendages", func(r Ring) string {
		on := map[int]bool{}
		for _, c := range r.Cycles() {
			for _, m := range c {
				on[m] = true
			}
		}
		for i := range r.Members {
			at, steps := i, 0
			for at >= 0 && !on[at] && steps <= len(r.Members) {
				at = r.best(r.Members[at])
				steps++
			}
			if at < 0 || !on[at] {
				return r.Members[i].Self.Name + " does not lead to the ring"
			}
		}
		return ""
	}}
)

// Rules of what members answer for. A lookup ends with what some member claims, so
// what holds of the claims holds of its answer at that moment.
var (
	WholeCircle = Rule{"whole-circle", "Who answers for the whole circle has neither predecessor nor successor.", "docs/PROTOCOL.md, Recover", func(r Ring) string {
		for _, c := range r.Claims {
			if i := r.index(c.By); c.Arc.Whole() && i >= 0 && (!r.Members[i].Pred.IsZero() || len(r.Members[i].Succ) > 0) {
				return c.By.Name + " answers for the whole circle, and knows of others"
			}
		}
		return ""
	}}
	FromPredecessor = Rule{"from-predecessor", "Who answers for less than the whole circle does so from its predecessor on.", "the definition of an owner", func(r Ring) string {
		for _, c := range r.Claims {
			if i := r.index(c.By); !c.Arc.Whole() && i >= 0 && (r.Members[i].Pred.IsZero() || r.Members[i].Pred.ID != c.Arc.After) {
				return c.By.Name + " answers for an arc that does not begin at its predecessor"
			}
		}
		return ""
	}}
	OneOwner = Rule{"one-owner", "No two members answer for one identifier.", "the definition of an owner", func(r Ring) string {
		for i, a := range r.Claims {
			for _, b := range r.Claims[:i] {
				// Two arcs meet if one holds the end of the other.
				if a.Arc.Contains(b.Arc.To) || b.Arc.Contains(a.Arc.To) {
					return fmt.Sprintf("%s and %s both answer for an identifier", a.By.Name, b.By.Name)
				}
			}
		}
		return ""
	}}
)

// Ideal: every pointer is exactly right for the live membership.
var Ideal = Rule{"ideal", "Every pointer of every member is exactly right.", "Zave 2017, Ideal", func(r Ring) string {
	n := len(r.Members)
	for i, s := range r.Members {
		right := r.list(i)
		for k := range max(len(s.Succ), len(right)) {
			if k >= len(right) {
				return fmt.Sprintf("%s lists %d members, not %d", s.Self.Name, len(s.Succ), len(right))
			}
			if k >= len(s.Succ) || s.Succ[k] != right[k] {
				return fmt.Sprintf("successor %d of %s is not %s", k, s.Self.Name, right[k].Name)
			}
		}
		want := r.Members[(i+n-1)%n].Self
		if n == 1 {
			want = ring.Member{}
		}
		if s.Pred != want {
			return fmt.Sprintf("the predecessor of %s is %s, not %s", s.Self.Name, s.Pred.Name, want.Name)
		}
	}
	return ""
}}

// Always lists the rules of every reachable state.
func Always() []Rule { return []Rule{NoSelf, NoDuplicates, Ordered, Bounded, RingsApart} }

// Zave lists her invariant and its consequences, which hold while her
// assumptions do; those of Grown not in a ring that never was large enough.
func Zave() []Rule {
	return []Rule{OneLiveSuccessor, NoEmptyList, SufficientPrincipals, AtLeastOneRing, AtMostOneRing, OrderedRing, ConnectedAppendages}
}

// Grown lists those of Zave that ask for a ring that once had SuccessorCount+1
// members that nobody skipped, with full lists.
func Grown() []Rule { return []Rule{NoEmptyList, SufficientPrincipals} }

// Owning lists the rules of what members answer for. The first two hold always. The
// third does not where two that have joined into one gap have not met yet.
func Owning() []Rule { return []Rule{WholeCircle, FromPredecessor, OneOwner} }

// broken makes a rule of one member into one of the ring.
func broken(f func(Ring, protocol.State) string) func(Ring) string {
	return func(r Ring) string {
		for _, s := range r.Members {
			if w := f(r, s); w != "" {
				return s.Self.Name + " " + w
			}
		}
		return ""
	}
}

// Holds reports whether owner holds id rightfully: it is a member, and stands next
// clockwise from id, or answers for it by its own claim. That is what a lookup's
// answer is judged by, at the moment it ends.
func (r Ring) Holds(owner ring.Member, id uint64) bool {
	if r.index(owner) < 0 {
		return false
	}
	for _, c := range r.Claims {
		if c.By == owner && c.Arc.Contains(id) {
			return true
		}
	}
	return !slices.ContainsFunc(r.Members, func(s protocol.State) bool {
		return s.Self.ID != owner.ID && !(ring.Arc{After: s.Self.ID, To: owner.ID}).Contains(id)
	})
}

// index is where m stands among the live members, -1 if it does not live.
func (r Ring) index(m ring.Member) int {
	return slices.IndexFunc(r.Members, func(s protocol.State) bool { return s.Self == m })
}

// best is the index of the first live entry of a member's list, -1 for none. In
// a ring of one that is the member itself.
func (r Ring) best(s protocol.State) int {
	for _, x := range s.Succ {
		if i := r.index(x); i >= 0 {
			return i
		}
	}
	if len(s.Succ) == 0 {
		return r.index(s.Self)
	}
	return -1
}

// Cycles are the rings: the members, clockwise from the first, that reach
// themselves by best successors.
func (r Ring) Cycles() [][]int {
	var out [][]int
	seen := make([]int, len(r.Members)) // the walk that met it first, from 1
	for i := range r.Members {
		var walk []int
		at := i
		for at >= 0 && seen[at] == 0 {
			seen[at] = i + 1
			walk = append(walk, at)
			at = r.best(r.Members[at])
		}
		if at >= 0 && seen[at] == i+1 {
			if k := slices.Index(walk, at); k >= 0 {
				out = append(out, walk[k:])
			}
		}
	}
	return out
}

// Principals are the members that nobody skips: a member p is skipped by m if
// it lies strictly between two adjacent entries of m followed by its list.
func (r Ring) Principals() []int {
	var out []int
	for i, p := range r.Members {
		skipped := slices.ContainsFunc(r.Members, func(m protocol.State) bool {
			last := m.Self
			for _, x := range m.Succ {
				if ring.Between(last.ID, p.Self.ID, x.ID) {
					return true
				}
				last = x
			}
			return false
		})
		if !skipped {
			out = append(out, i)
		}
	}
	return out
}

// PrincipalProcesses counts the processes that have principals. A process may stand at
// several identifiers, which are members of one name.
func (r Ring) PrincipalProcesses() int {
	var all []ring.Member
	for _, i := range r.Principals() {
		all = append(all, r.Members[i].Self)
	}
	return processes(ring.Member{}, all)
}

// Full reports whether a member lists as many processes as there is room for.
func (r Ring) Full(s protocol.State) bool { return processes(s.Self, s.Succ) >= r.Successors }

// list is the list that member i should have: those after it, up to the one that is of the
// last process for which there is room.
func (r Ring) list(i int) []ring.Member {
	var out []ring.Member
	for k := 1; k < len(r.Members) && processes(r.Members[i].Self, out) < r.Successors; k++ {
		out = append(out, r.Members[(i+k)%len(r.Members)].Self)
	}
	return out
}

// processes counts the processes of the members in a list, besides that of the member of.
func processes(of ring.Member, list []ring.Member) int {
	n := 0
	for i, x := range list {
		if x.Name != of.Name && !slices.ContainsFunc(list[:i], func(y ring.Member) bool { return y.Name == x.Name }) {
			n++
		}
	}
	return n
}
