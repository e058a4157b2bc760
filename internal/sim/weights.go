package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/standing"
)

// Weights of processes that change while they run. A process whose weight is 0 has drained:
// it is in no ring, runs on, and comes back. Package standing decides what is to be done, as
// for processes that ship. Where an identifier stands is random here, and one that is chosen
// anew is another random one.

// steward is what a process whose weight has changed has besides its members, until it
// stands as before.
type steward struct {
	of     *chart
	hosts  []int32 // the first first
	starts uint32  // of the first: a process that has started again stands as before
	s      *standing.Standing
	all    int             // at how many identifiers it stands in the end
	again  uint32          // its look that is in the queue
	drains time.Duration   // when it began to drain, while it does
	open   bool            // it drains
	moves  bool            // it does not stand yet as it is to
	growth *ringmap.Growth // how it waits for a map to choose by, if it does
	began  time.Duration   // to wait
}

// reweigh begins a change of weights: some processes drain, or stand at fewer identifiers.
// In one of four all processes are among them.
func (w *world) reweigh(f *fault) {
	who := w.some(f)
	if chance(mix(f.shape)) < 0.25 {
		who = slices.Clone(w.ring)
	}
	for _, i := range who {
		h := w.hosts[i]
		if slices.ContainsFunc(f.who, func(k int32) bool { return w.stewards[k].of == h.chart }) {
			continue
		}
		k := w.steward(h)
		st := w.stewards[k]
		if f.who = append(f.who, k); chance(f.pick^uint64(k)) < 0.5 {
			st.s.Want(0)
		} else {
			st.s.Want(len(st.hosts) / 2)
		}
		w.story.add(w, "%s is to stand at %d of %d identifiers", h.of, st.s.Weight(), st.all)
		w.lookAfter(k, 0)
	}
}

// steward is that of the process of h, made if need be.
func (w *world) steward(h *host) int32 {
	for k, st := range w.stewards {
		if st.of == h.chart {
			return int32(k)
		}
	}
	st := &steward{of: h.chart}
	for _, g := range h.chart.hosts {
		if g.up || g.awaits {
			st.hosts = append(st.hosts, g.index)
		}
	}
	st.all, st.starts = len(st.hosts), w.hosts[st.hosts[0]].starts
	st.s = standing.New(st.all, w.cfg.Interval, h.id, w.now)
	w.stewards = append(w.stewards, st)
	return int32(len(w.stewards) - 1)
}

// restored has processes stand as they did before the fault.
func (w *world) restored(f *fault) {
	for _, k := range f.who {
		st := w.stewards[k]
		st.s.Want(st.all)
		w.lookAfter(k, 0)
	}
}

// lookAfter has a process take its next step after a while.
func (w *world) lookAfter(k int32, d time.Duration) {
	st := w.stewards[k]
	st.again++
	st.moves = st.moves || d == 0
	w.queue.Push(w.now+d, event{kind: evStand, host: -1, slot: k, gen: st.again})
}

// stand has a process take a step, unless one is under way.
func (w *world) stand(k int32) {
	st := w.stewards[k]
	st.moves = false
	first := w.hosts[st.hosts[0]]
	if w.borne(first) { // another has its name: it is told so when it comes back
		st.growth = nil
		switch {
		case first.up && first.view.Phase == protocol.Outside:
			first.leaving = true
			w.queue.Push(w.now, event{kind: evStop, host: first.index, gen: first.starts})
		case st.open:
			w.lookAfter(k, w.cfg.Interval)
		}
		return
	}
	st.hosts = slices.DeleteFunc(st.hosts, func(i int32) bool { return w.borne(w.hosts[i]) })
	if st.all = len(st.hosts); st.s.Weight() > st.all {
		st.s.Want(st.all)
	}
	if !first.up {
		w.lookAfter(k, 4*w.cfg.Interval) // it may start again
		return
	}
	if first.view.Phase == protocol.Superseded {
		st.growth = nil
		return // it is out for good
	}
	if first.starts != st.starts { // it crashed, and has joined by itself
		st.starts, st.open = first.starts, false
		st.s, st.growth = standing.New(st.all, w.cfg.Interval, first.id, w.now), nil
	}
	next := w.cfg.Interval / 2
	held, busy := w.heldBy(st)
	if !busy && !first.leaving && !st.of.leaves {
		phase := first.view.Phase
		do, _ := st.s.Next(w.now, standing.PhaseOf(phase == protocol.Joined, phase == protocol.Superseded), held, 0)
		if next = w.growthWaits(st, do); next == 0 {
			next = w.cfg.Interval / 2
			w.takeStep(st, do)
		}
		held, busy = w.heldBy(st)
	}
	if busy || held != st.all || st.s.Weight() != st.all {
		st.moves = true
		w.lookAfter(k, next)
	}
}

