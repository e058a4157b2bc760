package sim

import (
	"fmt"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
)

// reached has the other members of the process of h told whether another process answers.
func (w *world) reached(h *host, ev protocol.Reach) {
	for g := range w.tellOthers(h, ev) {
		if x := invariant.Silent(g.view, ev.Who); ev.Failures > 0 && !x.IsZero() {
			w.violate(invariant.SilentTogether, fmt.Sprintf("%s found that %s does not answer, and %s has it for live at %d", h.name, ev.Who.Name, g.name, x.ID))
		}
	}
}
