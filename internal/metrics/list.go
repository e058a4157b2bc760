package metrics

import (
	"slices"

	"github.com/ollelogdahl/concord"
)

// Kind is how a metric behaves.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter" // only rises while the process lives, and begins anew with Start
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Metric is one of the metrics.
type Metric struct {
	// Base is its name without "concord_", and without what its kind and unit add.
	Base string
	Kind Kind
	// Unit is "s" for seconds, else empty.
	Unit   string
	Help   string
	Labels []Label
	// Buckets are the upper bounds of a histogram.
	Buckets []float64
	// Client: clients have it, too.
	Client bool
}

// Label is one label of a metric, with every value that it can have.
type Label struct {
	Name   string
	Values []string
}

// Name is the metric's name by the conventions of Prometheus.
func (m *Metric) Name() string {
	name := "concord_" + m.Base
	if m.Unit == "s" {
		name += "_seconds"
	}
	if m.Kind == Counter {
		name += "_total"
	}
	return name
}

// LabelNames are the names of its labels.
func (m *Metric) LabelNames() []string {
	var names []string
	for _, l := range m.Labels {
		names = append(names, l.Name)
	}
	return names
}

// Values of labels.
var (
	lookupSources   = []string{"own_range", "ring_map", "confirmed_arc", "successor_list", "asked", "none"}
	lookupOutcomes  = words(concord.OutcomeOK, concord.OutcomeTimedOut, concord.OutcomeCancelled, concord.OutcomeNotJoined, concord.OutcomeIsolated, concord.OutcomeStopped, concord.OutcomeSuperseded, concord.OutcomeHopLimit, concord.OutcomeUnverified, concord.OutcomeFailed)
	requestOutcomes = words(concord.OutcomeOK, concord.OutcomeTimedOut, concord.OutcomeCancelled, concord.OutcomeUnreachable, concord.OutcomeRefused, concord.OutcomeWrongMember, concord.OutcomeWrongRing, concord.OutcomeNotJoined, concord.OutcomeIsolated, concord.OutcomeInvalid)
	askedOutcomes   = append(slices.Clip(requestOutcomes), concord.OutcomeRelayed.String(), concord.OutcomeOverloaded.String(), concord.OutcomeDenied.String()) // of requests to others
	requestKinds    = words(concord.KindRoute, concord.KindMeta, concord.KindMap, concord.KindRing, concord.KindNotify, concord.KindSeek, concord.KindPlace, concord.KindIntroduce, concord.KindChanged, concord.KindLook, concord.KindLeave)
	servedKinds     = append(words(concord.KindFindSuccessor), requestKinds...)
	rangeCauses     = []string{"created", "joined", "predecessor_joined", "predecessor_failed", "predecessor_left", "alone", "superseded", "enough_members", "resumed", "given_up"}
)

