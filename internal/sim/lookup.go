package sim

import (
	"time"

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
	what   purpose
	errand routing.Errand // what it is done for, if it is forFinger
}

// purpose is what a lookup is for.
type purpose uint8

const (
	forProgram purpose = iota
	forFinger          // or for somebody to be told of a joiner
)

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
	w.search(h, l, w.lenient())
	w.goOn(h, r)
}

// lenient is what a lookup wants that asks for nothing in particular.
func (w *world) lenient() routing.Options {
	return routing.Options{Lenient: true, MaxAge: min(w.cfg.Interval, time.Second)}
}

// search begins at what the host knows now.
func (w *world) search(h *host, l *lookup, opts routing.Options) {
	l.table = w.tableOf(h)
	if l.table != nil {
		a := l.table.Answer(routing.Query{ID: l.id}, w.now)
		w.judgeAnswer(h, l.id, &a)
		avoid, _ := h.suspects.Avoid(w.now)
		l.search = routing.NewSearch(l.table, l.id, opts, avoid, w.now)
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
			if l.what == forProgram {
				if d, ok := l.search.Retry(); ok {
					w.queue.push(event{at: min(l.end, w.now+d), kind: evResume, host: h.index, slot: r.slot, gen: r.gen})
					return
				}
			}
			now := w.tableOf(h)
			if now == l.table && l.failed == l.search.Unanswered() {
				if l.what != forProgram {
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
	switch l.what {
	case forFinger:
		var a routing.Answer
		if how == found {
			a = l.search.Result()
		}
		w.errandDone(h, l.errand, a)
	default:
		w.judge(h, &l, how)
	}
}
