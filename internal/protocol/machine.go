package protocol

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/voting"
)

// Bounds on what a machine keeps open at once.
const (
	maxRectifications = 32 // notifications whose sender or predecessor is being asked
	maxWaiters        = 64 // introductions and leaves to be acknowledged
	maxToPlace        = 16 // pending members for whom there was no room
	maxSteps          = 64 // questions of one operation
	maxJoinSteps      = 40 // questions of one attempt to join
	placementsPerRnd  = 4
)

// Config says how a machine behaves. It is copied.
type Config struct {
	Bits          uint          // width of the circle, 1…64
	Successors    int           // length of a full successor list, at least 1
	Acquaintances int           // how many are kept; 0: 16
	CheckEvery    int           // rounds between checks when nothing is pending; 0: 10
	Interval      time.Duration // length of a round
	Lease         time.Duration // by which members own their arcs; 0: without; see lease.go
	// MinMembers is how many members must be known to live, itself included,
	// for the member to hold an arc; 0 and 1: it always does. With more than
	// Successors+1 it never does, as it does not know so many.
	MinMembers int
	// Votes are those of the process, which its members share, if Lease is set and MinMembers
	// is more than 1; nil: of a process that has this member only, and starts at the time 0.
	Votes *voting.Votes
	// Named: the ring has a name of its own, and others are refused before they get
	// here. Then its members have no Origin.
	Named bool
	// Origin is that of the ring that an earlier incarnation was in, to which one
	// that this one founds is akin; nil: none is known.
	Origin *ring.Origin
	// Charted, if set, reports whether the map of the ring has the member as one of this
	// ring, as its owners have said of late. Then it is not placed to find out. Nil: there
	// is no map.
	Charted func(ring.Member) bool
	// Processes, if set, is how many processes are on that map, and whether each of them stands at
	// one identifier.
	Processes func() (n int, single bool)
	// Choose, if set, makes the machine's random choices: a number below n. The
	// model checker enumerates them; nil: drawn from the seed.
	Choose func(n int) int
	// Recall, if set, takes the place of the acquaintances: nothing is
	// remembered, and a machine that begins to look for a better successor, or
	// for anyone after the loss of its list, is told of one member that it may
	// know and that fits, or of none. A checker that tries every answer sees
	// what any memory can do to the pointers. nil: the machine remembers.
	Recall func(fits func(ring.Member) bool) ring.Member
}

// NewVotes returns the votes of the process of a name, which has run since a time, as of now; nil
// if nothing is voted on.
func (c Config) NewVotes(process string, since, now time.Duration) *voting.Votes {
	if c.Lease == 0 || c.MinMembers < 2 {
		return nil
	}
	return voting.New(voting.Config{
		Process: process, Lease: c.Lease, Interval: c.Interval, Hang: 2 * max(c.Interval, leastHang), Needed: c.MinMembers,
	}, since, now)
}

func (c Config) withDefaults() Config {
	if c.Acquaintances == 0 {
		c.Acquaintances = 16
	}
	if c.CheckEvery == 0 {
		c.CheckEvery = 10
	}
	return c
}

