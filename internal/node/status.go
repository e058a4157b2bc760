package node

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// counters count since the node was made.
type counters struct {
	owned, mapped, confirmed, searched spread // lookups, by where the answer came from
	mapRequests                        atomic.Uint64
	subscriptions                      atomic.Uint64 // of this client
	subscribers                        atomic.Int64  // of this member, now
	lookupsFailed                      atomic.Uint64
	routed                             atomic.Uint64
	asked                              [int(protocol.Leave) + 1]atomic.Uint64
	served, servedRoutes               atomic.Uint64
	timeouts, broken                   atomic.Uint64
	joinRetries                        atomic.Uint64
	fingers                            atomic.Uint64
	ranges                             atomic.Uint64
	successors, predecessors           atomic.Uint64
	rounds                             atomic.Uint64
	suspicions, ringsMet               atomic.Uint64
	incarnations                       atomic.Uint64 // refused
	dials                              atomic.Uint64 // refused
	denied                             atomic.Uint64 // claims to be a member
	logLost                            atomic.Uint64 // records
	logGap                             atomic.Uint64 // of those, that no record has told of yet
}

// spread is a counter that is added to from many goroutines at once: by what they
// count they are spread over cache lines.
type spread [8]struct {
	n atomic.Uint64
	_ [56]byte
}

func (s *spread) add(id uint64) { s[id%8].n.Add(1) }

func (s *spread) load() (total uint64) {
	for i := range s {
		total += s[i].n.Load()
	}
	return total
}

// Counters are totals since the node was made.
type Counters struct {
	Lookups       uint64 // lookups begun here, fingers that are searched for included
	Owned         uint64 // of those, answered by the member's own arc
	Mapped        uint64 // of those, answered by the map of the ring
	Confirmed     uint64 // of those, answered by a confirmed arc
	LookupsFailed uint64
	RouteRequests uint64 // steps of lookups asked of others
	RingRequests  uint64 // requests of maintenance sent, of all kinds
	MapRequests   uint64 // requests of the map sent, of all kinds
	Subscriptions uint64 // of a client, at members
	Served        uint64 // requests of others, of all kinds
	Timeouts      uint64 // requests that were not answered in time
	Broken        uint64 // connections that others ended
	JoinRetries   uint64
	FingerLookups uint64
	RangeChanges  uint64
	BytesWritten  uint64 // to connections of either direction

	SuccessorChanges   uint64 // of the nearest
	PredecessorChanges uint64
	Rounds             uint64
	Suspicions         uint64 // members that lookups began to go round
	RingsMet           uint64 // meetings with other rings, as far as noticed
	// IncarnationsRefused counts messages refused for an incarnation that no member
	// can have.
	IncarnationsRefused uint64
	DialsRefused        uint64 // questions to addresses named by others, since too many of them do not answer
	Denied              uint64 // peers that were not taken for the member that they claim to be
	PeerFailures        uint64 // questions without a usable answer
	IncomingRefused     uint64 // connections and requests refused here
	ConnectionsRefused  uint64 // of others, at once or later, since there are too many
	AcceptFailures      uint64 // when a connection of another was to be accepted
	// Requests of others refused since too many like them are at work: questions about
	// the ring, changes of it, steps of lookups, and whole lookups for others.
	OverloadedRing, OverloadedChanges, OverloadedLookups, OverloadedForwarded uint64
	OverloadedSubscriptions                                                   uint64 // the same of subscriptions of clients
	LogRecordsLost                                                            uint64 // since too many waited for the log handler
}

// Counters returns the totals so far.
func (fd *Finder) Counters() Counters {
	c := &fd.counters
	out := Counters{
		Owned: c.owned.load(), Mapped: c.mapped.load(), MapRequests: c.mapRequests.Load(), Confirmed: c.confirmed.load(), LookupsFailed: c.lookupsFailed.Load(), RouteRequests: c.routed.Load(),
		Served: c.served.Load() + c.servedRoutes.Load(), Timeouts: c.timeouts.Load(), Broken: c.broken.Load(),
		JoinRetries: c.joinRetries.Load(), FingerLookups: c.fingers.Load(), RangeChanges: c.ranges.Load(),
		SuccessorChanges: c.successors.Load(), PredecessorChanges: c.predecessors.Load(), Rounds: c.rounds.Load(),
		Suspicions: c.suspicions.Load(), RingsMet: c.ringsMet.Load(),
		IncarnationsRefused: c.incarnations.Load(), DialsRefused: c.dials.Load(), Denied: c.denied.Load(), LogRecordsLost: c.logLost.Load(),
	}
	out.Lookups = out.Owned + out.Mapped + out.Confirmed + c.searched.load()
	out.BytesWritten = fd.tr.Written()
	in := fd.tr.Intake()
	out.ConnectionsRefused, out.AcceptFailures = in.ConnectionsRefused+in.ConnectionsClosed, in.AcceptFailures
	out.OverloadedRing, out.OverloadedChanges = in.RingRefused, in.ChangesRefused
	out.OverloadedLookups, out.OverloadedForwarded = in.LookupsRefused, in.ForwardedRefused
	out.OverloadedSubscriptions, out.Subscriptions = in.SubscribeRefused, c.subscriptions.Load()
	out.PeerFailures, _ = fd.failures.counts()
	_, out.IncomingRefused = fd.refusals.counts()
	for i := range c.asked {
		out.RingRequests += c.asked[i].Load()
	}
	return out
}

