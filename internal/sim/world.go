package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// bits is the width of the circle of every run.
const bits = 64

// epoch is the wall clock's milliseconds at the start of a run.
const epoch = 1_700_000_000_000

// world is one run. It has one goroutine and no map decides anything in it.
type world struct {
	process process
	cfg     Config
	seed    uint64
	now     time.Duration
	queue   Queue[event]

	hosts   []*host
	ring    []int32 // hosts of members that live, clockwise
	clients []int32 // hosts of clients
	net     network

	tables []int32       // hosts whose tables are kept
	oldest int           // in tables
	far    []ring.Member // see routes

	calls       []*call
	freeCalls   []int32
	lookups     []*lookup
	freeLookups []int32

	load     *rand.Rand // which lookups, and other choices of the program that runs
	loading  bool
	faults   []*fault
	churning bool
	sessions *rand.Rand

	claimed    time.Duration // when a member last claimed its arc by another epoch, as maps heard
	quiet      bool
	quietAt    time.Duration
	disturbed  bool // there were faults
	off        int  // members that do not stand as they should
	regroup    bool // who belongs where must be found out again
	groups     [][]int32
	groupsAt   time.Duration
	known      []acquainted // enough to connect all that did since the faults ended
	afterIdeal bool         // lookups must be right
	foundings  []invariant.Founding
	epochs     invariant.Epochs
	owners     owners
	releases   invariant.Releases
	absences   invariant.Absences
	crossed    time.Duration   // when two processes last left at once, or a member began to join
	entering   *protocol.Reply // that the step under way uses; nil: none
	bidden     bool            // the step under way is taken for a Leave
	asked      []int           // how many members answered in each lookup of the load; nil: not kept

	liars []int32    // hosts of hostile members
	mal   *rand.Rand // what they do
	siege siege

	stewards []*steward    // of processes whose weight has changed
	stopped  time.Duration // when a process ended last

	count  counts
	trace  uint64
	result *Result
	one    [1]protocol.State // for judging one member
	claim  [1]invariant.Claim
	steps  []invariant.ChangeRule
	story  story
}

// counts are totals of a run.
type counts struct {
	requests [int(protocol.Leave) + 1]int
	routes   int
	maps     int // requests of maps
	mapBytes int // of these and their answers
	timeouts int
	events   int
	joined   int
	lies     int // messages that hostile members have sent of their own
	refused  int // messages refused as not from who they say they are
}

func (c *counts) maintenance() int {
	n := 0
	for _, k := range c.requests {
		n += k
	}
	return n
}

func newWorld(cfg Config, seed uint64) *world {
	stream := func(of string) *rand.Rand {
		return rand.New(rand.NewPCG(seed, ring.SHA256([]byte(of))))
	}
	w := &world{cfg: cfg, seed: seed, load: stream("load"), sessions: stream("sessions"), trace: seed, result: &Result{Seed: seed}}
	w.steps = cfg.steps()
	w.net.rng, w.mal = stream("network"), stream("hostile")
	w.net.latency = cfg.Latency.orDefault()
	if cfg.Latency == (Latency{}) && cfg.Faults&(Slow|Reorder) != 0 {
		w.net.latency = []Latency{
			w.net.latency,
			{LogNormal, 20 * time.Millisecond, 60 * time.Millisecond},
			{Pareto, 10 * time.Millisecond, 2 * time.Second},
			{Distance, time.Millisecond, 150 * time.Millisecond},
		}[seed%4]
	}
	return w
}

// host adds an address with nobody there yet.
func (w *world) host(name string, id uint64) *host {
	i := len(w.hosts)
	at := mix(w.seed ^ mix(uint64(i)+1))
	h := &host{
		index: int32(i), name: name, of: name, addr: hostAddr(i), id: id, home: -1,
		x: float32(at>>40) / (1 << 24), y: float32(at<<24>>40) / (1 << 24),
	}
	h.chart = &chart{hosts: []*host{h}}
	w.hosts = append(w.hosts, h)
	return h
}

// hashed adds an address and a name that hashes to its identifier.
func (w *world) hashed() *host {
	name := hostName(len(w.hosts))
	return w.host(name, ring.SHA256([]byte(name)))
}

