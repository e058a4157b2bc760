package protocol

import (
	"github.com/ollelogdahl/concord/internal/ring"
)

// Snapshot is where a member is in the ring: its pointers and whom it
// remembers.
type Snapshot struct {
	Pred    ring.Member   // zero: unknown
	Succ    []ring.Member // nearest first; what a list may not hold is cut off
	Known   []ring.Member // acquaintances known to be in the same ring
	Pending []ring.Member // acquaintances that may not be
	Seeds   []string      // addresses to turn to when all else is lost
	Origin  *ring.Origin  // of the ring; nil: not known
	Epoch   uint64        // of its arc; 0: 1
}

// Restore returns a machine that is in the ring as at tells, however it may
// have come there. Its rounds begin with the first Tick. The
// simulator and the model checker begin with it.
func Restore(self ring.Member, cfg Config, seed uint64, at Snapshot) *Machine {
	if cfg.Votes == nil {
		cfg.Votes = cfg.NewVotes(self.Name, -cfg.Lease, 0) // it has been there
	}
	m := New(self, cfg, seed)
	m.phase = Joined
	m.pred, m.origin = at.Pred, at.Origin
	if len(at.Succ) > 0 {
		m.succ = m.cut(at.Succ[0], at.Succ[1:])
	}
	m.alone = len(m.succ) == 0 && m.pred.IsZero()
	m.certain, m.answered = -1, -1
	m.setSeeds(at.Seeds)
	m.probeSeldom()
	if n := min(len(at.Pending)+len(at.Known), m.cfg.Acquaintances); n > 0 {
		m.acq.list = make([]acquaintance, 0, n)
	}
	for _, x := range at.Pending {
		m.record(fact{kind: mayBeElsewhere, who: x})
	}
	for _, x := range at.Known {
		m.record(fact{kind: wasNamed, who: x})
	}
	if m.wasIsolated = m.isolated(); !m.wasIsolated {
		m.arc, m.hasArc = m.ownArc()
		m.claimed, m.claims = m.arc, m.hasArc
		m.epoch, m.clock = max(1, at.Epoch), max(1, at.Epoch)
	}
	m.ownsAll()
	m.dirty = false
	m.out, m.last = m.out[:0], m.last[:0]
	return m
}

// Snapshot is where the machine is now.
func (m *Machine) Snapshot() Snapshot {
	s := Snapshot{Pred: m.pred, Succ: m.succ, Seeds: m.addresses(), Origin: m.origin, Epoch: m.epoch}
	for i := range m.acq.list {
		if a := &m.acq.list[i]; a.pending {
			s.Pending = append(s.Pending, a.Member)
		} else {
			s.Known = append(s.Known, a.Member)
		}
	}
	return s
}
