package explore

import (
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/invariant"
)

// explored runs cfg with the rules that hold, and fails on a violation.
func explored(t *testing.T, cfg Config) Result {
	t.Helper()
	if cfg.Rules == nil {
		cfg.Rules = Holding(cfg)
	}
	cfg.Steps = HoldingSteps(cfg)
	r := Run(cfg)
	t.Logf("%d states, %d transitions, %d local states, %.2f s, exhausted %t, quiet rounds at most %d",
		r.States, r.Transitions, r.Locals, r.Seconds, r.Exhausted, r.QuietRounds)
	if r.Violation != nil {
		t.Fatal(r.Violation)
	}
	return r
}

// anyRing is a ring in which anyone may join and, as far as assumed, fail.
func anyRing(members int, start Start, grain Grain) Config {
	return Config{
		Members: members, Successors: 2, Start: start, Grain: grain, Memory: Abstract,
		Joins: Unlimited, Fails: Unlimited, Quiet: 30,
	}
}

func TestZavesInvariantHoldsStepByStep(t *testing.T) {
	for name, cfg := range map[string]Config{
		"from a ring": anyRing(4, Ring, Instant), "from a founder": anyRing(4, Founder, Instant), "three successors": {
			Members: 5, Successors: 3, Memory: Abstract, Grain: Instant, Joins: Unlimited, Fails: Unlimited, Quiet: 30,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if r := explored(t, cfg); !r.Exhausted {
				t.Error("not exhausted")
			}
		})
	}
}

// Each process stands at two identifiers and fails at both at once.
func TestProcessesOfTwoIdentifiers(t *testing.T) {
	cfg := anyRing(6, Ring, Instant)
	cfg.Pairs, cfg.MaxStates = true, 1000 // the section explore of make test tries all
	if r := explored(t, cfg); r.Exhausted {
		t.Errorf("%d states, exhausted", r.States)
	}
	// With lists of one process, one of three may fail.
	cfg.Successors, cfg.MaxStates = 1, 20_000
	explored(t, cfg)
	// Whatever fails, and is taken for dead by mistake.
	cfg = anyRing(4, Ring, Instant)
	cfg.Pairs, cfg.Successors, cfg.Assume, cfg.Joins, cfg.Fails, cfg.Suspicions = true, 1, Nothing, 1, 1, 1
	cfg.MaxStates = 20_000
	explored(t, cfg)
}

func TestPairsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"odd":       func(c *Config) { c.Members = 5 },
		"restarts":  func(c *Config) { c.Restarts = 1 },
		"two rings": func(c *Config) { c.Start = Strangers },
	} {
		cfg := anyRing(6, Ring, Instant)
		cfg.Pairs = true
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "pairs") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJoinsInSeveralSteps(t *testing.T) {
	cfg := anyRing(4, Ring, Instant)
	cfg.JoinsApart = true
	if r := explored(t, cfg); !r.Exhausted {
		t.Error("not exhausted")
	}
}

// Question, answer and use apart, and single messages: what of it is quick.
func TestMessagesInEveryOrder(t *testing.T) {
	for name, cfg := range map[string]Config{
		"apart": anyRing(4, Ring, Apart),
		"lost and doubled": {
			Members: 4, Successors: 2, Memory: Abstract, Grain: Messages, Joins: 1, Fails: 1, Losses: 1, Doubles: 1, InFlight: 4, Quiet: 30,
		},
		"leaves":   {Members: 4, Successors: 2, Memory: Abstract, Grain: Apart, Joins: 1, Leaves: 1, Quiet: 30},
		"restarts": {Members: 4, Successors: 2, Memory: Abstract, Grain: Apart, Joins: 1, Fails: 1, Restarts: 1, Quiet: 30},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.MaxStates = 20000
			explored(t, cfg)
		})
	}
}

