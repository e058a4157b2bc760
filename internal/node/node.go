package node

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Config is what a node is made of. All fields from MinMembers on are optional.
type Config struct {
	Self       ring.Member // complete but for the incarnation
	Space      ring.Space
	Settings   ring.Settings
	Successors int
	Interval   time.Duration
	MinMembers int              // fewer that live: isolated; 0: never
	Lease      time.Duration    // by which members own; 0: there are none
	Log        *slog.Logger     // nil: nothing is logged
	OnRange    func(r ring.Arc) // runs on one goroutine with the newest range; nil: none
	Meta       []byte           // what the application says of the member; not modified
	Zone       string           // in which the member is, as ring.CheckZone allows; empty: in none
	Seed       uint64           // of the machine's randomness; 0: drawn
	// Identifiers is how many the process stands at; 0, 1: one, of another kind. With more,
	// Self is the first of them, with its Choice.
	Identifiers int
	// Variants are those of the places, by slots, at which an earlier incarnation stood.
	Variants []uint8
	// Former is the highest earlier incarnation, 0 for none known.
	Former uint64
	// Origin is that of the ring that an earlier incarnation was in, nil for none known.
	Origin *ring.Origin
	// Resolver makes addresses of names given to Join; nil: there are none.
	Resolver *bootstrap.Resolver
	// Remember is told, on one goroutine, of the incarnation, of the origin of the
	// ring, of the members known, none while it is in no ring, and of the variants of where it
	// stands: at the start, when they have changed, and at the end. Nil: nothing is remembered.
	Remember func(incarnation uint64, origin *ring.Origin, members []ring.Member, variants []uint8) error
	// Inspect looks at the node's surroundings, on one goroutine, at the start and
	// every hour. What it finds is logged. Nil, or without a Log: nobody looks.
	Inspect func(context.Context) []Remark
	// Admit says why the other side of a connection is not taken for the member that it
	// claims to be. It is called concurrently. Nil: everybody is.
	Admit func(transport.Claim) error
	// Proven: Admit has the name of whoever answers proved, for verified lookups.
	Proven bool
	// Takeover is for how long the program may take over what this member will own before a
	// join, by the end of ctx; 0: it does not. Nil: never.
	Takeover func(ctx context.Context) time.Duration
	// Prepare has the program take over the arc, which the first of from owns by that epoch.
	// It returns when that is done, or ctx has ended.
	Prepare func(ctx context.Context, at *Node, arc ring.Arc, from []ring.Member, epoch uint64)
	// GivesUp has the program release what it has at an identifier that the process is about to
	// give up while it stays in the ring. It returns when that is done, or ctx has ended. Nil:
	// it has nothing.
	GivesUp func(ctx context.Context, at *Node)
	// FoundAfter is how long a node that comes back after it has drained looks for its ring
	// before it founds one; 0: it never does.
	FoundAfter time.Duration
	// Remains is called when the node was to drain, and does not: it alone holds the ring.
	// Nil: nobody wants to know.
	Remains func()
	// Ended is called once, when the node has ended.
	Ended func()
	// Observer is told what the node does.
	Observer Observer
}

// Node is one member at run time. Its methods may be called concurrently.
//
// A process at several identifiers has a Node for each of them. The first is made by New,
// makes the others, and speaks for all; see stands.go.
type Node struct {
	Finder
	first      *Node       // of the process; nil: it is the first itself
	identities *identities // of the first
	cfg        Config
	timer      *time.Timer
	charting   charting // of the first
	// company is the last view of the process that pointed to others; nil if it is alone. Of the
	// first, for the log.
	company atomic.Pointer[protocol.View]
	onRange serial                   // calls of OnRange
	newest  atomic.Pointer[ring.Arc] // the range to be told of next

	mu        sync.Mutex
	machine   *protocol.Machine
	closed    bool
	token     uint64
	waiting   map[uint64]chan protocol.Respond
	inflight  int
	tells     int
	joinDone  chan []protocol.JoinCause
	departing []chan bool  // to be told that it has left, or that it stays
	stepped   atomic.Int64 // when the machine took its last step, by now
	due       atomic.Int64 // when the machine is to take its next step by itself, by now
	settledAt atomic.Int64 // when the pointers were right last, by now; 0: never since it joined; -1: they are
	leased    atomic.Bool  // it has had a lease since it joined, or there are none
	allLeased atomic.Bool  // of the first: so was every other that had joined, when somebody asked
	assured   atomic.Int64 // when the head last answered for itself, by now; 0: never yet
	cause     netip.Addr   // whose request the machine answers or has asked for; see stepFor
	ended     sync.Once
	fingers   *routing.Fingers
	strayed   chan struct{} // a finger may be gone
	errands   chan struct{} // there are some of the fingers
	tended    *time.Timer   // of the first: begins a round of the fingers, unless one of the member does before
	tendAt    atomic.Int64  // when it is time for that, by now
	view      *protocol.View
	tries     tries
	holding   Holding // since the change before the last
	begun     Holding // since the node began
	changes   uint64  // of what the member answers for, so far
	watchers  map[*watcher]bool
	changed   chan struct{} // closed when the next snapshot is there

	loops     loopGuard
	callbacks callbacks // guarded by mu
}

