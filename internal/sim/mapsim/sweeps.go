package mapsim

import (
	"math/bits"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/ringmap"
)

// calm is for how many intervals nothing may have happened before sweeps and ages are judged.
const calm = 20

// sweeps is what a process was seen to ask in its sweeps.
type sweeps struct {
	seen  bool
	rule  invariant.Sweeps
	beat  uint32
	begun time.Duration
	asked int // in this one
}

// judgeSweep takes a request of a map.
func (w *world) judgeSweep(from int32, r *ringmap.Request) {
	if r.Kind != ringmap.Ask {
		return
	}
	x := w.members[from]
	s := &x.sweeps
	if !s.seen || r.Beat != s.beat {
		if broken := s.rule.Begin(w.now, x.interval); broken != "" && w.calm() {
			w.violate("%s: %s: %s", invariant.SweepsInTime, x.self.Name, broken)
		}
		s.seen, s.beat, s.begun, s.asked = true, r.Beat, w.now, 0
	}
	s.asked++
	if most := bits.Len(uint(len(w.ring))) + 1; s.asked > most && w.calm() && w.cfg.Hasty == 0 {
		w.violate("%s: %s has asked %d times in a sweep that began %v ago, at most %d are needed", invariant.SweepAsksOnce, x.self.Name, s.asked, w.now-s.begun, most)
	}
}

// judgeCertain takes how old the map of a member is.
func (w *world) judgeCertain(x *member, age time.Duration, ok bool) {
	if w.calm() && (!ok || age > ringmap.Promised(w.cfg.Interval)) {
		w.violate("%s: that of %s is %v old, %v", invariant.MapCertain, x.self.Name, age, ok)
	}
}

// calm reports whether nothing has happened for long enough.
func (w *world) calm() bool {
	return w.now >= w.changed+calm*w.cfg.Interval && !w.cut
}
