package concord_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

func TestLeaveBeforeJoinStops(t *testing.T) {
	c := start(t, "node")
	if err := c.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	outside(t, "after Leave", c, concord.ErrStopped)
}

func TestLeaveInEndedContextStopsAllTheSame(t *testing.T) {
	members := newRing(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := members[1].Leave(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	phase(t, members[1], "stopped")
	awaitIdeal(t, []*concord.Concord{members[0], members[2]})
}

func TestRingLeavesAllAtOnce(t *testing.T) {
	members := newRing(t, 5)
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	for _, c := range members {
		wg.Go(func() {
			if err := c.Leave(ctx); err != nil {
				t.Errorf("%s: %v", c.Name(), err)
			}
		})
	}
	wg.Wait()
	t.Logf("all left in %v", time.Since(began))
}

// Members that are not its neighbours may name it for a moment longer, so only
// the owner's own word is asked for.
func TestLeaveHandsOverWithoutWrongAnswers(t *testing.T) {
	members := newRing(t, 4)
	rest := []*concord.Concord{members[0], members[2], members[3]}
	if err := members[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		key := fmt.Sprintf("key%d", i)
		for _, c := range rest {
			if got, want := lookup(t, c, key, concord.Fresh()), ownerOf(rest, idOf(key)); got != want {
				t.Errorf("%s: %q: %v, want %v", c.Name(), key, got, want)
			}
		}
	}
	awaitIdeal(t, rest)
}

func TestLeaveMoreThanOnceAtTheSameTime(t *testing.T) {
	for range 50 {
		c := start(t, "node")
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				<-begin
				if err := c.Leave(t.Context()); err != nil && !errors.Is(err, concord.ErrStopped) {
					t.Error(err)
				}
			})
		}
		close(begin)
		within(t, patience, "Leave", wg.Wait)
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
				return errors.New(p.String())
			}
			return nil
		})
		if err := c.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		wantErr(t, "Join", receive(t, joined, patience, "Join"), concord.ErrStopped)
	}
}

func TestLeaveWhoseNeighbourHangsEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, time.Millisecond)
		members := memoryRing(t, network, 3, func(c *concord.Config) { c.StabilizeInterval = time.Hour })
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
