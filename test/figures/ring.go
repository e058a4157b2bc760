//go:build unix

package main

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/bench"
	"github.com/ollelogdahl/concord/internal/cluster"
)

// interval is the stabilize interval of the figures that do not say another.
const interval = 200 * time.Millisecond

func newCluster(every time.Duration) *cluster.Cluster {
	return cluster.New(func(int) concord.Config {
		return concord.Config{StabilizeInterval: every}
	})
}

// settled makes an ideal ring of n that has had some rounds to find its
// fingers.
func settled(ctx context.Context, n int, every time.Duration) (*cluster.Cluster, error) {
	c := newCluster(every)
	if _, err := c.AddMany(ctx, n); err != nil {
		c.Close()
		return nil, err
	}
	if err := idealWithin(ctx, c, 30*every); err != nil {
		c.Close()
		return nil, err
	}
	pause(ctx, 6*every)
	return c, nil
}

func idealWithin(ctx context.Context, c *cluster.Cluster, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := c.WaitIdeal(ctx)
	return err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func intervals(d time.Duration) string {
	return fmt.Sprintf("%.2f intervals (%v)", float64(d)/float64(interval), d.Round(time.Millisecond))
}

// storm lets n−1 members join a ring of one at once.
func storm(n, limit int) func(context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		r := result{asked: fmt.Sprintf("within %d intervals", limit)}
		c := newCluster(interval)
		defer c.Close()
		if _, err := c.Add(ctx); err != nil {
			return r, err
		}
		ms, err := c.Start(n - 1)
		if err != nil {
			return r, err
		}
		began := time.Now()
		joined := make(chan error, 1)
		go func() { joined <- c.Join(ctx, ms) }()
		if err := <-joined; err != nil {
			return r, err
		}
		all := time.Since(began)
		if err := idealWithin(ctx, c, 30*interval); err != nil {
			return r, err
		}
		took := time.Since(began)
		for until := time.Now().Add(3 * interval); time.Now().Before(until); pause(ctx, interval/20) {
			if w := c.Wrong(); w != "" {
				return r, fmt.Errorf("did not stay ideal: %s", w)
			}
		}
		r.measured = fmt.Sprintf("%s; the last join returned after %v", intervals(took), all.Round(time.Millisecond))
		r.reached = took <= time.Duration(limit)*interval
		return r, nil
	}
}

func joins(ctx context.Context) (result, error) {
	r := result{asked: "15 ms"}
	c, err := settled(ctx, 8, interval)
	if err != nil {
		return r, err
	}
	defer c.Close()
	var took []time.Duration
	for i := range 100 {
		ms, err := c.Start(1)
		if err != nil {
			return r, err
		}
		via := c.Members()[i%8]
		began := time.Now()
		if err := c.Join(ctx, ms, via); err != nil {
			return r, err
		}
		took = append(took, time.Since(began))
		c.Kill(ms...)
		if err := idealWithin(ctx, c, 20*interval); err != nil {
			return r, err
		}
	}
	slices.Sort(took)
	r.measured = fmt.Sprintf("median %v, 90th percentile %v, most %v", took[50].Round(10*time.Microsecond), took[90].Round(10*time.Microsecond), took[99].Round(10*time.Microsecond))
	r.reached = took[50] <= 15*time.Millisecond
	return r, nil
}

// load looks keys up at the members that from gives until stopped.
type load struct {
	c       *cluster.Cluster
	stop    chan struct{}
	wg      sync.WaitGroup
	lookups atomic.Int64
	errs    atomic.Int64
	wrong   atomic.Int64
	slowest atomic.Int64
	firstE  atomic.Pointer[string]
}

// startLoad runs workers that look random keys up. judged, if not nil, is asked
// before each lookup whether its answer is to be held against the truth.
func startLoad(c *cluster.Cluster, workers int, from func(*rand.Rand) *concord.Concord, judged func() bool) *load {
	l := &load{c: c, stop: make(chan struct{})}
	for w := range workers {
		l.wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(time.Millisecond):
				}
				m := from(rng)
				if m == nil {
					continue
				}
				key := fmt.Appendf(nil, "key %d", rng.Uint64())
				judge := judged != nil && judged()
				began := time.Now()
				s, err := m.Lookup(key)
				l.took(time.Since(began))
				switch {
				case err != nil:
					if c.Alive(m) {
						l.errs.Add(1)
						text := err.Error()
						l.firstE.CompareAndSwap(nil, &text)
					}
				case judge && s != c.Truth(key):
					l.wrong.Add(1)
				}
			}
		})
	}
	return l
}

// took counts a lookup.
func (l *load) took(d time.Duration) {
	for old := l.slowest.Load(); int64(d) > old && !l.slowest.CompareAndSwap(old, int64(d)); old = l.slowest.Load() {
	}
	l.lookups.Add(1)
}

func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

