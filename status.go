package concord

import (
	"math"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Status is the state of a member at one instant.
type Status struct {
	// Self is the member itself. Its address is known from Start on.
	Self Server `json:"self"`
	// Incarnation is greater in a later life of the same name. It is zero before Start.
	Incarnation uint64 `json:"incarnation,string"`
	// Phase is how far the member is in its life.
	Phase Phase `json:"phase"`
	// Isolated: fewer members are known to live than Config.MinMembers. The
	// member serves no key.
	Isolated bool `json:"isolated"`
	// Range is nil while the member has none.
	Range *Range `json:"range,omitempty"`
	// Share is how much of the circle the member serves, from 0 to 1: its Range, or
	// nothing while it is isolated. Those of an ideal ring come to 1.
	Share float64 `json:"share"`
	// Predecessor is nil while it is not known, and in a ring of one.
	Predecessor *Server `json:"predecessor,omitempty"`
	// Successors are the next members clockwise, the nearest first, at most
	// SuccessorCount. None are while the member is in no ring.
	Successors []Server `json:"successors"`
	// Fingers are the distinct ones, the farthest first.
	Fingers []Finger `json:"fingers"`
	// Acquaintances are the live members known besides, by which the ring is
	// found again when all pointers fail.
	Acquaintances []Server `json:"acquaintances"`
	// Silent counts acquaintances that did not answer last.
	Silent int `json:"silent"`
	// Pending counts acquaintances that may be in another ring.
	Pending int `json:"pending"`
	// Arcs is how many arcs are remembered with their owners, by which lookups are
	// answered from memory.
	Arcs int `json:"arcs"`
	// SuccessorAge is how long ago the nearest successor last answered for itself.
	// It is nil while there is none, or it has not answered yet.
	SuccessorAge *time.Duration `json:"successor_age_ns,omitempty"`
	// Size is an estimate of the number of members.
	Size int `json:"size_estimate"`
	// Connections is how many outgoing connections are open or being opened.
	Connections int `json:"connections"`
	// Counters are totals since Start.
	Counters Counters `json:"counters"`
	// Failures are what went wrong with other members last, the newest first, one for
	// each cause and member. At most 16.
	Failures []PeerFailure `json:"failures"`
}

// Phase says how far a member is in its life. Start, Create, Join, Leave and Stop change it.
type Phase string

// The phases of a member.
const (
	// PhaseNew is the phase before Start.
	PhaseNew Phase = "new"
	// PhaseOutside is the phase after Start. The member is in no ring and tries to join none.
	PhaseOutside Phase = "outside"
	// PhaseLooking is the phase while JoinOrCreate searches for a ring, or for members to create
	// one with.
	PhaseLooking Phase = "looking"
	// PhaseJoining is the phase while the member joins a ring.
	PhaseJoining Phase = "joining"
	// PhaseJoined is the phase of a member that is in a ring.
	PhaseJoined Phase = "joined"
	// PhaseLeaving is the phase of a member that is still in the ring and hands over to its
	// neighbours.
	PhaseLeaving Phase = "leaving"
	// PhaseSuperseded is the phase of a member that has yielded to a later one of the same name.
	// See ErrSuperseded.
	PhaseSuperseded Phase = "superseded"
	// PhaseStopped is the phase after Stop or Leave.
	PhaseStopped Phase = "stopped"
)

// String returns the phase as one word in lower case.
func (p Phase) String() string { return string(p) }

// PeerFailure is what went wrong, once or again and again, between this process and
// a peer, for one cause.
type PeerFailure struct {
	// Name is that of the member, empty if it is not known.
	Name string `json:"name"`
	// Address is where the member was asked; of a connection that was refused here
	// the host that it came from. Empty if a request that was refused did not say.
	Address string `json:"address"`
	// Incoming: the peer asked, and was refused here. Otherwise it was asked.
	Incoming bool `json:"incoming"`
	// Cause is OutcomeTimedOut, OutcomeUnreachable, OutcomeRefused,
	// OutcomeWrongMember, OutcomeWrongRing or OutcomeInvalid.
	Cause Outcome `json:"cause"`
	// Error says in words what happened the last time.
	Error string `json:"error"`
	// First is when it happened first.
	First time.Time `json:"first"`
	// Last is when it happened last.
	Last time.Time `json:"last"`
	// Count is how often it happened.
	Count int `json:"count"`
}

// peerFailures says in public terms what went wrong with peers.
func peerFailures(list []node.PeerFailure) []PeerFailure {
	out := make([]PeerFailure, len(list))
	for i, f := range list {
		out[i] = PeerFailure{
			Name: f.Name, Address: f.Addr, Incoming: f.Incoming, Cause: OutcomeUnreachable, Error: f.Err,
			First: f.First, Last: f.Last, Count: int(min(f.Count, math.MaxInt)),
		}
		if cause, ok := requestOutcomes[f.Kind]; ok {
			out[i].Cause = cause
		}
	}
	return out
}

// Finger is a member and the distances d, Low ≤ d ≤ High, of 2^i and of 3·2^(i−1),
// for which it is responsible for self + d.
type Finger struct {
	Server Server `json:"server"`      // the member
	Low    uint64 `json:"low,string"`  // the smallest such distance
	High   uint64 `json:"high,string"` // the greatest
}

// Counters are totals since Start.
type Counters struct {
	Lookups            uint64 `json:"lookups"`             // begun here, those of fingers included
	Owned              uint64 `json:"owned"`               // of those, answered by the member's own range
	Confirmed          uint64 `json:"confirmed"`           // of those, answered by an arc confirmed of late
	LookupsFailed      uint64 `json:"lookups_failed"`      // that found no owner
	RouteRequests      uint64 `json:"route_requests"`      // members asked during lookups
	RingRequests       uint64 `json:"ring_requests"`       // requests of the ring's maintenance sent
	Served             uint64 `json:"served_requests"`     // requests of others
	Timeouts           uint64 `json:"timeouts"`            // requests not answered in time
	Broken             uint64 `json:"broken"`              // connections that others ended
	JoinRetries        uint64 `json:"join_retries"`        // attempts to join that another followed
	FingerLookups      uint64 `json:"finger_lookups"`      // lookups of fingers, which are among Lookups
	RangeChanges       uint64 `json:"range_changes"`       // changes of the member's range
	BytesWritten       uint64 `json:"bytes_written"`       // to TCP connections of either direction, without TCP's headers
	SuccessorChanges   uint64 `json:"successor_changes"`   // how often the nearest member clockwise was replaced
	PredecessorChanges uint64 `json:"predecessor_changes"` // how often the nearest counter-clockwise was
	Rounds             uint64 `json:"rounds"`              // of looking after the neighbours, one each StabilizeInterval
	Suspicions         uint64 `json:"suspicions"`          // members that lookups began to go round
	RingsMet           uint64 `json:"rings_met"`           // members of other rings met, see Observer.RingMet
	// IncarnationsRefused counts messages that were refused because they name a member
	// whose incarnation is more than a day ahead of the clock here: a clock is wrong, or
	// somebody lies.
	IncarnationsRefused uint64 `json:"incarnations_refused"`
	// PeerFailures counts requests to others without a usable answer, each time.
	PeerFailures uint64 `json:"peer_failures"`
	// IncomingRefused counts connections and requests of others that were refused
	// here: a TLS handshake that failed, too many connections, another kind of ring.
	IncomingRefused uint64 `json:"incoming_refused"`
}

// Status returns the state of the member. It may be called at any time.
func (c *Concord) Status() Status {
	c.mu.Lock()
	n, running := c.node, c.live.Load() != nil
	c.mu.Unlock()
	out := Status{Self: c.self(), Phase: PhaseNew, Successors: []Server{}, Fingers: []Finger{}, Acquaintances: []Server{}, Failures: []PeerFailure{}}
	if n == nil {
		return out
	}
	s := n.Snapshot()
	v := s.View
	out.Incarnation = v.Self.Incarnation
	out.Counters = Counters(n.Counters())
	out.Phase = Phase(v.Phase.String())
	out.Failures = peerFailures(n.PeerFailures())
	if !running {
		out.Phase = PhaseStopped
		return out
	}
	out.Connections = n.Connections()
	out.Isolated = v.Isolated
	if v.HasArc {
		own := rangeOf(v.Arc)
		out.Range = &own
		if !v.Isolated {
			out.Share = c.space.Share(v.Arc)
		}
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
	out.Arcs = n.Arcs()
	if age, ok := n.HeadAge(s); ok {
		out.SuccessorAge = &age
	}
	switch {
	case s.Table != nil:
		out.Size = s.Table.Size()
	case v.Isolated:
		out.Size = 1 + len(v.Succ)
	}
	return out
}

// ClientStatus is the state of a Client at one instant.
type ClientStatus struct {
	// Contacts are the members that its searches begin at.
	Contacts []Server `json:"contacts"`
	// Arcs is how many arcs are remembered with their owners, by which lookups are
	// answered from memory.
	Arcs int `json:"arcs"`
	// Connections is how many connections are open or being opened.
	Connections int `json:"connections"`
	// Counters are totals since Dial. Those of what only members do are zero.
	Counters Counters `json:"counters"`
	// Failures are what went wrong with members last, the newest first, one for each
	// cause and member. At most 16.
	Failures []PeerFailure `json:"failures"`
}

// Status returns the state of the client. It may be called at any time; after Close
// only the counters and the failures are left.
func (c *Client) Status() ClientStatus {
	out := ClientStatus{Contacts: []Server{}, Counters: Counters(c.node.Counters()), Failures: peerFailures(c.node.PeerFailures())}
	table := c.node.Snapshot().Table
	if table == nil {
		return out
	}
	out.Contacts = servers(table.Near())
	out.Arcs, out.Connections = c.node.Arcs(), c.node.Connections()
	return out
}
