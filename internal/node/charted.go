package node

import (
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
	claims := s.Circle(now, most)
	if len(claims) == 0 || claims[0].Owner() != t.Self || !t.HasArc || claims[0].After != t.Arc.After {
		return nil, false
	}
	members := make([]ring.Member, len(claims))
	for i, c := range claims {
		members[i] = c.Owner()
		if c.Of.Choice.Several() || !n.nameable(c, now) {
			return nil, false
		}
	}
	for i, x := range members {
		m := Met{Who: x, State: protocol.State{Self: x, Phase: protocol.Joined}}
		if m.State.Zone, ok = n.zoneOf(x); !ok {
			return nil, false
		}
		if k := len(members); k > 1 {
			m.State.Pred = members[(i+k-1)%k]
			for j := 1; j < k && j <= n.cfg.Successors; j++ {
				m.State.Succ = append(m.State.Succ, members[(i+j)%k])
			}
		}
		all = append(all, m)
	}
	return all, true
}
