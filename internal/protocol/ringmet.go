package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file tells that another ring was met, for people: no other file acts on it.
// While one ring settles, members are not known yet to those beside them, which is
// what two rings look like. So a meeting needs more than that, see below. It is told
// on both sides where the first two members that adopt each other have had their
// neighbours for a while.

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
	if m.knowsNobody() {
		return true
	}
	if returned {
		m.acq.told(x)
	} else if !m.steady() || st.Pred.IsZero() {
		return false
	}
	return !m.ours(x) && !m.ours(st.Pred) && !slices.ContainsFunc(st.Succ, m.ours)
}

// steadyRounds is for how many rounds a member must have had its neighbours for a
// stranger between them to be of another ring.
const steadyRounds = 3

// steady reports whether the member has had both neighbours for a while. In one ring
// that settles, whoever comes between them makes itself known to them first, and
// knows one of them.
func (m *Machine) steady() bool {
	return !m.pred.IsZero() && len(m.succ) > 0 && !m.predSilent &&
		m.headSince+steadyRounds <= m.round && m.predSince+steadyRounds <= m.round
}

// foreignBefore reports whether the notifier of r, about to be adopted as the
// predecessor, is in another ring: it comes between a steady member and its
// predecessor, which lives, though it is not joining, and its own predecessor, if it
// has named one, is no neighbour.
func (m *Machine) foreignBefore(r *rectification) bool {
	if r.joining || r.n.Legacy() {
		return false
	}
	return m.knowsNobody() || m.steady() && r.gone != m.pred && !m.ours(r.n) && !r.before.IsZero() && !m.ours(r.before)
}

// knowsNobody reports whether the member is a ring of one that nobody has joined. A
// member that notifies it, and is not just joining, comes from another ring, too.
func (m *Machine) knowsNobody() bool { return m.alone && m.pred.IsZero() }

// ours reports whether x is this member or a neighbour of it.
func (m *Machine) ours(x ring.Member) bool { return x.ID == m.self.ID || m.inView(x) }