// Whatever the assumption is broken by, quiet rounds bring back one ring.
func TestBrokenAssumptionHeals(t *testing.T) {
	for name, cfg := range map[string]Config{
		"too many failures": {Members: 4, Successors: 2, Memory: Abstract, Grain: Instant, Assume: Nothing, Joins: 1, Fails: 2, Quiet: 30},
		"suspicions":        {Members: 4, Successors: 2, Memory: Abstract, Grain: Instant, Assume: Nothing, Joins: 1, Suspicions: 2, Quiet: 30},
		// Found a founder that answered for a part of the circle only, for ever.
		"joiner that gives up": {Members: 2, Successors: 2, Start: Founder, Memory: Abstract, Grain: Instant, JoinsApart: true, Assume: Nothing, Joins: 1, Suspicions: 1, Quiet: 30},
		"consent that is lost": {Members: 2, Successors: 2, Start: Founder, Memory: 0, Grain: Messages, Assume: Nothing, Joins: 1, Losses: 2, InFlight: 4, Quiet: 30},
		"real memories":        {Members: 4, Successors: 2, Memory: 0, Grain: Instant, Assume: Nothing, Joins: 1, Fails: 1, Suspicions: 1, Quiet: 30},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.MaxStates = 20000
			if cfg.Memory == 0 {
				cfg.MaxStates = 6000 // their local states are many
			}
			explored(t, cfg)
		})
	}
}

// broken is a configuration that breaks a rule: with fewer principals than Zave
// asks for, a ring can come to be wound twice round the circle.
func broken() Config {
	cfg := anyRing(4, Ring, Instant)
	cfg.Assume, cfg.Quiet = LiveSuccessor, 0
	cfg.Rules, _ = Named([]string{"ordered-ring"})
	return cfg
}