// newcomer adds a member: a process, or the next identifier of one.
func (w *world) newcomer() *host {
	h := w.hashed()
	if k := len(w.cfg.Identifiers); k > 0 {
		if w.process.left == 0 {
			w.process.all = w.cfg.Identifiers[w.process.count%k]
			w.process.left, w.process.name, w.process.chart = w.process.all, h.name, &chart{}
			w.process.count++
		}
		h.of = w.process.name
		if w.process.all > 1 {
			h.chose = ring.Chosen(w.process.all-w.process.left, 0)
		}
		h.chart = w.process.chart
		h.chart.hosts = append(h.chart.hosts, h)
		w.process.left--
		if h.first().hostile != nil {
			w.corrupt(h)
		}
	}
	return h
}

// process is the one that the next newcomer is an identifier of, if it has any left.
type process struct {
	name             string
	all, left, count int
	chart            *chart
}

// self is the member that a process started now at h is.
func (w *world) self(h *host) ring.Member {
	m := ring.Member{
		ID: h.id, Name: h.of, Addr: h.addr, Incarnation: epoch + uint64((w.now+h.clock)/time.Millisecond), Choice: h.chose,
	}
	if h.chose.Several() {
		m.Home = ring.SHA256([]byte(h.of))
	}
	return m
}

func (w *world) machine(h *host) protocol.Config {
	return protocol.Config{Charted: w.charts(h), Processes: w.mapProcesses(h), Bits: bits, Successors: w.cfg.Successors, Interval: w.cfg.Interval, MinMembers: w.cfg.MinMembers, Lease: w.cfg.Lease, Votes: h.chart.votes}
}

// start runs a process at h: outside of every ring, or standing as told.
func (w *world) start(h *host, at *protocol.Snapshot) {
	h.up, h.silent, h.leaving, h.wake = true, false, false, 0
	h.starts++
	h.ticks, h.takes, h.standIns = w.clockOf(h), takeover{}, protocol.StandIns{}
	seed := mix(w.seed ^ mix(uint64(h.index)<<20|uint64(h.starts)))
	self := w.self(h)
	w.beginVotes(h, at != nil)
	if at == nil {
		w.crossed = w.now
		h.m = protocol.New(self, w.machine(h), seed)
	} else {
		h.m = protocol.Restore(self, w.machine(h), seed, *at)
	}
	s := h.m.State()
	h.view = &protocol.View{Self: self, Phase: s.Phase, Pred: s.Pred, Succ: s.Succ, Origin: s.Origin, Certain: -1, Epoch: s.Epoch, Alone: at != nil && len(s.Succ) == 0 && s.Pred.IsZero()}
	if at != nil {
		h.incarnations = append(h.incarnations, self.Incarnation)
		if w.cfg.Start == "former-lives" {
			h.incarnations = append(h.incarnations, self.Incarnation-1)
		}
		h.view.Known = at.Known
		h.view.Isolated = h.view.Living() < w.cfg.MinMembers
		switch {
		case h.view.Isolated: // it has held nothing yet
		case !s.Pred.IsZero():
			h.view.Arc, h.view.HasArc = ring.Arc{After: s.Pred.ID, To: h.id}, true
		case h.view.Alone:
			h.view.Arc, h.view.HasArc = ring.Arc{After: h.id, To: h.id}, true
		}
	}
	h.table, h.stale, h.due, h.wakes, h.rests, h.before = nil, true, 0, invariant.Wakes{}, invariant.Rests{}, ring.Member{}
	h.asks, h.waiting, h.links, h.common, h.suspects = 0, nil, nil, peer.Estimate{}, nil
	if h.heard = nil; w.cfg.Members <= maxWatched {
		h.heard = map[ring.Instance]bool{}
	}
	if h.ringMap = nil; w.cfg.Maps {
		w.beginMap(h, self)
	}
	h.fingers, h.errand = routing.NewFingers(h.id, bits), false
	h.arcs, h.confirm, h.held = nil, false, nil
	w.holds(h)
	if at != nil {
		w.leaseAtStart(h)
		w.judgeClaim(h)
		w.owning(h)
	}
	h.tick = -1
	if !w.cfg.NoFingers {
		w.fingersLater(h)
	}
	w.enrol(h)
	w.regroup = true
	if h.hostile != nil {
		h.hostile.turns = false
		w.nextTurn(h)
	}
}

