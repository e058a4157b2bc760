package node

import (
	"context"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// tendFingers runs the errands of the fingers: at each interval, and when one may be
// gone. Which there are, routing.Fingers decides. If a round begins at about that time, that
// begins one of the fingers, too: a process that is woken less often needs less.
func (n *Node) tendFingers() {
	defer n.tended.Stop()
	var soon <-chan time.Time // nil: no errand is due before that
	for {
		select {
		case <-n.tended.C:
			n.tendRound()
		case <-n.errands:
		case <-n.strayed:
			if soon == nil {
				soon = time.After(routing.ErrandPause(n.cfg.Interval))
			}
			continue
		case <-soon:
			soon = nil
		case <-n.ctx.Done():
			return
		}
		for n.ctx.Err() == nil && n.tendFinger() {
		}
	}
}

// paceFingers begins a round of the fingers with one of the member, if it is about time. Its
// errands are run elsewhere, if there are any.
func (n *Node) paceFingers() {
	if n.now() < time.Duration(n.tendAt.Load())-n.tendSlack() {
		return
	}
	n.tendRound()
	if _, ok := n.nextErrand(); ok {
		select {
		case n.errands <- struct{}{}:
		default:
		}
	}
}

// tendSlack is by how much a round of the fingers may be early or late.
func (n *Node) tendSlack() time.Duration { return n.cfg.Interval / 8 }

// tendLater has the next round of the fingers begin in an interval, or a little later.
func (n *Node) tendLater() {
	n.tendAt.Store(int64(n.now() + n.cfg.Interval))
	n.tended.Reset(n.cfg.Interval + n.tendSlack())
}

// tendRound begins a round of the fingers.
func (n *Node) tendRound() {
	n.tendLater()
	snap := n.Snapshot()
	if snap.Table == nil {
		return
	}
	n.mu.Lock()
	n.fingers.Round(snap.View.Version)
	n.mu.Unlock()
	if k, ok := n.chartedConnections(snap.Table); ok {
		n.keepMore(k)
	}
}

// nextErrand is the next errand. It reports false if there is none.
func (n *Node) nextErrand() (routing.Errand, bool) {
	table := n.Snapshot().Table
	n.mu.Lock()
	defer n.mu.Unlock()
	had := n.fingers.Distinct()
	e, ok := n.fingers.Errand(table)
	if !slices.Equal(had, n.fingers.Distinct()) {
		n.rebuild()
	}
	return e, ok
}

// tendFinger does the next errand. It reports false if there is none.
func (n *Node) tendFinger() bool {
	e, ok := n.nextErrand()
	if !ok {
		return false
	}
	a := n.runErrand(e)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped() {
		return false
	}
	had := n.fingers.Distinct()
	owner, news := n.fingers.Found(n.snap.Load().Table, e, a)
	if e.Announce {
		if !owner.IsZero() {
			n.tell(protocol.Tell{To: owner, Request: protocol.Request{Kind: protocol.Introduce, Subject: n.machine.Self()}})
		}
		return true
	}
	if news {
		n.stepLocked(protocol.Learned{Members: []ring.Member{owner}, Named: a.Verdict != routing.Mine}) // to find the ring by, if all else is lost
	}
	n.counters.fingers.Add(1)
	if !slices.Equal(had, n.fingers.Distinct()) {
		n.rebuild()
	}
	n.keep(n.idleConnections())
	return true
}

// runErrand takes the owner that the map names, or asks the owner believed in. If that is not the owner any longer, it looks
// the point up. It returns the zero Answer if nobody was found.
func (n *Node) runErrand(e routing.Errand) routing.Answer {
	if e.Charted() {
		if c, as := n.mapLookup(e.ID, 0); c != nil {
			return n.mapAnswer(c, as)
		}
	}
	ctx, cancel := context.WithTimeout(n.ctx, peer.MaxTimeout)
	defer cancel()
	if e.Believed.Name != "" {
		a, err := n.route(ctx, e.Believed, routing.Query{ID: e.ID})
		if err == nil && e.Confirms(a) {
			a.Owner = e.Believed
			return a
		}
		if e.Offered {
			return routing.Answer{}
		}
	}
	r, err := n.lookup(ctx, e.ID, routing.Options{Fresh: e.Fresh()}, manner{})
	if err != nil {
		return routing.Answer{}
	}
	return r.Answer
}

// offer has a member that tells of itself asked whether it is a finger, if it may be one.
func (n *Node) offer(x ring.Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.stopped() && n.fingers.Offer(x) {
		n.errand()
	}
}

// errand has the errands of the fingers run soon. Callers hold mu.
func (n *Node) errand() {
	select {
	case n.strayed <- struct{}{}:
	default:
	}
}

// stray has the finger at an address looked up again. Callers hold mu.
func (n *Node) stray(addr string) {
	if n.fingers.Distrust(addr) {
		n.errand()
	}
}

// idleConnections is how many connections are kept when nobody uses them: enough for
// the successor list and every finger, seen from both sides. A process whose map is certain asks
// fewer: the fingers are as the map says, which goes along the circle of processes. At several
// identifiers it has as many heads. If fewer were kept than it asks by turns, each would make
// place for the one that is asked next.
func (n *Node) idleConnections() int {
	t := n.Snapshot().Table
	if t == nil {
		return n.cfg.Successors
	}
	if k, ok := n.chartedConnections(t); ok {
		return k
	}
	return t.Connections(t.Size())
}

// chartedConnections is idleConnections if the map is certain.
func (n *Node) chartedConnections(t *routing.Table) (int, bool) {
	chart := n.lead().chart.Load()
	if chart == nil {
		return 0, false
	}
	_, ok := chart.Age(n.now())
	return t.Charted(max(1, chart.Processes())) + len(n.lead().Nodes()) - 1, ok
}
