package explore

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// world is one state: the machines, and the questions under way.
type world struct {
	slots      []slot
	asks       []ask
	tokens     uint64
	joins      int
	fails      int
	suspicions int
}

// slot is one identifier. A machine is never stepped in two worlds: it is
// cloned before its first step in a new one.
type slot struct {
	m     *protocol.Machine // nil: not yet there
	dead  bool
	owned bool // cloned in this world already
	via   uint8
}

func (s slot) live() bool { return s.m != nil && !s.dead }

type stage uint8

const (
	asked    stage = iota // on its way
	waiting               // arrived, not answered yet
	answered              // the answer is on its way
)

// ask is one question from asking to the use of its answer.
type ask struct {
	from    int
	call    uint64 // 0: told, the answer is not wanted
	to      ring.Member
	req     protocol.Request
	stage   stage
	token   uint64
	reply   protocol.Reply
	failure *protocol.Failure
}

func (w *world) clone() *world {
	n := *w
	n.slots = slices.Clone(w.slots)
	for i := range n.slots {
		n.slots[i].owned = false
	}
	n.asks = slices.Clone(w.asks)
	return &n
}

// start is the first state: an ideal ring, or one founder.
func (c *checker) start() *world {
	w := &world{slots: make([]slot, c.cfg.Identifiers), joins: c.cfg.Joins, fails: c.cfg.Fails, suspicions: c.cfg.Suspicions}
	for i := range c.cfg.Founded {
		w.slots[i] = slot{m: c.machine(i), owned: true}
		if i == 0 {
			w.step(c, 0, protocol.Create{})
		} else {
			w.step(c, i, protocol.Join{Via: []string{c.members[0].Addr}})
			c.drain(w)
		}
	}
	for range 8 * c.cfg.Founded {
		for i := range c.cfg.Founded {
			c.made = c.made[:0]
			w.step(c, i, protocol.Tick{})
			c.drain(w)
		}
	}
	return w
}

func (c *checker) machine(i int) *protocol.Machine {
	return protocol.New(c.members[i], protocol.Config{
		Bits: 64, Successors: c.cfg.Successors, Acquaintances: c.cfg.Acquaintances,
		CheckEvery: 1, Interval: time.Second, Choose: c.choose,
	}, 1)
}

// step gives a machine an event and takes up what it wants.
func (w *world) step(c *checker, i int, ev protocol.Event) {
	s := &w.slots[i]
	if !s.owned {
		s.m = s.m.Clone()
		s.owned = true
	}
	for _, e := range s.m.Step(0, ev) {
		switch e := e.(type) {
		case protocol.Ask:
			w.asks = append(w.asks, ask{from: i, call: e.Call, to: e.To, req: e.Request})
		case protocol.Tell:
			w.asks = append(w.asks, ask{from: i, to: e.To, req: e.Request})
		case protocol.Respond:
			for k := range w.asks {
				if a := &w.asks[k]; a.stage == waiting && a.token == e.Token {
					a.stage, a.reply, a.failure = answered, e.Reply, e.Failure
				}
			}
		}
	}
}

// advance takes the next step of ask k: it arrives, or its answer does.
func (w *world) advance(c *checker, k int) {
	a := &w.asks[k]
	if a.stage == answered {
		got := *a
		w.asks = slices.Delete(w.asks, k, k+1)
		if got.call != 0 && w.slots[got.from].live() {
			w.step(c, got.from, protocol.Answer{Call: got.call, Reply: got.reply, Failure: got.failure})
		}
		return
	}
	to := c.index(a.to.Addr)
	if !w.slots[to].live() {
		a.stage, a.failure = answered, &protocol.Failure{Kind: protocol.Refused}
		return
	}
	w.tokens++
	a.stage, a.token = waiting, w.tokens
	w.step(c, to, protocol.Asked{Token: a.token, From: w.slots[a.from].m.Self(), Request: a.req})
}

func (c *checker) index(addr string) int { return int(addr[0] - 'A') }

// kind of a transition.
type kind uint8

const (
	begins  kind = iota // a founder, or the ideal ring
	round               // a begins a round
	joins               // a joins through b
	rejoins             // a tries to join again
	fails               // a fails
	asks                // the question is answered and the answer used
	arrives             // the question arrives
	uses                // the answer arrives and is used
	silent              // the asker hears nothing
)

// transition is one thing that can happen: to members a and b, or to ask a.
type transition struct {
	kind kind
	a, b int
}