func TestTraceLeadsToTheSameState(t *testing.T) {
	cfg := broken()
	r := Run(cfg)
	if r.Violation == nil {
		t.Fatal("not found")
	}
	told, v, err := Replay(cfg, r.Violation.Trace)
	if err != nil {
		t.Fatal(err)
	}
	if v == nil || v.Rule != r.Violation.Rule || v.How != r.Violation.How || told != r.Violation.Story {
		t.Errorf("%v\n%s\nwant %s: %s\n%s", v, told, r.Violation.Rule, r.Violation.How, r.Violation.Story)
	}
	for line := range strings.SplitSeq(told, "\n") {
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	steps := strings.Split(r.Violation.Trace, ".")
	if _, v, err := Replay(cfg, strings.Join(steps[:len(steps)-1], ".")); err != nil || v != nil {
		t.Errorf("the state before the last: %v, %v; want one that keeps the rule", v, err)
	}
	for _, wrong := range []string{"", "x", "9", "0.fZ", r.Violation.Trace + ".fA.fB.fC.fD.fA"} {
		if _, _, err := Replay(cfg, wrong); err == nil {
			t.Errorf("the trace %q can be replayed", wrong)
		}
	}
}

func TestRunsAreAlike(t *testing.T) {
	cfg := broken()
	a, b := Run(cfg), Run(cfg)
	if a.States != b.States || a.Transitions != b.Transitions || a.Violation.Trace != b.Violation.Trace {
		t.Errorf("%d states, %d transitions, %s\n%d states, %d transitions, %s",
			a.States, a.Transitions, a.Violation.Trace, b.States, b.Transitions, b.Violation.Trace)
	}
}

// A state stands for all its turns: without that there are more states, at most
// as many times as there are identifiers, and as many depths.
func TestTurnsOfTheCircleAreOneState(t *testing.T) {
	for _, start := range []Start{Ring, Founder} {
		cfg := anyRing(4, start, Instant)
		cfg.Quiet = 0
		turned := explored(t, cfg)
		cfg.fixed = true
		fixed := explored(t, cfg)
		if fixed.States < turned.States || fixed.States > 4*turned.States || !fixed.Exhausted {
			t.Errorf("%d states with turns taken for one, %d without", turned.States, fixed.States)
		}
	}
}

func TestCanonicalFormIsTheSameForAllTurns(t *testing.T) {
	c := newChecker(anyRing(5, Ring, Apart))
	var w world
	w.slots = [maxMembers]uint32{7, 0, 7, 9, 7}
	w.incarnations = [maxMembers]uint8{1, 0, 1, 1, 1}
	c.all = make([]local, 10)
	w.messages[0], w.n = 0, 1
	w.messages[0].set(fromAt, 3, 2)
	w.messages[0].set(toAt, 3, 4)
	want := w
	c.canonical(&want)
	for by := 1; by < 5; by++ {
		var turned world
		turned.turn(&w, by, 5)
		c.canonical(&turned)
		if turned != want {
			t.Errorf("turned by %d: %v, want %v", by, turned, want)
		}
	}
	words := want.words(nil, 6)
	var read world
	read.read(words, 6)
	if read != want {
		t.Errorf("read %v, want %v", read, want)
	}
}

func TestTablesAndQueue(t *testing.T) {
	var s set
	var m table
	var q queue
	const n = 100000
	for i := range uint64(n) {
		k := key{i / 7, i % 7}
		k[1]++
		if !s.add(k) || s.add(k) {
			t.Fatalf("%v is not added once", k)
		}
		m.put(k, uint32(i))
		q.push([]uint64{i, i + 1, i + 2}[:1+i%3])
	}
	for i := range uint64(n) {
		k := key{i / 7, i%7 + 1}
		if v, ok := m.get(k); !ok || v != uint32(i) {
			t.Fatalf("%v is %d, %t", k, v, ok)
		}
		words := q.pop()
		if len(words) != int(1+i%3) || words[0] != i || words[len(words)-1] != i+i%3 {
			t.Fatalf("state %d is %v", i, words)
		}
	}
	if _, ok := m.get(key{n, 1}); ok || s.len != n || m.len != n || q.len != 0 {
		t.Errorf("%d, %d, %d left", s.len, m.len, q.len)
	}
}

// Any question may be taken for unanswered, those too that are answered in the
// step in which they are put: a member that asks its live head drops it.
func TestQuestionsAnsweredAtOnceCanBeSuspected(t *testing.T) {
	for _, grain := range []Grain{Instant, Apart} {
		cfg := Config{Members: 3, Successors: 2, Grain: grain, Memory: Abstract, Assume: Nothing, Rules: []invariant.Rule{invariant.Ideal}}
		if r := Run(cfg); r.Violation != nil || !r.Exhausted {
			t.Errorf("grain %d: without suspicions the ring is not ideal: %v", grain, r.Violation)
		}
		cfg.Suspicions = 1
		r := Run(cfg)
		if r.Violation == nil || !strings.Contains(r.Violation.Story, "takes it for dead") {
			t.Fatalf("grain %d: nobody drops its head: %v", grain, r.Violation)
		}
		if told, v, err := Replay(cfg, r.Violation.Trace); err != nil || v == nil || told != r.Violation.Story {
			t.Errorf("grain %d: %v, %v\n%s\nwant\n%s", grain, v, err, told, r.Violation.Story)
		}
		cfg.Rules, cfg.Quiet = Holding(cfg), 30
		explored(t, cfg)
	}
}

// A joiner may fail before any list has it, though the pointers are then those
// of states in which it has not begun.
func TestJoinersFailOnTheirWay(t *testing.T) {
	cfg := Config{Members: 2, Successors: 1, Start: Founder, Grain: Apart, Memory: Abstract, Joins: 1, Quiet: 30}
	without := explored(t, cfg)
	cfg.Fails = 1
	if with := explored(t, cfg); with.States <= without.States {
		t.Errorf("%d states with a failure, %d without", with.States, without.States)
	}
}

// What is ideal is followed for as long as anything new comes of it.
func TestIdealThatDoesNotLastIsSeen(t *testing.T) {
	c := newChecker(anyRing(4, Ring, Instant))
	w := c.starts()[0]
	if how := c.heals(&w); how != "" {
		t.Fatal(how)
	}
	if n := len(c.healing.path); n < quietPeriod {
		t.Errorf("followed for %d rounds", n)
	}
}
