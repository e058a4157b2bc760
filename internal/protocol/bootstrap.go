package protocol

import (
	"cmp"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// bootstrapping is how members that may found a ring find one, or agree on one of
// them to found it.
//
// A member that bootstraps asks its addresses again and again who is there, and says
// whom it would let found, its founder: the smallest identifier among itself, if
// one of its addresses leads to it, and those that it has met and that name
// themselves, or nobody and were at one of its addresses. It joins the first member of a ring that answers. It founds one
// when it names itself and
//
//   - every address given is a member's own, everybody there bootstraps too, and names
//     it, and there can be no others; or
//   - it has bootstrapped for the time given, and everybody who was heard of late, told
//     that this member would found, has said of late that it names it, or nobody.
//
// An address is not a member. One of a load balancer leads to anyone, to the member
// itself too, and differently each time. So what is said at an address counts as
// the answer of the member that says it, and that member is asked at its own address,
// the one that it advertises. A member has been met when it has answered there. That
// an address leads to it, it learns by its own answer, or as another names it that
// has found it there: not every load balancer leads anybody back to itself.
//
// An answer that names another is a promise: who has given it founds no ring while
// that other is heard, for bootstrapMemory at least since it was asked last. Whoever it
// names relies on it for bootstrapTrust only, counted from its own question, and so not
// for longer. So of two members that have met both found only if no question of the
// one has reached the other for bootstrapMemory. Then their rings merge, since each
// founder keeps the addresses and asks there.
//
// How long it has bootstrapped is counted in rounds: a member that stood still for a while
// has not bootstrapped meanwhile. The age of an answer is measured.
type bootstrapping struct {
	every    time.Duration // length of a round
	patience int           // rounds until it founds though not everybody has answered
	round    int           // rounds so far
	named    int           // rounds in which it has named itself, without a break
	open     bool          // there may be others than those at the addresses
	wanted   bool          // another has named it
	listed   bool          // one of the addresses leads to it
	onlyOwn  bool          // it was given no address but the one that it advertises
	given    []string      // the addresses as they were given
	takeover time.Duration // see Join
	others   []bootstrapAddress
}

// bootstrapAddress is an address that is asked, and who bootstraps there.
type bootstrapAddress struct {
	addr   string
	given  bool // to JoinOrCreate
	recall bool // of a member of the ring of an earlier incarnation; otherwise heard of from one that bootstraps
	own    bool // it is the one that this member advertises
	// mine: this member itself has answered there, though the address is not the
	// one that it advertises.
	mine bool
	// anyone: somebody has answered there who advertises another address.
	anyone  bool
	told    ring.Member   // who is said to bootstrap there, by another
	who     ring.Member   // who bootstraps there and advertises the address; zero: nobody, as far as known
	met     bool          // who has answered there itself
	placed  bool          // who has answered at an address given, too, that leads to anyone
	founder ring.Member   // whom it named last; zero: it has met nobody who may found
	enters  bool          // it has found a ring and is on its way in
	heard   int           // the round in which it last spoke
	call    uint64        // the open question, 0 for none
	asked   int           // the round after that of the last question; 0: none was put
	sent    time.Duration // when the last question was put
	asks    ring.Member   // whom the last question named
	agreed  bool          // who has answered a question that named this member
	since   time.Duration // agreed: when the last such question was put
	silent  int           // questions in a row that were not answered
	selves  int           // own: how often this member has answered there
	chosen  int           // rounds in which this member would have let who found
	last    ring.Member   // who answered last
	failure *Failure      // what became of the last question
}

const (
	bootstrapRounds = 12                     // rounds until a member founds alone, at least
	bootstrapEvery  = 250 * time.Millisecond // length of a round, at most
	bootstrapPace   = time.Second            // between questions where little news is expected
	bootstrapMemory = 3 * bootstrapPace      // how long a promise is kept, unless the time to found is longer
	bootstrapTrust  = bootstrapMemory / 2    // how long it is relied on

	// Promise is for how long at least a member founds no ring after another has
	// answered that it bootstraps, is smaller, and would found.
	Promise = bootstrapMemory - bootstrapEvery

	bootstrapDoubt   = 3  // questions until one that asks and does not answer is no reason to wait
	bootstrapStalled = 4  // times the time to found, after which others' words are no reason to wait
	maxBootstrapAsks = 64 // questions open at once
	maxLearned       = 32 // those that bootstrap at other addresses than those given
	// ownAsks is how often a member asks who answers at the address that it
	// advertises before it founds, if that is all that was given to it. If all members
	// advertise the address of a load balancer, another of them answers.
	ownAsks = 4
)

// startBootstrapping begins to search for a ring, or for others to found one with.
func (m *Machine) startBootstrapping(ev Join) {
	before := m.bootstrap.others // of an attempt that has found a ring and could not join it
	every := max(time.Millisecond, min(bootstrapEvery, ev.Found/bootstrapRounds))
	b := bootstrapping{every: every, patience: int((ev.Found + every - 1) / every), open: ev.Open, given: ev.Given, takeover: ev.Takeover}
	if b.given == nil {
		b.given = ev.Via
	}
	for i, addr := range slices.Concat(ev.Via, ev.Recalled) {
		b.add(addr, addr == m.self.Addr, i >= len(ev.Via), ev.Attempt)
	}
	b.list()
	m.phase = Bootstrapping
	m.bootstrap = b
	for i := range before {
		if o := &before[i]; ev.Attempt > 0 && !o.own && !o.anyone && !o.failed() {
			m.learnBootstrapping(cmp.Or(o.who, o.told, ring.Member{Addr: o.addr}), true)
		}
	}
	m.setSeeds(m.seedsOf(ev))
	m.dirty = true
	m.bootstrapRound()
}

// add has an address asked, unless it is asked already.
func (b *bootstrapping) add(addr string, own, recall bool, silent int) {
	for i := range b.others {
		if o := &b.others[i]; o.addr == addr {
			o.given = o.given || !recall
			o.recall = o.recall || recall
			return
		}
	}
	b.others = append(b.others, bootstrapAddress{addr: addr, given: !recall, recall: recall, own: own, silent: silent})
}

// list notes whether one of the addresses leads to the member, and all are its own.
func (b *bootstrapping) list() {
	b.onlyOwn = !slices.ContainsFunc(b.others, func(o bootstrapAddress) bool { return !o.own && (o.given || o.recall) })
	b.listed = b.wanted || slices.ContainsFunc(b.others, func(o bootstrapAddress) bool { return (o.own || o.mine) && (o.given || o.recall) })
}

// at is the record of the address that a member advertises, nil if it is not asked.
func (b *bootstrapping) at(addr string) *bootstrapAddress {
	i := slices.IndexFunc(b.others, func(o bootstrapAddress) bool { return o.addr == addr })
	if i < 0 {
		return nil
	}
	return &b.others[i]
}

// failed reports whether nobody bootstraps there any more, as far as known.
func (o *bootstrapAddress) failed() bool { return o.silent > 0 && o.who.IsZero() }

// redirect goes on with other addresses. Those that are not among the given any
// more are treated as heard of.
func (m *Machine) redirect(ev Redirect) {
	if m.phase != Bootstrapping {
		return
	}
	b := &m.bootstrap
	b.open = ev.Open
	for i := range b.others {
		b.others[i].given = false
	}
	for _, addr := range ev.Via {
		b.add(addr, addr == m.self.Addr, false, 0)
	}
	b.list()
}

// bootstrapRound makes one round of bootstrapping.
func (m *Machine) bootstrapRound() {
	b := &m.bootstrap
	b.others = slices.DeleteFunc(b.others, func(o bootstrapAddress) bool {
		return !o.given && !o.recall && !o.own && o.call == 0 && (o.silent > 0 || o.anyone) && !b.hears(&o)
	})
	if m.decide() {
		return
	}
	founder := m.founder()
	if o := b.at(founder.Addr); o != nil {
		o.chosen++
	}
	var due []int
	for i := range b.others {
		if o := &b.others[i]; o.asked == 0 || b.round+1-o.asked >= b.wait(o, founder, founder == m.self) {
			due = append(due, i)
		}
	}
	// Those first who have waited longest: not all may be asked at once.
	slices.SortStableFunc(due, func(i, k int) int { return cmp.Compare(b.others[i].asked, b.others[k].asked) })
	for _, i := range due {
		m.bootstrapAsk(i)
	}
	m.emit(WakeAt{At: m.now + b.every})
}

// bootstrapAsk asks who is at an address, unless it is being asked.
func (m *Machine) bootstrapAsk(i int) {
	b := &m.bootstrap
	open := 0
	for k := range b.others {
		if b.others[k].call != 0 {
			open++
		}
	}
	o := &b.others[i]
	if o.own && (!b.onlyOwn || o.knows()) || o.call != 0 || open >= maxBootstrapAsks {
		return
	}
	to := ring.Member{Addr: o.addr}
	if o.met {
		to = o.who
	}
	o.asked, o.sent, o.asks = b.round+1, m.now, m.founder()
	o.call = m.ask(to, Request{Kind: Look, Subject: o.asks}, min(o.silent, bootstrapDoubt), false)
}

// knows reports of the member's own address whether it is known who answers there.
func (o *bootstrapAddress) knows() bool { return o.selves >= ownAsks || o.failure != nil }

// wait is the number of rounds between two questions to an address. Those that
// name the same founder have nothing new to tell each other, but all watch it.
func (b *bootstrapping) wait(o *bootstrapAddress, founder ring.Member, own bool) int {
	there := o.met && b.hears(o)
	agrees := there && o.founder == founder
	switch {
	case there && o.who == founder:
		return 1
	case own && b.round >= b.patience && b.named < 2*bootstrapStalled*b.patience:
		return 1 // it is to found, and only waits for an answer
	case agrees, b.round >= b.patience:
		return int(bootstrapPace / b.every)
	}
	return 1
}

// hears reports whether somebody who bootstraps was heard at o of late.
func (b *bootstrapping) hears(o *bootstrapAddress) bool {
	return !o.who.IsZero() && b.round-o.heard <= max(b.patience, int(bootstrapMemory/b.every))
}

// founder is whom this member would let found a ring, zero if it has met nobody
// who may.
func (m *Machine) founder() ring.Member {
	b := &m.bootstrap
	var best ring.Member
	if b.listed {
		best = m.self
	}
	for i := range b.others {
		o := &b.others[i]
		names := o.founder == o.who || o.placed && o.founder.IsZero()
		if o.met && names && b.hears(o) && b.counts(o) && (best.IsZero() || sooner(o.who, best)) {
			best = o.who
		}
	}
	return best
}

// counts reports whether what who bootstraps there says counts for who founds. One that
// would have founded does, once it was this member's choice for long enough, or it never
// will. One of whose address nobody has told this member to wait for counts as long from
// when this member began: there may be any number of them.
func (b *bootstrapping) counts(o *bootstrapAddress) bool {
	enough := bootstrapStalled*b.patience + int(bootstrapMemory/b.every)
	return o.chosen < enough && (o.given || o.recall || o.placed || b.round < enough)
}

// sooner reports whether x is to found rather than y: by identifier, that is by
// the distance from 0; of two with one identifier the earlier incarnation.
func sooner(x, y ring.Member) bool {
	return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.Incarnation, y.Incarnation), cmp.Compare(x.Addr, y.Addr)) < 0
}