// heldBy is how many identifiers a process holds, and whether one of them comes or goes.
func (w *world) heldBy(st *steward) (held int, busy bool) {
	for _, i := range st.hosts {
		h := w.hosts[i]
		switch {
		case !h.up:
		case h.view.Phase == protocol.Joined:
			held++
		case h.view.Phase != protocol.Outside || i != st.hosts[0]:
			busy = true
		}
	}
	return held, busy || st.open
}

func (w *world) takeStep(st *steward, do standing.Do) {
	first := w.hosts[st.hosts[0]]
	switch do {
	case standing.Grow:
		w.grow(st)
	case standing.Shrink:
		w.leave(w.hosts[w.lastOf(st)])
	case standing.Drain:
		w.story.add(w, "%s drains", first.of)
		st.drains, st.open = w.now, true
		w.step(first, protocol.Depart{Drain: true})
		return // Done is told when it has
	case standing.Return:
		first.join = attempts{}
		w.beginJoin(first)
	case standing.Rechoose, standing.Forget, standing.Drop, standing.Rest:
	}
	if do != standing.Rest {
		st.s.Done(w.now, do, standing.Taken)
	}
}

// growthWaits is for how long a process that is to take the step waits for a map to choose by at
// least, 0 if it does not.
func (w *world) growthWaits(st *steward, do standing.Do) time.Duration {
	first := w.hosts[st.hosts[0]]
	if do != standing.Grow || first.ringMap == nil {
		st.growth = nil
		return 0
	}
	if st.growth == nil {
		st.growth, st.began = ringmap.NewGrowth(w.now, w.cfg.Interval, first.id, st.s.Weight()), w.now
	}
	by, claims, at := st.growth.Next(w.now, first.ringMap.Snapshot())
	if by == ringmap.Wait {
		at = max(at, w.now+1)
		if broken := invariant.WaitsToGrow(at-st.began, w.cfg.Interval); broken != "" {
			w.violate(invariant.GrowsInTime, first.of+" "+broken)
		}
		return at - w.now
	}
	st.growth = nil
	age := w.now - ringmap.Promised(w.cfg.Interval)
	for _, c := range claims {
		if x := c.Owner(); !w.said(x, x, c.After+1, age) {
			w.violate(invariant.MapAge, fmt.Sprintf("the map by which %s chooses identifiers says that %s claimed its arc %v ago or later, and it did not", first.of, x.Name, w.now-age))
		}
	}
	return 0
}

// mapMoved has a process that waits for a map look at it again.
func (w *world) mapMoved(of *chart) {
	for k, st := range w.stewards {
		if st.of == of && st.growth != nil && st.growth.Unseen(of.m.Snapshot()) {
			w.lookAfter(int32(k), 0)
		}
	}
}

// grow starts the identifiers that are missing.
func (w *world) grow(st *steward) {
	room := standing.MaxJoining
	for _, i := range st.hosts {
		if h := w.hosts[i]; !h.up && room > 0 {
			room--
			h.join = attempts{}
			w.queue.Push(w.now, event{kind: evStart, host: i})
		}
	}
}

// lastOf is the host with which the process leaves next.
func (w *world) lastOf(st *steward) int32 {
	var slots []int
	var of []int32
	for slot, i := range st.hosts {
		if w.hosts[i].inRing() {
			slots, of = append(slots, slot), append(of, i)
		}
	}
	return of[standing.Last(slots)]
}

// departed hears that a member has drained, or stays.
func (w *world) departed(h *host, stays bool) {
	i := slices.IndexFunc(w.stewards, func(st *steward) bool { return st.open && st.hosts[0] == h.index })
	if i < 0 {
		return
	}
	st := w.stewards[i]
	if st.open = false; h.leaving {
		return // for good
	}
	outcome := standing.Taken
	switch {
	case !stays:
		w.judgeDrained(h, st)
	case w.others(h) == 0:
		outcome = standing.Alone
	default:
		outcome = standing.Failed
	}
	w.story.add(w, "%s has drained, or stays: %t", h.of, stays)
	st.s.Done(w.now, standing.Drain, outcome)
}

// others counts the members of other processes that are in a ring.
func (w *world) others(h *host) (n int) {
	for _, i := range w.ring {
		if g := w.hosts[i]; g.of != h.of && g.inRing() {
			n++
		}
	}
	return n
}

// judgeDrained holds a member that has drained against the rules of those.
func (w *world) judgeDrained(h *host, st *steward) {
	d := invariant.Drained{By: h.view, Others: w.others(h)}
	if w.stopped >= st.drains {
		d.Others++ // one that has acknowledged may be gone
	}
	for _, rule := range invariant.Drains() {
		if broken := rule.Broken(d); broken != "" {
			w.violate(rule.Name, broken)
		}
	}
}
