package node

import (
	"context"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

// charted is what a walk yields in an ideal ring, from the map of the ring and without a
// request. It is not ok if everybody is to be asked: the map is not certain of the whole ring
// at the age that the options allow.
func (n *Node) charted(opts routing.Options) (all []Met, ok bool) {
	t := n.Snapshot().Table
	if t == nil || n.ctx.Err() != nil {
		return nil, false
	}
	claims := n.wholeCircle(t.Self.ID, opts)
	if len(claims) == 0 || claims[0].Owner() != t.Self || !t.HasArc || claims[0].After != t.Arc.After {
		return nil, false
	}
	return n.metOn(claims, n.cfg.Successors)
}

// charted is the same by what the client has of the map of a member, and by how many successors
// that member keeps. The owners that have not confirmed yet to the client what they claim are
// asked for it, and then those that come.
func (c *Client) charted(ctx context.Context, opts routing.Options) (all []Met, ok bool) {
	if opts.Fresh || opts.Cold {
		return nil, false
	}
	c.useMap()
	c.sub.mu.Lock()
	successors := c.sub.copy.Successors()
	c.sub.mu.Unlock()
	s := c.chart.Load()
	if s == nil || successors == 0 || c.ctx.Err() != nil {
		return nil, false
	}
	if ids := s.Unconfirmed(c.now(), c.oldest(opts.MaxAge)); len(ids) > 0 {
		c.LookupAll(ctx, ids, routing.Options{Fresh: true})
	}
	c.mu.Lock()
	contacts := c.contacts.List()
	c.mu.Unlock()
	var from uint64
	if len(contacts) > 0 {
		from = contacts[0].ID
	}
	return c.metOn(c.wholeCircle(from, opts), successors)
}

// oldest is how old what the map answers may be, if the caller says age; 0: it says nothing.
func (fd *Finder) oldest(age time.Duration) time.Duration {
	most := time.Duration(fd.promised.Load())
	if age > 0 {
		most = min(most, age)
	}
	return most
}

// wholeCircle is the claims of the circle from that of an identifier, nil if the map may not
// name all of their owners.
func (fd *Finder) wholeCircle(from uint64, opts routing.Options) []*ringmap.Claim {
	s := fd.chart.Load()
	if opts.Fresh || opts.Cold || s == nil {
		return nil
	}
	now := fd.now()
	claims := s.Circle(from, now, fd.oldest(opts.MaxAge))
	for _, c := range claims {
		if !fd.nameable(c, now) {
			return nil
		}
	}
	return claims
}

// metOn is what a walk yields of those who claim the whole circle, if each has so many successors.
// It is not ok if there are none, or the zone of one is not known.
func (fd *Finder) metOn(claims []*ringmap.Claim, successors int) (all []Met, ok bool) {
	k := len(claims)
	members := make([]ring.Member, k)
	for i, c := range claims {
		members[i] = c.Owner()
	}
	circle := slices.Concat(members, members)
	for i, x := range members {
		m := Met{Who: x, State: protocol.State{Self: x, Phase: protocol.Joined}}
		if m.State.Zone, ok = fd.zoneOf(x); !ok {
			return nil, false
		}
		if k > 1 {
			m.State.Pred = circle[i+k-1]
			m.State.Succ = protocol.Cut(x, successors, circle[i+1:i+k])
		}
		all = append(all, m)
	}
	return all, k > 0
}

// Size is the number of processes in the ring. It is exact if the map is certain, and
// otherwise estimated from the density of the first member's successor list, as if all
// processes stood at as many identifiers as this one. Of an isolated member it is those
// that it knows to live. It is 0 outside a ring.
func (n *Node) Size() int {
	snap := n.Snapshot()
	t, v := snap.Table, snap.View
	if t == nil && !v.Isolated {
		return 0
	}
	names := map[string]bool{v.Self.Name: true}
	if chart := n.chart.Load(); chart != nil && t != nil {
		circle := chart.Circle(v.Self.ID, n.now(), time.Duration(n.promised.Load()))
		for _, c := range circle {
			names[c.Of.Name] = true
		}
		if len(circle) > 0 {
			return len(names)
		}
	}
	for _, x := range v.Succ {
		names[x.Name] = true
	}
	if t == nil {
		return len(names)
	}
	stood := len(n.Nodes())
	return max(len(names), (t.Size()+stood/2)/stood)
}
