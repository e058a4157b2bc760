package node

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

// ReplicaSet is an arc and the members that are to have its keys, the owner first.
type ReplicaSet struct {
	Arc ring.Arc
	Who []ring.Member
}

// WatchReplicas yields the arcs that this member is to have the keys of as one of n, as
// routing.Replicas chooses on the map of the ring, and all of them again when they have
// changed, until ctx ends or the node is closed.
func (n *Node) WatchReplicas(ctx context.Context, of int) iter.Seq[[]ReplicaSet] {
	return func(yield func([]ReplicaSet) bool) {
		wake := n.charts.add()
		defer n.charts.remove(wake)
		// Zones are heard of apart from the map.
		zones := time.NewTicker(n.cfg.Interval)
		defer zones.Stop()
		var last []ReplicaSet
		for first := true; ; first = false {
			now := n.replicas(of)
			if same := slices.EqualFunc(last, now, ReplicaSet.equal); (first || !same) && !yield(now) {
				return
			}
			last = now
			select {
			case <-wake:
			case <-zones.C:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
			if ctx.Err() != nil || n.ctx.Err() != nil {
				return
			}
		}
	}
}

func (s ReplicaSet) equal(o ReplicaSet) bool { return s.Arc == o.Arc && slices.Equal(s.Who, o.Who) }

// replicas are the arcs of which this member is one of those that are to have the keys.
func (n *Node) replicas(of int) (out []ReplicaSet) {
	m := n.chart.Load()
	if m == nil || of < 1 {
		return nil
	}
	var all []ringmap.Claim
	for c := range m.All() {
		if c.Of != nil && c.Of.Incarnation != 0 {
			all = append(all, c)
		}
	}
	self := n.Snapshot().Self
	mine := func(c ringmap.Claim) bool { return c.Owner().Name == self.Name }
	seen := make([]bool, len(all))
	for i := range all {
		if !mine(all[i]) {
			continue
		}
		// The owners before this place that may choose it.
		processes := map[string]bool{}
		for back, k := 0, i; back < len(all); back, k = back+1, (k+len(all)-1)%len(all) {
			if processes[all[k].Owner().Name] = true; len(processes) > routing.ReplicaReach(of) {
				break
			}
			if seen[k] {
				continue
			}
			seen[k] = true
			if who := n.replicasOf(all, k, of); slices.ContainsFunc(who, func(x ring.Member) bool { return x.Name == self.Name }) {
				before := all[(k+len(all)-1)%len(all)].ID
				out = append(out, ReplicaSet{ring.Arc{After: before, To: all[k].ID}, who})
			}
		}
	}
	slices.SortFunc(out, func(a, b ReplicaSet) int { // clockwise, those of this member last
		return cmp.Compare(a.Arc.To-self.ID-1, b.Arc.To-self.ID-1)
	})
	return out
}

// replicasOf are the members that are to have the keys of which claim k is the owner's.
func (n *Node) replicasOf(all []ringmap.Claim, k, of int) []ring.Member {
	chosen := routing.NewReplicas(of)
	for i := range all {
		x := all[(k+i)%len(all)].Owner()
		zone, _ := n.zoneOf(x)
		if chosen.Add(x, zone) {
			break
		}
	}
	return chosen.Members()
}
