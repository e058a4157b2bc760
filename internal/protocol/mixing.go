package protocol

import (
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file keeps legacy members and members with several identifiers apart. A legacy
// member does not say which member its request is for, so that one of several at one
// address cannot tell whether it is meant.

// several reports whether this member, or one that a pointer names, is one of several
// identifiers of a process.
func (m *Machine) several() bool { return m.self.Choice.Several() || m.points(severalOf) }

func severalOf(x ring.Member) bool { return x.Choice.Several() }

func (m *Machine) points(f func(ring.Member) bool) bool {
	return f(m.pred) || slices.ContainsFunc(m.succ, f)
}

// mixes is why this member has nothing to do with x, nil if it may have: one of them is a
// legacy member, or relies on one, and the other is one of several identifiers, or relies on
// one.
func (m *Machine) mixes(x ring.Member) *Failure {
	switch {
	case x.Legacy() && m.several(), x.Choice.Several() && m.points(ring.Member.Legacy):
		return Mixing(m.self, x)
	}
	return nil
}

// Mixing is the failure of a request between self and x, of which one is, or relies on, a
// legacy member and the other one of several identifiers.
func Mixing(self, x ring.Member) *Failure {
	words := "the other is a member of the existing library, which cannot be in a ring with members that have VirtualNodes, as this one has or knows"
	if severalOf(x) {
		words = "the other has VirtualNodes, and cannot be in a ring with members of the existing library, of which this one knows some"
	}
	return &Failure{Kind: WrongRing, By: self, Differing: []string{"VirtualNodes"}, Detail: words}
}

// sorted is the answer a, or that whoever gave it cannot be in a ring with this member. A
// joiner with several identifiers enters no ring next to legacy members.
func (m *Machine) sorted(a Answer) Answer {
	if a.Failure != nil {
		return a
	}
	st := &a.Reply.State
	f := m.mixes(st.Self)
	if f == nil && m.self.Choice.Several() && !m.phase.InRing() {
		named := append([]ring.Member{st.Pred}, st.Succ...)
		if i := slices.IndexFunc(named, ring.Member.Legacy); i >= 0 {
			f = m.mixes(named[i])
			f.Detail = fmt.Sprintf("%s names %s: %s", nameOf(st.Self), named[i], f.Detail)
		}
	}
	if f != nil {
		f.By = st.Self
		a.Reply, a.Failure = Reply{}, f
	}
	return a
}
