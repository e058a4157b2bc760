//go:build unix

package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/bench"
	"github.com/ollelogdahl/concord/internal/child"
	"github.com/ollelogdahl/concord/internal/cluster"
)

// several is a ring of n members with so many VirtualNodes each, with names as people give
// them.
func several(ctx context.Context, n int, virtualNodes uint) (*cluster.Cluster, error) {
	c := cluster.New(func(i int) concord.Config {
		return concord.Config{Name: fmt.Sprintf("node-%d", i), StabilizeInterval: time.Second, VirtualNodes: virtualNodes}
	})
	for range n { // one after another, so that each knows where the others stand
		if _, err := c.Add(ctx); err != nil {
			c.Close()
			return nil, err
		}
	}
	if err := idealWithin(ctx, c, 30*time.Second); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// virtualJoins measures joins into a ring of 16 members with 16 VirtualNodes.
func virtualJoins(ctx context.Context) (result, error) {
	r := result{asked: "50 ms; share at most 1.15"}
	c, err := several(ctx, 16, 16)
	if err != nil {
		return r, err
	}
	defer c.Close()
	shares, sum := []float64{}, 0.0
	for _, m := range c.Members() {
		shares = append(shares, 16*m.Status().Share)
		sum += shares[len(shares)-1]
	}
	if sum < 15.99 || sum > 16.01 {
		return r, fmt.Errorf("the shares sum to %.3f", sum/16)
	}
	began := time.Now()
	met := 0
	for _, err := range c.Members()[0].Members(ctx) {
		if err != nil {
			return r, err
		}
		met++
	}
	walk := time.Since(began)
	if met != 16 {
		return r, fmt.Errorf("a walk has met %d members", met)
	}
	var took []time.Duration
	for i := range 20 {
		ms, err := c.Start(1)
		if err != nil {
			return r, err
		}
		began := time.Now()
		if err := c.Join(ctx, ms, c.Members()[i%16]); err != nil {
			return r, err
		}
		took = append(took, time.Since(began))
		if err := c.Leave(ctx, ms...); err != nil {
			return r, err
		}
		if err := idealWithin(ctx, c, 20*time.Second); err != nil {
			return r, err
		}
	}
	slices.Sort(took)
	most := slices.Max(shares)
	r.measured = fmt.Sprintf("median %v, most %v; largest share %.3f of the mean, smallest %.3f; a walk of all takes %v",
		took[10].Round(100*time.Microsecond), took[19].Round(100*time.Microsecond), most, slices.Min(shares), walk.Round(time.Millisecond))
	r.reached = took[10] <= 50*time.Millisecond && most <= 1.15
	return r, nil
}

// virtualKill measures how long a ring of 16 with 16 VirtualNodes takes to be ideal again
// when one is killed.
func virtualKill(ctx context.Context) (result, error) {
	r := result{asked: "2 intervals"}
	c, err := several(ctx, 16, 16)
	if err != nil {
		return r, err
	}
	defer c.Close()
	pause(ctx, 6*time.Second)
	var all []time.Duration
	for range 5 {
		began := time.Now()
		c.Kill(c.Members()[3])
		if err := idealWithin(ctx, c, 30*time.Second); err != nil {
			return r, err
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	r.measured = fmt.Sprintf("median %v, most %v, of 5", all[2].Round(time.Millisecond), all[4].Round(time.Millisecond))
	r.reached = all[4] <= 2*time.Second
	return r, nil
}

// virtualStop measures how long it takes until others own all keys of a process with 16
// VirtualNodes that hangs.
func virtualStop(ctx context.Context) (result, error) {
	r := result{asked: "default interval; –", reached: true}
	ps, end, err := child.BuildRing(ctx, 6, 16)
	if err != nil {
		return r, err
	}
	defer end()
	var all []time.Duration
	for i := range 5 {
		if _, err := ownAll(ctx, ps); err != nil {
			return r, err
		}
		pause(ctx, 12*time.Second) // the ring rests
		ps[i].Signal(syscall.SIGSTOP)
		others := slices.Delete(slices.Clone(ps), i, i+1)
		took, err := ownAll(ctx, others)
		if err != nil {
			return r, err
		}
		all = append(all, took)
		ps[i].Signal(syscall.SIGCONT)
	}
	slices.Sort(all)
	r.measured = fmt.Sprintf("median %v, most %v, of 5", all[2].Round(10*time.Millisecond), all[4].Round(10*time.Millisecond))
	return r, nil
}

// ownAll waits until the members own all keys together, each by one of them.
func ownAll(ctx context.Context, members []*child.Child) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for began := time.Now(); ; {
		sum := 0.0
		all, err := child.Statuses(ctx, members)
		for _, s := range all {
			sum += s.Share
		}
		if err == nil && sum > 1-1e-6 && sum < 1+1e-6 {
			return time.Since(began), nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("the shares sum to %.3f: %w", sum, cmp.Or(err, ctx.Err()))
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// virtualRest compares rings of 64 with 1 and 16 VirtualNodes: at rest, and lookups from memory.
func virtualRest(ctx context.Context) (result, error) {
	r := result{asked: "reported", reached: true}
	for _, v := range []uint{1, 16} {
		line, err := restOf(ctx, 64, v)
		if err != nil {
			return r, err
		}
		if r.measured != "" {
			r.measured += "<br>"
		}
		r.measured += line
	}
	return r, nil
}

func restOf(ctx context.Context, n int, virtualNodes uint) (string, error) {
	before := bench.Held().Spans
	c, err := several(ctx, n, virtualNodes)
	if err != nil {
		return "", err
	}
	defer c.Close()
	pause(ctx, 20*time.Second)
	ms := c.Members()
	requests := func() (total, bytes uint64) {
		for _, m := range ms {
			k := m.Status().Counters
			total += k.RouteRequests + k.RingRequests + k.MapRequests
			bytes += k.BytesWritten
		}
		return total, bytes
	}
	const watch = 20 * time.Second
	r0, b0 := requests()
	pause(ctx, watch)
	r1, b1 := requests()
	per := watch.Seconds() * float64(n)
	key := []byte("key-0")
	const lookups = 1 << 18
	began := time.Now()
	for i := range lookups {
		key[4] = byte(i)
		if _, err := ms[0].Lookup(key); err != nil {
			return "", err
		}
	}
	took := time.Since(began) / lookups
	return fmt.Sprintf("VirtualNodes %d: %.1f requests/s and %.0f B/s written per member, %.0f KiB heap; a lookup from memory takes %d ns",
		virtualNodes, float64(r1-r0)/per, float64(b1-b0)/per, float64(bench.Held().Spans-before)/1024/float64(n), took.Nanoseconds()), nil
}
