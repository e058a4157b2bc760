package explore

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// kind of a transition: one thing that can happen.
type kind uint8

const (
	tick    kind = iota // the member at a begins a round
	join                // the member at a joins through b, for the first time
	restart             // the one that was at a comes back as a later incarnation of its name, through b
	rejoin              // the member at a, whose join has failed, tries again through b
	depart              // the member at a leaves
	fail                // the member at a falls silent
	arrive              // message a arrives at whom it asks
	use                 // the answer that message a has become arrives and is used
	suspect             // whoever asked message a takes the one it asked for dead
	lose                // message a is lost, and whoever asked has waited long enough
	double              // message a is doubled
	taken               // the program of the joiner at a has taken what the joiner will own
)

type transition struct {
	kind kind
	a, b int
}

// transitions lists all that can happen in w, in an order that depends on
// nothing else.
func (c *checker) transitions(w *world) []transition {
	out := c.next[:0]
	for k, m := range w.messages[:w.n] {
		out = c.ofMessage(out, w, k, m)
	}
	var may uint8
	if w.fails > 0 || w.leaves > 0 {
		may = c.mayFail(w)
	}
	for i := range c.cfg.Members {
		if w.live(i) {
			out = c.ofMember(out, w, i, may&(1<<i) != 0)
		} else {
			out = c.ofVacancy(out, w, i)
		}
	}
	c.next = out
	return out
}

// ofMessage adds what can happen to message m, which is message k.
func (c *checker) ofMessage(out []transition, w *world, k int, m message) []transition {
	switch m.stage() {
	case asked:
		out = append(out, transition{arrive, k, 0})
		if c.mayBeSuspected(w, m) {
			out = append(out, transition{suspect, k, 0})
		}
	case answered:
		out = append(out, transition{use, k, 0})
	default:
		return out
	}
	if w.losses > 0 {
		out = append(out, transition{lose, k, 0})
	}
	if w.doubles > 0 && !c.readOnly(m) {
		out = append(out, transition{double, k, 0})
	}
	return out
}

// ofVacancy adds who can join, or come back, at place i, where nobody lives.
func (c *checker) ofVacancy(out []transition, w *world, i int) []transition {
	switch {
	case w.slots[i] == dead && w.restarts > 0 && w.incarnations[i] <= uint8(c.cfg.Restarts) && w.incarnations[i] < maxIncarnations:
		return c.throughAny(out, w, restart, i)
	case w.slots[i] == dead || w.joins == 0:
		return out
	}
	return c.throughAny(out, w, join, i)
}

// ofMember adds what the member that lives at place i can do, and that it can fail if
// it may: it may then leave, too.
func (c *checker) ofMember(out []transition, w *world, i int, may bool) []transition {
	x := &c.all[w.slots[i]]
	switch x.phase {
	case protocol.Joined:
		// A round that begins while a stabilization is open only makes another
		// follow it, which may as well begin when the first has ended.
		if !x.stabilizing && (!x.memory || x.machine.Call(rolePlacing) == 0) {
			out = append(out, transition{tick, i, 0})
		}
		if w.leaves > 0 && may {
			out = append(out, transition{depart, i, 0})
		}
	case protocol.Leaving:
		out = append(out, transition{tick, i, 0})
	case protocol.Outside:
		out = c.throughAny(out, w, rejoin, i)
	case protocol.Joining:
		if _, ok := x.machine.Taking(); ok {
			out = append(out, transition{taken, i, 0})
		}
	}
	if w.fails > 0 && may && !(i >= c.half && w.live(i-c.half)) { // once for each process
		out = append(out, transition{fail, i, 0})
	}
	return out
}

// throughAny adds the transition at place i through each member of the ring.
func (c *checker) throughAny(out []transition, w *world, k kind, i int) []transition {
	for j := range c.cfg.Members {
		if c.phase(w, j) == protocol.Joined {
			out = append(out, transition{k, i, j})
		}
	}
	return out
}

