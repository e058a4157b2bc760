package node

import (
	"context"
	"iter"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Holding is what a member answers for at one time, and what it has answered for since
// another time. All arcs of a member end at its identifier, so that of two one holds
// the other.
type Holding struct {
	Arc     ring.Arc
	Has     bool        // false: nothing, Arc is meaningless
	Pred    ring.Member // who stands before the arc; zero in a ring of one
	Epoch   uint64      // by which it claims the arc
	Cause   protocol.Cause
	From    ring.Member // who can hand over what was gained since; zero: nobody is known to
	Changes uint64      // so far, as in the Snapshot
	// Least is what it has held all the time since, and Most all that it has held at
	// any time since.
	Least, Most        ring.Arc
	HasLeast, EverHeld bool
}

// settled is h without a past.
func (h Holding) settled() Holding {
	h.From, h.Least, h.Most, h.HasLeast, h.EverHeld = ring.Member{}, h.Arc, h.Arc, h.Has, h.Has
	return h
}

// then is what h becomes by a change.
func (h Holding) then(e protocol.RangeChanged, pred ring.Member) Holding {
	now := h
	now.Arc, now.Has, now.Pred, now.Epoch, now.Cause = e.New, e.HasNew, pred, e.Epoch, e.Cause
	if e.HasNew && (e.Again || !h.Has || len(e.New.Minus(h.Arc)) > 0) && !e.From.IsZero() {
		now.From = e.From
	}
	switch {
	case !e.HasNew || e.Again:
		now.HasLeast = false
	case h.HasLeast && len(h.Least.Minus(e.New)) > 0:
		now.Least = e.New
	}
	if e.HasNew && (!h.EverHeld || len(e.New.Minus(h.Most)) > 0) {
		now.Most, now.EverHeld = e.New, true
	}
	return now
}

// watcher is one that watches: the newest holding, with the past since the one that
// it was given last.
type watcher struct {
	newest Holding
	wake   chan struct{} // holds a value if newest has not been given yet
}

// hold notes what the member answers for from now on. Callers hold mu.
func (n *Node) hold(e protocol.RangeChanged) {
	old := n.holding.settled()
	n.holding = old.then(e, n.view.Pred)
	n.holding.Changes = n.changes
	for w := range n.watchers {
		w.newest = w.newest.then(e, n.view.Pred)
		w.newest.Changes = n.changes
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	if f := n.observer.Range; f != nil {
		now := n.holding
		n.news.put(func() { f(old, now) })
	}
}

// Watch yields what the member answers for, and then each change of it, until ctx
// ends or the node is closed. Changes while the caller is at work on one are merged.
func (n *Node) Watch(ctx context.Context) iter.Seq[Holding] {
	return func(yield func(Holding) bool) {
		w := &watcher{wake: make(chan struct{}, 1)}
		n.mu.Lock()
		first := n.holding
		first.HasLeast, first.EverHeld = false, false
		w.newest = first.settled()
		n.watchers[w] = true
		n.mu.Unlock()
		defer func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.watchers, w)
		}()
		for h := first; ; {
			if !yield(h) {
				return
			}
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
			n.mu.Lock()
			h = w.newest
			w.newest = h.settled()
			n.mu.Unlock()
		}
	}
}