func words[T ~string](values ...T) []string {
	var out []string
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

// Buckets. A lookup or a request takes from some 50 µs on one machine to the 5 s of
// its bound.
var (
	durations = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	hops      = []float64{0, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64}
)

// The metrics.
var (
	Lookups = &Metric{Base: "lookups", Kind: Counter, Client: true,
		Help:   "Lookups of the application that have ended, by the source of the answer (none: the owner was not found) and by their outcome. own_range, ring_map and confirmed_arc are answers from memory; they include a few lookups of the member itself.",
		Labels: []Label{{"source", lookupSources}, {"outcome", lookupOutcomes}}}
	LookupDuration = &Metric{Base: "lookup_duration", Kind: Histogram, Unit: "s", Client: true, Buckets: durations,
		Help:   "Duration of the application's lookups that were not answered from memory.",
		Labels: []Label{{"outcome", []string{"ok", "error"}}}}
	LookupHops = &Metric{Base: "lookup_hops", Kind: Histogram, Client: true, Buckets: hops,
		Help: "Members asked in each lookup of the application that found the owner and was not answered from memory."}
	Requests = &Metric{Base: "requests", Kind: Counter, Client: true,
		Help:   "Requests to members, by kind (route: a step of a lookup; meta: a question for Config.Meta; all others: maintenance of the ring) and by outcome.",
		Labels: []Label{{"kind", requestKinds}, {"outcome", askedOutcomes}}}
	RequestDuration = &Metric{Base: "request_duration", Kind: Histogram, Unit: "s", Client: true, Buckets: durations,
		Help:   "Time until a request was answered or given up. A member answers notify, introduce and leave after it has asked third members.",
		Labels: []Label{{"kind", requestKinds}}}
	Served = &Metric{Base: "served_requests", Kind: Counter,
		Help:   "Requests of other members that were answered or refused, by kind and by outcome. find_successor: lookups for legacy members.",
		Labels: []Label{{"kind", servedKinds}, {"outcome", requestOutcomes}}}
	Suspicions = &Metric{Base: "suspicions", Kind: Counter, Client: true,
		Help: "Members that did not answer, so that lookups began to avoid them."}
	RefusedIncarnations = &Metric{Base: "refused_incarnations", Kind: Counter, Client: true,
		Help: "Messages refused because they name a member whose incarnation is more than a day ahead of the local clock. A clock is wrong, or somebody lies."}
	RefusedDials = &Metric{Base: "refused_dials", Kind: Counter, Client: true,
		Help: "Requests that were not made to an address that others had named, since no member had answered at too many such addresses. Somebody names addresses at random, or many members are gone at once."}
	Denied = &Metric{Base: "denied", Kind: Counter, Client: true,
		Help: "Peers that were not accepted as the member that they claim to be: their certificate does not prove the claim, or Config.Authorize refuses it. The log and the status name the peer and the rule."}
	PeerFailures = &Metric{Base: "peer_failures", Kind: Counter, Client: true,
		Help: "Requests without a usable answer: no answer in time, no process there, another member there, another kind of ring, a refused certificate. The log and the status name the peer and the cause."}
	IncomingRefused = &Metric{Base: "incoming_refused", Kind: Counter,
		Help: "Incoming connections and requests that were refused: a TLS handshake that failed, too many connections, another kind of ring, a malformed request. The log and the status name the peer and the cause."}
	RefusedConnections = &Metric{Base: "refused_connections", Kind: Counter,
		Help: "Incoming connections that were closed because there were too many, or because nothing came on them. The log names the host."}
	AcceptFailures = &Metric{Base: "accept_failures", Kind: Counter,
		Help: "How often no incoming connection could be accepted. The most common reason is that the process has no file descriptor left. The log has the reason."}
	Overloaded = &Metric{Base: "overloaded_requests", Kind: Counter,
		Help:   "Requests of others that were refused because too many like them were at work. ring: questions about the ring; change: messages that can change it; lookup: steps of lookups; forwarded: whole lookups for others; subscription: clients that want to be told of the map of the ring. The log names the host.",
		Labels: []Label{{"kind", []string{"ring", "change", "lookup", "forwarded", "subscription"}}}}
	IncomingConnections = &Metric{Base: "incoming_connections", Kind: Gauge,
		Help: "Connections that others have made to the member."}
	Subscribers = &Metric{Base: "subscribers", Kind: Gauge,
		Help: "Clients that the member tells of its map of the ring."}
	BrokenConnections = &Metric{Base: "broken_connections", Kind: Counter, Client: true,
		Help: "Outgoing connections that the other side ended."}
	Connections = &Metric{Base: "connections", Kind: Gauge, Client: true,
		Help: "Outgoing connections open or being opened."}
	WrittenBytes = &Metric{Base: "written_bytes", Kind: Counter, Client: true,
		Help: "Bytes written to outgoing and incoming connections, without the headers of TCP and IP."}
	Arcs = &Metric{Base: "arcs", Kind: Gauge, Client: true,
		Help: "Arcs remembered with their owners. Lookups are answered from them without a request. At most 1024."}

	RangeChanges = &Metric{Base: "range_changes", Kind: Counter,
		Help:   "Changes of the member's range, by cause.",
		Labels: []Label{{"cause", rangeCauses}}}
	SuccessorChanges = &Metric{Base: "successor_changes", Kind: Counter,
		Help: "How often the nearest successor was replaced."}
	PredecessorChanges = &Metric{Base: "predecessor_changes", Kind: Counter,
		Help: "How often the predecessor was replaced."}
	Rounds = &Metric{Base: "rounds", Kind: Counter,
		Help: "Rounds of stabilization while the member is in a ring, one per StabilizeInterval at each of its identifiers."}
	RingsMet = &Metric{Base: "rings_met", Kind: Counter,
		Help: "Members of other rings that the member has met. Their ring and its own become one, after a partition or after several rings were founded. Several members may each count one merge."}
	JoinRetries = &Metric{Base: "join_retries", Kind: Counter,
		Help: "Attempts to join that failed and were followed by another attempt."}
	FingerLookups = &Metric{Base: "finger_lookups", Kind: Counter,
		Help: "Lookups that the member made for its fingers. They are not in concord_lookups_total."}
	Joined = &Metric{Base: "joined", Kind: Gauge,
		Help: "1 while the member is in a ring, whether it is isolated or not; otherwise 0."}
	Isolated = &Metric{Base: "isolated", Kind: Gauge,
		Help: "1 while the member knows of fewer live members than MinMembers and therefore serves no key; otherwise 0."}
	RangeShare = &Metric{Base: "range_share", Kind: Gauge,
		Help: "Share of the circle that the member serves, from 0 to 1. The sum over all members is 1. It is larger if keys have two owners, and smaller if keys have none."}
	VirtualNodes = &Metric{Base: "virtual_nodes", Kind: Gauge,
		Help: "Identifiers at which the member stands, 0 if it has drained. It differs from concord_weight while identifiers come or go."}
	Weight = &Metric{Base: "weight", Kind: Gauge,
		Help: "Identifiers at which the member is to stand: its VirtualNodes, or what SetWeight has set since. 0 if it drains or has drained."}
	MembersEstimate = &Metric{Base: "members_estimate", Kind: Gauge,
		Help: "Number of members, each counted once whatever its VirtualNodes. It is exact if the member's map of the ring is certain. Otherwise it is estimated from the density of the successor list, as if all members stood at as many identifiers as this one, and right to within a factor of about two."}
	Successors = &Metric{Base: "successors", Kind: Gauge,
		Help: "Members in the successor list: SuccessorCount, or all other members if there are fewer. One member less than that may fail at once."}
	SuccessorAge = &Metric{Base: "successor_age", Kind: Gauge, Unit: "s",
		Help: "Time since the nearest successor last answered. Normally at most about a StabilizeInterval. With VirtualNodes the longest of all identifiers, normally at most about seven StabilizeIntervals. Absent while there is no successor, or it has not answered yet."}
	Fingers = &Metric{Base: "fingers", Kind: Gauge,
		Help: "Distinct members that the fingers point to."}
	Acquaintances = &Metric{Base: "acquaintances", Kind: Gauge,
		Help: "Live members that are remembered, to find the ring again when all pointers fail. Together with the silent ones at most 16 for each identifier of this member."}
	SilentAcquaintances = &Metric{Base: "silent_acquaintances", Kind: Gauge,
		Help: "Remembered members that did not answer when they were last asked. With VirtualNodes the largest number at one identifier."}
	PendingAcquaintances = &Metric{Base: "pending_acquaintances", Kind: Gauge,
		Help: "Remembered members that may be in another ring. The member is finding out. With VirtualNodes the largest number at one identifier."}
)

// All lists the metrics in the order in which they are documented.
var All = []*Metric{
	Joined, Isolated, RangeShare, VirtualNodes, Weight, MembersEstimate, Successors, SuccessorAge,
	Lookups, LookupDuration, LookupHops,
	RangeChanges, SuccessorChanges, PredecessorChanges, Rounds, RingsMet, Suspicions,
	Requests, RequestDuration, Served, RefusedIncarnations, RefusedDials, Denied, PeerFailures, IncomingRefused, RefusedConnections, AcceptFailures, Overloaded, BrokenConnections, Connections, IncomingConnections, Subscribers, WrittenBytes,
	Arcs, Fingers, FingerLookups, Acquaintances, SilentAcquaintances, PendingAcquaintances, JoinRetries,
}
