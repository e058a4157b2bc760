package protocol

import "github.com/ollelogdahl/concord/internal/ring"

// This file gives the arc that a member claims its epoch.
//
// The epoch of a point rises whenever another member takes it over: who compares the
// epochs of two owners of a point knows which of them came later. It is the time of a
// logical clock (Lamport 1978). A member that gains anything claims its arc anew, with an
// epoch above all that it has heard of. What it only loses it leaves to another, whose
// epoch is the greater one.
//
// Whoever takes over must have heard of the epoch of who is gone. So a member says in
// its answers how far its clock is, and in a Notify and a Leave. The member before one
// that is gone has asked that one in each round, and notifies the one after it.
// A notification may make the receiver claim its arc anew, and the answer may be lost:
// the sender's clock goes on as if it had heard it.
//
// Two members that claim a point at once, each without having heard of the other, may do
// so with the same epoch: on both sides of a cut, say. When they meet, one of them finds
// that it was replaced, and claims its arc anew. See replaced.go.

// MaxEpoch is the largest epoch that is believed. A clock that is there stands still.
const MaxEpoch = 1 << 62

// Claimed: others claim an arc by this epoch. Contested says that it is the arc that this
// member owns.
type Claimed struct {
	Epoch     uint64
	Contested bool
}

func (Claimed) event() {}

// hearClock takes over what another says of its clock. Who has claimed nothing yet begins where the
// others are, but not far above the least that it was told: a clock beyond all others would be
// believed by none of them.
func (m *Machine) hearClock(at uint64) {
	switch {
	case at == 0, at > MaxEpoch:
	case m.epoch == 0:
		if m.least == 0 || at < m.least {
			m.least = at
		}
		m.clock = min(max(at, m.clock), m.least+ring.MaxLeap)
	default:
		m.clock += m.leaps.Toward(m.clock, at)
	}
}

// count has the clock go on by one.
func (m *Machine) count() {
	if m.clock < MaxEpoch {
		m.clock++
	}
}

// claim claims the arc with a new epoch if the member has gained anything since it
// claimed it last.
func (m *Machine) claim() {
	m.stake()
	arc, has := m.ownArc()
	if m.isolated() {
		return
	}
	switch {
	case !has:
		m.claims = false
		return
	case !m.claims, arc != m.claimed && len(arc.Minus(m.claimed)) > 0:
	case !m.reclaimed && (m.wasIsolated || m.lease.resumed || !m.replaced.by.IsZero()):
		m.reclaimed = true // others may have held it
	default:
		m.claimed = arc
		return
	}
	m.claims, m.claimed = true, arc
	m.raise()
}

// raise gives the arc an epoch above all that the member has heard of.
func (m *Machine) raise() {
	m.count()
	m.epoch = m.clock
	m.version++
	m.saysAnew()
	m.dirty = true
}

// othersClaim takes by which epoch others claim, and raises the own if it is the own arc.
func (m *Machine) othersClaim(ev Claimed) {
	m.hearClock(ev.Epoch)
	if ev.Contested {
		m.rest.calm = false // another may have taken over
	}
	if ev.Contested && m.claims && m.phase == Joined && ev.Epoch >= m.epoch && ev.Epoch <= m.clock {
		m.raise()
	}
}
