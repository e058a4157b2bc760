package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file has a member leave the ring whose process runs on, to come back later: it
// drains.
//
// To the ring that is a leave, and then a process that has started anew and has not joined:
// nothing else is changed by it. Only the end of the leave differs. A member that leaves
// goes whatever the others say. One that drains goes only if a member of another process,
// which is in the ring, has acknowledged that it does without it. So a ring of members that
// are all drained at once keeps one: of two that leave at the same time the one with the
// lower identifier goes first, and the last has nobody left that acknowledges.
//
// Whoever acknowledges another has to be acknowledged after that: of three that leave at the
// same time each might else go since another of them does without it. So the members that have
// gone have been acknowledged one later than the other, and the last of all by one that stays.

// nobodyElse reports whether no member of another process is known to be in the ring.
func (m *Machine) nobodyElse() bool { return !knowsOthers(m.self, m.pred, m.succ) }

// KnowsOthers reports whether the member knows one of another process in the ring.
func (v *View) KnowsOthers() bool { return knowsOthers(v.Self, v.Pred, v.Succ) }

func knowsOthers(self, pred ring.Member, succ []ring.Member) bool {
	other := func(x ring.Member) bool { return !x.IsZero() && x.Name != self.Name }
	return other(pred) || slices.ContainsFunc(succ, other)
}

// acknowledges reports whether the answer to a Leave is that of a member of another process
// which is in the ring and does without self.
func acknowledges(a Answer, self ring.Member) bool {
	st := a.Reply.State
	return a.Failure == nil && a.Reply.Refusal.Reason == Consent && st.Phase.InRing() && st.Self.Name != self.Name
}

// retire ends the part in the ring of a member that has left it. Until it joins again it
// answers as the member that it was, so that those who have not heard of its leave find that
// it is outside.
func (m *Machine) retire() {
	m.closeAll()
	m.vacate(CauseGivenUp)
	m.outside()
	m.retired = true
	m.depart, m.replaced = departure{}, replacement{}
	m.divided = ring.Member{}
	m.leaves(ring.Member{})
	m.certain, m.answered, m.headEpoch = -1, -1, 0
}

// anew has a member that has retired join as a later incarnation.
func (m *Machine) anew() {
	if m.retired {
		m.retired = false
		m.self.Incarnation++
		m.version++
		m.dirty = true
	}
}

// remain has a member be in the ring as before that was to leave. An acknowledgement may
// have been lost, so others may have taken over: it is in doubt until its head has named it.
func (m *Machine) remain() {
	m.depart = departure{}
	m.phase = Joined
	m.dirty = true
	m.leaseRemain()
	m.schedule()
	m.inDoubt()
	m.triggerStabilize()
}

// maxAcknowledged bounds how often one that drains acknowledges others that leave. More are told
// that it leaves itself: those that drain, too, stay unless another acknowledges them.
const maxAcknowledged = 32

// mayAcknowledge reports whether this member, which leaves, can do without another that leaves.
func (d *departure) mayAcknowledge() bool { return !d.drains || d.given < maxAcknowledged }

// acknowledge notes that this member does without another while it drains itself. Whoever has
// acknowledged it before is asked again: that one may go because the other is gone.
func (m *Machine) acknowledge() {
	d := &m.depart
	if !d.open || !d.drains {
		return
	}
	d.given++
	d.calls = slices.Clone(d.calls)
	for i := range d.calls {
		d.calls[i].void = true
	}
	before := d.by
	d.by = nil
	for _, x := range before {
		m.notice(x)
	}
}

// acknowledged notes the answer of x to what this member, which drains, has said of its leave.
func (d *departure) acknowledged(m *Machine, n notice, a Answer) {
	switch {
	case !d.drains || !acknowledges(a, m.self):
	case n.void:
		m.notice(n.to)
	default:
		d.by = append(slices.Clip(d.by), n.to)
	}
}
