// Package explore is an explicit-state model checker of ring maintenance. It
// drives the machines of package protocol themselves, not a model of them: it
// takes the place of the runtime, decides when a question is answered, when an
// answer is used, when a round begins and who fails, and tries every order.
package explore

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Grain says what happens in one step.
type Grain int

const (
	// Instant: a question is answered, and the answer used, in one step.
	Instant Grain = 1
	// Apart: asking, answering and using are three steps.
	Apart Grain = 2
)

// Config bounds an exploration.
type Config struct {
	Identifiers int // members that there can be, at most 8
	Successors  int
	Founded     int // members of the ideal ring at the start; 1: a founder
	Grain       Grain
	Joins       int // members that may join
	Fails       int // members that may fail
	Suspicions  int // live members that may be taken for dead, for one question
	// Assume lets a member fail only if every other keeps a live successor, in
	// its list and in every answer under way.
	Assume bool
	// Acquaintances that each machine keeps; 0: the default.
	Acquaintances int
	// MaxStates ends the exploration; 0: no bound.
	MaxStates int
	// Rules must hold in every state.
	Rules []invariant.Rule
	// Quiet: from every state, fair rounds without faults must lead to one ideal
	// ring of each component, within so many rounds; 0: not checked.
	Quiet int
	// Progress, if set, is called now and then.
	Progress func(Result)
}

// Result is what an exploration has found.
type Result struct {
	States      int
	Transitions int
	Frontier    int
	Exhausted   bool
	QuietRounds int // the most that were needed
	Violation   *Violation
}

// Violation is a state that breaks a rule, and how it came about.
type Violation struct {
	Rule  string
	How   string
	Trace []string
	State string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("%s: %s\n%s\n%s", v.Rule, v.How, strings.Join(v.Trace, "\n"), v.State)
}

type key [16]byte

type checker struct {
	cfg     Config
	members []ring.Member
	seeds   [2]maphash.Seed
	seen    map[key]int32 // index into how
	how     []origin
	good    map[key]bool // states from which quiet rounds are known to lead to an ideal ring
	result  Result

	// The choices of the step under way: script is followed, the rest are 0.
	script []int
	made   []choice
	buf    []byte
	parts  [][]byte
	next   []transition
}

type choice struct{ took, of int }

// origin is how a state came about: by which transition, with which choices,
// from which other.
type origin struct {
	parent  int32
	t       transition
	choices string
}

// Run explores until everything is seen, a rule is broken, or a bound is met.
func Run(cfg Config) Result {
	c := &checker{cfg: cfg, seen: map[key]int32{}, good: map[key]bool{}}
	c.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	for i := range cfg.Identifiers {
		name := string(rune('A' + i))
		c.members = append(c.members, ring.Member{ID: uint64(i+1) << 56, Name: name, Addr: name + ":1", Incarnation: 1})
	}
	start := c.start()
	type item struct {
		w  *world
		at int32
	}
	var queue []item
	visit := func(w *world, parent int32, t transition) bool {
		k := c.key(w)
		if _, ok := c.seen[k]; ok {
			return true
		}
		at := int32(len(c.how))
		c.seen[k] = at
		o := origin{parent: parent, t: t}
		for _, m := range c.made {
			o.choices += string(rune('0' + m.took))
		}
		c.how = append(c.how, o)
		if v := c.judge(w); v != nil {
			v.Trace = c.trace(at)
			c.result.Violation = v
			return false
		}
		queue = append(queue, item{w, at})
		return true
	}
	c.made = c.made[:0]
	visit(start, -1, transition{})
	for len(queue) > 0 && c.result.Violation == nil {
		if cfg.MaxStates > 0 && len(c.how) >= cfg.MaxStates {
			break
		}
		it := queue[0]
		queue[0] = item{}
		queue = queue[1:]
		for _, t := range slices.Clone(c.transitions(it.w)) {
			if !c.branches(it.w, t, func(w *world) bool {
				c.result.Transitions++
				return visit(w, it.at, t)
			}) {
				break
			}
		}
		if cfg.Progress != nil && len(c.how)%100000 < 8 {
			c.result.States, c.result.Frontier = len(c.how), len(queue)
			cfg.Progress(c.result)
		}
	}
	c.result.States, c.result.Frontier = len(c.how), len(queue)
	c.result.Exhausted = len(queue) == 0 && c.result.Violation == nil
	return c.result
}