// stop ends the process at h. Connections to it break, unless nobody is there
// to say so.
func (w *world) stop(h *host, silent bool) {
	if !h.up {
		return
	}
	h.up, h.silent = false, silent
	w.stopped = w.now
	w.owners.drop(h.index)
	w.strike(h)
	w.unheard()
	w.regroup = true
	for i, c := range w.calls {
		switch {
		case !c.open:
		case c.held && c.to == h.index && c.toStarts == h.starts:
			c.held = false
			if !silent {
				w.back(int32(i), unreachable)
			}
		}
	}
	for i, l := range w.lookups {
		if l.open && l.host == h.index {
			w.closeLookup(ref{int32(i), l.gen})
		}
	}
	h.m, h.view, h.table, h.links, h.suspects, h.waiting, h.fingers, h.heard, h.arcs, h.held = nil, nil, nil, nil, nil, nil, nil, nil, nil, nil
	h.replaced = ring.Member{}
	w.endMap(h)
	w.ended(h)
	if silent {
		return // nobody is told
	}
	slices.Sort(h.callers)
	h.callers = slices.Compact(h.callers)
	for _, i := range h.callers {
		g := w.hosts[i]
		if !g.up {
			continue
		}
		if p := g.link(h.index); p != nil && w.connected(p) {
			if d, ok := w.transit(h, g); ok {
				w.queue.Push(w.now+d, event{kind: evBroken, host: g.index, slot: h.index, gen: g.starts})
			}
		}
	}
}

// broken tells the process at h that its connection to another broke.
func (w *world) broken(h *host, to *host) {
	p := h.link(to.index)
	if p == nil || !p.open {
		return
	}
	p.open = false
	if h.client != nil {
		if h.arcs != nil {
			h.arcs.DoubtAddress(to.addr)
		}
		return
	}
	for _, x := range w.routes(h) {
		if x.Addr == to.addr {
			h.suspect(x, false, w.now, w.cfg.Interval)
			w.renewed(h)
			break
		}
	}
	if h.arcs != nil {
		h.arcs.DoubtAddress(to.addr)
	}
	w.stray(h, to.addr)
	w.mapBroken(h, to)
	w.step(h, protocol.Lost{Addr: to.addr})
}

// step gives the machine at h an event and carries out what it wants.
func (w *world) step(h *host, ev protocol.Event) {
	old := h.view
	heard := heardHead(h, ev)
	asked, ok := ev.(protocol.Asked)
	w.bidden = ok && asked.Request.Kind == protocol.Leave
	w.entering = nil
	if a, ok := ev.(protocol.Answer); ok && a.Failure == nil {
		w.entering = &a.Reply
	}
	w.hung(h)
	effects := h.m.Step(h.ticks.shows(w.now), ev)
	told := false
	var suspects ring.Member
	var reaches []protocol.Reach
	for _, e := range effects {
		switch e := e.(type) {
		case protocol.Suspects:
			suspects = e.Who
		case protocol.Reach:
			reaches = append(reaches, e)
		case protocol.Ask:
			if e.Request.Kind == protocol.AskRing {
				h.rests.Asked()
			}
			w.ask(h, e)
		case protocol.Tell:
			if !e.To.Anyone() {
				w.tell(h, e)
			}
		case protocol.Respond:
			w.judgeVotes(h, e.Reply.State.Lease.Votes)
			w.respond(e)
		case protocol.WakeAt:
			h.tick, h.due = max(w.now, h.ticks.when(e.At)), e.At
			w.queue.Push(h.tick, event{kind: evTick, host: h.index, gen: h.starts})
		case protocol.Publish:
			w.published(h, w.inTime(h, e.View))
		case protocol.RangeChanged:
			if e.Cause == protocol.CauseCreated && h.join.found > 0 {
				w.founded(h)
			}
			told = true
			w.rangeChanged(h, e)
		case protocol.Prepare:
			w.prepare(h, e)
		case protocol.JoinDone:
			w.joinDone(h, e.Causes)
		case protocol.DepartDone:
			if w.departed(h, e.Stays); !h.leaving {
				break
			}
			w.queue.Push(w.now, event{kind: evStop, host: h.index, gen: h.starts})
		}
	}
	w.judgeDoubt(h)
	w.judgeOwning(h)
	if heard != nil {
		w.judgeHeard(h, old, heard, told)
	}
	clear(effects) // what the machine keeps of them is a tenth of it
	if v := h.view; h.up && h.ringMap != nil && (v.Epoch != old.Epoch || v.Arc != old.Arc || v.HasArc != old.HasArc || v.Isolated != old.Isolated || v.Phase != old.Phase || v.Self != old.Self) {
		w.owning(h)
	}
	w.suspected(h, suspects)
	for _, ev := range reaches {
		w.reached(h, ev)
	}
}

