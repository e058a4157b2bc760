package concord_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// standIn serves as taker does, and stands in for a predecessor.
func standIn(t *testing.T, of *concord.Concord) *taker {
	k := &taker{t: t, of: of}
	k.s = of.Serve(t.Context(), concord.Handler{Take: k.take, StandIn: true})
	return k
}

// A member that leaves to return keeps its data, and its successor serves the range without
// a Take until it is back, or does not come back in time.
func TestReturning(t *testing.T) {
	for _, back := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(1)
			members := newMemoryRing(t, network, 3)
			leaver := memoryMember(t, network, nameBefore(members[0]))
			join(t, leaver, members[1].Address())
			awaitIdeal(t, append(members[:3:3], leaver))
			key := []byte(leaver.Name())
			k := standIn(t, members[0])
			l := serve(t, leaver, 0)
			time.Sleep(time.Second)
			var last concord.Event
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for e := range members[0].Watch(ctx) {
					last = e
				}
			}()
			synctest.Wait()
			name := serverOf(leaver)
			if err := leaver.Leave(t.Context(), concord.Returning(20*time.Second)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if l.calls() != "take" {
				t.Errorf("the leaver: calls %q", l.calls())
			}
			if d := time.Until(last.Returns); last.From != name || last.Cause != concord.CausePredecessorLeft || d > 20*time.Second || d < 19*time.Second {
				t.Errorf("the event of the successor: %+v", last)
			}
			if _, ok := k.s.Serves(key); !ok || k.calls() != "take" {
				t.Errorf("the successor: serves %v, calls %q", ok, k.calls())
			}
			time.Sleep(10 * time.Second)
			want := "take take"
			if back {
				want = "take"
				again := memoryMember(t, network, leaver.Name())
				join(t, again, members[1].Address())
				awaitIdeal(t, append(members[:3:3], again))
				members = append(members, again)
			}
			time.Sleep(15 * time.Second)
			if _, ok := k.s.Serves(key); ok == back || !strings.HasPrefix(k.calls(), want) || strings.Count(k.calls(), "take") != strings.Count(want, "take") {
				t.Errorf("later: serves %v, calls %q", ok, k.calls())
			}
			stopAll(members)
		})
	}
}

// A member with VirtualNodes says of all of its ranges that it is to be back: others stand in for
// each, and nobody takes anything until it is.
func TestReturningWithVirtualNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := concordtest.New(t, concordtest.Options{})
		all := r.Start(4, func(_ int, c *concord.Config) {
			c.VirtualNodes, c.StateDir = 8, t.TempDir() // by which it stands there again
		})
		r.Settle(t.Context())
		leaver := all[0]
		var away atomic.Pointer[[]concord.Range] // what it had
		serve := func(c *concord.Concord) *concord.Service {
			return c.Serve(t.Context(), concord.Handler{StandIn: true, Take: func(_ context.Context, gained concord.Range, _ []concord.Server, _ uint64) error {
				if was := away.Load(); was != nil && c != leaver && slices.ContainsFunc(*was, func(r concord.Range) bool { return len(r.Intersect(gained)) > 0 }) {
					t.Errorf("%s takes %v, whose owner is to be back", c.Name(), gained)
				}
				return nil
			}})
		}
		var services []*concord.Service
		for _, c := range all {
			services = append(services, serve(c))
		}
		everything := func(when string) {
			t.Helper()
			for _, key := range keys(200) {
				n := 0
				for _, s := range services {
					if _, ok := s.Serves(key); ok {
						n++
					}
				}
				if n != 1 {
					t.Fatalf("%s: %d members serve %q", when, n, key)
				}
			}
		}
		time.Sleep(5 * time.Second)
		everything("at first")
		was := leaver.Ranges()
		away.Store(&was)
		if err := leaver.Leave(t.Context(), concord.Returning(8*time.Second)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		everything("while it is away")
		r.Restart(leaver)
		services[0] = serve(leaver)
		r.Settle(t.Context())
		time.Sleep(5 * time.Second)
		everything("when it is back")
		time.Sleep(5 * time.Second) // its time is over
	})
}