// New starts a node that is in no ring. It answers over tr from now on and
// closes it when it is closed itself.
func New(cfg Config, tr transport.Transport) *Node {
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	now := time.Now()
	cfg.Self.Incarnation = max(cfg.Former+1, uint64(max(0, now.UnixMilli())))
	ids, own := newIdentities(cfg, tr)
	p := newProcess()
	p.votes = machineConfig(cfg).NewVotes(cfg.Self.Name, 0, 0)
	n := newNode(cfg, p, nil, ids, own)
	ids.begin(n)
	return n
}

// machineConfig is what the machines of the process have in common.
func machineConfig(cfg Config) protocol.Config {
	return protocol.Config{
		Bits: cfg.Space.Bits, Successors: cfg.Successors, Interval: cfg.Interval, MinMembers: cfg.MinMembers, Lease: cfg.Lease,
		Named: cfg.Settings.Cluster != 0, Origin: cfg.Origin,
	}
}

// newNode makes the Node of one identifier. First is nil if it is the first, and ids if it is not.
func newNode(cfg Config, p *process, first *Node, ids *identities, tr transport.Transport) *Node {
	n := &Node{
		identities: ids,
		first:      first,
		cfg:        cfg,
		waiting:    map[uint64]chan protocol.Respond{},
		fingers:    routing.NewFingers(cfg.Self.ID, cfg.Space.Bits),
		strayed:    make(chan struct{}, 1),
		errands:    make(chan struct{}, 1),
		changed:    make(chan struct{}),
		onRange:    serial{most: 1},
	}
	if first == nil {
		p.lead = &n.Finder
	}
	var log *slog.Logger
	if cfg.Log != nil {
		log = cfg.Log.With(slog.String("member", cfg.Self.Name))
	}
	n.begin(p, tr, cfg.Space, cfg.Settings, cfg.Self.ID, cfg.Interval, log, cfg.Admit)
	if first == nil { // the others are found at the process's own address, which may be a name
		n.resolver = cfg.Resolver
	}
	n.observer = cfg.Observer
	n.proven, n.inZone = cfg.Proven, cfg.Zone
	n.lost = func(ev protocol.Lost) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !n.stopped() {
			n.stray(ev.Addr)
			n.brokenMap(ev.Addr)
			n.stepLocked(ev)
		}
	}
	settings := machineConfig(cfg)
	settings.Votes, settings.Charted, settings.Processes = p.votes, n.chartedMember, n.chartProcesses
	n.machine = protocol.New(cfg.Self, settings, cfg.Seed)
	n.watchers = map[*watcher]bool{}
	n.view = &protocol.View{Self: cfg.Self, Phase: protocol.Outside}
	n.snap.Store(&Snapshot{Self: cfg.Self, View: n.view, Next: n.changed})
	n.timer = time.NewTimer(time.Hour)
	n.timer.Stop()
	if first == nil {
		n.tended = time.NewTimer(time.Hour)
		n.tendLater()
		n.beginMap(cfg.Self)
	} else {
		first.shareMap(n)
	}
	tr.Broken(n.broken)
	tr.Serve((*handler)(n))
	n.wg.Go(n.tick)
	if first != nil {
		return n // lookups are those of the first
	}
	n.wg.Go(n.tendFingers)
	n.wg.Go(n.confirmArcs)
	n.inspect(cfg.Inspect)
	if cfg.Remember != nil {
		n.wg.Go(n.remember)
	}
	return n
}

// Addr is where the node's transport receives.
func (n *Node) Addr() string { return n.tr.Addr() }

// Ages are how long ago the machine took its last step, and how long ago the head
// last answered for itself; if it never has, since the node was made. They take no
// lock, so that they tell of a node that hangs.
func (n *Node) Ages() (step, head time.Duration) {
	now := n.now()
	return now - time.Duration(n.stepped.Load()), now - time.Duration(n.assured.Load())
}

