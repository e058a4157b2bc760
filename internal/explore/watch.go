package explore

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// heard notes, for machines with a memory, who has had an answer of whom: bit k of
// element i, of the latest incarnation of the member at place k.
type heard [maxMembers]uint8

// forget makes the member at place i one of whom nothing is known.
func (h *heard) forget(i int) {
	h[i] = 0
	for k := range h {
		h[k] &^= 1 << i
	}
}

// listen notes the answer that message m has become.
func (c *checker) listen(w *world, m message) {
	if s := &c.saids[m.said()]; w.hears && s.failure == nil && uint8(s.reply.State.Self.Incarnation) == w.incarnations[m.to()] {
		w.heard[m.from()] |= 1 << m.to()
	}
}

// watch holds a step of the machine at place i against the rules of steps.
func (c *checker) watch(before, after *world, i int, ev event, told bool) {
	was, is := &c.all[before.slots[i]], &c.all[after.slots[i]]
	if c.quiet || after.wrong != 0 || len(c.cfg.Steps) == 0 || is.pointers == 0 {
		return
	}
	heard := was.pointers != 0 && !told && ev.kind == evAnswer && ev.role == roleStabilize && c.saids[ev.said].failure == nil
	if was.pointers == is.pointers && !heard {
		return
	}
	p, q := &c.pointers[was.pointers], &c.pointers[is.pointers]
	answered := func(k int) bool { // as the member numbers them
		switch {
		case ev.kind == evAnswer && ev.from == k && c.saids[ev.said].failure == nil:
			return true
		case is.memory:
			return after.heard[i]&(1<<c.place(i, k)) != 0
		}
		return k == q.pred // any memory may have met it
	}
	lives := func(k int, incarnation uint8) bool {
		o := &c.all[before.slots[c.place(i, k)]]
		return o.phase == protocol.Joined && o.incarnation == incarnation
	}
	entered := was.phase == protocol.Joining && is.phase == protocol.Joined && q.hasArc && !q.alone
	prepares := func(k int) bool { // as the member numbers it
		return c.prepares(before, c.place(i, k), q.incarnations[k])
	}
	// Most steps give no rule a reason to object.
	newHead := len(q.succ) > 0 && !slices.Contains(p.succ, q.succ[0])
	newPred := q.pred != p.pred || q.pred >= 0 && q.incarnations[q.pred] != p.incarnations[q.pred]
	if !heard && !entered && !(newPred && q.pred >= 0 && prepares(q.pred)) && !(newHead && !answered(q.succ[0])) && !(newPred && q.pred >= 0 && !answered(q.pred)) &&
		!(newPred && was.pointers != 0 && p.pred >= 0 && lives(p.pred, p.incarnations[p.pred])) {
		return
	}
	step := invariant.Change{
		Before: c.view(before, i), After: c.view(after, i),
		Answered: func(x ring.Member) bool { return answered(c.number(i, index(x))) },
		Lives:    func(x ring.Member) bool { return lives(c.number(i, index(x)), uint8(x.Incarnation)) },
		Told:     told,
		Prepares: func(x ring.Member) bool { return prepares(c.number(i, index(x))) },
	}
	seen := func(x ring.Member) ring.Member { return c.seenFrom(c.places(i), c.seenFrom(ev.from, x)) }
	if entered && ev.kind == evAnswer && c.saids[ev.said].failure == nil {
		r := c.saids[ev.said].reply
		r.State.Self, r.State.Pred, r.Former = seen(r.State.Self), seen(r.State.Pred), seen(r.Former)
		step.Entered = &r
	}
	if heard {
		st := c.saids[ev.said].reply.State
		st.Self, st.Pred = seen(st.Self), seen(st.Pred)
		step.Heard = &st // of its list only the length matters
	}
	for _, rule := range c.cfg.Steps {
		c.breaks(after, rule.Name, rule.Broken(step))
	}
}

// breaks notes how the step that led to w breaks a rule, if it does, unless it breaks another.
func (c *checker) breaks(w *world, rule, how string) {
	if how != "" && w.wrong == 0 {
		c.wrongs = append(c.wrongs, Violation{Rule: rule, How: how})
		w.wrong = len(c.wrongs)
	}
}

// drained holds the member that was at place i, and has drained, against the rules of those.
func (c *checker) drained(w *world, i int, b *branch) {
	m := c.all[b.next].machine
	v := protocol.View{Self: c.names[1][i], Phase: m.State().Phase}
	v.Arc, v.HasArc = m.Owns()
	d := invariant.Drained{By: &v}
	for k := range c.cfg.Members {
		if w.live(k) && !c.together(k, i) {
			d.Others++
		}
	}
	for _, rule := range invariant.Drains() {
		c.breaks(w, rule.Name, rule.Broken(d))
	}
}

// prepares reports whether that incarnation at place k is a joiner that has never asked
// anybody to hand anything over, as far as what is under way tells.
func (c *checker) prepares(w *world, k int, incarnation uint8) bool {
	if x := &c.all[w.slots[k]]; !x.preparing || x.incarnation != incarnation {
		return false
	}
	return !slices.ContainsFunc(w.messages[:w.n], func(m message) bool {
		q := &c.saids[m.said()].request
		return m.from() == k && q.Kind == protocol.Notify && !q.Preparing
	})
}

// view is what the member at place i shows, with members by their places.
func (c *checker) view(w *world, i int) *protocol.View {
	x := &c.all[w.slots[i]]
	if x.machine == nil {
		return &protocol.View{Phase: protocol.Outside}
	}
	st := c.stateOf(w, i)
	v := &protocol.View{Self: st.Self, Phase: st.Phase, Pred: st.Pred, Succ: st.Succ, Replaced: x.machine.Replaced()}
	if p := &c.pointers[x.pointers]; p.hasArc {
		id := func(at uint64) uint64 { return c.names[1][c.place(i, placeOf(at))].ID }
		v.Arc, v.HasArc, v.Alone = ring.Arc{After: id(p.arc.After), To: id(p.arc.To)}, true, p.alone
	}
	return v
}
