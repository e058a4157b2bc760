package ringmap

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Config is what a map needs to know of its ring.
type Config struct {
	Bits     uint          // width of the circle
	Interval time.Duration // of a round of the ring
	Limit    int           // how many claims are kept; 0: DefaultLimit
	Pool     *Pool         // nil, but in simulations
	// Near reports whether the member that stands at an identifier is asked other things
	// anyway, so that there is a connection to it. Nil: nobody is.
	Near func(id uint64) bool
}

// DefaultLimit is how many claims a map keeps if it was not told: a map of them takes
// some 2 MiB.
const DefaultLimit = 1 << 14

// Map is the map that one member keeps. Its methods are events. What is to be done about
// them Effect says. A Map is not for concurrent use; a Snapshot is.
type Map struct {
	cfg  Config
	self *ring.Member // never changed
	mask uint64

	t      Table
	shared bool // t was handed out
	own    Claim
	has    bool // own is its claim
	doubts []doubt
	levels []level
	whole  level // the last of the whole map

	beat      uint32        // the number of the last sweep
	heard     uint32        // the greatest number heard of
	nextRound time.Duration // when doubts and the own arc are looked at next
	sweep     sweep
	barred    time.Duration                  // before which nobody can have the next sweep begin
	trip      time.Duration                  // how long answers take of late
	pushed    peer.Recent[uint64, allowance] // by whom

	calls    []call
	lastID   uint64 // of a call
	outbox   []parcel
	flushed  time.Duration
	said     []said // of late
	check    check
	checks   uint64 // how many there were
	loading  bool
	filled   bool          // it has had the map of another
	next     ring.Instance // the nearest successor
	defended uint64        // the epoch of the last Defend
	highest  uint64        // the greatest epoch of any claim
	scratch  []uint64
	effects  []Effect
	done     int  // of effects, those that were given out
	changed  bool // since the last snapshot
	latest   *Snapshot
}

// Effect is what a map wants done.
type Effect struct {
	Do Do
	// Send:
	Call    uint64
	To      ring.Member
	Request Request
	// Defend: an epoch by which another claims the own arc. Hear: any.
	Epoch uint64
	// Consider:
	Member ring.Member
}

// Do is the kind of an Effect.
type Do uint8

const (
	// Send the Request to the member To. Answered or Failed is to be called in the end.
	Send Do = iota + 1
	// Defend says: others take this member for replaced. Its epoch is to be raised above
	// Epoch, if it owns its arc.
	Defend
	// Hear says: somebody has claimed by this Epoch, the greatest so far. Who takes
	// an arc over claims it by a greater one.
	Hear
	// Consider says: Member has answered, and claims to be between this member and its
	// predecessor.
	Consider
)

// New returns the map of a member, empty.
func New(self ring.Member, cfg Config) *Map {
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	return &Map{cfg: cfg, self: &self, mask: ^uint64(0) >> (64 - cfg.Bits), t: newTable(cfg.Bits)}
}

// Fill gives an empty map the claims of a table.
func (m *Map) Fill(t *Table) {
	m.t, m.changed, m.filled = t.clone(), true, true
	m.evict()
}

// Effect returns the next thing that is to be done, and forgets it. It reports false if
// there is none. It is to be called until then after every event, but Snapshot.
func (m *Map) Effect() (Effect, bool) {
	if m.done == len(m.effects) {
		clear(m.effects)
		m.effects, m.done = m.effects[:0], 0
		return Effect{}, false
	}
	m.done++
	return m.effects[m.done-1], true
}

// table is the table to be changed.
func (m *Map) table() *Table {
	if m.shared {
		m.t, m.shared = m.t.clone(), false
	}
	m.changed = true
	return &m.t
}

// Owning is what a member owns.
type Owning struct {
	Self ring.Member // whose incarnation may have changed
	Arc  ring.Arc
	// Has is false if the member is in no ring, or does not know its predecessor. Then it
	// claims nothing.
	Has   bool
	Epoch uint64 // never smaller than before
	// Mute is true if the one before it claims nothing itself, as legacy members.
	Mute bool
	// Next is the nearest successor, zero if there is none.
	Next ring.Instance
}