// published takes what others may read of a member from now on, and judges it.
func (w *world) published(h *host, v *protocol.View) {
	old := h.view
	h.view = v
	w.reconcile(h, old)
	moved := v.Version != old.Version || v.Phase != old.Phase || v.Self != old.Self
	if !moved && !h.stale && h.table != nil && len(h.waiting) == 0 && slices.Equal(v.Known, old.Known) && v.Alone == old.Alone {
		h.table.Certain = v.Certain // all else of the table stands
		return
	}
	w.renewed(h)
	if !moved {
		return
	}
	if v.Epoch != old.Epoch {
		w.judgeClaim(h)
	}
	w.mix(uint64(h.index), v.Pred.ID, v.Version)
	for _, s := range v.Succ {
		w.mix(s.ID, s.Incarnation)
	}
	if v.Phase.InRing() && (!old.Phase.InRing() || v.Self != old.Self) || v.Phase == protocol.Joining {
		if n := len(h.incarnations); n == 0 || h.incarnations[n-1] != v.Self.Incarnation {
			h.incarnations = append(h.incarnations, v.Self.Incarnation)
		}
	}
	if v.Phase != old.Phase {
		w.strike(h)
		if w.enrol(h); !v.Phase.InRing() {
			w.unheard()
		}
		w.regroup = true
		if v.Phase == protocol.Joined {
			h.since = w.now
		}
		w.story.add(w, "%s is %v", h.name, v.Phase)
		w.leads(h)
	}
	if h.hostile == nil {
		w.judgeState(h)
		w.judgeStep(h, old)
		w.entered(h, old)
		w.judgePlace(h, old)
	}
	if w.quiet {
		w.stands(h)
	}
	if w.story.on {
		w.story.add(w, "%s: %s", h.name, pointers(v))
	}
}

// judgeState holds a member's state against the rules of every state.
func (w *world) judgeState(h *host) {
	v := h.view
	w.one[0] = protocol.State{Self: v.Self, Phase: v.Phase, Pred: v.Pred, Succ: v.Succ}
	r := invariant.Ring{Members: w.one[:], Successors: w.cfg.Successors}
	if v.HasArc && !v.Isolated { // else it is what it held before
		w.claim[0] = invariant.Claim{By: v.Self, Arc: v.Arc, Alone: v.Alone}
		r.Claims = w.claim[:]
	}
	for i := range always {
		if broken := always[i].Broken(r); broken != "" {
			w.violate(always[i].Name, broken)
		}
	}
	if v.Phase == protocol.Superseded && v.HasArc {
		w.violate("superseded-owns-nothing", h.name+" is superseded and has a range")
	}
	if w.liars != nil {
		return // of whom they name nothing can be said until they have answered
	}
	if v.Pred != (ring.Member{}) && !w.lived(v.Pred) {
		w.violate("no-phantoms", fmt.Sprintf("the predecessor of %s is %v, who never was", h.name, v.Pred))
	}
	for _, x := range v.Succ {
		if !w.lived(x) {
			w.violate("no-phantoms", fmt.Sprintf("%s lists %v, who never was", h.name, x))
		}
	}
	if w.cfg.Start == strangers {
		w.judgeApart(h)
	}
}

// judgeApart holds whom a member lists against the rule of rings that have nothing in
// common.
func (w *world) judgeApart(h *host) {
	states := []protocol.State{{Self: h.view.Self, Phase: h.view.Phase, Succ: h.view.Succ, Origin: h.view.Origin}}
	for _, x := range h.view.Succ {
		if i := number(x.Addr); i >= 0 && int(i) < len(w.hosts) && w.hosts[i].inRing() {
			v := w.hosts[i].view
			states = append(states, protocol.State{Self: v.Self, Phase: v.Phase, Origin: v.Origin})
		}
	}
	r := invariant.NewRing(w.cfg.Successors, states)
	for _, rule := range []invariant.Rule{invariant.RingsApart, invariant.OriginsApart(unrelated[0], unrelated[1])} {
		if broken := rule.Broken(r); broken != "" {
			w.violate(rule.Name, broken)
		}
	}
}

var always = append(invariant.Always(), invariant.WholeCircle, invariant.FromPredecessor)

// lived reports whether x is an incarnation that was, or tried to be, a member.
func (w *world) lived(x ring.Member) bool {
	i := number(x.Addr)
	if i < 0 || int(i) >= len(w.hosts) {
		return false
	}
	h := w.hosts[i]
	return h.id == x.ID && h.of == x.Name && (h.hostile != nil || slices.Contains(h.incarnations, x.Incarnation))
}

