package explore

import (
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
)

// maxQuiet bounds the quiet rounds that can be asked for.
const maxQuiet = 255

// quietPeriod is after how many quiet rounds the choices that machines make in
// them come round: see choose.
const quietPeriod = 24

// healing is what is known of the way back to an ideal ring.
type healing struct {
	stack  []world // of its own: a state is judged while others are being made
	rounds table   // states before a quiet round: how many they need until they are ideal for good
	path   []key   // the states before each round of those under way
	ideals table   // pointers and components: 2 if ideal, else 1
	now    world
	groups groups
}

// groups says which members have to end in one ring: those of one group, by the
// place of one of them.
type groups [maxMembers]uint8

func (g *groups) root(i int) uint8 {
	for int(g[i]) != i {
		i = int(g[i])
	}
	return uint8(i)
}

// join makes one group of the members at places i and k; the least is its root.
func (g *groups) join(i, k int) {
	a, b := g.root(i), g.root(k)
	g[max(a, b)] = min(a, b)
}

// heals lets fair rounds pass without faults, from w on, with machines that
// remember no more than their pointers and open questions name, and says what is
// not ideal after as many as allowed, or does not stay so: what is ideal is
// followed until it comes to where it has been before.
func (c *checker) heals(w *world) string {
	h := &c.healing
	if h.stack == nil {
		h.stack = make([]world, 16)
	}
	emit := c.emit
	c.stack, h.stack = h.stack, c.stack
	c.emit = func(o *world) { h.now = *o }
	c.quiet, c.round = true, 0
	defer func() {
		c.stack, h.stack = h.stack, c.stack
		c.emit = emit
		c.quiet = false
	}()

	h.now = *w
	for i := range c.cfg.Members {
		h.groups[i] = uint8(i)
		h.now.slots[i] = c.remembering(w.slots[i])
	}
	c.acquaint()
	if !c.drain() {
		return "messages without end"
	}
	path, bad, how := c.quietRounds(h.path[:0])
	if how != "" {
		return how
	}
	for i, k := range path {
		h.rounds.put(k, uint32(max(0, bad+1-i)))
	}
	h.path = path
	c.result.QuietRounds = max(c.result.QuietRounds, bad+1)
	return ""
}

// quietRounds lets rounds pass until what comes is known. It appends the state before
// each to path, and returns the last round before which it was not ideal, -1 if it
// always was; or how that was too late.
func (c *checker) quietRounds(path []key) (_ []key, bad int, how string) {
	h := &c.healing
	bad = -1
	for round := 0; ; round++ {
		c.round = round % quietPeriod
		k := c.quietKey()
		more, known := h.rounds.get(k)
		first := -1 // where in path the same state is
		switch {
		case known && more > 0:
			bad = round + int(more) - 1
		case known:
		case c.ideal() != "":
			bad = round
		default:
			// Once what comes has been there before, nothing new comes.
			if first = slices.Index(path, k); first >= 0 && first <= bad {
				return path, bad, fmt.Sprintf("after %d quiet rounds the ideal ring does not stay so\n%s%v", round, c.picture(&h.now), h.groups)
			}
		}
		if bad >= c.cfg.Quiet {
			return path, bad, fmt.Sprintf("after %d quiet rounds: %s\n%s%v", round, c.ideal(), c.picture(&h.now), h.groups)
		}
		if known || first >= 0 {
			return path, bad, ""
		}
		if path = append(path, k); len(path) > maxQuiet+8*quietPeriod {
			return path, bad, "quiet rounds that never come to what has been before"
		}
		if !c.quietRound() {
			return path, bad, "messages without end"
		}
	}
}

// quietKey brings the state after a round into its canonical form.
func (c *checker) quietKey() key {
	h := &c.healing
	by := c.canonical(&h.now)
	n := c.cfg.Members
	if by != 0 {
		var g groups
		for i := range n {
			g[i] = uint8(i)
		}
		for i := range n {
			g.join(i, (int(h.groups.root((i+by)%n))-by+n)%n)
		}
		h.groups = g
	}
	var set uint64
	for i := range n {
		set |= uint64(h.groups.root(i)) << (4 * i)
	}
	c.wordsOf(&h.now)
	return key{}.of(append(c.words, set, uint64(c.round)))
}

// quietRound lets every member begin a round, and carries all that follows to
// its end.
func (c *checker) quietRound() bool {
	for i := range c.cfg.Members {
		if c.healing.now.live(i) {
			c.quietly(func() { c.step(0, i, event{kind: evTick}) })
		}
	}
	return c.drain()
}

// quietly does something that has one outcome.
func (c *checker) quietly(do func()) {
	c.stack[0] = c.healing.now
	do()
}

// drain carries every message to its end, first come first served.
func (c *checker) drain() bool {
	h := &c.healing
	for range 10000 {
		k := 0
		for k < h.now.n && h.now.messages[k].stage() == waiting {
			k++
		}
		if k == h.now.n {
			return true
		}
		switch h.now.messages[k].stage() {
		case asked:
			c.quietly(func() { c.arrive(0, k) })
		case answered:
			c.quietly(func() { c.use(0, k) })
		}
	}
	return false
}

// acquaint makes one group of every member and those that it knows.
func (c *checker) acquaint() {
	h := &c.healing
	for i := range c.cfg.Members {
		if !c.inRing(&h.now, i) {
			continue
		}
		known := c.turned(c.all[h.now.slots[i]].mentions, i)
		for k := range c.cfg.Members {
			if known&(1<<k) != 0 && c.inRing(&h.now, k) && c.mayMeet(&h.now, i, k) {
				h.groups.join(i, k)
			}
		}
	}
}

// mayMeet reports whether the members at places i and k may be in one ring. All of
// them may, unless the rings of the start have nothing in common.
func (c *checker) mayMeet(w *world, i, k int) bool {
	return c.cfg.Start != Strangers || c.all[w.slots[i]].origin.Kin(c.all[w.slots[k]].origin)
}

// ideal says what keeps the members from being one ideal ring for each component
// of who knows, or knew, whom.
func (c *checker) ideal() string {
	h := &c.healing
	c.acquaint()
	sum := newHasher()
	for i := range c.cfg.Members {
		sum.add(uint64(c.all[h.now.slots[i]].pointers)<<8 | uint64(h.groups.root(i)))
	}
	k := sum.sum()
	if v, ok := h.ideals.get(k); ok && v == 2 {
		return ""
	}
	for root := range c.cfg.Members {
		r := c.ring(&h.now, func(i int) bool {
			return c.phase(&h.now, i) == protocol.Joined && int(h.groups.root(i)) == root
		})
		if how := invariant.Ideal.Broken(r); how != "" {
			h.ideals.put(k, 1)
			return how
		}
	}
	h.ideals.put(k, 2)
	return ""
}
