package concord_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

var balancedRuns = flag.Int("balanced-runs", 0,
	"how often each cluster founds a ring behind a load balancer, with the default FoundAfter; 0: once, with a short one")

// balancer is a load balancer on the loopback: each connection to it leads to one of
// its backends that listen, drawn anew, perhaps to the very process that connects.
type balancer struct {
	lis     net.Listener
	running sync.WaitGroup

	mu       sync.Mutex
	backends []string
	open     map[net.Conn]bool
	closed   bool
}

// balance starts a load balancer without backends; the test ends it.
func balance(t *testing.T) *balancer {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{lis: lis, open: map[net.Conn]bool{}}
	b.running.Go(b.accept)
	t.Cleanup(b.close)
	return b
}

func (b *balancer) address() string { return b.lis.Addr().String() }

// name is the address by a host name that stands for it.
func (b *balancer) name() string {
	return fmt.Sprintf("localhost:%d", b.lis.Addr().(*net.TCPAddr).Port)
}

func (b *balancer) add(backends ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = append(b.backends, backends...)
}

func (b *balancer) accept() {
	for {
		in, err := b.lis.Accept()
		if err != nil {
			return
		}
		b.running.Go(func() { b.carry(in) })
	}
}

// keep notes a connection that close ends, and reports whether it may be used.
func (b *balancer) keep(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.open[c] = true
	}
	return !b.closed
}

func (b *balancer) end(c net.Conn) {
	b.mu.Lock()
	delete(b.open, c)
	b.mu.Unlock()
	c.Close()
}

// carry leads one connection to the first backend, in a random order, that listens.
func (b *balancer) carry(in net.Conn) {
	defer b.end(in)
	if !b.keep(in) {
		return
	}
	b.mu.Lock()
	backends := slices.Clone(b.backends)
	b.mu.Unlock()
	rand.Shuffle(len(backends), func(i, k int) { backends[i], backends[k] = backends[k], backends[i] })
	for _, addr := range backends {
		if out, err := net.Dial("tcp", addr); err == nil {
			b.join(in, out)
			return
		}
	}
}

// join carries what either side says to the other, until out says no more.
func (b *balancer) join(in, out net.Conn) {
	defer b.end(out)
	if !b.keep(out) {
		return
	}
	b.running.Go(func() {
		io.Copy(out, in)
		out.Close()
	})
	io.Copy(in, out)
}

func (b *balancer) close() {
	b.lis.Close()
	b.mu.Lock()
	b.closed = true
	for c := range b.open {
		c.Close()
	}
	b.mu.Unlock()
	b.running.Wait()
}

func TestMembersBehindALoadBalancerFoundOneRing(t *testing.T) {
	for _, n := range []int{3, 4, 5} {
		for _, by := range []string{"address", "name"} {
			t.Run(fmt.Sprintf("%d by %s", n, by), func(t *testing.T) {
				t.Parallel()
				if *balancedRuns == 0 {
					// Longer than a busy machine keeps a process waiting.
					foundBehind(t, n, by, 2*time.Second)
					return
				}
				var took []time.Duration
				for range *balancedRuns {
					took = append(took, foundBehind(t, n, by, concord.DefaultFoundAfter))
				}
				slices.Sort(took)
				t.Logf("%d runs: one ring each, after %v at the median, %v at most", len(took), took[len(took)/2], took[len(took)-1])
			})
		}
	}
}

// foundBehind starts n members at once that were all given the address of one load
// balancer, and nothing else, and says how long it took until they were one ring.
func foundBehind(t *testing.T, n int, by string, foundAfter time.Duration) time.Duration {
	t.Helper()
	vip := balance(t)
	addr := vip.address()
	if by == "name" {
		addr = vip.name()
	}
	var told journal
	log := slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug})
	var members []*concord.Concord
	for i := range n {
		c := start(t, fmt.Sprintf("member%d", i+1), func(c *concord.Config) {
			c.FoundAfter = foundAfter
			c.LogHandler = log.WithAttrs([]slog.Attr{slog.Int("by", i+1)})
		})
		members = append(members, c)
		vip.add(c.Address())
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, n)
	for _, c := range members {
		go func() { done <- c.JoinOrCreate(ctx, addr) }()
	}
	for range members {
		if err := receive(t, done, patience, "JoinOrCreate"); err != nil {
			t.Fatal(err)
		}
	}
	awaitIdeal(t, members)
	took := time.Since(began)
	if limit := foundAfter + 5*time.Second; took > limit {
		t.Errorf("one ring of %d after %v, want %v at most", n, took, limit)
	}
	stopAll(members)
	vip.close()
	if f := strings.Count(told.String(), "cause=created"); f != 1 {
		t.Errorf("%d members have founded a ring:\n%s", f, told.String())
	}
	return took
}

// behind makes member1 … membern of a network whose address vip:1 leads to any of
// them.
func behind(t *testing.T, network *memory.Network, n int, edits ...func(*concord.Config)) []*concord.Concord {
	t.Helper()
	network.Balance("vip:1", addresses(n)...)
	var members []*concord.Concord
	for i := 1; i <= n; i++ {
		members = append(members, memoryMember(t, network, fmt.Sprintf("member%d", i), edits...))
	}
	return members
}

