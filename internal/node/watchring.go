package node

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
)

// RingChange is one member whose arc has changed on the map.
type RingChange struct {
	Who      ring.Member
	Zone     string // of Who, as far as known
	Old, Now ring.Arc
	Had, Has bool // Old, Now have a meaning
}

// ErrNoMap says that no member tells clients of its map.
var ErrNoMap = errors.New("no member that was asked tells clients of its map of the ring")

// wakers are channels of those who wait for something to happen. The zero wakers are none.
// It is safe for concurrent use.
type wakers struct {
	mu  sync.Mutex
	all map[chan struct{}]bool
}

// add returns a channel that holds a value once wake has been called, as it does now. It is
// to be given back by remove.
func (w *wakers) add() chan struct{} {
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[chan struct{}]bool{}
	}
	w.all[wake] = true
	return wake
}

func (w *wakers) remove(wake chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, wake)
}

func (w *wakers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for wake := range w.all {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// eachChart yields the map at once and whenever it has changed, nil while there is none,
// until ctx ends or the finder is closed.
func (fd *Finder) eachChart(ctx context.Context) iter.Seq[*ringmap.Snapshot] {
	return func(yield func(*ringmap.Snapshot) bool) {
		wake := fd.charts.add()
		defer fd.charts.remove(wake)
		for {
			select {
			case <-wake:
			case <-ctx.Done():
				return
			case <-fd.ctx.Done():
				return
			}
			if ctx.Err() != nil || fd.ctx.Err() != nil || !yield(fd.chart.Load()) {
				return
			}
		}
	}
}

// WatchRing yields the members on the map of the ring with their arcs, and then each
// change of it, until ctx ends or the node is closed. Changes while the caller is at work
// on one are merged. While the member is in no ring the map is empty; so may the first be.
func (n *Node) WatchRing(ctx context.Context) iter.Seq[[]RingChange] {
	return func(yield func([]RingChange) bool) {
		last, first := new(ringmap.Snapshot), true
		for now := range n.eachChart(ctx) {
			if now == nil {
				now = last // nothing has happened to the member yet
			}
			if list := n.ringChanges(last, now); (first || len(list) > 0) && !yield(list) {
				return
			}
			last, first = now, false
		}
	}
}

// WatchRing yields the members on the map of the ring with their arcs, as soon as a member
// has told all of it, and then each change, until ctx ends or the client is closed, whose
// error is the last. It is ErrNoMap if no member tells clients of its map.
func (c *Client) WatchRing(ctx context.Context) iter.Seq2[[]RingChange, error] {
	return func(yield func([]RingChange, error) bool) {
		defer c.watch()()
		last, first := new(ringmap.Snapshot), true
		for now := range c.eachChart(ctx) {
			if first {
				current, none := c.mapped()
				switch {
				case none:
					yield(nil, ErrNoMap)
					return
				case !current:
					continue
				}
				now = c.chart.Load() // it may have come after the one that eachChart has yielded
			}
			if list := c.ringChanges(last, now); (first || len(list) > 0) && !yield(list, nil) {
				return
			}
			last, first = now, false
		}
		if err := ctx.Err(); err != nil && c.ctx.Err() == nil {
			yield(nil, err)
		} else if c.ctx.Err() != nil {
			yield(nil, ErrClosed)
		}
	}
}

// ringChanges are the members that have another arc in now, or have come or gone.
func (fd *Finder) ringChanges(last, now *ringmap.Snapshot) (out []RingChange) {
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
	for i := range out {
		out[i].Zone, _ = fd.zoneOf(out[i].Who)
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
