package concordtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/loopback"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

const (
	// patience bounds what a Ring waits for if the context has no deadline.
	patience = time.Minute
	// patienceInBubble is the same for Settle on the clock of a bubble. Two rings that remember
	// many dead members may take minutes to meet.
	patienceInBubble = 10 * time.Minute
	// clientMemory is how long a client may answer from memory.
	clientMemory = time.Second
)

// TB is the part of testing.TB that a Ring uses.
type TB interface {
	Helper()
	Cleanup(f func())
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Options configure a Ring. The zero Options make a ring in memory whose members have
// the defaults of package concord.
type Options struct {
	// Sockets selects a ring on TCP sockets of loopback addresses. With TLS they are all of
	// 127.0.0.1. If false, the ring is in memory.
	Sockets bool

	// Config is the configuration that every member starts from. HashFunc, HashBits
	// and Cluster must be the same on all members, so set them here. Leave BindAddr
	// empty to give each member its own address. In real time, a StabilizeInterval
	// of 50 ms makes a test quick.
	Config concord.Config

	// Seed seeds the faults of the network and the randomness of the members. A failed test logs
	// its seed. If zero, the seed is random.
	Seed uint64
}

// network is what the two kinds of Ring differ in.
type network interface {
	transport.Network

	Delay(least, most time.Duration)
	DelayBetween(from, to string, least, most time.Duration)
	Lose(p float64)
	Cut(from, to string)
	HealAll()
	Pause(addr string)
	Resume(addr string)

	Listens(addr string) bool
}

// Ring is a ring of members in this process. Make it with New. Its methods may be
// called concurrently. Those that can fail the test call Fatalf, so call them from
// the goroutine of the test.
type Ring struct {
	tb      TB
	base    concord.Config
	seed    uint64
	net     network
	cluster *cluster.Cluster
	close   func() // what is left of net; nil if nothing is
	sockets bool
	bubble  string // where New was called

	mu      sync.Mutex
	made    int           // members started
	slowest time.Duration // of their intervals
	clients []*concord.Client
	asking  bool // there are clients, or may be
}

// New makes a Ring without members. It is closed when the test ends. If tb is nil, as
// in an Example, a failure panics and the caller must call Close.
func New(tb TB, opts Options) *Ring {
	if tb == nil {
		tb = noTB{}
	}
	r := &Ring{tb: tb, base: opts.Config, seed: opts.Seed, cluster: cluster.New(nil), sockets: opts.Sockets, bubble: bubble()}
	if r.seed == 0 {
		r.seed = rand.Uint64()
	}
	if opts.Sockets {
		n := loopback.NewNetwork(r.seed)
		r.net, r.close = n, n.Close
	} else {
		r.net = memory.NewNetwork(r.seed)
	}
	if r.base.BindAddr == "" && !opts.Sockets {
		r.base.BindAddr = "mem:0"
	}
	r.base.Network = r.net
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("concordtest: the test has failed; members now:\n%s%s", r.cluster.Describe(), r.again())
		}
		r.Close()
	})
	return r
}

// again says how to have the same run again.
func (r *Ring) again() string {
	return fmt.Sprintf("concordtest: run it again with Options{Seed: %d}", r.seed)
}

// fail fails the test.
func (r *Ring) fail(format string, args ...any) {
	r.tb.Helper()
	r.tb.Fatalf("concordtest: %s\n%s", fmt.Sprintf(format, args...), r.again())
}

// noTB stands for a test that there is none of.
type noTB struct{}

func (noTB) Helper()                           {}
func (noTB) Cleanup(func())                    {}
func (noTB) Failed() bool                      { return false }
func (noTB) Logf(string, ...any)               {}
func (noTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// bounded is ctx with a deadline.
func (r *Ring) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	if r.bubble != "" {
		return context.WithTimeout(ctx, patienceInBubble)
	}
	return context.WithTimeout(ctx, patience)
}

// Config returns a configuration for a member of this ring: Options.Config with Name
// and Network set, and BindAddr too if it was empty. It is for programs that start
// their own member; see Adopt.
func (r *Ring) Config(name string) concord.Config {
	c := r.base
	c.Name = name
	switch {
	case c.BindAddr != "":
	case c.TLS != nil:
		c.BindAddr = "127.0.0.1:0" // for which test certificates are made
	default:
		c.BindAddr = cluster.Address()
	}
	return c
}

// ClientConfig returns a configuration for a client of this ring. It is for programs
// that call concord.Dial themselves.
func (r *Ring) ClientConfig() concord.ClientConfig {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking = true
	c := concord.ClientConfig{
		HashFunc: r.base.HashFunc, HashBits: r.base.HashBits, Cluster: r.base.Cluster,
		Network: r.net,
	}
	if r.base.TLS != nil {
		c.TLS = r.base.TLS.Client
	}
	return c
}

// Start starts n members and returns when all of them have joined the ring. If the
// ring has no members, the first of them creates it. Start calls configure, if it is
// not nil, to change the configuration of each before it starts; i counts from 0 to
// n−1. Unless configure changes it, the name is "member-0", "member-1" and so on.
func (r *Ring) Start(n int, configure func(i int, c *concord.Config)) []*concord.Concord {
	r.tb.Helper()
	if n < 0 {
		r.fail("Start: the number of members is %d, it must not be negative", n)
		return nil
	}
	if r.misplaced() {
		return nil
	}
	members := make([]*concord.Concord, 0, n)
	for i := range n {
		r.mu.Lock()
		c := r.Config(fmt.Sprintf("member-%d", r.made))
		r.made++
		r.mu.Unlock()
		if configure != nil {
			configure(i, &c)
		}
		c.Network = r.net
		m := concord.New(c)
		if err := m.Start(); err != nil {
			r.fail("start %s: %v", c.Name, err)
			return nil
		}
		r.know(m, c)
		members = append(members, m)
	}
	r.join(members)
	return members
}

