package concord_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// drained checks what a drained member says of itself, and that its lookups name the owners
// among the rest.
func drained(t *testing.T, c *concord.Concord, rest []*concord.Concord) {
	t.Helper()
	phase(t, c, concord.PhaseDrained)
	if st := c.Status(); st.Weight != 0 || st.VirtualNodes != 0 || st.Share != 0 || len(st.Ranges) != 0 {
		t.Errorf("%s has drained, and its status is %+v", c.Name(), st)
	}
	known := c.Status().Acquaintances
	if len(known) == 0 || slices.Contains(known, serverOf(c)) {
		t.Errorf("%s has drained, and finds owners by %v", c.Name(), known)
	}
	if c.Joined() || c.Ranges() != nil || c.Range() != (concord.Range{}) || c.Successors() != nil {
		t.Errorf("%s is in a ring: %v, %v", c.Name(), c.Ranges(), c.Successors())
	}
	if err := c.Ready(); !errors.Is(err, concord.ErrNotJoined) {
		t.Errorf("Ready: %v", err)
	}
	if err := c.Alive(); err != nil {
		t.Errorf("Alive: %v", err)
	}
	wantErr(t, "Create", c.Create(), concord.ErrDrained)
	wantErr(t, "Join", c.Join(t.Context(), rest[0].Address()), concord.ErrDrained)
	all := keys(50)
	several, err := c.LookupAll(t.Context(), all)
	if err != nil {
		t.Errorf("%s: %v", c.Name(), err)
	}
	for i, key := range all {
		if c.Owns(key) {
			t.Errorf("%s owns %q", c.Name(), key)
		}
		for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}} {
			got, err := c.LookupContext(t.Context(), key, opts...)
			if err != nil {
				t.Fatalf("%s: lookup of %q: %v", c.Name(), key, err)
			}
			for _, x := range rest {
				if x.Owns(key) && (got != serverOf(x) || several[i] != got) {
					t.Errorf("%s: %q belongs to %v and %v, not %s", c.Name(), key, got, several[i], x.Name())
				}
			}
		}
	}
	// What it remembers may name one that has drained just now.
	if list, err := c.LookupN(t.Context(), all[0], 2, concord.Fresh()); err != nil || len(list) != min(2, len(rest)) {
		t.Errorf("%s: two of %d: %v, %v", c.Name(), len(rest), list, err)
	}
	seen := 0
	for m, err := range c.Members(t.Context(), concord.Fresh()) {
		if errors.Is(err, concord.ErrNotJoined) {
			continue // another that has drained, and was known before
		}
		if seen++; err != nil || m.Server.Name == c.Name() {
			t.Errorf("%s names the member %v: %v", c.Name(), m.Server, err)
		}
	}
	if seen != len(rest) {
		t.Errorf("%s names %d members of %d", c.Name(), seen, len(rest))
	}
}

// leadsOn checks that a client which is given the address of a drained member alone finds the
// ring.
func leadsOn(t *testing.T, c *concord.Concord) {
	t.Helper()
	client, err := concord.Dial(t.Context(), concord.ClientConfig{}, c.Address())
	if err != nil {
		t.Fatalf("a client of %s: %v", c.Name(), err)
	}
	defer client.Close()
	if s, err := client.Lookup([]byte("key")); err != nil || s.Name == c.Name() {
		t.Errorf("a client of %s: %v, %v", c.Name(), s, err)
	}
}

