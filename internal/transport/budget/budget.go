package budget

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is what a request asks for.
type Kind uint8

const (
	// Ring: a question about the ring that changes nothing.
	Ring Kind = iota
	// Change: a message that can change the ring of the receiver, or has it ask others.
	Change
	// Lookup: a step of a lookup, answered from memory.
	Lookup
	// Forwarded: a whole lookup, done by the receiver.
	Forwarded
	// Subscription: what a client is told for as long as it wants. It is at work all the time.
	Subscription

	kinds
)

// Kinds is how many kinds there are.
const Kinds = int(kinds)

var kindNames = [kinds]string{"questions about the ring", "changes of the ring", "steps of lookups", "lookups for others", "subscriptions"}

func (k Kind) String() string { return kindNames[k] }

// share is how many requests of one kind may be at work.
type share struct {
	strangers int32 // of all of them
	host      int32 // of those, from one host
	members   int32 // of all members
}

var shares = [kinds]share{
	Ring:      {strangers: 256, host: 64, members: 256},
	Change:    {strangers: 64, host: 16, members: 256},
	Lookup:    {strangers: 128, host: 64, members: 128},
	Forwarded: {strangers: 64, host: 32, members: 64},

	Subscription: {strangers: 512, host: 64, members: 64},
}

const (
	// DefaultConnections bounds the connections of a Limits that sets no bound.
	DefaultConnections = 4096
	// DefaultPerHost bounds those of one host.
	DefaultPerHost = 64
	// DefaultStreams is how many streams of one connection may be open.
	DefaultStreams = 32
	// perMember is how many connections of one member count as a member's.
	perMember = 4

	// restBeforeClosed is how long a stranger's connection must have been at rest to be
	// closed for the sake of a new one, and searchPause the least time between two
	// searches of all connections for one.
	restBeforeClosed = time.Second
	searchPause      = 100 * time.Millisecond

	// Of the requests of one connection so many may be refused at once, and then one
	// in so long a time. Beyond that it is read in turn with others like it, while few
	// requests are at work. It waits for its turn for longestPause at most, or for as
	// much longer as there are more connections than paced.
	refusalBurst = 64
	refusalPace  = 100 * time.Millisecond
	longestPause = time.Second
	paced        = 64
	// fewOf is of how many requests of one host one is few.
	fewOf = 4
)

// Limits bound what others may use. The zero Limits are the defaults.
type Limits struct {
	// Connections is how many connections there may be. Zero: 4096.
	Connections int
	// PerHost is how many of them may come from one host, members' connections left
	// out. Zero: 64, and as many as Connections from a loopback address. If it is set,
	// a loopback address is a host like others in every budget.
	PerHost int
	// Streams is how many streams of one connection may be open. Zero: 32.
	Streams int
}

// WithDefaults is l with the defaults in place of zeros.
func (l Limits) WithDefaults() Limits {
	if l.Connections <= 0 {
		l.Connections = DefaultConnections
	}
	if l.Streams <= 0 {
		l.Streams = DefaultStreams
	}
	return l
}

// Counts are what was refused since the Budget was made.
type Counts struct {
	Connections uint64        // over a budget
	Requests    [Kinds]uint64 // over a budget
	Closed      uint64        // connections closed to make room, or since they said nothing
}

// Budget is what others may use of one member. Its methods may be called concurrently.
type Budget struct {
	limits Limits

	work    [2][kinds]atomic.Int32 // at work: of strangers, of members
	refused [kinds]atomic.Uint64
	turned  atomic.Uint64 // connections refused
	slower  atomic.Int64  // how many times longestPause a connection waits
	gates   [2][kinds]gate
	closed  atomic.Uint64 // connections closed

	mu       sync.Mutex // guards all below
	hosts    map[netip.Addr]*host
	conns    map[*Conn]struct{}
	members  map[uint64]int // connections that count as that member's
	searched time.Time      // when all connections were last searched in vain
}

// host is what comes from one host.
type host struct {
	addr  netip.Addr
	alike bool // it has no share of its own
	work  [kinds]atomic.Int32
	conns map[*Conn]struct{} // of strangers; guarded by Budget.mu
	all   int                // of members too; guarded by Budget.mu
}

// New makes a Budget of those limits.
func New(l Limits) *Budget {
	b := &Budget{
		limits: l.WithDefaults(), hosts: map[netip.Addr]*host{},
		conns: map[*Conn]struct{}{}, members: map[uint64]int{},
	}
	b.counted()
	for who := range b.gates {
		for k := range b.gates[who] {
			g := &b.gates[who][k]
			g.work, g.low = &b.work[who][k], shares[k].host/fewOf
		}
	}
	return b
}

// Counts are what was refused so far.
func (b *Budget) Counts() Counts {
	c := Counts{Connections: b.turned.Load(), Closed: b.closed.Load()}
	for k := range b.refused {
		c.Requests[k] = b.refused[k].Load()
	}
	return c
}

