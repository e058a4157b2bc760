package concord_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport"
	grpctransport "github.com/ollelogdahl/concord/internal/transport/grpc"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

var (
	astrayRuns   = flag.Int("astray.runs", 1, "how often members on real sockets lose their names to others")
	astrayOutage = flag.Duration("astray.outage", time.Second, "for how long")
)

// afterwards bounds how long the ring and its clients may take once names lead where they
// should again.
const afterwards = 5 * time.Second

// hosts are places to listen at, by number, and a DNS of names, each of which leads to one
// of them.
type hosts interface {
	// start starts the member name, which listens at a host.
	start(t *testing.T, name string, host int) *concord.Concord
	addr(name string) string
	dial(t *testing.T, names ...string) *concord.Client
	// lead makes the name lead to a host, for connections made from now on.
	lead(name string, host int)
	// cut ends the connections that were made to the name.
	cut(name string)
}

func addressesOf(h hosts, names []string) (out []string) {
	for _, name := range names {
		out = append(out, h.addr(name))
	}
	return out
}

// pass lets time pass.
func pass(d time.Duration) { <-time.After(d) }

// simulated hosts are on a network of this process.
type simulated struct {
	*memory.Network
	dns fakeDNS
}

// atBind is a network on which members listen where they are bound, not where others
// look for them.
type atBind struct{ *memory.Network }

func (n atBind) OpenMember(o transport.Options) (transport.Transport, error) { return n.Listen(o.Bind) }

func (s *simulated) host(i int) string        { return fmt.Sprintf("host%d:1", i) }
func (s *simulated) addr(name string) string  { return name + ".ring.test:1" }
func (s *simulated) lead(name string, to int) { s.Balance(s.addr(name), s.host(to)) }
func (s *simulated) cut(name string)          { s.Break(s.addr(name)) }

