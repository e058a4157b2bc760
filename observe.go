package concord

import (
	"context"
	"errors"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Observer is a set of functions that are told what a member or a client does. Functions that are
// nil are not called; the zero Observer has no effect and no cost. Later versions may add
// functions. Packages concordprom and concordotel make Observers. The function Observers joins
// several into one.
//
// An Observer is not told of lookups that are answered from memory, because they are too many and
// take too little time. Counters counts them.
//
// Lookup, Request and Serve are called concurrently, in the goroutine of the lookup or the request,
// which waits for them. The context that they return is used for what follows. It must be the
// context that they were given or be derived from it. The function done may be nil. Otherwise it is
// called once, when the lookup or the request has ended. A member with Serve or Extract answers
// lookups of others at a higher cost, since each has a goroutine of its own.
//
// Range, Successor, Predecessor, Suspicion and RingMet are called one at a time, in the order of
// the events, and outside all locks. They may call any method of the member. While 1024 calls wait
// for a slow one, further calls are dropped. None of them begins after Stop, Leave or Close has
// returned.
type Observer struct {
	// Lookup is called when a lookup begins that memory does not answer, even if it fails at once.
	Lookup func(ctx context.Context, l LookupBegin) (_ context.Context, done func(LookupEnd))
	// Request is called before a member is asked. Requests of a lookup have the context of the
	// lookup; the others maintain the ring. Lookups that ask one member for the same thing at the
	// same time share a request, which has the context of the first.
	Request func(ctx context.Context, r RequestInfo) (_ context.Context, done func(RequestEnd))
	// Serve is called when another member or a client asks this member.
	Serve func(ctx context.Context, r RequestInfo) (_ context.Context, done func(RequestEnd))

	// Inject adds headers to requests of kind KindRoute by calling set, to carry the context of a
	// trace. A header is dropped if its name has other characters than a-z, 0-9, "-", "_" and ".",
	// if the name is reserved (it begins with "grpc-" or ends in "-bin"), if its value is not
	// printable ASCII, or if it is beyond 8 KiB in total. Nothing else of the context of a lookup
	// is sent, in particular no gRPC metadata that the caller has set for its own requests.
	Inject func(ctx context.Context, set func(key, value string))
	// Extract returns the context in which such a request from another process is served. It is
	// called before Serve. The function get returns the value of a header, or "". Everyone who can
	// connect can send any headers.
	Extract func(ctx context.Context, get func(key string) string) context.Context

	// Range is called for each change of the member's range. Changes are not merged.
	Range func(Event)
	// Successor is called when the nearest member clockwise has changed. A zero Server stands for
	// none. Changes of the successors after it are not reported.
	Successor func(old, now Server)
	// Predecessor is called when the nearest member counterclockwise has changed. A zero Server
	// stands for none.
	Predecessor func(old, now Server)
	// Suspicion is called when a member did not answer or does not exist, and lookups begin to go
	// around it.
	Suspicion func(Server)
	// RingMet is called when the member has met by, a member of another ring, and the two rings are
	// about to become one. This happens after a partition, and when several rings were created.
	// Usually several members of both rings notice it, each for itself.
	RingMet func(by Server)
}

// LookupBegin describes a lookup that memory does not answer.
type LookupBegin struct {
	// Id is the identifier of the key.
	Id uint64
	// Background is true if the member looks up a finger for its own routing table.
	Background bool
}

// LookupEnd is the result of a lookup.
type LookupEnd struct {
	// Outcome is OutcomeOK if the lookup found the owner.
	Outcome Outcome
	// Owner is the member that the lookup found. It is zero if the lookup failed.
	Owner Server
	// Source says where the answer came from. It is empty if the lookup failed.
	Source Source
	// Hops is the number of members asked.
	Hops int
	// Took is the duration of the lookup.
	Took time.Duration
	// Err is the error that LookupContext returns. It is nil if the lookup found the owner. If it
	// is a *LookupError, its Key is nil.
	Err error
}

// RequestInfo describes a request to a member.
type RequestInfo struct {
	// Kind is what the request asks for.
	Kind RequestKind
	// Server is the other side of the request. It is zero if a client or a legacy member asks. It
	// has only an Address if it is not known which member is there.
	Server Server
}

// RequestKind says what a request asks for. The values suit the label of a metric: they are few, in
// lower case, and have no spaces.
type RequestKind string

// The kinds of requests. KindRoute and KindFindSuccessor belong to lookups and KindMeta to Meta;
// KindMap belongs to the map of the ring; the others maintain the ring.
const (
	// KindRoute asks a member where an identifier belongs. It is one step of a lookup.
	KindRoute RequestKind = "route"
	// KindFindSuccessor asks a member for a whole lookup. Only legacy members send it.
	KindFindSuccessor RequestKind = "find_successor"
	// KindMeta asks a member for its Config.Meta.
	KindMeta RequestKind = "meta"
	// KindMap compares the maps of the ring of two members, or tells what is new on the sender's.
	// From a client, it asks the member to tell the client of its map, and ends with the first
	// message of that.
	KindMap RequestKind = "map"
	// KindRing asks a member for its predecessor and its successors.
	KindRing RequestKind = "ring"
	// KindNotify tells a member that the sender has it as its successor.
	KindNotify RequestKind = "notify"
	// KindSeek asks where a member belongs in the ring.
	KindSeek RequestKind = "seek"
	// KindPlace asks where a member belongs in the ring. If it belongs right after the receiver,
	// the receiver considers it as its successor.
	KindPlace RequestKind = "place"
	// KindIntroduce tells a member of another that may be nearer than its successor.
	KindIntroduce RequestKind = "introduce"
	// KindChanged tells a member that the successor list of the sender has changed.
	KindChanged RequestKind = "changed"
	// KindLook asks a member for its ring. The sender searches for a ring in JoinOrCreate.
	KindLook RequestKind = "look"
	// KindLeave tells a neighbour that the sender leaves the ring.
	KindLeave RequestKind = "leave"
)

// String returns the kind as metrics and traces show it.
func (k RequestKind) String() string { return string(k) }

// RequestEnd is the result of a request.
type RequestEnd struct {
	// Outcome is OutcomeOK if there was an answer.
	Outcome Outcome
	// Took is the duration of the request.
	Took time.Duration
	// Err is nil if there was an answer. For a request that was served, it says why it was refused.
	Err error
}

// Outcome is the result of a lookup or a request. The values suit the label of a metric: they are
// few, in lower case, and have no spaces.
type Outcome string

// The outcomes of lookups and requests.
const (
	// OutcomeOK means that a lookup found the owner, or that a request was answered.
	OutcomeOK Outcome = "ok"
	// OutcomeTimedOut means that a lookup or a request was not answered in time.
	OutcomeTimedOut Outcome = "timed_out"
	// OutcomeCancelled means that the caller of a lookup or a request gave up. For a request that
	// was served it can also mean that this member was overloaded or stopping.
	OutcomeCancelled Outcome = "cancelled"
	// OutcomeNotJoined means that the member that was asked is in no ring.
	OutcomeNotJoined Outcome = "not_joined"
	// OutcomeIsolated means that the member that was asked is isolated. See Config.MinMembers.
	OutcomeIsolated Outcome = "isolated"
	// OutcomeStopped means that the member was stopped during a lookup.
	OutcomeStopped Outcome = "stopped"
	// OutcomeSuperseded means that a lookup ended with ErrSuperseded.
	OutcomeSuperseded Outcome = "superseded"
	// OutcomeHopLimit means that a lookup ended with ErrHopLimit.
	OutcomeHopLimit Outcome = "hop_limit"
	// OutcomeUnverified means that a lookup ended with ErrUnverified.
	OutcomeUnverified Outcome = "unverified"
	// OutcomeFailed means that a lookup that the member made for itself had no member left to ask.
	OutcomeFailed Outcome = "failed"
	// OutcomeUnreachable means that a request found no connection or that its connection broke.
	OutcomeUnreachable Outcome = "unreachable"
	// OutcomeRefused means that nothing listens at the address of a request.
	OutcomeRefused Outcome = "refused"
	// OutcomeWrongMember means that a request reached another member than it was meant for.
	OutcomeWrongMember Outcome = "wrong_member"
	// OutcomeWrongRing means that the other side of a request belongs to another kind of ring. See
	// ErrDifferentRing.
	OutcomeWrongRing Outcome = "wrong_ring"
	// OutcomeInvalid means that one side of a request could not accept what the other sent.
	OutcomeInvalid Outcome = "invalid"
	// OutcomeRelayed means that a legacy member answered a request with the failure of a third
	// member that it had asked.
	OutcomeRelayed Outcome = "relayed"
	// OutcomeOverloaded means that the member that was asked refused a request because it had too
	// many at work, and did so again each time that it was asked anew within the time allowed.
	OutcomeOverloaded Outcome = "overloaded"
	// OutcomeDenied means that one side of a request does not accept the other as the member that
	// it claims to be. See TLSConfig.Identity and Config.Authorize.
	OutcomeDenied Outcome = "denied"
)

// String returns the outcome as metrics and traces show it.
func (o Outcome) String() string { return string(o) }

// requestOutcomes are the outcomes of requests by what failed them.
var requestOutcomes = map[protocol.FailureKind]Outcome{
	protocol.TimedOut:    OutcomeTimedOut,
	protocol.Unreachable: OutcomeUnreachable,
	protocol.Refused:     OutcomeRefused,
	protocol.WrongMember: OutcomeWrongMember,
	protocol.WrongRing:   OutcomeWrongRing,
	protocol.NotJoined:   OutcomeNotJoined,
	protocol.Invalid:     OutcomeInvalid,
	protocol.Cancelled:   OutcomeCancelled,
	protocol.Isolated:    OutcomeIsolated,
	protocol.Relayed:     OutcomeRelayed,
	protocol.Overloaded:  OutcomeOverloaded,
	protocol.Denied:      OutcomeDenied,
}

// lookupOutcome is the outcome of a lookup that ended with a public error.
func lookupOutcome(err error) Outcome {
	for _, o := range []struct {
		err     error
		outcome Outcome
	}{
		{context.DeadlineExceeded, OutcomeTimedOut}, {context.Canceled, OutcomeCancelled}, {ErrNotJoined, OutcomeNotJoined},
		{ErrIsolated, OutcomeIsolated}, {ErrStopped, OutcomeStopped}, {ErrSuperseded, OutcomeSuperseded}, {ErrHopLimit, OutcomeHopLimit},
		{ErrUnverified, OutcomeUnverified},
	} {
		if errors.Is(err, o.err) {
			return o.outcome
		}
	}
	return OutcomeFailed
}

// copied is a copy of the Observer, the zero one for none.
func (o *Observer) copied() *Observer {
	if o == nil {
		return &Observer{}
	}
	out := *o
	return &out
}

// inside is the Observer in the words of the runtime. What is nil stays so.
func (o *Observer) inside() (in node.Observer) {
	if o == nil {
		o = &Observer{}
	}
	if f := o.Lookup; f != nil {
		in.Lookup = func(ctx context.Context, l node.Begun) (context.Context, func(node.Ended)) {
			ctx, done := f(ctx, LookupBegin{Id: l.ID, Background: l.Background})
			if done == nil {
				return ctx, nil
			}
			return ctx, func(e node.Ended) { done(lookupEnd(e)) }
		}
	}
	in.Request, in.Serve = requestHook(o.Request), requestHook(o.Serve)
	if f := o.Range; f != nil {
		in.Range = func(old, now node.Holding) { f(event(old, now)) }
	}
	in.Successor, in.Predecessor = replacedHook(o.Successor), replacedHook(o.Predecessor)
	in.Suspicion, in.RingMet = memberHook(o.Suspicion), memberHook(o.RingMet)
	return in
}

func lookupEnd(e node.Ended) LookupEnd {
	end := LookupEnd{Outcome: OutcomeOK, Hops: len(e.Hops), Took: e.Took}
	if e.Err != nil {
		if le, ok := errors.AsType[*node.LookupError](e.Err); ok {
			end.Hops = len(le.Hops)
		}
		end.Err = lookupError(nil, e.Err)
		end.Outcome = lookupOutcome(end.Err)
		return end
	}
	end.Owner, end.Source = server(e.Owner), sources[e.Source]
	return end
}

func requestHook(f func(context.Context, RequestInfo) (context.Context, func(RequestEnd))) func(context.Context, node.Request) (context.Context, func(*protocol.Failure, time.Duration)) {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, r node.Request) (context.Context, func(*protocol.Failure, time.Duration)) {
		ctx, done := f(ctx, RequestInfo{Kind: RequestKind(r.Kind), Server: server(r.Member)})
		if done == nil {
			return ctx, nil
		}
		return ctx, func(f *protocol.Failure, took time.Duration) {
			end := RequestEnd{Outcome: OutcomeOK, Took: took}
			if f != nil {
				end.Outcome, end.Err = requestOutcomes[f.Kind], failureError(f, ring.Member{})
			}
			done(end)
		}
	}
}

