package sim

import (
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/routing"
)

// What a host remembers of who owns what, as in internal/node, memory.go.

// learn keeps the answer to a step of a lookup.
func (w *world) learn(h *host, c *call) {
	w.mapNamed(h, c.query.ID, &c.answer)
	if w.cfg.NoMemory {
		return
	}
	if h.arcs == nil {
		h.arcs = routing.NewArcs(h.self().ID, bits, routing.MaxArcs)
	}
	if h.arcs.Learn(h.self(), c.meant, c.query.ID, c.answer, c.sent, w.tableOf(h), h.suspects, w.now, w.lease(h)) && !h.confirm {
		w.confirmArcs(h)
	}
}

// confirmArcs asks the owners of arcs that lookups use before their time is over.
func (w *world) confirmArcs(h *host) {
	due, live := h.arcs.Due(w.now, routing.MaxConfirming)
	for _, c := range due {
		c.Asked()
		w.route(h, noLookup, 0, c.Owner, routing.Query{ID: c.Arc.To})
	}
	if h.confirm = live; live {
		w.queue.Push(w.now+routing.ConfirmPause(w.lease(h)), event{kind: evConfirm, host: h.index, gen: h.starts})
	}
}

// reconcile makes what a host remembers agree with its new view.
func (w *world) reconcile(h *host, old *protocol.View) {
	if h.view.HasArc != old.HasArc || h.view.Arc != old.Arc || h.view.Phase != old.Phase || h.view.Self != old.Self || h.view.Isolated != old.Isolated || h.view.Head() != old.Head() {
		w.holds(h)
	}
	if h.arcs == nil {
		return
	}
	was, is := w.pointersOf(old), w.pointersOf(h.view)
	h.arcs.Reconcile(&was, &is, h.suspects, w.now, w.lease(h))
}

// pointersOf is what a table is made of, but for the routes.
func (w *world) pointersOf(v *protocol.View) routing.Known {
	return routing.Known{
		Self: v.Self, Arc: v.Arc, HasArc: v.HasArc, Alone: v.Alone, Pred: v.Pred, Succ: v.Succ,
		Bits: bits, Full: w.cfg.Successors, Epoch: v.Epoch, Certain: v.Certain, HeadEpoch: v.HeadEpoch, Lease: routing.Lease(w.cfg.Interval),
	}
}