func killTwo(ctx context.Context) (result, error) {
	r := result{asked: "ideal within 2 intervals, no lookup errs or takes over 1 s, none names a dead member once ideal"}
	var worst, slowest time.Duration
	var errs, wrong, lookups int64
	for round := range 5 {
		c, err := settled(ctx, 32, interval)
		if err != nil {
			return r, err
		}
		ms := c.Members()
		k := (7 * round) % 32
		victims := []*concord.Concord{ms[k], ms[(k+1)%32]}
		rest := slices.DeleteFunc(slices.Clone(ms), func(m *concord.Concord) bool { return slices.Contains(victims, m) })
		var ideal atomic.Bool
		l := startLoad(c, 4, func(rng *rand.Rand) *concord.Concord { return rest[rng.IntN(len(rest))] }, ideal.Load)
		pause(ctx, interval)
		began := time.Now()
		c.Kill(victims...)
		err = idealWithin(ctx, c, 20*interval)
		took := time.Since(began)
		ideal.Store(true)
		pause(ctx, 2*interval)
		l.end()
		c.Close()
		if err != nil {
			return r, err
		}
		worst = max(worst, took)
		slowest = max(slowest, time.Duration(l.slowest.Load()))
		errs += l.errs.Load()
		wrong += l.wrong.Load()
		lookups += l.lookups.Load()
	}
	r.measured = fmt.Sprintf("worst of 5: %s; %d lookups, %d errors, slowest %v, %d wrong once ideal", intervals(worst), lookups, errs, slowest.Round(time.Millisecond), wrong)
	r.reached = worst <= 2*interval && errs == 0 && slowest <= time.Second && wrong == 0
	return r, nil
}

func killOneOfTwo(ctx context.Context) (result, error) {
	r := result{asked: "within 2 intervals"}
	var worst time.Duration
	for range 10 {
		c, err := settled(ctx, 2, interval)
		if err != nil {
			return r, err
		}
		ms := c.Members()
		began := time.Now()
		c.Kill(ms[1])
		err = idealWithin(ctx, c, 20*interval)
		worst = max(worst, time.Since(began))
		c.Close()
		if err != nil {
			return r, err
		}
	}
	r.measured = "worst of 10: " + intervals(worst)
	r.reached = worst <= 2*interval
	return r, nil
}

// halves are the members of ms that are to die in a round, and the others: never more of
// one list than the ring is promised to survive.
func halves(ms []*concord.Concord, round int) (dead, alive []*concord.Concord) {
	for i, m := range ms {
		if i%4 == round%4 || i%4 == (round+1)%4 {
			dead = append(dead, m)
		} else {
			alive = append(alive, m)
		}
	}
	return dead, alive
}

// lookupRequests counts the requests of single lookups right after half of the
// members have died, before fingers can have been looked up again.
func lookupRequests(ctx context.Context) (result, error) {
	const n, succ = 64, 3
	bound := uint64(2*bits.Len(n-1) + 3*succ)
	r := result{asked: fmt.Sprintf("at most 2 log2 N + 3 SuccessorCount = %d", bound)}
	var most, total, lookups uint64
	for round := range 3 {
		c, err := settled(ctx, n, interval)
		if err != nil {
			return r, err
		}
		ms := c.Members()
		dead, alive := halves(ms, round)
		c.Kill(dead...)
		if err := idealWithin(ctx, c, 20*interval); err != nil {
			c.Close()
			return r, err
		}
		for i, m := range alive {
			for k := range 20 {
				before := m.Status().Counters
				if _, err := m.Lookup(fmt.Appendf(nil, "%d %d", i, k)); err != nil {
					c.Close()
					return r, err
				}
				after := m.Status().Counters
				if after.FingerLookups != before.FingerLookups || after.Lookups != before.Lookups+1 {
					continue // a finger was looked up meanwhile
				}
				asked := after.RouteRequests - before.RouteRequests
				most = max(most, asked)
				total += asked
				lookups++
			}
		}
		c.Close()
	}
	r.measured = fmt.Sprintf("most %d, mean %.2f, of %d lookups", most, float64(total)/float64(lookups), lookups)
	r.reached = most <= bound
	return r, nil
}

func churn(ctx context.Context) (result, error) {
	r := result{asked: "no join fails, no lookup errs or hangs, ideal within 5 intervals after"}
	c, err := bench.Churn{Members: 32, Interval: interval, Every: 500 * time.Millisecond, Time: time.Minute, Rate: 50}.Run(ctx)
	if err != nil {
		return r, err
	}
	r.measured = fmt.Sprintf("%d joins, %d failed; %d lookups, %d errors, slowest %v, %.2f %% named a wrong owner, at most %v after it had been one; ideal %s after",
		c.Joins, c.JoinsFailed, c.Lookups, c.Failed, c.Max.Round(time.Millisecond), 100*c.WrongShare, c.LateMax.Round(time.Millisecond), intervals(c.Ideal))
	if c.FirstError != "" {
		r.measured += "; " + c.FirstError
	}
	r.reached = c.JoinsFailed == 0 && c.Failed == 0 && c.Ideal <= 5*interval && c.Max < 5*time.Second
	return r, nil
}
