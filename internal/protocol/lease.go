package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/voting"
)

// This file lets a member own its arc by a lease, so that at most one member owns a point
// at any instant. Config.Lease is that of all members.
//
// A member asks its head in each round. An answer that names the asker as the predecessor
// is a grant: whoever gave it owns nothing of what comes before itself until a Lease after
// it answered. The asker counts nine tenths of a Lease from when it asked, so that the
// rates of the two clocks may differ by a tenth. The one that has granted keeps its word
// without remembering it:
//
//   - Who takes over what a predecessor had that does not answer waits a whole Lease from
//     when it learns that. This covers what it has granted itself, and what members between
//     have granted that fail with the predecessor.
//   - What a leaver or a predecessor hands over in words is held at once. The words are
//     where the part begins that it held.
//   - A member whose lease has run out, and one that has none yet, holds what the grant
//     says that it was given, and waits a Lease for the rest of its arc: somebody may have
//     taken over meanwhile, and others may have joined. If its head was waiting for that
//     already, it goes on with the wait of its head.
//   - Such a member hands nothing over. So members that hung together and wake do not own by
//     each other's grants, and if all members have lost their leases, all own again after a
//     Lease.
//   - A grant says how long ago the head was named by its own head, and that one by its own,
//     and so on for one link more than a list has members. A lease counts from the oldest. So
//     when a member takes over from several, all of them lose their leases, though they may
//     still grant each other's.
//   - What is granted is an arc. Another incarnation is granted nothing of it for a Lease,
//     and neither does the one that is granted it grant what its head has granted others.
//   - While two of one name ask for a grant in one place, neither is granted anything.
//
// All this is without MinMembers. With MinMembers, votes decide; see package voting.

// Lease is what a member says in an answer of its own lease and of its predecessor's.
type Lease struct {
	// Length is Config.Lease; 0: there are none, and the rest says nothing.
	Length time.Duration
	// Granted: the asker is its predecessor, and is granted the arc that it has named.
	Granted bool
	// Linked: the asker is its predecessor, and those before that may count on it. It is
	// not granted its arc as long as an earlier incarnation may own that.
	Linked bool
	// Given: of the predecessor's arc it has handed over what comes after the point After.
	// A leaver hands over to its successor what it held.
	Given bool
	After uint64
	// Waits: of the predecessor's arc it was waiting, when that came, for what comes after
	// the point From, and would have waited for Wait more.
	Waits bool
	From  uint64
	Wait  time.Duration
	// Others are what it has granted others of what comes before the asker, not longer than
	// a Lease ago.
	Others []Granted
	// Chain are how long ago its head named it as its predecessor, the head of that named
	// that one, and so on, at most MaxList.
	Chain []time.Duration
	// Stake is what it claims, and Votes how its process votes on the asker's claims, in
	// their order.
	Stake voting.Stake
	Votes []voting.Vote
}

// leasing is what a member knows of its own lease. Times are of its own clock.
type leasing struct {
	until time.Duration // the lease has run out then
	told  time.Duration // the until that the program was told of
	// chain are the times at which this member was last known to be named by its head,
	// that by its own, and so on.
	chain  []time.Duration
	oldest time.Duration // all of a chain was surely known then
	grant  time.Duration // nine tenths of a Lease after all of a chain was known
	holds  bool          // it has a lease that has not run out
	named  time.Duration // since when its head names it and the chain holds, 0 if not so
	// lapsed: a lease has run out, and none has begun since. Others may have owned the arc.
	// resumed: one has begun in this Step.
	lapsed, resumed bool
	// What it may hold begins after edge, and it may hold what its arc has before that
	// from the time rest on. With none it may hold nothing before.
	edge uint64
	none bool
	rest time.Duration
	// took is when it took over last what nobody has handed over to it.
	took  time.Duration
	given Lease     // what the predecessor is told that it was given
	owed  wait      // what the predecessor may go on waiting for
	goes  wait      // what it goes on waiting for itself, in place of its head
	fresh bool      // it has joined, and has had no predecessor since
	left  leaverHad // in words, by the predecessor
	polls []poll    // under way
	gave  []grant   // that may not have run out, at most one to each incarnation
	// rival is the last of the predecessor's name that has asked for a grant in its place.
	rival   ring.Instance
	rivalAt time.Duration // when it has asked
	// links are the last predecessors that were links of the chain to those before them, the
	// latest first.
	links [2]ring.Instance
}

