package sim

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// restart has processes leave that say that they are to be back. Some say too short a time, and
// some do not come back.
func (w *world) restart(f *fault) {
	for k, h := range w.firsts(w.some(f), 4) {
		if live, stay := w.staying(); !h.inRing() || w.leaves(h) || w.now < h.wake || stay < 3 || live-stay >= w.cfg.Successors-1 {
			continue // two stay, since a ring of nobody begins anew, and no list is lost
		}
		in := time.Duration(float64(f.last) * (0.5 + 2*chance(f.shape+uint64(k))))
		if chance(f.pick+uint64(k)) < 0.8 {
			for _, g := range h.chart.hosts {
				if g.up || g.awaits {
					f.who = append(f.who, g.index)
				}
			}
		}
		w.depart(h, in)
	}
}

// firsts are the hosts of the first identifiers of the processes of who, at most so many.
func (w *world) firsts(who []int32, most int) (out []*host) {
	for _, i := range who {
		if h := w.hosts[i].first(); len(out) < most && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// staying is how many processes live, and how many of these do not leave with any identifier.
func (w *world) staying() (live, stay int) {
	leaves := map[*chart]bool{}
	for _, i := range w.ring {
		h := w.hosts[i]
		leaves[h.chart] = leaves[h.chart] || w.leaves(h)
	}
	for _, l := range leaves {
		if !l {
			stay++
		}
	}
	return len(leaves), stay
}

// restarted starts the processes again that have left to return.
func (w *world) restarted(f *fault) {
	for _, i := range f.who {
		w.hosts[i].join = attempts{}
		w.queue.Push(w.now, event{kind: evBack, host: i, slot: 10})
	}
}

// comeBack starts a process again, once the former has ended with all identifiers.
func (w *world) comeBack(h *host, tries int32) {
	switch first := h.first(); {
	case first.up && w.leaves(first), h.up && h.leaving:
		if tries > 0 {
			w.queue.Push(w.now+w.cfg.Interval, event{kind: evBack, host: h.index, slot: tries - 1})
		}
	case !h.up:
		w.queue.Push(w.now, event{kind: evStart, host: h.index})
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
	if w.leaves(h) {
		return // its program serves nothing any more
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
			if broken := w.absences.Back(h.view.Self, h.since, w.hosts[i].view.Self, &w.hosts[i].standIns); broken != "" {
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
		if g == h || w.leaves(g) {
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