// mix adds what happened to the trace.
func (w *world) mix(xs ...uint64) {
	for _, x := range xs {
		w.trace = mix(w.trace*0x9e3779b97f4a7c15 ^ x)
	}
}

// run lets events happen until a time, or until done says so.
func (w *world) run(until time.Duration, done func() bool) {
	for w.queue.Due(until) {
		if done != nil && done() {
			return
		}
		var e event
		w.now, e = w.queue.Pop()
		w.happen(e)
	}
	if done == nil || !done() {
		w.now = until
	}
}

// postpone keeps what comes to a process that hangs until it wakes.
func (w *world) postpone(e event, h *host) {
	if e.kind == evRequest {
		c := w.live(e.slot, e.gen)
		if c == nil {
			return
		}
		if h.wake >= c.end {
			// The asker does not wait so long.
			k := w.copyOf(e.slot)
			w.expire(e.slot)
			e.slot, e.gen = k, w.calls[k].gen
		}
	}
	w.queue.Push(h.wake, e)
}

// happen lets one event happen.
func (w *world) happen(e event) {
	w.count.events++
	var h *host
	if e.host >= 0 {
		h = w.hosts[e.host]
		if h.up && w.now < h.wake && e.kind <= evGiveUp {
			w.postpone(e, h)
			return
		}
	}
	w.trace = mix(w.trace ^ uint64(w.now)<<8 ^ uint64(e.kind) ^ uint64(e.host)<<40)
	switch e.kind {
	case evRequest, evReply, evTimeout:
		w.calling(e)
	case evResume, evGiveUp, evImpatient:
		if l := w.lookupOf(ref{e.slot, e.gen}); l != nil && l.host == e.host {
			w.lookingUp(h, e)
		}
	case evLoad:
		w.nextLookup()
	case evLook:
		w.look()
	case evStand:
		if w.stewards[e.slot].again == e.gen {
			w.stand(e.slot)
		}
	case evAction:
		w.begin(w.faults[e.slot])
	case evActionEnd:
		w.end(w.faults[e.slot])
	case evBack:
		w.comeBack(h, e.slot)
	case evStart:
		if !h.up {
			w.launch(h)
		}
	default:
		if h != nil && h.up && h.starts == e.gen {
			w.living(h, e)
		}
	}
}

// calling lets an event of a call happen, if the call is not over.
func (w *world) calling(e event) {
	c := w.live(e.slot, e.gen)
	switch {
	case c == nil:
	case e.kind == evRequest:
		w.arrived(e.slot)
	case e.kind == evReply:
		w.answered(e.slot, c.failure)
	case e.kind == evTimeout:
		w.answered(e.slot, timedOut)
	}
}

// lookingUp lets an event of a lookup of h happen, which is under way.
func (w *world) lookingUp(h *host, e event) {
	l := ref{e.slot, e.gen}
	switch e.kind {
	case evResume:
		w.resumed(h, l)
	case evGiveUp:
		w.lookupOver(h, l, errDeadline, routing.Answer{})
	case evImpatient:
		w.impatient(h, l)
	}
}

// living lets an event of h happen, if the process that the event is of still runs.
func (w *world) living(h *host, e event) {
	switch e.kind {
	case evTick:
		switch {
		case h.tick > w.now:
		case w.stalls(h):
			w.queue.Push(w.now+w.cfg.Interval, e)
		default:
			h.tick = 1 << 62
			w.step(h, protocol.Tick{})
			w.judgeRound(h)
			if h.ringMap != nil && h == h.chart.hosts[0] {
				h.ringMap.Tick(w.now)
				w.mapped(h)
			}
		}
	case evBroken:
		w.broken(h, w.hosts[e.slot])
	case evFingers:
		w.tendFingers(h)
	case evErrand:
		h.soon = false
		w.tendFinger(h)
	case evJoin:
		w.tryJoin(h)
	case evJoinLimit:
		w.joinTimeUp(h, int(e.slot))
	case evSeek:
		w.seek(h)
	case evConfirm:
		w.confirmArcs(h)
	case evStop:
		if h.leaving {
			w.stop(h, false)
		}
	case evSession:
		w.sessionOver(h)
	case evLie:
		w.turn(h)
	case evMap:
		w.tickMap(h)
	case evTaken:
		w.taken(h, e.slot)
	case evTakenLate:
		w.takenLate(h, e.slot)
	case evStandIn:
		w.standInOver(h)
	}
}
