package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file is the only one that changes what the ring relies on: the
// successor list and the predecessor.

// MaxList bounds a successor list, whose entries may be identifiers of few processes.
const MaxList = 64

// cut makes a successor list of s and the list that s gave: it ends when it names as many
// other processes as a full list does, at MaxList entries, at this member itself, at a
// repeat, or where the clockwise order does. Never self and never a duplicate: Zave shows
// how a list padded with either lets a ring fall apart. Who is named at an address that
// another entry of another name has, or this member itself, is left out: one address is one
// process.
//
// A process may stand at several identifiers, each a member with its name. They fail
// together, so that those of a process that is named already, or of this one, count for
// nothing; but none is left out, since a list must skip nobody.
func (m *Machine) cut(s ring.Member, list []ring.Member) []ring.Member {
	return cut(m.self, m.cfg.Successors, s, list)
}

// cut is Machine.cut for the member of.
func cut(of ring.Member, most int, s ring.Member, list []ring.Member) []ring.Member {
	out := make([]ring.Member, 1, min(max(most, 1), 1+len(list)))
	out[0] = s
	last := s
	for _, x := range list {
		if len(out) == MaxList || !ring.Between(last.ID, x.ID, of.ID) || processes(of, out) >= most {
			break
		}
		if atAddress(out, x) || x.Addr == of.Addr && x.Name != of.Name {
			continue
		}
		out = append(out, x)
		last = x
	}
	return out
}

