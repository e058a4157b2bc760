package sim

import (
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Attempts to join, and around them what an operator does: a Join that has failed is
// begun again, in the end with addresses of members as they are now.

// What the program of a host allows.
const (
	joinLimit  = 30 * time.Second
	joinAgain  = 2 * time.Second // between a Join that failed and the next
	foundAfter = 3 * time.Second // of members that found together
	listed     = 8               // how many of these all are given the addresses of
	// vip is the address of a load balancer: each question to it goes to a process
	// that is up, drawn anew, perhaps to the asker.
	vip = "vip:1"
)

// attempts is where a host stands in joining.
type attempts struct {
	via   []string
	made  protocol.Attempts             // of this Join
	joins int                           // Joins begun
	found time.Duration                 // above zero: it founds with others where there is no ring
	met   map[ring.Member]time.Duration // with found: when another that looks last answered at its own address
}

// beginJoin calls Join.
func (w *world) beginJoin(h *host) {
	j := &h.join
	j.joins++
	j.made = protocol.Attempts{}
	switch first := h.first(); {
	case h != first: // a process joins at all others through itself
		j.via = []string{first.addr}
	case w.founding(): // all that are started later do as the first
		w.beginFounding(h, 0)
		return
	case j.via == nil || j.joins > 1:
		j.via = w.contacts(h)
	}
	w.regroup = true
	w.queue.Push(w.now, event{kind: evJoin, host: h.index, gen: h.starts})
	w.queue.Push(w.now+joinLimit, event{kind: evJoinLimit, host: h.index, slot: int32(j.joins), gen: h.starts})
}

// founding reports whether members found together, in this run.
func (w *world) founding() bool { return strings.HasPrefix(w.cfg.Start, "founders") }

// stalls reports whether h would found a ring and is not to, by the start of that name.
func (w *world) stalls(h *host) bool {
	if w.cfg.Start != "founders-stalled" || len(w.ring) > 0 || h.view.Phase != protocol.Bootstrapping || h.m.State().Founder != h.m.Self() {
		return false
	}
	return !slices.ContainsFunc(w.hosts, func(g *host) bool { return g.client == nil && g.id < h.id })
}

// foundAt are the addresses given to members that found together: of a load balancer, or
// of the first of them. An operator adds some to those that nobody has answered at.
func (w *world) foundAt(h *host) []string {
	if w.cfg.Start != "founders-listed" {
		return []string{vip}
	}
	var out []string
	for _, g := range w.hosts[:min(w.cfg.Members, listed)] {
		out = append(out, g.addr)
	}
	if h.join.joins > 1 {
		out = append(out, w.contacts(h)...)
	}
	return out
}

// beginFounding calls JoinOrCreate after a while.
func (w *world) beginFounding(h *host, in time.Duration) {
	h.join.via, h.join.found, h.join.met = w.foundAt(h), foundAfter, map[ring.Member]time.Duration{}
	w.regroup = true
	w.queue.Push(w.now+in, event{kind: evJoin, host: h.index, gen: h.starts})
	if w.cfg.Start == "founders-listed" {
		w.queue.Push(w.now+in+joinLimit, event{kind: evJoinLimit, host: h.index, slot: int32(h.join.joins), gen: h.starts})
	}
}

// addressesGiven is how many addresses of members a program is given.
const addressesGiven = 3

// contacts are some addresses of members.
func (w *world) contacts(h *host) []string {
	if len(w.ring) == 0 {
		return nil
	}
	var out []string
	for range addressesGiven {
		if g := w.hosts[w.ring[w.load.IntN(len(w.ring))]]; g != h {
			out = append(out, g.addr)
		}
	}
	return out
}

func (w *world) tryJoin(h *host) {
	if h.view.Phase != protocol.Outside {
		return
	}
	if len(h.join.via) == 0 {
		h.join.via = w.contacts(h) // another may have founded one just now
	}
	if len(h.join.via) == 0 {
		// Nobody lives who could be joined: found a ring.
		w.step(h, protocol.Create{})
		return
	}
	w.step(h, protocol.Join{Via: h.join.via, Attempt: h.join.made.Failed, Found: h.join.found, Takeover: w.cfg.Takeover})
}

func (w *world) joinDone(h *host, causes []protocol.JoinCause) {
	j := &h.join
	if causes == nil {
		j.made = protocol.Attempts{}
		if j.found == 0 {
			j.via = nil // the machine remembers whom it knows
		}
		w.count.joined++
		return
	}
	var hopeless bool
	if j.made, hopeless = j.made.Fail(causes, protocol.Newcomer{Self: h.m.Self()}, w.now); hopeless {
		w.story.add(w, "%s at %s: join refused: %v", h.name, h.addr, causes[len(causes)-1].Refusal.Reason)
		if h != h.first() && w.borne(h) {
			w.joinsAgain(h)
			return
		}
		if w.borne(h) {
			// Join has said so, and the program that called it ends.
			w.queue.Push(w.now, event{kind: evStop, host: h.index, gen: h.starts})
			h.leaving = true
			return
		}
		w.queue.Push(w.now+joinAgain, event{kind: evJoinLimit, host: h.index, slot: int32(j.joins), gen: h.starts})
		return
	}
	w.queue.Push(w.now+j.made.Pause(w.load.Float64()), event{kind: evJoin, host: h.index, gen: h.starts})
}

// joinTimeUp ends a Join that is still open, and begins another.
func (w *world) joinTimeUp(h *host, which int) {
	if h.join.joins != which || h.view.Phase.InRing() || h.view.Phase == protocol.Superseded {
		return
	}
	w.step(h, protocol.GiveUp{})
	w.beginJoin(h)
}

// borne reports whether another process lives that bears the name of h.
func (w *world) borne(h *host) bool {
	for i := w.at(h.id); i < len(w.ring) && w.hosts[w.ring[i]].id == h.id; i++ {
		if w.ring[i] != h.index {
			return true
		}
	}
	return false
}

// balance draws the process that a question to the load balancer goes to.
func (w *world) balance() int32 {
	n := 0
	for _, h := range w.hosts {
		if h.up && h.client == nil {
			n++
		}
	}
	if n == 0 {
		return -1
	}
	k := w.net.rng.IntN(n)
	for _, h := range w.hosts {
		if h.up && h.client == nil {
			if k == 0 {
				return h.index
			}
			k--
		}
	}
	return -1
}

// looked notes that another member that looks for a ring has answered h.
func (w *world) looked(h *host, c *call) {
	if st := c.reply.State; h.join.met != nil && c.request.Kind == protocol.Look && st.Phase == protocol.Bootstrapping && st.Self.Addr == c.addr {
		h.join.met[st.Self] = w.now
	}
}

// founded holds what h has done just now against the rule of founders.
func (w *world) founded(h *host) {
	met := h.join.met
	f := invariant.Founding{By: h.m.Self(), At: w.now, Heard: func(x ring.Member) (time.Duration, bool) {
		at, ever := met[x]
		return at, ever
	}}
	w.story.add(w, "%s has founded a ring", h.name)
	for _, before := range w.foundings {
		if g := w.hosts[number(before.By.Addr)]; !g.up || g.m.Self() != before.By {
			continue // a refusal has told that it is gone
		}
		if broken := invariant.OneFounder.Broken(before, f); broken != "" {
			w.violate(invariant.OneFounder.Name, broken)
		}
	}
	w.foundings = append(w.foundings, f)
}
