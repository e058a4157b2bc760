package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// acquaintance is a member heard of at some time, dead or alive. Acquaintances
// are how a ring that fell apart finds itself again.
type acquaintance struct {
	ring.Member
	// pending: this member may not be in my ring. Cleared only when a
	// placement that starts there has found me, or when its life is over.
	pending bool
	// met: it has answered, in this life, at the address that it advertises.
	met bool
	// outside: it was not, or not yet, in the ring when last heard of.
	outside bool
	// silent counts how often in a row it did not answer.
	silent uint8
	// returned: it had been silent and was heard again, out of view. Nothing is
	// decided by it: it is for telling that rings have met.
	returned bool
	// next is the round before which it is not asked on our own account.
	next uint64
}

// maxSilent is how often in a row an acquaintance is silent before its being
// pending is no reason to keep it.
const maxSilent = 8

// kept reports whether a has a place that nobody else is given: it may be all
// that two rings know of each other. The dead must not fill all places for ever.
func (a *acquaintance) kept() bool { return a.pending && a.silent < maxSilent }

func (m *Machine) acquaintance(x ring.Member) *acquaintance {
	for i := range m.acq {
		if m.acq[i].Member == x {
			return &m.acq[i]
		}
	}
	return nil
}

// remember returns the record of x, made if there is room for it. It returns
// nil for this member itself, for an earlier life of a member known, and for
// one that is not kept.
func (m *Machine) remember(x ring.Member, pending bool) *acquaintance {
	if x.Name == "" || x.ID == m.self.ID || m.cfg.Recall != nil {
		return nil
	}
	for i := range m.acq {
		a := &m.acq[i]
		if a.ID != x.ID {
			continue
		}
		switch {
		case a.Member == x:
			return a
		case names(a.Member, x):
			a.Member = x // the same, in full
			m.dirty = true
			return a
		case x.Supersedes(a.Member), x.Older() && a.Older():
			// A new life: nothing that was known of the old applies, except that
			// it may be in another ring. If the old lives on elsewhere, perhaps
			// nobody else can tell it.
			if a.pending && x.Addr != a.Addr && m.phase == Joined {
				m.tell(a.Member, Request{Kind: Introduce, Subject: x})
			}
			*a = acquaintance{Member: x, pending: a.pending}
			m.dirty = true
			return a
		}
		return nil
	}
	i := len(m.acq)
	if i >= m.cfg.Acquaintances {
		if i = m.victim(x, pending); i < 0 {
			return nil
		}
		m.acq[i] = acquaintance{Member: x}
	} else {
		m.acq = append(m.acq, acquaintance{Member: x})
	}
	m.dirty = true
	return &m.acq[i]
}

// silent reports whether x did not answer when last asked.
func (m *Machine) silent(x ring.Member) bool {
	a := m.acquaintance(x)
	return a != nil && a.silent > 0
}

// victim chooses whose place x takes when all places are taken, -1 for none:
// one that a pointer names anyway; a silent one if the silent are more than half;
// one of the distance class that has the most, so that the acquaintances
// spread over the circle; for a pending newcomer anyone. Never one that is kept.
func (m *Machine) victim(x ring.Member, pending bool) int {
	var silent, loose, settled int
	var classes [65]int
	for i := range m.acq {
		a := &m.acq[i]
		if a.silent > 0 {
			silent++
		}
		switch {
		case a.kept():
			continue
		case m.inView(a.Member):
			return i
		case a.silent > 0:
			loose++
		default:
			classes[m.class(a.ID)]++
		}
		settled++
	}
	if 2*silent > len(m.acq) && loose > 0 {
		return m.nth(m.choose(loose), func(a *acquaintance) bool { return a.silent > 0 })
	}
	if own := m.class(x.ID); !pending {
		classes[own]++ // the newcomer competes too
	}
	fullest := 0
	for c, n := range classes {
		if n > classes[fullest] {
			fullest = c
		}
	}
	if n := classes[fullest]; n > 0 {
		return m.nth(m.choose(n), func(a *acquaintance) bool { return a.silent == 0 && m.class(a.ID) == fullest })
	}
	if pending && settled > 0 {
		return m.nth(m.choose(settled), func(*acquaintance) bool { return true })
	}
	return -1
}

