package concord_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// forwarder passes connections on to an address that is set later.
type forwarder struct {
	lis    net.Listener
	target chan string
	wg     sync.WaitGroup
	mu     sync.Mutex
	open   []net.Conn
}

func newForwarder(t *testing.T) *forwarder {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{lis: lis, target: make(chan string, 1)}
	f.wg.Go(func() {
		target := <-f.target
		for {
			in, err := lis.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			f.mu.Lock()
			f.open = append(f.open, in, out)
			f.mu.Unlock()
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				f.wg.Go(func() {
					io.Copy(way[0], way[1])
					way[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		select {
		case f.target <- "":
		default:
		}
		lis.Close()
		f.mu.Lock()
		for _, c := range f.open {
			c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

func (f *forwarder) addr() string { return f.lis.Addr().String() }

func TestMembersBehindForwardedPorts(t *testing.T) {
	var members []*concord.Concord
	for i := range 3 {
		f := newForwarder(t)
		bind := nobody(t)
		f.target <- bind
		c := start(t, fmt.Sprintf("member%d", i), func(c *concord.Config) { c.BindAddr, c.AdvAddr = bind, f.addr() })
		if c.Address() != f.addr() {
			t.Errorf("advertises %s, want %s", c.Address(), f.addr())
		}
		members = enter(t, members, c)
	}
	awaitIdeal(t, members)
	for _, c := range members {
		for i := range 20 {
			key := fmt.Sprintf("key%d", i)
			if got, want := lookup(t, c, key, concord.Fresh()), ownerOf(members, idOf(key)); got != want {
				t.Errorf("%s: %q: %v, want %v", c.Name(), key, got, want)
			}
		}
	}
}

// connectSilently makes n connections that say nothing for the length of the test.
func connectSilently(t *testing.T, n int, addr string) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestStopIsQuickBesideConnectionsThatSayNothing(t *testing.T) {
	members := newRing(t, 2)
	connectSilently(t, 20, members[0].Address())
	awaitIdeal(t, members)
	began := time.Now()
	members[0].Stop()
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	}
	awaitIdeal(t, members[1:])
}

func TestLeaveIsQuickBesideConnectionsThatSayNothing(t *testing.T) {
	members := newRing(t, 3)
	connectSilently(t, 20, members[0].Address())
	began := time.Now()
	if err := members[0].Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestNoiseOnThePortHarmsNothing(t *testing.T) {
	members := newRing(t, 3)
	before := pointers(members)
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for _, noise := range []string{
		"", "\x00", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", preface, preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	} {
		for _, c := range members {
			conn, err := net.Dial("tcp", c.Address())
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, noise)
			conn.Close()
		}
	}
	for _, c := range members {
		if got, want := lookup(t, c, "key", concord.Fresh()), ownerOf(members, idOf("key")); got != want {
			t.Errorf("%s: %v, want %v", c.Name(), got, want)
		}
	}
	samePointers(t, members, before)
}

func TestRingOverLossyNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(7)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		network.Lose(0.05)
		var members []*concord.Concord
		for i := range 8 {
			c := memoryMember(t, network, fmt.Sprintf("member%d", i))
			if i == 0 {
				if err := c.Create(); err != nil {
					t.Fatal(err)
				}
			} else {
				if err := poll(10*time.Minute, func() error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					return c.Join(ctx, members[0].Address())
				}); err != nil {
					t.Fatal(err)
				}
			}
			members = append(members, c)
		}
		if err := poll(5*time.Minute, func() error { return ideal(members) }); err != nil {
			t.Error(err)
		}
		for _, c := range members {
			for i := range 10 {
				key := fmt.Sprintf("key%d", i)
				if err := poll(time.Minute, func() error {
					_, err := c.Lookup([]byte(key))
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		}
		network.Lose(0)
		if err := poll(time.Minute, func() error { return ideal(members) }); err != nil {
			t.Error(err)
		}
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestThreeMembersOnRealSockets(t *testing.T) {
	a := create(t, "node1")
	ring := []*concord.Concord{a}
	for i := 2; i <= 3; i++ {
		b := start(t, fmt.Sprintf("node%d", i))
		began := time.Now()
		if err := b.Join(context.Background(), a.Address()); err != nil {
			t.Fatal(err)
		}
		t.Logf("joined in %v", time.Since(began))
		ring = append(ring, b)
	}
	awaitIdeal(t, ring)
	for i := range 20 {
		key := fmt.Appendf(nil, "key%d", i)
		owners := map[concord.Server]bool{}
		for _, c := range ring {
			s, err := c.Lookup(key)
			if err != nil {
				t.Fatal(err)
			}
			owners[s] = true
			if c.Owns(key) != (s.Name == c.Name()) {
				t.Errorf("%s: %s named, Owns says %v", c.Name(), s.Name, c.Owns(key))
			}
		}
		if len(owners) != 1 {
			t.Errorf("%s: owners %v", key, owners)
		}
	}
}

func TestRingOverIPv6(t *testing.T) {
	lis, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("SKIPPED: no IPv6 on loopback: %v", err)
	}
	lis.Close()
	six := func(c *concord.Config) { c.BindAddr = "[::1]:0" }
	a := create(t, "a", six)
	if !strings.HasPrefix(a.Address(), "[::1]:") {
		t.Fatalf("advertises %s", a.Address())
	}
	b := start(t, "b", six)
	join(t, b, a.Address())
	c := start(t, "c", func(c *concord.Config) { c.BindAddr, c.AdvAddr = "[::]:0", "[::1]:0" })
	join(t, c, b.Address())
	members := []*concord.Concord{a, b, c}
	awaitIdeal(t, members)
	for _, m := range members {
		if got := lookup(t, m, c.Name(), concord.Fresh()); got != serverOf(c) {
			t.Errorf("%s: %v", m.Name(), got)
		}
	}
}

func TestAdvertisedAddressOtherThanBound(t *testing.T) {
	members := []*concord.Concord{create(t, "a", func(c *concord.Config) { c.BindAddr, c.AdvAddr = "127.0.0.1:0", "localhost:0" })}
	for i, adv := range []string{"localhost:0", "127.0.0.1:0"} {
		c := start(t, fmt.Sprintf("member%d", i), func(c *concord.Config) { c.BindAddr, c.AdvAddr = "0.0.0.0:0", adv })
		join(t, c, members[0].Address())
		members = append(members, c)
	}
	awaitIdeal(t, members)
	for _, m := range members {
		if got := lookup(t, members[2], m.Name(), concord.Fresh()); got != serverOf(m) || strings.HasSuffix(got.Address, ":0") {
			t.Errorf("%v", got)
		}
	}
}