// decide founds a ring if that falls to this member now, and reports whether it
// has.
func (m *Machine) decide() bool {
	b := &m.bootstrap
	if m.founder() != m.self {
		b.named = 0
		for i := range b.others {
			b.others[i].agreed = false
		}
		return false
	}
	all, disputed := !b.open, false
	for i := range b.others {
		o := &b.others[i]
		if o.own {
			if b.onlyOwn && !o.knows() {
				return false
			}
			continue
		}
		if !b.counts(o) {
			all = all && !o.given
			continue
		}
		agrees, disputes := m.wordOf(o)
		disputed = disputed || disputes
		all = all && (agrees || !o.given && (!o.recall || o.failure != nil))
	}
	if disputed && b.named < bootstrapStalled*b.patience || !all && b.round < b.patience {
		return false
	}
	unanswered := slices.DeleteFunc(m.bootstrapCauses(), func(c JoinCause) bool { return c.Failure.Kind == NotJoined })
	m.begin(b.given)
	m.probeSoon()
	m.late(JoinDone{Unanswered: unanswered})
	return true
}

// wordOf is what is known of whom the member at o would let found a ring: whether it agrees
// that this one does, and whether it may be for another.
func (m *Machine) wordOf(o *bootstrapAddress) (agrees, disputes bool) {
	if !m.bootstrap.hears(o) {
		return false, false
	}
	if !o.met {
		// It asks, and has not been met yet.
		return false, o.silent < bootstrapDoubt && o.founder == o.who && sooner(o.who, m.self)
	}
	fresh := o.agreed && m.now-o.since <= bootstrapTrust
	return fresh && o.founder == m.self, o.enters || !fresh || o.founder != m.self && !o.founder.IsZero()
}