func (s *simulated) start(t *testing.T, name string, host int) *concord.Concord {
	t.Helper()
	s.dns.set(name+".ring.test", "10.0.0.1") // which of them is the network's affair
	c := concord.New(concord.Config{Name: name, BindAddr: s.host(host), AdvAddr: s.addr(name), Network: atBind{s.Network}})
	concord.UseDNS(c, &s.dns)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

func (s *simulated) dial(t *testing.T, names ...string) *concord.Client {
	t.Helper()
	c, err := concord.Dial(t.Context(), concord.ClientConfig{Network: s.Network}, addressesOf(s, names)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// loopback hosts are addresses of this machine, and names are those of a name server.
type loopback struct {
	hosts  []string
	port   string
	dns    fakeDNS
	dialer net.Dialer

	mu    sync.Mutex
	conns map[string][]net.Conn
}

func newLoopback(t *testing.T, n int) *loopback {
	l := &loopback{conns: map[string][]net.Conn{}}
	l.port, l.hosts = loopbacks(t, n)
	l.dialer.Resolver = nameServer(t, &l.dns)
	return l
}

func (l *loopback) addr(name string) string    { return name + ".ring.test:" + l.port }
func (l *loopback) lead(name string, host int) { l.dns.set(name+".ring.test", l.hosts[host]) }

func (l *loopback) open(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := l.dialer.DialContext(ctx, "tcp", addr)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns[addr] = append(l.conns[addr], conn)
	}
	return conn, err
}

// OpenMember, OpenClient and Seed make l a transport.Network.
func (l *loopback) OpenMember(o transport.Options) (transport.Transport, error) {
	cfg := grpctransport.ConfigOf(o)
	cfg.Dial = l.open
	return grpctransport.Listen(cfg)
}

func (l *loopback) OpenClient(o transport.Options) (transport.Transport, error) {
	cfg := grpctransport.ConfigOf(o)
	cfg.Dial = l.open
	return grpctransport.NewClient(cfg), nil
}

func (l *loopback) Seed(string) uint64 { return 0 }

func (l *loopback) cut(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns[l.addr(name)] {
		c.Close()
	}
	delete(l.conns, l.addr(name))
}

func (l *loopback) start(t *testing.T, name string, host int) *concord.Concord {
	t.Helper()
	c := concord.New(concord.Config{Name: name, BindAddr: net.JoinHostPort(l.hosts[host], l.port), AdvAddr: l.addr(name), Network: l})
	concord.UseDNS(c, l.dialer.Resolver)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

func (l *loopback) dial(t *testing.T, names ...string) *concord.Client {
	t.Helper()
	c, err := concord.Dial(t.Context(), concord.ClientConfig{Network: l}, addressesOf(l, names)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// threeByName is a ring of m1, m2 and m3, each at the host of its number, and a client.
func threeByName(t *testing.T, h hosts) ([]*concord.Concord, *concord.Client) {
	t.Helper()
	var members []*concord.Concord
	for i, name := range []string{"m1", "m2", "m3"} {
		h.lead(name, i+1)
		c := h.start(t, name, i+1)
		if i == 0 {
			if err := c.Create(); err != nil {
				t.Fatal(err)
			}
		} else {
			join(t, c, h.addr("m1"))
		}
		members = append(members, c)
	}
	awaitIdeal(t, members)
	return members, h.dial(t, "m1", "m2", "m3")
}

// asking has members and the client look keys up until it, or the test, is ended.
func asking(t *testing.T, members []*concord.Concord, client *concord.Client) (end func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	end = sync.OnceFunc(func() {
		close(done)
		wg.Wait()
	})
	t.Cleanup(end)
	ask := func(lookup func(context.Context, []byte, ...concord.LookupOption) (concord.Server, error)) {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			lookup(ctx, fmt.Appendf(nil, "key %d", i%32), concord.Fresh()) // whatever comes of it
			cancel()
		}
	}
	for _, c := range members {
		wg.Go(func() { ask(c.LookupContext) })
	}
	wg.Go(func() { ask(client.LookupContext) })
	return end
}

// mended waits until the members are one ring and the client finds every key, and says how
// long that took.
func mended(t *testing.T, members []*concord.Concord, client *concord.Client) time.Duration {
	t.Helper()
	began := time.Now()
	err := poll(afterwards, func() error {
		if err := ideal(members); err != nil {
			return err
		}
		for i := range 32 {
			key := fmt.Sprintf("key %d", i)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			got, err := client.LookupContext(ctx, []byte(key), concord.Fresh())
			cancel()
			if want := ownerOf(members, idOf(key)); err != nil || got != want {
				return fmt.Errorf("the client finds %q at %v, %v, want %v", key, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("not %v after the names are right: %v", afterwards, err)
	}
	return time.Since(began)
}

// A member's name leads to host for a while, and a connection to it breaks meanwhile.
func leadsElsewhere(t *testing.T, h hosts, host int, outage time.Duration) time.Duration {
	members, client := threeByName(t, h)
	end := asking(t, members, client)
	h.lead("m2", host)
	h.cut("m2")
	pass(outage)
	h.lead("m2", 2)
	took := mended(t, members, client)
	end()
	client.Close()
	stopAll(members)
	return took
}

// Two members restart, each at the other's host, and their names follow later.
func restartSwapped(t *testing.T, h hosts, lag time.Duration) time.Duration {
	members, client := threeByName(t, h)
	end := asking(t, members[:1], client)
	stopAll(members[1:])
	members[1], members[2] = h.start(t, "m2", 3), h.start(t, "m3", 2)
	joined := make(chan error, 2)
	for _, c := range members[1:] {
		go func() { joined <- c.Join(context.Background(), h.addr("m1")) }()
	}
	pass(lag)
	h.lead("m2", 3)
	h.lead("m3", 2)
	began := time.Now()
	for range 2 {
		if err := receive(t, joined, 30*time.Second, "Join"); err != nil {
			t.Fatal(err)
		}
	}
	mended(t, members, client)
	took := time.Since(began)
	end()
	client.Close()
	stopAll(members)
	return took
}

func TestNamesThatLeadElsewhereForAWhile(t *testing.T) {
	for what, run := range map[string]func(t *testing.T, h hosts) time.Duration{
		"a member's leads to another":     func(t *testing.T, h hosts) time.Duration { return leadsElsewhere(t, h, 3, 6*time.Second) },
		"two members restart in exchange": func(t *testing.T, h hosts) time.Duration { return restartSwapped(t, h, 5*time.Second) },
	} {
		t.Run(what, func(t *testing.T) {
			var all []time.Duration
			for seed := range uint64(10) {
				synctest.Test(t, func(t *testing.T) {
					n := memory.NewNetwork(seed)
					n.Delay(time.Millisecond, 10*time.Millisecond)
					n.ConnectDelay(2)
					all = append(all, run(t, &simulated{Network: n}))
				})
			}
			report(t, all)
		})
	}
}

// report logs how long something took, and fails the test if it ever took too long.
func report(t *testing.T, all []time.Duration) {
	slices.Sort(all)
	t.Logf("%d runs: median %v, worst %v", len(all), all[len(all)/2], all[len(all)-1])
	if worst := all[len(all)-1]; worst > afterwards {
		t.Errorf("it took %v after the names were right", worst)
	}
}

func TestNamesOfANameServerThatLeadElsewhereForAWhile(t *testing.T) {
	t.Parallel() // it waits
	for what, run := range map[string]func(t *testing.T, l *loopback) time.Duration{
		"a member's leads to another": func(t *testing.T, l *loopback) time.Duration {
			return leadsElsewhere(t, l, 3, *astrayOutage)
		},
		"a member's leads to a web server": func(t *testing.T, l *loopback) time.Duration {
			webServer(t, net.JoinHostPort(l.hosts[4], l.port))
			return leadsElsewhere(t, l, 4, *astrayOutage)
		},
		"two members restart in exchange": func(t *testing.T, l *loopback) time.Duration {
			return restartSwapped(t, l, *astrayOutage)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var all []time.Duration
			for i := range *astrayRuns {
				t.Run(fmt.Sprint(i), func(t *testing.T) { all = append(all, run(t, newLoopback(t, 5))) })
			}
			report(t, all)
		})
	}
}

// webServer answers at addr, in HTTP/2 without TLS too, that there is no such page.
func webServer(t *testing.T, addr string) {
	t.Helper()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler(), Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	var wg sync.WaitGroup
	wg.Go(func() { s.Serve(lis) })
	t.Cleanup(func() {
		s.Close()
		wg.Wait()
	})
}
