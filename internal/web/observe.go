package web

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord"
)

// walked is what one walk has found.
type walked struct {
	met  met
	took time.Duration
	err  error // it did not come round
}

// history is what only the observer knows.
type history struct {
	began time.Time // of the last walk
	met   met       // whom the last walk has met
	ring  Ring      // what was made of that
	gone  []parting
}

// parting is a member that is gone, and when that was noticed.
type parting struct {
	member Member
	at     time.Time
}

// observe keeps the page true until Close. It is the only one that changes it.
func (h *Handler) observe() {
	moves := make(chan concord.Event)
	h.running.Go(func() {
		for e := range h.cfg.Member.Watch(h.ctx) {
			select {
			case moves <- e:
			case <-h.ctx.Done():
				return
			}
		}
	})
	changes, rest := h.ringChanges()
	tick := time.NewTicker(h.cfg.Interval)
	defer tick.Stop()
	var past history
	var results chan walked // of the walk under way
	wanted, changed := false, false
	for {
		select {
		case <-h.ctx.Done():
			return
		case e := <-moves:
			h.moved(e)
		case <-h.wanted:
			wanted = true
		case <-changes:
			changed = true
		case <-tick.C:
		case w := <-results:
			results = nil
			h.arrive(&past, w)
		}
		h.look()
		h.forget(&past)
		since := time.Since(past.began)
		due := wanted || h.watched() && (changed || since >= rest || wrong(&past))
		if results == nil && due && since >= h.cfg.Interval {
			wanted, changed = false, false
			past.began = time.Now()
			results = make(chan walked, 1)
			h.mu.Lock()
			h.walking = true
			h.mu.Unlock()
			h.running.Go(func() { results <- h.walk() })
		}
	}
}

// wrong reports whether the last walk has found something that the next may find no more.
func wrong(past *history) bool { return count(past.ring) > 0 || len(past.gone) > 0 }