// take makes t happen in w, and emits every world that it may lead to.
func (c *checker) take(w *world, t transition) {
	c.stack[0] = *w
	w = &c.stack[0]
	switch t.kind {
	case tick:
		c.step(0, t.a, event{kind: evTick})
	case join, restart:
		incarnation := w.incarnations[t.a] + 1
		if t.kind == join {
			spend(&w.joins)
		} else {
			spend(&w.restarts)
		}
		w.incarnations[t.a] = incarnation
		w.heard.forget(t.a)
		w.slots[t.a] = c.fresh(t.a, incarnation, c.cfg.Memory >= 0)
		c.step(0, t.a, event{kind: evJoin, from: c.number(t.a, t.b)})
	case rejoin:
		c.step(0, t.a, event{kind: evJoin, from: c.number(t.a, t.b)})
	case taken:
		c.step(0, t.a, event{kind: evPrepared})
	case depart:
		spend(&w.leaves)
		c.step(0, t.a, event{kind: evDepart})
	case fail:
		spend(&w.fails)
		for i := range c.cfg.Members {
			if c.together(i, t.a) && w.live(i) {
				c.die(w, i)
			}
		}
		c.run(0)
	case arrive:
		c.arrive(0, t.a)
	case use:
		c.use(0, t.a)
	case suspect:
		c.suspect(0, t.a)
	case lose:
		// Until the asker gives up, what was lost might as well be under way.
		spend(&w.losses)
		m := w.messages[t.a]
		w.remove(t.a)
		if m.role() == 0 || w.doubled(m) {
			c.run(0)
		} else {
			c.unanswered(0, m, c.timedOut)
		}
	case double:
		spend(&w.doubles)
		c.put(w, w.messages[t.a])
		c.run(0)
	}
}

// mayBeSuspected reports whether whoever asked m may take the member asked for
// dead though it lives.
func (c *checker) mayBeSuspected(w *world, m message) bool {
	return w.suspicions > 0 && m.stage() == asked && m.role() != 0 && w.live(m.to())
}

// suspect lets whoever asked message k take the member asked for dead. The
// question may arrive all the same.
func (c *checker) suspect(d, k int) {
	w := &c.stack[d]
	spend(&w.suspicions)
	m := w.messages[k]
	if c.readOnly(m) {
		w.remove(k)
	} else {
		w.messages[k].setNow(false)
	}
	c.unanswered(d, m, c.refused)
}

// run carries what goes on in the same step to its end, and emits the world.
func (c *checker) run(d int) {
	w := &c.stack[d]
	for k, m := range w.messages[:w.n] {
		if !m.now() {
			continue
		}
		if !c.quiet && c.mayBeSuspected(w, m) {
			c.grow(d)
			o := &c.stack[d+1]
			*o = c.stack[d]
			c.tellSuspicion(d, m)
			c.suspect(d+1, k)
			w = &c.stack[d]
		}
		c.tellMore(d, w, m)
		if m.stage() == answered {
			c.use(d, k)
		} else {
			c.arrive(d, k)
		}
		return
	}
	c.emit(w)
}

// grow makes room for a world more than d+1 deep.
func (c *checker) grow(d int) {
	if d+2 > len(c.stack) {
		c.stack = append(c.stack, make([]world, len(c.stack))...)
	}
}

// arrive brings a question to whom it asks.
func (c *checker) arrive(d, k int) {
	w := &c.stack[d]
	m := &w.messages[k]
	m.setNow(false)
	to := m.to()
	x := &c.all[w.slots[to]]
	var failure uint32
	switch {
	case !w.live(to):
		failure = c.refused
	case m.incarnation() != 0 && m.incarnation() != x.incarnation:
		failure = c.wrongMember[x.incarnation]
		if !c.turn || x.origin != nil {
			failure = c.keepSaid(said{failure: &protocol.Failure{Kind: protocol.WrongMember, By: c.names[x.incarnation][c.own(to)], Origin: x.origin}})
		}
	}
	if failure != 0 {
		if m.role() == 0 {
			w.remove(k)
		} else {
			// Nobody there, now or later: the asker learns of it at once, or
			// the question might as well have been longer under way.
			m.setStage(answered)
			m.setSaid(failure)
			m.setNow(true)
		}
		c.run(d)
		return
	}
	ev := event{kind: evAsked, from: c.number(to, m.from()), incarnation: m.by(), said: m.said()}
	if m.tell() {
		w.remove(k)
	} else {
		m.setToken(c.token(w, to, m.from(), ev.from))
		m.setStage(waiting)
		ev.token = m.token()
	}
	c.step(d, to, ev)
}

