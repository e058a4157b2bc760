package concord_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// outside checks what a member that is in no ring says of itself; want is the
// error of everything that needs a ring.
func outside(t *testing.T, when string, c *concord.Concord, want error) {
	t.Helper()
	if s := c.Successors(); s != nil {
		t.Errorf("%s: successors %v", when, s)
	}
	if p, ok := c.Predecessor(); ok || p != (concord.Server{}) {
		t.Errorf("%s: predecessor %v, %v", when, p, ok)
	}
	if r := c.Range(); r != (concord.Range{}) {
		t.Errorf("%s: range %v", when, r)
	}
	if c.Joined() {
		t.Errorf("%s: joined", when)
	}
	if c.Owns([]byte("key")) || c.Owns(nil) || c.Owns([]byte(c.Name())) {
		t.Errorf("%s: owns a key", when)
	}
	s, err := c.Lookup([]byte("key"))
	if !errors.Is(err, want) || s != (concord.Server{}) {
		t.Errorf("%s: lookup: %v, %v, want %v", when, s, err, want)
	}
	s, err = c.LookupContext(t.Context(), nil, concord.Fresh(), concord.MaxAge(time.Second))
	if !errors.Is(err, want) || s != (concord.Server{}) {
		t.Errorf("%s: lookup in a context: %v, %v, want %v", when, s, err, want)
	}
	c.Reject([]byte("key"), concord.Server{Name: "x", Id: 1, Address: "127.0.0.1:1"})
	if c.Name() != "node" || c.Id() != idOf("node") {
		t.Errorf("%s: name %q, identifier %d", when, c.Name(), c.Id())
	}
	st := c.Status()
	if st.Range != nil || st.Predecessor != nil || len(st.Successors) != 0 || len(st.Fingers) != 0 || len(st.Acquaintances) != 0 {
		t.Errorf("%s: status %+v", when, st)
	}
	if st.Self.Name != "node" || st.Self.Id != c.Id() {
		t.Errorf("%s: status of %v", when, st.Self)
	}
}

// unable checks that a member refuses everything but Start.
func unable(t *testing.T, when string, c *concord.Concord, want error) {
	t.Helper()
	wantErr(t, when+": Create", c.Create(), want)
	wantErr(t, when+": Join", c.Join(t.Context(), "127.0.0.1:1"), want)
	wantErr(t, when+": Join nowhere", c.Join(t.Context()), want)
	wantErr(t, when+": Leave", c.Leave(t.Context()), want)
}

func phase(t *testing.T, c *concord.Concord, want concord.Phase) {
	t.Helper()
	if got := c.Status().Phase; got != want {
		t.Errorf("phase %q, want %q", got, want)
	}
}

func TestEveryMethodBeforeStart(t *testing.T) {
	c := concord.New(configure("node"))
	outside(t, "before Start", c, concord.ErrNotStarted)
	unable(t, "before Start", c, concord.ErrNotStarted)
	phase(t, c, "new")
	if err := c.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	outside(t, "stopped before Start", c, concord.ErrNotStarted)
	if err := c.Start(); err != nil {
		t.Errorf("Start after Stop: %v", err)
	}
	c.Stop()
}

func TestEveryMethodBeforeCreateOrJoin(t *testing.T) {
	c := start(t, "node")
	outside(t, "before Create", c, concord.ErrNotJoined)
	phase(t, c, "outside")
	wantErr(t, "Start again", c.Start(), concord.ErrStarted)
}

func TestEveryMethodAfterStop(t *testing.T) {
	c := create(t, "node")
	for range 3 {
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
		outside(t, "after Stop", c, concord.ErrStopped)
		unable(t, "after Stop", c, concord.ErrStopped)
		phase(t, c, "stopped")
	}
}

func TestEveryMethodAfterLeave(t *testing.T) {
	c := create(t, "node")
	if err := c.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	outside(t, "after Leave", c, concord.ErrStopped)
	unable(t, "after Leave", c, concord.ErrStopped)
	phase(t, c, "stopped")
}

func TestRingOfOne(t *testing.T) {
	c := create(t, "node")
	if err := ideal([]*concord.Concord{c}); err != nil {
		t.Fatal(err)
	}
	if !c.Owns([]byte("any")) {
		t.Error("does not own a key")
	}
	for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}, {concord.MaxAge(time.Nanosecond)}} {
		if got := lookup(t, c, "any", opts...); got != serverOf(c) {
			t.Error(got)
		}
	}
}

func TestSecondCreateOrJoinIsRefused(t *testing.T) {
	other := create(t, "other")
	c := create(t, "node")
	wantErr(t, "Create after Create", c.Create(), concord.ErrAlreadyJoined)
	wantErr(t, "Join after Create", c.Join(t.Context(), other.Address()), concord.ErrAlreadyJoined)
	if err := ideal([]*concord.Concord{c}); err != nil {
		t.Error(err)
	}
	d := start(t, "third")
	join(t, d, c.Address())
	wantErr(t, "Create after Join", d.Create(), concord.ErrAlreadyJoined)
	wantErr(t, "Join after Join", d.Join(t.Context(), other.Address()), concord.ErrAlreadyJoined)
	awaitIdeal(t, []*concord.Concord{c, d})
}

