package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// placement finds out where in a ring its subject belongs, by asking member
// after member, each strictly closer before the subject. It is how two rings
// that can reach each other find that they are two: a placement of a member in
// the ring of an acquaintance ends either at the member's own predecessor, or
// at one that did not know it.
type placement struct {
	open    bool
	call    uint64
	subject ring.Member
	via     ring.Member // an acquaintance from which this member is placed; cleared when found
	asked   ring.Member
	attempt int
	rest    []ring.Member
	steps   int
	from    string // the address given where it began, if it did so there
}

const maxPlaceRest = 8

// placeReply says where y belongs as far as this member knows.
func (m *Machine) placeReply(y ring.Member) Reply {
	r := Reply{State: m.State()}
	switch head := m.head(); {
	case y.ID == m.self.ID, !head.IsZero() && head.ID == y.ID:
		r.Verdict = Found
	case m.nearer(y):
		r.Verdict = Taken
	default:
		r.Verdict = Next
		r.Closer = m.closer(y.ID)
	}
	return r
}

// closer names three members, at most one of them not met yet, strictly between this one and id, nearest to
// id first, the head always among them.
func (m *Machine) closer(id uint64) []ring.Member {
	var out []ring.Member
	add := func(x ring.Member) {
		if x.Name == "" || x.ID == m.self.ID || !ring.Between(m.self.ID, x.ID, id) {
			return
		}
		i := 0
		for i < len(out) && !ring.Between(out[i].ID, x.ID, id) {
			if out[i].ID == x.ID {
				return
			}
			i++
		}
		if i < 3 {
			out = slices.Insert(out, i, x)
			out = out[:min(len(out), 3)]
		}
	}
	var unmet ring.Member
	for i := range m.acq.list {
		switch a := &m.acq.list[i]; {
		case a.inRing():
			add(a.Member)
		case a.condition == present && ring.Between(m.self.ID, a.ID, id) &&
			(unmet.IsZero() || ring.Between(unmet.ID, a.ID, id)):
			unmet = a.Member
		}
	}
	add(unmet)
	if m.inRing(m.pred) {
		add(m.pred)
	}
	for _, x := range m.succ {
		add(x)
	}
	if h := m.head(); !h.IsZero() && !slices.Contains(out, h) && ring.Between(m.self.ID, h.ID, id) {
		out[len(out)-1] = h
	}
	return out
}

// check makes the placements of a round: of this member, from every pending
// acquaintance; when none is pending, from one pending address; and every
// CheckEvery rounds instead in turn from the own head, from an acquaintance
// outside the view, and of a random live member from here. The first finds rings
// that are wound twice, the second other rings, the third members that nobody
// knows. A member that is isolated looks for others in every round; whoever was
// given addresses goes on asking there, see probing.
func (m *Machine) check() {
	if m.placing.open || m.phase != Joined || len(m.succ) == 0 || m.cfg.Recall != nil {
		return
	}
	m.placeWaiting()
	if m.placing.open || m.checkPending() {
		return
	}
	every := uint64(m.cfg.CheckEvery * Pace(m.self)) // all of a process look together as often as about four
	turn := m.round%every == m.self.ID%every
	if i := m.pendingSeed(); i >= 0 && !turn {
		m.placeFromSeed(i)
		return
	}
	if len(m.seeds) > 0 && m.probe.due(m.round) && m.probeSeed() {
		return
	}
	if m.isolated() {
		if x := m.stranger(); !x.IsZero() {
			m.startPlacing(m.self, x, x)
			return
		}
	}
	if !turn {
		return
	}
	m.checks++
	switch m.checks % 4 {
	case 0:
		// One of the process will do: the ring as a whole is wound so.
		if Pace(m.self) == 1 && !m.mapped() && m.looks(m.checks/4) {
			m.startPlacing(m.self, m.head(), ring.Member{})
		}
	case 1, 3:
		if x := m.stranger(); !x.IsZero() {
			m.startPlacing(m.self, x, x)
		}
	case 2:
		if x := m.acq.pick(m.choose, func(a *acquaintance) bool { return a.condition == present && !m.charted(a) }); !x.IsZero() {
			m.placeOther(x)
		}
	}
}

