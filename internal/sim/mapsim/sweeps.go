package mapsim

import (
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/ringmap"
)

// calm is for how many intervals nothing may have happened before sweeps and ages are judged.
const calm = 20

// sweeps is what a process was seen to ask in its sweeps.
type sweeps struct {
	seen bool
	rule invariant.Sweeps
	beat uint32
}

// judgeSweep takes a request of a map.
func (w *world) judgeSweep(from int32, r *ringmap.Request) {
	if r.Kind != ringmap.Ask {
		return
	}
	x := w.members[from]
	s := &x.sweeps
	if !s.seen || r.Beat != s.beat {
		// Not when it asks first: who asks an anchor waits until that is certain, for as long as
		// answers have taken of late.
		if broken := s.rule.Begin(x.m.SweepBegan(), x.interval); broken != "" && w.calm() {
			w.violate("%s: %s: %s", invariant.SweepsInTime, x.self.Name, broken)
		}
		s.seen, s.beat = true, r.Beat
	}
	if !w.prompt() || w.cfg.Hasty > 0 {
		return
	}
	if r.Beat != w.beat {
		w.beat, w.asked = r.Beat, invariant.Asked{}
	}
	if broken := w.asked.Ask(x.self.Name, len(w.ring)); broken != "" {
		w.violate("%s: %s", invariant.SweepAsksFew, broken)
	}
}

// judgeCertain takes how old the map of a member is.
func (w *world) judgeCertain(x *member, age time.Duration, ok bool) {
	if w.prompt() && (!ok || age > ringmap.Promised(w.cfg.Interval)) {
		w.violate("%s: that of %s is %v old, %v", invariant.MapCertain, x.self.Name, age, ok)
	}
}

// slowly is for which part of an interval nobody waits for an answer in a sweep: who has none by then
// asks again, as if it were lost.
const slowly = 8

// prompt reports whether, besides, no answer has taken so long that it counts as lost.
func (w *world) prompt() bool {
	return w.calm() && (w.slow == 0 || w.now >= w.slow+calm*w.cfg.Interval)
}

// calm reports whether nothing has happened for long enough.
func (w *world) calm() bool {
	return w.now >= w.changed+calm*w.cfg.Interval && !w.cut
}
