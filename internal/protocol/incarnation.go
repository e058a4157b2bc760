package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// A member may have to begin a later incarnation than one that others name. So an
// incarnation that nothing can come after is no member's, whoever names it: adding
// one to it would wrap, and zero means a legacy member. The runtime refuses earlier, by
// the clock, which the machine has not.

// errIncarnation is of a message that names such a member.
var errIncarnation = &Failure{Kind: Invalid, Detail: "the request names a member with an impossible incarnation"}

func possible(members ...ring.Member) bool {
	return !slices.ContainsFunc(members, func(x ring.Member) bool { return x.Incarnation > ring.MaxIncarnation })
}

func (r *Request) possible() bool { return possible(r.Subject, r.Pred) && possible(r.Succ...) }

func (r *Reply) possible() bool {
	return possible(r.State.Self, r.State.Pred, r.State.Founder, r.State.Replaced.By, r.Refusal.Other) && possible(r.State.Succ...) && possible(r.Closer...)
}

// believable is the answer without what cannot be.
func (a Answer) believable() Answer {
	switch f := a.Failure; {
	case f != nil && !possible(f.By):
		a.Failure = &Failure{Kind: f.Kind, Differing: f.Differing, Detail: f.Detail}
	case f == nil && !a.Reply.possible():
		a.Reply, a.Failure = Reply{}, errIncarnation
	}
	return a
}
