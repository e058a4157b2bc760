package sim

import (
	"iter"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// A process that stands at several identifiers enters the ring with the first, joins with the
// others through itself once it is there, and is in it as long as with the first. So of two
// processes of one name one has all identifiers in the end.

// first is the host of the first identifier of the process of h.
func (h *host) first() *host { return h.chart.hosts[0] }

// launch starts h and has it join, when the first of its process has.
func (w *world) launch(h *host) {
	if first := h.first(); h != first && (!first.up || first.view.Phase != protocol.Joined) {
		h.awaits = true
		return
	}
	h.awaits = false
	w.start(h, nil)
	w.beginJoin(h)
}

// leads has the others of a process follow the first, which is in another phase now.
func (w *world) leads(h *host) {
	switch phase := h.view.Phase; {
	case h != h.first():
		if phase == protocol.Superseded {
			w.joinsAgain(h)
		}
	case phase == protocol.Joined:
		for _, g := range h.chart.hosts {
			if g.awaits {
				w.queue.Push(w.now, event{kind: evStart, host: g.index})
			}
		}
	case phase == protocol.Superseded:
		w.endOthers(h)
	}
}

// joinsAgain has a process give up an identifier that another of its name has, and join with it
// after a while: one of the two ends with all.
func (w *world) joinsAgain(h *host) {
	h.leaving, h.awaits = true, true
	w.queue.Push(w.now, event{kind: evStop, host: h.index, gen: h.starts})
	w.queue.Push(w.now+joinAgain, event{kind: evStart, host: h.index})
}

// tellOthers gives the machines of the other members of the process of h an event, and yields each
// host that is up then.
func (w *world) tellOthers(h *host, ev protocol.Event) iter.Seq[*host] {
	return func(yield func(*host) bool) {
		for _, g := range h.chart.hosts {
			if g == h || !g.up || g.m == nil || w.now < g.wake {
				continue
			}
			if w.step(g, ev); g.up && !yield(g) {
				return
			}
		}
	}
}

// ended has the others of a process follow one that has ended.
func (w *world) ended(h *host) {
	first := h.first()
	if h == first {
		h.chart.leaves, h.chart.back = false, 0
		w.endOthers(h)
	} else if h.chart.leaves {
		w.depart(first, h.chart.back)
	}
}

// endOthers ends all of a process but the first.
func (w *world) endOthers(first *host) {
	for _, g := range first.chart.hosts[1:] {
		if g.awaits = false; g.up {
			g.leaving = true
			w.queue.Push(w.now, event{kind: evStop, host: g.index, gen: g.starts})
		}
	}
}

// leaves reports whether h leaves, or its whole process.
func (w *world) leaves(h *host) bool { return h.leaving || h.chart.leaves }

// othersLeave has the last of the other identifiers leave, if h is the first and there are
// any. The next one leaves when that has. Each says that it is to be back in that time.
func (w *world) othersLeave(h *host, back time.Duration) bool {
	if h != h.first() {
		return false
	}
	for _, g := range slices.Backward(h.chart.hosts[1:]) {
		g.awaits = false
		if g.up && !g.inRing() {
			g.leaving = true
			w.queue.Push(w.now, event{kind: evStop, host: g.index, gen: g.starts})
		}
		if g.inRing() {
			if !h.chart.leaves { // the program serves nothing any more, at any identifier
				h.chart.leaves, h.chart.back, h.chart.since = true, back, w.now
				for _, g := range h.chart.hosts {
					g.standIns = protocol.StandIns{}
				}
			}
			w.depart(g, back)
			return true
		}
	}
	return false
}

// last reports whether all that live are of the process of h.
func (w *world) last(h *host) bool {
	return !slices.ContainsFunc(w.ring, func(k int32) bool { return w.hosts[k].chart != h.chart })
}

// comes reports whether a process has not joined yet with all that it is to, or changes its
// weight.
func (w *world) comes() bool {
	if len(w.cfg.Identifiers) == 0 && len(w.stewards) == 0 {
		return false
	}
	return slices.ContainsFunc(w.hosts, func(h *host) bool { return h.awaits && h.first().reachable() }) ||
		slices.ContainsFunc(w.stewards, func(st *steward) bool { return st.moves })
}
