package sim

import (
	"flag"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

var allSeeds = flag.Bool("all", false, "try all seeds")

// seedsOf is how many seeds are tried: few, and all with -all.
func seedsOf(few, all uint64) uint64 {
	if *allSeeds {
		return all
	}
	return few
}

func run(t *testing.T, cfg Config, seed uint64) Result {
	t.Helper()
	r, err := Run(cfg, seed)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOneSeedIsOneRun(t *testing.T) {
	for name, cfg := range map[string]Config{
		"faults":   {Members: 24, Duration: 20 * time.Second, Faults: All},
		"sessions": {Members: 24, Duration: 20 * time.Second, Sessions: Sessions{Mean: 20 * time.Second, Polite: 0.5}},
		"split":    {Members: 16, Split: 20 * time.Second},
		"joiners":  {Members: 16, Start: "joiners"},
		"hostile":  {Members: 16, Duration: 5 * time.Second, Hostile: 0.1, Lies: Forgeries | Floods | NearerNames | Silence},
	} {
		traces := map[uint64]bool{}
		for seed := range uint64(3) {
			a, b := run(t, cfg, seed), run(t, cfg, seed)
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s: seed %d gave\n%+v, and then\n%+v", name, seed, a, b)
			}
			if len(a.Violations) > 0 {
				t.Errorf("%s: seed %d: %v", name, seed, a.Violations[0])
			}
			traces[a.Trace] = true
		}
		if len(traces) != 3 {
			t.Errorf("%s: three seeds have %d traces", name, len(traces))
		}
	}
}

// Telling of a run, or running others at once, must not change it.
func TestWatchingChangesNothing(t *testing.T) {
	cfg := Config{Members: 16, Duration: 10 * time.Second, Faults: All}
	told := cfg
	told.Tell = true
	var many []uint64
	if err := RunMany(cfg, 5, 4, 2, func(r Result) { many = append(many, r.Trace) }); err != nil {
		t.Fatal(err)
	}
	for i, trace := range many {
		r := run(t, told, 5+uint64(i))
		if r.Trace != trace {
			t.Errorf("seed %d: trace %x alone and told, %x among others", r.Seed, r.Trace, trace)
		}
		if len(r.Story) == 0 {
			t.Error("nothing is told")
		}
	}
	if len(many) != 4 {
		t.Errorf("%d of 4 seeds", len(many))
	}
}

func TestRingsHealFromEachFault(t *testing.T) {
	for _, k := range FaultKinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(2) {
				r := run(t, Config{Members: 16, Duration: 20 * time.Second, Faults: k.Set}, seed)
				if len(r.Violations) > 0 {
					t.Errorf("seed %d: %v", seed, r.Violations[0])
				}
				if r.Faults == 0 || r.Lookups.Count == 0 || r.After.Count == 0 {
					t.Errorf("seed %d: %d faults, %d and %d lookups", seed, r.Faults, r.Lookups.Count, r.After.Count)
				}
				// What is made is felt: the run is not that without its faults.
				calm := run(t, Config{Members: 16, Duration: 20 * time.Second, Faults: k.Set, Actions: []int{}}, seed)
				if r.Requests == calm.Requests && r.Lookups == calm.Lookups {
					t.Errorf("seed %d: %d faults have changed nothing", seed, r.Faults)
				}
			}
		})
	}
}

func TestBadStatesHeal(t *testing.T) {
	for _, s := range States {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{2, 3, 5, 16, 64} {
				for seed := range uint64(3) {
					cfg := Config{Members: n, Successors: 2 + int(seed%3), Start: s.Name, NoFingers: true, Lookups: -1, Idle: 10}
					if n == 64 && seed > 0 {
						continue
					}
					r := run(t, cfg, seed)
					if len(r.Violations) > 0 {
						t.Errorf("%d members, seed %d: %v", n, seed, r.Violations[0])
					}
					want := 1
					if s.Name == strangers {
						want = 2
					}
					if r.Rings != want {
						t.Errorf("%d members, seed %d: %d rings, want %d", n, seed, r.Rings, want)
					}
				}
			}
		})
	}
}

func TestBadStatesHealDuringFaults(t *testing.T) {
	for _, s := range States {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			r := run(t, Config{Members: 16, Start: s.Name, Faults: All, Duration: 20 * time.Second}, 1)
			if len(r.Violations) > 0 {
				t.Error(r.Violations[0])
			}
		})
	}
}

