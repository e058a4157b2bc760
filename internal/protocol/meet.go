package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file tells that another ring was met, for people: no other file acts on it.
// While one ring settles, members are not known yet to those beside them, which is
// what two rings look like. So a meeting needs more than that, see below, and some
// are missed: where members of two rings have never been in one and adopt each other
// before one of them was placed.

// taker reports whether via, at which a placement of this member began, is in
// another ring: the placement was taken at st, by one that does not know this member.
// In one ring that settles, the taker or its head is a neighbour of this member; here
// neither is.
func (m *Machine) taker(via ring.Member, st State) bool {
	return !via.IsZero() && !m.pred.IsZero() && !m.ours(st.Self) && !m.ours(st.Head())
}

// foreign reports whether x, of state st and about to be adopted as the head, is in
// another ring: it had been silent and has returned, and knows no neighbour of this
// member, as one that had only been slow would. A ring of one finds only others.
func (m *Machine) foreign(x ring.Member, st State, returned bool) bool {
	if m.unjoined() {
		return true
	}
	if !returned {
		return false
	}
	m.acq.told(x)
	return !m.ours(x) && !m.ours(st.Pred) && !slices.ContainsFunc(st.Succ, m.ours)
}

// unjoined reports whether the member is a ring of one that nobody has joined. A
// member that notifies it, and is not just joining, comes from another ring, too.
func (m *Machine) unjoined() bool { return m.lone && m.pred.IsZero() }

// ours reports whether x is this member or a neighbour of it.
func (m *Machine) ours(x ring.Member) bool { return x.ID == m.self.ID || m.inView(x) }
