package sim

import (
	"fmt"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// maxWatched is up to how many members at the start it is noted who has heard of
// whom: the notes of a million would not fit.
const maxWatched = 4096

// steps are the rules that every step of a member of this run is judged by.
// Unless messages can be late or lost, nobody is taken for dead by mistake.
func (c *Config) steps() []invariant.ChangeRule {
	var rules []invariant.ChangeRule
	if c.Members <= maxWatched {
		rules = append(rules, invariant.AskedFirst)
	}
	if c.Faults&^(Crash|Vanish|Clock|Joins|Leaves|Duplicate) == 0 && c.Split == 0 && c.Latency == (Latency{}) {
		rules = append(rules, invariant.NoTakeover)
	}
	return rules
}

// judgeStep holds what a member has changed against the rules of steps.
func (w *world) judgeStep(h *host, old *protocol.View) {
	if h.view.Pred == old.Pred && h.view.Head() == old.Head() {
		return // whatever it has lost, it has gained nobody and nothing
	}
	step := invariant.Change{Before: old, After: h.view,
		Answered: func(x ring.Member) bool { return h.heard[x.Life()] },
		Lives: func(x ring.Member) bool {
			i := number(x.Addr)
			if i < 0 || int(i) >= len(w.hosts) {
				return false
			}
			g := w.hosts[i]
			return g.up && g.view.Self == x && g.view.Phase == protocol.Joined
		},
	}
	for i := range w.steps {
		if broken := w.steps[i].Broken(step); broken != "" {
			w.violate(w.steps[i].Name, broken)
		}
	}
}

// judgeAnswer holds a member's answer to a lookup against what its program was
// told that it holds.
func (w *world) judgeAnswer(h *host, id uint64, a *routing.Answer) {
	v := h.view
	if a.Verdict == routing.Mine && id != h.id && !(v.HasArc && ring.Between(v.Arc.After, id, v.Arc.To)) {
		w.violate(invariant.AnswersForItsArc.Name, fmt.Sprintf("%s says that %d is its own, which is not on its arc", h.name, id))
	}
}
