package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file has a member ask its head for its lease, and grant that of its predecessor.
// See lease.go.

// grant is what was granted to a predecessor: an arc up to itself, or nothing.
type grant struct {
	to  ring.Instance
	arc ring.Arc
	has bool
	at  time.Duration
}

// maxGrants bounds those that are remembered. With more, nobody else is granted anything.
const maxGrants = 16

// Asks is what a member that asks its head for a grant says: the arc that it may own by
// it, if it has one. Length is Config.Lease; 0: it asks for none.
type Asks struct {
	Length time.Duration
	Arc    ring.Arc
	Has    bool
}

// leaverHad is what a predecessor that leaves has said that it held.
type leaverHad struct {
	who   ring.Instance
	given bool
	after uint64
}

// sighting says when a member was known to live.
type sighting struct {
	who   ring.Instance
	at    time.Duration
	asked time.Duration // when whoever told it was asked
}

// granted takes what the head has answered to a question asked at that time.
func (m *Machine) granted(st State, asked time.Duration) {
	l := &m.lease
	if m.cfg.Lease == 0 || m.phase != Joined {
		return
	}
	named := st.Lease.Length == m.cfg.Lease && st.Pred == m.self && st.Phase == Joined
	switch {
	case !named || m.now >= m.evident():
		l.named = 0
	case l.named == 0:
		l.named = m.now
	}
	if !named || !st.Lease.Granted {
		return
	}
	m.lengthen(st.Lease.Chain, asked)
	m.renew()
	if m.now < l.until && !l.holds {
		l.holds = true
		l.lapsed, l.resumed = false, l.lapsed
		m.take(st.Lease)
	}
	m.dirty = true
}

// asks is what this member asks its head for.
func (m *Machine) asks() Asks {
	if m.cfg.Lease == 0 {
		return Asks{}
	}
	out := Asks{Length: m.cfg.Lease}
	out.Arc, out.Has = m.ownArc()
	return out
}

// grants answers a member that asks for a grant. It is granted the arc if it is the
// predecessor, and no other was granted a part of that in the last Lease.
func (m *Machine) grants(to ring.Member, a Asks) bool {
	l := &m.lease
	if m.cfg.Lease == 0 || a.Length != m.cfg.Lease || m.phase != Joined || to != m.pred || a.Has && a.Arc.To != to.ID {
		return false
	}
	kept := make([]grant, 0, len(l.gave)+1)
	for _, g := range l.gave {
		switch {
		case m.now-g.at >= m.cfg.Lease || g.to == to.Instance():
			continue
		case a.Has && g.has && (g.arc.Contains(a.Arc.To) || a.Arc.Contains(g.arc.To)):
			return false
		}
		kept = append(kept, g)
	}
	if len(kept) == maxGrants {
		return false
	}
	l.gave = append(kept, grant{to.Instance(), a.Arc, a.Has, m.now})
	return true
}

// links is a chain all of whose links are of that time.
func (m *Machine) links(at time.Duration) []time.Duration {
	return slices.Repeat([]time.Duration{at}, m.cfg.Successors)
}

// lengthen takes from a grant that was asked for at that time how the chain stands. A
// joiner does not know of all of it yet; then less is known than before.
func (m *Machine) lengthen(ages []time.Duration, asked time.Duration) {
	l := &m.lease
	chain := []time.Duration{asked}
	for _, age := range ages {
		if len(chain) < m.cfg.Successors {
			chain = append(chain, asked-age)
		}
	}
	switch {
	case len(chain) == m.cfg.Successors:
		l.chain = chain
		l.grant = max(l.grant, surely(slices.Min(chain), asked)+m.leased())
	case len(l.chain) < m.cfg.Successors:
		l.chain = chain
	}
}

// take begins a lease with what a grant says was given, and waits for the rest. What
// this member has of its predecessor's arc to hand on is what it was given of that.
func (m *Machine) take(given Lease) {
	l := &m.lease
	switch {
	case !given.Given:
		l.none = true
	case l.none || ring.Between(l.edge, given.After, m.self.ID):
		l.edge, l.none = given.After, false
	}
	l.rest = l.named + m.cfg.Lease
	l.given = Lease{}
	if p := m.pred; given.Given && !p.IsZero() {
		if ring.Between(given.After, p.ID, m.self.ID) {
			l.given = Lease{Given: true, After: given.After}
		}
		m.nearerEdge(p.ID)
	}
}
