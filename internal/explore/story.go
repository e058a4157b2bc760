package explore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// This file tells how a state came about, and does it again.

// story collects the words for one step. Branches of a step are taken depth
// first, so the words of those not wanted are cut off again.
type story struct {
	offset int // places by which the worlds are turned from the one that the story began with
	words  []string
	depths []int
}

func (s *story) add(d int, text string) {
	s.words, s.depths = append(s.words, text), append(s.depths, d)
}

func (s *story) cut(d int) {
	for n := len(s.depths); n > 0 && s.depths[n-1] > d; n-- {
		s.words, s.depths = s.words[:n-1], s.depths[:n-1]
	}
}

// name is what the member at place i is called in the story.
func (c *checker) name(i int) string {
	if c.turn && c.story != nil {
		i = (i + c.story.offset) % c.cfg.Members
	}
	return string(rune('A' + i))
}

func (c *checker) named(by int, x ring.Member) string {
	if x.IsZero() {
		return "nobody"
	}
	s := c.name(c.place(by, index(x)))
	if x.Incarnation > 1 {
		s += strconv.FormatUint(x.Incarnation, 10)
	}
	return s
}

// what says what message m asks.
func (c *checker) what(m message) string {
	q := c.saids[m.said()].request
	switch q.Kind {
	case protocol.AskRing:
		return "for its ring"
	case protocol.Notify:
		if q.Preparing {
			return "whether it would take it for its predecessor"
		}
		return "to take it for its predecessor"
	case protocol.Introduce:
		return "to consider " + c.named(m.from(), q.Subject)
	case protocol.Leave:
		return "to do without it"
	case protocol.Seek, protocol.Place:
		return "where " + c.named(m.from(), q.Subject) + " belongs"
	case protocol.Changed:
		return "to look at its list again"
	}
	return q.Kind.String()
}

// say tells what t is.
func (c *checker) say(w *world, t transition) string {
	if t.kind < arrive {
		a, b := c.name(t.a), c.name(t.b)
		return [...]string{
			tick: a + " begins a round", join: a + " joins through " + b,
			restart: a + " comes back as a later incarnation of its name, through " + b,
			rejoin:  a + " tries again to join, through " + b, depart: a + " leaves", fail: a + " fails",
		}[t.kind]
	}
	if t.kind == taken {
		return "the program of " + c.name(t.a) + " has taken over"
	}
	m := w.messages[t.a]
	from, to := c.name(m.from()), c.name(m.to())
	question := fmt.Sprintf("%s's question to %s", from, to)
	if m.stage() != answered {
		question = fmt.Sprintf("what %s asks %s (%s)", from, to, c.what(m))
	}
	switch t.kind {
	case arrive:
		if c.cfg.Grain == Instant {
			return fmt.Sprintf("%s asks %s %s", from, to, c.what(m))
		}
		return fmt.Sprintf("%s is asked by %s %s", to, from, c.what(m))
	case use:
		return fmt.Sprintf("%s gets the answer of %s", from, to)
	case suspect:
		return fmt.Sprintf("%s takes %s for dead, which it asked %s", from, to, c.what(m))
	case lose:
		if m.stage() == answered {
			return fmt.Sprintf("the answer of %s to %s is lost", to, from)
		}
		return question + " is lost"
	}
	return question + " is doubled"
}

func (c *checker) tellMore(d int, w *world, m message) {
	if c.story == nil {
		return
	}
	c.story.cut(d)
	if m.stage() == answered {
		f := c.saids[m.said()].failure
		switch {
		case m.said() == c.refused && w.live(m.to()) && c.all[w.slots[m.to()]].incarnation == m.incarnation():
			// An introduction, which is left to what the other may remember.
		case f != nil:
			c.story.add(d, fmt.Sprintf("%s hears from %s: %s", c.name(m.from()), c.name(m.to()), f.Kind))
		case m.role() == roleJoin:
			c.story.add(d, fmt.Sprintf("%s uses the answer of %s", c.name(m.from()), c.name(m.to())))
		default:
			c.story.add(d, fmt.Sprintf("%s uses the answer", c.name(m.from())))
		}
		return
	}
	c.story.add(d, fmt.Sprintf("%s asks %s %s", c.name(m.from()), c.name(m.to()), c.what(m)))
}

