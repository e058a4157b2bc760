package invariant

import (
	"fmt"
	"strings"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// The rules of this file are for rings in which some members are hostile: they say what is
// not so, to anyone. The others are honest. The rules hold while names and addresses are
// bound to whoever sends or answers, as mutual TLS with identities binds them: a hostile
// member can then lie in its own name only. A hostile member stands at one point of the
// circle, and may be a neighbour and an owner there like any other.

// Siege is a ring of honest and hostile members.
type Siege struct {
	// Members are all that live, clockwise. Of a hostile one only Self counts.
	Members []protocol.State
	// Hostile reports whether a process lies, whatever incarnation it says it is.
	Hostile func(ring.Member) bool
}

// HonestNeighbours is what an ideal ring is when some members lie. Of the entries of a
// list after a hostile one nothing can be said: they are that one's word.
const HonestNeighbours = "honest-neighbours"

// Skip is an honest member that skips another, and how.
type Skip struct {
	By  ring.Member
	How string
}

// Skips lists the honest members whose pointers pass over another honest member. Of the
// others the head and the predecessor are the next honest member in that direction, or a
// hostile one that stands before it.
func (s Siege) Skips() []Skip {
	var out []Skip
	for i, m := range s.Members {
		if how := s.skips(i); how != "" {
			out = append(out, Skip{By: m.Self, How: how})
		}
	}
	return out
}

// skips says how member i skips an honest member; empty if it does not, or is hostile.
func (s Siege) skips(i int) string {
	n, m := len(s.Members), s.Members[i]
	if s.Hostile(m.Self) {
		return ""
	}
	next := func(step int) []ring.Member { // whom it may name
		var out []ring.Member
		for k := 1; k < n; k++ {
			x := s.Members[(i+n+k*step)%n].Self
			if out = append(out, x); !s.Hostile(x) {
				break
			}
		}
		return out
	}
	if after := next(1); !s.oneOf(m.Head(), after) {
		return fmt.Sprintf("the head of %s is %q, not %s", m.Self.Name, m.Head().Name, names(after))
	}
	if before := next(-1); !s.oneOf(m.Pred, before) {
		return fmt.Sprintf("the predecessor of %s is %q, not %s", m.Self.Name, m.Pred.Name, names(before))
	}
	return ""
}

// oneOf reports whether x is one of the members. Nobody will do if there is no honest one.
func (s Siege) oneOf(x ring.Member, of []ring.Member) bool {
	alone := true
	for _, y := range of {
		if x == y || s.Hostile(y) && y.SameMember(x) {
			return true
		}
		alone = alone && s.Hostile(y)
	}
	return alone && x.IsZero()
}

func names(of []ring.Member) string {
	out := make([]string, len(of))
	for i, x := range of {
		out[i] = x.Name
	}
	return strings.Join(out, " or ")
}

// KeepsItsPlace is judged of honest members whose name no other process bears.
var KeepsItsPlace = ChangeRule{"keeps-its-place", "An honest member is a member until its own program ends that.", "docs/SECURITY.md, What a hostile member can still do", func(c Change) string {
	if c.Before.Phase == protocol.Joined && c.After.Phase != protocol.Joined && c.After.Phase != protocol.Leaving {
		return fmt.Sprintf("%s is %v, for what others have said", c.After.Self.Name, c.After.Phase)
	}
	return ""
}}

// Testimony is what came of a lookup of an honest process among hostile members.
type Testimony struct {
	Failed          bool
	Fresh, Verified bool
	// Settled: no honest member has skipped another since before the lookup began.
	Settled bool
	// Exists: the one named is, or was, a member.
	Exists bool
	// Hostile: the one named is.
	Hostile bool
	// Held: the one named held the key at an instant of the lookup, by its own account.
	Held bool
	// Right: the one named is, or was when the lookup began, the first live member at or
	// after the key; or it is the first honest one, and has held the key if it was to be asked.
	Right bool
	// Misled: a hostile member has answered, or stands between the member by whose list
	// the owner was named and the owner.
	Misled bool
	// AllWays: that is so of each of the ways of a verified lookup.
	AllWays bool
	// Alone: of each way, no other hostile member than the one that is named.
	Alone bool
	// Over: an honest member stands at the key, or between it and the one named, that the
	// process had in its table when the search began and that has not failed to answer it.
	Over bool
}

// TestimonyRule is one thing that must hold of every lookup of an honest process.
type TestimonyRule struct {
	Name   string
	Says   string // the rule in a sentence
	Source string
	Broken func(Testimony) string // how the lookup breaks the rule; empty if it does not
}

const sourceOfTestimony = "docs/SECURITY.md, What a hostile member can still do"

// Rules of every lookup of an honest process among hostile members.
var (
	NoOutsider = TestimonyRule{"no-outsider", "A lookup names nobody who never was a member.", sourceOfTestimony, func(t Testimony) string {
		if !t.Failed && !t.Exists {
			return "it never was a member"
		}
		return ""
	}}
	HonestWord = TestimonyRule{"honest-word", "A fresh or verified lookup names an honest member only if that held the key during the lookup.", sourceOfTestimony, func(t Testimony) string {
		if !t.Failed && (t.Fresh || t.Verified) && !t.Hostile && !t.Held {
			return "it is honest, and did not hold the key"
		}
		return ""
	}}
	NotMisled = TestimonyRule{"not-misled", "A lookup that no hostile member has answered finds the owner, unless it was to be verified and is not.", sourceOfTestimony, func(t Testimony) string {
		switch {
		case !t.Settled || t.Misled:
		case t.Failed && !t.Verified:
			return "it failed, and no hostile member was asked"
		case !t.Failed && !t.Right && !t.Hostile:
			return "it is not the owner, and no hostile member was asked"
		}
		return ""
	}}
	MetFirst = TestimonyRule{"met-first", "A lookup names no hostile member beyond an honest one that its process knew there, unless it was to be verified.", sourceOfTestimony, func(t Testimony) string {
		if t.Settled && !t.Failed && !t.Verified && t.Hostile && t.Over {
			return "it is hostile, and an honest member known to the process stands before it"
		}
		return ""
	}}
	TwoLiars = TestimonyRule{"two-liars", "A verified lookup names another than the owner only if that one is hostile, a hostile member was on each of its ways, and another than that one on some.", sourceOfTestimony, func(t Testimony) string {
		if t.Settled && t.Verified && !t.Failed && !t.Right && !(t.Hostile && t.AllWays && !t.Alone) {
			return "it is not the owner, and nobody else has lied on both ways"
		}
		return ""
	}}
)

// Testimonies lists the rules of every lookup of an honest process among hostile members.
func Testimonies() []TestimonyRule {
	return []TestimonyRule{NoOutsider, HonestWord, NotMisled, MetFirst, TwoLiars}
}
