package sim

import (
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// appendFingers appends the members of the fingers, one more than once if it stands
// more than once among them.
func appendFingers(out []ring.Member, f *routing.Fingers) []ring.Member {
	for _, x := range f.Distinct() {
		out = append(out, x.Member)
	}
	return out
}

// tendFingers begins a host's round of tending its fingers.
func (w *world) tendFingers(h *host) {
	w.fingersLater(h)
	if !h.view.Phase.InRing() {
		return
	}
	h.fingers.Round(h.view.Version)
	w.tendFinger(h)
}

func (w *world) fingersLater(h *host) {
	w.queue.Push(w.now+w.cfg.Interval, event{kind: evFingers, host: h.index, gen: h.starts})
}

// tendFinger begins the next errand of a host's fingers, unless one is under way.
func (w *world) tendFinger(h *host) {
	if h.errand {
		return
	}
	had := len(h.fingers.Distinct())
	e, ok := h.fingers.Errand(w.tableOf(h))
	if had != len(h.fingers.Distinct()) {
		w.renewed(h)
	}
	if !ok {
		return
	}
	h.errand = true
	if e.Charted() {
		if a, ok := w.mapAnswer(h, e.ID); ok {
			w.errandDone(h, e, a)
			return
		}
	}
	r, l := w.openLookup(h, e.ID, peer.MaxTimeout)
	l.what, l.errand = forFinger, e
	if e.Believed.Name != "" {
		l.believed = true
		w.route(h, r, 0, e.Believed, routing.Query{ID: l.id})
		return
	}
	w.searchForErrand(h, r)
}

func (w *world) searchForErrand(h *host, r ref) {
	w.search(h, r, routing.Options{Fresh: w.lookups[r.slot].errand.Fresh()})
}

// believed goes on after the owner believed in was asked whether it is so still.
func (w *world) believed(h *host, r ref, a routing.Answer, f *protocol.Failure) {
	l := w.lookups[r.slot]
	l.believed = false
	if f == nil && l.errand.Confirms(a) {
		e := l.errand
		a.Owner = e.Believed
		w.closeLookup(r)
		w.errandDone(h, e, a)
		return
	}
	if e := l.errand; e.Offered {
		w.closeLookup(r)
		w.errandDone(h, e, routing.Answer{})
		return
	}
	w.searchForErrand(h, r)
}

// errandDone takes the answer found for an errand, the zero Answer for none.
func (w *world) errandDone(h *host, e routing.Errand, a routing.Answer) {
	h.errand = false
	owner, news := h.fingers.Found(w.tableOf(h), e, a)
	if e.Announce {
		if !owner.IsZero() {
			w.tell(h, protocol.Tell{To: owner, Request: protocol.Request{Kind: protocol.Introduce, Subject: h.m.Self()}})
		}
	} else {
		if news {
			w.step(h, protocol.Learned{Members: []ring.Member{owner}, Named: a.Verdict != routing.Mine}) // to find the ring by, if all else is lost
		}
		if owner != e.Believed || len(h.waiting) > 0 {
			w.renewed(h)
		}
	}
	w.tendFinger(h)
}

// tendSoon has a host's fingers tended soon.
func (w *world) tendSoon(h *host) {
	if !h.soon {
		h.soon = true
		w.queue.Push(w.now+routing.ErrandPause(w.cfg.Interval), event{kind: evErrand, host: h.index, gen: h.starts})
	}
}

// stray has the finger at an address looked up again.
func (w *world) stray(h *host, addr string) {
	if h.fingers.Distrust(addr) {
		w.tendSoon(h)
	}
}

// offer has a member that tells of itself asked whether it is a finger, if it may be one.
func (w *world) offer(h *host, x ring.Member) {
	if h.fingers.Offer(x) {
		w.tendSoon(h)
	}
}
