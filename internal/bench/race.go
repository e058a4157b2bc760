package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Batch is how many operations are timed together where one takes less than two
// microseconds or so: reading the clock takes some fifty nanoseconds itself.
const Batch = 1000

// A Case is an operation to be timed.
type Case struct {
	Name string
	// Batch is how many operations are timed together, 0 and 1: each.
	Batch int
	// Loop performs n operations, the from-th and those after it. It is called
	// concurrently.
	Loop func(ctx context.Context, from, n int) error
	// Requests, if set, counts the requests made by the case so far. If not, each
	// operation makes RPCs.
	Requests func() uint64
	RPCs     int
}

// A Race times cases in turns, so that what else the machine does meanwhile
// hits all of them alike.
type Race struct {
	Cases   []Case
	Callers []int // each case with each number of them
	// Rounds is how often each is timed, for Window each time. The figures are
	// the medians of the rounds' figures.
	Rounds int
	Window time.Duration
	// Progress, if set, hears how many of all windows are done.
	Progress func(done, of int, doing string)
}

// Timing is what one case took with one number of callers.
type Timing struct {
	Name    string  `json:"name"`
	Members int     `json:"members"`
	Callers int     `json:"callers"`
	Batch   int     `json:"batch"` // operations timed together; the quantiles are of their means
	Rounds  int     `json:"rounds"`
	Ops     int     `json:"ops"` // operations timed, in all rounds
	P50     float64 `json:"p50_ns"`
	P99     float64 `json:"p99_ns"`
	PerS    float64 `json:"per_s"`
	// Allocs and CPU are of the whole process, both ends of every request, less
	// what it uses in the same time while nobody looks up. Background work that
	// lookups cause is in them. Allocs is rounded to a tenth, below which it
	// cannot be told from the ring's upkeep.
	Allocs float64 `json:"allocs_op"`
	CPU    float64 `json:"cpu_ns_op"`
	// RPCs is how many requests the case made for one operation.
	RPCs float64 `json:"rpcs_op"`
}

// window is what was measured in one round.
type window struct {
	p50, p99, perS, allocs, cpu, rpcs float64
	ops                               int
}

// Run times everything. The timings come in the order of the cases, each with
// the callers in their order.
func (r *Race) Run(ctx context.Context) ([]Timing, error) {
	of := r.Rounds * len(r.Cases) * len(r.Callers)
	found := make([][]window, len(r.Cases)*len(r.Callers))
	done := 0
	for round := range r.Rounds {
		rest, err := r.rest(ctx)
		if err != nil {
			return nil, err
		}
		for i, callers := range r.Callers {
			for k := range r.Cases {
				k = (k + round) % len(r.Cases) // nobody always follows the same one
				c := &r.Cases[k]
				if r.Progress != nil {
					r.Progress(done, of, fmt.Sprintf("%s, callers: %d", c.Name, callers))
				}
				w, err := r.time(ctx, c, callers, rest)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", c.Name, err)
				}
				found[k*len(r.Callers)+i] = append(found[k*len(r.Callers)+i], w)
				done++
			}
		}
	}
	if r.Progress != nil {
		r.Progress(of, of, "")
	}
	var out []Timing
	for k := range r.Cases {
		for i, callers := range r.Callers {
			t := timing(found[k*len(r.Callers)+i])
			t.Name, t.Callers, t.Batch = r.Cases[k].Name, callers, max(1, r.Cases[k].Batch)
			out = append(out, t)
		}
	}
	return out, nil
}

// rest is what the process uses while nothing is timed.
func (r *Race) rest(ctx context.Context) (Rate, error) {
	before := Used()
	if err := Pause(ctx, r.Window); err != nil {
		return Rate{}, err
	}
	return Used().Since(before), nil
}

// time is one round of one case.
func (r *Race) time(ctx context.Context, c *Case, callers int, rest Rate) (window, error) {
	batch := max(1, c.Batch)
	// Connections wake up, arcs are confirmed again.
	for began, from := time.Now(), 0; time.Since(began) < r.Window/4; from += 4 * batch {
		if err := c.Loop(ctx, from, 4*batch); err != nil {
			return window{}, err
		}
	}
	runtime.GC() // the garbage of whoever came before
	took := make([][]float64, callers)
	errs := make([]error, callers)
	var requests uint64
	if c.Requests != nil {
		requests = c.Requests()
	}
	before := Used()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			mine := make([]float64, 0, 4096)
			from := i * 7919 // callers do not walk in step
			for began := time.Now(); ; {
				if err := c.Loop(ctx, from, batch); err != nil {
					errs[i] = err
					return
				}
				from += batch
				now := time.Now()
				mine = append(mine, float64(now.Sub(began))/float64(batch))
				if now.Sub(before.At) >= r.Window {
					break
				}
				began = now
			}
			took[i] = mine
		})
	}
	wg.Wait()
	after := Used()
	if err := errors.Join(errs...); err != nil {
		return window{}, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	w := window{p50: quantile(all, 0.5), p99: quantile(all, 0.99), ops: len(all) * batch}
	used := after.Since(before)
	ops := float64(w.ops)
	w.perS = ops / after.At.Sub(before.At).Seconds()
	w.allocs = max(0, used.Allocs-rest.Allocs) / w.perS
	w.cpu = max(0, used.Processor-rest.Processor) / w.perS
	w.rpcs = float64(c.RPCs)
	if c.Requests != nil {
		w.rpcs = float64(c.Requests()-requests) / ops
	}
	return w, nil
}

// timing puts the rounds together.
func timing(rounds []window) Timing {
	t := Timing{Rounds: len(rounds)}
	of := func(get func(window) float64) float64 {
		var all []float64
		for _, w := range rounds {
			all = append(all, get(w))
		}
		return Median(all)
	}
	for _, w := range rounds {
		t.Ops += w.ops
	}
	t.P50 = rounded(of(func(w window) float64 { return w.p50 }), 0.1)
	t.P99 = rounded(of(func(w window) float64 { return w.p99 }), 0.1)
	t.PerS = rounded(of(func(w window) float64 { return w.perS }), 1)
	t.Allocs = rounded(of(func(w window) float64 { return w.allocs }), 0.1)
	t.CPU = rounded(of(func(w window) float64 { return w.cpu }), 0.1)
	t.RPCs = rounded(of(func(w window) float64 { return w.rpcs }), 0.0001)
	return t
}

// Median is the middle of the values, the mean of the middle two if their number
// is even, 0 if there are none.
func Median[T ~int | ~int64 | ~float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// quantile is the value below which a share q of the sorted values lie.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// rounded keeps of x what is a multiple of the step.
func rounded(x, step float64) float64 {
	n := math.Round(x / step)
	if step < 1 {
		return n / math.Round(1/step) // 0.1 has no exact form, 10 has
	}
	return n * step
}

// Pause waits for d. It fails if ctx ends first.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
