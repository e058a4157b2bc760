package sim

import (
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Fingers, as in internal/node, fingers.go.

const (
	fingerRounds   = 4
	fingerPatience = 3
	maxFollowers   = 4
)

// tending is where a host stands in looking its fingers up.
type tending struct {
	version uint64
	waited  int
	joined  bool // has looked all of them up
	all     bool // does so now
	busy    bool // with a finger, or with telling others
}

// appendFingers appends the members of the fingers, one more than once if it stands
// more than once among them.
func appendFingers(out []ring.Member, f *routing.Fingers) []ring.Member {
	for _, x := range f.Distinct() {
		out = append(out, x.Member)
	}
	return out
}

// tendFingers takes a host's turn.
func (w *world) tendFingers(h *host) {
	t := &h.tending
	w.fingersLater(h)
	if t.busy || !h.view.Phase.InRing() {
		return
	}
	t.waited++
	if t.joined {
		if t.waited%fingerRounds == 0 {
			w.tendFinger(h)
		}
		return
	}
	settled := h.view.Version == t.version
	t.version = h.view.Version
	if !settled && t.waited < fingerPatience {
		return
	}
	t.joined, t.all = true, true
	w.tendFinger(h)
}

func (w *world) fingersLater(h *host) {
	w.queue.push(event{at: w.now + w.cfg.Interval, kind: evFingers, host: h.index, gen: h.life})
}

// tendFinger looks the next finger up.
func (w *world) tendFinger(h *host) {
	t := &h.tending
	t.busy = false
	if w.tableOf(h) == nil {
		t.all = false
		return
	}
	covered := ring.Arc{After: h.id, To: h.id}
	if k := len(h.view.Succ); k == w.cfg.Successors {
		covered.To = h.view.Succ[k-1].ID
	}
	had := len(h.fingers.Distinct())
	start, believed, ok := h.fingers.Next(covered)
	if !ok {
		if had != len(h.fingers.Distinct()) {
			w.renewed(h)
		}
		if t.all {
			t.all = false
			w.announce(h, routing.Starts(bits)-1)
		}
		return
	}
	t.busy = true
	r, l := w.openLookup(h, h.fingers.Start(start), peer.MaxTimeout)
	l.what, l.start, l.owner = forFinger, start, believed
	if believed.Name != "" {
		w.route(h, r, believed, routing.Query{ID: l.id}, l.end)
		return
	}
	w.search(h, l, routing.Options{Fresh: true})
	w.goOn(h, r)
}

// believed goes on after the owner believed in was asked whether it is so still.
func (w *world) believed(h *host, r ref, a *routing.Answer, f *protocol.Failure) {
	l := w.lookups[r.slot]
	if f == nil && (a.Verdict == routing.Mine || a.Owner == l.owner) {
		done := *l
		w.closeLookup(r)
		w.fingerIs(h, &done, done.owner, a.Arc)
		return
	}
	w.search(h, l, routing.Options{Fresh: true})
	w.goOn(h, r)
}

func (w *world) fingerFound(h *host, l *lookup, how outcome) {
	if how == found {
		if a := l.search.Result(); a.HasArc {
			w.fingerIs(h, l, a.Owner, a.Arc)
			return
		}
	}
	w.fingerIs(h, l, ring.Member{}, ring.Arc{})
}

// fingerIs notes the owner of a finger.
func (w *world) fingerIs(h *host, l *lookup, owner ring.Member, arc ring.Arc) {
	t := &h.tending
	h.fingers.Set(l.start, owner, arc)
	if owner.Name != "" && owner != l.owner {
		w.step(h, protocol.Learned{Members: []ring.Member{owner}}) // to find the ring by, if all else is lost
	}
	if owner != l.owner || len(h.waiting) > 0 {
		w.renewed(h)
	}
	t.busy = false
	if t.all || t.joined && h.fingers.Doubted() {
		w.tendFinger(h)
	}
}

// stray has the finger at an address looked up again.
func (w *world) stray(h *host, addr string) {
	if h.fingers.Distrust(addr) && h.tending.joined && !h.tending.busy {
		w.tendFinger(h)
	}
}

// announce tells those members of this one whose finger it has become by
// joining, from a start on.
func (w *world) announce(h *host, start int) {
	t := &h.tending
	t.busy = false
	v := h.view
	if !v.HasArc || v.Arc.Whole() || start < 0 || routing.Reach(start) < v.Arc.To-v.Arc.After {
		return
	}
	t.busy = true
	at := routing.Followers(start, v.Arc, ring.Space{Bits: bits})
	w.follower(h, start, at, at.After+1, 0)
}

// follower looks up the next member to be told.
func (w *world) follower(h *host, start int, at ring.Arc, id uint64, told int) {
	r, l := w.openLookup(h, id, peer.MaxTimeout)
	l.what, l.start, l.follow, l.told = forFollower, start, at, told
	w.search(h, l, w.lenient())
	w.goOn(h, r)
}

func (w *world) followerFound(h *host, l *lookup, how outcome) {
	if how == found {
		if x := l.search.Result().Owner; l.follow.Contains(x.ID) && x.ID != h.id {
			w.tell(h, protocol.Tell{To: x, Request: protocol.Request{Kind: protocol.Introduce, Subject: h.m.Self()}})
			if id := x.ID + 1; l.told+1 < maxFollowers && l.follow.Contains(id) {
				w.follower(h, l.start, l.follow, id, l.told+1)
				return
			}
		}
	}
	w.announce(h, l.start-1)
}

// offer makes a member that tells of itself a finger, if it is one.
func (w *world) offer(h *host, x ring.Member) {
	if h.fingers.Offer(x) {
		w.renewed(h)
	}
}