// know makes m, of which c is the configuration, a member of the cluster.
func (r *Ring) know(m *concord.Concord, c concord.Config) {
	if c.StabilizeInterval == 0 {
		c.StabilizeInterval = concord.DefaultStabilizeInterval
	}
	r.mu.Lock()
	r.slowest = max(r.slowest, c.StabilizeInterval)
	r.mu.Unlock()
	r.cluster.Know(m, c)
}

// join joins members that have started to the ring.
func (r *Ring) join(members []*concord.Concord) {
	r.tb.Helper()
	r.notice()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.cluster.Join(ctx, members); err != nil {
		r.fail("%v", err)
	}
}

// Adopt makes members part of the ring's truth that the program under test has
// started. They must use the ring's Network and have joined. All faults work on them,
// and Close stops them.
func (r *Ring) Adopt(members ...*concord.Concord) {
	r.tb.Helper()
	for _, m := range members {
		switch {
		case !m.Joined():
			r.fail("%s cannot be adopted: it has not joined", m.Name())
			return
		case !r.net.Listens(m.Address()):
			r.fail("%s cannot be adopted: it is not on the Network of this ring", m.Name())
			return
		}
		if !r.cluster.Has(m) {
			r.know(m, r.base)
		}
		r.cluster.Enter(m)
	}
}

// Client returns a client of the ring. Close closes it.
func (r *Ring) Client() *concord.Client {
	r.tb.Helper()
	if r.misplaced() {
		return nil
	}
	addrs := r.Addresses()
	if len(addrs) == 0 {
		r.fail("Client: the ring has no members")
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := concord.Dial(ctx, r.ClientConfig(), addrs...)
	if err != nil {
		r.fail("dial: %v", err)
		return nil
	}
	r.mu.Lock()
	r.clients = append(r.clients, c)
	r.mu.Unlock()
	return c
}

// Members returns the members of the ring, clockwise by identifier. These are all that
// were started or adopted, except those that were killed or stopped, have left, have
// drained, or hang.
func (r *Ring) Members() []*concord.Concord {
	r.notice()
	return r.cluster.Members()
}

// Addresses returns the addresses of Members, for Join and Dial.
func (r *Ring) Addresses() []string {
	var out []string
	for _, m := range r.Members() {
		out = append(out, m.Address())
	}
	return out
}

// Owner returns the true owner of key: the first of Members whose identifier is at or
// after the key's. With VirtualNodes it is the one that has the key in its Ranges, once the ring
// has settled. It fails the test if the ring has no members.
func (r *Ring) Owner(key []byte) *concord.Concord {
	r.tb.Helper()
	members := r.Members()
	owner := r.cluster.Truth(key)
	for _, m := range members {
		if m.Id() == owner.Id && m.Name() == owner.Name {
			return m
		}
	}
	r.fail("nobody owns %q: the ring has no members", key)
	return nil
}

// notice removes members from the truth that have left, or that the program under test
// has stopped.
func (r *Ring) notice() {
	for _, m := range r.cluster.Members() {
		if m.Status().Phase == concord.PhaseStopped {
			r.cluster.Exit(m)
		}
	}
}

// Settle waits until the ring has settled: until the predecessor, the successor list
// and the range of each of Members are exactly right. It then waits until no lookup can
// be answered from what was remembered before: for the longest StabilizeInterval, at
// most a second, or for a second if the ring has clients. Lookups that begin after
// Settle give the Owner.
//
// Settle fails the test if ctx ends first. If ctx has no deadline, Settle waits for at most a
// minute, or for ten minutes on the clock of a bubble. A ring may not settle while members are cut
// off from each other. After Heal, two rings find each other the later the more dead members they
// remember: it can take more than a minute at the default StabilizeInterval.
//
// Settle judges what the members hold. Members that have been cut off or that hang, and that
// nobody has asked since, are held to be where they were: a ring that has not noticed a fault
// counts as settled.
func (r *Ring) Settle(ctx context.Context) {
	r.tb.Helper()
	if r.misplaced() {
		return
	}
	ctx, cancel := r.bounded(ctx)
	defer cancel()
	for {
		r.notice()
		if _, err := r.cluster.WaitIdeal(ctx); err != nil {
			r.fail("%v", err)
			return
		}
		timer := time.NewTimer(r.memory())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			r.fail("the ring has been ideal for less than %v: %v", r.memory(), ctx.Err())
			return
		}
		if r.cluster.Wrong() == "" {
			return
		}
	}
}

// memory is how long a lookup may be answered by what was learnt before.
func (r *Ring) memory() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking {
		return clientMemory
	}
	return min(r.slowest, clientMemory)
}

// Close closes the clients that Client made and stops every member. It returns when no
// goroutine of the ring is left. It may be called more than once. The Ring calls it when
// the test ends.
func (r *Ring) Close() {
	r.mu.Lock()
	clients := r.clients
	r.clients = nil
	r.mu.Unlock()
	for _, c := range clients {
		_ = c.Close()
	}
	r.cluster.Close()
	if r.close != nil {
		r.close()
	}
}
