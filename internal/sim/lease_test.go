package sim

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// With leases nobody owns what another does, whatever happens, and what happens once is
// over after a lease and some rounds. The section simulate of make test tries more seeds with many
// faults; how long it takes until what happens once is over, it does not judge.
func TestLeases(t *testing.T) {
	cfg := Config{Members: 7, MinMembers: 4, Lease: 9 * time.Second, Duration: time.Minute, Faults: All | Jump, NoFingers: true, Lookups: -1}
	one := cfg
	one.Faults, one.Actions, one.MinMembers = Leaves|Joins, []int{0}, 0
	for seed := range uint64(20) {
		for _, c := range []Config{cfg, one} {
			if c.Actions == nil && seed >= seedsOf(4, 20) {
				continue
			}
			r, err := Run(c, seed)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range r.Violations {
				t.Errorf("seed %d, %v: %v", seed, c.Faults, v)
			}
			if c.Actions == nil {
				continue
			}
			for cause, times := range r.Leases.NoOwner {
				if most := Percentile(times, 1); most > 2*c.Lease {
					t.Errorf("seed %d: after %s, a point has no owner for %v", seed, cause, most)
				}
			}
		}
	}
}

// Processes at several identifiers, some pairs of which cannot reach each other, do not make two
// rings of what each has at other identifiers, in each of which leases hold.
func TestLeasesOfProcesses(t *testing.T) {
	links := Links | OneWay | Cut
	for what, tc := range map[string]struct {
		cfg   Config
		seeds []uint64
	}{
		"8 processes at 4 identifiers": {Config{Members: 32, Identifiers: []int{4}, MinMembers: 5, Successors: 4}, []uint64{0, 7}},
		"5 processes at 8 identifiers": {Config{Members: 40, Identifiers: []int{8}, MinMembers: 3, Successors: 2}, []uint64{2, 41}},
	} {
		tc.cfg.Lease, tc.cfg.Duration, tc.cfg.Faults, tc.cfg.NoFingers, tc.cfg.Lookups = 9*time.Second, time.Minute, links, true, -1
		for _, seed := range tc.seeds {
			r, err := Run(tc.cfg, seed)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range r.Violations {
				t.Errorf("%s, seed %d: %v", what, seed, v)
			}
		}
	}
}

// A ring whose members lose their whole lists can fall into two. That is counted, and what is
// not torn is judged all the same. With lists that no crash takes whole, nothing is torn.
func TestRingsTornByLostLists(t *testing.T) {
	cfg := Config{Members: 16, Lease: 9 * time.Second, Duration: 20 * time.Second, Faults: Pause | Crash | Joins | Leaves | Jump, NoFingers: true, Lookups: -1}
	long := cfg
	long.Successors, long.Lease, long.Faults = 8, 12*time.Second, Crash
	for what, tc := range map[string]struct {
		cfg  Config
		seed uint64
		torn bool
	}{"lists of 3": {cfg, 702, true}, "lists of 8": {long, 702, false}} {
		r, err := Run(tc.cfg, tc.seed)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Violations) > 0 || r.Leases.Torn != tc.torn || r.Faults == 0 {
			t.Errorf("%s: torn %v, %v", what, r.Leases.Torn, r.Violations)
		}
	}
}

func TestClocksOfProcesses(t *testing.T) {
	var right monotonic
	c := monotonic{drift: 0.05, at: 10 * time.Second, was: time.Minute}
	for now := 10 * time.Second; now < 20*time.Second; now += time.Second {
		if right.shows(now) != now || right.when(now) != now {
			t.Errorf("the right clock shows %v at %v", right.shows(now), now)
		}
		if got := c.when(c.shows(now)); (got - now).Abs() > time.Microsecond {
			t.Errorf("it shows at %v what it shows at %v", got, now)
		}
	}
	if got, want := c.shows(20*time.Second), time.Minute+10500*time.Millisecond; got != want {
		t.Errorf("it shows %v, want %v", got, want)
	}
	c.leap(20*time.Second, time.Hour)
	if got, want := c.shows(20*time.Second), time.Hour+time.Minute+10500*time.Millisecond; got != want {
		t.Errorf("after a leap it shows %v, want %v", got, want)
	}
}

// Members that leave to return are stood in for until they are back, or their time is over.
func TestRestarts(t *testing.T) {
	cfg := Config{Members: 8, Duration: 30 * time.Second, Faults: Returns | Joins, NoFingers: true, Lookups: -1, Tell: true}
	for seed := range seedsOf(4, 10) {
		r, err := Run(cfg, seed)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v", seed, v)
		}
		for _, does := range []string{" stands in for ", "is not back in time"} {
			if seed == 0 && !slices.ContainsFunc(r.Story, func(s string) bool { return strings.Contains(s, does) }) {
				t.Errorf("the test tests nothing: nobody %s", does)
			}
		}
	}
}
