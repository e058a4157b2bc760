package concord

import (
	"errors"
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// ErrUnconfirmed: the successor has not answered for so long that the ring may be
// broken here.
var ErrUnconfirmed = errors.New("concord: the successor has not answered for long")

// patience is how long a member may go without a step of its loop, or without a
// word of its successor: five intervals, at least 10 s. A successor that dies is
// replaced in a fraction of it.
func (c *Concord) patience() time.Duration { return max(10*time.Second, 5*c.cfg.interval()) }

// Ready reports whether the member does its part: nil, if it is in a ring, serves
// keys, and its successor has answered within the last five StabilizeIntervals, at
// least 10 s. Otherwise the error says why not. It matches ErrNotStarted,
// ErrNotJoined before Create or Join has succeeded, ErrStopped while and after
// leaving, ErrIsolated, ErrSuperseded or ErrUnconfirmed. It asks nobody and returns
// at once.
func (c *Concord) Ready() error {
	n, err := c.started()
	if err != nil {
		return err
	}
	_, head := n.Ages()
	return c.readiness(n.Snapshot().View, head)
}

// readiness is Ready of a member of which this is known, head being how long ago its
// successor last answered.
func (c *Concord) readiness(v *protocol.View, head time.Duration) error {
	switch {
	case v.Phase == protocol.Superseded:
		return ErrSuperseded
	case v.Phase == protocol.Leaving:
		return fmt.Errorf("%w: leaving", ErrStopped)
	case v.Phase != protocol.Joined:
		return fmt.Errorf("%w: %s", ErrNotJoined, v.Phase)
	case v.Isolated:
		return fmt.Errorf("%w: %d, of which it takes %d", ErrIsolated, 1+len(v.Succ), c.cfg.MinMembers)
	case !v.Lone && head > c.patience():
		return fmt.Errorf("%w: %v", ErrUnconfirmed, head.Round(time.Millisecond))
	}
	return nil
}

// Alive reports whether the member's own loop turns: nil, or an error if it is in a
// ring, or looks for one, and has done nothing for five StabilizeIntervals, at least
// 10 s; then only ending the process helps. A member that has not started is alive,
// and so is one that waits to be told to join. One that was stopped gives
// ErrStopped. It asks nobody and returns at once.
func (c *Concord) Alive() error {
	n, err := c.started()
	if errors.Is(err, ErrNotStarted) {
		return nil
	}
	if err != nil {
		return err
	}
	idle, _ := n.Ages()
	return c.liveness(n.Snapshot().View.Phase, idle)
}

// liveness is Alive of a member in this phase that has done nothing for so long.
func (c *Concord) liveness(phase protocol.Phase, idle time.Duration) error {
	if (phase.InRing() || phase == protocol.Looking) && idle > c.patience() {
		return fmt.Errorf("concord: the member has done nothing for %v", idle.Round(time.Millisecond))
	}
	return nil
}