// Found with faults while they heal, and made smaller: one record that two rings
// have of each other is of a member that restarts, or does not answer for a while.
func TestTheOnlyRecordOfAnotherRingIsNotLost(t *testing.T) {
	for _, tc := range []struct {
		start    string
		members  int
		seed     uint64
		duration time.Duration
		actions  []int
	}{
		{"hub", 64, 19, 2812500 * time.Microsecond, []int{0, 1, 4, 5}},
		{"hub-in-ring", 64, 19, 20 * time.Second, []int{2, 7}},
		{"hub", 48, 6, 6328125 * time.Microsecond, []int{4}},
	} {
		t.Run(tc.start, func(t *testing.T) {
			t.Parallel()
			r := run(t, Config{Start: tc.start, Members: tc.members, Duration: tc.duration, Actions: tc.actions,
				Faults: All, Lookups: -1, Idle: -1}, tc.seed)
			if len(r.Violations) > 0 {
				t.Errorf("seed %d: %v", tc.seed, r.Violations[0])
			}
			if r.Faults == 0 {
				t.Errorf("seed %d: no fault", tc.seed)
			}
		})
	}
}

// A founder that all join at once has no room for a record of its predecessor, and
// got that while it looked for anyone: it has not asked it yet.
func TestPredecessorThatIsNotRememberedIsNotPassedOver(t *testing.T) {
	r := run(t, Config{Members: 64, Start: "joiners", NoFingers: true, Lookups: -1, Idle: -1}, 376)
	if len(r.Violations) > 0 {
		t.Error(r.Violations[0])
	}
}

// In a small ring all may have left or crashed when a fault begins.
func TestFaultsWithNobodyThere(t *testing.T) {
	r := run(t, Config{Members: 3, Start: "random", Faults: All, Duration: 20 * time.Second, Lookups: -1, Idle: -1}, 110)
	if len(r.Violations) > 0 {
		t.Error(r.Violations[0])
	}
}

// A ring at rest sends little, and lookups in it are short.
func TestIdleRing(t *testing.T) {
	r := run(t, Config{Members: 256}, 1)
	if len(r.Violations) > 0 || r.Rounds != 0 {
		t.Errorf("ideal after %v rounds, %v", r.Rounds, r.Violations)
	}
	if r.Maintenance <= 0.9 || r.Maintenance > 2.5 {
		t.Errorf("%.2f messages per member and round", r.Maintenance)
	}
	if hops := float64(r.After.Hops) / float64(r.After.Count); hops > math.Log2(256)/2+1 {
		t.Errorf("%.2f members asked on average", hops)
	}
}

// What the judge is for: a ring that does not heal in time is a violation, and
// the run is made smaller as long as it is one.
func TestViolationsAreFoundAndMadeSmaller(t *testing.T) {
	cfg := Config{Members: 24, Start: "chain", Bound: 1, Duration: 5 * time.Second, Faults: All}
	var seed uint64
	for ; ; seed++ {
		if seed == 20 {
			t.Fatal("everything heals in one round")
		}
		if r := run(t, cfg, seed); len(r.Violations) > 0 {
			if got := r.Violations[0].Rule; got != "ideal" {
				t.Fatalf("seed %d broke %s", seed, got)
			}
			break
		}
	}
	small, r, err := Shrink(cfg, seed, 40)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Violations) == 0 || r.Violations[0].Rule != "ideal" {
		t.Fatalf("the smaller run broke %v", r.Violations)
	}
	if small.Members >= cfg.Members && len(small.Actions) >= len(plan(&small, seed)) {
		t.Errorf("%d members and the faults %v: nothing is smaller", small.Members, small.Actions)
	}
	if again := run(t, small, seed); again.Trace != r.Trace {
		t.Errorf("the smaller run has trace %x and then %x", r.Trace, again.Trace)
	}
}

func TestAStateThatBreaksARuleIsSeen(t *testing.T) {
	cfg, err := Config{Members: 8}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	h := w.hosts[0]
	v := *h.view
	v.Succ = []ring.Member{v.Self, v.Succ[0], v.Succ[0]}
	h.view = &v
	w.judgeState(h)
	var rules []string
	for _, x := range w.result.Violations {
		rules = append(rules, x.Rule)
	}
	for _, want := range []string{"no-self", "no-duplicates", "ordered-lists"} {
		if !slices.Contains(rules, want) {
			t.Errorf("%s is broken and not seen: %v", want, rules)
		}
	}
	phantom := v.Self
	phantom.Incarnation += 7
	v.Pred, v.Succ = phantom, nil
	w.judgeState(h)
	if last := w.result.Violations[len(w.result.Violations)-1]; last.Rule != "no-phantoms" {
		t.Errorf("an incarnation that never was is not seen: %v", last)
	}
}

