package node

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Charted is what Walk yields in an ideal ring, from the map of the ring and without a
// request. It is not ok if the map is not certain of the whole ring at the age that the
// options allow: everybody is to be asked then.
func (n *Node) Charted(opts routing.Options) (all []Met, ok bool) {
	s, t := n.chart.Load(), n.Snapshot().Table
	if opts.Fresh || opts.Cold || s == nil || t == nil || n.ctx.Err() != nil {
		return nil, false
	}
	most := time.Duration(n.promised.Load())
	if opts.MaxAge > 0 {
		most = min(most, opts.MaxAge)
	}
	now := n.now()
	claims := s.Circle(t.Self.ID, now, most)
	if len(claims) == 0 || claims[0].Owner() != t.Self || !t.HasArc || claims[0].After != t.Arc.After {
		return nil, false
	}
	members := make([]ring.Member, len(claims))
	for i, c := range claims {
		members[i] = c.Owner()
		if !n.nameable(c, now) {
			return nil, false
		}
	}
	k := len(members)
	circle := slices.Concat(members, members)
	for i, x := range members {
		m := Met{Who: x, State: protocol.State{Self: x, Phase: protocol.Joined}}
		if m.State.Zone, ok = n.zoneOf(x); !ok {
			return nil, false
		}
		if k > 1 {
			m.State.Pred = circle[i+k-1]
			m.State.Succ = protocol.Cut(x, n.cfg.Successors, circle[i+1:i+k])
		}
		all = append(all, m)
	}
	return all, true
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