// wait is for what comes after a point. It is over at that time. The zero wait is for
// nothing.
type wait struct {
	has   bool
	after uint64
	over  time.Duration
	// lasts is until when it is good that the head has told of it: later another may have
	// taken over.
	lasts time.Duration
}

// ShortestLease is the shortest Lease that is of use: what a grant says of a chain is up
// to a round old for each of its links, and a member that fails is replaced in the time
// that remains. Where processes stand at several identifiers, chains have more links.
func ShortestLease(successors int, interval time.Duration) time.Duration {
	return time.Duration(successors+4) * interval
}

// For ever is when the lease of a member ends that nobody can grant one.
const forever = time.Duration(1<<63 - 1)

// leased is how long a member relies on what it has asked for.
func (m *Machine) leased() time.Duration { return m.cfg.Lease / 10 * 9 }

// surely is a time, by the own clock, that was not after what others say to have been at
// that time, who were asked at the other: their clocks may be slower than this one's.
func surely(at, asked time.Duration) time.Duration { return asked - (asked-at)/8*9 }

// expire finds at the beginning of a Step that the lease has run out, or that a wait is
// over.
func (m *Machine) expire() {
	l := &m.lease
	if m.cfg.Lease == 0 {
		return
	}
	l.resumed = false
	if m.now >= l.until {
		m.renew() // others of this process may have got more votes
	}
	if m.now >= l.until {
		m.lapse()
	}
	m.waited()
}

// begins finds until when the lease holds, begins it if it does, and reports whether it has begun.
func (m *Machine) begins() bool {
	m.renew()
	l := &m.lease
	if l.holds || m.now >= l.until || l.named == 0 {
		return false
	}
	l.holds = true
	l.lapsed, l.resumed = false, l.lapsed
	m.dirty = true
	return true
}

// endingRounds is how many rounds before its end a lease is said to end that was not renewed:
// one, a half for the rounds that are late, and a tenth by which they differ.
const endingRounds = 1.6

// ending tells the program at the beginning of a round if the lease ends before the next round
// but one. Each renewal that comes makes the end another.
func (m *Machine) ending() {
	l := &m.lease
	soon := m.now + time.Duration(endingRounds*float64(m.cfg.Interval))
	if m.cfg.Lease > 0 && l.holds && l.until < soon && l.told != l.until {
		l.told = l.until
		m.late(LeaseEnding{Until: l.until})
	}
}

// lapse ends the lease.
func (m *Machine) lapse() {
	l := &m.lease
	if l.holds {
		l.holds, l.given, l.owed, l.lapsed = false, Lease{}, wait{}, true
		if !l.none && m.byGrants() {
			l.named, l.goes = 0, wait{}
		}
		m.dirty = true
	}
}

// waited lets the member hold all of its arc when it has waited for the rest.
func (m *Machine) waited() {
	l := &m.lease
	arc, has := m.ownArc()
	if m.byGrants() && has && (m.now >= l.rest || l.goes.ends(arc, m.now)) && (l.none || l.edge != arc.After) {
		l.edge, l.none = arc.After, false
		m.dirty = true
	}
}

// covers reports whether all of an arc is waited for.
func (w wait) covers(arc ring.Arc) bool {
	return w.has && (w.after == arc.After || ring.Between(w.after, arc.After, arc.To))
}

// ends reports whether all of an arc was waited for.
func (w wait) ends(arc ring.Arc, now time.Duration) bool {
	return w.covers(arc) && now >= w.over && now < w.lasts
}

// held is the part of the arc that the member may own for as long as its lease holds.
func (m *Machine) held() (ring.Arc, bool) {
	l := &m.lease
	arc, has := m.ownArc()
	if !has || l.none || !l.holds || m.phase != Joined {
		return ring.Arc{}, false
	}
	if m.cfg.Votes != nil && voting.Covers(l.edge, arc.After, arc.To) {
		return arc, true
	}
	return ring.Arc{After: l.edge, To: arc.To}, true
}

