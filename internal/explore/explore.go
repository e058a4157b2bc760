// Package explore is an explicit-state model checker of ring maintenance. It
// drives the machines of package protocol themselves, not a model of them: it
// takes the place of the runtime, decides when a question arrives, when an
// answer is used, when a round begins and who fails, and tries every order,
// breadth first, so that the story of a violation is a shortest one.
//
// # What makes it quick
//
// A machine is deterministic, and few of its states differ. Each local state is
// kept once and known by a number (local.go), and so is all that is said; what a
// local state does on an event is worked out once and looked up from then on. A
// world (world.go) is some numbers, and the rules are asked once for each vector
// of pointers. Turns of the circle are one state: a machine is written as it
// sees the circle from where it stands.
//
// # Any memory
//
// With Config.Memory Abstract the machines remember nobody. Whenever one begins
// to search for a nearer successor, or for anyone after the loss of its list, the
// checker says whom it remembers: in turn every member that lives, and nobody.
// That covers what any memory can do to pointers, because a memory has no other
// way to them: acquaintances, introductions, placements and what others say only ever
// name a member to be asked, and every condition is tested on its answer. So a
// rule that holds of every state here holds with any acquaintances, of any age.
// Four things follow that keep the states few:
//
//   - one recollection for each stabilization is enough: whom a machine would ask
//     next it can ask in the stabilization after, which can begin at once;
//   - the dead are not remembered: asking them changes nothing;
//   - messages that only tell of members, or to look again, are left out: they
//     do what a round that remembers the member does. So is a joiner's
//     introduction, whose answer does what the other's notification does;
//   - whether a member has answered before (and so need not be asked before it
//     is taken for the predecessor) is a choice of its own.
//
// What any memory may do says nothing about what the real one must: that a
// member is found again. So from every state quiet rounds are tried in which the
// machines remember for real (Config.Quiet), beginning with the least memory
// that they can have there, in one order, with the choices of machines in turn.
// Config.Memory 0 explores with real memories.
//
// # What is one step
//
// At the grain Instant the steps are Zave's: a round or a notification, with the
// first question that it leads to; each further question, with the use of its
// answer; a join, with its search and the consent of the successor (unless
// Config.JoinsApart). At the grain Apart asking, answering and using are steps of
// their own, at the grain Messages a message may also be lost or doubled.
//
// A member that is dead and named nowhere is forgotten, and another may join in
// its place: so joins and failures without number have finitely many states.
//
// # What is left out
//
// Times, and so which of two things is likelier. Of equal notifications by one
// member to another only one is under way or looked into at a time. At the grain
// Instant a member that fails takes with it what it has sent and nobody has
// received. Runs of more than 28 messages at once end as not exhausted.
package explore