// Cut is the list of the member of, of at most so many processes, that begins as list does.
func Cut(of ring.Member, most int, list []ring.Member) []ring.Member {
	if len(list) == 0 {
		return nil
	}
	return cut(of, most, list[0], list[1:])
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

// full reports whether a list names as many other processes as there is room for.
func (m *Machine) full(list []ring.Member) bool {
	return len(list) >= MaxList || processes(m.self, list) >= m.cfg.Successors
}

// atAddress reports whether a member of the list that is of another process has the address
// of x.
func atAddress(list []ring.Member, x ring.Member) bool {
	return slices.ContainsFunc(list, func(y ring.Member) bool { return y.Addr == x.Addr && y.Name != x.Name })
}

// clashing is the pointer that has the address of x and is of another process, zero
// if there is none. As long as it answers there, x does not.
func (m *Machine) clashing(x ring.Member) ring.Member {
	other := func(y ring.Member) bool { return y.Addr == x.Addr && y.Name != x.Name }
	if i := slices.IndexFunc(m.succ, other); i >= 0 {
		return m.succ[i]
	}
	if !m.pred.IsZero() && other(m.pred) {
		return m.pred
	}
	return ring.Member{}
}

// mayPrecede reports whether x may be asked to be the head: it is nearer than that, and no
// other pointer has its address.
func (m *Machine) mayPrecede(x ring.Member) bool { return m.nearer(x) && m.clashing(x).IsZero() }

// setSucc replaces the successor list. Whoever falls out of it and is not
// known to be silent may be needed yet: it becomes a pending acquaintance. Not
// so one that stood beyond the end of a list that is full: nearer members took
// its room, and nobody skips it. The predecessor, whose list is made of ours,
// is told.
func (m *Machine) setSucc(list []ring.Member) {
	if slices.Equal(m.succ, list) {
		return
	}
	old := m.succ
	m.succ = list
	if m.alone {
		m.leaseMet()
		m.alone = false
	}
	if m.head() != head(old) {
		m.settling.named = false
		m.certain, m.answered = -1, -1 // until it has answered
		m.headEpoch = 0
		m.headSince = m.round
	}
	if m.cfg.Lease > 0 {
		m.renew()
	}
	m.version++
	m.dirty = true
	var fallen []fact
	for _, x := range old {
		switch {
		case slices.Contains(list, x):
		case m.full(list) && ring.Between(list[len(list)-1].ID, x.ID, m.self.ID):
			fallen = append(fallen, fact{kind: wasNamed, who: x})
		default:
			fallen = append(fallen, m.outOfView(x)...)
		}
	}
	m.record(fallen...)
	if !m.pred.IsZero() && !slices.Equal(m.forPred(old), m.forPred(list)) {
		m.tell(m.pred, Request{Kind: Changed})
	}
}

// forPred is the part of a list that the predecessor takes over.
func (m *Machine) forPred(list []ring.Member) []ring.Member {
	return cut(m.pred, m.cfg.Successors, m.self, list)[1:]
}

func head(list []ring.Member) ring.Member {
	if len(list) == 0 {
		return ring.Member{}
	}
	return list[0]
}

// recognize notes in the list that x, which a legacy member had named there
// without its incarnation, has answered with it.
func (m *Machine) recognize(x ring.Member) {
	i := slices.IndexFunc(m.succ, func(s ring.Member) bool { return s != x && names(s, x) })
	if i < 0 {
		return
	}
	m.succ = slices.Clone(m.succ)
	m.succ[i] = x
	m.version++
	m.dirty = true
}

// rollBack notes in the list that x was one of ours, and that a legacy member runs in
// its place now. It is there, and asked as such before anything it says is relied on.
func (m *Machine) rollBack(x, by ring.Member) {
	if i := slices.Index(m.succ, x); i >= 0 {
		list := slices.Clone(m.succ)
		list[i] = by
		m.setSucc(list)
	}
}

// dropSucc takes x out of the list, without putting anyone in its place.
func (m *Machine) dropSucc(x ring.Member) {
	i := slices.Index(m.succ, x)
	if i < 0 {
		return
	}
	m.count() // it may have claimed its arc anew unheard
	m.setSucc(slices.Concat(m.succ[:i], m.succ[i+1:]))
}

// setPred replaces the predecessor.
func (m *Machine) setPred(p ring.Member, cause Cause) {
	if p == m.pred {
		return
	}
	old := m.pred
	m.pred, m.predSilent = p, false
	m.settling.points = false
	m.predSince = m.round
	m.version++
	m.dirty = true
	m.cause = cause
	m.hasReplaced(old, p, cause)
	m.leasePred(old, p)
	if !old.IsZero() {
		m.record(m.outOfView(old)...)
	}
}

// disown drops a predecessor that is in no ring and not on its way into one, such
// as a joiner that has given up after this member had consented. The member
// before would say so, but without a list there is none.
func (m *Machine) disown(st State) {
	if len(m.succ) == 0 && !m.pred.IsZero() && st.Self == m.pred &&
		st.Phase != Joined && st.Phase != Joining && st.Phase != Leaving {
		m.setPred(ring.Member{}, CausePredecessorFailed)
	}
}

// becomeAlone makes a ring of one.
func (m *Machine) becomeAlone() {
	m.setSucc(nil)
	m.setPred(ring.Member{}, CauseAlone)
	m.dirty = m.dirty || !m.alone
	if !m.alone {
		m.alone = true
		m.leaseAlone()
	}
	m.replaced.known, m.replaced.bare, m.doubts = false, false, false
	m.cause = CauseAlone
}

// vacate drops both pointers of a member that is in the ring no longer.
func (m *Machine) vacate(cause Cause) {
	m.succ, m.pred, m.alone, m.doubts = nil, ring.Member{}, false, false
	m.ownsNothing()
	m.version++
	m.dirty = true
	m.cause = cause
}

// outOfView is what there is to record of x, which a pointer has named until now, so
// that it is not lost.
func (m *Machine) outOfView(x ring.Member) []fact {
	if m.inView(x) || x.ID == m.self.ID || x == m.gone {
		return nil
	}
	return []fact{{kind: fellOutOfView, who: x}}
}

// inView reports whether a pointer names x.
func (m *Machine) inView(x ring.Member) bool {
	return x == m.pred || slices.Contains(m.succ, x)
}

// ownArc is the arc that the member answers for, if it knows it: from its
// predecessor, or all in a ring of one.
func (m *Machine) ownArc() (ring.Arc, bool) {
	switch {
	case !m.phase.InRing():
		return ring.Arc{}, false
	case !m.pred.IsZero():
		return ring.Arc{After: m.pred.ID, To: m.self.ID}, true
	case m.alone:
		return ring.Arc{After: m.self.ID, To: m.self.ID}, true
	}
	return ring.Arc{}, false
}

// isolated reports whether the member is in a ring and knows of fewer members
// that live than it is to have for holding an arc. A list that is not full names
// all there are.
func (m *Machine) isolated() bool {
	return m.phase.InRing() && 1+processes(m.self, m.succ) < m.cfg.MinMembers
}

// settle ends a Step: it publishes what the Step has changed.
func (m *Machine) settle() {
	m.claim()
	m.alonesDoubt()
	if !m.dirty {
		return
	}
	m.dirty = false
	arc, has := m.ownArc()
	isolated := m.isolated()
	if isolated {
		arc, has = m.arc, m.hasArc
	}
	v := &View{
		Self: m.self, Phase: m.phase, Pred: m.pred, Succ: m.succ,
		Arc: arc, HasArc: has, Isolated: isolated, Replaced: m.replaced.known, Doubts: m.doubts, Settled: m.settled(), Alone: m.alone, Version: m.version, Epoch: m.epoch, Origin: m.origin, Certain: m.certain, HeadEpoch: m.headEpoch, Answered: m.answered,
	}
	if m.cfg.Lease > 0 {
		v.Leased, v.Until = true, m.lease.until
		v.Held, v.Holds = m.held()
	}
	m.showAcquaintances(v)
	m.emit(Publish{View: v})
	m.publishArc(arc, has, isolated)
}

// showAcquaintances shows in v what others may know of the acquaintances.
func (m *Machine) showAcquaintances(v *View) {
	var known int
	same := true
	for i := range m.acq.list {
		a := &m.acq.list[i]
		switch {
		case !a.responsive():
			v.Silent++
		case a.inRing():
			same = same && known < len(m.known) && m.known[known] == a.Member
			known++
		}
		if a.pending && a.responsive() {
			v.Pending++
		}
	}
	if !same || known != len(m.known) {
		m.known = make([]ring.Member, 0, known)
		for i := range m.acq.list {
			if a := &m.acq.list[i]; a.inRing() {
				m.known = append(m.known, a.Member)
			}
		}
	}
	v.Known = m.known
}

// publishArc publishes the arc that the member holds, if that has changed or was not its
// own for a while.
func (m *Machine) publishArc(arc ring.Arc, has, isolated bool) {
	cause := m.cause
	// Others may have held the arc while this member was isolated, or did while it
	// hung or was cut off, so that it is told again even if it is the same.
	again := false
	switch {
	case isolated || !m.phase.InRing():
	case m.wasIsolated:
		again, cause = true, CauseEnoughMembers
	case m.hasArc && (m.lease.resumed || !m.replaced.by.IsZero()):
		again, cause = true, CauseResumed
	}
	m.wasIsolated = isolated
	if cause == 0 && m.hasArc && !has {
		cause = CauseResumed // a ring of one has met others, and does not know its predecessor yet
	}
	if arc != m.arc || has != m.hasArc || again && has {
		m.emit(RangeChanged{
			Old: m.arc, New: arc, HadOld: m.hasArc, HasNew: has, Again: again, Cause: cause, From: m.holder(cause), Epoch: m.epoch, Back: m.backBy(cause, arc),
		})
		m.arc, m.hasArc = arc, has
		if has {
			m.leaves(ring.Member{})
		}
	}
}

// backBy is when the holder is to be back that has left; 0: it has not said so, or an arc is
// gained that is not just what it had.
func (m *Machine) backBy(cause Cause, arc ring.Arc) time.Duration {
	just := m.hasArc && m.arc.After == m.leaver.ID && arc.After == m.back.after
	if m.leaver.IsZero() || m.holder(cause) != m.leaver || !just {
		return 0
	}
	return m.back.at
}

// holder is the member that can hand over what this one has gained for that cause,
// zero if nobody is known to. After a crash there is none: whether others hold copies
// is not the ring's business.
func (m *Machine) holder(cause Cause) ring.Member {
	switch {
	case cause == CauseResumed:
		return m.replaced.by
	case !m.leaver.IsZero() && (cause == CausePredecessorLeft || cause == CauseJoined || cause == CauseAlone):
		return m.leaver
	case cause == CauseJoined || cause == CauseEnoughMembers:
		return m.head()
	}
	return ring.Member{}
}
