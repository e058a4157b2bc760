package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/voting"
)

// This file has a member ask its head for its lease, and grant that of its predecessor.
// See lease.go.

// grant is what was granted to a predecessor: an arc up to itself, or nothing.
type grant struct {
	to   ring.Instance
	addr string // where it was; empty if that is not known
	arc  ring.Arc
	has  bool
	at   time.Duration
}

// Granted is what a member has granted to another, and how long ago.
type Granted struct {
	To  ring.Instance
	Arc ring.Arc
	Age time.Duration
}

// maxGrants bounds those that are remembered. With more, nobody else is granted anything.
const maxGrants = 16

// mostGrants bounds them with those that heads have told of. The latest are remembered.
const mostGrants = 4 * maxGrants

// Asks is what a member that asks its head for a grant says: the arc that it may own by
// it, if it has one. Length is Config.Lease; 0: it asks for none.
//
// Claims are those of its process, on which it asks that of the other to vote, and Words are those
// of others, as far as it has heard.
type Asks struct {
	Length time.Duration
	Arc    ring.Arc
	Has    bool
	Claims []voting.Stake
	Words  []voting.Stake
}

// leaverHad is what a predecessor that leaves has said that it held.
type leaverHad struct {
	who   ring.Instance
	given bool
	after uint64
}

// byGrants reports whether members own by the grants of their heads, and by waits. With MinMembers
// they own by votes, and a grant only says that the head names the member.
func (m *Machine) byGrants() bool { return m.cfg.Lease > 0 && m.cfg.Votes == nil }

// granted takes what the head has answered to a question asked at that time.
func (m *Machine) granted(st State, asked time.Duration) {
	l := &m.lease
	if m.cfg.Lease == 0 || m.phase != Joined {
		return
	}
	named := st.Lease.Length == m.cfg.Lease && st.Pred == m.self && st.Phase == Joined && !m.overlooks()
	linked := named && (st.Lease.Granted || st.Lease.Linked)
	if m.now >= m.linkedUntil() {
		l.named = 0
	}
	if linked {
		m.lengthen(st.Lease, asked)
		m.hears(st.Lease.Others)
		if st.Lease.Waits && l.took == 0 && l.none {
			l.goes = wait{has: true, after: st.Lease.From, over: m.now + st.Lease.Wait/8*9, lasts: asked + m.leased()}
			m.owesOn()
		}
	}
	switch {
	case !linked || m.now >= m.linkedUntil():
		l.named = 0
	case l.named == 0:
		l.named = m.now
	}
	if !named || !st.Lease.Granted {
		return
	}
	m.stake()
	if m.begins() && m.byGrants() {
		m.take(st.Lease)
	}
	m.dirty = true
}

