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
	lookupSources   = []string{"own_range", "confirmed_arc", "successor_list", "asked", "none"}
	lookupOutcomes  = words(concord.OutcomeOK, concord.OutcomeTimedOut, concord.OutcomeCancelled, concord.OutcomeNotJoined, concord.OutcomeIsolated, concord.OutcomeStopped, concord.OutcomeSuperseded, concord.OutcomeHopLimit, concord.OutcomeFailed)
	requestOutcomes = words(concord.OutcomeOK, concord.OutcomeTimedOut, concord.OutcomeCancelled, concord.OutcomeUnreachable, concord.OutcomeRefused, concord.OutcomeWrongMember, concord.OutcomeWrongRing, concord.OutcomeNotJoined, concord.OutcomeIsolated, concord.OutcomeInvalid)
	askedOutcomes   = append(slices.Clip(requestOutcomes), concord.OutcomeRelayed.String()) // of requests to others
	requestKinds    = words(concord.KindRoute, concord.KindMeta, concord.KindRing, concord.KindNotify, concord.KindSeek, concord.KindPlace, concord.KindIntroduce, concord.KindChanged, concord.KindLook, concord.KindLeave)
	servedKinds     = append(words(concord.KindFindSuccessor), requestKinds...)
	rangeCauses     = []string{"created", "joined", "predecessor_joined", "predecessor_failed", "predecessor_left", "alone", "superseded", "enough_members", "resumed"}
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
		Help:   "Lookups of the application that have ended, by where the owner's name came from (none: it was not found) and what became of them. Of own_range and confirmed_arc, which are answered from memory, a few are the member's own.",
		Labels: []Label{{"source", lookupSources}, {"outcome", lookupOutcomes}}}
	LookupDuration = &Metric{Base: "lookup_duration", Kind: Histogram, Unit: "s", Client: true, Buckets: durations,
		Help:   "Time of the application's lookups that memory did not answer.",
		Labels: []Label{{"outcome", []string{"ok", "error"}}}}
	LookupHops = &Metric{Base: "lookup_hops", Kind: Histogram, Client: true, Buckets: hops,
		Help: "Members asked in the application's lookups that memory did not answer and that found the owner."}
	Requests = &Metric{Base: "requests", Kind: Counter, Client: true,
		Help:   "Requests to members, by what was asked (route: a step of a lookup; meta: what a member's application says of it; else maintenance of the ring) and what became of them.",
		Labels: []Label{{"kind", requestKinds}, {"outcome", askedOutcomes}}}
	RequestDuration = &Metric{Base: "request_duration", Kind: Histogram, Unit: "s", Client: true, Buckets: durations,
		Help:   "Time until a request was answered or given up. notify, introduce and leave are answered when the other has asked third members.",
		Labels: []Label{{"kind", requestKinds}}}
	Served = &Metric{Base: "served_requests", Kind: Counter,
		Help:   "Requests of others that have been answered or refused, by what was asked and why they were refused. find_successor: lookups done for members of the existing library.",
		Labels: []Label{{"kind", servedKinds}, {"outcome", requestOutcomes}}}
	Suspicions = &Metric{Base: "suspicions", Kind: Counter, Client: true,
		Help: "Members that did not answer, so that lookups began to go round them."}
	RefusedIncarnations = &Metric{Base: "refused_incarnations", Kind: Counter, Client: true,
		Help: "Messages refused because they name a member whose incarnation is more than a day ahead of the clock here: a clock is wrong, or somebody lies."}
	PeerFailures = &Metric{Base: "peer_failures", Kind: Counter, Client: true,
		Help: "Requests without a usable answer: not in time, nobody there, somebody else, another kind of ring, a certificate refused. The log and the status say of whom and why."}
	IncomingRefused = &Metric{Base: "incoming_refused", Kind: Counter,
		Help: "Connections and requests of others that were refused here: a TLS handshake that failed, too many connections, another kind of ring. The log and the status say of whom and why."}
	BrokenConnections = &Metric{Base: "broken_connections", Kind: Counter, Client: true,
		Help: "Outgoing connections that the other side ended."}
	Connections = &Metric{Base: "connections", Kind: Gauge, Client: true,
		Help: "Outgoing connections open or being opened."}
	WrittenBytes = &Metric{Base: "written_bytes", Kind: Counter, Client: true,
		Help: "Bytes written to connections of either direction, without the headers of TCP and IP."}
	Arcs = &Metric{Base: "arcs", Kind: Gauge, Client: true,
		Help: "Arcs remembered with their owners, by which lookups are answered from memory. At most 1024."}

	RangeChanges = &Metric{Base: "range_changes", Kind: Counter,
		Help:   "Changes of the member's range, by their cause.",
		Labels: []Label{{"cause", rangeCauses}}}
	SuccessorChanges = &Metric{Base: "successor_changes", Kind: Counter,
		Help: "How often the nearest successor was replaced."}
	PredecessorChanges = &Metric{Base: "predecessor_changes", Kind: Counter,
		Help: "How often the predecessor was replaced."}
	Rounds = &Metric{Base: "rounds", Kind: Counter,
		Help: "Rounds of looking after the neighbours (stabilize), one each StabilizeInterval while the member is in a ring."}
	RingsMet = &Metric{Base: "rings_met", Kind: Counter,
		Help: "Members of other rings met, which become one with this member's ring: after a partition, or when several were founded. Several members may each count one merge."}
	JoinRetries = &Metric{Base: "join_retries", Kind: Counter,
		Help: "Attempts to join that did not succeed and were followed by another."}
	FingerLookups = &Metric{Base: "finger_lookups", Kind: Counter,
		Help: "Fingers looked up: the member's own lookups, which are not in concord_lookups_total."}
	Joined = &Metric{Base: "joined", Kind: Gauge,
		Help: "1 while the member is in a ring, isolated or not, else 0."}
	Isolated = &Metric{Base: "isolated", Kind: Gauge,
		Help: "1 while fewer members are known to live than MinMembers, so that the member serves no key, else 0."}
	RangeShare = &Metric{Base: "range_share", Kind: Gauge,
		Help: "Share of the circle that the member serves, from 0 to 1. Those of all members come to 1: to more where keys have two owners, to less where they have none."}
	MembersEstimate = &Metric{Base: "members_estimate", Kind: Gauge,
		Help: "Number of members, from the density of the successor list: exact in a ring that the list covers, else right to within a factor of two or so."}
	Successors = &Metric{Base: "successors", Kind: Gauge,
		Help: "Members in the successor list: SuccessorCount, or all others if there are fewer. One less may fail at once."}
	SuccessorAge = &Metric{Base: "successor_age", Kind: Gauge, Unit: "s",
		Help: "Time since the nearest successor last answered for itself. At most about a StabilizeInterval; absent while there is no successor, or it has not answered yet."}
	Fingers = &Metric{Base: "fingers", Kind: Gauge,
		Help: "Distinct fingers."}
	Acquaintances = &Metric{Base: "acquaintances", Kind: Gauge,
		Help: "Live members remembered to find the ring by when all pointers fail. At most 16, with those that are silent."}
	SilentAcquaintances = &Metric{Base: "silent_acquaintances", Kind: Gauge,
		Help: "Members remembered that did not answer when last asked."}
	PendingAcquaintances = &Metric{Base: "pending_acquaintances", Kind: Gauge,
		Help: "Members remembered that may be in another ring; being looked into."}
)

// All lists the metrics in the order in which they are documented.
var All = []*Metric{
	Joined, Isolated, RangeShare, MembersEstimate, Successors, SuccessorAge,
	Lookups, LookupDuration, LookupHops,
	RangeChanges, SuccessorChanges, PredecessorChanges, Rounds, RingsMet, Suspicions,
	Requests, RequestDuration, Served, RefusedIncarnations, PeerFailures, IncomingRefused, BrokenConnections, Connections, WrittenBytes,
	Arcs, Fingers, FingerLookups, Acquaintances, SilentAcquaintances, PendingAcquaintances, JoinRetries,
}
