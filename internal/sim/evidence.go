package sim

import (
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
)

// watchesEvidence reports whether what members count as living is judged.
func (w *world) watchesEvidence() bool {
	return w.cfg.Lease > 0 && w.cfg.MinMembers > 1 && w.liars == nil
}

// passesOn has an answer to call c pass on of whom the process has heard that gives it.
func (w *world) passesOn(c *call) {
	if h := w.hosts[c.to]; w.watchesEvidence() {
		c.said = h.chart.heard.Says(h.of, w.now)
	}
}

// hears has the process of h take what an answer passes on.
func (w *world) hears(h *host, c *call) {
	if w.watchesEvidence() && h.client == nil {
		h.chart.heard.Hear(c.said)
	}
}

// judgeAges holds what h says of who lives against the rule of evidence. The times between are
// by the clocks of others, too, of which the slowest shows the least.
func (w *world) judgeAges(h *host, st *protocol.State) {
	if !w.watchesEvidence() {
		return
	}
	for i, age := range st.Lease.Ages {
		if x := st.Succ[i]; age >= 0 && x.Name != h.of {
			at := w.now - time.Duration(float64(age)/(1-maxDrift)) - time.Microsecond
			if broken := h.chart.heard.Counts(x.Name, at); broken != "" {
				w.violate(invariant.HeardSince, h.name+": "+broken)
			}
		}
	}
}
