package concord

import (
	"context"
	"iter"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Cause is why a member's range has changed.
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
	// Gained is what is in New and not in Old: at most two ranges.
	Gained []Range `json:"gained,omitempty"`
	// Lost is what is in Old and not in New: at most two ranges.
	Lost []Range `json:"lost,omitempty"`
	// From is who was responsible for what was gained, as far as the member knows:
	// its predecessor before. Of merged changes it is that of the first.
	From Server `json:"from,omitzero"`
	// To is who is responsible for what was lost, as far as the member knows: its
	// predecessor now. Of merged changes it is that of the last.
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
// Event. It may call any method of the member. The loop ends when ctx does, when
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
			same := h.Has == last.Has && (!h.Has || h.Arc == last.Arc)
			if !same && !yield(event(last, h)) {
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
		e.Old = Range{Start: old.Arc.After, End: old.Arc.To}
	}
	if now.Has {
		e.New = Range{Start: now.Arc.After, End: now.Arc.To}
	}
	e.Gained = difference(now.Arc, now.Has, old.Arc, old.Has)
	e.Lost = difference(old.Arc, old.Has, now.Arc, now.Has)
	if len(e.Gained) > 0 && old.Has {
		e.From = server(old.Pred)
	}
	if len(e.Lost) > 0 && now.Has {
		e.To = server(now.Pred)
	}
	return e
}

// difference is what a has and b has not.
func difference(a ring.Arc, hasA bool, b ring.Arc, hasB bool) []Range {
	if !hasA {
		return nil
	}
	if !hasB {
		return []Range{{Start: a.After, End: a.To}}
	}
	var out []Range
	for _, arc := range a.Minus(b) {
		out = append(out, Range{Start: arc.After, End: arc.To})
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
}