// ringChanges holds a value when the map of the own member has changed, and rest is the
// longest time between two walks while somebody looks. A member without a map is walked from
// once an interval.
func (h *Handler) ringChanges() (changes <-chan struct{}, rest time.Duration) {
	m, ok := h.cfg.Member.(mapped)
	if !ok {
		return nil, h.cfg.Interval
	}
	changed := make(chan struct{}, 1)
	h.running.Go(func() {
		for range m.WatchRing(h.ctx) {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	return changed, restWalks * h.cfg.Interval
}

func (h *Handler) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.watchers > 0
}

// look takes the state of the own member.
func (h *Handler) look() {
	now := self(h.cfg.Member.Status())
	was, _, _ := h.snapshot()
	if reflect.DeepEqual(was.Self, now) {
		return
	}
	h.change(func(p *Page, v *version) {
		if p.Self.Phase != now.Phase || p.Self.Isolated != now.Isolated {
			text := fmt.Sprintf("%s is %s", now.Server.Name, now.Phase)
			if now.Isolated {
				text += ", and isolated: it serves no key"
			}
			happen(p, v, Event{Kind: Phase, Member: &now.Server, Text: text})
		}
		p.Self = now
		v.self++
	})
}

// walk goes round the ring.
func (h *Handler) walk() walked {
	ctx, cancel := context.WithTimeout(h.ctx, walkTimeout)
	defer cancel()
	began := time.Now()
	var w walked
	for m, err := range h.cfg.Member.Members(ctx, concord.Fresh()) {
		if m.Server == (concord.Server{}) {
			w.err = err // the walk's own
			break
		}
		if w.met.size() == maxMembers {
			w.err = fmt.Errorf("the ring has more than %d members, and these are the first", maxMembers)
			break
		}
		w.met.add(m, err)
	}
	w.took = time.Since(began)
	return w
}

// arrive takes what a walk has found.
func (h *Handler) arrive(past *history, w walked) {
	now := time.Now()
	if w.err != nil && w.met.size() < maxMembers {
		w.met.fill(past.met) // who was not met may be there all the same
	}
	ring := w.met.judge(h.cfg.Bits)
	h.change(func(p *Page, v *version) {
		h.walking = false
		h.compare(past, ring.Members, now, p, v)
		before, after, first := count(past.ring), count(ring), p.Walk.At.IsZero()
		if after > 0 && (before == 0 || first) {
			happen(p, v, Event{At: now, After: p.Walk.At, Kind: Broken, Text: what(ring)})
		} else if after == 0 && before > 0 && !first {
			happen(p, v, Event{At: now, After: p.Walk.At, Kind: Healed, Text: "nothing is wrong with the ring any more"})
		}
		past.met, past.ring = w.met, ring
		p.Walk = Walk{At: now, Took: w.took}
		if w.err != nil {
			p.Walk.Error = strings.TrimPrefix(w.err.Error(), "concord: ")
		}
		v.walk++
		h.draw(past, p, v)
	})
}

// compare tells what has changed since the last walk.
func (h *Handler) compare(past *history, members []Member, now time.Time, p *Page, v *version) {
	last := p.Walk.At
	if last.IsZero() {
		happen(p, v, Event{At: now, Kind: Found, Text: fmt.Sprintf("%s found in the ring", plural(len(members), "member"))})
		return
	}
	before := make(map[Server]State, len(past.ring.Members))
	for _, m := range past.ring.Members {
		before[m.Server] = m.State
	}
	for _, m := range members {
		was, known := before[m.Server]
		delete(before, m.Server)
		past.gone = slices.DeleteFunc(past.gone, func(x parting) bool { return x.member.Server == m.Server })
		var kind Kind
		var text string
		switch {
		case m.State == Here && !known:
			kind, text = Joined, m.Name+" has joined"
		case m.State == Here && was == Silent:
			kind, text = Joined, m.Name+" answers again"
		case m.State == Silent && was != Silent:
			kind, text = Hushed, m.Name+" does not answer"
		default:
			continue
		}
		happen(p, v, Event{At: now, After: last, Kind: kind, Member: &m.Server, Text: text})
	}
	for _, m := range past.ring.Members {
		if _, ok := before[m.Server]; !ok {
			continue
		}
		happen(p, v, Event{At: now, After: last, Kind: Left, Member: &m.Server, Text: m.Name + " is gone: it left, or failed"})
		m.State, m.Wrong, m.Range, m.Share = Gone, []Finding{}, nil, 0
		past.gone = append(past.gone, parting{m, now})
	}
	if extra := len(past.gone) - maxMembers; extra > 0 {
		past.gone = past.gone[extra:]
	}
}

// forget drops those that are gone for long.
func (h *Handler) forget(past *history) {
	n := len(past.gone)
	past.gone = slices.DeleteFunc(past.gone, func(x parting) bool { return time.Since(x.at) >= keepGone })
	if len(past.gone) < n {
		h.change(func(p *Page, v *version) { h.draw(past, p, v) })
	}
}

// draw puts the members onto the page, if that changes it.
func (h *Handler) draw(past *history, p *Page, v *version) {
	members := slices.Clone(past.ring.Members)
	for _, x := range past.gone {
		members = append(members, x.member)
	}
	slices.SortStableFunc(members, clockwise)
	if now := (Ring{Members: members, Wrong: past.ring.Wrong}); !reflect.DeepEqual(p.Ring, now) {
		p.Ring = now
		v.ring++
	}
}

// moved tells of a change of the own member's range.
func (h *Handler) moved(e concord.Event) {
	h.change(func(p *Page, v *version) {
		own := server(h.cfg.Member.Status().Self)
		if !e.Had && e.Has {
			happen(p, v, Event{Kind: Moved, Member: &own, Text: fmt.Sprintf("%s is responsible for %s of the keys (%s)", own.Name, percent(part(e.Gained, h.cfg.Bits)), e.Cause)})
			return
		}
		var said []string
		if gained := part(e.Gained, h.cfg.Bits); gained > 0 {
			said = append(said, "gained "+percent(gained)+" of the keys"+of(" from ", e.From))
		}
		if lost := part(e.Lost, h.cfg.Bits); lost > 0 {
			said = append(said, "gave up "+percent(lost)+" of the keys"+of(" to ", e.To))
		}
		if len(said) == 0 {
			said = append(said, "has another range")
		}
		happen(p, v, Event{Kind: Moved, Member: &own, Text: fmt.Sprintf("%s %s (%s)", own.Name, strings.Join(said, " and "), e.Cause)})
	})
}

func of(word string, s concord.Server) string {
	if s.Name == "" {
		return ""
	}
	return word + s.Name
}

// happen adds an event.
func happen(p *Page, v *version, e Event) {
	v.events++
	e.Seq = v.events
	if e.At.IsZero() {
		e.At = time.Now()
	}
	kept := p.Events[max(0, len(p.Events)+1-maxEvents):]
	p.Events = append(slices.Clone(kept), e)
}

func percent(share float64) string {
	switch p := 100 * share; {
	case p >= 99.95:
		return "100 %"
	case p >= 0.1, p == 0:
		return fmt.Sprintf("%.1f %%", p)
	default:
		return fmt.Sprintf("%.1g %%", p)
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
