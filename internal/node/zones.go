package node

import (
	"context"
	"slices"
	"sync"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

// maxZones bounds the members whose zones are remembered.
const maxZones = 1 << 14

// zones is in which zone each member is, as far as heard. What a member says of itself
// counts more than what others say of it, and that more than that they know of no zone. It
// is safe for concurrent use, and empty to begin with.
type zones struct {
	mu    sync.RWMutex
	known peer.Recent[ring.Instance, zoneOf]
	some  bool // somebody is in a zone
}

type zoneOf struct {
	zone  string
	owned bool // the member itself has said it
}

// hear notes in which zone a member is; empty: in none, as far as is known.
func (z *zones) hear(x ring.Instance, zone string, itself bool) {
	z.mu.RLock()
	have, ok := z.known.Get(x)
	z.mu.RUnlock()
	if ok && (have.owned || !itself && have.zone != "" || have == zoneOf{zone, itself}) {
		return
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.known.Put(x, zoneOf{zone, itself}, maxZones)
	z.some = z.some || zone != ""
}

// of is the zone of a member, and whether anything has been heard of it. Nothing is heard
// of legacy members, which are in none.
func (z *zones) of(x ring.Member) (zone string, heard bool) {
	if x.Legacy() {
		return "", true
	}
	z.mu.RLock()
	defer z.mu.RUnlock()
	have, ok := z.known.Get(x.Run())
	return have.zone, ok
}

// ofAll has the zones of a list, nil if none of them is known to be in one.
func (z *zones) ofAll(list []ring.Member) (out []string) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	if !z.some {
		return nil
	}
	for i, x := range list {
		have, _ := z.known.Get(x.Run())
		if have.zone == "" {
			continue
		}
		if out == nil {
			out = make([]string, len(list))
		}
		out[i] = have.zone
	}
	return out
}

// hearState notes the zones that a member has told with its state.
func (z *zones) hearState(st *protocol.State) {
	if st.Self.IsZero() || st.Self.Legacy() {
		return
	}
	z.hear(st.Self.Run(), st.Zone, true)
	for i, x := range st.Succ {
		if x.Legacy() {
			continue
		}
		zone := ""
		if i < len(st.Zones) {
			zone = st.Zones[i]
		}
		z.hear(x.Run(), zone, false)
	}
}

// hearAnswer notes the zone that a member has told of an owner.
func (z *zones) hearAnswer(by ring.Member, a *routing.Answer) {
	if !a.Owner.IsZero() && !a.Owner.Legacy() {
		z.hear(a.Owner.Run(), a.Zone, a.Verdict == routing.Mine && a.Owner == by)
	}
}

// hearClaims notes the zones of the processes that claims name.
func (z *zones) hearClaims(list []ringmap.Announcement) {
	for i := range list {
		if of := list[i].Of; of != nil && list[i].Zoned && !of.Legacy() {
			z.hear(of.Run(), list[i].Zone, false)
		}
	}
}

// zonedParts is a request of this member's map with the zones of the processes that it
// names, as far as they are known and there is room. The request itself is not changed.
func (n *Node) zonedParts(req *ringmap.Request) *ringmap.Request {
	if len(req.Parts) == 0 {
		return req
	}
	out, room := req.Clone(), ringmap.MaxZoneBytes
	for i := range out.Parts {
		room = n.addZones(out.Parts[i].Claims, room)
	}
	return &out
}

// zonedClaims is the same of the claims in an answer.
func (n *Node) zonedClaims(list []ringmap.Announcement) []ringmap.Announcement {
	list = slices.Clone(list)
	n.addZones(list, ringmap.MaxZoneBytes)
	return list
}

// addZones adds zones to claims, of so many bytes, and returns how many are left.
func (n *Node) addZones(list []ringmap.Announcement, room int) int {
	for i := range list {
		a := &list[i]
		if a.Of == nil {
			continue
		}
		a.Zone, a.Zoned = n.zoneOf(*a.Of)
		if size := a.ZoneBytes(); size <= room {
			room -= size
		} else {
			a.Zone, a.Zoned = "", false
		}
	}
	return room
}

// zoned adds the zones to a state of this member that is told to others.
func (n *Node) zoned(st *protocol.State) {
	st.Zone, st.Zones = n.inZone, n.peers.zones.ofAll(st.Succ)
}

// zone is that of a member, which is asked if nothing has been heard of its zone. It is
// empty if it does not answer.
func (fd *Finder) zone(ctx context.Context, x ring.Member) string {
	zone, heard := fd.zoneOf(x)
	if heard {
		return zone
	}
	_, f := fd.askRing(ctx, x)
	fd.noteOutcome(x, f)
	zone, _ = fd.zoneOf(x)
	return zone
}

// zoneOf is the zone of a member, and whether it is known or something has been heard of it.
func (fd *Finder) zoneOf(x ring.Member) (zone string, heard bool) {
	if x.Run() == fd.snap.Load().Self.Run() {
		return fd.inZone, true
	}
	return fd.peers.zones.of(x)
}
