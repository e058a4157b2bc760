package sim

import (
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
)

// What hostile members do to the maps of others. Claims carry no proof, so that a map may
// name a wrong owner as long as somebody lies about it; what is asked for is that nothing
// else is harmed by it, and that the maps are those of the ring when the liars have gone.

// besieged reports whether there are hostile members, or what they have said may still be on
// maps.
func (w *world) besieged() bool { return w.liars != nil && !w.siege.over }

// sayOfMaps sends something about the map to x.
func (w *world) sayOfMaps(h *host, f *fault, x ring.Member) {
	r := ringmap.Request{Kind: ringmap.Push, Beat: w.falseBeat(h)}
	switch {
	case h.ringMap == nil:
		return
	case f.lie == FalseClaims:
		r.Beat = h.hostile.beat
		part := ringmap.Part{To: x.Process()} // x passes them on to nobody
		if w.mal.IntN(2) == 0 {
			part.To = w.anyHome()
		}
		part.Claims = w.falseClaims(h, x, 1+w.mal.IntN(4))
		r.Parts = append(r.Parts, part)
	case w.mal.IntN(2) == 0:
		r = ringmap.Request{Kind: ringmap.Ask, Beat: w.falseBeat(h), From: w.anyHome(), To: w.anyHome(), Sum: w.mal.Uint64(), Level: uint8(w.mal.IntN(8))}
	case w.mal.IntN(2) == 0:
		r = ringmap.Request{Kind: ringmap.Compare, Beat: w.falseBeat(h), From: w.anyHome(), To: w.anyHome(), Hashes: []uint32{w.mal.Uint32()}}
	}
	i, c := w.openCall()
	c.ofMap, c.posed, c.sender = true, true, h.self()
	c.mapRequest = r
	c.from, c.starts = h.index, h.starts
	w.count.lies++
	w.send(h, i, x, h.estimate(number(x.Addr)).Timeout(0))
}

// posesMap changes what the map of a hostile member sends.
func (w *world) posesMap(h *host, c *call) {
	h.hostile.beat = c.mapRequest.Beat
	for _, f := range h.hostile.acts {
		if f.lie == FalseMaps && w.mal.Float64() < f.level {
			c.mapRequest.Beat = w.falseBeat(h)
			c.mapRequest.Sum ^= w.mal.Uint64()
		}
	}
}

// falseMap changes the answer to a request of a map.
func (w *world) falseMap(h *host, f *fault, c *call) {
	r := &c.mapReply
	switch f.lie {
	case FalseClaims:
		r.Claims = append(w.falseClaims(h, w.whoIs(c.from), 1+w.mal.IntN(3)), r.Claims...)
	case FalseMaps:
		r.Beat = w.falseBeat(h)
		switch w.mal.IntN(3) {
		case 0: // it is certain of all
			*r = ringmap.Reply{Beat: r.Beat, Same: true, Aged: true}
		case 1: // nothing is as the asker has it
			*r = ringmap.Reply{Beat: r.Beat}
			for range 1 + w.mal.IntN(16) {
				r.Stretches = append(r.Stretches, ringmap.Stretch{To: w.anyHome(), Sum: w.mal.Uint32()})
			}
		case 2:
			r.Age, r.Through, r.Aged = time.Duration(w.mal.Uint64()>>30), w.anyHome(), true
			r.Lacks, r.Skip = []uint16{uint16(w.mal.IntN(64)), uint16(w.mal.IntN(1 << 16))}, w.mal.Uint32()>>w.mal.IntN(32)
		}
	}
}

// falseBeat is the number of a sweep that has not begun.
func (w *world) falseBeat(h *host) uint32 {
	return h.hostile.beat + w.mal.Uint32()>>w.mal.IntN(32)
}

// anyHome is where some process stands, or none.
func (w *world) anyHome() uint64 {
	if w.mal.IntN(4) == 0 {
		return w.mal.Uint64()
	}
	return w.hosts[w.ring[w.mal.IntN(len(w.ring))]].self().Process()
}

// falseClaims are claims that nobody has made: of the arc of a hostile member, of another's,
// and of members that never were. Their epochs are greater than what is there by a little, or
// by as much as is believed.
func (w *world) falseClaims(h *host, to ring.Member, n int) []ringmap.Announcement {
	out := make([]ringmap.Announcement, 0, n)
	for range n {
		y := w.hosts[w.ring[w.mal.IntN(len(w.ring))]]
		who, epoch, after := y.self(), y.view.Epoch, y.view.Arc.After
		switch w.mal.IntN(4) {
		case 0:
			who = h.self()
		case 1:
			who = w.ghost(h, who.ID-(who.ID-after)>>(1+w.mal.IntN(8)))
		case 2:
			who.Incarnation = w.otherIncarnation(who.Incarnation)
		}
		switch w.mal.IntN(3) {
		case 0:
			after = who.ID - w.mal.Uint64()>>w.mal.IntN(64)
		case 1:
			after = who.ID // the whole circle
		}
		out = append(out, ringmap.Announcement{ID: who.ID, After: after, Epoch: w.falseEpoch(epoch), Incarnation: who.Incarnation, Of: &who})
	}
	return out
}

// falseEpoch is an epoch that is not greater than another, or by a little, or by as much as is
// believed, or by more.
func (w *world) falseEpoch(at uint64) uint64 {
	switch w.mal.IntN(4) {
	case 0:
		at++
	case 1:
		at += w.mal.Uint64() >> 34
	case 2:
		at += w.mal.Uint64() >> w.mal.IntN(64)
	}
	return min(at, protocol.MaxEpoch)
}
