package concord_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
		if i == 0 {
			if err := c.Create(); err != nil {
				t.Fatal(err)
			}
		} else {
			join(t, c, members[0].Address())
		}
		members = append(members, c)
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

func TestStopIsQuickBesideConnectionsThatSayNothing(t *testing.T) {
	members := newRing(t, 2)
	for range 20 {
		conn, err := net.Dial("tcp", members[0].Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
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
	for range 20 {
		conn, err := net.Dial("tcp", members[0].Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
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

func TestMemberWhoseNameWasTakenWhileItHungYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 2*time.Millisecond)
		members := newMemoryRing(t, network, 5)
		old := members[2]
		network.Pause(old.Address())
		rest := append(members[:2:2], members[3:]...)
		awaitIdeal(t, rest)
		heir := memoryMember(t, network, old.Name(), func(c *concord.Config) { c.BindAddr = "elsewhere:1" })
		join(t, heir, members[0].Address())
		now := append([]*concord.Concord{heir}, rest...)
		awaitIdeal(t, now)
		network.Resume(old.Address())
		if err := poll(time.Minute, func() error {
			if p := old.Status().Phase; p != "superseded" {
				return errors.New(p)
			}
			return nil
		}); err != nil {
			t.Fatalf("the earlier one is %v after a minute", err)
		}
		awaitIdeal(t, now)
		outsideRing(t, old)
		_, err := old.Lookup([]byte("key"))
		wantErr(t, "Lookup", err, concord.ErrSuperseded)
		wantErr(t, "Create", old.Create(), concord.ErrSuperseded)
		wantErr(t, "Join", old.Join(t.Context(), members[0].Address()), concord.ErrSuperseded)
		old.Stop()
		if err := old.Start(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		wantErr(t, "Join after Start", old.Join(ctx, members[0].Address()), concord.ErrNameTaken)
		for _, c := range append(now, old) {
			c.Stop()
		}
	})
}

func TestStopAndStartDuringJoinBeginsAnew(t *testing.T) {
	hole := blackHole(t)
	for range 100 {
		c := start(t, "node")
		joined := make(chan error, 1)
		go func() { joined <- c.Join(t.Context(), hole) }()
		eventually(t, func() error {
			if p := c.Status().Phase; p != "joining" {
				return errors.New(p)
			}
			return nil
		})
		c.Stop()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(); err != nil {
			t.Fatalf("Create in the new life: %v", err)
		}
		wantErr(t, "Join in the old life", receive(t, joined, patience, "Join"), concord.ErrStopped)
		c.Stop()
	}
}

func TestLeaveEndsJoin(t *testing.T) {
	hole := blackHole(t)
	for range 10 {
		c := start(t, "node")
		joined := make(chan error, 1)
		go func() { joined <- c.Join(context.Background(), hole) }()
		eventually(t, func() error {
			if p := c.Status().Phase; p != "joining" {
				return errors.New(p)
			}
			return nil
		})
		if err := c.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		wantErr(t, "Join", receive(t, joined, patience, "Join"), concord.ErrStopped)
	}
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

func TestJoinPassesByAddressesThatSayNothing(t *testing.T) {
	t.Parallel() // it waits
	ring := newRing(t, 2)
	c := start(t, "joiner")
	join(t, c, blackHole(t), blackHole(t), ring[1].Address())
	awaitIdeal(t, append(ring, c))
}

func TestJoinWithoutDeadlineEndsAfterThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		c := memoryMember(t, network, "joiner")
		began := time.Now()
		err := c.Join(t.Context(), "nobody:1")
		if took := time.Since(began); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("took %v", took)
		}
		wantErr(t, "Join", err, context.DeadlineExceeded, concord.ErrUnavailable)
		c.Stop()
	})
}

func TestMembersMayKeepListsOfDifferentLengths(t *testing.T) {
	var members []*concord.Concord
	for i, count := range []uint{1, 3, 64, 2, 5, 1} {
		c := start(t, fmt.Sprintf("member%d", i), func(c *concord.Config) { c.SuccessorCount = count })
		if i == 0 {
			if err := c.Create(); err != nil {
				t.Fatal(err)
			}
		} else {
			join(t, c, members[i-1].Address())
		}
		members = append(members, c)
	}
	eventually(t, func() error {
		for _, c := range members {
			if p, ok := c.Predecessor(); !ok || c.Range() != (concord.Range{Start: p.Id, End: c.Id()}) || ownerOf(members, c.Id()) != serverOf(c) {
				return fmt.Errorf("%s: %v %v", c.Name(), p, c.Range())
			}
			for i := range 10 {
				key := fmt.Sprintf("key%d", i)
				if s, err := c.Lookup([]byte(key)); err != nil || s != ownerOf(members, idOf(key)) {
					return fmt.Errorf("%s: %q: %v, %v", c.Name(), key, s, err)
				}
			}
		}
		return nil
	})
}

func TestLeaveWhoseNeighbourHangsEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, time.Millisecond)
		members := newMemoryRing(t, network, 3, func(c *concord.Config) { c.StabilizeInterval = time.Hour })
		network.Pause(members[1].Address())
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		began := time.Now()
		wantErr(t, "Leave", members[0].Leave(ctx), context.DeadlineExceeded)
		if took := time.Since(began); took > 600*time.Millisecond {
			t.Errorf("took %v", took)
		}
		phase(t, members[0], "stopped")
		network.Resume(members[1].Address())
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestLeaveWhoseNeighbourHangsEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, time.Millisecond)
		members := newMemoryRing(t, network, 3)
		network.Pause(members[1].Address())
		began := time.Now()
		members[0].Leave(t.Context())
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		network.Resume(members[1].Address())
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestLookupsAreAnsweredDuringLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(20*time.Millisecond, 30*time.Millisecond)
		members := newMemoryRing(t, network, 5)
		left := make(chan error, 1)
		go func() { left <- members[2].Leave(t.Context()) }()
		for i := range 50 {
			for _, c := range append(members[:2:2], members[3:]...) {
				if _, err := c.Lookup(fmt.Appendf(nil, "key%d", i)); err != nil {
					t.Errorf("%s: %v", c.Name(), err)
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err := <-left; err != nil {
			t.Error(err)
		}
		awaitIdeal(t, append(members[:2:2], members[3:]...))
		for _, c := range members {
			c.Stop()
		}
	})
}

// Those that have gone fill the memory of those that stay; that must not keep
// them from dealing with the next.
func TestManyComeAndGo(t *testing.T) {
	ring := newRing(t, 3)
	for i := range 40 {
		c := start(t, fmt.Sprintf("guest%d", i))
		join(t, c, ring[0].Address())
		began := time.Now()
		if err := c.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("guest %d took %v to leave", i, took)
		}
	}
	awaitIdeal(t, ring)
}