// hung has a member that has hung wait for as much longer as its clock went on: that may
// have leapt.
func (l *leasing) hung(by time.Duration) {
	if l.rest < forever {
		l.rest += by
	}
	l.owed, l.goes = wait{}, wait{}
	l.gave = slices.Clone(l.gave)
	for i := range l.gave {
		l.gave[i].at += by
	}
	l.named = 0
}

// ownsAll begins the lease of a member that has founded a ring, or stands in it from the
// start: nobody else may own any of its arc.
func (m *Machine) ownsAll() {
	arc, _ := m.ownArc()
	m.lease = leasing{holds: true, edge: arc.After, chain: m.linked(m.now), oldest: m.now, grant: m.now + m.leased()}
	if m.cfg.Votes != nil {
		m.lease.holds, m.lease.none, m.lease.named = false, true, max(1, m.now)
	}
	m.renew()
}

// ownsNothing is the state of a member that has just joined.
func (m *Machine) ownsNothing() { m.lease = leasing{none: true, fresh: true, rest: forever} }

// renew finds until when the lease holds.
func (m *Machine) renew() {
	l := &m.lease
	if m.cfg.Votes != nil {
		m.voted()
		return
	}
	l.until = l.grant
	if m.alone {
		l.until = forever
	}
}

// nearerEdge moves the edge to the beginning of the arc if that is nearer.
func (m *Machine) nearerEdge(after uint64) {
	l := &m.lease
	if l.none || l.edge == after || after == m.self.ID {
		return
	}
	if l.edge == m.self.ID || ring.Between(l.edge, after, m.self.ID) {
		l.edge = after
	}
}

// leasePred keeps the lease in step with the predecessor, which goes from old to p.
func (m *Machine) leasePred(old, p ring.Member) {
	l := &m.lease
	if !m.byGrants() {
		return
	}
	left := l.left
	l.left = leaverHad{}
	l.given, l.owed = m.giving(p), m.owing(old, p)
	if p.IsZero() {
		m.leasePredLost(old, left)
		return
	}
	fresh := l.fresh
	l.fresh = false
	nearer := !old.IsZero() && ring.Between(old.ID, p.ID, m.self.ID)
	switch {
	case l.none:
		// A joiner's first predecessor was granted nothing since the head names the joiner.
		if !nearer && !fresh {
			m.waits()
		}
	case l.edge == m.self.ID || l.edge == p.ID || ring.Between(l.edge, p.ID, m.self.ID):
		l.edge, l.rest = p.ID, m.now // it only loses
	case nearer: // the wait for the rest goes on
	default:
		m.inherit(old, p, left)
	}
}

// leasePredLost is for a predecessor that is gone, when none is known before it.
func (m *Machine) leasePredLost(old ring.Member, left leaverHad) {
	l := &m.lease
	switch {
	case l.none:
		m.waits()
	case left.given && left.who == old.Instance() && l.edge == old.ID:
		l.edge = left.after
	default:
		m.waits()
	}
}

// waits begins the wait for what this member takes over and nobody has handed over. It
// begins also without a lease, so that the next lease does not cut it short.
func (m *Machine) waits() {
	l := &m.lease
	l.took, l.goes = m.now, wait{}
	if l.rest < forever {
		l.rest = max(l.rest, m.now+m.cfg.Lease)
	}
}

// inherit is for the arc of old, which is gone, and of those before it up to p.
func (m *Machine) inherit(old, p ring.Member, left leaverHad) {
	l := &m.lease
	if left.given && left.who == old.Instance() && l.edge == old.ID {
		l.edge = left.after
		if l.edge == m.self.ID || l.edge == p.ID || ring.Between(l.edge, p.ID, m.self.ID) {
			l.edge, l.rest = p.ID, m.now
			return
		}
	}
	m.waits()
}

// giving is what p, which becomes the predecessor, is given of its arc: what this member
// held of that.
func (m *Machine) giving(p ring.Member) Lease {
	l := &m.lease
	if !p.IsZero() && l.holds && !l.none && (l.edge == m.self.ID || ring.Between(l.edge, p.ID, m.self.ID)) {
		return Lease{Given: true, After: l.edge}
	}
	return Lease{}
}