// choose is the machines' source of choices.
func (c *checker) choose(n int) int {
	took := 0
	if i := len(c.made); i < len(c.script) {
		took = min(c.script[i], n-1)
	}
	c.made = append(c.made, choice{took, n})
	return took
}

// branches takes a transition once for every sequence of choices that it makes.
func (c *checker) branches(w *world, t transition, f func(*world) bool) bool {
	c.script = c.script[:0]
	var made []choice
	for {
		c.made = c.made[:0]
		next := w.clone()
		c.take(next, t)
		made = append(made[:0], c.made...)
		if !f(next) {
			return false
		}
		// The next sequence: the last choice that can be another.
		i := len(made) - 1
		for i >= 0 && made[i].took+1 >= made[i].of {
			i--
		}
		if i < 0 {
			return true
		}
		c.script = c.script[:0]
		for _, m := range made[:i] {
			c.script = append(c.script, m.took)
		}
		c.script = append(c.script, made[i].took+1)
	}
}

// trace tells how a state came about, by doing it again.
func (c *checker) trace(at int32) []string {
	var path []origin
	for ; at > 0; at = c.how[at].parent {
		path = append(path, c.how[at])
	}
	slices.Reverse(path)
	w := c.start()
	out := []string{"start\n" + w.describe(c)}
	for _, o := range path {
		c.script, c.made = c.script[:0], c.made[:0]
		for _, r := range o.choices {
			c.script = append(c.script, int(r-'0'))
		}
		what := c.say(w, o.t)
		w = w.clone()
		c.take(w, o.t)
		out = append(out, what+"\n"+w.describe(c))
	}
	return out
}

// judge tests a state by all rules.
func (c *checker) judge(w *world) *Violation {
	r := w.ring(c)
	for _, rule := range c.cfg.Rules {
		if how := rule.Broken(r); how != "" {
			return &Violation{Rule: rule.Name, How: how, State: w.describe(c)}
		}
	}
	if c.cfg.Quiet > 0 {
		if how := c.quiet(w); how != "" {
			return &Violation{Rule: "heals", How: how, State: w.describe(c)}
		}
	}
	return nil
}

// quiet lets fair rounds pass without faults and says what is not ideal after
// as many as allowed.
func (c *checker) quiet(w *world) string {
	w = w.clone()
	c.script = nil
	var path []key
	c.drain(w)
	for round := range c.cfg.Quiet + 1 {
		k := c.key(w)
		how := w.components(c)
		if c.good[k] {
			how = ""
		}
		path = append(path, k)
		if how == "" {
			for _, k := range path {
				c.good[k] = true
			}
			c.result.QuietRounds = max(c.result.QuietRounds, round)
			return ""
		}
		if round == c.cfg.Quiet {
			return fmt.Sprintf("after %d quiet rounds: %s\n%s", round, how, w.describe(c))
		}
		for i := range w.slots {
			if w.slots[i].live() {
				// Choices go round, so that in time each is made.
				c.script = []int{round, round / 2, round / 3}
				c.made = c.made[:0]
				w.step(c, i, protocol.Tick{})
			}
		}
		c.drain(w)
	}
	return ""
}

// drain carries every message to its end, first come first served.
func (c *checker) drain(w *world) {
	for n := 0; n < 10000; n++ {
		i := slices.IndexFunc(w.asks, func(a ask) bool { return a.stage != waiting })
		if i < 0 {
			return
		}
		c.made = c.made[:0]
		w.advance(c, i)
	}
	panic("explore: messages without end:\n" + w.describe(c))
}
