package sim

import (
	"slices"
	"sync"
	"time"
)

// RunMany runs the seeds first, first+1, … first+count-1 with so many at once,
// and gives each Result to took, one at a time, in the order of the seeds.
func RunMany(cfg Config, first uint64, count, atOnce int, took func(Result)) error {
	if _, err := cfg.withDefaults(); err != nil {
		return err
	}
	var (
		mu      sync.Mutex // guards all below
		next    int
		ready   = map[int]Result{} // finished before an earlier seed
		told    int
		workers sync.WaitGroup
	)
	for range max(1, min(atOnce, count)) {
		workers.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				if i >= count {
					mu.Unlock()
					return
				}
				mu.Unlock()
				r, _ := Run(cfg, first+uint64(i)) // the error would be that of withDefaults
				mu.Lock()
				ready[i] = r
				for {
					r, ok := ready[told]
					if !ok {
						break
					}
					delete(ready, told)
					told++
					took(r)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return nil
}

// Shrink makes a failing run smaller as long as it breaks one of the rules that
// it broke: shorter, with fewer faults, with fewer members. It makes at most
// budget runs, and returns the smallest that failed with its Result, which has
// the whole story.
func Shrink(cfg Config, seed uint64, budget int) (Config, Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return cfg, Result{}, err
	}
	first, _ := Run(cfg, seed)
	if wanted := broken(first); len(wanted) > 0 {
		fails := func(c Config) bool {
			if budget--; budget < 0 {
				return false
			}
			r, err := Run(c, seed)
			return err == nil && slices.ContainsFunc(broken(r), func(s string) bool { return slices.Contains(wanted, s) })
		}
		if cfg.Actions == nil {
			for i := range plan(&cfg, seed) {
				cfg.Actions = append(cfg.Actions, i)
			}
		}
		cfg = fewer(cfg, fails)
		if c := cfg; c.Clients > 0 {
			if c.Clients = -1; fails(c) {
				cfg = c
			}
		}
		cfg = shorter(smaller(cfg, fails), fails)
	}
	c := cfg
	c.Tell = true
	r, _ := Run(c, seed)
	return cfg, r, nil
}

// broken are the rules that a run broke.
func broken(r Result) []string {
	var out []string
	for _, v := range r.Violations {
		out = append(out, v.Rule)
	}
	return out
}

// smaller leaves out members, and then actions again, as long as the run fails.
func smaller(cfg Config, fails func(Config) bool) Config {
	for again := true; again; {
		again = false
		for _, n := range []int{cfg.Members / 4, cfg.Members / 2, cfg.Members * 3 / 4, cfg.Members - 1} {
			c := cfg
			c.Members = n
			c.Lookups = cfg.Lookups * float64(n) / float64(cfg.Members)
			if n >= 1 && n < cfg.Members && fails(c) {
				cfg, again = fewer(c, fails), true
				break
			}
		}
	}
	return cfg
}

// shorter cuts the time of the faults as long as the run fails.
func shorter(cfg Config, fails func(Config) bool) Config {
	for _, part := range []time.Duration{4, 2} {
		for c := cfg; ; {
			if c.Duration -= c.Duration / part; c.Duration < cfg.Interval || !fails(c) {
				break
			}
			cfg = c
		}
	}
	return cfg
}

// fewer leaves out actions, ever smaller parts of them, as long as the run
// fails.
func fewer(cfg Config, fails func(Config) bool) Config {
	for part := (len(cfg.Actions) + 1) / 2; part >= 1; part /= 2 {
		for i := 0; i < len(cfg.Actions); {
			c := cfg
			c.Actions = slices.Concat(cfg.Actions[:i], cfg.Actions[min(i+part, len(cfg.Actions)):])
			if c.Actions == nil {
				c.Actions = []int{} // none, not all
			}
			if fails(c) {
				cfg = c
				continue
			}
			i += part
		}
		if part == 1 {
			break
		}
	}
	return cfg
}