// owing is what p, which becomes the predecessor after old, may go on waiting for: what
// this member waited for of its arc, by its own lease or in place of its head.
func (m *Machine) owing(old, p ring.Member) wait {
	l := &m.lease
	var out wait
	if l.holds && l.rest < forever && !old.IsZero() && (l.none || l.edge != old.ID) {
		out = wait{has: true, after: old.ID, over: l.rest}
	}
	if w := l.goes; w.has && m.now < w.lasts && (!out.has || w.over < out.over) {
		switch {
		case old.IsZero():
			out = wait{has: true, after: w.after, over: w.over}
		case w.covers(ring.Arc{After: old.ID, To: m.self.ID}):
			out = wait{has: true, after: old.ID, over: w.over}
		}
	}
	if w := l.owed; out.has && w.has && m.linkedNone(w.after, p) {
		out.after, out.over = w.after, max(out.over, w.over) // old has not asked for it
	}
	if p.IsZero() || !ring.Between(out.after, p.ID, m.self.ID) {
		return wait{}
	}
	return out
}

// owesOn has this member owe its predecessor what its head has it go on waiting for, if it
// has heard of that only after the predecessor came.
func (m *Machine) owesOn() {
	l := &m.lease
	w, p := l.goes, m.pred
	if !l.owed.has && !p.IsZero() && ring.Between(w.after, p.ID, m.self.ID) && m.linkedNone(w.after, p) {
		l.owed = wait{has: true, after: w.after, over: w.over}
	}
}

// linkedNone reports whether no predecessor before p, which stands after that point, was a
// link to those before it. So nobody owns by it what comes after the point.
func (m *Machine) linkedNone(after uint64, p ring.Member) bool {
	x := m.lease.links[0]
	if x == p.Instance() {
		x = m.lease.links[1]
	}
	return x == (ring.Instance{}) || !ring.Arc{After: after, To: p.ID}.Contains(x.ID)
}

// leaseAlone is for a member that nobody else is known to live beside: it owns all when
// those have lost their leases that it may be mistaken about.
func (m *Machine) leaseAlone() {
	l := &m.lease
	if !m.byGrants() {
		return
	}
	if !l.holds {
		l.none = true
	}
	l.holds = true
	l.rest = m.now + m.cfg.Lease
	m.renew()
}

// leaseMet is for a member that was alone and knows another from now on. If it owned
// anything, that was by nobody's grant.
func (m *Machine) leaseMet() {
	l := &m.lease
	switch {
	case !m.byGrants():
	case l.holds && m.now < l.until:
		l.chain, l.oldest, l.grant = m.linked(m.now), m.now, m.now+m.leased()
	default:
		l.chain, l.oldest, l.grant = nil, 0, 0
	}
}

// heardLeaver takes what the predecessor says that it held until it began to leave.
func (m *Machine) heardLeaver(st State) {
	if m.byGrants() && st.Phase == Leaving && st.Self == m.pred && st.Lease.Length == m.cfg.Lease {
		m.lease.left = leaverHad{who: st.Self.Instance(), given: st.Lease.Given, after: st.Lease.After}
	}
}

// leaseRemain has a member that was to leave own again what it held, when those have lost
// their leases that may have taken over.
func (m *Machine) leaseRemain() {
	if m.byGrants() {
		m.lease.given, m.lease.rest = Lease{}, m.now+m.cfg.Lease
	}
}

// leaseLeave has a member that leaves own nothing, and say what it held.
func (m *Machine) leaseLeave() {
	l := &m.lease
	if !m.byGrants() {
		return
	}
	arc, has := m.held()
	has = has && m.now < l.until
	l.given = Lease{Given: has, After: arc.After}
	l.none, l.rest, l.owed = true, forever, wait{}
}

// saysLease is what the member says of leases now.
func (m *Machine) saysLease() Lease {
	l := &m.lease
	if m.cfg.Lease == 0 || !m.phase.InRing() {
		return Lease{}
	}
	out := l.given
	out.Length = m.cfg.Lease
	if p := m.cfg.Votes; p != nil {
		out.Stake = p.Stake(m.self.Instance())
		return out
	}
	if w := l.owed; w.has {
		out.Waits, out.From, out.Wait = true, w.after, max(0, w.over-m.now)
	}
	for _, at := range l.chain[:min(len(l.chain), MaxList)] {
		out.Chain = append(out.Chain, max(0, m.now-at))
	}
	return out
}