// checkPending places this member from the pending acquaintance, of those whose
// time has come, that has waited longest, of those the nearest, if the round's
// budget allows.
func (m *Machine) checkPending() bool {
	due := m.acq.pendingDue(m.round)
	if due == nil || m.budget <= 0 {
		return due != nil
	}
	m.budget--
	due.next = m.round + 1
	m.startPlacing(m.self, due.Member, due.Member)
	return true
}

// stranger is a random acquaintance that no pointer names and whose time has
// come, dead or alive; zero if there is none. Members that are on the map are none: all
// between this member and them have said of late who follows them.
func (m *Machine) stranger() ring.Member {
	return m.acq.pick(m.choose, func(a *acquaintance) bool {
		return a.next <= m.round && !m.inView(a.Member) && !m.charted(a)
	})
}

// charted reports whether an acquaintance is known to be in this member's ring by the map.
func (m *Machine) charted(a *acquaintance) bool {
	return m.cfg.Charted != nil && a.condition == present && m.cfg.Charted(a.Member)
}

// mapped reports whether the map of the ring is certain of all from the head to the predecessor:
// they have said of late who is before them, one after another, once round the circle.
func (m *Machine) mapped() bool { return m.single() && m.chartsNeighbours() }

func (m *Machine) chartsNeighbours() bool {
	return m.cfg.Charted != nil && m.cfg.Charted(m.head()) && m.cfg.Charted(m.pred)
}

// single reports whether who is on the map is in this ring. One that stands at several identifiers
// may be in two.
func (m *Machine) single() bool {
	if m.cfg.Charted == nil || m.cfg.Processes == nil {
		return false
	}
	_, single := m.cfg.Processes()
	return single
}

// Those that are on one map, and may nevertheless be in two rings, take turns in looking for what
// each of them would find: of every perLook processes one looks, and every maxLooks-th at least.
const (
	perLook  = 8
	maxLooks = 8
)

// looks reports whether this process looks itself in a turn for what others on its map look for
// as well. It does in each if the map is not certain of its neighbours.
func (m *Machine) looks(turn uint64) bool {
	if m.cfg.Processes == nil || !m.chartsNeighbours() {
		return true
	}
	n, _ := m.cfg.Processes()
	every := uint64(max(1, min(n/perLook, maxLooks)))
	return turn%every == m.self.ID%every
}

// placeOther places y in the ring that this member knows, beginning here.
func (m *Machine) placeOther(y ring.Member) {
	if m.placing.open || m.phase != Joined || m.nearer(y) || y == m.head() || m.cfg.Recall != nil {
		return
	}
	next := m.closer(y.ID)
	if len(next) == 0 {
		return
	}
	m.startPlacing(y, next[0], ring.Member{})
	m.placing.rest = next[1:]
}

// placeWaiting places those who had to wait for another placement's end.
func (m *Machine) placeWaiting() {
	for len(m.toPlace) > 0 && !m.placing.open && m.phase == Joined {
		y := m.toPlace[0]
		m.toPlace = m.toPlace[1:]
		m.placeOther(y)
	}
}

func (m *Machine) startPlacing(subject, start, via ring.Member) {
	m.placing = placement{open: true, subject: subject, via: via}
	m.placeAsk(start)
}

func (m *Machine) placeAsk(x ring.Member) {
	op := &m.placing
	op.steps++
	op.asked, op.attempt = x, 0
	op.call = m.ask(x, Request{Kind: Place, Subject: op.subject}, 0, false)
}

func (op *placement) question(i int) (uint64, bool) { return op.call, op.open && i == 0 }

func (op *placement) encode(m *Machine, f *form) {
	if op.open {
		f.members(op.subject, op.via, op.asked)
		f.bytes(byte(op.attempt))
		f.flags(op.from != "")
		if op.from != "" {
			f.address(op.from)
		}
		f.list(op.rest)
	}
	f.list(m.toPlace)
}

