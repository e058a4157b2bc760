package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/standing"
)

// This file takes the steps by which a process comes to stand at as many identifiers as it
// is to. Package standing says which they are.

// ErrAlone says that a process cannot drain, since it knows no other in the ring.
var ErrAlone = errors.New("no other member is known to be in the ring, so nobody can take over")

// errNoRange is why a process that stands at all its identifiers does not hold what it is to.
var errNoRange = errors.New("one of them does not know its predecessor yet")

// run has stand run, if it does not yet.
func (s *identities) run(first *Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first.boarding.Lock()
	defer first.boarding.Unlock()
	if s.runs || first.Finder.ended {
		return
	}
	s.runs = true
	first.wg.Go(first.stand)
}

// SetIdentifiers sets at how many identifiers the process is to stand; 0: it drains. One
// that was made for one identifier can have no more. They come and go one after another.
func (n *Node) SetIdentifiers(k int) {
	s := n.identities
	s.mu.Lock()
	s.standing.Want(k)
	s.err, s.refused = nil, false
	s.changed()
	s.mu.Unlock()
	s.run(n)
	s.poke()
}

// Weight is at how many identifiers the process wants to stand, and whether it has drained.
func (n *Node) Weight() (want int, drained bool) {
	n.identities.mu.Lock()
	defer n.identities.mu.Unlock()
	return n.identities.standing.Weight(), n.identities.standing.Drained()
}

// Others reports whether the process knows another one in the ring.
func (n *Node) Others() bool {
	return slices.ContainsFunc(n.Nodes(), func(x *Node) bool { return x.Snapshot().View.KnowsOthers() })
}

func (s *identities) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// changed tells those who wait. Callers hold mu.
func (s *identities) changed() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// Standing waits until the process stands at as many identifiers as it wants, and has a range at
// each, or has drained if it wants none. It returns why it does not stand so yet, with the error of
// ctx, if that ends before.
func (n *Node) Standing(ctx context.Context) error { return n.standsAs(ctx, false) }

// Draining is Standing for a process that is to drain. It returns ErrAlone if it does not.
func (n *Node) Draining(ctx context.Context) error { return n.standsAs(ctx, true) }

func (n *Node) standsAs(ctx context.Context, drains bool) error {
	s := n.identities
	for {
		s.mu.Lock()
		want, drained, why, refused, moved := s.standing.Weight(), s.standing.Drained(), s.err, s.refused, s.moved
		nodes := n.Nodes()
		has := len(nodes)
		s.mu.Unlock()
		var placed <-chan struct{}
		switch {
		case refused && drains:
			return ErrAlone
		case drained && want == 0:
			return nil
		case !drained && has == want:
			if placed = n.unplaced(nodes); placed == nil {
				return nil
			}
			why = errNoRange
		case drained:
			has = 0
		}
		select {
		case <-moved:
		case <-placed:
		case <-n.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			err := fmt.Errorf("%w: the member stands at %d of %d identifiers", ctx.Err(), has, want)
			if why != nil {
				err = fmt.Errorf("%w: %w", err, why)
			}
			return err
		}
	}
}

// unplaced is a channel that is closed when the view of one of the nodes has changed that is in
// the ring and has no range yet, nil if there is none. One that is isolated gets none before others
// come.
func (n *Node) unplaced(nodes []*Node) <-chan struct{} {
	if n.identities.hub == nil {
		return nil
	}
	for _, x := range nodes {
		if s := x.Snapshot(); s.View.Phase == protocol.Joined && !s.View.HasArc && !s.View.Isolated {
			return s.Next
		}
	}
	return nil
}

// stand has the process stand at as many identifiers as it wants.
func (n *Node) stand() {
	s := n.identities
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for n.ctx.Err() == nil {
		snap := n.Snapshot()
		phase := snap.View.Phase
		s.mu.Lock()
		if s.ended {
			s.mu.Unlock()
			return
		}
		do, at := s.standing.Next(n.now(), standing.PhaseOf(phase == protocol.Joined, phase == protocol.Superseded), len(n.Nodes()), len(n.superseded()))
		want := s.standing.Weight()
		s.mu.Unlock()
		if do != standing.Rest {
			n.tookStep(do, want, n.takeStep(do, want))
			continue
		}
		timer.Reset(min(at-n.now(), time.Hour))
		select {
		case <-snap.Next:
		case <-timer.C:
		case <-s.wake:
		case <-n.ctx.Done():
		}
	}
}

// takeStep takes one step towards what the process wants.
func (n *Node) takeStep(do standing.Do, want int) error {
	switch do {
	case standing.Grow:
		return n.grow(n.ctx, want)
	case standing.Shrink:
		n.shrink(n.ctx)
	case standing.Drain:
		return n.drain(n.ctx)
	case standing.Return:
		return n.comeBack(n.ctx)
	case standing.Rechoose:
		return n.rechoose(n.ctx)
	case standing.Forget:
		n.dropOthers()
	case standing.Drop:
		n.dropLost()
	case standing.Rest:
	}
	return nil
}

// tookStep notes what became of a step, and logs it if it is news.
func (n *Node) tookStep(do standing.Do, want int, err error) {
	s := n.identities
	outcome := standing.Taken
	switch {
	case errors.Is(err, ErrAlone):
		outcome = standing.Alone
	case err != nil:
		outcome = standing.Failed
	}
	s.mu.Lock()
	s.standing.Done(n.now(), do, outcome)
	s.refused = s.refused || outcome == standing.Alone
	news := err != nil && (s.err == nil || s.err.Error() != err.Error())
	s.err = err
	s.changed()
	s.mu.Unlock()
	if outcome == standing.Alone && n.cfg.Remains != nil {
		n.cfg.Remains()
	}
	switch {
	case n.ctx.Err() != nil:
	case news && (do == standing.Drain || do == standing.Return):
		n.Note(slog.LevelWarn, "weight not changed", slog.Int("weight", want), slog.Any("err", err))
	case news:
		n.Note(slog.LevelWarn, "identifiers missing", slog.Any("err", err))
	case err != nil:
	case do == standing.Grow:
		n.wg.Go(func() { n.logStands("identifiers taken") }) // the next step does not wait for the log
	case do == standing.Shrink && len(n.Nodes()) == want:
		n.wg.Go(func() { n.logStands("identifiers given up") })
	case do == standing.Drain:
		n.Note(slog.LevelInfo, "drained")
	case do == standing.Return:
		n.Note(slog.LevelInfo, "back in the ring")
	}
}
