package sim

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// client is what a host keeps that is no member: it looks keys up, remembers owners,
// and asks for a way into the ring when its lookups are stuck, as node.Client does.
type client struct {
	contacts routing.Contacts
	addrs    []string // of members, given once
	made     protocol.Attempts
	dialing  bool                 // nobody has answered from within a ring yet
	looking  bool                 // for the ring, since lookups are stuck
	turn     int                  // where the next turn of asking begins
	asking   []ring.Member        // who has not answered yet
	causes   []protocol.JoinCause // of those that have failed in this attempt to dial
}

// addClients adds the clients of a run. Each is given addresses of some members.
func (w *world) addClients() {
	for range w.cfg.Clients {
		h := w.hashed()
		h.up, h.starts, h.stale = true, 1, true
		k := &client{dialing: true}
		for range addressesGiven {
			if addr := w.hosts[w.load.IntN(w.cfg.Members)].addr; !slices.Contains(k.addrs, addr) {
				k.addrs = append(k.addrs, addr)
			}
		}
		h.client = k
		w.clients = append(w.clients, h.index)
		w.queue.Push(w.now, event{kind: evSeek, host: h.index, gen: h.starts})
	}
}

// stuck has a client whose lookup has nobody left to ask look for the ring.
func (w *world) stuck(h *host) {
	if k := h.client; !k.looking && !k.dialing {
		k.looking, k.made, k.turn = true, protocol.Attempts{}, 0
		w.seek(h)
	}
}

// seek takes a client's next turn to ask for a way into the ring.
func (w *world) seek(h *host) {
	k := h.client
	if k.dialing {
		k.causes = nil
		w.askForRing(h, routing.Contacts{}.Everybody(nil, k.addrs))
		return
	}
	if k.made.Failed > 0 && len(h.waiting) == 0 {
		k.looking = false
		return
	}
	var ask []ring.Member
	ask, k.turn = routing.Turn(k.contacts.Everybody(h.arcs, k.addrs), k.turn, len(k.asking), func(x ring.Member) bool {
		return slices.Contains(k.asking, x)
	})
	w.askForRing(h, ask)
	k.made = k.made.Repeat()
	w.seekLater(h)
}

func (w *world) seekLater(h *host) {
	w.queue.Push(w.now+h.client.made.Pause(w.load.Float64()), event{kind: evSeek, host: h.index, gen: h.starts})
}

// askForRing asks members for their ring.
func (w *world) askForRing(h *host, whom []ring.Member) {
	h.client.asking = append(h.client.asking, whom...)
	for _, x := range whom {
		w.ask(h, protocol.Ask{To: x, Attempt: h.client.made.Failed, Request: protocol.Request{Kind: protocol.AskRing}})
	}
}

// askedForRing takes what became of a client's question for the ring.
func (w *world) askedForRing(h *host, x ring.Member, st protocol.State, f *protocol.Failure) {
	k := h.client
	if !slices.Contains(k.asking, x) {
		return // the first answer to a dial ends the other questions
	}
	k.asking = slices.DeleteFunc(k.asking, func(y ring.Member) bool { return y == x })
	if x.Name != "" {
		w.noteOutcome(h, x, f)
	}
	if f == nil && !st.Phase.InRing() {
		f = &protocol.Failure{Kind: protocol.NotJoined, By: st.Self, Detail: st.Phase.String()}
	}
	if f == nil {
		k.contacts = k.contacts.Meet(st.Self, st.Pred, st.Succ, h.suspects, w.now)
		if k.dialing {
			k.dialing, k.asking = false, nil
		}
		w.renewed(h)
		return
	}
	if !k.dialing {
		return
	}
	if k.causes = append(k.causes, protocol.JoinCause{At: x, Failure: f}); len(k.asking) > 0 {
		return
	}
	// All are of one kind of ring, so that it is never hopeless.
	k.made, _ = k.made.Fail(k.causes, protocol.Newcomer{}, w.now)
	w.seekLater(h)
}

// goneFrom drops the contact of a client that is known not to be at an address.
func (w *world) goneFrom(h *host, addr string, who ring.Member) {
	var forgotten bool
	if h.client.contacts, forgotten = h.client.contacts.Forget(addr, who); forgotten {
		w.renewed(h)
	}
}

// wayIn reports whether a member is at one of the addresses that a client was given.
func (w *world) wayIn(k *client) bool {
	return slices.ContainsFunc(k.addrs, func(addr string) bool {
		h := w.hosts[number(addr)]
		return h.up && h.view.Serves()
	})
}

// interval is the length of a round as far as h knows: a client is told of none.
func (w *world) interval(h *host) time.Duration {
	if h.client != nil {
		return routing.MaxLease
	}
	return w.cfg.Interval
}

// self is the member at h, the zero Member if that is a client.
func (h *host) self() ring.Member {
	if h.client != nil {
		return ring.Member{}
	}
	return h.view.Self
}