// Connections is how many connections there are.
func (b *Budget) Connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

// Working is how many requests of the kind are at work.
func (b *Budget) Working(k Kind) int {
	return int(b.work[0][k].Load() + b.work[1][k].Load())
}

// network is the host that an address counts as.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// Admit takes in a connection from the address, which is invalid if it comes from none.
// The connection is closed by calling end, once at most, on a goroutine of the Budget's
// caller or of its own. If it is refused, the error says why.
func (b *Budget) Admit(from netip.Addr, end func(why string)) (*Conn, error) {
	from = network(from)
	now := time.Now()
	b.mu.Lock()
	h := b.hosts[from]
	if h == nil {
		h = &host{
			addr: from, conns: map[*Conn]struct{}{},
			alike: b.limits.PerHost <= 0 && (!from.IsValid() || from.IsLoopback()),
		}
	}
	var room *Conn
	err := b.overHost(h)
	if err != nil {
		room = longestAtRest(h.conns, now)
	} else if len(b.conns) >= b.limits.Connections {
		err = fmt.Errorf("too many connections: %d, and none at rest", len(b.conns))
		room = b.search(now)
	}
	if err != nil && room == nil {
		b.mu.Unlock()
		b.turned.Add(1)
		return nil, err
	}
	if room != nil {
		b.drop(room)
	}
	c := &Conn{budget: b, host: h, end: end, made: now}
	c.used.Store(now.UnixNano())
	b.hosts[from] = h
	b.conns[c] = struct{}{}
	h.conns[c] = struct{}{}
	h.all++
	b.counted()
	b.mu.Unlock()
	if room != nil {
		room.shut("it was at rest, and another needs its place")
	}
	return c, nil
}

// overHost is why a host may have no more connections, nil if it may. Callers hold mu.
func (b *Budget) overHost(h *host) error {
	most := b.limits.PerHost
	switch {
	case h.alike:
		return nil
	case most <= 0:
		most = DefaultPerHost
	}
	if len(h.conns) < most {
		return nil
	}
	return fmt.Errorf("too many connections from one host: %d, and none at rest", len(h.conns))
}

// search finds a stranger's connection to close, nil if there is none. Callers hold mu.
func (b *Budget) search(now time.Time) *Conn {
	if now.Sub(b.searched) < searchPause {
		return nil
	}
	var best *Conn
	for _, h := range b.hosts {
		if c := longestAtRest(h.conns, now); c != nil && (best == nil || c.used.Load() < best.used.Load()) {
			best = c
		}
	}
	if best == nil {
		b.searched = now
	}
	return best
}

// longestAtRest is the connection that has been at rest for longest, nil if none has
// been for long enough.
func longestAtRest(conns map[*Conn]struct{}, now time.Time) (best *Conn) {
	bar := now.Add(-restBeforeClosed).UnixNano()
	for c := range conns {
		if used := c.used.Load(); used <= bar && !c.Busy() {
			best, bar = c, used
		}
	}
	return best
}

// counted notes how many connections there are. Callers hold mu, or are New.
func (b *Budget) counted() { b.slower.Store(int64(1 + len(b.conns)/paced)) }

// drop forgets a connection. Callers hold mu.
func (b *Budget) drop(c *Conn) {
	if _, ok := b.conns[c]; !ok {
		return
	}
	delete(b.conns, c)
	b.counted()
	delete(c.host.conns, c)
	if c.host.all--; c.host.all == 0 {
		delete(b.hosts, c.host.addr)
	}
	if !c.member.Load() {
		return
	}
	if b.members[c.id]--; b.members[c.id] == 0 {
		delete(b.members, c.id)
	}
}

// Silent closes the connections that have had nothing to ask since they were made, for
// that long, and those with a request whose message has not come in that time, or in
// less than twice of it. It is to be called once in that time.
func (b *Budget) Silent(limit time.Duration) {
	now := time.Now()
	var mute, half []*Conn
	b.mu.Lock()
	for c := range b.conns {
		switch {
		case c.stale():
			half = append(half, c)
		case c.begun.Load() == 0 && now.Sub(c.made) >= limit:
			mute = append(mute, c)
		}
	}
	b.mu.Unlock()
	for _, c := range mute {
		c.shut("it has asked nothing")
	}
	for _, c := range half {
		c.shut("the message of a request has not come")
	}
}

// Idle closes the connections that have had nothing at work for that long since a request
// ended.
func (b *Budget) Idle(limit time.Duration) {
	bar := time.Now().Add(-limit).UnixNano()
	var idle []*Conn
	b.mu.Lock()
	for c := range b.conns {
		if c.begun.Load() > 0 && c.used.Load() <= bar && !c.Busy() {
			idle = append(idle, c)
		}
	}
	b.mu.Unlock()
	for _, c := range idle {
		c.shut("nobody uses it")
	}
}