// A lease that cannot be renewed is told before it ends.
func TestLeaseEndingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 5, leased, func(cfg *concord.Config) { cfg.MinMembers = 3 })
		time.Sleep(3 * lease)
		var mu sync.Mutex
		var ends, hook time.Time
		var left time.Duration
		cut := members[0]
		key := []byte(cut.Name())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			for e := range cut.Watch(ctx) {
				mu.Lock()
				if e.Cause == concord.CauseLeaseEnding && ends.IsZero() {
					ends, left = e.LeaseEnds, time.Until(e.LeaseEnds)
				}
				mu.Unlock()
			}
		}()
		s := cut.Serve(ctx, concord.Handler{LeaseEnding: func(until time.Time) {
			mu.Lock()
			defer mu.Unlock()
			if hook.IsZero() {
				hook = until
			}
		}})
		time.Sleep(3 * lease)
		synctest.Wait()
		mu.Lock()
		if !ends.IsZero() {
			t.Error("told while the lease is renewed")
		}
		mu.Unlock()
		// The one after its successor goes on naming that.
		network.Partition([]string{cut.Address()}, []string{cut.Successors()[0].Address})
		var owned time.Time
		for range 2 * lease / (10 * time.Millisecond) {
			time.Sleep(10 * time.Millisecond)
			if cut.Owns(key) {
				owned = time.Now()
			}
		}
		mu.Lock()
		if ends.IsZero() || left < 300*time.Millisecond || left > 1600*time.Millisecond || owned.After(ends) || !hook.Equal(ends) {
			t.Errorf("told %v before %v, the service %v; owned until %v", left, ends, hook, owned)
		}
		mu.Unlock()
		stopAll(members)
		<-s.Done()
	})
}

// Members whose leases are of different lengths say so, once for each neighbour.
func TestLeasesThatDifferAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		var records strings.Builder
		var mu sync.Mutex
		members := newMemoryRing(t, network, 3, leased)
		odd := memoryMember(t, network, "odd", func(cfg *concord.Config) {
			cfg.Lease = 2 * lease
			cfg.LogHandler = slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				return records.Write(b)
			}), nil)
		})
		join(t, odd, members[0].Address())
		time.Sleep(20 * time.Second)
		synctest.Wait()
		next := odd.Successors()[0].Name
		found := 0
		for _, f := range odd.Status().Failures {
			if f.Name == next && f.Cause == concord.OutcomeWrongRing && strings.Contains(f.Error, "Lease differs: 20s here, 10s there") {
				found++
			}
		}
		if found != 1 {
			t.Errorf("failures %+v", odd.Status().Failures)
		}
		mu.Lock()
		if n := strings.Count(records.String(), "peer="+next); n != 1 || !strings.Contains(records.String(), "Lease differs") {
			t.Errorf("%d records:\n%s", n, records.String())
		}
		mu.Unlock()
		for _, m := range members {
			for _, f := range m.Status().Failures {
				if f.Name != "odd" && strings.Contains(f.Error, "Lease differs") {
					t.Errorf("%s: %+v", m.Name(), f)
				}
			}
		}
		stopAll(append(members, odd))
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A member that has joined is ready when both neighbours point at it.
func TestReadyMeansSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 4)
		for _, m := range members {
			if err := m.Ready(); err != nil {
				t.Errorf("%s: %v", m.Name(), err)
			}
		}
		joiner := memoryMember(t, network, nameBefore(members[0]))
		join(t, joiner, members[1].Address())
		eventually(t, joiner.Ready)
		if err := joiner.Settled(t.Context()); err != nil {
			t.Error(err)
		}
		stopAll(append(members, joiner))
	})
}
