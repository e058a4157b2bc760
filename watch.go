package concord

import (
	"context"
	"iter"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Cause says why the range of a member has changed, or why it was not its own for a while.
type Cause string

// The causes of an Event.
const (
	// CauseCreated means that the member has created a ring.
	CauseCreated Cause = "created"
	// CauseJoined means that the member has joined a ring and knows its predecessor now.
	CauseJoined Cause = "joined"
	// CausePredecessorJoined means that a member has joined between the predecessor and this one.
	CausePredecessorJoined Cause = "predecessor joined"
	// CausePredecessorFailed means that the predecessor does not answer.
	CausePredecessorFailed Cause = "predecessor failed"
	// CausePredecessorLeft means that the predecessor has left the ring.
	CausePredecessorLeft Cause = "predecessor left"
	// CauseAlone means that no other member answers, or that the last other member has left.
	CauseAlone Cause = "alone"
	// CauseSuperseded means that another member of the same name started later.
	CauseSuperseded Cause = "superseded"
	// CauseEnoughMembers means that the member is no longer isolated. See Config.MinMembers.
	CauseEnoughMembers Cause = "enough members"
	// CauseResumed means that other members have answered for the range in the meantime, because
	// they took the member for dead: it hung, it was cut off, or its ring and another one have
	// become one. The member is responsible for the range again. Old and New may be equal.
	CauseResumed Cause = "resumed"
	// CauseGivenUp means that the member stands at one identifier less. See [Concord.SetWeight].
	CauseGivenUp Cause = "given up"
	// CauseLeaseEnding means that the range is as before, and the member's lease is about to end.
	// See Event.LeaseEnds.
	CauseLeaseEnding Cause = "lease ending"
)

// String returns the cause in words.
func (c Cause) String() string { return string(c) }

// Event is one change of the range that a member is responsible for, or several quick changes
// merged into one.
type Event struct {
	// Old is the range before the change. It is valid if Had is true.
	Old Range `json:"old"`
	// New is the range after the change. It is valid if Has is true.
	New Range `json:"new"`
	// Had is true if the member was responsible for a range before the change.
	Had bool `json:"had"`
	// Has is true if the member is responsible for a range after the change.
	Has bool `json:"has"`
	// Gained is the part of New that was not the member's own all the time since Old. It has at
	// most two ranges.
	Gained []Range `json:"gained,omitempty"`
	// Lost is the part of Old that was not the member's own all the time since, and what the member
	// had for a while and does not have in New. It has at most two ranges. What was lost and has
	// come back is in Gained, too.
	Lost []Range `json:"lost,omitempty"`
	// From is the member that can hand over Gained. It is the successor after a join and after
	// CauseEnoughMembers, the member that has answered for the range after CauseResumed, and the
	// predecessor that is about to leave after CausePredecessorLeft. It was alive when the range
	// changed. It is zero if no such member is known, as after CausePredecessorFailed, and after
	// CauseAlone if the others have failed: only those who hold copies have the data of the dead.
	// If changes were merged, it is the last member that is known. From may not have all of Gained:
	// several members may have answered for parts of it, as after a partition or if changes were
	// merged, and after CauseEnoughMembers From may have been isolated itself. The members that
	// lose what is gained here have it in Lost, and can look up its owners.
	From Server `json:"from,omitzero"`
	// To is the member that is now responsible for the end of what is in Lost but not in New, which
	// is the predecessor. If several members have joined, or two rings have become one, the rest
	// belongs to members before it: look its keys up. To is zero if all that was lost has come
	// back, if the member has no range, and if it has no predecessor.
	To Server `json:"to,omitzero"`
	// Epoch is the epoch by which the member claims New when the range changes. It is 0 if the
	// member has no range. The epoch can rise later without an Event. See [Concord.OwnsEpoch].
	Epoch uint64 `json:"epoch,string"`
	// Returns is when the predecessor that has left is to be back in its place. It is set only if
	// that member has said so and Gained is just what it had, and is zero otherwise. See
	// [Returning].
	Returns time.Time `json:"returns,omitzero"`
	// LeaseEnds is when the member's lease ends, if it could not be renewed of late. It is zero
	// otherwise. The lease may be renewed yet; see [Concord.OwnedUntil]. At most 1.6
	// StabilizeIntervals are left, and at least about half of one unless the process hung.
	LeaseEnds time.Time `json:"lease_ends,omitzero"`
	// Cause says why the range changed. If changes were merged, it is that of the last.
	Cause Cause `json:"cause"`
}

// Watch returns an iterator over the changes of the member's range. If the member has a range, the
// first Event has it as New and has no Old. Applied in order, the events always give what Range
// returned at some instant since the last event, and finally what it returns now.
//
// A member with VirtualNodes has an Event for each of its ranges that changes. Events of one range
// have the same End, in Old and in New.
//
// A slow loop body delays nothing else: changes during it are merged into one Event. A range that
// was lost and has come back during it is an Event, too, in which Old equals New. The loop body may
// call any method of the member. The loop ends when ctx ends, when the member is stopped or has
// left, or by break. If the member has not been started, the loop yields nothing. Several loops may
// run at the same time, and each gets all events.
func (c *Concord) Watch(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		n, err := c.started()
		if err != nil {
			return
		}
		last := map[*node.Node]node.Holding{}
		for x, h := range n.Watch(ctx) {
			if e := event(last[x], h); (e.changes() || !e.LeaseEnds.IsZero()) && !yield(e) {
				return
			}
			if last[x] = h; h.GivenUp() {
				delete(last, x)
			}
		}
	}
}