func TestThePlanOfASeedIsThatOfAShorterRunAndMore(t *testing.T) {
	short, long := Config{Duration: 20 * time.Second, Faults: All, Interval: time.Second}, Config{Duration: time.Minute, Faults: All, Interval: time.Second}
	for seed := range uint64(20) {
		a, b := plan(&short, seed), plan(&long, seed)
		for i := range a {
			a[i].last, b[i].last = 0, 0 // cut at the end
			if a[i] != b[i] {
				t.Fatalf("seed %d: fault %d is %v, and %v in a longer run", seed, i, a[i], b[i])
			}
		}
		for _, x := range b[len(a):] {
			if x.at < short.Duration {
				t.Errorf("seed %d: the shorter run lacks %v at %v", seed, x, x.at)
			}
		}
	}
}

func TestQueueGivesEventsInTheirOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q Queue[int] // the events are their numbers, in the order in which they are put in
	var last time.Duration
	number, after := 0, -1
	pop := func() {
		at, e := q.Pop()
		if at < last || at == last && e < after {
			t.Fatalf("%d at %v after %d at %v", e, at, after, last)
		}
		last, after = at, e
	}
	for range 20_000 {
		if rng.IntN(3) > 0 || !q.Due(math.MaxInt64) {
			q.Push(last+time.Duration(rng.IntN(50)), number)
			number++
			continue
		}
		pop()
	}
	for q.Due(math.MaxInt64) {
		pop()
	}
}

func TestStaysHaveTheMeanThatIsWanted(t *testing.T) {
	for _, shape := range []float64{0.6, 1, 2} {
		cfg, err := Config{Sessions: Sessions{Mean: time.Hour, Shape: shape}}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(cfg, 1)
		const n = 200_000
		var stay, square, rest float64
		for range n {
			x := w.stay().Hours()
			stay += x / n
			square += x * x / n
			rest += w.rest().Hours() / n
		}
		if math.Abs(stay-1) > 0.02 {
			t.Errorf("shape %v: stays of %.3f h on average, want 1", shape, stay)
		}
		// The rest of a stay met at a random moment: E[X²] / 2E[X].
		if want := square / 2 / stay; math.Abs(rest/want-1) > 0.06 {
			t.Errorf("shape %v: %.3f h are left on average, want %.3f", shape, rest, want)
		}
	}
}

func TestLatencies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a, b := &host{x: 0.1, y: 0.2}, &host{x: 0.9, y: 0.4}
	for _, s := range []string{"uniform:1ms-20ms", "constant:3ms", "lognormal:20ms-60ms", "pareto:10ms-2s", "distance:1ms-150ms"} {
		l, err := ParseLatency(s)
		if err != nil || l.String() != s {
			t.Errorf("%s is read as %v, %v", s, l, err)
		}
		var sum time.Duration
		const n = 20_000
		for range n {
			d := l.draw(rng, a, b)
			if d <= 0 || l.Kind != LogNormal && d < l.Low {
				t.Fatalf("%s gave %v", s, d)
			}
			sum += d
		}
		if mean := sum / n; mean < l.Low || mean > max(2*l.High, l.Low) {
			t.Errorf("%s has a mean of %v", s, mean)
		}
	}
	for _, s := range []string{"", "uniform", "uniform:1ms", "uniform:2ms-1ms", "constant:1ms-2ms", "constant:0s", "other:1ms"} {
		if l, err := ParseLatency(s); err == nil {
			t.Errorf("%q is read as %v", s, l)
		}
	}
}

func TestFaultNames(t *testing.T) {
	for _, f := range []Faults{0, All, Loss, Busy, Jump, Drains, Returns, All | Drains, Loss | Crash | Twin} {
		if got, err := ParseFaults(f.String()); err != nil || got != f {
			t.Errorf("%v is read as %v, %v", f, got, err)
		}
	}
	if _, err := ParseFaults("loss,fire"); err == nil {
		t.Error("an unknown fault is read")
	}
	if n := len(FaultKinds); All|Busy|Jump|Drains|Returns != 1<<n-1 {
		t.Errorf("%d kinds are listed, all is %b, and busy %b", n, All, Busy)
	}
}