// heardBootstrapping hears from a member that bootstraps: it has asked who is here.
func (m *Machine) heardBootstrapping(from, founder ring.Member) {
	if m.phase != Bootstrapping || from.Name == "" || from.Addr == m.self.Addr {
		return
	}
	if founder == m.self && !m.bootstrap.listed {
		m.bootstrap.wanted, m.bootstrap.listed = true, true
	}
	m.recordFounder(from, founder)
	m.decide()
}

// recordFounder records whom a member that bootstraps names as founder, and has it asked at
// its own address if it has not answered there yet.
func (m *Machine) recordFounder(who, founder ring.Member) {
	b := &m.bootstrap
	m.learnBootstrapping(founder, true)
	m.learnBootstrapping(who, founder == who)
	i := slices.IndexFunc(b.others, func(o bootstrapAddress) bool { return o.addr == who.Addr })
	if i < 0 || b.others[i].own {
		return
	}
	o := &b.others[i]
	same := o.who == who
	o.met, o.placed, o.agreed = o.met && same, o.placed && same, o.agreed && same
	o.who, o.founder, o.heard, o.enters = who, founder, b.round, false
	if !o.met && o.silent == 0 {
		m.bootstrapAsk(i)
	}
}

// learnBootstrapping has an address asked that a member which bootstraps advertises. If
// it is one too many, the address goes of who would found last.
func (m *Machine) learnBootstrapping(x ring.Member, founds bool) {
	b := &m.bootstrap
	if x.Addr == "" || x.Addr == m.self.Addr || b.at(x.Addr) != nil {
		return
	}
	learned, last := 0, -1
	for i := range b.others {
		if o := &b.others[i]; !o.given && !o.recall && !o.own {
			learned++
			if last < 0 || o.foundsAfter(b.others[last].member(), b.others[last].founds()) {
				last = i
			}
		}
	}
	b.others = slices.Clip(b.others)
	switch {
	case learned < maxLearned:
		b.others = append(b.others, bootstrapAddress{addr: x.Addr, told: x})
	case b.others[last].foundsAfter(x, founds):
		b.others = slices.Concat(b.others[:last], b.others[last+1:], []bootstrapAddress{{addr: x.Addr, told: x}})
	}
}