// Own notes what the member owns, and tells the others if they cannot know.
func (m *Map) Own(now time.Duration, o Owning) {
	if o.Self != *m.self {
		m.self = &o.Self
	}
	if o.Next != m.next {
		// Who follows a member owns the identifier at which it stands. A map that has it as
		// another's has not heard of that member yet.
		if m.next = o.Next; o.Next != (ring.Instance{}) {
			m.Named(now, o.Next.ID, o.Next)
		}
		if m.blind() {
			m.levels, m.whole, m.changed = nil, level{}, true
		}
	}
	c := Claim{ID: o.Arc.To, After: o.Arc.After, Epoch: o.Epoch, Of: m.self}
	was, had := m.own, m.has
	if m.has = o.Has; !o.Has || had && c == was {
		return
	}
	m.own = c
	if got, by := m.merge(c); got == refuted {
		m.defendFrom(by.Epoch)
		return // it is claimed by a greater epoch, or not at all
	}
	if m.others() == 0 {
		m.filled = false // it was alone: if it finds others, it knows none of them
	}
	if had && c.Epoch == was.Epoch && c.Of == was.Of && !o.Mute {
		return // it is smaller, and the claim of whoever has the rest says so
	}
	// Who takes over from another is known. Who claims anew what it had was replaced, and is
	// on no map of those who know.
	m.spread(now, announce(&c, was.Of != c.Of || !c.covers(was.After)), m.self.ID)
}

// Head notes what the nearest successor has said of its arc when it was asked at the
// time given.
func (m *Map) Head(now, at time.Duration, c Claim) {
	if !m.has || c.ID == m.self.ID {
		return
	}
	unknown := m.t.get(c.ID) == nil
	if got, _ := m.merge(c); got == news {
		m.spread(now, announce(&c, true), m.self.ID)
		if unknown && c.Of.Incarnation != 0 {
			m.catchUp(now, c.ID)
		}
	}
	if known := m.t.get(c.ID); known != nil && same(known, &c) && c.After == m.self.ID {
		m.certify(0, c.ID, at)
	}
	m.trust(func(d doubt) bool { return d.id == c.ID && d.until == 0 && (!d.arc || at > d.since) })
	if !m.loading && !m.filled {
		m.load(now, m.self.ID)
	}
}

// MaxEpoch is the greatest epoch of the claims that end in the arc, 0 if there is none.
func (m *Map) MaxEpoch(arc ring.Arc) uint64 {
	var most uint64
	n := m.t.between(arc.After, arc.To)
	first := m.t.upTo(arc.After)
	for i := range n {
		most = max(most, m.t.at(first+i).Epoch)
	}
	return most
}

// outcome is what became of a claim.
type outcome uint8

const (
	news    outcome = iota + 1 // the map has changed
	known                      // it was known
	refuted                    // a later claim contradicts it
)

func same(a, b *Claim) bool {
	return a.ID == b.ID && a.After == b.After && a.Epoch == b.Epoch && a.Of.Incarnation == b.Of.Incarnation
}

// merge brings a claim into the map. If another refutes it, that is returned.
func (m *Map) merge(c Claim) (outcome, *Claim) {
	if old := m.t.get(c.ID); old != nil {
		switch x := c.later(old); {
		case x == 0:
			return known, nil
		case x < 0:
			return refuted, old
		}
	}
	over := m.t.next((c.ID + 1) & m.mask)
	if over != nil && over.ID != c.ID && over.covers(c.ID) {
		if over.Epoch >= c.Epoch {
			return refuted, over
		}
		smaller := *over
		smaller.After = c.ID
		m.table().put(smaller, m.cfg.Pool)
		m.agree(over.ID)
	}
	if m.has && c.ID != m.self.ID && c.covers(m.self.ID) && c.Epoch >= m.own.Epoch {
		m.defendFrom(c.Epoch)
	}
	c.After = m.clear(&c)
	m.table().put(c, m.cfg.Pool)
	m.evict()
	m.hearEpoch(c.Epoch)
	return news, nil
}

// hearEpoch wants an epoch to be heard of, if it is the greatest so far.
func (m *Map) hearEpoch(epoch uint64) {
	if epoch <= m.highest {
		return
	}
	m.highest = epoch
	for i := m.done; i < len(m.effects); i++ {
		if m.effects[i].Do == Hear {
			m.effects[i].Epoch = epoch
			return
		}
	}
	m.effects = append(m.effects, Effect{Do: Hear, Epoch: epoch})
}

// clear removes the claims inside the arc of c that c overrules, and returns where the
// arc begins: after the last of those that it does not.
func (m *Map) clear(c *Claim) uint64 {
	after := c.After
	m.scratch = m.scratch[:0]
	first := m.t.upTo(c.After)
	for i := range m.t.between(c.After, c.ID) {
		switch x := m.t.at(first + i); {
		case x.ID == c.ID:
		case x.Epoch > c.Epoch:
			after = x.ID
		default:
			m.scratch = append(m.scratch, x.ID)
		}
	}
	for _, id := range m.scratch {
		m.table().remove(id, m.cfg.Pool)
		m.hearClaim(id)
	}
	return after
}

