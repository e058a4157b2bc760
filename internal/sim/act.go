package sim

import (
	"math"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/routing"
)

// begin makes a fault.
func (w *world) begin(f *fault) {
	w.story.add(w, "fault %d: %v", f.number, f.action)
	w.mix(uint64(f.number), uint64(f.fault))
	f.active = true
	w.owners.last = namesOf(FaultKinds, f.fault)
	if f.lie != 0 {
		w.beginLie(f)
		return
	}
	switch f.fault {
	case Loss, Duplicate, Reorder, Slow, Cut, OneWay, Links, Busy:
		if f.one = w.ringAt(f.pick, 0); f.one >= 0 {
			f.one = w.hosts[f.one].first().index
		}
		w.net.now = append(w.net.now, f)
	case Pause:
		f.who = w.some(f)
		for _, i := range f.who {
			w.hosts[i].wake = max(w.hosts[i].wake, w.now+f.last)
		}
	case Crash, Vanish, Clock:
		w.crash(f)
	case Twin:
		w.twin(f)
	case Joins:
		for range 1 + int(f.level*float64(w.cfg.Members)/4) {
			g := w.newcomer()
			w.queue.Push(w.now, event{kind: evStart, host: g.index})
		}
	case Astray:
		w.leadAstray(f)
	case Jump:
		for _, i := range w.some(f) {
			w.hosts[i].ticks.leap(w.now, f.last)
		}
	case Drains:
		w.reweigh(f)
	case Returns:
		w.restart(f)
	case Leaves:
		who := w.some(f)
		for _, i := range who[:min(len(who), 4, max(0, len(w.ring)-1))] {
			w.leave(w.hosts[i])
		}
	}
}

// crash ends processes, of which most come back when the fault ends.
func (w *world) crash(f *fault) {
	for _, i := range w.some(f) {
		h := w.hosts[i]
		if !h.up {
			continue // it has ended with another of its process
		}
		if w.last(h) {
			return // somebody is left
		}
		for _, g := range h.chart.hosts {
			if g.up {
				w.crashAt(f, g)
			}
		}
	}
}

func (w *world) crashAt(f *fault, h *host) {
	i, first := uint64(h.index), uint64(h.first().index)
	old := h.m.Knows()
	w.stop(h, f.fault == Vanish)
	if chance(f.pick^first) < 0.2 {
		return // for good
	}
	f.who = append(f.who, h.index)
	h.join = attempts{}
	if chance(f.shape^i) < 0.5 {
		// With the addresses that it knew before, as if it kept them.
		for _, x := range old[:min(len(old), 8)] {
			h.join.via = append(h.join.via, x.Addr)
		}
	}
}

// twin has a process hang while another of its name starts, at all of its identifiers.
func (w *world) twin(f *fault) {
	if f.who = w.some(f); len(f.who) == 0 {
		return // all have left
	}
	f.who = f.who[:1]
	c := &chart{}
	for _, h := range slices.Clone(w.hosts[f.who[0]].chart.hosts) {
		if !h.up {
			continue
		}
		h.wake = max(h.wake, w.now+f.last)
		g := w.host(h.name, h.id)
		g.of, g.chose, g.chart = h.of, h.chose, c
		c.hosts = append(c.hosts, g)
		w.queue.Push(w.now+f.last/4, event{kind: evStart, host: g.index})
	}
}

// leadAstray has the names of members lead to others, and breaks half of the
// connections to them, so that new ones are made.
func (w *world) leadAstray(f *fault) {
	for _, i := range w.some(f) {
		f.who = append(f.who, i)
		f.leads = append(f.leads, w.ringAt(mix(f.pick+uint64(i)), 0))
		for _, by := range w.hosts[i].callers {
			if p := w.hosts[by].link(i); p != nil && chance(f.shape^uint64(by)<<32^uint64(i)) < 0.5 {
				p.open = false
			}
		}
	}
	w.net.now = append(w.net.now, f)
}

// end ends a fault.
func (w *world) end(f *fault) {
	if !f.active {
		return
	}
	f.active = false
	if f.lie != 0 {
		w.endLie(f)
	}
	w.net.now = slices.DeleteFunc(w.net.now, func(g *fault) bool { return g == f })
	switch f.fault {
	case Drains:
		w.restored(f)
	case Returns:
		w.restarted(f)
	case Crash, Vanish, Clock:
		for _, i := range f.who {
			h := w.hosts[i]
			if f.fault == Clock {
				h.clock = time.Duration((2*chance(f.shape+uint64(h.first().index)) - 1) * float64(time.Hour))
			}
			w.queue.Push(w.now, event{kind: evStart, host: i})
		}
	}
	w.story.add(w, "fault %d: over", f.number)
}

// leave has a member leave politely; the first of its process after all others, one by one.
func (w *world) leave(h *host) { w.depart(h, 0) }

