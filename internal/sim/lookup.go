package sim

import (
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// lookup is a search under way, of the load or for a finger.
type lookup struct {
	gen    uint32
	open   bool
	host   int32
	life   uint32
	id     uint64
	search *routing.Search // nil while a finger's owner is only asked whether it is so still
	table  *routing.Table  // at which the search last began
	failed int
	hops   int
	began  time.Duration
	end    time.Duration
	finger bool
	exp    int         // of the finger
	owner  ring.Member // of the finger, as believed
}

// outcome is how a lookup ended.
type outcome uint8

const (
	found outcome = iota
	errDeadline
	errHops
	errStuck
	errOutside
)

var outcomeNames = [...]string{"found", "deadline", "hop limit", "nobody left to ask", "not in the ring"}

func (w *world) lookupOf(r ref) *lookup {
	if l := w.lookups[r.slot]; l.open && l.gen == r.gen {
		return l
	}
	return nil
}

func (w *world) openLookup(h *host, id uint64, limit time.Duration) (ref, *lookup) {
	var i int32
	if n := len(w.freeLookups); n > 0 {
		i = w.freeLookups[n-1]
		w.freeLookups = w.freeLookups[:n-1]
	} else {
		i = int32(len(w.lookups))
		w.lookups = append(w.lookups, new(lookup))
	}
	l := w.lookups[i]
	*l = lookup{gen: l.gen, open: true, host: h.index, life: h.life, id: id, began: w.now, end: w.now + limit}
	return ref{i, l.gen}, l
}

func (w *world) closeLookup(r ref) {
	l := w.lookups[r.slot]
	*l = lookup{gen: l.gen + 1}
	w.freeLookups = append(w.freeLookups, r.slot)
}

// lookUp begins a lookup of the load, as a program does with Lookup.
func (w *world) lookUp(h *host, id uint64) {
	r, l := w.openLookup(h, id, lookupLimit)
	w.search(h, l, routing.Options{Lenient: true, MaxAge: min(w.cfg.Interval, time.Second)})
	w.goOn(h, r)
}

// search begins at what the host knows now.
func (w *world) search(h *host, l *lookup, opts routing.Options) {
	l.table = w.tableOf(h)
	if l.table != nil {
		l.search = routing.NewSearch(l.table, l.id, opts, h.avoid(w.now), w.now)
	}
}

// goOn does what a search wants next.
func (w *world) goOn(h *host, r ref) {
	l := w.lookups[r.slot]
	for {
		if l.table == nil {
			w.lookupOver(h, r, errOutside)
			return
		}
		switch step, x := l.search.Next(); step {
		case routing.Done:
			w.lookupOver(h, r, found)
			return
		case routing.AskNext:
			if w.now >= l.end {
				w.lookupOver(h, r, errDeadline)
				return
			}
			w.route(h, r, x, l.search.Query(), l.end)
			return
		case routing.Exceeded:
			w.lookupOver(h, r, errHops)
			return
		case routing.Stuck:
			now := w.tableOf(h)
			if now == l.table && l.failed == l.search.Unanswered() {
				if l.finger {
					w.lookupOver(h, r, errStuck)
					return
				}
				h.waiting = append(h.waiting, r)
				w.queue.push(event{at: l.end, kind: evGiveUp, host: h.index, slot: r.slot, gen: r.gen})
				return
			}
			if now != nil {
				l.search.Restart(now, now != l.table, w.now)
			}
			l.table, l.failed = now, l.search.Unanswered()
		}
	}
}

// lookupOver judges a lookup that has ended, or hands a finger what was found.
func (w *world) lookupOver(h *host, r ref, how outcome) {
	l := *w.lookups[r.slot]
	w.closeLookup(r)
	if l.finger {
		w.fingerFound(h, &l, how)
		return
	}
	w.judge(h, &l, how)
}

// Fingers, as in internal/node, fingers.go.

const (
	fingerRounds   = 3
	fingerPatience = 3
)

// tending is where a host stands in looking its fingers up.
type tending struct {
	version uint64
	waited  int
	all     bool
	steps   int
}

// tendFingers takes a host's turn.
func (w *world) tendFingers(h *host) {
	t := &h.tending
	t.all = false
	if t.waited <= fingerPatience && h.view.Phase.InRing() {
		settled := h.view.Version == t.version
		t.version = h.view.Version
		if t.waited++; !settled && t.waited < fingerPatience {
			w.fingersLater(h)
			return
		}
		t.all, t.waited = true, fingerPatience+1
	}
	t.steps = (len(h.fingers.Distinct()) + fingerRounds) / fingerRounds
	w.tendFinger(h)
}

func (w *world) fingersLater(h *host) {
	w.queue.push(event{at: w.now + w.cfg.Interval, kind: evFingers, host: h.index, gen: h.life})
}

// tendFinger looks the next finger up, or ends the turn.
func (w *world) tendFinger(h *host) {
	t := &h.tending
	table := w.tableOf(h)
	if !t.all && t.steps <= 0 || table == nil {
		w.fingersLater(h)
		return
	}
	t.steps--
	covered := ring.Arc{After: h.id, To: h.id}
	if k := len(h.view.Succ); k == w.cfg.Successors {
		covered.To = h.view.Succ[k-1].ID
	}
	had := len(h.fingers.Distinct())
	exp, believed, ok := h.fingers.Next(covered)
	if !ok {
		if had != len(h.fingers.Distinct()) {
			w.renewed(h)
		}
		w.fingersLater(h)
		return
	}
	r, l := w.openLookup(h, h.fingers.Start(exp), timeoutCeil)
	l.finger, l.exp, l.owner = true, exp, believed
	if believed.Name != "" {
		w.route(h, r, believed, routing.Query{ID: l.id}, l.end)
		return
	}
	w.search(h, l, routing.Options{Fresh: true})
	w.goOn(h, r)
}

// believed goes on after the owner believed in was asked whether it is so still.
func (w *world) believed(h *host, r ref, a *routing.Answer, f *protocol.Failure) {
	l := w.lookups[r.slot]
	if f == nil && (a.Verdict == routing.Mine || a.Owner == l.owner) {
		done := *l
		w.closeLookup(r)
		w.fingerIs(h, &done, l.owner, a.Arc)
		return
	}
	w.search(h, l, routing.Options{Fresh: true})
	w.goOn(h, r)
}

func (w *world) fingerFound(h *host, l *lookup, how outcome) {
	if how == found {
		if a := l.search.Result(); a.HasArc {
			w.fingerIs(h, l, a.Owner, a.Arc)
			return
		}
	}
	w.fingerIs(h, l, ring.Member{}, ring.Arc{})
}

// fingerIs notes the owner of a finger and goes on with the next.
func (w *world) fingerIs(h *host, l *lookup, owner ring.Member, arc ring.Arc) {
	h.fingers.Set(l.exp, owner, arc)
	if owner.Name != "" && owner != l.owner {
		w.step(h, protocol.Learned{Members: []ring.Member{owner}}) // to find the ring by, if all else is lost
	}
	if owner != l.owner || len(h.waiting) > 0 {
		w.renewed(h)
	}
	w.tendFinger(h)
}
