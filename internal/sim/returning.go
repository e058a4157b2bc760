package sim

import (
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// restart has members leave that say that they are to be back. Some say too short a time, and
// some do not come back.
func (w *world) restart(f *fault) {
	who := w.some(f)
	for k, i := range who[:min(len(who), 4)] {
		h := w.hosts[i]
		if stay := w.staying(); !h.inRing() || h.leaving || w.now < h.wake || stay < 3 || len(w.ring)-stay >= w.cfg.Successors-1 {
			continue // two stay, since a ring of nobody begins anew, and no list is lost
		}
		in := time.Duration(float64(f.last) * (0.5 + 2*chance(f.shape+uint64(k))))
		if chance(f.pick+uint64(k)) < 0.8 {
			f.who = append(f.who, i)
		}
		if h.view.HasArc && !h.view.Isolated {
			w.absences.Left(h.view.Self, h.view.Arc, w.now, w.now+min(in, protocol.MaxReturning))
		}
		w.depart(h, in)
	}
}

// staying is how many members do not leave.
func (w *world) staying() int {
	n := 0
	for _, i := range w.ring {
		if !w.hosts[i].leaving {
			n++
		}
	}
	return n
}

// restarted starts the members again that have left to return.
func (w *world) restarted(f *fault) {
	for _, i := range f.who {
		w.hosts[i].join = attempts{}
		w.queue.Push(w.now, event{kind: evBack, host: i, slot: 10})
	}
}

// comeBack starts a process again, once the former has ended.
func (w *world) comeBack(h *host, tries int32) {
	switch {
	case !h.up:
		w.queue.Push(w.now, event{kind: evStart, host: h.index})
	case h.leaving && tries > 0:
		w.queue.Push(w.now+w.cfg.Interval, event{kind: evBack, host: h.index, slot: tries - 1})
	}
}

// standsIn has the program of h stand in for a member that is to be back, or take over what is
// gained, and judges it. It is that of concord.Service: see protocol.StandIns.
func (w *world) standsIn(h *host, e protocol.RangeChanged) {
	if w.cfg.Faults&Returns == 0 || h.hostile != nil {
		return
	}
	back := h.ticks.when(e.Back)
	if w.nothingLost() {
		if broken := w.absences.Gained(h.view, e, back, w.now); broken != "" {
			w.violate(invariant.StandsIn, broken)
		}
	}
	gained, lost := gainedBy(e), lostBy(e)
	for _, a := range lost {
		h.standIns.Lose(a)
	}
	for _, a := range gained {
		if e.Back == 0 {
			w.takes(h, a, e.Cause)
			continue
		}
		w.story.add(w, "%s stands in for %s until %v", h.name, e.From.Name, back)
		h.standIns.Gain(a, back)
		w.queue.Push(back, event{kind: evStandIn, host: h.index, gen: h.starts})
	}
	if e.HasNew && w.nothingLost() {
		for _, i := range w.ring {
			if broken := w.absences.Back(h.view.Self, w.hosts[i].view.Self, &w.hosts[i].standIns); broken != "" {
				w.violate(invariant.GivesBack, broken)
			}
		}
	}
}

// takes judges that the program of h takes over an arc.
func (w *world) takes(h *host, a ring.Arc, cause protocol.Cause) {
	if !w.nothingLost() {
		return
	}
	for _, i := range w.ring {
		g := w.hosts[i]
		if g == h || g.leaving {
			continue
		}
		if broken := w.absences.Else(h.view.Self, a, cause, g.view.Self, &g.standIns, w.now); broken != "" {
			w.violate(invariant.NobodyCopies, broken)
		}
	}
}

// standInOver has the program of h take over what is not back in time.
func (w *world) standInOver(h *host) {
	for _, a := range h.standIns.Over(w.now) {
		w.story.add(w, "%s takes over %v, whose owner is not back in time", h.name, a)
		if broken := w.absences.Early(h.view.Self, a, w.now); broken != "" {
			w.violate(invariant.NobodyCopies, broken)
		}
	}
	if broken := w.absences.Over(h.view.Self, &h.standIns, w.now); broken != "" {
		w.violate(invariant.StandsInInTime, broken)
	}
}

// nothingLost reports whether no message is lost in this run, and no member taken for dead.
func (w *world) nothingLost() bool {
	return w.cfg.Faults&^(Returns|Joins|Leaves|Duplicate) == 0 && w.cfg.nobodyMistaken() && w.liars == nil
}

// gainedBy is what a change of a range brings, and lostBy what it takes.
func gainedBy(e protocol.RangeChanged) []ring.Arc {
	return beyond(e.New, e.HasNew, e.Old, e.HadOld && !e.Again)
}

func lostBy(e protocol.RangeChanged) []ring.Arc {
	return beyond(e.Old, e.HadOld, e.New, e.HasNew && !e.Again)
}

// beyond is what a has and b has not, as far as there are such arcs.
func beyond(a ring.Arc, hasA bool, b ring.Arc, hasB bool) []ring.Arc {
	switch {
	case !hasA:
		return nil
	case !hasB:
		return []ring.Arc{a}
	}
	return a.Minus(b)
}
