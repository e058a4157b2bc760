package remote

import (
	"encoding/json"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/remote/adminpb"
)

// In this file, pbX makes the message of an X, and readX reads it.

func pbServer(s concord.Server) *adminpb.Server {
	return &adminpb.Server{Id: s.Id, Name: s.Name, Address: s.Address}
}

func readServer(s *adminpb.Server) concord.Server {
	return concord.Server{Name: s.GetName(), Id: s.GetId(), Address: s.GetAddress()}
}

func pbRange(r concord.Range) *adminpb.Range { return &adminpb.Range{Start: r.Start, End: r.End} }

func readRange(r *adminpb.Range) concord.Range {
	return concord.Range{Start: r.GetStart(), End: r.GetEnd()}
}

// each makes a list of one kind into a list of another. An empty list stays one.
func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i, x := range list {
		out[i] = f(x)
	}
	return out
}

func pbStatus(s concord.Status) (*adminpb.StatusResp, error) {
	out := &adminpb.StatusResp{
		Self:          pbServer(s.Self),
		Incarnation:   s.Incarnation,
		Zone:          s.Zone,
		Ranges:        each(s.Ranges, pbRange),
		VirtualNodes:  int64(s.VirtualNodes),
		Weight:        int64(s.Weight),
		Phase:         s.Phase.String(),
		Isolated:      s.Isolated,
		Successors:    each(s.Successors, pbServer),
		Acquaintances: each(s.Acquaintances, pbServer),
		Fingers: each(s.Fingers, func(f concord.Finger) *adminpb.Finger {
			return &adminpb.Finger{Server: pbServer(f.Server), Low: f.Low, High: f.High}
		}),
		Silent:              int64(s.Silent),
		Pending:             int64(s.Pending),
		SizeEstimate:        int64(s.Size),
		Connections:         int64(s.Connections),
		IncomingConnections: int64(s.IncomingConnections),
		Subscribers:         int64(s.Subscribers),
		Share:               s.Share,
		Arcs:                int64(s.Arcs),
		Failures:            each(s.Failures, pbFailure),
	}
	if s.SuccessorAge != nil {
		ns := s.SuccessorAge.Nanoseconds()
		out.SuccessorAge = &ns
	}
	if s.Range != nil {
		out.Range = pbRange(*s.Range)
	}
	if s.Predecessor != nil {
		out.Predecessor = pbServer(*s.Predecessor)
	}
	return out, recode(s.Counters, &out.Counters)
}

func readStatus(r *adminpb.StatusResp) (concord.Status, error) {
	out := concord.Status{
		Self:          readServer(r.GetSelf()),
		Incarnation:   r.GetIncarnation(),
		Zone:          r.GetZone(),
		Ranges:        each(r.GetRanges(), readRange),
		VirtualNodes:  int(r.GetVirtualNodes()),
		Weight:        int(r.GetWeight()),
		Phase:         concord.Phase(r.GetPhase()),
		Isolated:      r.GetIsolated(),
		Successors:    each(r.GetSuccessors(), readServer),
		Acquaintances: each(r.GetAcquaintances(), readServer),
		Fingers: each(r.GetFingers(), func(f *adminpb.Finger) concord.Finger {
			return concord.Finger{Server: readServer(f.GetServer()), Low: f.GetLow(), High: f.GetHigh()}
		}),
		Silent:              int(r.GetSilent()),
		Pending:             int(r.GetPending()),
		Size:                int(r.GetSizeEstimate()),
		Connections:         int(r.GetConnections()),
		IncomingConnections: int(r.GetIncomingConnections()),
		Subscribers:         int(r.GetSubscribers()),
		Share:               r.GetShare(),
		Arcs:                int(r.GetArcs()),
		Failures:            each(r.GetFailures(), readFailure),
	}
	if r.SuccessorAge != nil {
		age := time.Duration(r.GetSuccessorAge())
		out.SuccessorAge = &age
	}
	if r.Range != nil {
		x := readRange(r.GetRange())
		out.Range = &x
	}
	if r.Predecessor != nil {
		x := readServer(r.GetPredecessor())
		out.Predecessor = &x
	}
	return out, recode(r.GetCounters(), &out.Counters)
}

func pbFailure(f concord.PeerFailure) *adminpb.PeerFailure {
	return &adminpb.PeerFailure{
		Name: f.Name, Address: f.Address, Incoming: f.Incoming, Cause: f.Cause.String(), Error: f.Error,
		First: f.First.UnixNano(), Last: f.Last.UnixNano(), Count: int64(f.Count),
	}
}

func readFailure(f *adminpb.PeerFailure) concord.PeerFailure {
	return concord.PeerFailure{
		Name: f.GetName(), Address: f.GetAddress(), Incoming: f.GetIncoming(), Cause: concord.Outcome(f.GetCause()), Error: f.GetError(),
		First: time.Unix(0, f.GetFirst()).UTC(), Last: time.Unix(0, f.GetLast()).UTC(), Count: int(f.GetCount()),
	}
}

// recode reads into to what from is in JSON. Numbers keep all of their digits.
func recode(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

func pbEvent(e concord.Event) *adminpb.Event {
	out := &adminpb.Event{Cause: e.Cause.String(), Epoch: e.Epoch, Gained: each(e.Gained, pbRange), Lost: each(e.Lost, pbRange)}
	if e.Had {
		out.Old = pbRange(e.Old)
	}
	if e.Has {
		out.New = pbRange(e.New)
	}
	if e.From != (concord.Server{}) {
		out.From = pbServer(e.From)
	}
	if e.To != (concord.Server{}) {
		out.To = pbServer(e.To)
	}
	out.Returns, out.LeaseEnds = pbTime(e.Returns), pbTime(e.LeaseEnds)
	return out
}

// pbTime is nil for the zero time.
func pbTime(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ns := t.UnixNano()
	return &ns
}

func readTime(ns *int64) time.Time {
	if ns == nil {
		return time.Time{}
	}
	return time.Unix(0, *ns).UTC()
}

func readEvent(e *adminpb.Event) concord.Event {
	out := concord.Event{
		Old: readRange(e.GetOld()), Had: e.Old != nil,
		New: readRange(e.GetNew()), Has: e.New != nil,
		From: readServer(e.GetFrom()), To: readServer(e.GetTo()),
		Cause: concord.Cause(e.GetCause()), Epoch: e.GetEpoch(),
		Returns: readTime(e.Returns), LeaseEnds: readTime(e.LeaseEnds),
	}
	if len(e.GetGained()) > 0 {
		out.Gained = each(e.GetGained(), readRange)
	}
	if len(e.GetLost()) > 0 {
		out.Lost = each(e.GetLost(), readRange)
	}
	return out
}