// nth is the acquaintance of number n, from 0, of those that are not kept and
// fit; -1 if there are fewer.
func (m *Machine) nth(n int, fits func(*acquaintance) bool) int {
	for i := range m.acq {
		if a := &m.acq[i]; !a.kept() && fits(a) {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}

func (m *Machine) pick(of []int) int { return of[m.choose(len(of))] }

// choose draws a number below n.
func (m *Machine) choose(n int) int {
	if m.cfg.Choose != nil {
		return m.cfg.Choose(n)
	}
	return int(m.rng.Uint64() % uint64(n))
}

// class is the distance class of id: the highest bit of the clockwise distance.
func (m *Machine) class(id uint64) int {
	return ring.Space{Bits: m.cfg.Bits}.Class(m.self.ID, id)
}

// names reports whether x, as another named it, is y, as it named itself: an
// older member names members of ours without their incarnation.
func names(x, y ring.Member) bool {
	return x == y || x.Older() && x.ID == y.ID && x.Name == y.Name && x.Addr == y.Addr
}

// complete gives the members that a reply names without an incarnation the one
// that is known of them, so that they are taken for who they are and not for
// older members. This member itself counts as known only to an older one: to one
// of ours, who names it so, it has yet to say who it is.
func (m *Machine) complete(r *Reply) {
	known := func(x ring.Member) ring.Member {
		switch {
		case !x.Older():
			return x
		case x.ID == m.self.ID:
			if r.State.Self.Incarnation == 0 && names(x, m.self) {
				return m.self
			}
			return x
		case names(x, m.pred):
			return m.pred
		}
		for _, s := range m.succ {
			if names(x, s) && !s.Older() {
				return s
			}
		}
		for i := range m.acq {
			if names(x, m.acq[i].Member) {
				return m.acq[i].Member
			}
		}
		return x
	}
	all := func(list []ring.Member) []ring.Member {
		if !slices.ContainsFunc(list, ring.Member.Older) {
			return list
		}
		list = slices.Clone(list)
		for i := range list {
			list[i] = known(list[i])
		}
		return list
	}
	r.State.Pred = known(r.State.Pred)
	r.State.Succ = all(r.State.Succ)
	r.Closer = all(r.Closer)
}

// hearsay remembers a member that somebody named.
func (m *Machine) hearsay(x ring.Member) { m.remember(x, false) }

// learn remembers whom an answer named.
func (m *Machine) learn(s State) {
	m.noticeRival(s.Pred)
	m.hearsay(s.Pred)
	for _, x := range s.Succ {
		m.noticeRival(x)
		m.hearsay(x)
	}
}

// rememberPending remembers a member that may be in another ring. If there is
// no room it is placed at once instead, so that it is not lost.
func (m *Machine) rememberPending(x ring.Member) {
	if a := m.remember(x, true); a != nil {
		if !a.pending && a.silent == 0 {
			a.pending = true
			a.next = 0
			m.dirty = true
		}
		return
	}
	if x.Name != "" && x.ID != m.self.ID && m.cfg.Recall == nil && !slices.Contains(m.toPlace, x) && len(m.toPlace) < maxToPlace {
		m.toPlace = append(slices.Clip(m.toPlace), x)
		m.placeWaiting()
	}
}

// vouched notes that another member has dealt with x just now: word of life, and
// x may be in another ring.
func (m *Machine) vouched(x ring.Member) {
	m.predSilent = m.predSilent && x != m.pred
	if a := m.acquaintance(x); a != nil {
		a.returned = a.returned || a.silent > 0 && !m.inView(x)
		a.silent, a.next = 0, 0
		m.dirty = true
	}
	m.rememberPending(x)
}

// heard notes that x itself spoke, as a member of the ring. One that had been silent may have been cut
// off, with others: it is pending again.
func (m *Machine) heard(x ring.Member) {
	if x.ID == m.self.ID && x != m.self && x.Name != "" {
		m.noticeRival(x)
		return
	}
	m.predSilent = m.predSilent && x != m.pred
	a := m.remember(x, false)
	if a == nil {
		return
	}
	a.next = min(a.next, m.round)
	if a.outside {
		a.outside = false
		m.dirty = true
	}
	if a.silent > 0 {
		a.silent = 0
		a.returned = !m.inView(x)
		a.pending = a.pending || a.returned
		m.dirty = true
	}
	if m.phase == Joined {
		for _, s := range m.succ {
			if x.Supersedes(s) {
				m.kick() // the old life is gone; asking will show it
			}
		}
	}
}

// met notes that x answered at the address that it advertises.
func (m *Machine) met(x ring.Member) {
	m.recognize(x)
	m.heard(x)
	if a := m.acquaintance(x); a != nil {
		a.met = true
	}
}

func (m *Machine) hasMet(x ring.Member) bool {
	if m.cfg.Recall != nil {
		return m.choose(2) == 1
	}
	a := m.acquaintance(x)
	return a != nil && a.met && a.silent == 0
}

// believedDead reports whether the predecessor did not answer when last asked.
// There may be no room for a record of it.
func (m *Machine) believedDead() bool {
	if m.cfg.Recall != nil {
		return m.choose(2) == 1
	}
	return m.predSilent
}

// silence notes that x did not answer. Of one that is pending nothing else is
// known by that.
func (m *Machine) silence(x ring.Member) {
	m.predSilent = m.predSilent || x == m.pred
	a := m.remember(x, false)
	if a == nil || a.Member != x {
		return
	}
	a.silent = m.oneMore(a.silent)
	a.next = m.round + m.backoff(int(a.silent))
	m.dirty = true
}

// oneMore counts one more silence in a row. A member that is alone does not count
// far: it may be the one that cannot be reached.
func (m *Machine) oneMore(silent uint8) uint8 {
	if silent < 3 || silent < maxSilent && !m.apartFromAll() {
		silent++
	}
	return silent
}

// backoff is the number of rounds until a silent member is tried again:
// K·2^silent/2, at most 2K, and sooner in a ring of one and while isolated, when
// there is nothing else to do.
func (m *Machine) backoff(silent int) uint64 {
	k := m.cfg.CheckEvery
	if m.apartFromAll() {
		return uint64(min(1<<silent, max(1, k/2)))
	}
	return uint64(min(k<<silent/2, 2*k))
}

// apartFromAll reports whether the member has nobody, or not enough, to be in a
// ring with.
func (m *Machine) apartFromAll() bool { return len(m.succ) == 0 || m.isolated() }

// due is the round from which a is asked because it is pending: one that is silent
// ever less often, since it may be dead.
func (m *Machine) due(a *acquaintance) uint64 {
	return a.next + max(m.rarely(a.silent), uint64(2*m.cfg.CheckEvery)) - uint64(2*m.cfg.CheckEvery)
}

// rarely is the number of rounds until one that is pending and silent is asked
// again: K·2^silent/2, at most 16K.
func (m *Machine) rarely(silent uint8) uint64 {
	k := m.cfg.CheckEvery
	return uint64(min(k<<silent/2, 16*k))
}

// forget drops a life that is over.
func (m *Machine) forget(x ring.Member) {
	m.acq = slices.DeleteFunc(m.acq, func(a acquaintance) bool { return a.Member == x })
	m.gone = x
	m.dirty = true
}

// over notes that the life x has ended: by answers in its place, and is as
// pending as x was. The record is kept as that of a silent member, so that
// hearsay does not bring it back, unless by is a life of the same member, which
// may have begun with a clock that went back.
func (m *Machine) over(x, by ring.Member) {
	a := m.acquaintance(x)
	pending := a != nil && a.pending
	switch again := by.ID == x.ID && by.Name == x.Name && by.Addr == x.Addr && !by.Older(); {
	case !again:
		m.silence(x)
		if a = m.acquaintance(x); a != nil {
			a.pending = false
		}
	case a != nil:
		*a = acquaintance{Member: by}
		m.dirty = true
	}
	m.gone = x
	if pending {
		m.rememberPending(by)
	}
}

// postpone keeps x, which is alive and in no ring, but does not ask it again in
// this round, nor send others to it.
func (m *Machine) postpone(x ring.Member) {
	m.predSilent = m.predSilent && x != m.pred
	if a := m.acquaintance(x); a != nil {
		a.next = m.round + 1
		a.outside = true
		m.dirty = true
	}
}

// inRing reports whether x may be named to others as a member to be asked.
func (m *Machine) inRing(x ring.Member) bool {
	a := m.acquaintance(x)
	return a == nil || a.silent == 0 && !a.outside
}

// eligible reports whether x may be asked on our own account now.
func (m *Machine) eligible(x ring.Member) bool {
	a := m.acquaintance(x)
	return a == nil || a.next <= m.round
}

// nearestCandidate is the live acquaintance nearest after this member that is
// a better successor than the head.
func (m *Machine) nearestCandidate() (ring.Member, bool) {
	if m.cfg.Recall != nil {
		if m.approach.steps > 1 {
			return ring.Member{}, false // whom it may know next, the next approach may begin with
		}
		x := m.cfg.Recall(m.nearer)
		return x, !x.IsZero()
	}
	var best ring.Member
	for i := range m.acq {
		a := &m.acq[i]
		if a.silent > 0 || a.next > m.round || !m.nearer(a.Member) {
			continue
		}
		if best.IsZero() || ring.Between(m.self.ID, a.ID, best.ID) {
			best = a.Member
		}
	}
	return best, !best.IsZero()
}
