package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// departure is a polite leave: both neighbours are told, and lookups answered
// until they do without this member.
type departure struct {
	open  bool
	calls []notice
	again []ring.Member // asked us to wait: they leave first
	// returning is in what time this member says that it is to be back.
	returning time.Duration
	// drains: the process runs on, and the member stays unless it is acknowledged by one
	// of another process that is in the ring; by those.
	drains bool
	by     []ring.Member
	given  uint8 // how many others it has acknowledged meanwhile
}

type notice struct {
	call uint64
	to   ring.Member
	// void: what it answers was perhaps said before this member acknowledged another.
	void bool
}

// departRetry is how long a member waits for a neighbour that leaves first.
const departRetry = 20 * time.Millisecond

// MaxReturning bounds how long others have a member be away that is to return.
const MaxReturning = time.Hour

func (m *Machine) startDepart(ev Depart) {
	switch m.phase {
	case Joined:
		if ev.Drain && m.nobodyElse() {
			m.late(DepartDone{Stays: true})
			return
		}
	case Leaving:
		m.depart.drains = m.depart.drains && ev.Drain
		if !m.depart.open {
			m.late(DepartDone{}) // already
		}
		return
	default:
		m.late(DepartDone{})
		return
	}
	m.closeAll()
	m.leaseLeave()
	m.phase = Leaving
	m.dirty = true
	m.depart = departure{open: true, returning: max(0, min(ev.Returning, MaxReturning)), drains: ev.Drain}
	m.handOver()
	m.notice(m.pred)
	m.notice(m.head())
	m.departCheck()
}

// handOver introduces the pending acquaintances to the head: perhaps nobody else in
// the ring knows them.
func (m *Machine) handOver() {
	h := m.head()
	if h.IsZero() {
		return
	}
	for i := range m.acq.list {
		if a := &m.acq.list[i]; a.pending && a.condition == present && a.Member != h {
			m.tell(h, Request{Kind: Introduce, Subject: a.Member})
		}
	}
}

// notice tells a neighbour that this member is leaving.
func (m *Machine) notice(x ring.Member) {
	if x.Name == "" || x.Legacy() || x.ID == m.self.ID {
		return
	}
	for _, n := range m.depart.calls {
		if n.to == x {
			return
		}
	}
	call := m.ask(x, Request{Kind: Leave, Pred: m.pred, Succ: m.succ}, 0, true)
	m.depart.calls = append(slices.Clip(m.depart.calls), notice{call: call, to: x})
}

func (d *departure) question(i int) (uint64, bool) {
	if i >= len(d.calls) {
		return 0, false
	}
	return d.calls[i].call, true
}

func (d *departure) encode(_ *Machine, f *form) {
	if !d.open {
		return
	}
	f.bytes(byte(len(d.calls)))
	for _, n := range d.calls {
		f.members(n.to)
	}
	f.list(d.again)
	if d.drains {
		f.list(d.by)
		f.bytes(d.given)
		for _, n := range d.calls {
			f.flags(n.void)
		}
	}
}

func (d *departure) answered(m *Machine, i int, a Answer) {
	n := d.calls[i]
	d.calls = slices.Concat(d.calls[:i], d.calls[i+1:])
	d.acknowledged(m, n, a)
	busy := a.Failure == nil && a.Reply.Refusal.Reason == Busy
	if busy || a.Failure != nil && a.Failure.Kind == Overloaded {
		d.again = append(slices.Clip(d.again), n.to)
		m.emit(WakeAt{At: m.now + departRetry})
	}
	d.noticeNext(m, n, a)
	m.departCheck()
}

// noticeNext tells the member after the one that was told in the list, if that is not there any
// more: it was the head, and has left just before.
func (d *departure) noticeNext(m *Machine, n notice, a Answer) {
	if d.drains || a.Failure == nil {
		return
	}
	switch a.Failure.Kind {
	case Refused, Unreachable, TimedOut, WrongMember, NotJoined:
		if i := slices.Index(m.succ, n.to); i >= 0 && i+1 < len(m.succ) {
			m.notice(m.succ[i+1])
		}
	}
}

// continueDepart tells those again that asked this member to wait.
func (m *Machine) continueDepart() {
	again := m.depart.again
	m.depart.again = nil
	for _, x := range again {
		m.notice(x)
	}
	m.departCheck()
}

func (m *Machine) departCheck() {
	d := &m.depart
	if !d.open || len(d.calls) > 0 || len(d.again) > 0 {
		return
	}
	d.open = false
	switch {
	case d.drains && len(d.by) > 0:
		m.retire()
		m.late(DepartDone{})
	case d.drains:
		m.remain()
		m.late(DepartDone{Stays: true})
	default:
		m.late(DepartDone{})
	}
}

// left hears that x is leaving. That is a hint and not a write: x is asked whether it
// is, and its neighbours are asked before they are relied on.
func (m *Machine) left(x ring.Member, req Request, token uint64) {
	if x.Name == "" || x.ID == m.self.ID {
		m.late(Respond{Token: token, Failure: &Failure{Kind: Invalid, Detail: "leave names no sender, or the receiver itself"}})
		return
	}
	if m.phase == Leaving {
		// Two neighbours leave at once: the lower identifier goes first.
		if m.self.ID < x.ID {
			m.respond(token, Refusal{Reason: Busy})
			return
		}
		if !m.depart.mayAcknowledge() {
			m.late(Respond{Token: token, Failure: &Failure{Kind: NotJoined, By: m.self, Detail: m.phase.String()}})
			return
		}
		if x == m.pred {
			m.notice(req.Pred)
		}
		if x == m.head() && len(req.Succ) > 0 {
			m.notice(req.Succ[0])
		}
		m.acknowledge()
		m.respond(token, Refusal{})
		return
	}
	m.recognize(x)
	m.hearFarewell(x, req, token)
}
