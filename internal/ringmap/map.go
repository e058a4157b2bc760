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
}

// DefaultLimit is how many claims a map keeps if it was not told: a map of them takes
// some 2 MiB.
const DefaultLimit = 1 << 14

// Map is the map that one process keeps, which is a member, or several at several
// identifiers. Its methods are events. What is to be done about them Effect says. A Map is
// not for concurrent use; a Snapshot is.
type Map struct {
	cfg  Config
	home uint64 // of the process
	mask uint64

	t      Table
	shared bool       // t was handed out
	procs  *processes // nil: each stands at one identifier
	owns   []*owned
	doubts []doubt
	levels []level
	whole  level // the last of the whole map

	beat      uint32        // the number of the last sweep
	heard     uint32        // the greatest number heard of
	nextRound time.Duration // when doubts and the own arc are looked at next
	sweep     sweep
	gapAfter  uint64                         // after which nobody claimed the circle in a sweep
	gapBeat   uint32                         // the number of that sweep
	barred    time.Duration                  // before which nobody can have the next sweep begin
	trip      time.Duration                  // how long answers take of late
	pushed    peer.Recent[uint64, allowance] // by whom

	calls   []call
	lastID  uint64 // of a call
	outbox  []parcel
	paced   time.Duration // how far what was sent has used up the pace, see flush
	said    []said        // of late
	check   check
	checks  uint64 // how many there were
	loading bool
	loads   time.Duration // when it began to be loaded
	source  uint64        // the home of the process from which it was loaded
	filled  bool          // it has had the map of another
	highest uint64        // the greatest epoch of any claim
	newsAt  time.Duration // when the map learned something last
	leaps   ring.Leaps
	scratch []uint64
	effects []Effect
	done    int  // of effects, those that were given out
	changed bool // since the last snapshot
	latest  *Snapshot
}

// Effect is what a map wants done.
type Effect struct {
	Do Do
	// By is the identifier of the process that is to do it. Send, Hear, Gone: any.
	By uint64
	// Send:
	Call    uint64
	To      ring.Member
	Request Request
	// Defend: an epoch by which another claims the arc. Hear: any.
	Epoch uint64
	// Consider, Gone:
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
	// Hear says, to all identifiers: somebody has claimed by this Epoch, the greatest so far.
	// Who takes an arc over claims it by a greater one.
	Hear
	// Consider says: Member has answered, and claims to be between this member and its
	// predecessor.
	Consider
	// Gone says: others have taken over from Member, which stands at several identifiers.
	// It may have failed at all of them.
	Gone
)

// Concerns reports whether the member at an identifier of the process is to do it.
func (e *Effect) Concerns(id uint64) bool { return e.Do == Hear || e.Do == Gone || e.By == id }

// New returns the map of a process, which stands at the identifier of self, and maybe at
// others. It is empty.
func New(self ring.Member, cfg Config) *Map {
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	return &Map{cfg: cfg, home: self.Process(), mask: ^uint64(0) >> (64 - cfg.Bits), t: newTable(cfg.Bits)}
}

// Fill gives an empty map the claims of a table.
func (m *Map) Fill(t *Table) {
	m.changed, m.filled = true, true
	m.t, m.procs = t.clone(), nil
	for c := range t.all() {
		if c.Of.Choice.Several() {
			m.procs = newProcesses(&m.t)
			break
		}
	}
	m.evict()
}

// keptEffects is for how many effects room is kept: those of a storm are few hundred bytes each.
const keptEffects = 8