// say tells a transition in words, given the state that it happened in.
func (c *checker) say(w *world, t transition) string {
	name := func(i int) string { return c.members[i].Name }
	if t.kind >= asks {
		q := w.asks[t.a]
		from, to, what := name(q.from), q.to.Addr[:1], q.req.Kind.String()
		if s := q.req.Subject; !s.IsZero() {
			what += " " + s.Name
		}
		switch t.kind {
		case asks:
			return fmt.Sprintf("%s asks %s: %s, and uses the answer", from, to, what)
		case arrives:
			return fmt.Sprintf("%s is asked by %s: %s", to, from, what)
		case uses:
			return fmt.Sprintf("%s uses the answer of %s: %s", from, to, what)
		}
		return fmt.Sprintf("%s hears nothing from %s: %s", from, to, what)
	}
	switch t.kind {
	case round:
		return name(t.a) + " begins a round"
	case joins:
		return name(t.a) + " joins through " + name(t.b)
	case rejoins:
		return name(t.a) + " tries to join again"
	case fails:
		return name(t.a) + " fails"
	}
	return "start"
}

// transitions lists all that can happen in w.
func (c *checker) transitions(w *world) []transition {
	out := c.next[:0]
	var busy [8]bool
	for k := range w.asks {
		a := &w.asks[k]
		if a.call != 0 && w.slots[a.from].live() && w.slots[a.from].m.Role(a.call) != 0 {
			busy[a.from] = true
		}
		switch {
		case a.stage == waiting:
			continue
		case a.stage == answered:
			out = append(out, transition{uses, k, 0})
		case c.cfg.Grain == Instant:
			out = append(out, transition{asks, k, 0})
		default:
			out = append(out, transition{arrives, k, 0})
		}
		if a.stage == asked && a.call != 0 && w.suspicions > 0 && w.slots[c.index(a.to.Addr)].live() {
			out = append(out, transition{silent, k, 0})
		}
	}
	for i, s := range w.slots {
		switch {
		case s.live() && !busy[i] && s.m.State().Phase == protocol.Joined:
			out = append(out, transition{round, i, 0})
		case s.m == nil && w.joins > 0:
			for j, o := range w.slots {
				if o.live() && o.m.State().Phase == protocol.Joined {
					out = append(out, transition{joins, i, j})
				}
			}
		case s.live() && s.m.State().Phase == protocol.Outside && w.slots[s.via].live():
			out = append(out, transition{rejoins, i, 0}) // as the runtime would
		}
		if s.live() && w.fails > 0 && (!c.cfg.Assume || w.mayFail(c, i)) {
			out = append(out, transition{fails, i, 0})
		}
	}
	c.next = out
	return out
}

// take makes a transition happen in w.
func (c *checker) take(w *world, t transition) {
	switch t.kind {
	case round:
		w.step(c, t.a, protocol.Tick{})
	case joins:
		w.joins--
		w.slots[t.a] = slot{m: c.machine(t.a), owned: true, via: uint8(t.b)}
		w.step(c, t.a, protocol.Join{Via: []string{c.members[t.b].Addr}})
	case rejoins:
		w.step(c, t.a, protocol.Join{Via: []string{c.members[w.slots[t.a].via].Addr}})
	case fails:
		w.fails--
		w.slots[t.a].dead = true
		w.asks = slices.DeleteFunc(w.asks, func(a ask) bool { return a.from == t.a })
		for k := range w.asks {
			if a := &w.asks[k]; a.stage == waiting && c.index(a.to.Addr) == t.a {
				a.stage, a.failure = answered, &protocol.Failure{Kind: protocol.Unreachable}
			}
		}
	case silent:
		w.suspicions--
		w.asks[t.a].stage = answered
		w.asks[t.a].failure = &protocol.Failure{Kind: protocol.Refused}
	default:
		w.advance(c, t.a)
	}
	if c.cfg.Grain == Instant {
		w.settle(c)
	}
}

// settle uses the answers that there are: at the instant grain no answer is
// ever under way.
func (w *world) settle(c *checker) {
	for {
		k := slices.IndexFunc(w.asks, func(a ask) bool { return a.stage == answered })
		if k < 0 {
			return
		}
		w.advance(c, k)
	}
}

// mayFail reports whether the failure of member i leaves every other member,
// and every answer under way, a live successor.
func (w *world) mayFail(c *checker, i int) bool {
	lives := func(x ring.Member) bool {
		k := c.index(x.Addr)
		return k != i && w.slots[k].live() && w.slots[k].m.State().Phase.InRing()
	}
	others := 0
	for k, s := range w.slots {
		if k == i || !s.live() {
			continue
		}
		st := s.m.State()
		if !st.Phase.InRing() {
			continue
		}
		others++
		if len(st.Succ) > 0 && !slices.ContainsFunc(st.Succ, lives) {
			return false
		}
	}
	for _, a := range w.asks {
		if a.stage == answered && len(a.reply.State.Succ) > 0 && !lives(a.to) && !slices.ContainsFunc(a.reply.State.Succ, lives) {
			return false
		}
	}
	return others > 0
}