// Subscribers is how many clients are told of the map now.
func (fd *Finder) Subscribers() int { return int(fd.counters.subscribers.Load()) }

// Arcs is how many arcs are remembered with their owners, certain or not.
func (fd *Finder) Arcs() int { return fd.arcs.Len() }

// HeadAge is how long ago the head of the successor list last answered for itself,
// in the picture s; false if there is none, or it has not yet.
func (n *Node) HeadAge(s *Snapshot) (time.Duration, bool) {
	if len(s.View.Succ) == 0 || s.View.Answered < 0 || !s.View.Phase.InRing() {
		return 0, false
	}
	return max(0, n.now()-s.View.Answered), true
}

// Intake is what others take up of the transport.
func (fd *Finder) Intake() transport.Intake { return fd.tr.Intake() }

// Connections is how many outgoing connections the transport has.
func (fd *Finder) Connections() int { return fd.tr.Connections() }

// logChange logs how a member's pointers changed, outside the lock. Callers hold mu.
func (n *Node) logChange(old, now *protocol.View) {
	if n.log != nil {
		n.record(func() { n.logViews(old, now) })
	}
}

// noteCompany notes to whom the process points, and logs it if it points to nobody else any
// more at any of its identifiers. It is called with the view that others read already.
func (n *Node) noteCompany(v *protocol.View) {
	if n.log == nil || v.Phase != protocol.Joined {
		return
	}
	first := n.lead()
	if v.KnowsOthers() {
		first.company.Store(v)
		return
	}
	for _, x := range first.Nodes() {
		if v := x.snap.Load().View; v.KnowsOthers() || !v.Alone && len(v.Succ) == 0 && v.Phase == protocol.Joined {
			return
		}
	}
	switch last := first.company.Swap(nil); {
	case last == nil: // it was alone before
	case n.leavers.all(others(last), time.Now()):
		first.Note(slog.LevelInfo, "alone: the others have left")
	default:
		first.Note(slog.LevelWarn, "alone: no other member answers")
	}
}

// others are the members of other processes that v points to.
func others(v *protocol.View) []ring.Member {
	return slices.DeleteFunc(append(slices.Clone(v.Succ), v.Pred), func(x ring.Member) bool {
		return x.IsZero() || x.Name == v.Self.Name
	})
}

func (n *Node) logViews(old, now *protocol.View) {
	if old.Phase != now.Phase && n.tries.due(old.Phase, now.Phase, time.Now()) {
		n.once(slog.LevelInfo, "phase changed",
			slog.Group("old", slog.String("phase", old.Phase.String())), slog.Group("new", slog.String("phase", now.Phase.String())))
	}
	oldHead, newHead := old.Head(), now.Head()
	if oldHead != newHead {
		n.logDetail("successor replaced", attr("old", oldHead), attr("new", newHead))
	}
	if old.Pred != now.Pred {
		n.logDetail("predecessor replaced", attr("old", old.Pred), attr("new", now.Pred))
	}
	switch {
	case now.Doubts && !old.Doubts:
		n.once(slog.LevelWarn, "hung: owns nothing until the successor has answered")
	case old.Doubts && !now.Doubts && now.Phase == protocol.Joined:
		n.once(slog.LevelInfo, "owns its range again")
	}
	switch {
	case now.Isolated && !old.Isolated:
		n.once(slog.LevelWarn, "isolated: serves no key", slog.Int("known", now.Living()), slog.Int("required", n.cfg.MinMembers))
	case old.Isolated && !now.Isolated && now.Phase.InRing():
		n.once(slog.LevelInfo, "isolated no longer", slog.Int("known", now.Living()))
	}
}

