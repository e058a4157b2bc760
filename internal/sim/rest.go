package sim

import (
	"fmt"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// suspected has the other members of the process of h look after theirs of a process of
// which one does not answer; zero: there is none.
func (w *world) suspected(h *host, who ring.Member) {
	if who.IsZero() {
		return
	}
	for g := range w.tellOthers(h, protocol.Silent{Name: who.Name}) {
		if g.view.Head().Name == who.Name && g.m.Rests() {
			w.violate(invariant.LooksTogether, fmt.Sprintf("%s found that %s does not answer, and %s rests", h.name, who.Name, g.name))
		}
	}
}

// judgeRound holds a round that has begun against the rule of rests.
func (w *world) judgeRound(h *host) {
	if !h.up || h.client != nil {
		return
	}
	if broken := h.rests.Round(h.view, h.m.Stabilizes()); broken != "" {
		w.violate(invariant.AsksInTime, broken)
	}
}