import (
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Grain says what happens in one step.
type Grain int

const (
	// Instant: a question is answered, and the answer used, in one step.
	Instant Grain = 1
	// Apart: asking, answering and using are three steps.
	Apart Grain = 2
	// Messages: as Apart, and a message may be lost or doubled. What was lost is
	// under way until the asker runs out of patience, at any time.
	Messages Grain = 3
)

// Start is the state, or the states, that an exploration begins with.
type Start int

const (
	// Ring is every ideal ring of identifiers of Successors+1 processes.
	Ring Start = iota
	// Founder is one member that has founded a ring.
	Founder
	// Strangers are every two ideal rings of the identifiers, some of which are vacant,
	// that have nothing in common. Those with a memory remember all of the other ring.
	Strangers
	// Akin are the same, but the rings have something in common.
	Akin
)

// strangers are the origins of two rings that have nothing in common.
var strangers = [2]*ring.Origin{ring.NewOrigin(1, []uint64{1}), ring.NewOrigin(2, []uint64{2})}

// rings reports whether there are two rings at the start.
func (s Start) rings() bool { return s == Strangers || s == Akin }

// Unlimited is a budget that never ends.
const Unlimited = -1

// Assumption says when a member may fail, or leave.
type Assumption int

const (
	// Zave lets a member fail if every other keeps a live successor, in its list
	// and in every answer under way, and Successors+1 principals remain; none
	// before there has been a ring of so many with full lists. A joiner may fail
	// at any time.
	Zave Assumption = iota
	// LiveSuccessor asks for the first only.
	LiveSuccessor
	// Nothing lets any member fail at any time.
	Nothing
)

// Abstract is the memory that can hold anything.
const Abstract = -1

// Config bounds an exploration.
type Config struct {
	Members    int // identifiers, so members that there can be at once: 2…8
	Successors int // processes in a full successor list, at least 1
	// Pairs makes each two opposite identifiers those of one process, which fails at
	// both at once. Without it each is a process of its own.
	Pairs bool
	Start Start
	Grain Grain
	// Memory is the number of acquaintances that each machine keeps, 0 for the
	// default of package protocol, or Abstract.
	Memory int
	Assume Assumption // when a member may fail or leave
	// JoinsApart makes the search, the notification and the entry of a joiner
	// steps of their own at the grain Instant too. Zave's join is one step.
	JoinsApart bool
	// Takeover has joiners take over, by their programs, what they will own before
	// they own it. However long that lasts it may end at any time.
	Takeover bool
	// Drain has those that leave stay unless somebody acknowledges that it takes over.
	Drain bool
	// How often each may happen, or Unlimited.
	Joins, Fails, Restarts, Leaves, Suspicions, Losses, Doubles int
	// InFlight bounds how many questions and answers are under way at once; 0:
	// not bounded.
	InFlight int
	// MaxStates and Time end the exploration; 0: not bounded.
	MaxStates int
	Time      time.Duration
	// Rules must hold in every state; those of invariant.Grown from the state on
	// that first has enough principals with full lists.
	Rules []invariant.Rule
	// Steps must hold of every step of a member.
	Steps []invariant.ChangeRule
	// Quiet: from every state, fair rounds without faults must lead to one ideal
	// ring of each component, within so many rounds; 0: not checked.
	Quiet int
	// Progress, if set, is called about once a second.
	Progress func(Result)
	// Stop, if set, is asked now and then whether to end.
	Stop func() bool

	fixed bool // do not take turns of the circle for one
}

// Result is what an exploration has found.
type Result struct {
	States      int
	Transitions int
	Frontier    int // states not expanded yet
	Depth       int // steps to the latest state expanded
	Exhausted   bool
	QuietRounds int // the most that were needed
	Locals      int // different local states
	Computed    int // steps that a machine has really taken
	Seconds     float64
	Violation   *Violation
}

// Violation is a state that breaks a rule, and how it came about.
type Violation struct {
	Rule  string
	How   string
	Trace string // for Replay
	Story string
}

func (v *Violation) Error() string { return v.Rule + ": " + v.How + "\n" + v.Story }

type checker struct {
	cfg    Config
	budget budget
	*locals
	stack []world
	next  []transition
	words []uint64

	seen     set
	queue    queue
	parents  []uint32
	ordinals []uint16
	verdicts table
	judged   []verdict
	wrongs   []Violation // steps that broke a rule
	healing  healing
	result   Result

	// Of the state being expanded.
	parent  uint32
	ordinal int
	emit    func(*world)

	overflowed                     bool
	refused, timedOut, unreachable uint32
	wrongMember                    [maxIncarnations + 1]uint32
	story                          *story
}

func newChecker(cfg Config) *checker {
	c := &checker{cfg: cfg, locals: newLocals(&cfg), stack: make([]world, 16)}
	limit := func(n int) uint8 {
		if n < 0 {
			return unlimited
		}
		return uint8(min(n, unlimited-1))
	}
	c.budget = budget{
		joins: limit(cfg.Joins), fails: limit(cfg.Fails), restarts: limit(cfg.Restarts), leaves: limit(cfg.Leaves),
		suspicions: limit(cfg.Suspicions), losses: limit(cfg.Losses), doubles: limit(cfg.Doubles),
	}
	failure := func(k protocol.FailureKind, by ring.Member) uint32 {
		return c.keepSaid(said{failure: &protocol.Failure{Kind: k, By: by}})
	}
	c.refused = failure(protocol.Refused, ring.Member{})
	c.timedOut = failure(protocol.TimedOut, ring.Member{})
	c.unreachable = failure(protocol.Unreachable, ring.Member{})
	for incarnation := range c.wrongMember {
		c.wrongMember[incarnation] = failure(protocol.WrongMember, c.names[incarnation][0])
	}
	return c
}

// Run explores until everything is seen, a rule is broken, or a bound is met.
func Run(cfg Config) Result { return newChecker(cfg).explore() }

func (c *checker) explore() Result {
	cfg := &c.cfg
	began := time.Now()
	c.emit = c.visit
	c.parent = none
	for _, w := range c.starts() {
		c.visit(&w)
	}
	lastReport := began
	var w world
	for c.queue.len > 0 && c.result.Violation == nil {
		if cfg.MaxStates > 0 && c.seen.len >= cfg.MaxStates {
			break
		}
		c.expand(&w)
		if c.parent&0xfff == 0 {
			now := time.Now()
			if cfg.Time > 0 && now.Sub(began) > cfg.Time || cfg.Stop != nil && cfg.Stop() {
				break
			}
			if cfg.Progress != nil && now.Sub(lastReport) > time.Second {
				lastReport = now
				cfg.Progress(c.report(began))
			}
		}
	}
	c.result.Exhausted = c.queue.len == 0 && c.result.Violation == nil && !c.overflowed
	return c.report(began)
}

const none = ^uint32(0)

func (c *checker) report(began time.Time) Result {
	r := c.result
	r.States, r.Frontier = c.seen.len, c.queue.len
	r.Locals, r.Computed = len(c.all), c.computed
	r.Seconds = time.Since(began).Seconds()
	for at := c.parent; at != none && at < uint32(len(c.parents)); at = c.parents[at] {
		r.Depth++
	}
	return r
}

// expand takes the first state that waits through all that can happen in it.
func (c *checker) expand(w *world) {
	c.parent++
	c.ordinal = 0
	w.read(c.queue.pop(), (c.cfg.Members+1)&^1)
	for _, t := range c.transitions(w) {
		c.take(w, t)
		if c.result.Violation != nil {
			return
		}
	}
}

// visit counts a transition to w, and if w is new judges and keeps it.
func (c *checker) visit(w *world) {
	if c.result.Violation != nil {
		return
	}
	if c.cfg.InFlight > 0 && w.flying() > c.cfg.InFlight {
		return
	}
	c.ordinal++
	c.result.Transitions++
	c.finish(w)
	c.wordsOf(w)
	if !c.seen.add(key{}.of(c.words)) && w.wrong == 0 {
		return
	}
	c.parents = append(c.parents, c.parent)
	c.ordinals = append(c.ordinals, uint16(c.ordinal))
	c.queue.push(c.words)
	if v := c.judge(w); v != nil {
		v.Trace, v.Story = c.retell()
		c.result.Violation = v
	}
}

// finish brings a new state into its canonical form and notes what it has
// reached. It returns by how many places it has turned it.
func (c *checker) finish(w *world) int {
	by := c.canonical(w)
	if v := c.verdict(w); v.full && v.principals > c.cfg.Successors {
		w.grown = true
	}
	return by
}

func (c *checker) wordsOf(w *world) { c.words = w.words(c.words[:0], (c.cfg.Members+1)&^1) }

// flying counts the questions and answers under way.
func (w *world) flying() int {
	n := 0
	for _, m := range w.messages[:w.n] {
		if m.stage() == asked || m.stage() == answered {
			n++
		}
	}
	return n
}

// starts are the states that the exploration begins with.
func (c *checker) starts() []world {
	n, memory := c.cfg.Members, c.cfg.Memory >= 0
	if c.cfg.Start == Founder {
		w := world{budget: c.budget, hears: memory && len(c.cfg.Steps) > 0}
		w.slots[0], w.incarnations[0] = c.locals.step(c.fresh(0, 1, memory), event{kind: evCreate})[0].next, 1
		return []world{w}
	}
	if c.cfg.Start.rings() {
		return c.twoRings()
	}
	var out []world
	for members := range 1 << n {
		var at []int
		for i := range n {
			if members&(1<<i) != 0 {
				at = append(at, i)
			}
		}
		if c.processes(at) != min(c.cfg.Successors+1, c.half) {
			continue
		}
		w := world{budget: c.budget, hears: memory && len(c.cfg.Steps) > 0}
		c.stand(&w, at, nil, nil)
		out = append(out, w)
	}
	return out
}

// stand makes the members at the places at an ideal ring of w, each with the acquaintances
// pending, of that origin.
func (c *checker) stand(w *world, at, pending []int, o *ring.Origin) {
	for k, i := range at {
		name := func(x int) ring.Member { return c.names[1][c.number(i, x)] }
		s := protocol.Snapshot{Origin: o}
		if len(at) > 1 {
			s.Pred = name(at[(k+len(at)-1)%len(at)])
		}
		for d := 1; d < len(at); d++ { // Restore cuts it
			s.Succ = append(s.Succ, name(at[(k+d)%len(at)]))
		}
		for _, x := range pending {
			s.Pending = append(s.Pending, name(x))
		}
		w.slots[i], w.incarnations[i] = c.restored(i, 1, s, c.cfg.Memory >= 0), 1
	}
}

// twoRings are the starts with two rings.
func (c *checker) twoRings() (out []world) {
	origins := strangers
	if c.cfg.Start == Akin {
		origins = [2]*ring.Origin{ring.NewOrigin(1, []uint64{1, 9}), ring.NewOrigin(2, []uint64{2, 9})}
	}
	total := 1
	for range c.cfg.Members {
		total *= 3
	}
	for number := range total {
		var at [3][]int // the last are vacant
		for i, x := 0, number; i < c.cfg.Members; i, x = i+1, x/3 {
			at[x%3] = append(at[x%3], i)
		}
		if len(at[0]) == 0 || len(at[1]) == 0 {
			continue
		}
		w := world{budget: c.budget, hears: c.cfg.Memory >= 0 && len(c.cfg.Steps) > 0}
		c.stand(&w, at[0], at[1], origins[0])
		c.stand(&w, at[1], at[0], origins[1])
		out = append(out, w)
	}
	return out
}
