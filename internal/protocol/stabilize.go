package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// stabilization is the one operation on the successor side: stabilize, consider and
// recover. They are one because they differ only in whom they begin with: each
// asks a member for its ring, tests again whether that member belongs at the
// head of the list, adopts what it says, and goes on with its predecessor if
// that is nearer still. So no two questions about the head are ever open at
// once, and whatever wants a member considered remembers it and triggers it.
type stabilization struct {
	open bool
	// recovering: the list is empty; rest are those not yet asked, and
	// addresses after them.
	recovering bool
	call       uint64
	asked      ring.Member
	sent       time.Duration // when asked was asked
	attempt    int
	steps      int
	// heard is the head that has answered in this stabilization, and headPred the
	// predecessor that it named.
	heard, headPred ring.Member
	heardAt         time.Duration // when it was asked
	version         uint64        // of the state when it began
	rest            []ring.Member
	// waiters are the tokens to be answered when this stabilization has ended.
	waiters []uint64
}

// triggerStabilize starts a stabilization now, or another when the open one has ended.
func (m *Machine) triggerStabilize() {
	if m.phase != Joined {
		return
	}
	if m.stabilization.open {
		m.again = true
		return
	}
	m.startStabilization()
}

func (m *Machine) startStabilization() {
	m.again = false
	m.stabilization = stabilization{open: true, waiters: m.waiters}
	m.stabilization.version, m.rest.calm = m.version, false
	m.waiters = nil
	m.stabilizeNext()
}

// stabilizeNext asks whom there is to ask: a member that may be nearer than the
// head, else the head, else nobody.
func (m *Machine) stabilizeNext() {
	op := &m.stabilization
	if op.steps++; op.steps > maxSteps {
		m.endStabilization()
		return
	}
	if len(m.succ) == 0 {
		m.recover()
		return
	}
	if x := m.nearestCandidate(); !x.IsZero() {
		m.stabilizeAsk(x)
		return
	}
	if op.heard != m.succ[0] {
		m.stabilizeAsk(m.succ[0])
		return
	}
	m.endStabilization()
}

func (m *Machine) stabilizeAsk(x ring.Member) {
	m.stabilization.asked = x
	m.stabilization.attempt = 0
	m.stabilization.sent = m.now
	m.stabilization.call = m.ask(x, Request{Kind: AskRing}, 0, false)
}

func (op *stabilization) question(i int) (uint64, bool) { return op.call, op.open && i == 0 }

func (op *stabilization) encode(m *Machine, f *form) {
	if op.open {
		// Whom the stabilization has heard of before matters only while that is
		// the head, and its predecessor only if it is this member.
		heard := !op.heard.IsZero() && op.heard == m.head()
		f.members(op.asked)
		f.bytes(byte(op.attempt))
		f.flags(heard, heard && op.headPred == m.self)
		f.list(op.rest)
		f.tokens(op.waiters)
	}
	f.tokens(m.waiters)
}

func (op *stabilization) answered(m *Machine, _ int, a Answer) {
	x := op.asked
	if f := a.Failure; f != nil {
		switch f.Kind {
		case Cancelled, Overloaded:
			m.closeStabilization()
		case TimedOut, Unreachable:
			// One time-out is not evidence: ask again, and allow more time.
			if op.attempt == 0 && !(op.recovering && x.Anyone()) {
				m.suspect(x)
				op.attempt++
				op.sent = m.now
				op.call = m.ask(x, Request{Kind: AskRing}, op.attempt, false)
				return
			}
			m.noAnswer(x)
		case WrongMember:
			m.record(fact{kind: wasSuperseded, who: x, by: f.By})
			m.stabilizeWithout(x)
		case NotJoined:
			m.notInRing(x)
		case Invalid:
			// It lives, and what it says cannot be used: nothing changes.
			m.record(fact{kind: isOutside, who: x})
			if x == m.head() {
				m.closeStabilization()
			} else {
				m.stabilizeWithout(x)
			}
		default:
			m.noAnswer(x)
		}
		return
	}
	st := a.Reply.State
	heard := []fact{{kind: hasAnswered, who: st.Self}}
	if x.Anyone() {
		// An address given by configuration; now we know who is there.
		if st.Self == m.self || st.Self.IsZero() {
			m.recordAnswer(st)
			m.recoverNext()
			return
		}
		x = st.Self
		op.asked = x
		heard = []fact{{kind: mayBeElsewhere, who: x}, heard[0]}
	}
	if names(x, st.Self) {
		x = st.Self
		op.asked = x
	}
	if st.Self != x {
		// It goes by another address or name than those it was asked under.
		m.record(fact{kind: wasNamed, who: st.Self}, fact{kind: wasSuperseded, who: x, by: st.Self})
		m.stabilizeWithout(x)
		return
	}
	m.recognize(x)
	returned := m.recordAnswer(st, heard...)
	m.noticeIncarnation(x)
	if st.Phase != Joined {
		m.notInRing(x)
		return
	}
	m.adopt(x, st, returned)
}

