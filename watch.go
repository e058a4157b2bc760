package concord

import (
	"context"
	"iter"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Cause is why a member's range has changed, or was not its own for a while.
type Cause string

// The causes of an Event.
const (
	// CauseCreated: the member has founded a ring.
	CauseCreated Cause = "created"
	// CauseJoined: the member has joined, and knows its predecessor now.
	CauseJoined Cause = "joined"
	// CausePredecessorJoined: a member has come between the predecessor and this
	// one.
	CausePredecessorJoined Cause = "predecessor joined"
	// CausePredecessorFailed: the predecessor does not answer.
	CausePredecessorFailed Cause = "predecessor failed"
	// CausePredecessorLeft: the predecessor has left politely.
	CausePredecessorLeft Cause = "predecessor left"
	// CauseAlone: nobody else answers, or is left.
	CauseAlone Cause = "alone"
	// CauseSuperseded: a later life of the same name was met.
	CauseSuperseded Cause = "superseded"
	// CauseEnoughMembers: the member is isolated no longer, see Config.MinMembers.
	CauseEnoughMembers Cause = "enough members"
	// CauseResumed: others have answered for the range meanwhile, since they took the
	// member for dead: it hung, or was cut off, or its ring and another have become
	// one. It is responsible again. Old and New may be the same.
	CauseResumed Cause = "resumed"
)

// String returns the cause in words.
func (c Cause) String() string { return string(c) }

// Event is one change of the range that a member is responsible for, or several
// that came so quickly that they were merged.
type Event struct {
	// Old is the range before, if Had.
	Old Range `json:"old"`
	// New is the range now, if Has.
	New Range `json:"new"`
	// Had: the member was responsible for a range before.
	Had bool `json:"had"`
	// Has: it is responsible for one now.
	Has bool `json:"has"`
	// Gained is what is in New and was not the member's own all the time since Old:
	// at most two ranges.
	Gained []Range `json:"gained,omitempty"`
	// Lost is what is in Old and was not its own all the time since, and what it held
	// for a while and has not in New: at most two ranges. What was lost and is back is
	// in Gained, too.
	Lost []Range `json:"lost,omitempty"`
	// From is the member that can hand over what was gained: the successor after a
	// join and after CauseEnoughMembers, who has answered for it after CauseResumed,
	// the predecessor if it has left, and is on its way out. It lived when the range
	// changed. The zero Server: nobody is known to. So it is after
	// CausePredecessorFailed, and after CauseAlone if the others have failed: what the
	// dead had, only copies have. Of merged changes it is the last that is known.
	From Server `json:"from,omitzero"`
	// To is the member that is responsible now for what is in Lost and not in New:
	// the predecessor. The zero Server: all that was lost is back, or the member has
	// no range, or no predecessor.
	To Server `json:"to,omitzero"`
	// Cause is that of the last of the merged changes.
	Cause Cause `json:"cause"`
}

// Watch yields the range that the member is responsible for now, if there is one,
// as an Event without an Old, and then every change of it. Applying the events in
// their order always gives what Range gave at some instant since the last, and in
// the end what it gives now.
//
// A slow loop body holds up nobody: changes while it runs are merged into one
// Event. A range that was lost and came back while it ran is an Event, too, with Old
// equal to New. It may call any method of the member. The loop ends when ctx does, when
// the member is stopped or has left, or by break. A member that is not started
// yields nothing. Several may watch at once, and each sees all.
func (c *Concord) Watch(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		n, err := c.started()
		if err != nil {
			return
		}
		var last node.Holding
		for h := range n.Watch(ctx) {
			e := event(last, h)
			if (e.Had != e.Has || e.Old != e.New || len(e.Gained)+len(e.Lost) > 0) && !yield(e) {
				return
			}
			last = h
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
		e.New = rangeOf(now.Arc)
	}
	e.Gained = difference(now.Arc, now.Has, now.Least, now.HasLeast)
	if len(e.Gained) > 0 {
		e.From = server(now.From)
	}
	// What it had and has not kept is nearer to its own identifier than what it held
	// for a while: the two may touch, or lie one in the other.
	e.Lost = difference(old.Arc, old.Has, now.Least, now.HasLeast)
	gone := difference(now.Most, now.EverHeld, now.Arc, now.Has)
	if len(gone) > 0 && now.Has {
		e.To = server(now.Pred)
	}
	e.Lost = union(e.Lost, gone)
	return e
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

// difference is what a has and b has not.
func difference(a ring.Arc, hasA bool, b ring.Arc, hasB bool) []Range {
	if !hasA {
		return nil
	}
	if !hasB {
		return []Range{rangeOf(a)}
	}
	var out []Range
	for _, arc := range a.Minus(b) {
		out = append(out, rangeOf(arc))
	}
	return out
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
}