// token names a question at the member that it has arrived at: by its asker,
// and by how many others of the same asker wait there.
func (c *checker) token(w *world, to, from, number int) byte {
	var taken [256]bool
	for _, o := range w.messages[:w.n] {
		if o.stage() == waiting && o.to() == to && o.from() == from {
			taken[o.token()] = true
		}
	}
	t := byte(1 + number)
	for taken[t] {
		t += maxMembers
	}
	return t
}

// use hands an answer to the asker.
func (c *checker) use(d, k int) {
	w := &c.stack[d]
	m := w.messages[k]
	w.remove(k)
	c.unwanted(w, m)
	c.listen(w, m)
	c.step(d, m.from(), event{kind: evAnswer, role: m.role(), from: c.number(m.from(), m.to()), said: m.said()})
}

// unanswered tells the asker of m that no answer came.
func (c *checker) unanswered(d int, m message, failure uint32) {
	c.unwanted(&c.stack[d], m)
	c.step(d, m.from(), event{kind: evAnswer, role: m.role(), from: c.number(m.from(), m.to()), said: failure})
}

// unwanted notes that the question m and its doubles wait for no answer.
func (c *checker) unwanted(w *world, m message) {
	if m.role() == 0 {
		return
	}
	for k := w.n - 1; k >= 0; k-- {
		if o := &w.messages[k]; o.from() == m.from() && o.role() == m.role() {
			c.abandon(w, k)
		}
	}
}

// abandon turns a question whose answer nobody waits for into one that is only
// told, if it is under way or at work, and drops it otherwise.
func (c *checker) abandon(w *world, k int) {
	m := &w.messages[k]
	if m.stage() == answered || m.stage() == asked && c.readOnly(*m) {
		w.remove(k)
		return
	}
	m.setRole(0)
}

// readOnly reports whether nothing changes at the member asked.
func (c *checker) readOnly(m message) bool {
	switch c.saids[m.said()].request.Kind {
	case protocol.AskRing, protocol.Seek:
		return true
	}
	return false
}

// step lets the machine at place i take an event, in every way that it can.
func (c *checker) step(d, i int, ev event) {
	branches := c.locals.step(c.stack[d].slots[i], ev)
	c.grow(d)
	for n := range branches {
		b := &branches[n]
		if len(b.needs) > 0 && !c.known(&c.stack[d], i, b.needs) {
			continue
		}
		w := &c.stack[d+1]
		*w = c.stack[d]
		c.change(w, i, b, ev)
		c.watch(&c.stack[d], w, i, ev, b.told)
		if b.departed && c.cfg.Drain {
			c.drained(w, i, b)
		}
		c.tellStep(d, i, b)
		c.run(d + 1)
	}
}

// known reports whether the members that a machine is said to remember live.
// To remember others leads nowhere: they do not answer.
func (c *checker) known(w *world, i int, needs []byte) bool {
	for _, b := range needs {
		x, incarnation := decode(b)
		at := c.place(i, x)
		if !w.live(at) || c.all[w.slots[at]].incarnation != incarnation {
			return false
		}
	}
	return true
}

// change takes up what a step of the machine at place i has led to.
func (c *checker) change(w *world, i int, b *branch, ev event) {
	w.slots[i] = b.next
	w.incarnations[i] = c.all[b.next].incarnation
	if len(b.renamed) > 0 {
		c.rename(w, i, b.renamed)
	}
	remembers := c.all[b.next].memory
	for _, r := range b.replies {
		c.reply(w, i, r, remembers)
	}
	for k := range b.sends {
		c.send(w, i, &b.sends[k], ev, remembers)
	}
	if b.departed {
		c.die(w, i)
	}
}

// rename gives the open questions of the member at place i the roles that they have
// from now on.
func (c *checker) rename(w *world, i int, renamed []renaming) {
	for k := w.n - 1; k >= 0; k-- {
		m := &w.messages[k]
		if m.from() != i || m.role() == 0 {
			continue
		}
		at := slices.IndexFunc(renamed, func(r renaming) bool { return r.old == m.role() })
		switch {
		case at < 0:
		case renamed[at].new == 0:
			c.abandon(w, k)
		default:
			m.setRole(renamed[at].new)
		}
	}
}

