package sim

import "time"

// monotonic is the monotonic clock of a process. The zero monotonic shows the time of the
// run.
type monotonic struct {
	drift   float64       // by how much it is faster than the time of the run
	at, was time.Duration // at a time of the run it showed this, and has not leapt since
}

// shows is what the clock shows at a time of the run.
func (c monotonic) shows(now time.Duration) time.Duration {
	if c == (monotonic{}) {
		return now
	}
	return c.was + now - c.at + time.Duration(c.drift*float64(now-c.at))
}

// when is the time of the run at which the clock shows t, if it does not leap.
func (c monotonic) when(t time.Duration) time.Duration {
	if c == (monotonic{}) {
		return t
	}
	return c.at + time.Duration(float64(t-c.was)/(1+c.drift))
}

// leap has the clock leap ahead.
func (c *monotonic) leap(now, by time.Duration) {
	c.was, c.at = c.shows(now)+by, now
}

// maxDrift is how far off the rate of a clock is at most.
const maxDrift = 0.05

// clockOf is the clock of the process that starts at h: its rate is up to maxDrift off if
// members own by leases. All identifiers of a process have one clock.
func (w *world) clockOf(h *host) monotonic {
	if w.cfg.Lease == 0 {
		return monotonic{}
	}
	for _, g := range h.chart.hosts {
		if g != h && g.up {
			return g.ticks
		}
	}
	drift := 2*maxDrift*chance(w.seed^mix(uint64(h.index)<<20|uint64(h.starts)|1<<50)) - maxDrift
	return monotonic{drift: drift, at: w.now, was: w.now}
}
