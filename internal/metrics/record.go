package metrics

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/ollelogdahl/concord"
)

// Record counts what an Observer is told, and reads the rest from a Status when it
// is asked for. It is of one member or one client. Its methods may be called
// concurrently.
type Record struct {
	lookups, requests, served table
	ranges                    table
}

// NewRecord returns an empty Record.
func NewRecord() *Record {
	return &Record{
		lookups: newTable(Lookups), requests: newTable(Requests), served: newTable(Served), ranges: newTable(RangeChanges),
	}
}

// Observe takes one value of a histogram, with the values of its labels.
type Observe func(value float64, labels ...string)

// Histograms take what cannot be read later. None may be nil.
type Histograms struct {
	LookupDuration, LookupHops, RequestDuration Observe
}

// Observer returns the Observer that fills the record and the histograms.
func (r *Record) Observer(h Histograms) *concord.Observer {
	return &concord.Observer{
		Lookup: func(ctx context.Context, l concord.LookupBegin) (context.Context, func(concord.LookupEnd)) {
			if l.Background {
				return ctx, nil
			}
			return ctx, func(e concord.LookupEnd) {
				r.lookups.add(source(e.Source), e.Outcome.String())
				if e.Outcome != concord.OutcomeOK {
					h.LookupDuration(e.Took.Seconds(), "error")
					return
				}
				h.LookupDuration(e.Took.Seconds(), "ok")
				h.LookupHops(float64(e.Hops))
			}
		},
		Request: func(ctx context.Context, q concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
			return ctx, func(e concord.RequestEnd) {
				r.requests.add(q.Kind.String(), e.Outcome.String())
				h.RequestDuration(e.Took.Seconds(), q.Kind.String())
			}
		},
		Serve: func(ctx context.Context, q concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
			return ctx, func(e concord.RequestEnd) { r.served.add(q.Kind.String(), e.Outcome.String()) }
		},
		Range: func(e concord.Event) { r.ranges.add(underscored(e.Cause.String())) },
	}
}

func source(s concord.Source) string {
	if s == "" {
		return "none"
	}
	return underscored(s.String())
}

func underscored(s string) string { return strings.ReplaceAll(s, " ", "_") }

// Put takes one figure, with the values of the metric's labels.
type Put func(m *Metric, value float64, labels ...string)

// Member gives the figures of a member, but for the histograms.
func (r *Record) Member(s concord.Status, put Put) {
	joined := s.Phase == concord.PhaseJoined || s.Phase == concord.PhaseLeaving || s.Phase == concord.PhaseDraining
	put(Joined, flag(joined))
	put(Isolated, flag(s.Isolated))
	put(RangeShare, s.Share)
	put(VirtualNodes, float64(s.VirtualNodes))
	put(Weight, float64(s.Weight))
	put(MembersEstimate, float64(s.Size))
	put(Successors, float64(len(s.Successors)))
	if s.SuccessorAge != nil {
		put(SuccessorAge, s.SuccessorAge.Seconds())
	}
	r.common(s.Counters, s.Arcs, s.Connections, put)
	r.ranges.put(RangeChanges, always, put)
	r.served.put(Served, ifOK, put)
	put(SuccessorChanges, float64(s.Counters.SuccessorChanges))
	put(PredecessorChanges, float64(s.Counters.PredecessorChanges))
	put(Rounds, float64(s.Counters.Rounds))
	put(RingsMet, float64(s.Counters.RingsMet))
	put(Fingers, float64(len(s.Fingers)))
	put(FingerLookups, float64(s.Counters.FingerLookups))
	put(Acquaintances, float64(len(s.Acquaintances)))
	put(SilentAcquaintances, float64(s.Silent))
	put(PendingAcquaintances, float64(s.Pending))
	put(IncomingRefused, float64(s.Counters.IncomingRefused))
	put(RefusedConnections, float64(s.Counters.ConnectionsRefused))
	put(AcceptFailures, float64(s.Counters.AcceptFailures))
	put(Overloaded, float64(s.Counters.OverloadedRing), "ring")
	put(Overloaded, float64(s.Counters.OverloadedChanges), "change")
	put(Overloaded, float64(s.Counters.OverloadedLookups), "lookup")
	put(Overloaded, float64(s.Counters.OverloadedForwarded), "forwarded")
	put(Overloaded, float64(s.Counters.OverloadedSubscriptions), "subscription")
	put(Subscribers, float64(s.Subscribers))
	put(IncomingConnections, float64(s.IncomingConnections))
	put(JoinRetries, float64(s.Counters.JoinRetries))
}

// Client gives the figures of a client, but for the histograms.
func (r *Record) Client(s concord.ClientStatus, put Put) {
	r.common(s.Counters, s.Arcs, s.Connections, put)
}

// common gives those that both have.
func (r *Record) common(c concord.Counters, arcs, connections int, put Put) {
	memory := map[string]uint64{"own_range": c.Owned, "ring_map": c.Mapped, "confirmed_arc": c.Confirmed}
	r.lookups.each(func(n uint64, labels []string) {
		if found := labels[0] != "none"; found == (labels[1] == "ok") {
			if found {
				n += memory[labels[0]]
			}
			put(Lookups, float64(n), labels...)
		}
	})
	r.requests.put(Requests, ifOK, put)
	put(Suspicions, float64(c.Suspicions))
	put(RefusedIncarnations, float64(c.IncarnationsRefused))
	put(RefusedDials, float64(c.DialsRefused))
	put(Denied, float64(c.Denied))
	put(PeerFailures, float64(c.PeerFailures))
	put(BrokenConnections, float64(c.Broken))
	put(Connections, float64(connections))
	put(WrittenBytes, float64(c.BytesWritten))
	put(Arcs, float64(arcs))
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// table is a counter for each combination of the values of one or two labels.
type table struct {
	metric *Metric
	counts map[[2]string]*atomic.Uint64 // never modified
}

func newTable(m *Metric) table {
	t := table{metric: m, counts: map[[2]string]*atomic.Uint64{}}
	m.combinations(func(labels ...string) { t.counts[key(labels)] = new(atomic.Uint64) })
	return t
}

func key(labels []string) (k [2]string) {
	copy(k[:], labels)
	return k
}

// add counts one. What is on no list is not counted: the labels are bounded.
func (t table) add(labels ...string) {
	if n := t.counts[key(labels)]; n != nil {
		n.Add(1)
	}
}

// each visits all in the order of their values on the lists.
func (t table) each(visit func(n uint64, labels []string)) {
	t.metric.combinations(func(labels ...string) { visit(t.counts[key(labels)].Load(), labels) })
}

// put gives out those that have counted something, and of the others those that
// wanted accepts: a series that is there from the beginning shows its first event.
func (t table) put(m *Metric, wanted func(labels []string) bool, put Put) {
	t.each(func(n uint64, labels []string) {
		if n > 0 || wanted(labels) {
			put(m, float64(n), labels...)
		}
	})
}

func always([]string) bool      { return true }
func ifOK(labels []string) bool { return labels[1] == "ok" }

// combinations visits every combination of the values of the labels.
func (m *Metric) combinations(visit func(labels ...string)) {
	for _, v := range m.Labels[0].Values {
		if len(m.Labels) == 1 {
			visit(v)
			continue
		}
		for _, w := range m.Labels[1].Values {
			visit(v, w)
		}
	}
}
