package sim

import (
	"testing"
	"time"
)

// unleased is for what share of the time the identifiers of a ring have no lease, of which
// two processes of seven are dead and MinMembers is four, long after they died; and how many
// of them had none at some time.
func unleased(t *testing.T, cfg Config, seed uint64) (share float64, some, all int) {
	t.Helper()
	cfg.Interval, cfg.Successors, cfg.MinMembers, cfg.NoFingers, cfg.Lookups = time.Second, 4, 4, true, -1
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, seed)
	w.settle()
	w.run(5*time.Second, nil)
	dead := map[string]bool{w.hosts[0].of: true}
	for _, h := range w.hosts {
		if dead[h.of] || len(dead) < 2 {
			dead[h.of] = true
			w.stop(h, true)
		}
	}
	w.run(w.now+100*time.Second, nil)
	lacks := map[*host]bool{}
	n, none := 0, 0
	for end := w.now + 30*time.Second; w.now < end; w.run(w.now+cfg.Interval/10, nil) {
		for _, i := range w.ring {
			h := w.hosts[i]
			n++
			if v := h.view; !v.Holds || h.ticks.shows(w.now) >= v.Until {
				none++
				lacks[h] = true
			}
		}
	}
	if len(w.result.Violations) > 0 {
		t.Errorf("seed %d: %v", seed, w.result.Violations)
	}
	return float64(none) / float64(n), len(lacks), len(w.ring)
}

// A Lease of 20 intervals holds at all identifiers of five processes of seven, and of four of six, though
// lists have most of the ring where fewer others live than they are to name.
func TestLeasesHoldAtAllIdentifiers(t *testing.T) {
	for what, cfg := range map[string]Config{
		"sixteen":         {Members: 7 * 16, Identifiers: []int{16}, Lease: 8 * time.Second},
		"four":            {Members: 7 * 4, Identifiers: []int{4}, Lease: 8 * time.Second},
		"sixteen and one": {Members: 5*16 + 2, Identifiers: []int{16, 1, 16, 1, 16, 16, 16}, Lease: 8 * time.Second},
		"four processes":  {Members: 6 * 16, Identifiers: []int{16}, Lease: 8 * time.Second},
	} {
		share, some, all := unleased(t, cfg, 0)
		if share > 0 {
			t.Errorf("%s: %d of %d identifiers have no lease at some time, for %.1f %% of all time", what, some, all, 100*share)
		}
	}
}