// member is who bootstraps there, as it says itself or as others say.
func (o *bootstrapAddress) member() ring.Member { return cmp.Or(o.who, o.told) }

// founds reports whether who bootstraps there may be the one to found.
func (o *bootstrapAddress) founds() bool {
	return o.who.IsZero() || o.founder == o.who || o.placed && o.founder.IsZero()
}

// foundsAfter reports whether x is to found rather than who bootstraps there.
func (o *bootstrapAddress) foundsAfter(x ring.Member, founds bool) bool {
	if o.founds() != founds {
		return founds
	}
	return sooner(x, o.member())
}

// ended reports whether the search is over. Whom it met may be remembered for another.
func (b *bootstrapping) ended() bool { return b.every == 0 }

func (b *bootstrapping) question(i int) (uint64, bool) {
	if b.ended() || i >= len(b.others) {
		return 0, false
	}
	return b.others[i].call, true
}

// encode writes the search for a ring, and when a member that is in one asks at the
// addresses given next.
func (b *bootstrapping) encode(m *Machine, f *form) {
	if !b.ended() {
		f.bytes(byte(min(b.round, b.patience, 255)), byte(min(b.named, bootstrapStalled*b.patience, 255)), byte(len(b.others)))
		f.flags(b.listed, b.open, b.wanted, b.onlyOwn)
		for i := range b.others {
			b.others[i].encode(m, f)
		}
	}
	if p := &m.probe; p.wait > 0 && m.cfg.Recall == nil && len(m.seeds) > 0 {
		f.ahead(p.next)
		f.bytes(byte(min(p.wait, 255)))
	}
}

func (o *bootstrapAddress) encode(m *Machine, f *form) {
	b := &m.bootstrap
	f.address(o.addr)
	f.members(o.told, o.who, o.founder)
	f.bytes(byte(min(b.round-o.heard, 255)), byte(min(b.round-o.asked, 255)), byte(min(o.silent, 255)), byte(o.selves), byte(min(o.chosen, 255)),
		byte(min((m.now-o.since)/b.every, 255)), byte(min((m.now-o.sent)/b.every, 255)))
	f.flags(o.given, o.recall, o.own, o.mine, o.anyone, o.met, o.enters, o.call != 0)
	f.flags(o.placed, o.agreed)
	f.members(o.asks)
}

