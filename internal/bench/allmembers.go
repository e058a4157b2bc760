package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
)

// AllMembers is what lookups cost that all members of a ring make at the same time.
type AllMembers struct {
	Name     string        `json:"name"` // lookup-all-members
	Members  int           `json:"members"`
	Interval time.Duration `json:"interval_ns"`
	Rate     float64       `json:"rate_s"` // lookups of random keys that each began in a second
	Watched  time.Duration `json:"watched_ns"`
	Lookups  int           `json:"lookups"`
	Failed   int           `json:"failed"`
	// Memory is the share of lookups that no request was made for.
	Memory float64 `json:"memory"`
	// Bytes and Calls are those of Idle, with the loops that look up. So is CPU, in
	// milliseconds.
	Bytes float64 `json:"bytes_s"`
	Calls float64 `json:"calls_s"`
	CPU   float64 `json:"cpu_ms_s"`
	// PerS is how many lookups all members together answered in a second, when as many
	// callers as Callers asked random ones as fast as they could.
	PerS    float64 `json:"per_s"`
	Callers int     `json:"callers"`
}

// Bounds of the loops of an AllMembers.
const (
	allRate    = 50                    // lookups of each in a second
	allCallers = 16                    // as fast as they can
	allTick    = 20 * time.Millisecond // one lookup of each
)

// EveryoneLooks has all members look keys up for as long as watch, after half as long.
func EveryoneLooks(ctx context.Context, c *cluster.Cluster, interval, watch, window time.Duration) (AllMembers, error) {
	members := c.Members()
	out := AllMembers{
		Name: "lookup-all-members", Members: len(members), Interval: interval, Rate: allRate, Watched: watch, Callers: allCallers,
	}
	keys, err := Keys(keyCount, 3, func([]byte) bool { return true })
	if err != nil {
		return out, err
	}
	l := &allLookups{members: members, keys: keys, rng: rand.New(rand.NewPCG(1, 2))}
	if err := l.forAWhile(ctx, watch/2); err != nil {
		return out, err
	}
	l.done, l.failed = 0, 0
	memory0 := fromMemory(members)
	b0, c0, u0 := traffic(members)
	if err := l.forAWhile(ctx, watch); err != nil {
		return out, err
	}
	b1, c1, u1 := traffic(members)
	n, secs := float64(len(members)), u1.At.Sub(u0.At).Seconds()
	out.Lookups, out.Failed = l.done, l.failed
	out.Memory = rounded(min(1, float64(fromMemory(members)-memory0)/float64(max(1, l.done))), 0.0001)
	out.Bytes, out.Calls = rounded(float64(b1-b0)/secs/n, 0.1), rounded(float64(c1-c0)/secs/n, 0.01)
	out.CPU = rounded(u1.Since(u0).Processor/n/1e6, 0.001)
	out.PerS, err = l.asFastAsTheyCan(ctx, window)
	return out, err
}

// fromMemory is how many lookups of members were answered without a request.
func fromMemory(members []*concord.Concord) (n uint64) {
	for _, m := range members {
		k := m.Status().Counters
		n += k.Owned + k.Mapped + k.Confirmed
	}
	return n
}

type allLookups struct {
	members      []*concord.Concord
	keys         [][]byte
	rng          *rand.Rand
	done, failed int
}

// forAWhile lets each member look up a key at each tick. One loop does it, so that the
// loops take little of what is measured; a lookup that asks somebody does not hold up
// the others.
func (l *allLookups) forAWhile(ctx context.Context, d time.Duration) error {
	tick := time.NewTicker(allTick)
	defer tick.Stop()
	var failed atomic.Int64
	var asking sync.WaitGroup
	for end := time.Now().Add(d); time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			asking.Wait()
			return ctx.Err()
		}
		for _, m := range l.members {
			key := l.keys[l.rng.IntN(len(l.keys))]
			l.done++
			asking.Go(func() {
				if _, err := m.LookupContext(ctx, key); err != nil {
					failed.Add(1)
				}
			})
		}
	}
	asking.Wait()
	l.failed += int(failed.Load())
	return ctx.Err()
}

// asFastAsTheyCan is how many lookups of random members are answered in a second.
func (l *allLookups) asFastAsTheyCan(ctx context.Context, window time.Duration) (float64, error) {
	var done atomic.Int64
	errs := make(chan error, allCallers)
	began := time.Now()
	for i := range allCallers {
		rng := rand.New(rand.NewPCG(uint64(i), 3))
		go func() {
			for time.Since(began) < window && ctx.Err() == nil {
				for range Batch {
					x := rng.Uint64()
					m := l.members[x%uint64(len(l.members))]
					if _, err := m.LookupContext(ctx, l.keys[(x>>32)%uint64(len(l.keys))]); err != nil {
						errs <- fmt.Errorf("lookup of %s: %w", m.Name(), err)
						return
					}
				}
				done.Add(Batch)
			}
			errs <- nil
		}()
	}
	var first error
	for range allCallers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return rounded(float64(done.Load())/time.Since(began).Seconds(), 1), first
}
