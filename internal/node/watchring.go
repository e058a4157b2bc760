package node

import (
	"context"
	"iter"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
)

// RingChange is one member whose arc has changed on the map.
type RingChange struct {
	Who      ring.Member
	Old, Now ring.Arc
	Had, Has bool // Old, Now have a meaning
}

// WatchRing yields the members on the map of the ring with their arcs, and then each
// change of it, until ctx ends or the node is closed. Changes while the caller is at work
// on one are merged. While the member is in no ring the map is empty; so may the first be.
func (n *Node) WatchRing(ctx context.Context) iter.Seq[[]RingChange] {
	return func(yield func([]RingChange) bool) {
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		n.mu.Lock()
		n.ringWatchers[wake] = true
		n.mu.Unlock()
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.ringWatchers, wake)
		}()
		first := true
		for last := new(ringmap.Snapshot); ; {
			select {
			case <-wake:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
			if ctx.Err() != nil || n.ctx.Err() != nil {
				return
			}
			now := n.chart.Load()
			if now == nil {
				now = last // nothing has happened to the member yet
			}
			if list := ringChanges(last, now); (first || len(list) > 0) && !yield(list) {
				return
			}
			last, first = now, false
		}
	}
}

// ringChanges are the members that have another arc in now, or have come or gone.
func ringChanges(last, now *ringmap.Snapshot) (out []RingChange) {
	for c := range ringmap.Changes(last, now) {
		if c.Old != nil && c.New != nil && c.Old.Owner() != c.New.Owner() {
			// Another process stands there now.
			out = append(out, ringChange(ringmap.Change{Old: c.Old}))
			c.Old = nil
		}
		if c.Old == nil || c.New == nil || c.Old.Arc() != c.New.Arc() {
			out = append(out, ringChange(c))
		}
	}
	return out
}

func ringChange(c ringmap.Change) (out RingChange) {
	if c.Old != nil {
		out.Who, out.Old, out.Had = c.Old.Owner(), c.Old.Arc(), true
	}
	if c.New != nil {
		out.Who, out.Now, out.Has = c.New.Owner(), c.New.Arc(), true
	}
	return out
}