// reply makes the question that waits at place i for r an answer under way.
func (c *checker) reply(w *world, i int, r reply, remembers bool) {
	for k := range w.messages[:w.n] {
		m := &w.messages[k]
		if m.stage() != waiting || m.to() != i || m.token() != r.token {
			continue
		}
		if m.role() == 0 && !(remembers && w.live(m.from())) {
			w.remove(k)
			return
		}
		m.setStage(answered)
		m.setToken(0)
		m.setSaid(r.said)
		if !remembers {
			m.setSaid(c.useful(r.said, m.role(), c.number(i, m.from())))
		}
		m.setNow(c.cfg.Grain == Instant || c.quiet || c.saids[r.said].reply.Verdict == protocol.Next)
		return
	}
}

// send puts under way what the member at place i sends after it has taken ev.
func (c *checker) send(w *world, i int, s *send, ev event, remembers bool) {
	to := c.place(i, s.to)
	m := message(0)
	m.set(fromAt, 3, uint64(i))
	m.set(toAt, 3, uint64(to))
	m.set(incarnationAt, 3, uint64(s.incarnation))
	m.set(byAt, 3, uint64(w.incarnations[i]))
	m.setRole(s.role)
	m.setSaid(s.said)
	if s.tell {
		m |= tellFlag
	}
	switch c.saids[s.said].request.Kind {
	case protocol.AskRing:
		// The first question of an operation is read in one step with what
		// begins the operation, which might as well have begun later.
		m.setNow(!c.quiet && !(ev.kind == evAnswer && ev.role == s.role) ||
			c.wholeJoins() && c.joinerWaits(w, i))
	case protocol.Seek:
		// So is a search, which changes nothing and can begin anywhere: only
		// its last answer counts.
		m.setNow(!c.quiet)
	case protocol.Notify:
		m.setNow(c.wholeJoins() && s.role == roleJoin)
	case protocol.Introduce:
		// Whoever is told may remember the joiner at any time, and may be
		// said to; the answer would bring only what its own notification does.
		if !remembers {
			m.setStage(answered)
			m.setSaid(c.refused)
			m.setNow(true)
		}
	}
	c.add(w, m)
}

// wholeJoins reports whether the search, the notification and the entry of a
// joiner are one step.
func (c *checker) wholeJoins() bool {
	return c.cfg.Grain == Instant && !c.quiet && !c.cfg.JoinsApart
}

// joinerWaits reports whether a joiner waits for the answer of the member at
// place i.
func (c *checker) joinerWaits(w *world, i int) bool {
	for _, m := range w.messages[:w.n] {
		if m.stage() == waiting && m.to() == i && m.role() == roleJoin && c.kind(m) == protocol.Notify {
			return true
		}
	}
	return false
}

// add puts a message under way. Of equal ones that nobody waits for one is
// enough, and a member that has notified another and has no answer yet does not
// do so again.
func (c *checker) add(w *world, m message) {
	if m.role() == 0 {
		if !w.live(m.to()) {
			return
		}
		for _, o := range w.messages[:w.n] {
			if o == m || o.stage() == waiting && o.role() == 0 && o.from() == m.from() && o.to() == m.to() && c.kind(m) == protocol.Notify && !m.tell() {
				return
			}
		}
	}
	c.put(w, m)
}

func (c *checker) put(w *world, m message) {
	if w.n == maxMessages {
		c.overflowed = true
		return
	}
	w.messages[w.n] = m
	w.n++
}

func (c *checker) kind(m message) protocol.RequestKind { return c.saids[m.said()].request.Kind }

// die ends the member at place i.
func (c *checker) die(w *world, i int) {
	w.slots[i] = dead
	for k := w.n - 1; k >= 0; k-- {
		m := &w.messages[k]
		switch {
		case m.from() == i && m.stage() == asked && c.cfg.Grain == Instant:
			w.remove(k)
		case m.from() == i:
			c.abandon(w, k)
		case m.to() == i && m.role() == 0 && m.stage() != answered:
			w.remove(k)
		case m.to() == i && m.stage() == waiting:
			m.setStage(answered)
			m.setToken(0)
			m.setSaid(c.unreachable)
			m.setNow(c.cfg.Grain == Instant || c.quiet)
		}
	}
}
