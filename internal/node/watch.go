package node

import (
	"context"
	"iter"
	"slices"
	"time"

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
	Back    time.Time   // when From, which has left, is to be back; zero: it has not said so
	Ends    time.Time   // when the lease ends that was not renewed; zero: no news of that
	// Least is what it has held all the time since, and Most all that it has held at
	// any time since.
	Least, Most        ring.Arc
	HasLeast, EverHeld bool
	// Others: of what it has held before and holds again, another process may have held
	// some in between. Without it, only other identifiers of its own process have.
	Others bool
}

// GivenUp reports whether the process stands at the identifier no longer.
func (h Holding) GivenUp() bool { return h.Cause == protocol.CauseGivenUp }

// settled is h without a past.
func (h Holding) settled() Holding {
	h.From, h.Least, h.Most, h.HasLeast, h.EverHeld = ring.Member{}, h.Arc, h.Arc, h.Has, h.Has
	h.Back, h.Ends, h.Others = time.Time{}, time.Time{}, false
	return h
}

// gained reports whether it has gained anything since.
func (h Holding) gained() bool {
	return h.Has && (!h.HasLeast || len(h.Arc.Minus(h.Least)) > 0)
}

// then is what h becomes by a change at self. Back is the time of the change that From is to be
// back at.
func (h Holding) then(self ring.Member, e protocol.RangeChanged, pred ring.Member, back time.Time) Holding {
	now := h
	now.Arc, now.Has, now.Pred, now.Epoch, now.Cause = e.New, e.HasNew, pred, e.Epoch, e.Cause
	if e.HasNew && (e.Again || !h.Has || len(e.New.Minus(h.Arc)) > 0) {
		if !e.From.IsZero() {
			now.From = e.From
		}
		now.Back = back
		switch {
		case !h.gained():
		case back.IsZero() || h.Back.IsZero() || !e.From.SameProcess(h.From):
			now.Back = time.Time{} // it does not have all that was gained
		case h.Back.Before(back):
			now.Back = h.Back // it has left with two identifiers one after the other
		}
	}
	switch {
	case !e.HasNew || e.Again:
		now.HasLeast = false
		now.Others = h.Others || e.Cause != protocol.CauseResumed || !e.From.SameProcess(self)
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
	fresh  bool          // newest has not been given yet
	wake   chan struct{} // holds a value if newest of a watcher with it may not have been given
}

// rouse lets the watcher know that there is something newer.
func (w *watcher) rouse() {
	w.fresh = true
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// leaseEnds tells all who watch that the lease ends. Callers hold mu.
func (n *Node) leaseEnds(until time.Duration) {
	for w := range n.watchers {
		w.newest.Ends = n.start.Add(until)
		w.rouse()
	}
}

// alive clears who can hand over what was gained if that does not answer. Of one that is to
// be back, which has said that it is away, that is no news. This process is there, though one of its
// identifiers that has come and gone may have been suspected.
func (n *Node) alive(h Holding) Holding {
	if !h.Back.IsZero() || h.From.SameProcess(n.cfg.Self) {
		return h
	}
	if n.peers.suspicions().Suspected(h.From, n.now()) {
		h.From = ring.Member{}
	}
	return h
}

// hold notes what the member answers for from now on. Callers hold mu.
func (n *Node) hold(e protocol.RangeChanged) {
	old := n.holding.settled()
	var back time.Time
	if e.Back > 0 {
		back = n.start.Add(e.Back)
	}
	n.holding = old.then(n.view.Self, e, n.view.Pred, back)
	n.holding.Changes = n.changes
	n.begun = n.begun.then(n.view.Self, e, n.view.Pred, back)
	for w := range n.watchers {
		w.newest = w.newest.then(n.view.Self, e, n.view.Pred, back)
		w.newest.Changes = n.changes
		w.rouse()
	}
	if f := n.observer.Range; f != nil {
		now := n.holding
		n.news.put(func() { f(old, now) })
	}
}

// watch begins to watch, and returns what the member answers for. It is woken by wake. If this is
// news, the caller has watched since before the node began, and who can hand over what the node
// has gained is part of it.
func (n *Node) watch(wake chan struct{}, news bool) (*watcher, Holding) {
	w := &watcher{wake: wake}
	n.mu.Lock()
	defer n.mu.Unlock()
	first := n.holding
	first.HasLeast, first.EverHeld = false, false
	first.From, first.Back = ring.Member{}, time.Time{}
	if news {
		first.From, first.Back = n.begun.From, n.begun.Back
		first = n.alive(first)
	}
	w.newest = first.settled()
	n.watchers[w] = true
	return w, first
}

func (n *Node) unwatch(w *watcher) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.watchers, w)
}

// next is what the member answers for, if that is news.
func (n *Node) next(w *watcher) (Holding, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, fresh := w.newest, w.fresh
	w.newest, w.fresh = h.settled(), false
	return h, fresh
}

// Watch yields what the process answers for at each of its identifiers, and then each
// change of it, until ctx ends or the node is closed. Changes while the caller is at work on
// one are merged. An identifier that is given up ends with one that holds nothing. Of one that the
// process has taken since Watch was called, what comes first says who can hand over what it holds.
func (n *Node) Watch(ctx context.Context) iter.Seq2[*Node, Holding] {
	had := n.Nodes()
	return func(yield func(*Node, Holding) bool) {
		wake := make(chan struct{}, 1)
		var nodes []*Node
		watchers := map[*Node]*watcher{}
		defer func() {
			for x, w := range watchers {
				x.unwatch(w)
			}
		}()
		for {
			now, moved := n.nodesUntil()
			for _, x := range now {
				if watchers[x] == nil {
					var h Holding
					watchers[x], h = x.watch(wake, !slices.Contains(had, x))
					if !yield(x, h) {
						return
					}
				}
			}
			for _, x := range nodes {
				if slices.Contains(now, x) {
					continue
				}
				h, _ := x.next(watchers[x])
				x.unwatch(watchers[x])
				delete(watchers, x)
				h = h.then(x.Snapshot().Self, protocol.RangeChanged{Cause: protocol.CauseGivenUp}, ring.Member{}, time.Time{})
				h.Changes++
				if !yield(x, h) {
					return
				}
			}
			nodes = now
			for _, x := range nodes {
				if h, ok := x.next(watchers[x]); ok && !yield(x, x.alive(h)) {
					return
				}
			}
			select {
			case <-wake:
			case <-moved:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
		}
	}
}