// ring is the state as the rules see it.
func (w *world) ring(c *checker) invariant.Ring {
	var states []protocol.State
	for _, s := range w.slots {
		if s.live() {
			states = append(states, s.m.State())
		}
	}
	return invariant.NewRing(c.cfg.Successors, states)
}

// components says what keeps the live members from being one ideal ring in each
// component of who knows whom.
func (w *world) components(c *checker) string {
	comp := make([]int, len(w.slots))
	for i := range comp {
		comp[i] = i
	}
	root := func(i int) int {
		for comp[i] != i {
			i = comp[i]
		}
		return i
	}
	for i, s := range w.slots {
		if !s.live() || !s.m.State().Phase.InRing() {
			continue
		}
		for _, x := range s.m.Knows() {
			if k := c.index(x.Addr); w.slots[k].live() && w.slots[k].m.State().Phase.InRing() {
				comp[root(i)] = root(k)
			}
		}
	}
	groups := map[int][]protocol.State{}
	for i, s := range w.slots {
		if s.live() {
			groups[root(i)] = append(groups[root(i)], s.m.State())
		}
	}
	for i := range w.slots {
		if g := groups[i]; g != nil {
			if how := invariant.Ideal.Broken(invariant.NewRing(c.cfg.Successors, g)); how != "" {
				return how
			}
		}
	}
	return ""
}

// key is the canonical form of a state, hashed to 128 bits.
func (c *checker) key(w *world) key {
	enc := protocol.Encoder{
		Member: func(x ring.Member) byte {
			switch {
			case x.IsZero():
				return 0
			case x.Name == "":
				return byte(c.index(x.Addr)) + 64
			}
			return byte(c.index(x.Addr)) + 1
		},
	}
	enc.Token = func(t uint64) byte {
		if t == 0 {
			return 0
		}
		for _, a := range w.asks {
			if a.stage == waiting && a.token == t {
				return w.name(a)
			}
		}
		return 1 // the asker is gone
	}
	b := c.buf[:0]
	b = append(b, byte(w.joins), byte(w.fails), byte(w.suspicions))
	for _, s := range w.slots {
		switch {
		case s.m == nil:
			b = append(b, 0)
		case s.dead:
			b = append(b, 1)
		default:
			b = append(b, 2, s.via)
			b = s.m.Encode(b, &enc)
		}
	}
	c.buf = b
	c.parts = c.parts[:0]
	for _, a := range w.asks {
		p := []byte{w.name(a), byte(a.stage), byte(a.req.Kind), enc.Member(a.to), enc.Member(a.req.Subject)}
		if a.req.Joining {
			p = append(p, 1)
		}
		if a.stage == answered {
			if a.failure != nil {
				p = append(p, 0xff, byte(a.failure.Kind))
			} else {
				r := a.reply
				p = append(p, byte(r.State.Phase), enc.Member(r.State.Self), enc.Member(r.State.Pred), byte(r.Verdict), byte(r.Refusal.Reason), enc.Member(r.Refusal.Other), byte(len(r.State.Succ)))
				for _, x := range r.State.Succ {
					p = append(p, enc.Member(x))
				}
				for _, x := range r.Closer {
					p = append(p, enc.Member(x))
				}
			}
		}
		c.parts = append(c.parts, p)
	}
	slices.SortFunc(c.parts, bytes.Compare)
	for _, p := range c.parts {
		b = append(b, byte(len(p)))
		b = append(b, p...)
	}
	c.buf = b
	var k key
	for i, seed := range c.seeds {
		h := maphash.Bytes(seed, b)
		for j := range 8 {
			k[8*i+j] = byte(h >> (8 * j))
		}
	}
	return k
}

// name tells questions of one asker apart, whatever their call numbers.
func (w *world) name(a ask) byte {
	role := byte(24 + a.req.Kind)
	if a.call != 0 {
		if r := w.slots[a.from].m.Role(a.call); r != 0 {
			role = r & 31
		}
	}
	return byte(a.from)<<5 | role
}

// describe draws a state.
func (w *world) describe(c *checker) string {
	var b strings.Builder
	for i, s := range w.slots {
		switch {
		case s.m == nil:
			continue
		case s.dead:
			fmt.Fprintf(&b, "  %s dead\n", c.members[i].Name)
		default:
			st := s.m.State()
			fmt.Fprintf(&b, "  %s %s pred %s list", c.members[i].Name, st.Phase, st.Pred.Name)
			for _, x := range st.Succ {
				b.WriteString(" " + x.Name)
			}
			fmt.Fprintf(&b, "; %s\n", s.m.Describe())
		}
	}
	for _, a := range w.asks {
		fmt.Fprintf(&b, "  %s -> %s %s %s stage %d\n", c.members[a.from].Name, a.to.Addr[:1], a.req.Kind, a.req.Subject.Name, a.stage)
	}
	return b.String()
}
