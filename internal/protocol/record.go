package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file is between the operations and the acquaintances. An operation that has
// heard something records all of it in one call, which acts on what follows from it.

// record notes facts, in their order, and acts on what follows.
func (m *Machine) record(facts ...fact) {
	f := m.noteAll(facts)
	m.act(&f)
}

// recordAnswer is record of an answer, with facts about who gave it. It adds whom the
// answer named, and looks into a member that has this member's identifier. It reports
// whether the last member that was heard from had been unresponsive and has returned, out
// of view.
func (m *Machine) recordAnswer(st State, facts ...fact) (returned bool) {
	f := m.noteAll(facts)
	m.nameAll(&f, st.Pred)
	m.nameAll(&f, st.Succ...)
	m.act(&f)
	m.noticeRival(st.Pred)
	for _, x := range st.Succ {
		m.noticeRival(x)
	}
	return f.returned
}

func (m *Machine) noteAll(facts []fact) (f findings) {
	if len(facts) > 0 {
		m.recorded++
	}
	for _, x := range facts {
		switch x.kind {
		case hasSpoken, hasAnswered:
			if x.who.ID == m.self.ID {
				continue
			}
			m.predSilent = m.predSilent && x.who != m.pred
		case wasVouchedFor, isOutside:
			m.predSilent = m.predSilent && x.who != m.pred
		case wasSilent:
			m.predSilent = m.predSilent || x.who == m.pred
		case wasSuperseded:
			m.predSilent = m.predSilent || x.who == m.pred && !x.by.SameMember(x.who)
			m.gone = x.who
		case hasLeft:
			m.gone = x.who
		}
		was := !x.who.Choice.Several() || m.responsive(x.who)
		m.acq.note(x, m.vicinity(m.aloneOrIsolated()), &f)
		if x.kind == wasSilent || !was && m.responsive(x.who) {
			m.reaches(x.who, &f)
		}
		if x.kind == wasSuperseded && rolledBack(x.who, x.by) {
			m.rollBack(x.who, x.by)
		}
	}
	return f
}

func (m *Machine) nameAll(f *findings, members ...ring.Member) {
	v := m.vicinity(m.aloneOrIsolated())
	for _, x := range members {
		m.acq.note(fact{kind: wasNamed, who: x}, v, f)
	}
}

// vicinity is what the acquaintances need to know of this member now. It is small enough to be made
// where it is used, without an allocation.
func (m *Machine) vicinity(aloneOrIsolated bool) vicinity {
	return vicinity{round: m.round, aloneOrIsolated: aloneOrIsolated, inView: m.inView, choose: m.choose}
}

// act does what follows from facts.
func (m *Machine) act(f *findings) {
	m.dirty = m.dirty || f.changed
	if m.phase == Joined {
		for _, r := range f.reborn {
			m.tell(r.earlier, Request{Kind: Introduce, Subject: r.later})
		}
	}
	for _, x := range f.homeless {
		if !slices.Contains(m.toPlace, x) && len(m.toPlace) < maxToPlace {
			m.toPlace = append(slices.Clip(m.toPlace), x)
			m.placeWaiting()
		}
	}
}

// heardFrom records that x sent a message. A later incarnation of a successor shows
// that the earlier one is gone, and of this member's own identifier that it has a
// rival.
func (m *Machine) heardFrom(x ring.Member) {
	m.record(fact{kind: hasSpoken, who: x})
	m.noticeIncarnation(x)
}

// noticeIncarnation looks into x, which has spoken, if it is another incarnation of a
// member that this one relies on, or of this one.
func (m *Machine) noticeIncarnation(x ring.Member) {
	if x.ID == m.self.ID {
		if x != m.self && x.Name != "" {
			m.noticeRival(x)
		}
		return
	}
	if m.phase == Joined && slices.ContainsFunc(m.succ, x.Supersedes) {
		m.triggerStabilize() // asking will show that the earlier incarnation is gone
	}
}

// hasVerified reports whether x has answered at its address and is responsive.
func (m *Machine) hasVerified(x ring.Member) bool {
	if m.cfg.Recall != nil {
		return m.choose(2) == 1
	}
	a := m.acq.find(x)
	return a != nil && a.verified && a.responsive()
}

// believedDead reports whether the predecessor did not answer when last asked. There
// may be no room for a record of it.
func (m *Machine) believedDead() bool {
	if m.cfg.Recall != nil {
		return m.choose(2) == 1
	}
	return m.predSilent
}

// responsive reports whether x is not known to be silent.
func (m *Machine) responsive(x ring.Member) bool {
	a := m.acq.find(x)
	return a == nil || a.responsive()
}

// inRing reports whether x may be named to others as a member to be asked.
func (m *Machine) inRing(x ring.Member) bool {
	a := m.acq.find(x)
	return a == nil || a.condition == present
}

// eligible reports whether x may be asked on this member's own account now.
func (m *Machine) eligible(x ring.Member) bool {
	a := m.acq.find(x)
	return a == nil || a.next <= m.round
}

// mayAsk reports whether this member knows x by more than a name, and may ask it now.
func (m *Machine) mayAsk(x ring.Member) bool {
	a := m.acq.find(x)
	return a != nil && a.next <= m.round || m.acq.mayAskOwn(x, m.round)
}

// nearestCandidate is the responsive acquaintance nearest after this member that is a
// better successor than the head, zero if there is none.
func (m *Machine) nearestCandidate() ring.Member {
	if m.cfg.Recall != nil {
		if m.stabilization.steps > 1 {
			return ring.Member{} // whom it may know next, the next stabilization may begin with
		}
		return m.cfg.Recall(m.nearer)
	}
	return m.acq.nearest(m.round, m.mayPrecede)
}

// aloneOrIsolated reports whether the member has nobody, or not enough, to be in a ring
// with.
func (m *Machine) aloneOrIsolated() bool { return len(m.succ) == 0 || m.isolated() }

// choose draws a number below n.
func (m *Machine) choose(n int) int {
	if m.cfg.Choose != nil {
		return m.cfg.Choose(n)
	}
	return int(m.rng.Uint64() % uint64(n))
}

// complete gives the members that a reply names without an incarnation the one that is
// known of them, so that they are taken for who they are and not for legacy members.
// This member itself counts as known only to a legacy one: to one of ours, who names
// it so, it has yet to say who it is.
func (m *Machine) complete(r *Reply) {
	known := func(x ring.Member) ring.Member {
		switch {
		case !x.Legacy():
			return x
		case x.ID == m.self.ID:
			if r.State.Self.Incarnation == 0 && names(x, m.self) {
				return m.self
			}
			return x
		case names(x, m.pred):
			return m.pred
		}
		for _, s := range m.succ {
			if names(x, s) && !s.Legacy() {
				return s
			}
		}
		for i := range m.acq.list {
			if names(x, m.acq.list[i].Member) {
				return m.acq.list[i].Member
			}
		}
		return x
	}
	all := func(list []ring.Member) []ring.Member {
		if !slices.ContainsFunc(list, ring.Member.Legacy) {
			return list
		}
		list = slices.Clone(list)
		for i := range list {
			list[i] = known(list[i])
		}
		return list
	}
	r.State.Pred = known(r.State.Pred)
	r.State.Succ = all(r.State.Succ)
	r.Closer = all(r.Closer)
}