func TestCreateDuringJoinIsRefused(t *testing.T) {
	hole := blackHole(t)
	c := start(t, "node")
	ctx, cancel := context.WithCancel(t.Context())
	joined := make(chan error, 1)
	go func() { joined <- c.Join(ctx, hole) }()
	eventually(t, func() error {
		if c.Status().Phase != "joining" {
			return errors.New("not joining yet")
		}
		return nil
	})
	outside(t, "during Join", c, concord.ErrNotJoined)
	wantErr(t, "Create during Join", c.Create(), concord.ErrAlreadyJoined)
	wantErr(t, "Join during Join", c.Join(t.Context(), hole), concord.ErrAlreadyJoined)
	cancel()
	wantErr(t, "Join", receive(t, joined, patience, "Join"), context.Canceled)
	if err := c.Create(); err != nil {
		t.Errorf("Create after a Join that failed: %v", err)
	}
}

func TestStopEndsJoin(t *testing.T) {
	hole := blackHole(t)
	for i := range 20 {
		c := start(t, "node")
		joined := make(chan error, 1)
		go func() { joined <- c.Join(context.Background(), hole, "127.0.0.1:1") }()
		if i%2 == 0 {
			eventually(t, func() error {
				if c.Status().Phase != "joining" {
					return errors.New("not joining yet")
				}
				return nil
			})
		}
		within(t, patience, "Stop", func() { c.Stop() })
		wantErr(t, "Join", receive(t, joined, patience, "Join"), concord.ErrStopped)
		outside(t, "after Stop", c, concord.ErrStopped)
	}
}

func TestStopAtAnyTime(t *testing.T) {
	ring := newRing(t, 2)
	for round := range 15 {
		c := start(t, fmt.Sprintf("guest%d", round))
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for _, f := range []func(){
			func() { c.Join(context.Background(), ring[0].Address()) },
			func() { c.Create() },
			func() { c.Lookup([]byte("key")) },
			func() { c.LookupContext(t.Context(), []byte("key"), concord.Fresh()) },
			func() { c.Status(); c.Successors(); c.Predecessor(); c.Range(); c.Owns(nil) },
			func() { c.Reject([]byte("key"), serverOf(ring[1])) },
			func() { c.Stop() },
			func() { c.Stop() },
			func() { c.Leave(t.Context()) },
			func() { c.Start() },
		} {
			wg.Go(func() {
				<-begin
				f()
			})
		}
		close(begin)
		within(t, 2*patience, "everything at once", wg.Wait)
		c.Stop()
		phase(t, c, "stopped")
	}
	awaitIdeal(t, ring)
}

func TestStartAgainAfterStop(t *testing.T) {
	members := newRing(t, 3)
	c := members[1]
	incarnation := c.Status().Incarnation
	for range 3 {
		c.Stop()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		outsideRing(t, c)
		join(t, c, members[0].Address())
		awaitIdeal(t, members)
		if now := c.Status().Incarnation; now <= incarnation {
			t.Errorf("incarnation %d after %d", now, incarnation)
		} else {
			incarnation = now
		}
		if err := c.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		join(t, c, members[2].Address())
		awaitIdeal(t, members)
	}
}

func outsideRing(t *testing.T, c *concord.Concord) {
	t.Helper()
	if c.Joined() || c.Successors() != nil || c.Range() != (concord.Range{}) {
		t.Error("in a ring")
	}
}

func TestCreateAfterStopBeginsAnew(t *testing.T) {
	c := create(t, "node")
	for range 3 {
		c.Stop()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(); err != nil {
			t.Fatal(err)
		}
		if err := ideal([]*concord.Concord{c}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoDescriptorIsLeft(t *testing.T) {
	newRing(t, 1)[0].Stop() // what the process keeps for good is open now
	before := descriptors(t)
	members := newRing(t, 8)
	for _, c := range members {
		lookup(t, c, "key", concord.Fresh())
	}
	for i, c := range members {
		if i%2 == 0 {
			c.Stop()
		} else if err := c.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	}
	eventually(t, func() error {
		if now := descriptors(t); now > before {
			return fmt.Errorf("%d descriptors, %d before", now, before)
		}
		return nil
	})
	for _, c := range members {
		if n := c.Status().Connections; n != 0 {
			t.Errorf("%s: %d connections", c.Name(), n)
		}
	}
}

func TestStopEndsLookup(t *testing.T) {
	c, key := besideBlackHole(t)
	found := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := c.LookupContext(ctx, key, concord.Fresh())
		found <- err
	}()
	eventually(t, func() error {
		if c.Status().Counters.Lookups == 0 {
			return errors.New("no lookup yet")
		}
		return nil
	})
	c.Stop()
	if err := receive(t, found, patience, "the lookup"); err != nil && !errors.Is(err, concord.ErrStopped) {
		t.Errorf("got %v, want nothing or %v", err, concord.ErrStopped)
	}
}

func TestStopAndStartDuringJoinBeginsAnew(t *testing.T) {
	hole := blackHole(t)
	for range 100 {
		c := start(t, "node")
		joined := make(chan error, 1)
		go func() { joined <- c.Join(t.Context(), hole) }()
		eventually(t, func() error {
			if p := c.Status().Phase; p != "joining" {
				return errors.New(p.String())
			}
			return nil
		})
		c.Stop()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(); err != nil {
			t.Fatalf("Create in the new incarnation: %v", err)
		}
		wantErr(t, "Join before Stop", receive(t, joined, patience, "Join"), concord.ErrStopped)
		c.Stop()
	}
}
