package concord

import "github.com/ollelogdahl/concord/internal/routing"

// Status is the state of a member at one instant.
type Status struct {
	Self        Server `json:"self"`
	Incarnation uint64 `json:"incarnation"`
	// Phase is "new", "outside", "looking", "joining", "joined", "leaving",
	// "superseded" or "stopped".
	Phase string `json:"phase"`
	// Isolated: fewer members are known to live than Config.MinMembers. The
	// member serves no key.
	Isolated bool `json:"isolated"`
	// Range is nil while the member has none.
	Range *Range `json:"range,omitempty"`
	// Predecessor is nil while it is not known, and in a ring of one.
	Predecessor *Server  `json:"predecessor,omitempty"`
	Successors  []Server `json:"successors"`
	// Fingers are the distinct ones, the farthest first.
	Fingers []Finger `json:"fingers"`
	// Acquaintances are the live members known besides, by which the ring is
	// found again when all pointers fail.
	Acquaintances []Server `json:"acquaintances"`
	// Silent counts acquaintances that did not answer last, and Pending those
	// that may be in another ring.
	Silent  int `json:"silent"`
	Pending int `json:"pending"`
	// Size is an estimate of the number of members.
	Size        int      `json:"size_estimate"`
	Connections int      `json:"connections"`
	Counters    Counters `json:"counters"`
}

// Finger is a member and the distances d, Low ≤ d ≤ High, of 2^i and of 3·2^(i−1),
// for which it is responsible for self + d.
type Finger struct {
	Server Server `json:"server"`
	Low    uint64 `json:"low"`
	High   uint64 `json:"high"`
}

// Counters are totals since Start.
type Counters struct {
	Lookups       uint64 `json:"lookups"`         // begun here, those of fingers included
	Owned         uint64 `json:"owned"`           // of those, answered by the member's own range
	Confirmed     uint64 `json:"confirmed"`       // of those, answered by an arc confirmed of late
	LookupsFailed uint64 `json:"lookups_failed"`  // that found no owner
	RouteRequests uint64 `json:"route_requests"`  // members asked during lookups
	RingRequests  uint64 `json:"ring_requests"`   // requests of the ring's maintenance sent
	Served        uint64 `json:"served_requests"` // requests of others
	Timeouts      uint64 `json:"timeouts"`        // requests not answered in time
	Broken        uint64 `json:"broken"`          // connections that others ended
	JoinRetries   uint64 `json:"join_retries"`
	FingerLookups uint64 `json:"finger_lookups"`
	RangeChanges  uint64 `json:"range_changes"`
	BytesWritten  uint64 `json:"bytes_written"` // to TCP connections of either direction, without TCP's headers
}

// Status returns the state of the member. It may be called at any time.
func (c *Concord) Status() Status {
	c.mu.Lock()
	n, running := c.node, c.live.Load() != nil
	c.mu.Unlock()
	out := Status{Self: c.self(), Phase: "new", Successors: []Server{}, Fingers: []Finger{}, Acquaintances: []Server{}}
	if n == nil {
		return out
	}
	s := n.Snapshot()
	v := s.View
	out.Incarnation = v.Self.Incarnation
	out.Counters = Counters(n.Counters())
	out.Phase = v.Phase.String()
	if !running {
		out.Phase = "stopped"
		return out
	}
	out.Connections = n.Connections()
	out.Isolated = v.Isolated
	if v.HasArc {
		out.Range = &Range{Start: v.Arc.After, End: v.Arc.To}
	}
	if !v.Pred.IsZero() {
		p := server(v.Pred)
		out.Predecessor = &p
	}
	out.Successors = servers(v.Succ)
	for _, f := range s.Fingers {
		out.Fingers = append(out.Fingers, Finger{Server: server(f.Member), Low: routing.Reach(f.Low), High: routing.Reach(f.High)})
	}
	out.Acquaintances = servers(v.Known)
	out.Silent, out.Pending = v.Silent, v.Pending
	switch {
	case s.Table != nil:
		out.Size = s.Table.Size()
	case v.Isolated:
		out.Size = 1 + len(v.Succ)
	}
	return out
}
