package protocol

import (
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file decides in which rounds a member asks its head while nothing happens.
//
// A process that stands at several identifiers fails at all of them at once. So it need not
// be asked at each of them in every round: whoever finds it silent has the others look. The
// first of its identifiers is asked in every round, the second in every second, and so on,
// those from the sixth on in every sixth. It is the same for all members, and so a process
// asks about as often as it is asked.
//
// A round in which the head is not asked is one of rest. Nobody rests whose pointers are not
// right as far as the neighbours have said, whose list was another a round ago, or who was
// told that the head's process does not answer.

// maxPace is in how many rounds a head is asked at least.
const maxPace = 6

// Pace is in how many rounds a member is asked by the one before it: by which identifier of
// its process it is.
func Pace(x ring.Member) int {
	if !x.Choice.Several() {
		return 1
	}
	slot, _ := x.Choice.Slot()
	return min(1+slot, maxPace)
}

// leasedPace is in how many rounds a head can be asked so that leases of that length are
// renewed in time, at least 1. A grant is as old as the oldest link of its chain, each of
// which may be one pace old and counts an eighth more. The lease has to last for one pace
// more, and not to be said to end before.
func leasedPace(lease, interval time.Duration, links int) int {
	if lease == 0 || interval <= 0 {
		return maxPace
	}
	rounds := 0.9*float64(lease)/float64(interval) - endingRounds
	return max(1, min(maxPace, int(rounds/(roundSpread*(9.0/8*float64(links)+1)))))
}

// roundSpread is how much longer than an interval a round may be.
const roundSpread = 1.1

// resting is when the head last said that nothing has changed.
type resting struct {
	calm    bool
	version uint64 // of this member's state
	round   uint64
	looked  uint64 // the round before which another hint is no reason to ask again
}

// Silent says: a member of the process of that name did not answer another member of this
// process, or others take one for gone. Evidence to look, not to act.
type Silent struct{ Name string }

// Suspects says: the member, of a process at several identifiers, does not answer. The other
// members of this process are to be told, as Silent.
type Suspects struct{ Who ring.Member }

func (Silent) event()    {}
func (Suspects) effect() {}

// Rests reports whether the head is not asked in the round that comes, if nothing happens.
func (m *Machine) Rests() bool { return m.restsFor() > 0 }

// Stabilizes reports whether a stabilization is open.
func (m *Machine) Stabilizes() bool { return m.stabilization.open }

// restsFor is in how many rounds from now on the head is not asked, if nothing happens.
func (m *Machine) restsFor() uint64 {
	r := &m.rest
	if !r.calm || r.version != m.version || !m.settled() || m.alone || m.cfg.Lease > 0 && !m.lease.holds {
		return 0
	}
	every := min(Pace(m.head()), leasedPace(m.cfg.Lease, m.cfg.Interval, m.links()))
	return max(m.round, r.round+uint64(every)-1) - m.round
}

// calmed notes what a stabilization has found that began at a version of the state: the head
// has answered, and nothing has changed.
func (m *Machine) calmed(version uint64) {
	op := &m.stabilization
	h := m.head()
	m.rest.calm = !h.IsZero() && op.heard == h && op.headPred == m.self && version == m.version
	m.rest.version, m.rest.round = m.version, m.round
}

// silent looks after the head if it is of a process that does not answer: at once, but not
// more than once in a round, and in the next round again.
func (m *Machine) silent(name string) {
	if h := m.head(); m.phase != Joined || h.IsZero() || h.Name != name || name == m.self.Name {
		return
	}
	m.rest.calm = false
	if m.rest.looked <= m.round {
		m.rest.looked = m.round + 1
		m.triggerStabilize()
	}
}

// suspect has the other members of this process look after theirs of the process of x.
func (m *Machine) suspect(x ring.Member) {
	if x.Choice.Several() && x.Name != m.self.Name {
		m.emit(Suspects{Who: x})
	}
}
