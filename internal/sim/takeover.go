package sim

import (
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// takeover is what the program of a joiner takes over before the joiner owns it.
type takeover struct {
	arc       ring.Arc
	number    int32 // of those of this process
	committed bool  // it has asked for something to be handed over
}

// prepare has the program of h take over, for up to twice as long as it has, or for
// ever.
func (w *world) prepare(h *host, e protocol.Prepare) {
	t := &h.takes
	t.arc = e.Arc
	t.number++
	long := chance(w.seed ^ mix(uint64(h.index)<<32|uint64(h.starts)<<16|uint64(t.number)))
	if long < 0.9 {
		w.queue.Push(w.now+time.Duration(2*long*float64(w.cfg.Takeover)), event{kind: evTaken, host: h.index, slot: t.number, gen: h.starts})
	}
	// Its clock may be slower.
	w.queue.Push(w.now+w.cfg.Takeover*11/10+w.cfg.Interval, event{kind: evTakenLate, host: h.index, slot: t.number, gen: h.starts})
}

// taken tells h that its program has taken over.
func (w *world) taken(h *host, which int32) {
	if which == h.takes.number {
		w.step(h, protocol.Prepared{Arc: h.takes.arc})
	}
}

// takenLate holds h against the rule that it does not wait for ever.
func (w *world) takenLate(h *host, which int32) {
	if _, waits := h.m.Taking(); waits && which == h.takes.number && w.now >= h.wake && h.hostile == nil {
		w.violate(invariant.TakesInTime, fmt.Sprintf("%s still waits for its program, %v after its time", h.name, w.cfg.Takeover/10+w.cfg.Interval))
	}
}

// commits notes that h asks for something to be handed over.
func (h *host) commits(r *protocol.Request) {
	if r.Kind == protocol.Notify && !r.Preparing {
		h.takes.committed = true
	}
}

// prepares reports whether x is a joiner that has asked for nothing yet.
func (w *world) prepares(x ring.Member) bool {
	i := number(x.Addr)
	if i < 0 || int(i) >= len(w.hosts) {
		return false
	}
	h := w.hosts[i]
	return h.up && h.client == nil && h.hostile == nil && h.m.Self() == x && h.m.Preparing() && !h.takes.committed
}

// released notes what the process that holds a call has given up for the joiner that has
// sent it, if it does not own any of that now.
func (w *world) released(c *call) {
	r := &c.request
	if w.cfg.Takeover == 0 || r.Kind != protocol.Notify || !r.Joining || r.Preparing || c.reply.Former.IsZero() || c.failure != nil {
		return
	}
	h := w.hosts[c.to]
	arc := ring.Arc{After: c.reply.Former.ID, To: c.sender.ID}
	if v := h.view; v.HasArc && !v.Arc.Contains(arc.To) && !arc.Contains(v.Arc.To) {
		w.releases.Release(c.sender, arc)
	}
}

// entered holds a joiner that has become a member against the rule of what was released.
func (w *world) entered(h *host, old *protocol.View) {
	if w.cfg.Takeover == 0 || w.liars != nil || old.Phase != protocol.Joining || h.view.Phase != protocol.Joined {
		return
	}
	if broken := w.releases.Entered(h.view); broken != "" {
		w.violate(invariant.ReleasedFirst.Name, broken)
	}
}
