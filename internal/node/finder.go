package node

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/voting"
	"github.com/ollelogdahl/concord/internal/workers"
)

// Finder is what finds owners: from memory, and by asking over a transport. A Node
// is one, and so is a Client, which is no member. Its methods may be called
// concurrently.
type Finder struct {
	*process

	tr       transport.Transport
	space    ring.Space
	settings ring.Settings
	resolver *bootstrap.Resolver // of what members are found by; nil: addresses only
	origins  atomic.Pointer[map[string]origin]
	// lease is how long the confirmation of an arc may answer lookups here at most,
	// and suspicion how long a member that did not answer is avoided by them.
	lease, suspicion time.Duration
	// isMet and believes are met and believed, and roundTrip how long a member takes, which
	// lookups are given.
	isMet     func(ring.Member) bool
	believes  func(uint64) (ring.Member, ring.Arc)
	roundTrip func(ring.Member) time.Duration

	hosts    func(ctx context.Context, network, host string) ([]netip.Addr, error)
	arcs     *routing.Arcs
	chart    atomic.Pointer[ringmap.Snapshot] // of the whole ring; nil: there is no map
	promised atomic.Int64                     // how old what the chart answers is at most
	usedMap  atomic.Bool                      // a lookup has asked the chart
	used     func()                           // hears that the first has since usedMap was reset; nil: nobody
	tellMap  func(uint64, ring.Instance)      // tells the chart who was named as the owner of an identifier; nil: there is no map
	// confirmed hears that an owner has confirmed its arc, and struck who has proved not
	// to be one; nil: nobody.
	confirmed func(ring.Member, ring.Arc)
	struck    func(func(ring.Member) bool)
	charts    wakers // of those who wait for the next chart

	learned  chan struct{} // there is news for confirmArcs
	watching atomic.Bool   // confirmArcs looks soon, without news
	snap     atomic.Pointer[Snapshot]
	stands   atomic.Pointer[stands] // at which the process is; nil: at one
	guest    atomic.Pointer[Client] // that finds owners while the process has drained; nil: it never has
	observer Observer               // told of what happens; nothing in it changes
	log      *slog.Logger           // nil: nothing is logged
	looks    serial                 // at the node's surroundings
	lost     func(protocol.Lost)    // hears whom a question has shown to be gone; nil: nobody
	heard    func(ring.Member)      // hears of each member that has answered a lookup; nil: nobody
	// waits counts the lookups that have nobody left to ask and wait for a newer
	// snapshot; stuck hears of each that begins to. A nil stuck: one comes anyway.
	waits atomic.Int64
	stuck func()

	founding  atomic.Bool  // this member looks for a ring, and for others to found one with
	inZone    string       // of this member
	proven    bool         // whoever answers has its name proved
	behind    atomic.Bool  // this process's clock, see horizon
	refusedAt atomic.Int64 // when a refused incarnation was logged last, by now; 0: never

	// ctx ends with the Finder's life; wg counts its goroutines.
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	joint joint // questions of several lookups

	boarding sync.Mutex // guards all below
	flights  map[ring.Instance]*flight
	hurried  int // questions of lookups that can outlast them
	ended    bool
	idle     int // connections kept that nobody uses
	owners   int // and those besides, for as many owners of arcs that hold
}

// process is what the members of one process share, at however many identifiers it stands:
// what it knows of others, and what it tells of itself.
type process struct {
	start    time.Time // time counts from here
	lead     *Finder   // of the first, which keeps the map of all; nil: of a client
	peers    *peers
	dials    dials
	counters counters
	news     serial        // calls of the functions of the observer that take no context
	journal  serial        // calls of the log
	failures failures      // of questions to others
	refusals failures      // of what others asked, and of their connections
	votes    *voting.Votes // nil: without leases or MinMembers
	leavers  leavers       // whose silence is no news for the log
	checked  checked
	ends     atomic.Bool   // none of its members takes a step any more
	carriers *workers.Pool // for requests on the machine's account, and on the map's
}

// carriers is how many goroutines of a process wait for the next request to make: at rest there
// is one at a time.
const carriers = 1

func newProcess() *process {
	return &process{
		start: time.Now(), peers: newPeers(), carriers: workers.New(carriers),
		news: serial{most: maxNews, drain: true}, journal: serial{most: maxRecords, drain: true},
	}
}

// Snapshot is an immutable picture of what a Finder finds owners by, at one time.
type Snapshot struct {
	Self   ring.Member // zero: a client
	InRing bool        // as a member
	// Table is nil if no lookup can begin. Absent says why; a nil Absent: for want of a
	// ring.
	Table  *routing.Table
	Absent error
	// Next is closed when a newer snapshot is there.
	Next <-chan struct{}

	// Of a Node only. A client has neither.
	View    *protocol.View
	Changes uint64 // of what it answers for, so far
	Fingers []routing.Finger
}

// initialIdle is how many connections a Finder keeps before it knows how large the
// ring is.
const initialIdle = 16

// maxRecords bounds how many records wait for the log handler.
const maxRecords = 1024

func (fd *Finder) begin(p *process, tr transport.Transport, space ring.Space, settings ring.Settings, self uint64, interval time.Duration, log *slog.Logger, admit func(transport.Claim) error) {
	fd.process, fd.log = p, log
	fd.tr, fd.space, fd.settings = tr, space, settings
	fd.isMet, fd.believes = fd.met, fd.believed
	fd.roundTrip = func(x ring.Member) time.Duration { return fd.peers.of(x.Addr).RoundTrip() }
	fd.lease = routing.Lease(interval)
	fd.suspicion = peer.SuspicionTime(interval)
	fd.hosts = net.DefaultResolver.LookupNetIP
	fd.arcs = routing.NewArcs(self, space.Bits, routing.MaxArcs)
	fd.learned = make(chan struct{}, 1)
	fd.idle = initialIdle
	fd.flights = map[ring.Instance]*flight{}
	fd.looks = serial{most: 1}
	fd.ctx, fd.cancel = context.WithCancel(context.Background())
	tr.Refused(fd.refused)
	if admit != nil {
		tr.Admit(func(c transport.Claim) error {
			err := admit(c)
			if err != nil {
				fd.counters.denied.Add(1)
			}
			return err
		})
	}
}

// close closes the transport and returns when every goroutine has ended.
func (fd *Finder) close() {
	fd.boarding.Lock()
	fd.ended = true
	fd.boarding.Unlock()
	fd.cancel()
	fd.tr.Close()
	fd.wg.Wait()
	fd.looks.stop()
}

// end makes the calls into the application that wait, and makes none after it.
func (p *process) end() {
	p.news.stop()
	p.journal.stop()
	p.carriers.Close()
}

// carry runs f, a request that the node makes, beside the others.
func (fd *Finder) carry(f func()) {
	fd.wg.Add(1)
	fd.carriers.Go(func() {
		defer fd.wg.Done()
		f()
	})
}

func (fd *Finder) now() time.Duration { return time.Since(fd.start) }

// Snapshot returns the newest picture of the finder.
func (fd *Finder) Snapshot() *Snapshot { return fd.snap.Load() }
