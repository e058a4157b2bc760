package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// lookup is a lookup under way, of the load or for a finger.
type lookup struct {
	gen     uint32
	open    bool
	host    int32
	starts  uint32
	id      uint64
	opts    routing.Options
	search  routing.Lookup
	asks    bool // it has asked somebody, so that its end is in the queue
	state   waitFor
	until   time.Duration // it pauses, or has patience for one answer, until then
	began   time.Duration
	end     time.Duration
	what    purpose
	view    *protocol.View // of the host, when it began
	errand  routing.Errand // what it is done for, if it is forFinger
	told    bool           // of the owner by another, not by the host's own table
	settled bool           // it began in a siege that had settled
	// A lookup for a finger begins with the owner believed in.
	believed bool
	// Who was the owner when it began, for judging it.
	owner int32
}

// waitFor is what a lookup waits for.
type waitFor uint8

const (
	forAnswer waitFor = iota
	forPause
	forTable
)

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
	errUnverified
)

var outcomeNames = [...]string{"found", "deadline", "hop limit", "nobody left to ask", "not in the ring", "not verified"}

func (w *world) lookupOf(r ref) *lookup {
	if r == noLookup {
		return nil
	}
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
	*l = lookup{gen: l.gen, open: true, host: h.index, starts: h.starts, id: id, began: w.now, end: w.now + limit, owner: -1}
	return ref{i, l.gen}, l
}

func (w *world) closeLookup(r ref) {
	l := w.lookups[r.slot]
	*l = lookup{gen: l.gen + 1} // without the room that many questions took
	w.freeLookups = append(w.freeLookups, r.slot)
}

// lookUp begins a lookup of the load, as a program does with Lookup.
func (w *world) lookUp(h *host, id uint64, opts routing.Options) {
	r, l := w.openLookup(h, id, routing.LookupTimeout)
	l.view, l.settled = h.view, w.siege.settled
	if len(w.ring) > 0 {
		l.owner = w.owner(id).index
		w.lookUpInMap(h, id)
	}
	w.search(h, r, opts)
}

// search begins at what the host knows now: at its memory, unless that is not wanted.
func (w *world) search(h *host, r ref, opts routing.Options) {
	l := w.lookups[r.slot]
	l.opts = opts
	t := w.tableOf(h)
	if t != nil {
		a := t.Answer(routing.Query{ID: l.id}, w.now)
		w.judgeAnswer(h, l.id, &a)
	}
	if !opts.Fresh && !opts.Cold {
		switch own, arc := routing.Recall(t, h.arcs, l.id); {
		case own != nil:
			w.lookupOver(h, r, found, own.Answer(routing.Query{ID: l.id}, w.now))
			return
		case arc != nil && arc.Holds(w.now, opts.MaxAge):
			latest := arc.Latest()
			l.told = true
			w.lookupOver(h, r, found, routing.Answer{Verdict: routing.Owned, By: latest.By, Owner: arc.Owner, Arc: arc.Arc, HasArc: true, Epoch: latest.Epoch, Age: w.now - latest.At})
			return
		}
	}
	l.search.Reset(l.id, opts, w.lease(h), l.what == forProgram)
	w.goOn(h, r, l.search.Begin(w.knowledge(h)))
}

// lease is how long the confirmation of an arc may answer lookups at h.
func (w *world) lease(h *host) time.Duration { return routing.Lease(w.interval(h)) }

// knowledge is what the host knows now.
func (w *world) knowledge(h *host) routing.Knowledge {
	return routing.Knowledge{Now: w.now, Table: w.tableOf(h), Arcs: h.arcs, Suspicions: h.suspects, Met: h.met}
}

