package sim

import (
	"fmt"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
)

// reached has the other members of the process of h told whether another process answers.
func (w *world) reached(h *host, ev protocol.Reach) {
	for _, g := range h.chart.hosts {
		if g == h || !g.up || g.m == nil || w.now < g.wake {
			continue
		}
		if w.step(g, ev); !g.up || ev.Failures == 0 {
			continue
		}
		if x := invariant.Silent(g.view, ev.Who); !x.IsZero() {
			w.violate(invariant.SilentTogether, fmt.Sprintf("%s found that %s does not answer, and %s has it for live at %d", h.name, ev.Who.Name, g.name, x.ID))
		}
	}
}
