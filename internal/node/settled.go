package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// AllSettled waits until the process stands at as many identifiers as it wants, and each is
// settled; see Settled. An identifier that the process gives up meanwhile, or loses to another,
// is not waited for, but whatever comes in its place. The error is that of ctx, or says why the
// process is in no ring.
func (n *Node) AllSettled(ctx context.Context) error {
	for {
		if err := n.inRing(); err != nil {
			return err
		}
		if err := n.Standing(ctx); err != nil {
			return err
		}
		nodes, moved := n.nodesUntil()
		x, err := firstUnsettled(ctx, nodes)
		if err == nil || x == n || ctx.Err() != nil {
			return err
		}
		select {
		case <-moved:
		case <-time.After(n.cfg.Interval):
		case <-n.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// firstUnsettled waits for one after another, and returns the first that is in no ring, with
// the reason.
func firstUnsettled(ctx context.Context, nodes []*Node) (*Node, error) {
	for _, x := range nodes {
		if err := x.Settled(ctx); err != nil {
			return x, err
		}
	}
	return nil, nil
}

// Settled waits until every pointer of the node is right as far as its neighbours say: it
// asks them, and again when its own view has changed, and once an interval. The error is
// that of ctx, with what was not right last, or says why the node is in no ring.
func (n *Node) Settled(ctx context.Context) error {
	var last error
	for {
		if err := n.inRing(); err != nil {
			return err
		}
		s := n.Snapshot()
		wrong := n.unsettled(ctx, s.View)
		switch {
		case wrong == nil:
			return nil
		case last != nil && ctx.Err() != nil:
			wrong = last // a question that ctx has ended says nothing
		}
		last = wrong
		timer := time.NewTimer(n.cfg.Interval)
		select {
		case <-s.Next:
		case <-timer.C:
		case <-n.ctx.Done():
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", ctx.Err(), wrong)
		}
		timer.Stop()
	}
}

// inRing is why the node is in no ring, nil if it is in one.
func (n *Node) inRing() error {
	s := n.Snapshot()
	switch {
	case s.Absent != nil && !s.View.Isolated:
		return s.Absent
	case n.ctx.Err() != nil:
		return ErrClosed
	case s.View.Phase != protocol.Joined:
		return ErrNotInRing
	}
	return nil
}

// unsettled says what is not right with a view, nil if nothing is.
func (n *Node) unsettled(ctx context.Context, v *protocol.View) error {
	switch {
	case v.Isolated:
		return ErrIsolated
	case v.Doubts:
		return errors.New("the process hung, and the successor has not answered since")
	case !v.HasArc:
		return errors.New("the predecessor is not known")
	case v.Alone && v.Pred.IsZero():
		return nil
	case len(v.Succ) == 0:
		return errors.New("no successor is known")
	}
	head, err := n.stateOf(ctx, v.Head())
	if err != nil {
		return err
	}
	if !samePlace(head.Pred, v.Self) {
		return fmt.Errorf("the successor %s has the predecessor %s", head.Self.Name, head.Pred.Name)
	}
	list := append([]ring.Member{head.Self}, head.Succ...)
	if i := slices.IndexFunc(list, func(x ring.Member) bool { return x.ID == v.Self.ID }); i >= 0 {
		list = list[:i]
	}
	if list = protocol.Cut(v.Self, n.cfg.Successors, list); !slices.EqualFunc(list, v.Succ, samePlace) {
		return fmt.Errorf("the list of the successor %s has changed", head.Self.Name)
	}
	pred, err := n.stateOf(ctx, v.Pred)
	if err != nil {
		return err
	}
	if !samePlace(pred.Head(), v.Self) {
		return fmt.Errorf("the predecessor %s has the successor %s", pred.Self.Name, pred.Head().Name)
	}
	return nil
}

// samePlace reports whether two are one member, as far as a legacy member can tell.
func samePlace(x, y ring.Member) bool { return x.ID == y.ID && x.Addr == y.Addr }

// stateOf asks a neighbour for its ring.
func (n *Node) stateOf(ctx context.Context, x ring.Member) (protocol.State, error) {
	reply, f := n.askRing(ctx, x)
	if f != nil {
		return protocol.State{}, fmt.Errorf("%s: %w", x.Name, f)
	}
	return reply.State, nil
}
