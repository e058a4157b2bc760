package explore

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// heard notes, for machines with a memory, who has had an answer of whom: bit k of
// element i, of the latest life of the member at place k.
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
	if s := &c.saids[m.said()]; w.hears && s.failure == nil && uint8(s.reply.State.Self.Incarnation) == w.lives[m.to()] {
		w.heard[m.from()] |= 1 << m.to()
	}
}

// watch holds a step of the machine at place i against the rules of steps.
func (c *checker) watch(before, after *world, i int, ev event) {
	was, is := &c.all[before.slots[i]], &c.all[after.slots[i]]
	if c.quiet || after.wrong != 0 || len(c.cfg.Steps) == 0 || was.pointers == is.pointers || is.pointers == 0 {
		return
	}
	p, q := &c.pointers[was.pointers], &c.pointers[is.pointers]
	if was.pointers != 0 && p.pred == q.pred && (len(q.succ) == 0 || slices.Contains(p.succ, q.succ[0])) && p.arc == q.arc {
		return // whatever it has lost, it has gained nobody and nothing
	}
	step := invariant.Change{
		Before: c.view(before, i), After: c.view(after, i),
		Answered: func(x ring.Member) bool {
			k := index(x)
			switch {
			case ev.kind == evAnswer && c.place(i, ev.from) == k && c.saids[ev.said].failure == nil:
				return true
			case is.memory:
				return after.heard[i]&(1<<k) != 0
			}
			return q.pred == c.number(i, k) // any memory may have met it
		},
		Lives: func(x ring.Member) bool {
			o := &c.all[before.slots[index(x)]]
			return o.phase == protocol.Joined && o.life == uint8(x.Incarnation)
		},
	}
	for _, rule := range c.cfg.Steps {
		if how := rule.Broken(step); how != "" {
			c.wrongs = append(c.wrongs, Violation{Rule: rule.Name, How: how})
			after.wrong = len(c.wrongs)
			return
		}
	}
}

// view is what the member at place i shows, with members by their places.
func (c *checker) view(w *world, i int) *protocol.View {
	x := &c.all[w.slots[i]]
	if x.machine == nil {
		return &protocol.View{Phase: protocol.Outside}
	}
	st := c.stateOf(w, i)
	v := &protocol.View{Self: st.Self, Phase: st.Phase, Pred: st.Pred, Succ: st.Succ}
	if p := &c.pointers[x.pointers]; p.hasArc {
		id := func(at uint64) uint64 { return c.names[1][c.place(i, placeOf(at))].ID }
		v.Arc, v.HasArc, v.Lone = ring.Arc{After: id(p.arc.After), To: id(p.arc.To)}, true, p.lone
	}
	return v
}
