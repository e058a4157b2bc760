// Package memory connects the members of one process and makes the faults of a
// network between them: latency, loss, cuts in one direction, stopped and
// vanished processes. It is for tests.
//
// It knows time by the clock and timers, and waits on channels only, so that a Network that
// was made inside a testing/synctest bubble runs on the bubble's clock.
//
// What members say to each other is copied on the way in both directions, and
// an empty list arrives as nil, as it does from a wire. A request or a reply is
// one packet, and so is either half of a round trip of ConnectDelay. Unlike TCP,
// a packet is neither sent again when it is lost nor kept in order with others.
//
// A request that waited for a paused process is handled after Resume even if its
// asker has given up, with a context that has ended. A handler at work when its
// process is paused goes on, and its reply waits.
package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/fault"
)

// Network is what transports made by its Listen reach each other over. The
// zero Network is of no use; NewNetwork makes one, without faults. All methods
// may be called concurrently, with each other and with those of the transports;
// a fault takes effect for packets from then on. A Network owns no goroutine.
type Network struct {
	*fault.Faults
	seed uint64

	mu        sync.Mutex // guards all below and the state of every transport; held only briefly
	rng       *rand.Rand // which backend of a load balancer
	listeners map[string]*Transport
	askers    map[string]*Transport // the listeners, and the clients
	fresh     int                   // the last port given to an empty address
	uses      uint64                // orders the uses of connections
	balanced  map[string][]string   // the backends of a load balancer's address
	trips     int                   // round trips before the first request of a connection
	made      int                   // connections
	refusing  map[string]bool
}

// NewNetwork makes a network without faults. The seed decides what it draws;
// the order of the draws is up to the scheduler.
func NewNetwork(seed uint64) *Network {
	return &Network{
		Faults:    fault.New(seed),
		seed:      seed,
		rng:       rand.New(rand.NewPCG(seed, 1)),
		listeners: make(map[string]*Transport),
		askers:    make(map[string]*Transport),
		balanced:  make(map[string][]string),
		refusing:  make(map[string]bool),
	}
}

// Listen makes a transport that receives at addr, which is host:port and not in
// use. An empty addr stands for one that was never given out: "mem:1", "mem:2"
// and so on. The caller closes the transport.
func (n *Network) Listen(addr string) (*Transport, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t, err := n.open(addr)
	if err != nil {
		return nil, fmt.Errorf("memory: listen: %w", err)
	}
	n.listeners[t.addr] = t
	return t, nil
}

// Client makes a transport that only asks. The network knows it by from, host:port,
// as far as delays and faults go; nobody can reach it there. The caller closes it.
func (n *Network) Client(from string) (*Transport, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t, err := n.open(from)
	if err != nil {
		return nil, fmt.Errorf("memory: client: %w", err)
	}
	t.asksOnly = true
	return t, nil
}

// Made is how many connections were made, or begun to be.
func (n *Network) Made() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.made
}

var _ transport.Network = (*Network)(nil)

// OpenMember implements transport.Network by Listen, at the address that others
// will ask for. Port 0 stands for a port that was never given out. What is said
// of TLS is not used: nothing is encrypted here.
func (n *Network) OpenMember(o transport.Options) (transport.Transport, error) {
	bound := o.Bind
	if host, port, err := net.SplitHostPort(bound); err == nil && port == "0" {
		n.mu.Lock()
		n.fresh++
		bound = net.JoinHostPort(host, strconv.Itoa(n.fresh))
		n.mu.Unlock()
	}
	tr, err := n.Listen(transport.Advertised(o.Advertise, bound))
	if err != nil {
		return nil, err
	}
	tr.opts = o
	return tr, nil
}

// OpenClient implements transport.Network by Client, at a fresh address.
func (n *Network) OpenClient(o transport.Options) (transport.Transport, error) {
	tr, err := n.Client("")
	if err != nil {
		return nil, err
	}
	tr.opts = o
	return tr, nil
}

// Seed implements transport.Network: it is made of the network's own.
func (n *Network) Seed(name string) uint64 { return fault.Seed(n.seed, name) }

// Listens reports whether somebody receives at addr.
func (n *Network) Listens(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.listeners[addr] != nil
}