func TestDrain(t *testing.T) {
	members := newRing(t, 4)
	c, rest := members[1], []*concord.Concord{members[0], members[2], members[3]}
	before := c.Status().Incarnation
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitIdeal(t, rest)
	drained(t, c, rest)
	leadsOn(t, c)
	newcomer := start(t, "newcomer")
	join(t, newcomer, c.Address())
	awaitIdeal(t, append(slices.Clone(rest), newcomer))
	if err := newcomer.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := c.SetWeight(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	awaitIdeal(t, members)
	if st := c.Status(); st.Incarnation <= before || st.Weight != 1 || st.VirtualNodes != 1 || st.Phase != concord.PhaseJoined {
		t.Errorf("it is back as %+v, and was incarnation %d", st, before)
	}
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Leave(t.Context()); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	join(t, c, rest[0].Address())
	awaitIdeal(t, members)
}

func TestDrainOfVirtualNodes(t *testing.T) {
	all := virtual(t, 4, 16, 1)
	settledRanges(t, all)
	if err := all[1].Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	rest := []*concord.Concord{all[0], all[2]}
	settledRanges(t, rest)
	drained(t, all[1], rest)
	if err := all[1].SetWeight(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	settledRanges(t, all)
	if st := all[1].Status(); st.Weight != 8 || st.VirtualNodes != 8 {
		t.Errorf("it is back with %d of %d identifiers", st.VirtualNodes, st.Weight)
	}
	for _, c := range all[:2] {
		if err := c.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	settledRanges(t, all[2:])
	wantErr(t, "Drain of the last", all[2].Drain(t.Context()), concord.ErrAlone)
	settledRanges(t, all[2:])
	drained(t, all[0], all[2:])
	leadsOn(t, all[0])
}

// Of members that drain at once one stays, and the others come back to it.
func TestOfAllThatDrainOneStays(t *testing.T) {
	for _, nodes := range []uint{1, 4} {
		all := virtual(t, nodes, nodes, nodes)
		settledRanges(t, all)
		errs := make([]error, len(all))
		var draining sync.WaitGroup
		for i, c := range all {
			draining.Go(func() { errs[i] = c.Drain(t.Context()) })
		}
		draining.Wait()
		var stay, gone []*concord.Concord
		for i, c := range all {
			switch {
			case errs[i] == nil:
				gone = append(gone, c)
			case errors.Is(errs[i], concord.ErrAlone):
				stay = append(stay, c)
			default:
				t.Errorf("%s: %v", c.Name(), errs[i])
			}
		}
		if len(stay) == 0 {
			t.Fatal("nobody is left")
		}
		settledRanges(t, stay)
		for _, c := range gone {
			drained(t, c, stay)
		}
		for _, c := range gone {
			if err := c.SetWeight(t.Context(), int(nodes)); err != nil {
				t.Errorf("%s: %v", c.Name(), err)
			}
		}
		settledRanges(t, all)
	}
}

func TestDrainIsRefusedInWords(t *testing.T) {
	c := concord.New(configure("node"))
	wantErr(t, "before Start", c.Drain(t.Context()), concord.ErrNotStarted)
	c = start(t, "node")
	wantErr(t, "before Create", c.Drain(t.Context()), concord.ErrNotJoined)
	if err := c.Create(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "alone", c.Drain(t.Context()), concord.ErrAlone)
	mentions(t, c.SetWeight(t.Context(), -1), "must be 0 or 1")
	if !c.Joined() || !c.Owns([]byte("key")) {
		t.Error("a refused Drain has changed something")
	}
	c.Stop()
	wantErr(t, "after Stop", c.Drain(t.Context()), concord.ErrStopped)

	several := virtualMember(t, "several", 4, nil)
	if err := several.Create(); err != nil {
		t.Fatal(err)
	}
	if err := several.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "alone with several identifiers", several.Drain(t.Context()), concord.ErrAlone)
	if n := len(several.Ranges()); n != 4 {
		t.Errorf("%d ranges after a Drain that was refused", n)
	}
	wantErr(t, "a weight below 0", several.SetWeight(t.Context(), -1), concord.ErrWeight)
	if st := several.Status(); st.Weight != 4 || st.Phase != concord.PhaseJoined {
		t.Errorf("after what was refused: %+v", st)
	}
}

// A Drain whose context ends goes on.
func TestDrainInEndedContextGoesOn(t *testing.T) {
	all := virtual(t, 4, 4, 1)
	settledRanges(t, all)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "Drain", all[1].Drain(ctx), context.Canceled)
	if err := all[1].Drain(t.Context()); err != nil {
		t.Error(err)
	}
	rest := []*concord.Concord{all[0], all[2]}
	settledRanges(t, rest)
	drained(t, all[1], rest)
}

// While a member drains under calls, each call reaches whoever serves its key, if its caller
// follows refusals, and no lookup fails.
func TestNoCallFailsWhileAMemberDrains(t *testing.T) {
	for _, nodes := range []uint{1, 4} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { drainUnderCalls(t, nodes) })
		})
	}
}

