package invariant

import (
	"fmt"
	"time"
)

// Naming is the owner that one lookup has named, and what its caller was promised.
type Naming struct {
	Fresh    bool          // the caller wanted the owner's own confirmation, given during the lookup
	Dated    bool          // the answer says of which instant it is certain
	Age      time.Duration // how long ago that was, if Dated
	Promised time.Duration // the age that the caller was promised at most
	// Strict: the caller has asked for that age. Else an answer that cannot be had better
	// counts, however old it is: on an owner that does not answer.
	Strict bool
	Took   time.Duration // the lookup
	Client bool          // it was a client's
	Told   bool          // a member has named the owner, now or of late
	// Claimed: the member that was named, or unless the lookup was Fresh the member before
	// it, said that it held the key at an instant not before the lookup began, or unless it
	// was Fresh not longer before than was promised.
	Claimed bool
	// Rightful: it is, or was when the lookup began, the first live member at or after
	// the key.
	Rightful bool
}

// NamingRule is one thing that must hold of the owner that any lookup names, while
// there are faults too.
type NamingRule struct {
	Name   string
	Says   string // the rule in a sentence
	Source string
	Broken func(Naming) string // how the answer breaks the rule; empty if it does not
}

// Rules of every owner that a lookup names.
var (
	// OwnersOwnWord: a member that says that a key is its own held it then.
	OwnersOwnWord = NamingRule{"owners-own-word", "A fresh lookup names a member that held the key, by its own account, during the lookup.", "docs/GUARANTEES.md, A lookup is advice", func(n Naming) string {
		if n.Fresh && !n.Claimed {
			return "it did not hold the key at any instant of a fresh lookup"
		}
		return ""
	}}
	// NotOlderThanPromised says nothing of an answer that has no date: that of a list
	// whose entries do not answer.
	NotOlderThanPromised = NamingRule{"not-older-than-promised", "A lookup names no owner of longer ago than it was promised.", "docs/GUARANTEES.md, A lookup is advice", func(n Naming) string {
		switch {
		case n.Fresh || !n.Dated:
		case n.Strict && n.Age > n.Promised+n.Took:
			return fmt.Sprintf("the answer is %v old, after %v, and %v was wanted", n.Age, n.Took, n.Promised)
		case !n.Claimed && !n.Rightful:
			return fmt.Sprintf("it did not hold the key at any instant, from %v before the lookup on, and is not the owner", n.Promised)
		}
		return ""
	}}
	// ToldByAMember: a client has no neighbours of whom it knows that nobody is between.
	ToldByAMember = NamingRule{"told-by-a-member", "A client names no owner but by the answer of a member.", "the definition of a client, which has no place on the circle", func(n Naming) string {
		if n.Client && !n.Told {
			return "no member has named it"
		}
		return ""
	}}
)

// Namings lists the rules of every owner that a lookup names.
func Namings() []NamingRule { return []NamingRule{OwnersOwnWord, NotOlderThanPromised, ToldByAMember} }