// goOn does what a lookup wants next.
func (w *world) goOn(h *host, r ref, want routing.Want) {
	if want.Do == 0 {
		return
	}
	l := w.lookups[r.slot]
	if l.state == forTable {
		h.waiting = slices.DeleteFunc(h.waiting, func(o ref) bool { return o == r })
	}
	l.state = forAnswer
	switch want.Do {
	case routing.Ask:
		if w.now >= l.end {
			w.lookupOver(h, r, errDeadline, routing.Answer{})
			return
		}
		q := l.search.Questions()[want.Question]
		w.route(h, r, want.Question, q.Whom, q.Query)
		w.awaitAnswer(h, r, q.Whom)
	case routing.Await:
		w.awaitAnswer(h, r, l.search.Questions()[want.Question].Whom)
	case routing.Pause:
		w.endByTime(h, r)
		w.pause(h, r, want.For)
	case routing.AwaitTable:
		l.state = forTable
		h.waiting = append(h.waiting, r)
		w.endByTime(h, r)
		if h.client != nil {
			w.stuck(h)
		}
	case routing.Found:
		a, source := l.search.Result()
		l.told = source == routing.Asked
		w.lookupOver(h, r, found, a)
	case routing.GiveUp:
		how := errOutside
		switch {
		case errors.Is(want.Err, routing.ErrHopLimit):
			how = errHops
		case errors.Is(want.Err, routing.ErrStuck):
			how = errStuck
		case errors.Is(want.Err, routing.ErrUnverified):
			how = errUnverified
		}
		w.lookupOver(h, r, how, routing.Answer{})
	}
}

// awaitAnswer has a lookup wait for an answer of x as long as its patience lasts.
func (w *world) awaitAnswer(h *host, r ref, x ring.Member) {
	l := w.lookups[r.slot]
	w.endByTime(h, r)
	own := h.estimate(number(x.Addr)).RouteTimeout(h.common)
	l.until = w.now + peer.Patience(l.end-w.now)
	if l.until < min(l.end, w.now+own) {
		w.queue.Push(l.until, event{kind: evImpatient, host: h.index, slot: r.slot, gen: r.gen})
	}
}

// endByTime has a lookup that is not answered at once end when its time is over.
func (w *world) endByTime(h *host, r ref) {
	if l := w.lookups[r.slot]; !l.asks {
		l.asks = true
		w.queue.Push(l.end, event{kind: evGiveUp, host: h.index, slot: r.slot, gen: r.gen})
	}
}

// pause has a lookup go on after a time.
func (w *world) pause(h *host, r ref, d time.Duration) {
	l := w.lookups[r.slot]
	l.state, l.until = forPause, w.now+d
	w.queue.Push(l.until, event{kind: evResume, host: h.index, slot: r.slot, gen: r.gen})
}

// resumed goes on with a lookup after a pause, or that waited for another table.
func (w *world) resumed(h *host, r ref) {
	l := w.lookups[r.slot]
	if l.state != forPause || w.now < l.until || w.now >= l.end {
		return // an answer has come meanwhile, or evGiveUp ends it
	}
	w.goOn(h, r, l.search.Resume(w.knowledge(h)))
}

// impatient has a lookup go on without the answer that it waits for.
func (w *world) impatient(h *host, r ref) {
	if l := w.lookups[r.slot]; !l.believed && l.state == forAnswer && w.now >= l.until && w.now < l.end {
		w.goOn(h, r, l.search.Overtake(w.knowledge(h)))
	}
}

// routed gives a lookup the answer to question i of it.
func (w *world) routed(h *host, r ref, i int, a routing.Answer, sent time.Duration, f *protocol.Failure) {
	l := w.lookupOf(r)
	switch {
	case l == nil:
	case l.believed:
		w.believed(h, r, a, f)
	case f == nil:
		w.goOn(h, r, l.search.Answer(i, a, sent, w.knowledge(h)))
	case w.now >= l.end:
	default:
		w.goOn(h, r, l.search.Fail(i, f.Kind == protocol.Refused || f.Kind == protocol.WrongMember, w.knowledge(h)))
	}
}

// lookupOver judges a lookup that has ended, or hands a finger what was found.
func (w *world) lookupOver(h *host, r ref, how outcome, a routing.Answer) {
	l := w.lookups[r.slot]
	if l.state == forTable {
		h.waiting = slices.DeleteFunc(h.waiting, func(o ref) bool { return o == r })
	}
	if l.what == forFinger {
		e := l.errand
		w.closeLookup(r)
		w.errandDone(h, e, a)
		return
	}
	w.judge(h, l, how, a)
	w.closeLookup(r)
}
