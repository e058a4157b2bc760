package protocol

import (
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file lets a joiner take over what it will own while another still owns it.
//
// The answer to the Notify of a joiner says whose place it has taken. If that is the member
// which has told the joiner that it belongs after it, the joiner takes it for its predecessor
// at once, and owns. It need not be notified by it first.
//
// Without more, its successor has given that up then, and nobody serves it until the joiner's
// program has its data. A join with Takeover has two parts:
//
//   - Prepare: the joiner asks its successor whether it would consent. The successor looks
//     into that as for any notification, and changes nothing. It remembers nothing either, so
//     that a joiner that fails now leaves no trace. Its answer names its predecessor. So the
//     joiner knows its arc, and its program takes what there is.
//   - Commit: when the program is done, or its time is over, the joiner notifies the successor
//     as in any join.
//
// What has changed meanwhile is found by the notification, as in a join that was slow. If
// another is the successor then, the joiner prepares again, in the time that is left.

// takingOver is what a joiner knows of taking over. The zero takingOver does not prepare.
type takingOver struct {
	most  time.Duration // it may last so long
	until time.Duration // its time is over then; 0: it has not begun
	heard ring.Member   // who has consented last
	arc   ring.Arc      // what the program takes; stage taking
}

// prepares reports whether s is to be asked whether it would consent.
func (m *Machine) prepares(s ring.Member) bool {
	t := &m.join.takeover
	return t.most > 0 && t.heard != s && (t.until == 0 || m.now < t.until)
}

// Preparing reports whether the machine is a joiner that has not asked its successor to
// hand anything over yet.
func (m *Machine) Preparing() bool {
	return m.join != nil && (m.join.stage == preparing || m.join.stage == taking)
}

// Taking is the arc of a Prepare that is waited for.
func (m *Machine) Taking() (ring.Arc, bool) {
	if m.join == nil || m.join.stage != taking {
		return ring.Arc{}, false
	}
	return m.join.takeover.arc, true
}

// prepare has the program take what it will own, since s, in the state st, would consent.
func (m *Machine) prepare(s ring.Member, st State) {
	j := m.join
	t := &j.takeover
	t.heard = s
	after := st.Pred.ID
	if st.Pred.IsZero() && len(st.Succ) == 0 {
		after = s.ID // a ring of one
	}
	if st.Pred.IsZero() && len(st.Succ) > 0 || !ring.Between(after, m.self.ID, s.ID) {
		m.commit(s) // what it will own is not known
		return
	}
	if t.until == 0 {
		t.until = m.now + t.most
	}
	j.stage, j.asked, j.call, t.arc = taking, s, 0, ring.Arc{After: after, To: m.self.ID}
	m.emit(WakeAt{At: t.until})
	m.emit(Prepare{Arc: t.arc, From: append([]ring.Member{s}, m.others(st.Succ)...), Epoch: st.Epoch})
}

// others is a list without this member.
func (m *Machine) others(list []ring.Member) []ring.Member {
	out := make([]ring.Member, 0, len(list))
	for _, x := range list {
		if x.ID != m.self.ID {
			out = append(out, x)
		}
	}
	return out
}

// prepared goes on when the program has taken the arc.
func (m *Machine) prepared(ev Prepared) {
	if arc, ok := m.Taking(); ok && arc == ev.Arc {
		m.commit(m.join.asked)
	}
}

// takenLong goes on without the program when its time is over.
func (m *Machine) takenLong() {
	if _, ok := m.Taking(); ok && m.now >= m.join.takeover.until {
		m.commit(m.join.asked)
	}
}

// commit asks s to take this member for its predecessor.
func (m *Machine) commit(s ring.Member) {
	m.joinAsk(notifying, s, Request{Kind: Notify, Joining: true}, true)
}

// former is whose place a new predecessor takes that follows old.
func (m *Machine) former(old ring.Member) ring.Member {
	if old.IsZero() && m.alone {
		return m.self
	}
	return old
}

// takeOver has a joiner take former for its predecessor, whose place it has taken with its
// successor. The one before it has answered.
func (m *Machine) takeOver(former ring.Member) {
	j := m.join
	if former.IsZero() || former != j.before {
		return
	}
	m.setPred(former, CauseJoined)
	if m.cfg.Lease > 0 {
		m.triggerStabilize() // for a grant
	}
}
