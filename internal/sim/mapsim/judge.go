package mapsim

import (
	"cmp"
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/sim"
)

// loadFrom makes the next lookup after a while.
func (w *world) loadFrom(d time.Duration) {
	if w.cfg.Lookups > 0 && !w.quiet {
		w.queue.Push(w.now+d, event{kind: evLookup})
	}
}

// lookUp looks a random key up at a random member and judges the answer.
func (w *world) lookUp() {
	x := w.members[w.ring[w.load.IntN(len(w.ring))]]
	key := w.load.Uint64()
	r := &w.result
	s := x.m.Snapshot()
	age, certain := s.Age(x.clock(w.now))
	w.judgeCertain(x, age, certain)
	if certain {
		w.circles = append(w.circles, float64(age)/float64(w.cfg.Interval))
	}
	own := ring.Arc{After: x.after, To: x.self.ID}
	if x.has && own.Contains(key) {
		w.judge(x, key, x.self)
		return
	}
	c, as, ok := s.Lookup(key, x.clock(w.now), ringmap.Promised(w.cfg.Interval))
	if !ok {
		r.Asked++
		if s.Known(key) == nil {
			r.Unknown++
		} else {
			r.Old++
		}
		return
	}
	w.ages = append(w.ages, float64(x.clock(w.now)-as)/float64(w.cfg.Interval))
	w.judge(x, key, c.Owner())
}

func (w *world) judge(x *member, key uint64, named ring.Member) {
	if i := w.owner(key, x.side); w.members[i].self == named {
		w.result.Right++
	} else {
		w.result.Wrong++
	}
}

// watch is a change that is to become known to all.
type watch struct {
	id   uint64
	from time.Duration
	join bool
}

// maxWatched is up to how many members it is watched how soon changes are known.
const maxWatched = 256

func (w *world) watch(id uint64, join bool) {
	if w.cfg.Members <= maxWatched {
		w.watches = append(w.watches, watch{id, w.now, join})
		w.queue.Push(w.now, event{kind: evWatch, slot: int32(len(w.watches) - 1)})
	}
}

// look looks whether all members know of a change.
func (w *world) look(k int) {
	c := w.watches[k]
	for _, i := range w.ring {
		x := w.members[i]
		o := w.owner(c.id, x.side)
		if o == i {
			continue
		}
		if got := x.m.Snapshot().Known(c.id); got == nil || got.Owner() != w.members[o].self {
			if w.now-c.from < 20*w.cfg.Interval {
				w.queue.Push(w.now+time.Millisecond, event{kind: evWatch, slot: int32(k)})
			}
			return
		}
	}
	if c.join {
		w.joins = append(w.joins, w.now-c.from)
	} else {
		w.deaths = append(w.deaths, w.now-c.from)
	}
}

// settled reports whether all maps are those of the ring. One that cannot hold all of it
// must hold nothing wrong, and most of what it can.
func (w *world) settled(tell bool) bool {
	for k := range w.ring {
		if wrong := w.wrong(k); wrong != "" {
			if tell {
				w.violate("%s", wrong)
			}
			return false
		}
	}
	return true
}

// wrong says what is wrong with the map of the member at a place in the ring.
func (w *world) wrong(k int) string {
	x := w.members[w.ring[k]]
	s := x.m.Snapshot()
	n, must := len(w.ring), len(w.ring)
	if limit := cmp.Or(w.cfg.Limit, ringmap.DefaultLimit); n > limit {
		must = limit - limit/4
	}
	if s.Len() < must || s.Len() > n {
		return fmt.Sprintf("the map of %s has %d claims, the ring %d", x.self.Name, s.Len(), n)
	}
	for j := range must {
		if n > 1000 && j > 1000 && j%17 != k%17 {
			continue // all of them in all maps are too many
		}
		y := w.members[w.ring[(k+j)%n]]
		before := w.members[w.ring[(k+j+n-1)%n]]
		c := s.Known(y.self.ID)
		if c == nil || c.Owner() != y.self || c.After != before.self.ID || c.Epoch != y.epoch {
			return fmt.Sprintf("the map of %s says %+v of %s, which owns from %d on by epoch %d", x.self.Name, c, y.self, before.self.ID, y.epoch)
		}
	}
	return ""
}

// report counts what was measured.
func (w *world) report() {
	r := &w.result
	seconds := w.cfg.Duration.Seconds() * float64(w.cfg.Members)
	total := 0
	for _, n := range w.size {
		total += n
	}
	r.Of["push"] = float64(w.size[ringmap.Push]) / seconds
	r.Of["ask"] = float64(w.size[ringmap.Ask]) / seconds
	r.Of["compare"] = float64(w.size[ringmap.Compare]) / seconds
	r.Of["reply"] = float64(w.size[0]) / seconds
	r.Bytes = float64(total) / seconds
	r.Messages = float64(w.count) / seconds
	r.AgeMedian, r.Age99 = sim.Percentile(w.ages, 0.5), sim.Percentile(w.ages, 0.99)
	r.CircleMedian, r.Circle99 = sim.Percentile(w.circles, 0.5), sim.Percentile(w.circles, 0.99)
	r.JoinMedian, r.JoinMost = sim.Percentile(w.joins, 0.5), sim.Percentile(w.joins, 1)
	r.DeathMedian, r.DeathMost = sim.Percentile(w.deaths, 0.5), sim.Percentile(w.deaths, 1)
}

// trace is a hash over what the run ended with.
func (w *world) trace() uint64 {
	h := uint64(w.result.Events)
	for _, i := range w.ring {
		for c := range w.members[i].m.Snapshot().All() {
			h = h*31 + c.ID ^ c.Epoch
		}
		if w.cfg.Members > 1000 {
			break
		}
	}
	return h ^ uint64(w.count)
}
