package concord_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

func TestEveryMemberNamesTheSameOwner(t *testing.T) {
	members := newRing(t, 8)
	for i := range 20 {
		key := fmt.Sprintf("key%d", i)
		want := ownerOf(members, idOf(key))
		for _, c := range members {
			for what, opts := range map[string][]concord.LookupOption{
				"":                {},
				"fresh":           {concord.Fresh()},
				"1 ms":            {concord.MaxAge(time.Millisecond)},
				"1 h":             {concord.MaxAge(time.Hour)},
				"0":               {concord.MaxAge(0)},
				"negative":        {concord.MaxAge(math.MinInt64)},
				"fresh and 1 h":   {concord.Fresh(), concord.MaxAge(time.Hour)},
				"1 h, then fresh": {concord.MaxAge(time.Hour), concord.Fresh()},
				"verified":        {concord.Verified()},
				"1 h, verified":   {concord.MaxAge(time.Hour), concord.Verified()},
			} {
				if got := lookup(t, c, key, opts...); got != want {
					t.Errorf("%s: %q %s: %v, want %v", c.Name(), key, what, got, want)
				}
			}
		}
	}
}

func TestKeysOfAnyKind(t *testing.T) {
	members := newRing(t, 3)
	for _, key := range []string{"", "\x00", strings.Repeat("k", 1<<20), "key\xff"} {
		for _, c := range members {
			if got, want := lookup(t, c, key), ownerOf(members, idOf(key)); got != want {
				t.Errorf("%s: %v, want %v", c.Name(), got, want)
			}
		}
	}
	if got, err := members[0].Lookup(nil); err != nil || got != ownerOf(members, idOf("")) {
		t.Errorf("nil: %v, %v", got, err)
	}
}

func TestLookupErrorNamesTheKey(t *testing.T) {
	c, key := besideBlackHole(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.LookupContext(ctx, key, concord.Fresh())
	var le *concord.LookupError
	if !errors.As(err, &le) {
		t.Fatal(err)
	}
	if string(le.Key) != string(key) || le.Id != idOf(string(key)) || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v", le)
	}
}

func TestLookupInEndedContext(t *testing.T) {
	members := newRing(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	past, cancelPast := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancelPast()
	for _, c := range members {
		for i := range 5 {
			key := fmt.Appendf(nil, "key%d", i)
			_, err := c.LookupContext(ctx, key)
			wantErr(t, "cancelled", err, context.Canceled)
			_, err = c.LookupContext(past, key)
			wantErr(t, "past", err, context.DeadlineExceeded)
		}
	}
}

// The other half of a ring of two hangs: what it is asked for ends with the
// caller's deadline, not with that of a request.
func TestLookupHonoursDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		lazy := func(c *concord.Config) { c.StabilizeInterval = time.Hour }
		members := memoryRing(t, network, 2, lazy)
		c, other := members[0], members[1]
		network.Pause(other.Address())
		for _, limit := range []time.Duration{time.Nanosecond, time.Millisecond, 50 * time.Millisecond, 250 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			began := time.Now()
			_, err := c.LookupContext(ctx, []byte(other.Name()), concord.Fresh())
			cancel()
			if took := time.Since(began); took > limit {
				t.Errorf("%v: took %v", limit, took)
			}
			wantErr(t, limit.String(), err, context.DeadlineExceeded)
			var le *concord.LookupError
			if !errors.As(err, &le) {
				t.Fatalf("no *LookupError: %v", err)
			}
			if string(le.Key) != other.Name() || le.Id != other.Id() {
				t.Errorf("%+v", le)
			}
			if len(le.Hops) == 0 || le.Hops[0].Server != serverOf(other) || le.Hops[0].Err == nil || le.Hops[0].Took > limit {
				t.Errorf("hops %+v", le.Hops)
			}
			if !strings.Contains(err.Error(), other.Name()) || !strings.Contains(err.Error(), other.Address()) {
				t.Errorf("%v does not say who was asked", err)
			}
		}
		network.Resume(other.Address())
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestLookupWithoutDeadlineEndsAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		lazy := func(c *concord.Config) { c.StabilizeInterval = time.Hour }
		members := memoryRing(t, network, 2, lazy)
		network.Pause(members[1].Address())
		began := time.Now()
		_, err := members[0].LookupContext(t.Context(), []byte(members[1].Name()), concord.Fresh())
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err == nil {
			t.Error("found a member that hangs")
		}
		network.Resume(members[1].Address())
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestCancelledLookupReturns(t *testing.T) {
	c, key := besideBlackHole(t)
	ctx, cancel := context.WithCancel(t.Context())
	found := make(chan error, 1)
	go func() {
		_, err := c.LookupContext(ctx, key, concord.Fresh())
		found <- err
	}()
	cancel()
	if err := receive(t, found, time.Second, "the lookup"); err != nil {
		wantErr(t, "lookup", err, context.Canceled)
	}
}

func TestLookupBesideBlackHoleNamesTheLiving(t *testing.T) {
	t.Parallel() // it waits
	c, key := besideBlackHole(t)
	eventually(t, func() error {
		s, err := c.Lookup(key)
		if err == nil && s != serverOf(c) {
			err = fmt.Errorf("named %v", s)
		}
		return err
	})
	awaitIdeal(t, []*concord.Concord{c})
}

func TestLookupsAreQuickWhileMemberHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 3*time.Millisecond)
		members := newMemoryRing(t, network, 6)
		time.Sleep(10 * time.Second)
		network.Pause(members[3].Address())
		rest := append(members[:3:3], members[4:]...)
		var wg sync.WaitGroup
		for _, c := range rest {
			for i := range 40 {
				wg.Go(func() {
					key := fmt.Appendf(nil, "key%d", i)
					began := time.Now()
					if _, err := c.LookupContext(t.Context(), key); err != nil {
						t.Errorf("%s: %v", c.Name(), err)
					}
					if took := time.Since(began); took > 2*time.Second {
						t.Errorf("%s: took %v", c.Name(), took)
					}
				})
			}
		}
		wg.Wait()
		awaitIdeal(t, rest)
		network.Resume(members[3].Address())
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestRejectOfAnythingHarmsNothing(t *testing.T) {
	members := newRing(t, 3)
	c := members[0]
	for _, s := range []concord.Server{
		{},
		{Name: "x"},
		{Address: "x"},
		{Name: "x", Id: 5, Address: "not an address"},
		{Name: "x", Id: ^uint64(0), Address: "127.0.0.1:1"},
		{Name: strings.Repeat("x", 1<<16), Id: 5, Address: strings.Repeat("y", 1<<16)},
		{Name: members[1].Name(), Id: members[2].Id(), Address: c.Address()},
		serverOf(c),
		serverOf(members[1]),
		serverOf(members[2]),
	} {
		for _, key := range []string{"", "key", members[1].Name()} {
			c.Reject([]byte(key), s)
			if got, want := lookup(t, c, key), ownerOf(members, idOf(key)); got != want {
				t.Errorf("%v rejected: %q: %v, want %v", s, key, got, want)
			}
		}
	}
	for i := range 2000 {
		c.Reject(nil, concord.Server{Name: "x", Id: uint64(i), Address: fmt.Sprintf("127.0.0.1:%d", i)})
	}
	for i := range 20 {
		key := fmt.Sprintf("key%d", i)
		if got, want := lookup(t, c, key), ownerOf(members, idOf(key)); got != want {
			t.Errorf("%q: %v, want %v", key, got, want)
		}
	}
	awaitIdeal(t, members)
}