// answered goes on after an address was asked who is there.
func (b *bootstrapping) answered(m *Machine, i int, a Answer) {
	o := &b.others[i]
	o.call = 0
	o.failure = a.Failure
	if f := a.Failure; f != nil {
		o.silent++
		if f.Kind == Refused || f.Kind == WrongRing || f.Kind == WrongMember {
			o.who, o.met = ring.Member{}, false // whoever bootstrapped there does so no more
		}
		if m.hopeless() {
			m.failJoin(m.bootstrapCauses())
			return
		}
		m.decide()
		return
	}
	o.silent = 0
	st := a.Reply.State
	o.last = st.Self
	if m.sharesAddress(st.Self) {
		m.failJoin([]JoinCause{m.sharedAddress(o.addr, st.Self)})
		return
	}
	switch {
	case st.Phase == Joined:
		m.joinFrom(o.addr, st.Self)
		return
	case st.Self == m.self && o.own:
		o.selves++
		m.bootstrapAsk(i)
	case st.Self == m.self:
		o.mine, o.anyone = true, true
		b.list()
	case st.Self.Addr != o.addr:
		o.anyone = true
		if st.Phase == Bootstrapping {
			placed := o.given || o.recall
			m.recordFounder(st.Self, st.Founder)
			if at := b.at(st.Self.Addr); at != nil && placed {
				at.placed = true
			}
		} else if at := b.at(st.Self.Addr); st.Phase == Joining && at != nil && at.who == st.Self {
			at.enters, at.heard = true, b.round
		}
	case st.Phase == Bootstrapping:
		o.agreed = o.agreed && o.who == st.Self
		o.who, o.met = st.Self, true
		if o.asks == m.self {
			o.agreed, o.since = true, o.sent
		}
		m.recordFounder(st.Self, st.Founder)
	case st.Phase == Joining && st.Self == o.who:
		o.enters, o.heard = true, b.round
	default:
		o.who, o.met = ring.Member{}, false
	}
	m.decide()
}

// hopeless reports whether every address but the member's own belongs to
// another kind of ring. To found one beside them is not what was wanted.
func (m *Machine) hopeless() bool {
	others := 0
	for i := range m.bootstrap.others {
		switch o := &m.bootstrap.others[i]; {
		case o.own, o.mine, o.recall && !o.given:
		case o.failure == nil || o.failure.Kind != WrongRing:
			return false
		default:
			others++
		}
	}
	return others > 0
}

// joinFrom joins the ring that a member has shown to be in that was asked at addr:
// through its own address, as the next to answer at addr may be another.
func (m *Machine) joinFrom(addr string, by ring.Member) {
	via := []string{addr}
	if by.Addr != "" && by.Addr != addr {
		m.learnBootstrapping(by, true)
		via = []string{by.Addr, addr}
	}
	m.join = &joining{via: via, brings: m.bootstrap.given, takeover: takingOver{most: m.bootstrap.takeover}}
	m.bootstrap = bootstrapping{others: m.bootstrap.others} // should this not lead to the ring
	m.phase = Joining
	m.dirty = true
	m.probeSeldom()
	m.joinVia()
}

// bootstrapCauses says of each address given why it has not led to a ring yet.
func (m *Machine) bootstrapCauses() []JoinCause {
	var out []JoinCause
	for i := range m.bootstrap.others {
		o := &m.bootstrap.others[i]
		c := JoinCause{At: ring.Member{Addr: o.addr}, Failure: o.failure}
		switch {
		case !o.given && !o.recall || o.own:
			continue
		case o.failure == nil && o.anyone:
			c.Failure = &Failure{Kind: NotJoined, By: o.last, Detail: Bootstrapping.String()}
		case o.failure == nil && m.bootstrap.hears(o):
			c.Failure = &Failure{Kind: NotJoined, By: o.who, Detail: Bootstrapping.String()}
		case o.failure == nil && o.heard == 0 && o.call != 0:
			c.Failure = &Failure{Kind: TimedOut, Detail: "no answer yet"}
		case o.failure == nil:
			c.Failure = &Failure{Kind: NotJoined, Detail: "it is in no ring"}
		}
		out = append(out, c)
	}
	return out
}
