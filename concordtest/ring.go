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
	// clientMemory is how long a client may answer from memory.
	clientMemory = time.Second
)

// TB is what a Ring needs of a test. *testing.T, *testing.B and *testing.F are
// TBs.
type TB interface {
	Helper()
	Cleanup(f func())
	Failed() bool
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Options say what kind of Ring New makes. The zero Options are a ring in memory
// of members with the defaults of package concord.
type Options struct {
	// Sockets has the members speak over TCP on 127.0.0.1. False: in memory.
	Sockets bool

	// Config is what the configuration of every member begins as. Members of one
	// ring must agree in HashFunc, HashBits and Cluster, so these belong here. In
	// real time a StabilizeInterval of 50 ms makes a test quick. BindAddr is best
	// left empty: then each member has an address of its own.
	Config concord.Config

	// Seed decides what the network's faults draw and what members draw. A test
	// that failed has logged its seed. Zero: one is drawn.
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
// called concurrently, but those that can fail the test only from where
// testing.T.Fatalf can be called.
type Ring struct {
	tb      TB
	base    concord.Config
	seed    uint64
	net     network
	cluster *cluster.Cluster
	close   func() // what is left of net; nil if nothing is

	mu      sync.Mutex
	made    int           // members started
	slowest time.Duration // of their intervals
	clients []*concord.Client
	asking  bool // there are clients, or may be
}

// New makes a Ring without members, which is closed when the test ends. If tb is
// nil, as in an Example, a failure panics, and the caller closes the Ring.
func New(tb TB, opts Options) *Ring {
	if tb == nil {
		tb = noTB{}
	}
	r := &Ring{tb: tb, base: opts.Config, seed: opts.Seed, cluster: cluster.New(nil)}
	if r.seed == 0 {
		r.seed = rand.Uint64()
	}
	if opts.Sockets {
		n := loopback.NewNetwork(r.seed)
		r.net, r.close = n, n.Close
	} else {
		r.net = memory.NewNetwork(r.seed)
	}
	if r.base.BindAddr == "" {
		r.base.BindAddr = "127.0.0.1:0"
		if !opts.Sockets {
			r.base.BindAddr = "mem:0"
		}
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
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}

// Config is the configuration of a member of this ring: Options.Config with the
// name, the ring's Network and, if Options has no BindAddr, an address of its own.
// It is for programs that start their member themselves; see Adopt.
func (r *Ring) Config(name string) concord.Config {
	c := r.base
	c.Name = name
	return c
}

// ClientConfig is the configuration of a client of this ring, for programs that
// call concord.Dial themselves.
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

// Start starts n members and returns them when all have joined the ring; the
// first of a ring without members creates it. configure, if not nil, changes the
// configuration of the i-th of these n members, counted from 0, before it starts.
// Names are "member-0", "member-1" and so on, unless configure changes them.
func (r *Ring) Start(n int, configure func(i int, c *concord.Config)) []*concord.Concord {
	r.tb.Helper()
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
			r.fail("start of %s: %v", c.Name, err)
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

// Adopt counts members in that a program under test has started with the ring's
// Network and that have joined. They are stopped with the ring, and can be killed
// and hung as the others.
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

// Client returns a client of the ring, which is closed with it.
func (r *Ring) Client() *concord.Client {
	r.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := concord.Dial(ctx, r.ClientConfig(), r.Addresses()...)
	if err != nil {
		r.fail("client: %v", err)
		return nil
	}
	r.mu.Lock()
	r.clients = append(r.clients, c)
	r.mu.Unlock()
	return c
}

// Members returns the members of the ring, clockwise by identifier: those that
// were started or adopted, and that were neither killed nor stopped and do not
// hang.
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

// Owner returns the member that owns key in truth: the first one of Members whose
// identifier is at or after that of the key. It fails the test if there are no
// members.
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

// notice has members that the program under test has stopped, or that have left,
// count no longer.
func (r *Ring) notice() {
	for _, m := range r.cluster.Members() {
		if m.Status().Phase == "stopped" {
			r.cluster.Exit(m)
		}
	}
}

// Settle waits until every predecessor, successor list and range is exactly what
// Members make it, and then until what lookups remember from before is too old to
// be used: a StabilizeInterval, at most a second, or a second if there are
// clients. A lookup that is begun after it gives the Owner. It fails the test if
// ctx ends before that, or if ctx has no deadline, after a minute. While members
// are cut off from each other, a ring may never settle.
func (r *Ring) Settle(ctx context.Context) {
	r.tb.Helper()
	ctx, cancel := bounded(ctx)
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
			r.fail("the ring had been ideal for less than %v: %v", r.memory(), ctx.Err())
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

// Close closes the clients that Client made, stops every member, and returns when
// no goroutine of the ring is left. It may be called more than once. New has it
// called at the end of the test.
func (r *Ring) Close() {
	r.mu.Lock()
	clients := r.clients
	r.clients = nil
	r.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	r.cluster.Close()
	if r.close != nil {
		r.close()
	}
}
