//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
	"github.com/ollelogdahl/concord/internal/remote"
)

// Five processes are restarted one after another, each when the one before is in
// the ring again, as an upgrade is done, and that three times. A client that is no
// member looks keys up all the time, and not one lookup fails.
func TestRollingRestartUnderLookups(t *testing.T) { rollingRestart(t, 3, 1) }

// The same with 16 identifiers each, where each process drains before it ends.
func TestRollingRestartOfVirtualNodes(t *testing.T) { rollingRestart(t, 1, 16) }

func rollingRestart(t *testing.T, rounds, nodes int) {
	const (
		members = 5
		workers = 4
		pace    = 5 * time.Millisecond // between two lookups of one worker
		away    = 100                  // lookups while a member is gone
	)
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	begin := func(i int, bind string, join ...string) *child.Child {
		t.Helper()
		c, err := child.Start(ctx, child.Options{
			Binary: bin, Name: fmt.Sprintf("node%d", i), Bind: bind, Join: join, VirtualNodes: nodes, Args: []string{"--admin", "127.0.0.1:0"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ring := []*child.Child{begin(0, "127.0.0.1:0")}
	defer func() {
		for _, c := range ring {
			c.Kill()
		}
	}()
	addrs := []string{ring[0].Self.Address}
	for i := 1; i < members; i++ {
		ring = append(ring, begin(i, "127.0.0.1:0", addrs...))
		addrs = append(addrs, ring[i].Self.Address)
	}
	client, err := concord.Dial(ctx, concord.ClientConfig{}, addrs...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	var lookups atomic.Uint64
	var looking sync.WaitGroup
	over, end := context.WithCancel(ctx)
	defer looking.Wait()
	defer end()
	for w := range workers {
		looking.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-tick.C:
				case <-over.Done():
					return
				}
				began := time.Now()
				var opts []concord.LookupOption
				if i%4 == 0 {
					opts = append(opts, concord.Fresh())
				}
				if _, err := client.LookupContext(ctx, fmt.Appendf(nil, "key %d of %d", i, w), opts...); err != nil {
					t.Errorf("a lookup failed after %v: %v", time.Since(began), err)
				}
				lookups.Add(1)
			}
		})
	}
	again := time.NewTicker(pace)
	defer again.Stop()
	began := time.Now()
	for n := range rounds * members {
		i := n % members
		if nodes > 1 {
			drainAt(ctx, t, ring[i].Admin)
		}
		if err := ring[i].Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := ring[i].End(ctx); err != nil {
			t.Error(err)
		}
		for until := lookups.Load() + away; lookups.Load() < until && ctx.Err() == nil; {
			<-again.C
		}
		ring[i] = begin(i, addrs[i], addrs[(i+1)%members], addrs[(i+2)%members])
	}
	took := time.Since(began)
	end()
	looking.Wait()
	t.Logf("%d lookups during %d restarts in %v", lookups.Load(), rounds*members, took)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error("the restart did not end in time")
	}
}

// drainAt drains the member with that listener for operators.
func drainAt(ctx context.Context, t *testing.T, admin string) {
	t.Helper()
	c, err := remote.Dial(admin)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetWeight(ctx, 0); err != nil {
		t.Error(err)
	}
}