// Machine is one member's share of the ring. It is not safe for concurrent use
// and never blocks.
//
// What the ring relies on (pred and succ) is changed in pointers.go only.
// Slices of members are never modified once they are in the machine, so that
// replies and views share them.
type Machine struct {
	cfg  Config
	self ring.Member

	// Pointers: changed by events only, reading no time.
	phase         Phase
	predSilent    bool // it did not answer when last asked
	alone         bool // the list is empty because there is nobody else, not because all of it was lost
	again         bool // stabilize once more when the open one has ended
	pred          ring.Member
	succ          []ring.Member
	version       uint64
	origin        *ring.Origin // of the ring that it is in
	drawn         uint64       // the number of a ring that it founds
	acq           acquaintances
	seeds         []seed
	stabilization stabilization
	rects         rectifications
	placing       placement
	toPlace       []ring.Member // members to be placed when the open placement has ended
	join          *joining      // nil: none is open
	bootstrap     bootstrapping
	probe         probing
	depart        departure
	retired       bool // it has left, and runs on
	farewells     farewells
	contest       contest
	waiters       []uint64 // tokens for the next stabilization
	replaced      replacement
	lease         leasing
	doubts        bool        // it has hung, and its head has not named it since; see doubt.go
	leaver        ring.Member // the predecessor that has left, until its arc is taken over
	back          returning   // when the leaver is to be back
	settling      settling
	rest          resting
	later         *ring.Member // the incarnation that this one is superseded by
	calls         uint64       // the last call number given out

	// Of the arc that it claims; see epoch.go. No pointer is decided by it.
	epoch, clock uint64
	leaps        ring.Leaps
	least        uint64   // the least clock that it was told of before it has claimed anything
	claims       bool     // it claims an arc: claimed
	claimed      ring.Arc // as of the last epoch, or smaller by what others took over since
	reclaimed    bool     // in this Step, since others may have held the arc

	// Timing: decides only when events happen.
	rng       rand.PCG
	now       time.Duration
	round     uint64
	certain   time.Duration // see View
	headEpoch uint64        // see View
	// answered is when the head last answered for itself; negative: never yet.
	answered time.Duration
	// notification is the last Notify: its call number, and when it was sent.
	notification struct {
		call uint64
		sent time.Duration
	}
	checks  uint64 // idle checks made, which of the three is next
	budget  int    // placements still allowed this round
	rivalry uint64 // the round before which no rival is looked into
	outgrew uint64 // the round before which the incarnation does not rise again
	// divided is the rival about which the neighbours were divided when last asked; zero:
	// none.
	divided ring.Member
	nudged  uint64 // the round before which a refused notification is no reason to look again
	// headSince and predSince are the rounds in which the head and the predecessor
	// were taken. Nothing is decided by them; see ringmet.go.
	headSince, predSince uint64

	// What the open Step has changed.
	out   []Effect
	last  []Effect    // go after what is published
	gone  ring.Member // known in this Step to have left or to be another by now
	dirty bool
	// recorded is how often facts were recorded. Nothing is decided by it; a test holds
	// it low.
	recorded int
	cause    Cause

	// As last published.
	hasArc      bool
	wasIsolated bool
	arc         ring.Arc
	known       []ring.Member // never written to
}

// New returns a machine that is in no ring. Seed is all its randomness.
func New(self ring.Member, cfg Config, seed uint64) *Machine {
	m := &Machine{cfg: cfg.withDefaults(), self: self, phase: Outside}
	if m.cfg.Votes == nil {
		m.cfg.Votes = cfg.NewVotes(self.Name, 0, 0)
	}
	m.acq = m.noAcquaintances()
	m.rng = *rand.NewPCG(seed, self.ID)
	m.checks = m.rng.Uint64() % 4
	m.drawn = draw(self, seed)
	return m
}

// noAcquaintances is what a machine that has met nobody remembers.
func (m *Machine) noAcquaintances() acquaintances {
	q := acquaintances{self: m.self.ID, name: m.self.Name, addr: m.self.Addr, space: ring.Space{Bits: m.cfg.Bits}, limit: m.cfg.Acquaintances, checkEvery: m.cfg.CheckEvery}
	if m.cfg.Recall != nil {
		q.limit = 0
	}
	return q
}

// Self is the member that the machine is. Its incarnation may rise in a join.
func (m *Machine) Self() ring.Member { return m.self }

// State is what the member says of itself.
func (m *Machine) State() State {
	s := State{Self: m.self, Phase: m.phase, Pred: m.pred, Succ: m.succ, Version: m.version, Replaced: m.replaced.tells, Epoch: m.epoch, Clock: m.clock, Lease: m.saysLease(), Returning: m.depart.returning}
	if m.phase == Bootstrapping {
		s.Founder = m.founder()
	}
	if m.phase.InRing() {
		s.Origin = m.origin
	}
	return s
}

