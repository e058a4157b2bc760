package concord

import (
	"context"
	"errors"
	"fmt"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
)

// ErrWeight means that a member cannot have the weight that was asked for. See
// [Concord.SetWeight].
var ErrWeight = errors.New("concord: weight not possible")

// SetWeight changes at how many identifiers the member stands, until it is stopped. It begins with
// Config.VirtualNodes, or 1. Each identifier comes and goes as a member that joins and leaves: only
// its range moves. The last of them goes first. Before an identifier goes, the member releases its
// range; see Handler.Release.
//
// A weight of 0 is Drain: the member hands on all ranges, leaves the ring and runs on. A later
// weight above 0 brings it back, by the members that it knows. If none of them is in a ring,
// because all have drained and the last one has failed, those that come back create one, after
// Config.FoundAfter.
//
// The weight is at most MaxVirtualNodes. A member whose Config.VirtualNodes is zero or one has one
// identifier, of another kind, or none: its weight is 0 or 1. Otherwise the error matches
// ErrWeight, and nothing changes.
//
// SetWeight waits until the member stands at that many identifiers and has a range at each. An
// isolated member does not wait for ranges. If ctx ends before, it returns
// the error of ctx with the reason, and the member goes on with the change. Outside of a ring it
// returns ErrNotJoined, and a weight above 0 counts from the next Create or Join on. Of several
// calls the last counts. Before Start it returns ErrNotStarted, and after Stop or Leave ErrStopped.
func (c *Concord) SetWeight(ctx context.Context, weight int) error {
	n, err := c.started()
	switch most := max(1, int(c.cfg.VirtualNodes)); {
	case err != nil:
		return err
	case weight < 0 && most == 1:
		return fmt.Errorf("%w: %d, must be 0 or 1, as Config.VirtualNodes is %d", ErrWeight, weight, c.cfg.VirtualNodes)
	case weight < 0 || uint(weight) > c.cfg.mostIdentifiers():
		return fmt.Errorf("%w: %d, must be between 0 and %d", ErrWeight, weight, c.cfg.mostIdentifiers())
	case most == 1 && weight > 1:
		return fmt.Errorf("%w: %d, but Config.VirtualNodes is %d: start the member with more than one", ErrWeight, weight, c.cfg.VirtualNodes)
	case weight == 0:
		return c.drain(ctx, n)
	}
	c.resume()
	_, drained := n.Weight()
	n.SetIdentifiers(weight)
	if !drained && !n.Snapshot().View.Phase.InRing() {
		return ErrNotJoined
	}
	return publicError(n.Standing(ctx))
}

// Drain hands on all ranges of the member, which goes on running. It is SetWeight with a weight of
// 0. First it waits for Release of every Service; see [Concord.Serve]. Then the member gives up its
// identifiers one after another, and its successors take over. Drain returns when the member owns
// nothing and is in no ring. The weight is then 0, until SetWeight sets another.
//
// A drained member owns no key, has no range, and is none of the Members of the ring. Its phase is
// PhaseDrained. Joined and Ready say that it is in no ring. Lookup, LookupN, LookupAll, Trace,
// Members and Conn go on as those of a Client, so that the program can answer or pass on calls that
// come late. Services have released what they served, and take nothing until the member is back.
// The last Event of Watch has CauseGivenUp. Others still reach the services of its application by
// Conn, and its Meta. Dial, and Join of other members, find the ring by its address. Its own Create
// and Join return ErrDrained. Leave and Stop end it, as ever.
//
// If ctx ends before, Drain returns the error of ctx with the reason, and the member goes on to
// drain, unless SetWeight is called.
//
// The error is ErrAlone, and nothing changes, if the member knows no other member of its ring. If
// all members of a ring drain at the same time, one of them stays: its Drain returns ErrAlone, too,
// its weight is what it was before, and Services take its ranges again. Drain of a member that has
// drained returns nil. Otherwise the error is ErrNotStarted, ErrStopped, ErrNotJoined or
// ErrSuperseded.
func (c *Concord) Drain(ctx context.Context) error { return c.SetWeight(ctx, 0) }

// drain drains a running member.
func (c *Concord) drain(ctx context.Context, n *node.Node) error {
	want, drained := n.Weight()
	switch v := n.Snapshot().View; {
	case drained && want == 0:
		return nil
	case v.Phase == protocol.Superseded:
		return ErrSuperseded
	case !drained && !v.Phase.InRing():
		return ErrNotJoined
	case !drained && !n.Others():
		return ErrAlone
	}
	c.suspend(ctx)
	n.SetIdentifiers(0)
	return publicError(n.Draining(ctx))
}

// suspend has every Service release what it serves, and take nothing until resume.
func (c *Concord) suspend(ctx context.Context) {
	c.eachService(func(s *Service) { s.suspend(ctx) })
}

// resume has every Service that was suspended take ranges again.
func (c *Concord) resume() {
	for _, s := range c.serving() {
		s.resume()
	}
}
