package protocol

import "time"

// This file has a member doubt that its arc is its own.
//
// A member that has hung may have been taken for dead. By its own monotonic clock it knows
// that it has hung, and not what the others have done meanwhile. So from then on it is in
// doubt: it owns nothing, until its head, in an answer to a question asked since, has named
// it as its predecessor. That head holds nothing of the arc. One that names another does,
// or knows nobody who comes between; this member notifies it, and asks again.
//
// A ring of one is in no doubt: there is nobody to ask. One that meets another in the Step in
// which it wakes is a ring of one no longer, and doubts.

// leastHang is how late a round begins at least if a member counts as hung. In less time
// nobody is taken for dead: two questions to it must time out.
const leastHang = 500 * time.Millisecond

// Overdue reports whether a round that was to begin at due has not begun for so long that
// whoever finds it at the time now has hung. It decides the same for the machine, which
// does not run while a member hangs, and for whoever reads its View meanwhile. Due 0: no
// round is to begin.
func Overdue(due, now, interval time.Duration) bool {
	return due > 0 && now-due > max(interval, leastHang)
}

// wake finds at the beginning of a Step whether this member has hung.
func (m *Machine) wake() {
	r := &m.replaced
	if m.phase != Joined || !Overdue(r.due, m.now, m.cfg.Interval) {
		return
	}
	m.lease.hung(m.now - r.due)
	r.due = 0 // until the next round is scheduled
	m.inDoubt()
}

// inDoubt has a member own nothing until its head has named it.
func (m *Machine) inDoubt() {
	r := &m.replaced
	r.doubts, r.since = true, m.now
	if r.bare {
		r.known, r.bare = false, false // it may have been replaced again
	}
	m.doubts = true
	m.dirty = true
}

// assured ends the doubt: the head names this member, in an answer to a question asked at
// that time.
func (m *Machine) assured(asked time.Duration) {
	if m.doubts && asked >= m.replaced.since {
		m.doubts = false
		m.dirty = true
	}
}

// alonesDoubt ends at the end of a Step the doubt of a member that is a ring of one.
func (m *Machine) alonesDoubt() { m.doubts = m.doubts && !m.alone }