// once logs what happens to all identifiers of a process alike: at the level for the first of
// them, and for the others as a detail.
func (n *Node) once(level slog.Level, msg string, attrs ...slog.Attr) {
	if n.first != nil {
		n.logDetail(msg, attrs...)
		return
	}
	n.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// logDetail logs what happens at one identifier: at Info if the process has one only. Of one
// that may have several it is too much for Info, and the record says at which; see logStands.
func (n *Node) logDetail(msg string, attrs ...slog.Attr) {
	level := slog.LevelInfo
	if n.first != nil || n.identities.hub != nil {
		level = slog.LevelDebug
		attrs = append(attrs, Identifier("identifier", n.cfg.Self.ID))
	}
	n.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// logStands logs at how many identifiers the process stands now, with what it owns, once
// each of them has a range, or after two intervals.
func (n *Node) logStands(msg string) {
	if n.log == nil {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, 2*n.cfg.Interval)
	defer cancel()
	ranges, share := 0, 0.0
	nodes := n.Nodes()
	for _, x := range nodes {
		s := x.Snapshot()
		for !s.View.HasArc && ctx.Err() == nil {
			select {
			case <-s.Next:
			case <-ctx.Done():
			}
			s = x.Snapshot()
		}
	}
	for _, x := range nodes {
		if v := x.Snapshot().View; v.HasArc {
			ranges++
			share = min(1, share+n.space.Share(v.Arc))
		}
	}
	n.Note(slog.LevelInfo, msg, slog.Int("count", len(nodes)), slog.Int("ranges", ranges), slog.Float64("share", math.Round(share*1e4)/1e4))
}

// tries is when changes of phase to and fro between attempts to get into a ring were logged. It is
// used by the log only, which is told of one change at a time.
type tries map[[2]protocol.Phase]time.Time

// due reports whether a change of phase is to be logged: any that leads into or out of a ring,
// and each other once in failurePause.
func (t *tries) due(old, now protocol.Phase, at time.Time) bool {
	if now.InRing() || old.InRing() || now == protocol.Superseded {
		clear(*t)
		return true
	}
	change := [2]protocol.Phase{old, now}
	if last, ok := (*t)[change]; ok && at.Sub(last) < failurePause {
		return false
	}
	if *t == nil {
		*t = tries{}
	}
	(*t)[change] = at
	return true
}

// logRange logs a change of the range, outside the lock. Callers hold mu.
func (n *Node) logRange(e protocol.RangeChanged) {
	if n.log != nil {
		var to ring.Member // who answers for what was lost, as Watch says
		if e.HadOld && e.HasNew && len(e.Old.Minus(e.New)) > 0 {
			to = n.view.Pred
		}
		n.record(func() { n.logArcs(e, to) })
	}
}

func (n *Node) logArcs(e protocol.RangeChanged, to ring.Member) {
	n.logDetail("range changed",
		slog.Group("old", Identifier("start", e.Old.After), Identifier("end", e.Old.To), slog.Bool("held", e.HadOld)),
		slog.Group("new", Identifier("start", e.New.After), Identifier("end", e.New.To), slog.Bool("held", e.HasNew)),
		slog.String("cause", e.Cause.String()), attr("from", e.From), attr("to", to))
}

func (n *Node) logMeeting(by ring.Member) {
	if n.log != nil {
		n.Note(slog.LevelWarn, "another ring met", attr("by", by))
	}
}

// noteStranger counts and logs that a member of another ring has answered.
func (n *Node) noteStranger(e protocol.Stranger) {
	n.noteFailure(PeerFailure{Name: e.By.Name, Addr: e.By.Addr, Kind: e.Why.Kind, Err: failureWords(e.Why, e.By.Addr)})
}

// attr is a member as an attribute, with the id by which Status and all commands name it. It
// is a group whoever it is: an attribute has one type in all records, or those who index them
// refuse some. All of nobody is empty. At is the identifier that is meant, if its process may
// stand at several.
func attr(key string, m ring.Member) slog.Attr {
	if m.IsZero() {
		return slog.Group(key, slog.String("name", ""), slog.String("id", ""), slog.String("address", ""))
	}
	attrs := []any{slog.String("name", m.Name), Identifier("id", m.Process()), slog.String("address", m.Addr)}
	if m.Choice.Several() {
		attrs = append(attrs, Identifier("at", m.ID))
	}
	return slog.Group(key, attrs...)
}

// Identifier is an identifier as an attribute: a string, as in all JSON, since numbers
// there have 53 bits for many who read them.
func Identifier(key string, id uint64) slog.Attr {
	return slog.String(key, strconv.FormatUint(id, 10))
}
