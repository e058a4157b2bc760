package protocol

import "github.com/ollelogdahl/concord/internal/ring"

// This file shares among the members of a process what one of them has found out about
// another process that stands at several identifiers, too.
//
// All of its identifiers are at one address: where one does not answer, none does, and where
// one answers again, all may. Without this file each member of a process of 16 identifiers would
// ask a process of 16 that has ended at each of those that it has heard of, again and again.

// Reach says: the process of a member at several identifiers did not answer so many times in a
// row, or answers again. As an effect, the other members of this process are to be told; as an
// event, one of them has found it. Evidence of when to ask, not of who is in the ring.
type Reach struct {
	Who      ring.Member
	Failures uint8 // 0: it answers
}

func (Reach) event()  {}
func (Reach) effect() {}

// reached hears what another member of this process has found.
func (m *Machine) reached(ev Reach) {
	var f findings
	m.acq.reach(ev, m.vicinity(m.aloneOrIsolated()), &f)
	m.act(&f)
}

// reaches does the same with what this member has found, and has the others told.
func (m *Machine) reaches(x ring.Member, f *findings) {
	a := m.acq.find(x)
	if a == nil || !x.Choice.Several() {
		return
	}
	ev := Reach{Who: x, Failures: a.failures}
	m.acq.reach(ev, m.vicinity(m.aloneOrIsolated()), f)
	m.emit(ev)
}

// reach records of all identifiers of a process, in its incarnation, whether it answers:
// where it does not they are asked as rarely as that was, and where it does again they are as live
// as that, and pending: it may have been cut off. What a pointer names is left alone: it is asked
// there.
func (q *acquaintances) reach(ev Reach, v vicinity, f *findings) {
	for i := range q.list {
		a := &q.list[i]
		if !a.SameProcess(ev.Who) || a.Incarnation != ev.Who.Incarnation || v.inView(a.Member) {
			continue
		}
		switch {
		case ev.Failures > 0:
			f.changed = f.changed || a.responsive()
			a.condition, a.failures = unresponsive, max(a.failures, ev.Failures)
			a.next = v.round + q.backoff(a.failures, v.aloneOrIsolated)
		case !a.responsive():
			a.condition, a.failures, a.next, a.pending = present, 0, v.round, true
			f.changed = true
		}
	}
}