func replacedHook(f func(old, now Server)) func(old, now ring.Member) {
	if f == nil {
		return nil
	}
	return func(old, now ring.Member) { f(server(old), server(now)) }
}

func memberHook(f func(Server)) func(ring.Member) {
	if f == nil {
		return nil
	}
	return func(x ring.Member) { f(server(x)) }
}

// Observers joins several Observers into one. It calls the functions of each in the order of the
// list, and the done functions in the opposite order. Nil Observers in the list are skipped.
func Observers(list ...*Observer) *Observer {
	out := &Observer{}
	for _, o := range list {
		if o == nil {
			continue
		}
		out.Lookup = bothBegin(out.Lookup, o.Lookup)
		out.Request = bothBegin(out.Request, o.Request)
		out.Serve = bothBegin(out.Serve, o.Serve)
		out.Inject = both2(out.Inject, o.Inject)
		out.Extract = bothExtract(out.Extract, o.Extract)
		out.Range = both(out.Range, o.Range)
		out.Successor = both2(out.Successor, o.Successor)
		out.Predecessor = both2(out.Predecessor, o.Predecessor)
		out.Suspicion = both(out.Suspicion, o.Suspicion)
		out.RingMet = both(out.RingMet, o.RingMet)
	}
	return out
}

func both[T any](f, g func(T)) func(T) {
	if f == nil || g == nil {
		return either(f == nil, g, f)
	}
	return func(x T) { f(x); g(x) }
}

func both2[T, U any](f, g func(T, U)) func(T, U) {
	if f == nil || g == nil {
		return either(f == nil, g, f)
	}
	return func(x T, y U) { f(x, y); g(x, y) }
}

func bothExtract(f, g func(context.Context, func(string) string) context.Context) func(context.Context, func(string) string) context.Context {
	if f == nil || g == nil {
		return either(f == nil, g, f)
	}
	return func(ctx context.Context, get func(string) string) context.Context { return g(f(ctx, get), get) }
}

func bothBegin[T, E any](f, g func(context.Context, T) (context.Context, func(E))) func(context.Context, T) (context.Context, func(E)) {
	if f == nil || g == nil {
		return either(f == nil, g, f)
	}
	return func(ctx context.Context, x T) (context.Context, func(E)) {
		ctx, first := f(ctx, x)
		ctx, second := g(ctx, x)
		return ctx, both(second, first)
	}
}

func either[T any](first bool, x, y T) T {
	if first {
		return x
	}
	return y
}
