package concord

import (
	"math"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Status is the state of a member at one instant.
type Status struct {
	// Self identifies the member itself. Its Address is known after Start.
	Self Server `json:"self"`
	// Incarnation is greater after each restart of the member. It is zero before Start.
	Incarnation uint64 `json:"incarnation,string"`
	// Zone is Config.Zone.
	Zone string `json:"zone,omitempty"`
	// Phase says whether the member is in a ring, and what it is doing if it is not.
	Phase Phase `json:"phase"`
	// Isolated is true if the member knows fewer live members than Config.MinMembers, at every one
	// of its identifiers. It serves no key then.
	Isolated bool `json:"isolated"`
	// Range is the range that the member is responsible for. It is nil while the member has none.
	// Of a member with VirtualNodes it is the one of its first identifier; see Ranges.
	Range *Range `json:"range,omitempty"`
	// Ranges are all ranges that the member is responsible for, as [Concord.Ranges] gives them.
	Ranges []Range `json:"ranges"`
	// VirtualNodes is at how many identifiers the member stands in the ring now. It is 0 if the
	// member has drained, and otherwise at least 1.
	VirtualNodes int `json:"virtual_nodes"`
	// Weight is at how many identifiers the member is to stand; see [Concord.SetWeight]. It is 0 if
	// the member drains or has drained.
	Weight int `json:"weight"`
	// Share is the part of the circle that the member serves, from 0 to 1. It is the size of all
	// Ranges, without those of identifiers at which the member is isolated. The shares of a ring
	// that has settled add up to 1.
	Share float64 `json:"share"`
	// Predecessor is the nearest member counterclockwise. It is nil while it is not known, and in a
	// ring of one. Of a member with VirtualNodes it is the one before its first identifier, which
	// can be the member itself.
	Predecessor *Server `json:"predecessor,omitempty"`
	// Successors are the next members clockwise, nearest first. There are at most SuccessorCount.
	// It is empty while the member is in no ring, and in a ring of one. Of a member with
	// VirtualNodes they are the ones after its first identifier.
	Successors []Server `json:"successors"`
	// Fingers are the members that the fingers lead to, each once, farthest first.
	Fingers []Finger `json:"fingers"`
	// Acquaintances are the other live members that the member knows. It finds the ring again
	// through them when it has lost its successors and its predecessor. Each is listed once, at
	// however many identifiers it is known. Of a member that has drained they are those by which it
	// finds owners.
	Acquaintances []Server `json:"acquaintances"`
	// Silent is the number of acquaintances that did not answer the last time they were asked. A
	// member with VirtualNodes has acquaintances at each of its identifiers; this is the largest
	// of the numbers.
	Silent int `json:"silent"`
	// Pending is the number of acquaintances that may be in another ring, counted like Silent.
	Pending int `json:"pending"`
	// Arcs is the number of arcs that are remembered with their owners. They answer lookups from
	// memory.
	Arcs int `json:"arcs"`
	// SuccessorAge is how long ago the nearest successor last answered. It is nil while there is no
	// successor or it has not answered yet. Of a member with VirtualNodes it is the longest of
	// those times, since each of its identifiers has a nearest successor.
	SuccessorAge *time.Duration `json:"successor_age_ns,omitempty"`
	// Size is the number of members of the ring, each counted once whatever its VirtualNodes. It is
	// exact if the member's map of the ring is certain, and an estimate otherwise.
	Size int `json:"size_estimate"`
	// Connections is the number of outgoing connections that are open or being opened, including
	// those of [Concord.Conn].
	Connections int `json:"connections"`
	// IncomingConnections is the number of connections that others have made to the member, or to
	// the server of the application that it is registered on.
	IncomingConnections int `json:"incoming_connections"`
	// Subscribers is the number of clients that the member tells of its map of the ring.
	Subscribers int `json:"subscribers"`
	// Counters are totals since Start.
	Counters Counters `json:"counters"`
	// Failures are the last failures of requests between this member and others, newest first, one
	// for each cause and peer. There are at most 16.
	Failures []PeerFailure `json:"failures"`
}

// Phase is a stage in the life of a member. Start, Create, Join, Leave and Stop change it.
type Phase string

// The phases of a member.
const (
	// PhaseNew is the phase before Start.
	PhaseNew Phase = "new"
	// PhaseOutside is the phase after Start. The member is in no ring and is not joining one.
	PhaseOutside Phase = "outside"
	// PhaseLooking is the phase in which JoinOrCreate searches for a ring, or for other members to
	// create one with.
	PhaseLooking Phase = "looking"
	// PhaseJoining is the phase in which the member joins a ring.
	PhaseJoining Phase = "joining"
	// PhaseJoined is the phase of a member that is in a ring.
	PhaseJoined Phase = "joined"
	// PhaseLeaving is the phase of a member that has told its neighbours that it leaves. It still
	// answers requests.
	PhaseLeaving Phase = "leaving"
	// PhaseDraining is the phase of a member that is in a ring, and whose weight is 0: it hands on
	// its ranges. See [Concord.Drain].
	PhaseDraining Phase = "draining"
	// PhaseDrained is the phase of a member that has drained. It is in no ring, finds the owners of
	// keys as a Client does, and comes back when its weight is above 0.
	PhaseDrained Phase = "drained"
	// PhaseSuperseded is the phase of a member that has yielded to another one of the same name
	// that started later. See ErrSuperseded.
	PhaseSuperseded Phase = "superseded"
	// PhaseStopped is the phase after Stop or Leave.
	PhaseStopped Phase = "stopped"
)

// String returns the phase, which is one word in lower case.
func (p Phase) String() string { return string(p) }

// PeerFailure is a failure between this process and a peer that happened once or several times with
// the same cause.
type PeerFailure struct {
	// Name is the name of the peer. It is empty if the name is not known.
	Name string `json:"name"`
	// Address is the address at which the peer was asked. If the peer was refused here, it is the
	// host that its connection came from, and empty if a refused request did not say.
	Address string `json:"address"`
	// Incoming is true if the peer sent the request, or opened the connection, and was refused
	// here. It is false if this process sent the request.
	Incoming bool `json:"incoming"`
	// Cause is OutcomeTimedOut, OutcomeUnreachable, OutcomeRefused, OutcomeWrongMember,
	// OutcomeWrongRing, OutcomeInvalid or OutcomeDenied.
	Cause Outcome `json:"cause"`
	// Error says what happened the last time.
	Error string `json:"error"`
	// First is when the failure happened first.
	First time.Time `json:"first"`
	// Last is when the failure happened last.
	Last time.Time `json:"last"`
	// Count is how often the failure happened.
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

// Finger is a member that a routing table leads to. The member is responsible for Id + d, where Id
// is that of the member that has the table, for all distances d of the form 2^i or 3·2^(i−1)
// between Low and High.
type Finger struct {
	// Server is the member that the finger leads to.
	Server Server `json:"server"`
	// Low is the smallest of the distances.
	Low uint64 `json:"low,string"`
	// High is the greatest of the distances.
	High uint64 `json:"high,string"`
}

// Counters are totals since Start, or since Dial for a Client.
type Counters struct {
	// Lookups is the number of lookups begun, including those of fingers that are searched for.
	Lookups uint64 `json:"lookups"`
	// Owned is the number of Lookups that the member's own range answered.
	Owned uint64 `json:"owned"`
	// Mapped is the number of Lookups that the map of the ring answered.
	Mapped uint64 `json:"mapped"`
	// Confirmed is the number of Lookups that an arc confirmed by its owner answered from memory.
	Confirmed uint64 `json:"confirmed"`
	// LookupsFailed is the number of lookups that found no owner.
	LookupsFailed uint64 `json:"lookups_failed"`
	// RouteRequests is the number of requests sent for lookups.
	RouteRequests uint64 `json:"route_requests"`
	// RingRequests is the number of requests sent to maintain the ring.
	RingRequests uint64 `json:"ring_requests"`
	// MapRequests is the number of requests that the member's map of the ring has sent.
	MapRequests uint64 `json:"map_requests"`
	// Subscriptions is how often a Client has subscribed to the map of a member.
	Subscriptions uint64 `json:"subscriptions"`
	// Served is the number of requests of others that were answered.
	Served uint64 `json:"served_requests"`
	// Timeouts is the number of requests that were not answered in time.
	Timeouts uint64 `json:"timeouts"`
	// Broken is the number of connections that others ended.
	Broken uint64 `json:"broken"`
	// JoinRetries is the number of attempts to join that were followed by another one.
	JoinRetries uint64 `json:"join_retries"`
	// FingerLookups is how often a finger was looked up. It is one of Lookups only if neither the
	// map of the ring nor the member that was the finger has answered.
	FingerLookups uint64 `json:"finger_lookups"`
	// RangeChanges is the number of changes of the member's range.
	RangeChanges uint64 `json:"range_changes"`
	// BytesWritten is the number of bytes written to connections of either direction, without the
	// headers of TCP. Connections that an application uses for its own services do not count.
	BytesWritten uint64 `json:"bytes_written"`
	// SuccessorChanges is the number of changes of the nearest member clockwise.
	SuccessorChanges uint64 `json:"successor_changes"`
	// PredecessorChanges is the number of changes of the nearest member counterclockwise.
	PredecessorChanges uint64 `json:"predecessor_changes"`
	// Rounds is the number of rounds in which the member checked its neighbours. In each
	// StabilizeInterval there is one at each of its identifiers.
	Rounds uint64 `json:"rounds"`
	// Suspicions is the number of times that lookups began to go around a member.
	Suspicions uint64 `json:"suspicions"`
	// RingsMet is the number of meetings with members of other rings. See Observer.RingMet.
	RingsMet uint64 `json:"rings_met"`
	// IncarnationsRefused is the number of messages refused because they name a member whose
	// incarnation is more than a day ahead of the clock of this host. Either a clock is wrong or a
	// member lies.
	IncarnationsRefused uint64 `json:"incarnations_refused"`
	// DialsRefused is the number of requests that were not made to an address that others had
	// named, since no member had answered at too many such addresses. Somebody names addresses at
	// random, or many members are gone at once. See docs/SECURITY.md.
	DialsRefused uint64 `json:"dials_refused"`
	// Denied is how often this process did not accept a peer as the member that it claims to be,
	// because of TLSConfig.Identity or Config.Authorize.
	Denied uint64 `json:"denied"`
	// PeerFailures is the number of requests to others that got no usable answer.
	PeerFailures uint64 `json:"peer_failures"`
	// IncomingRefused is the number of connections and requests of others that were refused here,
	// because a TLS handshake failed, there were too many connections, the other side belongs to
	// another kind of ring, or the request was malformed.
	IncomingRefused uint64 `json:"incoming_refused"`
	// ConnectionsRefused is the number of connections of others that were closed here because there
	// are too many, or because nothing came on them. See Config.Limits.
	ConnectionsRefused uint64 `json:"connections_refused"`
	// AcceptFailures is how often no connection could be accepted, because the process has no file
	// descriptor left, for example. See Alive.
	AcceptFailures uint64 `json:"accept_failures"`
	// OverloadedRing is the number of questions of others about the ring that were refused because
	// too many were at work.
	OverloadedRing uint64 `json:"overloaded_ring"`
	// OverloadedChanges is the number of messages that can change the ring that were refused for
	// that reason.
	OverloadedChanges uint64 `json:"overloaded_changes"`
	// OverloadedLookups is the number of steps of lookups that were refused for that reason.
	OverloadedLookups uint64 `json:"overloaded_lookups"`
	// OverloadedForwarded is the number of whole lookups for others that were refused for that
	// reason.
	OverloadedForwarded uint64 `json:"overloaded_forwarded"`
	// OverloadedSubscriptions is the number of subscriptions of clients that were refused for that
	// reason.
	OverloadedSubscriptions uint64 `json:"overloaded_subscriptions"`
	// LogRecordsLost is the number of records that Config.LogHandler was not given, since more
	// than 1024 waited for it. A record says so once the handler takes records again.
	LogRecordsLost uint64 `json:"log_records_lost"`
}

// Status returns the state of the member. It may be called at any time.
func (c *Concord) Status() Status {
	c.mu.Lock()
	n, running := c.node, c.live.Load() != nil
	c.mu.Unlock()
	out := Status{Self: c.self(), Zone: c.cfg.Zone, Phase: PhaseNew, Successors: []Server{}, Fingers: []Finger{}, Ranges: []Range{}, VirtualNodes: 1, Weight: max(1, int(c.cfg.VirtualNodes)), Acquaintances: []Server{}, Failures: []PeerFailure{}}
	if n == nil {
		return out
	}
	s := n.Snapshot()
	v := s.View
	out.Incarnation = v.Self.Incarnation
	out.Counters = Counters(n.Counters())
	out.Phase = phaseOf(n)
	out.Weight, _ = n.Weight()
	out.Failures = peerFailures(n.PeerFailures())
	if !running {
		out.Phase = PhaseStopped
		return out
	}
	out.Connections, out.IncomingConnections, out.Subscribers = n.Connections(), n.Intake().Connections, n.Subscribers()
	if v.HasArc {
		own := rangeOf(v.Arc)
		out.Range = &own
	}
	nodes := n.Nodes()
	out.Ranges, out.VirtualNodes = append(out.Ranges, ranges(n)...), len(nodes)
	c.statusOfAll(&out, nodes)
	if out.Phase == PhaseDrained {
		out.VirtualNodes, out.Acquaintances = 0, servers(n.Guests())
	}
	if !v.Pred.IsZero() {
		p := server(v.Pred)
		out.Predecessor = &p
	}
	out.Successors = c.following(v)
	for _, f := range s.Fingers {
		out.Fingers = append(out.Fingers, Finger{Server: server(f.Member), Low: routing.Reach(f.Low), High: routing.Reach(f.High)})
	}
	out.Arcs = n.Arcs()
	out.Size = n.Size()
	return out
}

// statusOfAll sets what is true of the process at all of its identifiers together.
func (c *Concord) statusOfAll(out *Status, nodes []*node.Node) {
	serves := false
	for _, x := range nodes {
		s := x.Snapshot()
		v := s.View
		if v.Isolated {
			out.Isolated = true
		} else if r, ok := rangeAt(x); ok {
			// While identifiers join, two of them can have the same part for a moment.
			out.Share = min(1, out.Share+c.space.Share(r.arc()))
		}
		serves = serves || v.Serves()
		for _, y := range servers(v.Known) {
			if y != out.Self && !slices.Contains(out.Acquaintances, y) {
				out.Acquaintances = append(out.Acquaintances, y)
			}
		}
		out.Silent, out.Pending = max(out.Silent, v.Silent), max(out.Pending, v.Pending)
		if age, ok := x.HeadAge(s); ok && (out.SuccessorAge == nil || age > *out.SuccessorAge) {
			out.SuccessorAge = &age
		}
	}
	out.Isolated = out.Isolated && !serves
}

// phaseOf is the phase of a running member.
func phaseOf(n *node.Node) Phase {
	phase := n.Snapshot().View.Phase
	switch weight, drained := n.Weight(); {
	case drained && phase == protocol.Outside:
		return PhaseDrained
	case weight == 0 && phase.InRing():
		return PhaseDraining
	}
	return Phase(phase.String())
}

// ClientStatus is the state of a Client at one instant.
type ClientStatus struct {
	// Contacts are the members that lookups start from.
	Contacts []Server `json:"contacts"`
	// Arcs is the number of arcs that are remembered with their owners. They answer lookups from
	// memory.
	Arcs int `json:"arcs"`
	// Connections is the number of connections that are open or being opened, including those of
	// [Client.Conn].
	Connections int `json:"connections"`
	// Counters are totals since Dial. Those that only members count are zero.
	Counters Counters `json:"counters"`
	// Failures are the last failures of requests to members, newest first, one for each cause and
	// member. There are at most 16.
	Failures []PeerFailure `json:"failures"`
}

// Status returns the state of the Client. It may be called at any time. After Close only the
// counters and the failures are left.
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