// event is what has changed between two holdings.
func event(old, now node.Holding) Event {
	e := Event{Had: old.Has, Has: now.Has, Cause: causes[now.Cause]}
	if old.Has {
		e.Old = rangeOf(old.Arc)
	}
	if now.Has {
		e.New, e.Epoch = rangeOf(now.Arc), now.Epoch
	}
	e.Gained = difference(now.Arc, now.Has, now.Least, now.HasLeast)
	if len(e.Gained) > 0 {
		e.From, e.Returns = server(now.From), now.Back
	}
	// What it had and has not kept is nearer to its own identifier than what it held
	// for a while: the two may touch, or lie one in the other.
	e.Lost = difference(old.Arc, old.Has, now.Least, now.HasLeast)
	gone := difference(now.Most, now.EverHeld, now.Arc, now.Has)
	if len(gone) > 0 && now.Has {
		e.To = server(now.Pred)
	}
	e.Lost = union(e.Lost, gone)
	if e.LeaseEnds = now.Ends; !e.LeaseEnds.IsZero() && !e.changes() {
		e.Cause = CauseLeaseEnding
	}
	return e
}

// changes reports whether the range is another, or was not the member's own for a while.
func (e *Event) changes() bool {
	return e.Had != e.Has || e.Old != e.New || len(e.Gained)+len(e.Lost) > 0
}

// union is what is in the range of a or in that of b, each of one range at most; both
// lie on one arc of a member, which ends at its identifier.
func union(a, b []Range) []Range {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	x := ring.Arc{After: a[0].Start, To: a[0].End}
	y := ring.Arc{After: b[0].Start, To: b[0].End}
	switch {
	case len(y.Minus(x)) == 0:
		return a
	case len(x.Minus(y)) == 0:
		return b
	case y.Contains(x.After):
		return []Range{rangeOf(ring.Arc{After: y.After, To: x.To})}
	case x.Contains(y.After):
		return []Range{rangeOf(ring.Arc{After: x.After, To: y.To})}
	}
	return append(b, a...)
}

var causes = map[protocol.Cause]Cause{
	protocol.CauseCreated:           CauseCreated,
	protocol.CauseJoined:            CauseJoined,
	protocol.CausePredecessorJoined: CausePredecessorJoined,
	protocol.CausePredecessorFailed: CausePredecessorFailed,
	protocol.CausePredecessorLeft:   CausePredecessorLeft,
	protocol.CauseAlone:             CauseAlone,
	protocol.CauseSuperseded:        CauseSuperseded,
	protocol.CauseEnoughMembers:     CauseEnoughMembers,
	protocol.CauseResumed:           CauseResumed,
	protocol.CauseGivenUp:           CauseGivenUp,
}