func TestConfigSaysAllThatIsWrong(t *testing.T) {
	_, err := Run(Config{Members: -1, Successors: 100, Interval: time.Millisecond, Start: "nowhere"}, 1)
	if err == nil {
		t.Fatal("no error")
	}
	if l, ok := err.(interface{ Unwrap() []error }); !ok || len(l.Unwrap()) != 4 {
		t.Errorf("%v, want four mistakes", err)
	}
}

// Found by seed 359: two members had been slow and then fell silent, and a lookup
// that met both waited for them until its time was over.
func TestSilentMembersThatWereSlowLeaveTimeForOthers(t *testing.T) {
	cfg, err := Config{Members: 64, Idle: -1}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	w.run(5*time.Second, nil)
	silent := slices.Clone(w.hosts[:16])
	for _, h := range silent {
		w.stop(h, true)
	}
	w.heal()
	if len(w.result.Violations) > 0 {
		t.Fatal(w.result.Violations)
	}
	for _, h := range w.hosts {
		for _, s := range silent {
			if h.up {
				h.linkMade(s.index).estimate.Observe(2 * time.Second)
			}
		}
		h.suspects = nil
	}
	w.afterIdeal = true
	for _, i := range w.ring {
		for range 20 {
			w.lookUp(w.hosts[i], w.load.Uint64(), routing.Options{})
		}
	}
	w.run(w.now+routing.LookupTimeout, nil)
	if r := w.result; len(r.Violations) > 0 || r.After.Count < 20*48 {
		t.Errorf("%d lookups, %v", r.After.Count, r.Violations)
	}
}

// The judge of lookups is quick; the rule that it follows stands in package
// invariant.
func TestRightfulOwnersAreThoseOfTheRule(t *testing.T) {
	cfg, err := Config{Members: 24, Duration: 20 * time.Second, Faults: All}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	compared := [2]int{}
	for seed := range uint64(4) {
		w := newWorld(cfg, seed)
		w.settle()
		for i, a := range plan(&w.cfg, seed) {
			f := &fault{action: a, number: i}
			w.faults = append(w.faults, f)
			w.queue.Push(a.at, event{kind: evAction, host: -1, slot: int32(i)})
			w.queue.Push(a.at+a.last, event{kind: evActionEnd, host: -1, slot: int32(i)})
		}
		for at := time.Second; at < 20*time.Second; at += time.Second {
			w.run(at, nil)
			r := invariant.Ring{Successors: cfg.Successors}
			for _, h := range w.hosts {
				if h.inRing() {
					r.Members = append(r.Members, protocol.State{Self: h.view.Self})
					if h.view.HasArc {
						r.Claims = append(r.Claims, invariant.Claim{By: h.view.Self, Arc: h.view.Arc})
					}
				}
			}
			for range 50 {
				id := w.load.Uint64()
				for _, h := range w.hosts {
					if !h.up {
						continue
					}
					is, want := w.rightful(id, h.view.Self), r.Holds(h.view.Self, id)
					if is != want {
						t.Fatalf("seed %d at %v: %s holds %d: %t, by the rule %t", seed, at, h.name, id, is, want)
					}
					if is {
						compared[1]++
					} else {
						compared[0]++
					}
				}
			}
		}
	}
	if min(compared[0], compared[1]) < 1000 {
		t.Errorf("%v compared", compared)
	}
}

// A lookup that is forgotten would not be judged.
func TestALookupThatNeverEndsIsSeen(t *testing.T) {
	cfg, err := Config{Members: 8}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	w.openLookup(w.hosts[0], 1, routing.LookupTimeout)
	w.heal()
	if v := w.result.Violations; len(v) != 1 || v[0].Rule != "lookups-end" {
		t.Errorf("violations: %v", v)
	}
}

// Two parts that have forgotten each other after the faults still have to be one
// ring.
func TestToForgetEachOtherIsNoExcuse(t *testing.T) {
	cfg, err := Config{Members: 8, Start: "two-rings"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	w.quiet = true
	w.group()
	if len(w.groups) != 1 {
		t.Fatalf("%d groups", len(w.groups))
	}
	for _, h := range w.hosts {
		at := h.m.Snapshot()
		at.Pending, at.Known = nil, nil
		h.m = protocol.Restore(h.m.Self(), w.machine(h), 1, at)
	}
	w.group()
	if len(w.groups) != 1 {
		t.Errorf("after all is forgotten, %d groups", len(w.groups))
	}
	w.known = nil
	w.group()
	if len(w.groups) != 2 {
		t.Errorf("%d groups, if they had never known of each other", len(w.groups))
	}
}
