package node

import (
	"context"
	"iter"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Holding is what a member answers for at one time.
type Holding struct {
	Arc   ring.Arc
	Has   bool        // false: nothing, Arc is meaningless
	Pred  ring.Member // who stands before the arc; zero in a ring of one
	Cause protocol.Cause
	next  chan struct{} // closed when there is a newer one
}

// hold notes what the member answers for from now on. Callers hold mu.
func (n *Node) hold(e protocol.RangeChanged) {
	h := &Holding{Arc: e.New, Has: e.HasNew, Pred: n.view.Pred, Cause: e.Cause, next: make(chan struct{})}
	old := n.holding.Swap(h)
	close(old.next)
	if f := n.observer.Range; f != nil {
		n.news.put(func() { f(*old, *h) })
	}
}

// Watch yields what the member answers for, and then each change of it, until ctx
// ends or the node is closed. Changes while the caller is at work on one are
// merged: the newest is next.
func (n *Node) Watch(ctx context.Context) iter.Seq[Holding] {
	return func(yield func(Holding) bool) {
		for {
			h := n.holding.Load()
			if !yield(*h) {
				return
			}
			select {
			case <-h.next:
			case <-ctx.Done():
				return
			case <-n.ctx.Done():
				return
			}
		}
	}
}
