package concord

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/transport"
)

// ErrUnconfirmed means that the successor has not answered for so long that the ring may be broken
// at this member. See [Concord.Ready].
var ErrUnconfirmed = errors.New("concord: no answer from the successor for too long")

// ErrNotSettled means that the pointers between the member and its neighbours are not right yet, or
// have not been for too long. See [Concord.Ready].
var ErrNotSettled = errors.New("concord: the neighbours do not point at the member")

// ErrNoLease means that Config.Lease is set and the member has had no lease since it joined: so far
// it has owned nothing. See [Concord.Ready].
var ErrNoLease = errors.New("concord: no lease yet")

// patience is how long a member may go without a step of its loop, or without an answer of its
// successor: five intervals, at least 10 s. A successor that fails is replaced in a fraction of
// that.
func (c *Concord) patience() time.Duration { return max(10*time.Second, 5*c.cfg.interval()) }

// patienceWith is patience with a successor that is asked in every n-th round only. A round may
// take a tenth longer than an interval.
func (c *Concord) patienceWith(n int) time.Duration {
	return max(c.patience(), 5*c.cfg.interval()+time.Duration(n-1)*c.cfg.interval()*5/4)
}

// Ready reports whether the member does its part in a ring. It returns nil if the member is in a
// ring, serves keys, its successor has answered within the last five StabilizeIntervals or the last
// 10 s, whichever is longer, and the member is settled: it has a range, its successor names it as
// its predecessor, and its predecessor has asked it as its successor, as far as the member has
// heard in its rounds. A member that has been settled since it joined stays ready for as long as
// that while it is not, so that a change among its neighbours does not take it out of service.
// Successors with VirtualNodes, which are asked less often at their later identifiers, may have
// answered up to twelve StabilizeIntervals ago.
//
// With Config.Lease, a member is not ready before it has had a lease at each identifier at which it
// has joined. At the founding that takes a Lease. A lease that runs out later does not count:
// whether one holds now, Owns tells. Nor does Ready wait for the program to take its ranges;
// [Service.Wait] does.
//
// Otherwise the error says why not. It matches ErrNotStarted, ErrNotJoined before Create or Join
// has succeeded, ErrStopped during and after Leave, ErrIsolated, ErrSuperseded, ErrUnconfirmed,
// ErrNotSettled or ErrNoLease. Ready sends no request and returns at once. Settled asks the
// neighbours.
func (c *Concord) Ready() error {
	n, err := c.started()
	if err != nil {
		return err
	}
	if weight, drained := n.Weight(); drained || weight == 0 {
		return fmt.Errorf("%w: %s", ErrNotJoined, phaseOf(n))
	}
	for _, x := range n.Nodes() {
		_, head := x.Ages()
		if err := c.readiness(x.Snapshot().View, head); err != nil {
			return err
		}
		since, ever := x.Unsettled()
		if !ever && x != n {
			continue // one that is on its way in is no reason
		}
		if err := c.settledness(since, ever); err != nil {
			return err
		}
	}
	if !n.Leased() {
		return ErrNoLease
	}
	return nil
}

// settledness is the part of Ready for a member that has not been settled for so long.
func (c *Concord) settledness(since time.Duration, ever bool) error {
	switch {
	case !ever:
		return fmt.Errorf("%w since it has joined", ErrNotSettled)
	case since > c.patience():
		return fmt.Errorf("%w for %v", ErrNotSettled, since.Round(time.Millisecond))
	}
	return nil
}

// Settled waits until every pointer of the member is right, as far as it and its neighbours say.
// That is so if it has all its ranges and, at each of its identifiers, its successor names it as
// its predecessor and has the rest of its list of successors, and its predecessor names it as its
// successor. A member of a ring of one is settled. When the membership has changed, the ring is
// settled as a whole once all members are.
//
// Settled asks the two neighbours, again when something has changed, and once in each
// StabilizeInterval. Ready asks nobody, and is for probes; Settled is for scripts and tests that go
// on when a change is complete, such as a rolling restart. Settled does not wait for leases, nor
// for the functions of Serve: with Config.Lease, a member that is settled may own nothing yet.
//
// It returns nil. If ctx ends before, it returns the error of ctx joined with one that says what
// was not right last. It returns ErrNotStarted, ErrNotJoined, ErrStopped or ErrSuperseded at once.
func (c *Concord) Settled(ctx context.Context) error {
	n, err := c.started()
	if err != nil {
		return err
	}
	err = n.AllSettled(ctx)
	if err == nil || errors.Is(err, ctx.Err()) && ctx.Err() != nil {
		return err
	}
	return publicError(err)
}

// readiness is Ready for a member with view v whose successor last answered so long ago.
func (c *Concord) readiness(v *protocol.View, head time.Duration) error {
	switch {
	case v.Phase == protocol.Superseded:
		return ErrSuperseded
	case v.Phase == protocol.Leaving:
		return fmt.Errorf("%w: leaving", ErrStopped)
	case v.Phase != protocol.Joined:
		return fmt.Errorf("%w: %s", ErrNotJoined, v.Phase)
	case v.Isolated:
		return fmt.Errorf("%w: it knows %d, itself included, and MinMembers is %d", ErrIsolated, v.Living(), c.cfg.MinMembers)
	case v.Doubts:
		return fmt.Errorf("%w: this process hung, and its successor has not answered since", ErrUnconfirmed)
	case !v.Alone && head > c.patienceWith(protocol.Pace(v.Head())):
		return fmt.Errorf("%w: %v", ErrUnconfirmed, head.Round(time.Millisecond))
	}
	return nil
}

// Alive reports whether the member's own loop runs and its listener accepts connections. It returns
// an error if the member is in a ring, or searches for one, and the loop has done nothing for five
// StabilizeIntervals or 10 s, whichever is longer. Then only a restart of the process helps. It
// also returns an error if no connection could be accepted for as long, because the process has no
// file descriptor left, for example.
//
// Alive returns nil for a member that has not started, and for one that waits for a call of Create
// or Join. It returns ErrStopped for a member that was stopped. Alive sends no request and returns
// at once.
func (c *Concord) Alive() error {
	n, err := c.started()
	if errors.Is(err, ErrNotStarted) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, x := range n.Nodes() {
		idle, _ := x.Ages()
		if err := c.liveness(x.Snapshot().View.Phase, idle); err != nil {
			return err
		}
	}
	return c.hearing(n.Intake())
}

// hearing is Alive for a member whose listener says so.
func (c *Concord) hearing(in transport.Intake) error {
	if in.Deaf > c.patience() {
		return fmt.Errorf("concord: no connection could be accepted for %v: %w", in.Deaf.Round(time.Millisecond), in.Err)
	}
	return nil
}

// liveness is Alive for a member in this phase that has done nothing for so long.
func (c *Concord) liveness(phase protocol.Phase, idle time.Duration) error {
	if (phase.InRing() || phase == protocol.Bootstrapping) && idle > c.patience() {
		return fmt.Errorf("concord: the member has done nothing for %v", idle.Round(time.Millisecond))
	}
	return nil
}