// depart is leave of a member that says that it is to be back in that time; 0: it says nothing.
func (w *world) depart(h *host, back time.Duration) {
	if !h.inRing() || h.leaving || w.othersLeave(h, back) {
		return
	}
	if !h.chart.leaves {
		h.chart.since = w.now
	}
	if slices.ContainsFunc(w.ring, func(i int32) bool { return w.hosts[i].chart != h.chart && w.leaves(w.hosts[i]) }) {
		w.crossed = w.now
	}
	h.leaving, h.standIns = true, protocol.StandIns{} // its program serves nothing any more
	if v := h.view; back > 0 && v.HasArc && !v.Isolated {
		broken := w.absences.Left(v.Self, v.Arc, h.chart.since, w.now, w.now+min(back, protocol.MaxReturning))
		if broken != "" && w.nothingLost() && w.crossed+2*w.cfg.Interval < h.chart.since {
			w.violate(invariant.LeavesInTurn, broken)
		}
	}
	w.queue.Push(w.now+routing.LookupTimeout, event{kind: evStop, host: h.index, gen: h.starts})
	w.step(h, protocol.Depart{Returning: back})
}

// ringAt is the member k places after a point of the circle, of all that live.
func (w *world) ringAt(point uint64, k int) int32 {
	if len(w.ring) == 0 {
		return -1
	}
	return w.ring[(w.at(point)+k)%len(w.ring)]
}

// some are the members that a fault concerns: one, neighbours, or any, at most
// a quarter of those that live; at least one while there is one. All of each process are
// among them, unless the fault is of single identifiers.
func (w *world) some(f *fault) []int32 {
	out := w.chosen(f)
	if len(w.cfg.Identifiers) == 0 || f.fault == Leaves || f.fault == Twin {
		return out
	}
	for _, i := range slices.Clone(out) {
		for _, k := range w.ring {
			if w.hosts[k].of == w.hosts[i].of && !slices.Contains(out, k) {
				out = append(out, k)
			}
		}
	}
	return out
}

func (w *world) chosen(f *fault) []int32 {
	n := len(w.ring)
	k := 1
	if f.shape%3 > 0 {
		k = 1 + int(f.level*float64(n)/4)
	}
	var out []int32
	for j := range min(k, n) {
		i := w.ringAt(f.pick, j) // neighbours
		if f.shape%3 == 2 {
			i = w.ringAt(mix(f.pick+uint64(j)), 0)
		}
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// Sessions.

// stay draws how long a new member stays.
func (w *world) stay() time.Duration {
	s := w.cfg.Sessions
	scale := float64(s.Mean) / math.Gamma(1+1/s.Shape)
	return time.Duration(scale * math.Pow(w.sessions.ExpFloat64(), 1/s.Shape))
}

// rest draws how much longer a member stays that was found in a ring that has
// been there for long: long stays are met more often, and at any of their
// moments. For a Weibull stay X, (X/scale)^shape of those met is distributed as
// Gamma(1+1/shape).
func (w *world) rest() time.Duration {
	s := w.cfg.Sessions
	scale := float64(s.Mean) / math.Gamma(1+1/s.Shape)
	return time.Duration(w.sessions.Float64() * scale * math.Pow(w.gamma(1+1/s.Shape), 1/s.Shape))
}

// gamma draws from the Gamma distribution of a shape of at least 1 (Marsaglia
// and Tsang, "A Simple Method for Generating Gamma Variables", 2000).
func (w *world) gamma(shape float64) float64 {
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := w.sessions.NormFloat64()
		y := 1 + c*x
		v := y * y * y
		if v > 0 && math.Log(1-w.sessions.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// sessionOver ends a member's stay and has another take its place.
func (w *world) sessionOver(h *host) {
	if !w.churning || len(w.ring) <= 1 {
		return
	}
	if w.sessions.Float64() < w.cfg.Sessions.Polite {
		w.leave(h)
	} else {
		w.stop(h, false)
	}
	g := w.newcomer()
	w.queue.Push(w.now, event{kind: evStart, host: g.index})
	w.queue.Push(w.now+w.stay(), event{kind: evSession, host: g.index, gen: g.starts + 1})
}

// wanted is what a lookup of the load asks for: mostly nothing, or the owner's own
// confirmation, or one that is not older than some age.
func (w *world) wanted() routing.Options {
	switch w.load.IntN(8) {
	case 0:
		return routing.Options{Fresh: true}
	case 1:
		return routing.Options{MaxAge: 1 + time.Duration(w.load.Int64N(int64(2*routing.Lease(w.cfg.Interval))))}
	case 2:
		return routing.Options{Cold: true}
	case 3:
		if w.liars != nil {
			return w.verified()
		}
	}
	return routing.Options{}
}

// verified is what a lookup asks for that is to be verified.
func (w *world) verified() routing.Options {
	return routing.Options{Fresh: true, Cold: true, Verified: true, Proven: w.cfg.Identity}
}

// asker draws who does a lookup of the load: an eighth of them are done by clients.
func (w *world) asker() *host {
	if n := len(w.clients); n > 0 && w.load.IntN(8) == 0 {
		return w.hosts[w.clients[w.load.IntN(n)]]
	}
	return w.hosts[w.ring[w.load.IntN(len(w.ring))]]
}

// nextLookup begins a lookup of the load and sets the time of the next.
func (w *world) nextLookup() {
	if !w.loading {
		return
	}
	if len(w.ring) > 0 {
		h := w.asker()
		id := w.load.Uint64()
		if w.load.IntN(8) == 0 {
			id = w.hosts[w.ring[w.load.IntN(len(w.ring))]].id // exactly on a member
		}
		if w.now >= h.wake {
			w.lookUp(h, id, w.wanted())
		}
	}
	gap := w.load.ExpFloat64() * float64(w.cfg.Interval) / w.cfg.Lookups
	w.queue.Push(w.now+time.Duration(gap), event{kind: evLoad, host: -1})
}
