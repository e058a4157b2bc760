package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// seed is an address given by configuration.
type seed struct {
	addr string
	// pending: whoever is there may not be in my ring, as of an acquaintance.
	// Cleared when a placement that started there has found me.
	pending bool
	// silent counts how often in a row nobody has answered there.
	silent uint8
	// next is the round before which it is not asked because it is pending.
	next uint64
}

// setSeeds keeps the addresses to turn to.
func (m *Machine) setSeeds(addrs []string) {
	m.seeds = nil
	for _, addr := range addrs {
		m.seeds = append(m.seeds, seed{addr: addr, pending: true})
	}
}

// addresses lists the seeds as they were given.
func (m *Machine) addresses() []string {
	var out []string
	for i := range m.seeds {
		out = append(out, m.seeds[i].addr)
	}
	return out
}

func (m *Machine) seed(addr string) *seed {
	i := slices.IndexFunc(m.seeds, func(s seed) bool { return s.addr == addr })
	if i < 0 {
		return nil
	}
	return &m.seeds[i]
}

// pendingSeed is the index of the pending address, of those whose time has come,
// that has waited longest; -1 if there is none.
func (m *Machine) pendingSeed() int {
	due := -1
	for i := range m.seeds {
		if s := &m.seeds[i]; s.pending && s.next <= m.round && (due < 0 || s.next < m.seeds[due].next) {
			due = i
		}
	}
	return due
}

// seedSilent notes that nobody, or nobody of this kind of ring, answered at an
// address. Whoever comes to be there may be in another ring.
func (m *Machine) seedSilent(addr string) {
	if s := m.seed(addr); s != nil {
		s.pending = true
		s.silent = oneMore(s.silent, m.aloneOrIsolated())
		s.next = m.round + rarely(m.cfg.CheckEvery, s.silent)
	}
}

// seedAnswered notes that somebody answered at an address. Found: there is no
// other ring there.
func (m *Machine) seedAnswered(addr string, found bool) {
	if s := m.seed(addr); s != nil {
		s.silent = 0
		s.pending = s.pending && !found
	}
}

// placeFromSeed places this member in the ring of whoever answers at the address
// of number i.
func (m *Machine) placeFromSeed(i int) {
	s := &m.seeds[i]
	s.next = m.round + uint64(m.cfg.CheckEvery) // if this neither finds this member nor silence
	m.startPlacing(m.self, ring.Member{Addr: s.addr}, ring.Member{})
	m.placing.from = s.addr
}

// probeSeed does so with any of them. It reports false if that is where a member is that the map is
// certain of: no other ring is there. If it may be in two rings, the others on the map look as well.
func (m *Machine) probeSeed() bool {
	settled := m.probe.settled(m.cfg.CheckEvery)
	m.probe.done(m.round, m.cfg.CheckEvery)
	i := m.choose(len(m.seeds))
	if m.chartedAt(m.seeds[i].addr) && (m.single() || settled && !m.looks(m.round/m.probe.wait)) {
		return false
	}
	m.placeFromSeed(i)
	return true
}

// chartedAt reports whether a member is known to be at an address that the map of this ring has.
func (m *Machine) chartedAt(addr string) bool {
	if m.cfg.Charted == nil {
		return false
	}
	for _, x := range append([]ring.Member{m.pred}, m.succ...) {
		if x.Addr == addr {
			return m.cfg.Charted(x)
		}
	}
	return slices.ContainsFunc(m.acq.list, func(a acquaintance) bool { return a.Addr == addr && m.charted(&a) })
}

// probing is how rings meet of which nobody remembers a member of the other: two
// founders have not heard of each other, or whoever was at an address has
// founded a ring anew. Members go on asking at their addresses: a founder soon
// at first, then less and less, the others as rarely at once.
type probing struct {
	next uint64 // the round in which an address is to be asked
	wait uint64 // rounds to the one after it; 0: nobody is asked
}

// probePace is how many times CheckEvery rounds are between two probes in the
// end: one check in four goes to another ring anyway.
const probePace = 4

// probeSoon has an address asked in the next round, and then less and less often.
func (m *Machine) probeSoon() { m.probe = probing{next: m.round + 1, wait: 1} }

// probeSeldom has an address asked from time to time.
func (m *Machine) probeSeldom() {
	if m.cfg.Recall == nil {
		pace := uint64(probePace * m.cfg.CheckEvery)
		m.probe = probing{next: m.round + m.rng.Uint64()%pace, wait: pace}
	}
}

func (p *probing) due(round uint64) bool { return p.wait > 0 && round >= p.next }

// settled reports whether addresses are asked as rarely as they are in the end.
func (p *probing) settled(checkEvery int) bool { return p.wait >= uint64(probePace*checkEvery) }

// done notes that an address was asked.
func (p *probing) done(round uint64, checkEvery int) {
	p.next, p.wait = round+p.wait, min(2*p.wait, uint64(probePace*checkEvery))
}