func drainUnderCalls(t *testing.T, nodes uint) {
	network := memory.NewNetwork(1)
	network.Delay(time.Millisecond, 5*time.Millisecond)
	var members []*concord.Concord
	services := map[string]*concord.Service{}
	var released atomic.Int32
	for i := range 4 {
		c := memoryMember(t, network, fmt.Sprint("member", i), func(c *concord.Config) { c.VirtualNodes = nodes })
		members = enter(t, members, c)
		h := concord.Handler{}
		if i == 1 {
			h.Release = func(context.Context, concord.Range, []concord.Server, uint64) {
				time.Sleep(50 * time.Millisecond)
				released.Add(1)
			}
			h.Release = serially(h.Release)
		}
		services[c.Name()] = c.Serve(t.Context(), h)
	}
	time.Sleep(20 * time.Second)
	had := len(members[1].Ranges())
	if had == 0 {
		t.Fatal("the member to be drained has no range")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	calls := 0
	for i, c := range members { // the one that drains, too
		callers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				callServed(t, c, services, fmt.Appendf(nil, "key %d %d", i, n))
				if i == 0 {
					calls++
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	time.Sleep(time.Second)
	released.Store(0) // of joins
	if err := members[1].Drain(t.Context()); err != nil {
		t.Error(err)
	}
	time.Sleep(20 * time.Second)
	cancel()
	callers.Wait()
	if n := int(released.Load()); n != had || calls < 1000 {
		t.Errorf("%d of %d ranges released, %d calls", n, had, calls)
	}
	drained(t, members[1], []*concord.Concord{members[0], members[2], members[3]})
	stopAll(members)
}

// serially makes calls of f one after another.
func serially(f func(context.Context, concord.Range, []concord.Server, uint64)) func(context.Context, concord.Range, []concord.Server, uint64) {
	turn := make(chan struct{}, 1)
	return func(ctx context.Context, r concord.Range, to []concord.Server, epoch uint64) {
		turn <- struct{}{}
		defer func() { <-turn }()
		f(ctx, r, to, epoch)
	}
}

// callServed finds whoever serves the key, as a caller does that follows refusals.
func callServed(t *testing.T, by *concord.Concord, services map[string]*concord.Service, key []byte) {
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		s, err := by.LookupContext(context.Background(), key)
		if err != nil {
			t.Errorf("%s: %v", by.Name(), err)
			return
		}
		if _, ok := services[s.Name].Serves(key); ok {
			return
		}
		by.Reject(key, s)
		if time.Since(began) > 2*time.Second {
			t.Errorf("%s: %q is served by nobody, last asked %s", by.Name(), key, s.Name)
			return
		}
	}
}

// With leases, no two members own a key while one drains and comes back, and each key has an
// owner again at once: ranges are handed on by words.
func TestDrainWithLeases(t *testing.T) {
	for what, leased := range leasings {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { drainWithLeases(t, leased) })
		})
	}
}

func drainWithLeases(t *testing.T, leased func(*concord.Config)) {
	members := leasedRing(t, memory.NewNetwork(1), 5, leased)
	all := keys(20)
	// without is for how long a key had no owner at most, within so long.
	without := func(d time.Duration) (most time.Duration) {
		missing := make([]time.Duration, len(all))
		for range d / (10 * time.Millisecond) {
			time.Sleep(10 * time.Millisecond)
			for i, key := range all {
				if missing[i] += 10 * time.Millisecond; owners(t, members, key) > 0 {
					missing[i] = 0
				}
				most = max(most, missing[i])
			}
		}
		return most
	}
	weight := len(members[1].Ranges())
	time.Sleep(2 * lease)
	done := make(chan error, 1)
	go func() { done <- members[1].Drain(t.Context()) }()
	if most := without(lease); most > time.Second {
		t.Errorf("draining: a key has no owner for %v", most)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := members[1].SetWeight(t.Context(), weight); err != nil {
		t.Error(err)
	}
	if most := without(2 * lease); most > time.Second || members[1].Range().IsZero() {
		t.Errorf("back: a key has no owner for %v; it has %v", most, members[1].Range())
	}
	stopAll(members)
}
