package explore

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Every lets quiet rounds pass from every weakly connected state of pointers:
// every member has any list in clockwise order of at most Successors entries and
// any predecessor, or is dead, and the live ones are connected by pointers to
// each other. However a ring may have got there, by faults that no rule allows
// for, it must become one ideal ring within cfg.Quiet rounds. Memories are empty,
// and nothing is under way.
//
// Of states that are turns of one another the first is tried, and counted as
// many times as it has turns. Of cfg are used: Members, Successors, Quiet,
// Memory, MaxStates (of those tried), Time and Progress. Part k of n tries every
// n-th state.
func Every(cfg Config, k, n int) Result {
	if cfg.Memory < 0 {
		cfg.Memory = 0
	}
	c := newChecker(cfg)
	began := time.Now()
	at := c.snapshots()
	members := cfg.Members
	total := 1
	for range members {
		total *= len(at) + 1
	}
	digits := make([]int, members)
	tried := 0
	c.result.Exhausted = n == 1
	for number := range total {
		for i, x := 0, number; i < members; i, x = i+1, x/(len(at)+1) {
			digits[i] = x % (len(at) + 1)
		}
		turns := turnsOf(digits, number, len(at)+1)
		if turns == 0 {
			continue
		}
		w := c.worldOf(at, digits)
		if !c.connected(&w) {
			continue
		}
		tried++
		c.result.States += turns
		if tried%n != k {
			continue
		}
		if how := c.heals(&w); how != "" {
			c.story = &story{}
			c.result.Violation = &Violation{Rule: "heals", How: how, Story: c.picture(&w)}
			c.result.Exhausted = false
			break
		}
		if tried%4096 == 0 && c.reported(began) {
			c.result.Exhausted = false
			break
		}
	}
	r := c.result
	r.Transitions, r.Locals, r.Computed = tried, len(c.all), c.computed
	r.Seconds = time.Since(began).Seconds()
	return r
}

// worldOf is the world in which each member stands as its digit says; the digit after
// the last of at is that of a dead one.
func (c *checker) worldOf(at []protocol.Snapshot, digits []int) (w world) {
	for i, d := range digits {
		w.incarnations[i], w.slots[i] = 1, dead
		if d < len(at) {
			w.slots[i] = c.restored(i, 1, at[d], true)
		}
	}
	return w
}

// reported tells how far it is, and whether the time is up.
func (c *checker) reported(began time.Time) (over bool) {
	if c.cfg.Progress != nil {
		c.cfg.Progress(c.result)
	}
	return c.cfg.Time > 0 && time.Since(began) > c.cfg.Time || c.cfg.Stop != nil && c.cfg.Stop()
}

// snapshots are all that a member's pointers can be, as the member numbers the
// others.
func (c *checker) snapshots() []protocol.Snapshot {
	var lists [][]ring.Member
	var grow func(list []ring.Member, next int)
	grow = func(list []ring.Member, next int) {
		lists = append(lists, list)
		for i := next; i < c.cfg.Members && len(list) < c.cfg.Successors; i++ {
			grow(append(slices.Clip(list), c.names[1][i]), i+1)
		}
	}
	grow(nil, 1)
	var out []protocol.Snapshot
	for _, succ := range lists {
		for p := range c.cfg.Members {
			s := protocol.Snapshot{Succ: succ}
			if p > 0 {
				s.Pred = c.names[1][p]
			}
			out = append(out, s)
		}
	}
	return out
}

// turnsOf is how many different states the turns of this one are, if it is the
// first of them, else 0.
func turnsOf(digits []int, number, base int) int {
	n := len(digits)
	for by := 1; by < n; by++ {
		turned := 0
		for i := n - 1; i >= 0; i-- {
			turned = turned*base + digits[(i+by)%n]
		}
		if turned < number {
			return 0
		}
		if turned == number {
			return by
		}
	}
	return n
}

// connected reports whether the live members of w are some, and one component of
// who knows whom.
func (c *checker) connected(w *world) bool {
	h := &c.healing
	h.now = *w
	for i := range c.cfg.Members {
		h.groups[i] = uint8(i)
	}
	c.acquaint()
	first := -1
	for i := range c.cfg.Members {
		if !w.live(i) {
			continue
		}
		if first < 0 {
			first = i
		}
		if h.groups.root(i) != h.groups.root(first) {
			return false
		}
	}
	return first >= 0
}