// Unsettled is for how long the pointers have not been right, as far as the neighbours have
// said, and whether they ever were since the member has joined. It takes no lock.
func (n *Node) Unsettled() (since time.Duration, ever bool) {
	switch at := n.settledAt.Load(); {
	case at < 0:
		return 0, true
	case at == 0:
		return 0, false
	default:
		return n.now() - time.Duration(at), true
	}
}

// Leased reports whether the process has had a lease at each identifier at which it has joined,
// or needs none. Once true, it is true until the process leaves: what joins later is no matter.
func (n *Node) Leased() bool {
	if n.allLeased.Load() {
		return true
	}
	for _, x := range n.Nodes() {
		if _, ever := x.Unsettled(); (ever || x == n) && !x.leased.Load() {
			return false
		}
	}
	n.allLeased.Store(true)
	return true
}

// tick delivers the machine's wake-ups.
func (n *Node) tick() {
	for {
		select {
		case <-n.timer.C:
			n.round()
		case <-n.ctx.Done():
			n.timer.Stop()
			return
		}
	}
}

// round delivers a wake-up, which begins a round in a member that has joined.
func (n *Node) round() {
	if n.snap.Load().View.Phase == protocol.Joined {
		n.counters.rounds.Add(1)
	}
	n.step(protocol.Tick{})
	if n.first == nil {
		n.paceMap()
		n.paceFingers()
	}
}

// step gives the machine one event and carries out what it wants. It reports
// false if the node is closed.
func (n *Node) step(ev protocol.Event) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped() {
		return false
	}
	n.stepLocked(ev)
	return true
}

// stepFor is stepLocked for an event that a request from that host has caused. What the
// machine asks then, it has caused as well.
func (n *Node) stepFor(cause netip.Addr, ev protocol.Event) {
	n.cause = cause
	n.stepLocked(ev)
	n.cause = netip.Addr{}
}

func (n *Node) stepLocked(ev protocol.Event) {
	n.stepped.Store(int64(n.now()))
	effects := n.machine.Step(n.now(), ev)
	for _, e := range effects {
		if _, ok := e.(protocol.RangeChanged); ok {
			n.changes++ // before anybody can see the view that comes with it
		}
	}
	for _, e := range effects {
		switch e := e.(type) {
		case protocol.Ask:
			n.ask(e)
		case protocol.Tell:
			n.tell(e)
		case protocol.Respond:
			n.callbacks.end(e.Token)
			if ch := n.waiting[e.Token]; ch != nil {
				delete(n.waiting, e.Token)
				ch <- e
			}
		case protocol.WakeAt:
			n.due.Store(int64(e.At))
			n.timer.Reset(max(0, e.At-n.now()))
		case protocol.Publish:
			n.publish(e.View)
		case protocol.RangeChanged:
			n.counters.ranges.Add(1)
			n.logRange(e)
			n.hold(e)
			if e.HasNew {
				n.tellRange(e.New)
			}
		case protocol.Prepare:
			n.prepare(e)
		case protocol.LeaseEnding:
			n.leaseEnds(e.Until)
		case protocol.JoinDone:
			n.logFounding(e.Unanswered)
			if n.joinDone != nil {
				n.joinDone <- e.Causes
				n.joinDone = nil
			}
		case protocol.DepartDone:
			for _, done := range n.departing {
				done <- e.Stays
			}
			n.departing = nil
		case protocol.Stranger:
			n.noteStranger(e)
		case protocol.Suspects:
			n.wg.Go(func() { n.tellOthers(protocol.Silent{Name: e.Who.Name}) })
		case protocol.Reach:
			n.wg.Go(func() { n.tellOthers(e) })
		case protocol.RingMet:
			n.logMeeting(e.By)
			n.observeMeeting(e.By)
		}
	}
}

// publish makes the machine's view the one that others read.
func (n *Node) publish(v *protocol.View) {
	if v.Answered > 0 {
		n.assured.Store(int64(v.Answered))
	}
	if v.Phase != protocol.Joined {
		n.leased.Store(false)
		n.allLeased.Store(false)
	} else if v.Holds && n.now() < v.Until || !v.Leased {
		n.leased.Store(true)
	}
	switch was := n.settledAt.Load(); {
	case v.Phase != protocol.Joined:
		n.settledAt.Store(0)
	case v.Settled:
		n.settledAt.Store(-1)
	case was < 0:
		n.settledAt.Store(int64(n.now()))
	}
	n.logChange(n.view, v)
	n.observeView(n.view, v)
	n.reconcile(n.view, v)
	n.view = v
	n.ownMap(v)
	n.rebuild()
	n.noteCompany(v)
	if v.Phase == protocol.Superseded && n.first != nil {
		n.first.identities.poke() // it is lost
	}
}