// tellSuspicion tells of a question that is put and given up in one step.
func (c *checker) tellSuspicion(d int, m message) {
	if c.story == nil {
		return
	}
	c.story.cut(d)
	from, to := c.name(m.from()), c.name(m.to())
	c.story.add(d+1, fmt.Sprintf("%s asks %s %s, and takes it for dead", from, to, c.what(m)))
}

func (c *checker) tellStep(d, i int, b *branch) {
	if c.story == nil {
		return
	}
	c.story.cut(d)
	for _, x := range b.needs {
		k, _ := decode(x)
		c.story.add(d+1, fmt.Sprintf("%s remembers %s", c.name(i), c.name(c.place(i, k))))
	}
}

// label is t in a few letters, the same however the world is turned.
func (c *checker) label(w *world, t transition) string {
	letter := string("tjcrdfausxwp"[t.kind])
	switch {
	case t.kind < arrive && (t.kind == join || t.kind == restart || t.kind == rejoin):
		return letter + c.name(t.a) + c.name(t.b)
	case t.kind < arrive, t.kind == taken:
		return letter + c.name(t.a)
	}
	m := w.messages[t.a]
	s := letter + c.name(m.from()) + c.name(m.to()) + strconv.Itoa(int(m.role()))
	if q := c.saids[m.said()].request; q.Kind != 0 {
		s += string("?rnspicl"[min(int(q.Kind), 7)])
		if !q.Subject.IsZero() {
			s += c.named(m.from(), q.Subject)
		}
	}
	return s
}

// walk follows a path from a start, choosing among what can happen in each state
// by pick, which is given the label of each outcome, and calls then with each
// state on the way.
func (c *checker) walk(start world, steps int, pick func(step, ordinal int, label string) bool, then func(say string, w *world)) error {
	c.story = &story{}
	emit := c.emit
	defer func() { c.story, c.emit = nil, emit }()
	w := start
	c.story.offset = c.finish(&w)
	then("", &w)
	for s := range steps {
		ordinal := 0
		var next world
		var words string
		found := false
		times := map[string]int{}
		for _, t := range slices.Clone(c.transitions(&w)) {
			label := c.label(&w, t)
			if n := times[label]; n > 0 {
				label += strings.Repeat("'", n)
			}
			times[c.label(&w, t)]++
			outcome := 0
			c.emit = func(o *world) {
				if found || c.cfg.InFlight > 0 && o.flying() > c.cfg.InFlight {
					return
				}
				ordinal++
				full := label
				if outcome > 0 {
					full = label + "/" + strconv.Itoa(outcome)
				}
				outcome++
				if pick(s, ordinal, full) {
					found, next = true, *o
					words = strings.Join(c.story.words, "; ")
				}
			}
			c.story.words, c.story.depths = []string{c.say(&w, t)}, []int{-1}
			c.take(&w, t)
			if found {
				break
			}
		}
		if !found {
			return fmt.Errorf("step %d of the trace cannot happen in the state before it", s+1)
		}
		w = next
		by := c.finish(&w)
		c.story.offset = (c.story.offset + by) % c.cfg.Members
		then(words, &w)
	}
	return nil
}

// retell turns the path to the latest state into a trace and a story.
func (c *checker) retell() (trace, told string) {
	var path []int
	at := uint32(len(c.parents) - 1)
	for ; c.parents[at] != none; at = c.parents[at] {
		path = append(path, int(c.ordinals[at]))
	}
	slices.Reverse(path)
	first := int(c.ordinals[at]) - 1
	labels := []string{strconv.Itoa(first)}
	var b strings.Builder
	n := 0
	err := c.walk(c.starts()[first], len(path), func(s, ordinal int, label string) bool {
		if ordinal != path[s] {
			return false
		}
		labels = append(labels, label)
		return true
	}, func(say string, w *world) { n = c.chapter(&b, n, say, w) })
	if err != nil {
		return "", err.Error()
	}
	return strings.Join(labels, "."), b.String()
}