// open makes a transport at addr. Callers hold mu.
func (n *Network) open(addr string) (*Transport, error) {
	for addr == "" {
		n.fresh++
		if a := fmt.Sprintf("mem:%d", n.fresh); n.askers[a] == nil {
			addr = a
		}
	}
	if err := ring.CheckAddress(addr); err != nil {
		return nil, err
	}
	if n.askers[addr] != nil {
		return nil, fmt.Errorf("address %q is in use", addr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &Transport{
		net:     n,
		addr:    addr,
		ctx:     ctx,
		end:     cancel,
		serving: make(chan struct{}),
		limit:   -1,
		conns:   make(map[endpoint]*conn),
		retired: make(map[*conn]bool),
		sent:    Requests{Maintain: make(map[protocol.RequestKind]uint64)},
	}
	n.askers[addr] = t
	return t, nil
}

// listener is who listens at addr, nil if nobody does. Callers hold mu.
func (n *Network) listener(addr string) *Transport {
	if n.refusing[addr] {
		return nil
	}
	return n.listeners[addr]
}

// Balance makes addr that of a load balancer: each connection to it leads to one of
// the backends at which somebody listens, drawn anew, perhaps to the asker itself. With
// one backend it is a name that has come to stand for another host. Connections that are
// open stay as they are. Without backends addr leads to who listens there again. Delays
// and cuts are those of addr.
func (n *Network) Balance(addr string, backends ...string) {
	n.set(func() {
		if len(backends) == 0 {
			delete(n.balanced, addr)
			return
		}
		n.balanced[addr] = slices.Clone(backends)
	})
}

// Break ends every connection that was made to addr, and those who made them are told.
func (n *Network) Break(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, from := range slices.Sorted(maps.Keys(n.askers)) {
		asker := n.askers[from]
		for _, c := range asker.conns {
			if c.addr == addr && c.peer != nil && !c.over {
				n.breakConn(asker, c)
			}
		}
	}
}

// reached is whom a request on c reaches, nil if nobody listens. Callers hold mu.
func (n *Network) reached(c *conn) *Transport {
	if c.peer != nil {
		return n.listener(c.peer.addr)
	}
	backends, ok := n.balanced[c.addr]
	if !ok {
		return n.listener(c.addr)
	}
	var live []*Transport
	for _, addr := range backends {
		if t := n.listener(addr); t != nil {
			live = append(live, t)
		}
	}
	if len(live) == 0 {
		return nil
	}
	return live[n.rng.IntN(len(live))]
}

// reset breaks every connection to t: requests on them fail, and their askers
// are told. Callers hold mu.
func (n *Network) reset(t *Transport) {
	for _, addr := range slices.Sorted(maps.Keys(n.askers)) {
		asker := n.askers[addr]
		for _, c := range asker.conns {
			if c.peer == t && !c.over {
				n.breakConn(asker, c)
			}
		}
		for c := range asker.retired {
			if c.peer == t && !c.over {
				c.end()
			}
		}
	}
}

// breakConn ends a connection of asker, which is told once the news has come. Callers
// hold mu.
func (n *Network) breakConn(asker *Transport, c *conn) {
	c.end()
	from := c.peer.addr
	asker.spawn(func() {
		if n.Travel(asker.ctx, from, asker.addr, false) && n.Awake(asker.ctx, asker.addr) {
			asker.drop(c)
		}
	})
}

// redialAfter is how old a connection that leads to another than the member asked for
// must be before a question for that member replaces it.
const redialAfter = time.Second

// endpoint is where a connection leads, and the number of the question that it is
// for; zero: it is shared by all questions to a member.
type endpoint struct {
	addr     string
	question uint64
}

// conn is one transport's connection to an address. The network's mu guards it.
type conn struct {
	endpoint
	made  time.Time
	peer  *Transport    // whom it was made to, nil while it is being opened
	broke chan struct{} // closed when peer ended it
	over  bool          // broke is closed
	users int           // requests on their way
	used  uint64        // when last, in the network's uses
	// astray: it does not lead to the member that it was asked for, but to by; zero:
	// to nobody who says who it is.
	astray bool
	by     ring.Member
}

// end breaks c. Callers hold the network's mu.
func (c *conn) end() {
	c.over = true
	close(c.broke)
}

// old reports whether c may be replaced because it leads to another member.
func (c *conn) old() bool { return time.Since(c.made) >= redialAfter }

// serves reports whether a question for who may go on c. Callers hold the network's mu.
func (c *conn) serves(who ring.Member) bool {
	return !c.astray || c.by.ID == who.ID && !c.by.IsZero() || !c.old()
}

// acquire is the connection to a member, with one more user: a new one if there is
// none that serves it, or if whoever is at the address is asked. Reused: it was there.
func (t *Transport) acquire(to ring.Member) (c *conn, reused bool) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	at := endpoint{addr: to.Addr}
	t.net.uses++
	if to.Anyone() {
		at.question = t.net.uses
	}
	c = t.conns[at]
	if c != nil && !c.serves(to) {
		if c.users > 0 {
			t.retired[c] = true
		}
		c = nil
	}
	reused = c != nil
	if !reused {
		c = &conn{endpoint: at, made: time.Now(), broke: make(chan struct{})}
		t.conns[at] = c
		t.net.made++
	}
	c.users++
	c.used = t.net.uses
	return c, reused
}

// stray notes that c does not lead to the member that it was asked for, but to by, and
// reports whether it may be replaced for that.
func (t *Transport) stray(c *conn, by ring.Member) bool {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	c.astray, c.by = true, by
	return c.old()
}

// release ends one use of c. A connection that never came up goes with its last
// user, and so does that of one question, unless it is kept as that of the member
// at the address.
func (t *Transport) release(c *conn, kept bool) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	c.users--
	t.net.uses++
	c.used = t.net.uses
	if c.users == 0 {
		delete(t.retired, c)
	}
	if own := t.conns[c.endpoint] == c; own && c.users == 0 && (c.peer == nil || c.question != 0) {
		delete(t.conns, c.endpoint)
		if shared := (endpoint{addr: c.addr}); kept && !c.over && t.conns[shared] == nil {
			c.endpoint = shared
			t.conns[shared] = c
		}
	}
	t.evict()
}

// evict closes idle connections beyond the limit. Callers hold mu.
func (t *Transport) evict() {
	if t.limit < 0 || len(t.conns) <= t.limit {
		return
	}
	var idle []*conn
	for _, c := range t.conns {
		if c.users == 0 {
			idle = append(idle, c)
		}
	}
	slices.SortFunc(idle, func(a, b *conn) int { return cmp.Compare(a.used, b.used) })
	for _, c := range idle[:max(0, len(idle)-t.limit)] {
		delete(t.conns, c.endpoint)
	}
}

// drop forgets c, if its peer ended it, and says so, once.
func (t *Transport) drop(c *conn) {
	t.net.mu.Lock()
	known := !t.closed && c.over && t.conns[c.endpoint] == c
	if known {
		delete(t.conns, c.endpoint)
	}
	tell := t.broken
	t.net.mu.Unlock()
	if known && tell != nil {
		tell(c.addr)
	}
}