// rebuild makes a new snapshot of the view and the fingers.
func (n *Node) rebuild() {
	v := n.view
	s := &Snapshot{Self: v.Self, InRing: v.Phase.InRing(), View: v, Changes: n.changes, Fingers: n.fingers.Distinct()}
	switch {
	case v.Phase == protocol.Superseded:
		s.Absent = ErrSuperseded
	case v.Isolated:
		s.Absent = ErrIsolated
	}
	if v.Serves() {
		s.Table = n.snap.Load().Table.Renew(n.known(v), n.routes(v)...)
	}
	next := make(chan struct{})
	s.Next = next
	n.snap.Store(s)
	close(n.changed)
	n.changed = next
}

// routes are the fingers and acquaintances, without those found silent, as lists that are not
// modified.
func (n *Node) routes(v *protocol.View) [][]ring.Member {
	all := [][]ring.Member{n.fingers.Members(), v.Known, n.beside()}
	suspected, now := n.peers.suspicions(), n.now()
	if len(suspected) == 0 {
		return all
	}
	return [][]ring.Member{slices.DeleteFunc(slices.Concat(all...), func(x ring.Member) bool {
		return suspected.Suspected(x, now)
	})}
}

// tellRange lets OnRange be called with the newest range. A call that waits to
// be made is told the newest range then.
func (n *Node) tellRange(r ring.Arc) {
	if n.cfg.OnRange == nil {
		return
	}
	n.newest.Store(&r)
	n.onRange.put(func() {
		if r := n.newest.Swap(nil); r != nil {
			n.cfg.OnRange(*r)
		}
	})
}

// broken hears from the transport that a connection ended. The member there
// may have gone: lookups go round it for a while.
func (n *Node) broken(addr string) {
	n.counters.broken.Add(1)
	n.arcs.DoubtAddress(addr)
	if g := n.guest.Load(); g != nil {
		g.broken(addr)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped() {
		return
	}
	gone := false
	for _, x := range slices.Concat(n.routes(n.view)...) {
		if x.Addr == addr {
			n.suspect(x, false)
			gone = true
		}
	}
	if gone {
		n.rebuild()
	}
	n.stray(addr)
	n.brokenMap(addr)
	n.stepLocked(protocol.Lost{Addr: addr})
}

// Create makes the node a ring of one, which looks for others at the addresses.
// It reports false if the node is in a ring, joining one, or closed.
func (n *Node) Create(seeds ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped() || n.view.Phase != protocol.Outside || n.joinDone != nil {
		return false
	}
	n.stepLocked(protocol.Create{Seeds: seeds})
	return true
}

// Leave tells the neighbours, goes on answering until they do without this
// member or ctx ends, and closes the node. Returning is in what time the member is to be
// back, 0 if it is not.
func (n *Node) Leave(ctx context.Context, returning time.Duration) error {
	n.leaveOthers(ctx, returning)
	_, err := n.depart(ctx, protocol.Depart{Returning: returning})
	n.Close()
	return err
}

// depart leaves, and waits until that is done or ctx ends. It reports whether the member
// stays, which it can if it was to drain.
func (n *Node) depart(ctx context.Context, ev protocol.Depart) (stays bool, err error) {
	done := make(chan bool, 1)
	n.mu.Lock()
	if n.stopped() {
		n.mu.Unlock()
		return false, nil
	}
	n.departing = append(n.departing, done)
	n.stepLocked(ev)
	n.mu.Unlock()
	select {
	case stays = <-done:
		return stays, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-n.ctx.Done():
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.departing = slices.DeleteFunc(n.departing, func(c chan bool) bool { return c == done })
	return false, err
}

// Close ends the node at once; to the others it has failed. It returns when
// every goroutine of the node has ended and its transport is closed, but waits
// only for a moment for a call into the application: that may be its caller.
func (n *Node) Close() {
	n.closeOthers()
	n.closeThis()
	n.endGuest()
	n.process.end()
	n.ended.Do(func() {
		if n.cfg.Ended != nil {
			n.cfg.Ended()
		}
	})
}

// stopped reports whether the machine takes no step any more. Callers hold mu.
func (n *Node) stopped() bool { return n.closed || n.process.ends.Load() }

// closeThis is Close of one identifier. Each of those that close it at once ends all that may begin
// anything, before it waits for what has begun.
func (n *Node) closeThis() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.endMap()
	n.cancel()
	n.onRange.stop()
	n.Finder.close()
}
