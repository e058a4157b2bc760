package concord

import (
	"context"
	"iter"

	"github.com/ollelogdahl/concord/internal/node"
)

// RingChange is one range on the map that has come, changed or gone, as WatchRing yields it. A
// member with VirtualNodes has one for each of its identifiers. Ranges are told apart by Server and
// End. Had is false for a range that has come, Has is false for one that has gone. A member has
// gone when its last range has.
type RingChange struct {
	// Server is the member that has the range.
	Server Server `json:"server"`
	// Incarnation is greater after each restart of the member. See [Concord.Incarnation].
	Incarnation uint64 `json:"incarnation,omitempty,string"`
	// Zone is the Config.Zone of the member. It is empty if the member is in no zone, or as long as
	// nothing has been heard of its zone.
	Zone string `json:"zone,omitempty"`
	// Old is the range before the change. It is valid if Had is true.
	Old Range `json:"old"`
	// New is the range after the change. It is valid if Has is true.
	New Range `json:"new"`
	// Had is true if the member had the range before the change.
	Had bool `json:"had"`
	// Has is true if the member has the range after the change.
	Has bool `json:"has"`
}

// WatchRing returns an iterator over the changes of the whole ring. The first element has all
// ranges that this member knows, with their owners, and comes at once. Each element after it has
// the ranges that have changed since. The ranges of one element are in the order in which they end.
// Those of a member that has restarted go and come within one element. Applied in order, the
// elements give the member's map of the ring at some instant since the last element, and finally
// the map of now. A lookup that is answered with SourceRingMap names an owner of that map.
//
// A range is what its owner has said that it is responsible for, without what others have said
// since to have taken over. A member learns of a change some milliseconds after its owner has made
// it. If the message is lost, it learns of the change when it compares its map with that of others,
// within some intervals. Until then parts of the circle may have no owner on the map. The map has
// at most 16,384 members, which are the next ones clockwise, and no legacy members.
//
// A slow loop body delays nothing else: changes during it are merged. A member in no ring, or an
// isolated one, has an empty map: the first element is empty, or all members go when it becomes
// that, and come back later. The loop body may call any method of the member. The loop ends when
// ctx ends, when the member is stopped or has left, or by break. If the member has not been
// started, the loop yields nothing. Several loops may run at the same time, and each gets all
// changes.
func (c *Concord) WatchRing(ctx context.Context) iter.Seq[[]RingChange] {
	return func(yield func([]RingChange) bool) {
		n, err := c.started()
		if err != nil {
			return
		}
		for list := range n.WatchRing(ctx) {
			if !yield(ringChanges(list)) {
				return
			}
		}
	}
}

// WatchRing returns an iterator over the changes of the whole ring, as a member tells of them at
// which the Client subscribes for as long as the loop runs. See [Concord.WatchRing]. The first
// element comes once a member has told all of its map.
//
// If that member goes, the Client subscribes at another, and the next element has what is different
// on its map. While no member can be reached, nothing is yielded. What a loop yields is as true as
// what one member says, which lookups do not rely on.
//
// The loop ends by break or with an error: that of ctx, ErrStopped after Close, or ErrNoMap if the
// members tell clients nothing. NoSubscribe does not matter to it.
func (c *Client) WatchRing(ctx context.Context) iter.Seq2[[]RingChange, error] {
	return func(yield func([]RingChange, error) bool) {
		for list, err := range c.node.WatchRing(ctx) {
			if err != nil {
				yield(nil, publicError(err))
				return
			}
			if !yield(ringChanges(list), nil) {
				return
			}
		}
	}
}

// ringChanges are changes in public terms.
func ringChanges(list []node.RingChange) []RingChange {
	out := make([]RingChange, len(list))
	for i, x := range list {
		out[i] = ringChange(x)
	}
	return out
}

func ringChange(x node.RingChange) RingChange {
	out := RingChange{Server: server(x.Who), Incarnation: x.Who.Incarnation, Zone: x.Zone, Had: x.Had, Has: x.Has}
	if x.Had {
		out.Old = rangeOf(x.Old)
	}
	if x.Has {
		out.New = rangeOf(x.Now)
	}
	return out
}