// overlooks reports whether a member of the list stands in the arc, so that the predecessor
// is not whoever stands before this member.
func (m *Machine) overlooks() bool {
	arc, has := m.ownArc()
	return has && slices.ContainsFunc(m.succ, func(x ring.Member) bool { return x.ID != m.self.ID && arc.Contains(x.ID) })
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
// predecessor, and no other was granted a part of that in the last Lease. If only the
// incarnation was that it has taken the address of, and nothing before that arc, it is a
// link to those before it all the same.
func (m *Machine) grants(to ring.Member, a Asks) (granted, linked bool) {
	if m.byGrants() && m.contested(to) {
		return false, false
	}
	granted, linked = m.mayGrant(to, a)
	if l := &m.lease; linked && l.links[0] != to.Instance() {
		l.links = [2]ring.Instance{to.Instance(), l.links[0]}
	}
	return granted, linked
}

func (m *Machine) mayGrant(to ring.Member, a Asks) (granted, linked bool) {
	l := &m.lease
	if m.cfg.Lease == 0 || a.Length != m.cfg.Lease || m.phase != Joined || to != m.pred || a.Has && a.Arc.To != to.ID {
		return false, false
	}
	if !m.byGrants() {
		return true, true
	}
	kept := make([]grant, 0, len(l.gave)+1)
	for _, g := range l.gave {
		switch {
		case m.now-g.at >= m.cfg.Lease || g.to == to.Instance():
			continue
		case a.Has && g.has && (g.arc.Contains(a.Arc.To) || a.Arc.Contains(g.arc.To)):
			if !gone(g, to) || !within(g.arc, a.Arc) {
				return false, false
			}
			linked = true
		}
		kept = append(kept, g)
	}
	if linked || len(kept) >= maxGrants {
		return false, linked
	}
	l.gave = append(kept, grant{to.Instance(), to.Addr, a.Arc, a.Has, m.now})
	return true, true
}

// grantedOthers are the grants that may not have run out, other than that to a member which asks, of
// what comes before that: those that it grants something must not have a part of them.
func (m *Machine) grantedOthers(of ring.Member) []Granted {
	var out []Granted
	for _, g := range m.lease.gave {
		if g.has && g.to != of.Instance() && m.now-g.at < m.cfg.Lease && ring.Between(m.self.ID, g.arc.To, of.ID) {
			out = append(out, Granted{To: g.to, Arc: g.arc, Age: m.now - g.at})
		}
	}
	return out
}

// hears has a member that the head names grant nobody what the head has granted others.
func (m *Machine) hears(of []Granted) {
	l := &m.lease
	for _, o := range of {
		g := grant{to: o.To, arc: o.Arc, has: true, at: m.now - o.Age/9*8}
		i := slices.IndexFunc(l.gave, func(x grant) bool { return x.to == o.To })
		if i < 0 && len(l.gave) < mostGrants {
			l.gave = append(slices.Clip(l.gave), g)
			continue
		}
		l.gave = slices.Clone(l.gave)
		if i < 0 {
			i = slices.IndexFunc(l.gave, func(x grant) bool {
				return !slices.ContainsFunc(l.gave, func(y grant) bool { return y.at < x.at })
			})
		}
		if l.gave[i].at < g.at {
			l.gave[i] = g
		}
	}
}

// contestedRounds is for how many rounds a predecessor is granted nothing after another of
// its name has asked for a grant in its place. The two know different members before them,
// so what each takes for its arc may be another's. One of them yields soon.
const contestedRounds = 3

// contested notes that a member asks for a grant, and reports whether another of its name
// has asked for one in its place in the last rounds.
func (m *Machine) contested(by ring.Member) bool {
	l, p := &m.lease, m.pred
	if by.ID == p.ID && by.Name == p.Name && by.Addr != p.Addr {
		l.rival, l.rivalAt = by.Instance(), m.now
	}
	return l.rival != by.Instance() && l.rival.ID == by.ID && l.rival.Incarnation != 0 && m.now-l.rivalAt < contestedRounds*m.cfg.Interval
}

// gone reports whether the one that was granted g must have ended, since to, of its
// identifier, answers at its address.
func gone(g grant, to ring.Member) bool { return g.to.ID == to.ID && g.addr == to.Addr }

// within reports whether an arc begins within another, or with it.
func within(x, in ring.Arc) bool {
	return x.After == in.After || in.Contains(x.After) && x.After != in.To
}

// links is how many links a chain has: one more than a list names processes, so that all that
// a list can lose are followed by one that the others name. Where votes decide, there is only
// what the head grants.
func (m *Machine) links() int {
	if m.cfg.Votes != nil {
		return 1
	}
	return m.cfg.Successors + 1
}

// linked is a chain all of whose links are of that time.
func (m *Machine) linked(at time.Duration) []time.Duration {
	return slices.Repeat([]time.Duration{at}, m.links())
}

// linkedUntil is until when the links of the chain are known.
func (m *Machine) linkedUntil() time.Duration {
	if len(m.lease.chain) < m.links() {
		return 0
	}
	return m.lease.oldest + m.leased()
}

// lengthen takes from what the head says to a question asked at that time how the chain
// stands, and until when the lease is granted if it is. A joiner does not know of all of the
// chain yet; then less is known than before.
func (m *Machine) lengthen(given Lease, asked time.Duration) {
	l := &m.lease
	chain := []time.Duration{asked}
	for _, age := range given.Chain {
		if len(chain) < m.links() {
			chain = append(chain, asked-age)
		}
	}
	switch {
	case len(chain) == m.links():
		l.chain, l.oldest = chain, max(l.oldest, surely(slices.Min(chain), asked))
		if given.Granted {
			l.grant = max(l.grant, l.oldest+m.leased())
		}
	case len(l.chain) < m.links():
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
	l.rest = max(l.named, l.took) + m.cfg.Lease
	l.given = Lease{}
	if p := m.pred; given.Given && !p.IsZero() {
		if ring.Between(given.After, p.ID, m.self.ID) {
			l.given = Lease{Given: true, After: given.After}
		}
		m.nearerEdge(p.ID)
	}
}