func (op *placement) answered(m *Machine, _ int, a Answer) {
	if f := a.Failure; f != nil {
		switch {
		case f.Kind.unsaid():
			m.placing = placement{}
			return
		case op.asked.Anyone():
			if f.Kind != NotJoined {
				m.seedSilent(op.from)
			}
			m.placeNext()
			return
		}
		switch f.Kind {
		case TimedOut, Unreachable:
			if op.attempt == 0 {
				op.attempt++
				op.call = m.ask(op.asked, Request{Kind: Place, Subject: op.subject}, op.attempt, false)
				return
			}
			m.record(fact{kind: wasSilent, who: op.asked})
		case WrongMember:
			m.record(fact{kind: wasSuperseded, who: op.asked, by: f.By})
		case NotJoined:
			m.record(fact{kind: isOutside, who: op.asked})
		default:
			m.record(fact{kind: wasSilent, who: op.asked})
		}
		m.placeNext()
		return
	}
	st := a.Reply.State
	if op.asked.Anyone() {
		nobody := st.Self.IsZero() || st.Self.ID == m.self.ID // a legacy member that does not say who it is, or nobody else
		m.seedAnswered(op.from, nobody)
		if nobody {
			m.placeNext()
			return
		}
		op.asked, op.via = st.Self, st.Self
	}
	if st.Self == op.asked {
		m.recognize(op.asked)
		m.recordAnswer(st, fact{kind: hasAnswered, who: op.asked})
		m.noticeIncarnation(op.asked)
	} else {
		m.recordAnswer(st)
	}
	switch a.Reply.Verdict {
	case Found:
		m.placed(st)
	case Taken:
		m.takenBy(st)
	case Next:
		var closer []ring.Member
		for _, x := range a.Reply.Closer {
			m.record(fact{kind: wasNamed, who: x})
			if ring.Between(op.asked.ID, x.ID, op.subject.ID) && m.responsive(x) {
				closer = append(closer, x)
			}
		}
		op.rest = slices.Concat(closer, op.rest)
		op.rest = op.rest[:min(len(op.rest), maxPlaceRest)]
		m.placeNext()
	default:
		m.placing = placement{}
	}
}

// placeNext asks the next member of an open placement, or ends it: nobody
// closer answers, and what was pending stays so.
func (m *Machine) placeNext() {
	op := &m.placing
	if len(op.rest) == 0 || op.steps >= maxSteps {
		m.placing = placement{}
		m.placeWaiting()
		return
	}
	x := op.rest[0]
	op.rest = op.rest[1:]
	m.placeAsk(x)
}

// placed ends a placement whose subject is known where it belongs.
func (m *Machine) placed(st State) {
	op := m.placing
	m.placing = placement{}
	if op.subject == m.self && (st.Self == m.self || st.Head() == m.self) {
		m.dirty = m.acq.placed(op.via) || m.dirty
		m.seedAnswered(op.from, true)
	}
	m.checkMore()
}

// takenBy ends a placement at a member that did not know the subject and
// considers it now. If the subject is this member, that member and the head it
// had are considered in turn.
func (m *Machine) takenBy(st State) {
	op := m.placing
	m.placing = placement{}
	defer m.placeWaiting()
	if op.subject != m.self {
		return
	}
	if m.taker(op.via, st) {
		m.emit(RingMet{By: st.Self})
	}
	if op.from != "" {
		m.record(fact{kind: mayBeElsewhere, who: op.via}) // there are two rings, and this is the way back
	}
	for _, x := range []ring.Member{st.Self, st.Head()} {
		if x.Name == "" || x.ID == m.self.ID {
			continue
		}
		m.record(fact{kind: wasNamed, who: x})
		if m.nearer(x) {
			m.triggerStabilize()
		}
	}
}

// checkMore goes on with the pending acquaintances of this round.
func (m *Machine) checkMore() {
	m.placeWaiting()
	if !m.placing.open && m.phase == Joined && len(m.succ) > 0 {
		m.checkPending()
	}
}