func TestRejectOfDeadMemberLeadsRoundIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, time.Millisecond)
		lazy := func(c *concord.Config) { c.StabilizeInterval = time.Minute }
		members := memoryRing(t, network, 5, lazy)
		dead := members[2]
		network.Pause(dead.Address())
		rest := append(members[:2:2], members[3:]...)
		before := rest[0]
		for _, c := range rest {
			if c.Successors()[0] == serverOf(dead) {
				before = c
			}
		}
		if got := lookup(t, before, dead.Name()); got != serverOf(dead) {
			t.Fatalf("named %v", got)
		}
		before.Reject([]byte(dead.Name()), serverOf(dead))
		began := time.Now()
		for lookup(t, before, dead.Name()) == serverOf(dead) {
			if time.Since(began) > 10*time.Second {
				t.Fatal("still named 10 s after Reject")
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("led round it after %v", time.Since(began))
		network.Resume(dead.Address())
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestLookupsWhileMembersComeAndGo(t *testing.T) {
	members := newRing(t, 5)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			c := members[g%5]
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				// One that hangs is an error after 5 s.
				if _, err := c.Lookup(fmt.Appendf(nil, "key%d", i)); err != nil {
					t.Errorf("%s: %v", c.Name(), err)
					return
				}
			}
		})
	}
	for i := range 8 {
		c := start(t, fmt.Sprintf("guest%d", i%4))
		join(t, c, members[i%5].Address())
		if i%2 == 0 {
			c.Stop()
		} else if err := c.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	awaitIdeal(t, members)
}

func TestLookupInRingOfTwoWhoseOtherHalfHasDied(t *testing.T) {
	for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}} {
		for range 10 {
			members := newRing(t, 2)
			members[1].Stop()
			s := lookup(t, members[0], members[1].Name(), opts...)
			if opts != nil && s != serverOf(members[0]) {
				t.Errorf("%v", s)
			}
			members[0].Stop()
		}
	}
}

func TestFreshLookupsBesideDeadMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(20*time.Millisecond, 30*time.Millisecond)
		members := newMemoryRing(t, network, 5)
		members[2].Stop()
		for _, c := range append(members[:2:2], members[3:]...) {
			for i := range 10 {
				before := c.Status().Counters.RouteRequests
				began := time.Now()
				_, err := c.LookupContext(t.Context(), fmt.Appendf(nil, "key%d", i), concord.Fresh())
				if err != nil {
					t.Errorf("%s: %v", c.Name(), err)
				}
				if n := c.Status().Counters.RouteRequests - before; n > 12 || time.Since(began) > 2*time.Second {
					t.Errorf("%s: %d requests, %v", c.Name(), n, time.Since(began))
				}
			}
		}
		for _, c := range members {
			c.Stop()
		}
	})
}

// Each member in turn says nothing for a while that is longer than a request waits.
func TestLookupOutlivesMomentOfSilence(t *testing.T) {
	for _, n := range []int{2, 5} {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(1)
			network.Delay(time.Millisecond, 5*time.Millisecond)
			members := newMemoryRing(t, network, n)
			time.Sleep(20 * time.Second)
			for _, owner := range members {
				for _, c := range members {
					if c == owner {
						continue
					}
					network.Pause(owner.Address())
					go func() {
						time.Sleep(700 * time.Millisecond)
						network.Resume(owner.Address())
					}()
					began := time.Now()
					_, err := c.LookupContext(t.Context(), fmt.Append(nil, owner.Name()), concord.Fresh())
					if took := time.Since(began); err != nil || took > 2500*time.Millisecond {
						t.Errorf("%d: %s asks for %s: %v: %.400v", n, c.Name(), owner.Name(), took, err)
					}
					time.Sleep(30 * time.Second)
				}
			}
			for _, c := range members {
				c.Stop()
			}
		})
	}
}