// evict drops the claims that are farthest clockwise from the member, if there are too
// many.
func (m *Map) evict() {
	for m.t.Len() > m.cfg.Limit {
		m.table().remove(m.t.at(m.t.rank(m.self.ID)-1).ID, m.cfg.Pool)
	}
}

// others is how many claims are those of others.
func (m *Map) others() int {
	if m.t.get(m.self.ID) != nil {
		return m.t.Len() - 1
	}
	return m.t.Len()
}

// distance is the number of steps clockwise from the member to id.
func (m *Map) distance(id uint64) uint64 { return (id - m.self.ID) & m.mask }

// defendFrom wants the own epoch to be raised above another. Until then the map takes the
// member for replaced, as those of others do.
func (m *Map) defendFrom(epoch uint64) {
	if epoch > m.defended {
		m.defended = epoch
		m.effects = append(m.effects, Effect{Do: Defend, Epoch: epoch})
	}
}

// doubt is a claim that does not answer lookups until it is confirmed again.
type doubt struct {
	id    uint64
	since time.Duration
	until time.Duration // 0: until it is confirmed by what is said after since
	arc   bool          // it is there, but another was named for a part of its arc
}

// maxDoubts bounds the doubts. Beyond, the map answers nothing until it is certified anew.
const maxDoubts = 64

// Strike notes that the connection to a member broke, that it did not answer, or that a
// neighbour took another's place: the map does not name it until it was heard of again.
// Until, if it is not 0, says for how long it is not named whatever is heard.
func (m *Map) Strike(now, until time.Duration, who ring.Instance) {
	c := m.t.get(who.ID)
	if c == nil || c.Of.Incarnation != who.Incarnation || who.ID == m.self.ID {
		return
	}
	m.doubt(doubt{id: who.ID, since: now, until: until})
}

// Named notes that a member was named as the owner of a point. If the map has that as
// another's, it does not name that one until it is known to have claimed its arc again,
// or another arc, since.
func (m *Map) Named(now time.Duration, id uint64, owner ring.Instance) {
	c := m.t.next(id)
	if c == nil || id != c.ID && !c.covers(id) || c.ID == m.self.ID || c.Owner().Instance() == owner {
		return
	}
	m.doubt(doubt{id: c.ID, since: now, arc: true})
}

func (m *Map) doubt(x doubt) {
	m.changed = true
	for i := range m.doubts {
		if d := &m.doubts[i]; d.id == x.id {
			d.since, d.until, d.arc = x.since, max(d.until, x.until), d.arc || x.arc
			return
		}
	}
	if len(m.doubts) >= maxDoubts {
		m.doubts, m.levels, m.whole = m.doubts[:0], m.levels[:0], level{}
		return
	}
	m.doubts = append(m.doubts, x)
}

// Heard notes that a member has answered.
func (m *Map) Heard(who ring.Instance) {
	if c := m.t.get(who.ID); c != nil && c.Of.Incarnation == who.Incarnation {
		m.hear(who.ID)
	}
}

// hear notes that a member is there.
func (m *Map) hear(id uint64) {
	m.trust(func(d doubt) bool { return d.id == id && d.until == 0 && !d.arc })
}

// hearClaim notes that a member is there and claims what the map says, or that the map
// does not name it any longer.
func (m *Map) hearClaim(id uint64) {
	m.trust(func(d doubt) bool { return d.id == id && d.until == 0 })
}

// agree notes that the map gives a part of a member's arc to another now. It names the
// member again when that is heard of.
func (m *Map) agree(id uint64) {
	for i := range m.doubts {
		if m.doubts[i].id == id {
			m.doubts[i].arc = false
		}
	}
}

// trust ends the doubt for which ends holds.
func (m *Map) trust(ends func(doubt) bool) {
	i := slices.IndexFunc(m.doubts, ends)
	if i >= 0 {
		m.doubts = slices.Delete(m.doubts, i, i+1)
		m.changed = true
	}
}

// doubtful reports whether a claim is in doubt.
func (m *Map) doubtful(id uint64) bool {
	return slices.ContainsFunc(m.doubts, func(d doubt) bool { return d.id == id })
}

// settle ends doubts whose time is over, or that a certificate has answered since.
func (m *Map) settle(now time.Duration) {
	n := len(m.doubts)
	m.doubts = slices.DeleteFunc(m.doubts, func(d doubt) bool {
		if d.until != 0 {
			return d.until <= now
		}
		at, ok := m.certain(d.id)
		return ok && at > d.since
	})
	m.changed = m.changed || n != len(m.doubts)
}
