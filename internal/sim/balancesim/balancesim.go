// Package balancesim lets rings grow by members that choose their identifiers, replaces half
// of them, and counts how even their shares of the circle are and what each change moves. The
// ring itself is given: every member knows at every instant who stands where.
package balancesim

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/balance"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Config says which rings there are.
type Config struct {
	From, To int    // members: of the smallest ring that is judged, and of the largest
	Weight   int    // identifiers of a member
	Weights  []int  // by how much Weight is multiplied, in turn; none: by 1
	Seed     uint64 // of the first name set
	Seeds    int    // name sets
	AtOnce   int    // name sets under way at once; 0: one a processor
}

// maxMembers bounds the rings.
const maxMembers = 4096

// rechoices bounds how many identifiers are chosen anew after each join and leave: one an
// interval, if that many intervals pass until the next.
const rechoices = 4

func (c *Config) check() error {
	var errs []error
	if c.From < 2 || c.To < c.From || c.To > maxMembers {
		errs = append(errs, fmt.Errorf("%d..%d members: use 2 to %d, the smaller first", c.From, c.To, maxMembers))
	}
	if c.Seeds < 1 {
		errs = append(errs, fmt.Errorf("%d seeds: use at least 1", c.Seeds))
	}
	if len(c.Weights) == 0 {
		c.Weights = []int{1}
	}
	for _, w := range c.Weights {
		if w < 1 || c.Weight < 1 || w*c.Weight > balance.MaxWeight {
			errs = append(errs, fmt.Errorf("%d identifiers times %d: use 1 to %d", c.Weight, w, balance.MaxWeight))
		}
	}
	if c.AtOnce < 1 {
		c.AtOnce = runtime.GOMAXPROCS(0)
	}
	return errors.Join(errs...)
}

// Quantiles are of many observations: shares by what is fair.
type Quantiles struct {
	P50, P99, Max float64
}

func quantiles(x []float64) Quantiles {
	if len(x) == 0 {
		return Quantiles{}
	}
	slices.Sort(x)
	at := func(q float64) float64 { return x[min(len(x)-1, int(math.Ceil(q*float64(len(x))))-1)] }
	return Quantiles{P50: at(0.5), P99: at(0.99), Max: x[len(x)-1]}
}

// Figures are what the rings of one way to choose came to. Shares and keys are by what is
// fair: 1 is the share that the member's weight makes fair.
type Figures struct {
	MaxMeanP50 float64 `json:"max_mean_p50"` // largest share of a member, in rings of all sizes
	MaxMeanP99 float64 `json:"max_mean_p99"`
	MaxMeanMax float64 `json:"max_mean_max"`
	WorstSize  int     `json:"worst_size"` // where the 99th percentile is the largest
	WorstP99   float64 `json:"worst_size_p99"`
	LeastP01   float64 `json:"min_mean_p01"` // smallest share

	ReplacedP50 float64 `json:"replaced_max_mean_p50"` // largest share after half were replaced
	ReplacedP99 float64 `json:"replaced_max_mean_p99"`
	ReplacedMax float64 `json:"replaced_max_mean_max"`

	MovedJoinMax  float64 `json:"moved_join_max"` // keys that a join moves
	MovedLeaveP50 float64 `json:"moved_leave_p50"`
	MovedLeaveP99 float64 `json:"moved_leave_p99"`
	MovedLeaveMax float64 `json:"moved_leave_max"`

	// Rechosen is the number of identifiers that were chosen anew for each join and leave,
	// and MovedRechosen the keys that moved by that, as a part of those
	// that the joins and leaves moved.
	Rechosen      float64 `json:"rechosen"`
	MovedRechosen float64 `json:"moved_rechosen"`

	// Class is by how much the share of all members of one weight was off, at most, in the
	// largest ring of each name set: 99th percentile.
	ClassP99 float64 `json:"class_off_p99,omitempty"`
}

// Size is the largest shares in rings of one size.
type Size struct {
	Members int     `json:"members"`
	P50     float64 `json:"max_mean_p50"`
	P99     float64 `json:"max_mean_p99"`
	Plain50 float64 `json:"plain_max_mean_p50"`
	Plain99 float64 `json:"plain_max_mean_p99"`
}

// Result is what all came to: the figures of members that choose, and of members that stand
// at the hashes of their names.
type Result struct {
	From    int   `json:"members_from"`
	To      int   `json:"members_to"`
	Weight  int   `json:"virtual_nodes"`
	Weights []int `json:"weights"`
	Seeds   int   `json:"seeds"`
	Figures
	Plain   Figures `json:"plain"`
	Seconds float64 `json:"seconds"`
	Sizes   []Size  `json:"sizes"`
}