// adopt uses the answer of x, which is alive and in the ring, if x still
// belongs at the head of the list. Returned says that it had been unresponsive.
func (m *Machine) adopt(x ring.Member, st State, returned bool) {
	op := &m.stabilization
	head := m.head()
	switch {
	case x == head:
		m.setSucc(m.cut(x, st.Succ))
	case m.nearer(x):
		if m.foreign(x, st, returned) {
			m.emit(RingMet{By: x})
		}
		m.setSucc(m.cut(x, st.Succ))
		if head.IsZero() {
			// The way out of a ring of one. Whether all that x knows is one
			// ring with us, a placement from there will show.
			m.record(fact{kind: mayBeElsewhere, who: x})
		} else if !slices.Contains(st.Succ, head) {
			m.tell(x, Request{Kind: Introduce, Subject: head})
		}
	default:
		m.stabilizeNext() // the head is nearer by now
		return
	}
	m.heardHead(st, op.sent)
	m.granted(st, op.sent)
	m.answered = m.now
	if m.certain = op.sent; m.nearer(st.Pred) && m.responsive(st.Pred) {
		m.certain = -1 // whoever that is may own a part of what lies between us
	}
	m.headEpoch = 0
	if st.Pred == m.self {
		m.headEpoch = st.Epoch
	}
	m.namedBy(st)
	op.heardAt = op.sent
	m.dirty = true
	op.recovering, op.rest = false, nil
	op.heard, op.headPred = x, st.Pred
	if p := st.Pred; m.mayPrecede(p) {
		if op.steps++; op.steps <= maxSteps {
			m.stabilizeAsk(p)
			return
		}
	}
	m.stabilizeNext()
}

// noAnswer goes on after x did not answer.
func (m *Machine) noAnswer(x ring.Member) {
	if x.Anyone() {
		m.seedSilent(x.Addr)
	} else {
		m.record(fact{kind: wasSilent, who: x})
		m.suspect(x)
		if h := m.head(); h == m.stabilization.heard && x == m.stabilization.headPred {
			m.certain = m.stabilization.heardAt // the head has not noticed yet, or is the only one that it reaches
		}
	}
	m.stabilizeWithout(x)
}

// notInRing goes on after x answered as itself but is in no ring, or on its
// way out of it.
func (m *Machine) notInRing(x ring.Member) {
	if !x.Anyone() {
		m.record(fact{kind: isOutside, who: x})
	}
	m.stabilizeWithout(x)
}

// stabilizeWithout drops x if it was the head, and goes on.
func (m *Machine) stabilizeWithout(x ring.Member) {
	op := &m.stabilization
	if op.recovering {
		m.recoverNext()
		return
	}
	if x == m.head() {
		m.dropSucc(x)
		if len(m.succ) == 0 {
			m.recoverAll()
			return
		}
	}
	m.stabilizeNext()
}

// endStabilization notifies the head if it does not name this member as its
// predecessor. Zave's protocol notifies in every round; where the head has
// named us already, that would change nothing.
func (m *Machine) endStabilization() {
	op := &m.stabilization
	m.calmed(op.version)
	if h := m.head(); !h.IsZero() && op.heard == h && op.headPred != m.self {
		m.notification.call = m.ask(h, Request{Kind: Notify}, 0, true)
		m.notification.sent = m.now
	}
	m.closeStabilization()
}

func (m *Machine) closeStabilization() {
	for _, t := range m.stabilization.waiters {
		m.respond(t, Refusal{})
	}
	m.stabilization = stabilization{}
	if m.again && m.phase == Joined {
		m.startStabilization()
	}
}

// recoverAll looks for anyone at all after the last successor was lost: the
// predecessor, every acquaintance clockwise, and the addresses given.
func (m *Machine) recoverAll() { m.startRecover(true) }

// recover does the same in a ring of one, which has done it before: only those
// whose time has come.
func (m *Machine) recover() { m.startRecover(false) }

func (m *Machine) startRecover(all bool) {
	op := &m.stabilization
	op.recovering = true
	op.rest = nil
	if !m.pred.IsZero() && (all || m.eligible(m.pred)) {
		op.rest = append(op.rest, m.pred)
	}
	if m.cfg.Recall != nil {
		x := m.cfg.Recall(func(x ring.Member) bool { return x.ID != m.self.ID && x != m.pred })
		if !x.IsZero() {
			op.rest = append(op.rest, x)
		}
		m.recoverNext()
		return
	}
	may := func(a *acquaintance) bool {
		return a.Member != m.pred && (all && a.responsive() || a.next <= m.round)
	}
	// Those first that have answered as members: whom others only name may be nobody, or
	// lead elsewhere.
	op.rest = append(op.rest, m.acq.clockwise(func(a *acquaintance) bool { return a.verified && may(a) })...)
	op.rest = append(op.rest, m.acq.clockwise(func(a *acquaintance) bool { return !a.verified && may(a) })...)
	pause := uint64(max(1, m.cfg.CheckEvery/2))
	if all || m.round%pause == 0 || m.probe.due(m.round) || m.pendingSeed() >= 0 {
		m.probe.done(m.round, m.cfg.CheckEvery)
		for i := range m.seeds {
			s := &m.seeds[i]
			s.next = max(s.next, m.round+pause)
			op.rest = append(op.rest, ring.Member{Addr: s.addr})
		}
	}
	m.recoverNext()
}

func (m *Machine) recoverNext() {
	op := &m.stabilization
	if len(op.rest) > 0 {
		x := op.rest[0]
		op.rest = op.rest[1:]
		m.stabilizeAsk(x)
		return
	}
	op.recovering = false
	// A predecessor that was heard of late, and is not known dead, is no
	// reason to claim the whole circle.
	if m.pred.IsZero() || m.believedDead() {
		m.becomeAlone()
	}
	m.closeStabilization()
}