// Step takes one event and returns what is to be done about it. The slice is
// valid until the next Step.
func (m *Machine) Step(now time.Duration, ev Event) []Effect {
	m.out = m.out[:0]
	m.now = now
	m.cause = 0
	m.gone, m.replaced.by = ring.Member{}, ring.Member{}
	m.recorded, m.reclaimed = 0, false
	if p := m.cfg.Votes; p != nil {
		p.Touch(now)
		p.Shown(m.self.Instance()) // the last Step has been published
	}
	m.wake()
	m.expire()
	switch ev := ev.(type) {
	case Tick:
		m.tick()
	case Create:
		m.create(ev.Seeds)
	case Join:
		m.startJoin(ev)
	case Prepared:
		m.prepared(ev)
	case Redirect:
		m.redirect(ev)
	case GiveUp:
		m.giveUp()
	case Depart:
		m.startDepart(ev)
	case Answer:
		m.answer(ev)
	case Asked:
		m.asked(ev)
	case Lost:
		m.lost(ev)
	case Claimed:
		m.othersClaim(ev)
	case Silent:
		m.silent(ev.Name)
	case Reach:
		m.reached(ev)
	case Learned:
		for _, x := range ev.Members {
			m.learned(x, ev.Named)
		}
	}
	m.settle()
	m.out = append(m.out, m.last...)
	clear(m.last)
	m.last = m.last[:0]
	return m.out
}

func (m *Machine) emit(e Effect) { m.out = append(m.out, e) }

// late emits what tells somebody that a thing is done. It comes after what is
// published, so that whoever is told finds it done.
func (m *Machine) late(e Effect) { m.last = append(m.last, e) }

// ask emits a question and returns its call number.
func (m *Machine) ask(to ring.Member, req Request, attempt int, patient bool) uint64 {
	m.calls++
	req.Origin = m.origin
	if req.Kind == Notify || req.Kind == Leave {
		req.Clock = m.clock
		m.count() // the answer may be lost
	}
	if req.Kind == AskRing {
		req.Lease = m.asks()
		m.polls(to, m.calls, &req.Lease)
	}
	m.emit(Ask{Call: m.calls, To: to, Request: req, Attempt: attempt, Patient: patient})
	return m.calls
}

func (m *Machine) tell(to ring.Member, req Request) {
	if !to.Legacy() {
		req.Origin = m.origin
		m.emit(Tell{To: to, Request: req})
	}
}

func (m *Machine) respond(token uint64, refusal Refusal) { m.reply(token, Reply{Refusal: refusal}) }

// reply answers with what the member says of itself now, and with the rest of r.
func (m *Machine) reply(token uint64, r Reply) {
	m.claim()
	r.State = m.State()
	m.late(Respond{Token: token, Reply: r})
}

// head is the first successor, zero in a ring of one.
func (m *Machine) head() ring.Member {
	return head(m.succ)
}

// nearer reports whether x is a better successor than the head.
func (m *Machine) nearer(x ring.Member) bool {
	if x.IsZero() || x.ID == m.self.ID {
		return false
	}
	return len(m.succ) == 0 || ring.Between(m.self.ID, x.ID, m.succ[0].ID)
}

func (m *Machine) create(seeds []string) {
	if m.phase != Outside {
		return
	}
	m.anew()
	m.begin(nil)
	if len(seeds) > 0 {
		m.setSeeds(seeds)
		m.probeSoon()
	}
}

// begin makes the member a ring of one. It was to look for one at the addresses given.
func (m *Machine) begin(given []string) {
	m.bootstrap = bootstrapping{}
	m.phase = Joined
	m.setOrigin(m.foundedOrigin(given))
	m.alone = true
	m.cause = CauseCreated
	m.ownsAll()
	m.dirty = true
	m.schedule()
}

func (m *Machine) giveUp() {
	if m.phase == Joining || m.phase == Bootstrapping {
		m.outside()
	}
}

// outside ends a join that did not succeed. Whom it met is forgotten: a ring
// founded afterwards is one of its own.
func (m *Machine) outside() {
	m.phase = Outside
	m.origin = nil
	m.join, m.bootstrap = nil, bootstrapping{}
	m.acq, m.seeds, m.probe = m.noAcquaintances(), nil, probing{}
	m.dirty = true
}

// schedule sets the next round: one interval from now, a tenth more or less so
// that members do not march in step.
func (m *Machine) schedule() {
	spread := m.cfg.Interval / 5
	at := m.now + m.cfg.Interval - spread/2
	if spread > 0 {
		at += time.Duration(m.rng.Uint64() % uint64(spread))
	}
	m.replaced.due = at
	m.emit(WakeAt{At: at})
}

