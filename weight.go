package concord

import (
	"context"
	"errors"
	"fmt"
)

// ErrWeight means that a member cannot have the weight that was asked for. See
// [Concord.SetWeight].
var ErrWeight = errors.New("concord: weight not possible")

// SetWeight changes at how many identifiers the member stands, until it is stopped. It begins with
// Config.VirtualNodes. Each identifier comes and goes as a member that joins and leaves: only its
// range moves. The last of them goes first.
//
// The weight is at least 1 and at most MaxVirtualNodes. A member whose Config.VirtualNodes is zero
// or one has always one identifier, of another kind. Otherwise the error matches ErrWeight, and
// nothing changes.
//
// SetWeight waits until all identifiers are in the ring, or out of it. If ctx ends before, it
// returns the error of ctx with the reason, and the member goes on with the change. Outside of a
// ring it returns ErrNotJoined, and the weight counts from the next Create or Join on. Of several
// calls the last counts. After Stop or Leave it returns ErrStopped.
func (c *Concord) SetWeight(ctx context.Context, weight int) error {
	n, err := c.started()
	switch {
	case err != nil:
		return err
	case weight < 1 || weight > MaxVirtualNodes:
		return fmt.Errorf("%w: %d, must be between 1 and %d", ErrWeight, weight, MaxVirtualNodes)
	case c.cfg.VirtualNodes <= 1 && weight != 1:
		return fmt.Errorf("%w: %d, but Config.VirtualNodes is %d: start the member with more than one", ErrWeight, weight, c.cfg.VirtualNodes)
	case c.cfg.VirtualNodes <= 1:
		return nil
	}
	n.SetIdentifiers(weight)
	if !n.Snapshot().View.Phase.InRing() {
		return ErrNotJoined
	}
	return publicError(n.Standing(ctx))
}