// chapter writes one step of a story, and the state after it.
func (c *checker) chapter(b *strings.Builder, n int, say string, w *world) int {
	if n == 0 {
		say = "the start"
	}
	b.WriteString(wrap(fmt.Sprintf("%2d. ", n), "    ", say))
	b.WriteString(c.picture(w))
	return n + 1
}

// Replay does a trace again and tells its story. It ends with how the last
// state breaks a rule, if it does.
func Replay(cfg Config, trace string) (told string, broken *Violation, err error) {
	c := newChecker(cfg)
	steps := strings.Split(trace, ".")
	starts := c.starts()
	first, err := strconv.Atoi(steps[0])
	if err != nil || first < 0 || first >= len(starts) {
		return "", nil, fmt.Errorf("a trace begins with the number of a start, 0…%d, not with %q", len(starts)-1, steps[0])
	}
	var b strings.Builder
	n := 0
	var last world
	err = c.walk(starts[first], len(steps)-1,
		func(s, _ int, label string) bool { return label == steps[s+1] },
		func(say string, w *world) { n, last = c.chapter(&b, n, say, w), *w })
	if err != nil {
		return b.String(), nil, err
	}
	broken = c.judge(&last)
	if broken != nil {
		broken.Trace, broken.Story = trace, b.String()
	}
	return b.String(), broken, nil
}

// picture draws a state: who points where, and what is under way.
func (c *checker) picture(w *world) string {
	var lines []string
	n := c.cfg.Members
	shift := 0
	if c.turn && c.story != nil {
		shift = c.story.offset
	}
	for k := range n {
		i := (k - shift + n) % n
		name := c.name(i)
		switch w.slots[i] {
		case empty:
			continue
		case dead:
			lines = append(lines, name+"  dead")
			continue
		}
		st := c.all[w.slots[i]].machine.State()
		mark := func(x ring.Member) string {
			s := c.named(i, x)
			at := c.place(i, index(x))
			if !w.live(at) || c.all[w.slots[at]].incarnation != uint8(x.Incarnation) {
				s += "(dead)"
			}
			return s
		}
		if !st.Phase.InRing() {
			lines = append(lines, fmt.Sprintf("%s  %s", name, st.Phase))
			continue
		}
		pred, list := "-", "-"
		if !st.Pred.IsZero() {
			pred = mark(st.Pred)
		}
		if len(st.Succ) > 0 {
			var names []string
			for _, x := range st.Succ {
				names = append(names, mark(x))
			}
			list = strings.Join(names, " ")
		}
		line := fmt.Sprintf("%s  predecessor %-8s list %s", name, pred, list)
		if st.Phase == protocol.Leaving {
			line += "  (leaving)"
		}
		lines = append(lines, line)
	}
	members := len(lines)
	for _, m := range w.messages[:w.n] {
		switch m.stage() {
		case asked:
			lines = append(lines, fmt.Sprintf("on its way: %s asks %s %s", c.name(m.from()), c.name(m.to()), c.what(m)))
		case waiting:
			lines = append(lines, fmt.Sprintf("%s has asked %s %s", c.name(m.from()), c.name(m.to()), c.what(m)))
		case answered:
			lines = append(lines, fmt.Sprintf("on its way: the answer of %s to %s%s", c.name(m.to()), c.name(m.from()), c.answer(m)))
		}
	}
	slices.Sort(lines[members:])
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(wrap("      ", "          ", l))
	}
	return b.String()
}

// answer says what an answer says of the one that gave it.
func (c *checker) answer(m message) string {
	s := c.saids[m.said()]
	if s.failure != nil {
		return ": " + s.failure.Kind.String()
	}
	st := s.reply.State
	var out strings.Builder
	out.WriteString(": predecessor " + c.named(m.to(), st.Pred) + ", list")
	for _, x := range st.Succ {
		out.WriteString(" " + c.named(m.to(), x))
	}
	return out.String()
}

// wrap breaks text into lines of at most 78 columns.
func wrap(first, rest, text string) string {
	var b strings.Builder
	line := first
	empty := true
	for word := range strings.SplitSeq(text, " ") {
		if !empty && len(line)+1+len(word) > 78 {
			b.WriteString(line + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	b.WriteString(line + "\n")
	return b.String()
}