func (m *Machine) tick() {
	m.leaps.Begin()
	switch m.phase {
	case Leaving:
		m.continueDepart()
	case Joining:
		m.takenLong()
	case Bootstrapping:
		m.bootstrap.round++
		m.bootstrap.named++
		m.bootstrapRound()
	case Joined:
		rests := m.Rests()
		m.round++
		m.ending()
		m.budget = placementsPerRnd
		m.schedule()
		if !rests {
			m.triggerStabilize()
		}
		if p := m.cfg.Votes; p != nil {
			if m.lacks() {
				p.Soon()
			}
			m.canvass()
		}
		if !m.divided.IsZero() && m.round >= m.rivalry {
			m.meetRival(m.divided, false)
		}
		m.check()
	}
}

// lost looks after a neighbour to which a connection broke. Only the head
// matters at once: a predecessor that died is noticed by the member before it,
// whose notification makes this one look.
func (m *Machine) lost(ev Lost) {
	if m.phase != Joined {
		return
	}
	if ev.Gone && rolledBack(ev.Who, ev.By) {
		m.record(fact{kind: wasSuperseded, who: ev.Who, by: ev.By})
	}
	if m.head().Addr == ev.Addr {
		m.triggerStabilize()
	}
	if !ev.Gone {
		return
	}
	for _, x := range m.acq.clockwise(func(a *acquaintance) bool {
		meant := ev.Who.Name == "" || a.Member == ev.Who
		return meant && a.Addr == ev.Addr && a.responsive() && !m.inView(a.Member)
	}) {
		m.record(fact{kind: wasSilent, who: x})
	}
}

func (m *Machine) answer(a Answer) {
	a = m.related(a.believable())
	if a.Failure != nil && a.Failure.Kind == WrongMember {
		m.record(fact{kind: wasNamed, who: a.Failure.By})
	}
	m.complete(&a.Reply)
	a = m.sorted(a)
	if a.Failure == nil {
		m.overhears(a.Reply.State)
		m.hearClock(a.Reply.State.Clock)
		m.heardLeaver(a.Reply.State)
		m.disown(a.Reply.State)
	}
	if m.polled(a) {
		return
	}
	for q := range m.questions {
		if q.call == a.Call {
			q.op.answered(m, q.i, a)
			return
		}
	}
	if a.Failure == nil {
		m.notified(a)
	}
}

// notified hears what became of a Notify. Nothing waits for it; what it says
// may be worth another look.
func (m *Machine) notified(a Answer) {
	if m.phase != Joined {
		return
	}
	r := a.Reply
	m.recordAnswer(r.State)
	m.namedBy(r.State)
	if r.State.Self == m.head() && r.State.Pred == m.self {
		asked := m.notification.sent
		if a.Call != m.notification.call {
			asked = -1 // an earlier one
		}
		m.heardHead(r.State, asked)
		if m.cfg.Lease > 0 && !m.lease.holds {
			m.triggerStabilize() // it may have a grant now
		}
	}
	switch r.Refusal.Reason {
	case Nearer:
		// Once a round: the head and this member may see p differently for ever.
		if p := r.State.Pred; m.nearer(p) && m.mayAsk(p) && m.nudged <= m.round {
			m.nudged = m.round + 1
			m.triggerStabilize()
		}
	case NotInRing:
		if r.State.Self == m.head() {
			m.triggerStabilize()
		}
	case NameTaken, Outdated:
		m.meetRival(r.Refusal.Other, true)
	}
}