func TestFoundingBehindALoadBalancerInTime(t *testing.T) {
	for _, n := range []int{2, 3, 5, 16} {
		for seed := range uint64(3) {
			synctest.Test(t, func(t *testing.T) {
				network := memory.NewNetwork(seed)
				network.Delay(time.Millisecond, 20*time.Millisecond)
				members := behind(t, network, n)
				failed := make(chan error, n)
				for i, c := range members {
					go func() {
						time.Sleep(time.Duration(i) * 100 * time.Millisecond)
						failed <- c.JoinOrCreate(t.Context(), "vip:1")
					}()
				}
				for range n {
					if err := receive(t, failed, time.Minute, "JoinOrCreate"); err != nil {
						t.Fatal(err)
					}
				}
				untilIdeal(t, concord.DefaultFoundAfter+5*time.Second, members)
				stopAll(members)
			})
		}
	}
}

// The ring is behind the load balancer, and so are the joiners themselves.
func TestJoinThroughALoadBalancer(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(seed)
			network.Delay(time.Millisecond, 20*time.Millisecond)
			members := behind(t, network, 5)
			if err := members[0].Create(); err != nil {
				t.Fatal(err)
			}
			for _, c := range members[1:] {
				if err := c.Join(t.Context(), "vip:1"); err != nil {
					t.Fatal(err)
				}
			}
			untilIdeal(t, 5*time.Second, members)
			stopAll(members)
		})
	}
}

// Where the load balancer leads to the joiner alone, that may change as long as Join
// lasts; the error says then what was there.
func TestLoadBalancerThatLeadsToTheJoinerIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Balance("vip:1", "member2:1")
		a, b := memoryMember(t, network, "member1"), memoryMember(t, network, "member2")
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		err := joinFor(t, b, 10*time.Second, "vip:1")
		wantErr(t, "Join", err, concord.ErrSelf, context.DeadlineExceeded)
		joined := make(chan error, 1)
		go func() { joined <- b.Join(context.Background(), "vip:1") }()
		time.Sleep(10 * time.Second)
		network.Balance("vip:1", "member1:1", "member2:1")
		if err := receive(t, joined, 10*time.Second, "Join"); err != nil {
			t.Fatal(err)
		}
		untilIdeal(t, 5*time.Second, []*concord.Concord{a, b})
		stopAll([]*concord.Concord{a, b})
	})
}

func TestDialMovesOnFromABackendThatHasNotJoined(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(seed)
			network.Delay(time.Millisecond, 20*time.Millisecond)
			members := behind(t, network, 4)
			if err := members[0].Create(); err != nil {
				t.Fatal(err)
			}
			c, err := concord.Dial(t.Context(), concord.ClientConfig{Network: network}, "vip:1")
			if err != nil {
				t.Fatal(err)
			}
			if owner, err := c.Lookup([]byte("key")); err != nil || owner != serverOf(members[0]) {
				t.Errorf("%v, %v", owner, err)
			}
			c.Close()
			stopAll(members)
		})
	}
}

// A load balancer that has pinned two rings apart leads their members to each other
// in time.
func TestRingsBehindALoadBalancerMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		members := behind(t, network, 4)
		halves := [][]*concord.Concord{members[:2], members[2:]}
		for i, half := range halves {
			network.Balance("vip:1", addresses(4)[2*i:2*i+2]...)
			failed := make(chan error, 2)
			for _, c := range half {
				go func() { failed <- c.JoinOrCreate(t.Context(), "vip:1") }()
			}
			for range half {
				if err := receive(t, failed, time.Minute, "JoinOrCreate"); err != nil {
					t.Fatal(err)
				}
			}
			// Not their maps: the halves may have met by the time that those are right.
			eventually(t, func() error { return oneRing(half) })
		}
		network.Balance("vip:1", addresses(4)...)
		t.Logf("one ring after %v", untilIdeal(t, 3*time.Minute, members))
		stopAll(members)
	})
}

// All members advertise the address of the load balancer.
func TestLoadBalancerAsAdvAddrIsRefusedSoon(t *testing.T) {
	t.Parallel()
	vip := balance(t)
	var members []*concord.Concord
	for i := range 3 {
		members = append(members, start(t, fmt.Sprintf("member%d", i+1), func(c *concord.Config) { c.AdvAddr = vip.address() }))
	}
	first := members[0]
	vip.add(concord.Bound(first))
	if err := first.JoinOrCreate(t.Context(), vip.address()); err != nil {
		t.Fatal(err) // it is alone, as far as anybody can tell
	}
	for what, join := range map[string]func(c *concord.Concord) error{
		"Join by a member":       func(c *concord.Concord) error { return joinFor(t, c, patience, concord.Bound(first)) },
		"Join by another name":   func(c *concord.Concord) error { return joinFor(t, c, patience, vip.name()) },
		"JoinOrCreate":           func(c *concord.Concord) error { return c.JoinOrCreate(t.Context(), vip.address()) },
		"JoinOrCreate by a name": func(c *concord.Concord) error { return c.JoinOrCreate(t.Context(), vip.name()) },
	} {
		for _, c := range members[1:] {
			began := time.Now()
			err := join(c)
			wantErr(t, what, err, concord.ErrNotReachable)
			mentions(t, err, vip.address(), "load balancer", first.Name())
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%s: refused after %v", what, took)
			}
		}
	}
}

// What is the member's own address for certain cannot come to lead to another.
func TestJoinToOwnAddressIsAnErrorAtOnce(t *testing.T) {
	c := start(t, "joiner", func(c *concord.Config) { c.BindAddr, c.AdvAddr = "0.0.0.0:0", "member.test:0" })
	_, port, err := net.SplitHostPort(c.Address())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"member.test", "127.0.0.1", "localhost", "127.0.0.3", "::1", "::"} {
		began := time.Now()
		err := joinFor(t, c, patience, net.JoinHostPort(host, port))
		wantErr(t, host, err, concord.ErrSelf)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: took %v", host, took)
		}
	}
}