// Run runs all name sets.
func Run(c Config, progress func(done int)) (*Result, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	began := time.Now()
	chosen, plain := make([]*growth, c.Seeds), make([]*growth, c.Seeds)
	var mu sync.Mutex
	var errs error
	var wg sync.WaitGroup
	turns := make(chan int)
	done := 0
	for range c.AtOnce {
		wg.Go(func() {
			for i := range turns {
				a, err1 := grow(&c, c.Seed+uint64(i), false)
				b, err2 := grow(&c, c.Seed+uint64(i), true)
				mu.Lock()
				chosen[i], plain[i] = a, b
				errs = cmp.Or(errs, err1, err2)
				done++
				if progress != nil {
					progress(done)
				}
				mu.Unlock()
			}
		})
	}
	for i := range c.Seeds {
		turns <- i
	}
	close(turns)
	wg.Wait()
	if errs != nil {
		return nil, errs
	}
	r := &Result{From: c.From, To: c.To, Weight: c.Weight, Weights: c.Weights, Seeds: c.Seeds}
	r.Figures, r.Plain = figures(&c, chosen), figures(&c, plain)
	r.Sizes = sizes(&c, chosen, plain)
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// figures are those of many growths together.
func figures(c *Config, all []*growth) Figures {
	var f Figures
	var most, least, replaced, joins, leaves, off []float64
	rechosen, changes, moved, again := 0, 0, 0.0, 0.0
	for _, g := range all {
		for _, s := range g.spreads {
			most, least = append(most, s.most), append(least, -s.least)
		}
		replaced, joins, leaves = append(replaced, g.replaced...), append(joins, g.joins...), append(leaves, g.leaves...)
		off = append(off, g.off)
		rechosen, changes, moved, again = rechosen+g.rechosen, changes+g.changes, moved+g.moved, again+g.again
	}
	q := quantiles(most)
	f.MaxMeanP50, f.MaxMeanP99, f.MaxMeanMax = q.P50, q.P99, q.Max
	f.LeastP01 = -quantiles(least).P99
	q = quantiles(replaced)
	f.ReplacedP50, f.ReplacedP99, f.ReplacedMax = q.P50, q.P99, q.Max
	f.MovedJoinMax = quantiles(joins).Max
	q = quantiles(leaves)
	f.MovedLeaveP50, f.MovedLeaveP99, f.MovedLeaveMax = q.P50, q.P99, q.Max
	if changes > 0 {
		f.Rechosen, f.MovedRechosen = float64(rechosen)/float64(changes), again/moved
	}
	if len(c.Weights) > 1 {
		f.ClassP99 = quantiles(off).P99
	}
	for n := c.From; n <= c.To; n++ {
		if p := ofSize(c, all, n).P99; p > f.WorstP99 {
			f.WorstSize, f.WorstP99 = n, p
		}
	}
	return f
}

func ofSize(c *Config, all []*growth, n int) Quantiles {
	var most []float64
	for _, g := range all {
		most = append(most, g.spreads[n-c.From].most)
	}
	return quantiles(most)
}

// sizes are the smallest size, the largest, and those between that are powers of two.
func sizes(c *Config, chosen, plain []*growth) []Size {
	var out []Size
	for n := c.From; n <= c.To; n++ {
		if n != c.From && n != c.To && n&(n-1) != 0 {
			continue
		}
		a, b := ofSize(c, chosen, n), ofSize(c, plain, n)
		out = append(out, Size{Members: n, P50: a.P50, P99: a.P99, Plain50: b.P50, Plain99: b.P99})
	}
	return out
}

// namer makes the names of one set: those of four customs in turn.
func namer(seed uint64) func(i int) string {
	n := seed / 4
	switch seed % 4 {
	case 0:
		return func(i int) string { return fmt.Sprintf("node-%d", n*10_000+uint64(i)) }
	case 1:
		return func(i int) string { return fmt.Sprintf("pod-%d", n*10_000+uint64(i)) }
	case 2:
		return func(i int) string { return fmt.Sprintf("host-%d.example.com", n*10_000+uint64(i)) }
	}
	return func(i int) string {
		r := rand.NewPCG(seed, uint64(i))
		a, b := r.Uint64(), r.Uint64()
		return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", uint32(a>>32), uint16(a>>16), a&0xfff, b>>48&0x3fff|0x8000, b&(1<<48-1))
	}
}

var space = ring.Space{Bits: 64, Hash: ring.SHA256}