func (m *Machine) asked(a Asked) {
	req := a.Request
	if !possible(a.From) || !req.possible() {
		m.late(Respond{Token: a.Token, Failure: errIncarnation})
		return
	}
	if f := m.askedBy(a); f != nil {
		m.late(Respond{Token: a.Token, Failure: f})
		return
	}
	if f := m.mixes(a.From); f != nil {
		m.late(Respond{Token: a.Token, Failure: f})
		return
	}
	m.hearClock(req.Clock)
	m.pointedAt(a)
	if joiner := req.Kind == Seek || req.Kind == Look || req.Joining; !joiner {
		m.heardFrom(a.From)
	}
	if req.Kind == Look {
		m.heardBootstrapping(a.From, req.Subject)
	}
	m.handOn(a)
	if req.Kind == AskRing || req.Kind == Look {
		m.answerRing(a)
		return
	}
	if placing := req.Kind == Seek || req.Kind == Place; !m.phase.InRing() || m.phase == Leaving && placing {
		m.late(Respond{Token: a.Token, Failure: &Failure{Kind: NotJoined, By: m.self, Detail: m.phase.String()}})
		return
	}
	switch req.Kind {
	case Notify:
		m.rectify(rectification{n: a.From, token: a.Token, joining: req.Joining, preparing: req.Joining && req.Preparing})
	case Seek:
		m.late(Respond{Token: a.Token, Reply: m.placeReply(req.Subject)})
	case Place:
		m.late(Respond{Token: a.Token, Reply: m.placeReply(req.Subject)})
		if m.phase == Joined && m.nearer(req.Subject) {
			if req.Subject == a.From {
				m.record(fact{kind: wasVouchedFor, who: req.Subject})
			} else {
				m.record(fact{kind: mayBeElsewhere, who: req.Subject}) // others may name the dead
			}
			m.triggerStabilize()
		}
	case Introduce:
		m.introduced(req.Subject, a.From, a.Token)
	case Changed:
		m.respond(a.Token, Refusal{})
		if a.From == m.head() {
			m.triggerStabilize()
		}
	case Leave:
		m.left(a.From, req, a.Token)
	default:
		m.late(Respond{Token: a.Token, Failure: &Failure{Kind: Invalid, Detail: "the kind of the request is unknown"}})
	}
}

// answerRing answers who asks for this member's ring, and for a grant.
func (m *Machine) answerRing(a Asked) {
	m.claim()
	st := m.State()
	st.Lease.Granted, st.Lease.Linked = m.grants(a.From, a.Request.Lease)
	if st.Lease.Linked {
		st.Lease.Others = m.grantedOthers(a.From)
	}
	st.Lease.Votes = m.votes(a)
	m.late(Respond{Token: a.Token, Reply: Reply{State: st}})
}

// handOn tells the member that has taken the place of a superseded one of whoever asks:
// whoever takes this one for a member may know no other.
func (m *Machine) handOn(a Asked) {
	if m.phase != Superseded || a.From.Name == "" || a.From.ID == m.self.ID {
		return
	}
	switch a.Request.Kind {
	case AskRing, Place, Notify:
		m.tell(*m.later, Request{Kind: Introduce, Subject: a.From})
	}
}

// learned takes note of a member that has answered a lookup, as one of the ring, at its
// address, or is named only. What a legacy member answers for may be the word of another.
func (m *Machine) learned(x ring.Member, named bool) {
	switch {
	case !possible(x):
	case named || x.Legacy():
		m.record(fact{kind: wasNamed, who: x})
	default:
		m.record(fact{kind: hasAnswered, who: x})
	}
}

// introduced is told of y, by y itself or by another.
func (m *Machine) introduced(y, by ring.Member, token uint64) {
	if m.phase != Joined {
		m.respond(token, Refusal{Reason: NotInRing})
		return
	}
	if y.ID == m.self.ID {
		if y != m.self {
			m.meetRival(y, false)
		}
		m.respond(token, Refusal{})
		return
	}
	if y == by {
		m.record(fact{kind: wasNamed, who: y}) // heard already: only to have it among the acquaintances
	} else {
		m.record(fact{kind: wasVouchedFor, who: y})
	}
	if !m.nearer(y) {
		m.respond(token, Refusal{})
		if y != by {
			m.placeOther(y)
		}
		return
	}
	m.wait(token)
	m.triggerStabilize()
}

// wait answers the token when the stabilization that is to come has ended.
func (m *Machine) wait(token uint64) {
	if len(m.waiters) >= maxWaiters {
		m.respond(token, Refusal{Reason: Busy})
		return
	}
	m.waiters = append(slices.Clip(m.waiters), token)
}