// Effect returns the next thing that is to be done, and forgets it. It reports false if
// there is none. It is to be called until then after every event, but Snapshot.
func (m *Map) Effect() (Effect, bool) {
	if m.done == len(m.effects) {
		clear(m.effects)
		if m.effects, m.done = m.effects[:0], 0; cap(m.effects) > keptEffects {
			m.effects = nil
		}
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

// Head notes what the nearest successor of an own identifier has said of its arc when it was
// asked at the time given.
func (m *Map) Head(now, at time.Duration, by uint64, c Claim) {
	if m.claiming(by) == nil || m.own(c.ID) != nil || !m.believes(c.Epoch) {
		return
	}
	begins := !m.loading && !m.filled
	unknown := m.homes().get(c.home()) == nil
	got, over := m.merge(c)
	if got == refuted && over.ID != c.ID && m.own(over.ID) == nil && m.silent(over.home()) {
		got = m.overrule(*over, c)
	}
	if got == news {
		m.spread(now, announce(&c, true), m.home)
		if unknown && (!begins || m.tellsEach()) && c.Of.Incarnation != 0 {
			m.catchUp(now, c.home())
		}
	}
	if known := m.t.get(c.ID); known != nil && same(known, &c) && c.After == by && !m.several() {
		m.certify(0, c.ID, at)
	}
	m.trust(func(d doubt) bool { return d.id == c.ID && d.until == 0 && (!d.arc || at > d.since) })
	if begins {
		if m.loads = now; !m.tellsEach() {
			m.spreadBy(now, c.home())
		}
		m.check.pages = 0
		m.load(now, c.home(), m.home, 0)
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
	news       outcome = iota + 1 // the map has changed
	known                         // it was known
	refuted                       // a later claim contradicts it
	unbelieved                    // no member would claim it
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
		m.put(smaller)
		m.agree(over.ID)
	}
	m.defend(&c)
	c.After = m.clear(&c)
	m.put(c)
	m.evict()
	m.hearEpoch(c.Epoch)
	return news, nil
}

// overrule brings the claim of a successor into the map that one of a process refutes which does
// not answer: the successor does. If that process is gone, maybe nobody else is on the map who
// could tell that.
func (m *Map) overrule(over, c Claim) outcome {
	over.After = c.ID
	m.put(over)
	got, _ := m.merge(c)
	return got
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
		if x := m.t.get(id); x.Of.Choice.Several() && x.Of.Name != c.Of.Name {
			m.effects = append(m.effects, Effect{Do: Gone, Member: x.Owner()})
		}
		m.remove(id)
		m.trust(func(d doubt) bool { return d.id == id && d.until == 0 && !d.arc })
	}
	return after
}

// evict drops the claims of the processes that are farthest clockwise, if there are too
// many.
func (m *Map) evict() {
	for m.t.Len() > m.cfg.Limit {
		far := m.last()
		if far == m.home {
			return // all are its own
		}
		for _, c := range m.claims(far) {
			m.remove(c.ID)
		}
	}
}

// others is how many other processes there are.
func (m *Map) others() int {
	t := m.homes()
	if t.get(m.home) != nil {
		return t.Len() - 1
	}
	return t.Len()
}

// distance is the number of steps clockwise to the home of another process.
func (m *Map) distance(home uint64) uint64 { return (home - m.home) & m.mask }

// doubt is a claim that does not answer lookups until it is confirmed again.
type doubt struct {
	id    uint64
	since time.Duration
	until time.Duration // 0: until it is confirmed by what is said after since
	arc   bool          // another was named for a part of its arc
	claim Claim         // arc: by which it claimed that
	// silent: it was not heard of since it was struck. Else it is there, and can be asked
	// about others.
	silent bool
}

// maxDoubts bounds the doubts: a process that is gone leaves one for each of its identifiers.
// Beyond, the map answers nothing until it is certified anew.
const maxDoubts = 1 << 10

// Strike notes that the connection to a member broke, that it did not answer, or that a
// neighbour took another's place: the map does not name it until it was heard of again.
// Until, if it is not 0, says for how long it is not named whatever is heard.
func (m *Map) Strike(now, until time.Duration, who ring.Instance) {
	c := m.t.get(who.ID)
	if c == nil || c.Of.Incarnation != who.Incarnation || m.own(who.ID) != nil {
		return
	}
	m.doubt(doubt{id: who.ID, since: now, until: until, silent: true})
}

// Named notes that a member was named as the owner of a point. If the map has that as
// another's, it does not name that one until it is known to have claimed its arc again,
// or another arc, since.
func (m *Map) Named(now time.Duration, id uint64, owner ring.Instance) {
	c := m.t.next(id)
	if c == nil || id != c.ID && !c.covers(id) || m.own(c.ID) != nil || c.Owner().Instance() == owner {
		return
	}
	m.doubt(doubt{id: c.ID, since: now, arc: true, claim: *c})
}

func (m *Map) doubt(x doubt) {
	m.changed = true
	for i := range m.doubts {
		if d := &m.doubts[i]; d.id == x.id {
			d.since, d.until, d.arc, d.silent = x.since, max(d.until, x.until), d.arc || x.arc, d.silent || x.silent
			if x.arc {
				d.claim = x.claim
			}
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
		m.hear(c.home(), who.Incarnation)
	}
}

// hear notes that the process at a home is there.
func (m *Map) hear(home, incarnation uint64) {
	if len(m.doubts) == 0 {
		return
	}
	is := func(d doubt) bool {
		c := m.t.get(d.id)
		return d.until == 0 && c != nil && c.home() == home && c.Of.Incarnation == incarnation
	}
	m.trust(func(d doubt) bool { return !d.arc && is(d) })
	for i := range m.doubts {
		if is(m.doubts[i]) {
			m.doubts[i].silent = false
		}
	}
}

// hearClaim notes that a member is there and claims what the map says. That may be what it
// claimed when another was named for a part of it, if others told it that have not heard of that.
func (m *Map) hearClaim(id uint64) {
	c := m.t.get(id)
	m.trust(func(d doubt) bool {
		return d.id == id && d.until == 0 && (!d.arc || c == nil || !same(c, &d.claim))
	})
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

// trust ends the doubts for which ends holds.
func (m *Map) trust(ends func(doubt) bool) {
	n := len(m.doubts)
	m.doubts = slices.DeleteFunc(m.doubts, ends)
	m.changed = m.changed || n != len(m.doubts)
}

// silent reports whether a process is not known to be there: it was struck at all of its
// identifiers, and not heard of since.
func (m *Map) silent(home uint64) bool {
	if len(m.doubts) == 0 {
		return false
	}
	for _, c := range m.claims(home) {
		if !slices.ContainsFunc(m.doubts, func(d doubt) bool { return d.id == c.ID && d.silent }) {
			return false
		}
	}
	return true
}

// settle ends doubts whose time is over, or that a certificate has answered since.
func (m *Map) settle(now time.Duration) {
	n := len(m.doubts)
	for i := range m.doubts {
		if d := &m.doubts[i]; d.arc && d.until <= now {
			d.until = 0 // what contradicted its arc has not been answered by that
		}
	}
	m.doubts = slices.DeleteFunc(m.doubts, func(d doubt) bool {
		if d.until != 0 {
			return d.until <= now
		}
		at, ok := m.certain(m.homeAt(d.id))
		return ok && at > d.since
	})
	m.changed = m.changed || n != len(m.doubts)
}
