package concord

import (
	"context"
	"errors"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Observer is told what a member, or a client, does: a set of functions, of which
// those that are nil are not called. The zero Observer is told nothing, and no
// Observer costs nothing. More functions may be added in later versions.
// Packages concordprom and concordotel make Observers; Observers joins several.
//
// What memory answers is not told of: such lookups are too many and too quick. They
// are in Counters.
//
// Lookup, Request and Serve are called where the thing happens, concurrently: what
// they take, the lookup or the answer takes longer. The context that they return is
// that of what follows, so that it must be the one that they were given or be
// derived from it; done may be nil, and is called once, when it is over. Range,
// Successor, Predecessor, Suspicion and RingMet are called one at a time, in order,
// outside all locks, and may call any method of the member; while 1024 calls wait
// for one that is slow, further ones are left out. After Stop, Leave or Close has
// returned none of them begins.
type Observer struct {
	// Lookup is called when a lookup that memory does not answer begins, also one
	// that fails at once.
	Lookup func(ctx context.Context, l LookupBegin) (_ context.Context, done func(LookupEnd))
	// Request is called when a member is about to be asked: during a lookup, with
	// its context, or for the maintenance of the ring. Lookups that want to know
	// the same of one member at the same time share a request, which has the
	// context of the first.
	Request func(ctx context.Context, r RequestInfo) (_ context.Context, done func(RequestEnd))
	// Serve is called when another asks this member.
	Serve func(ctx context.Context, r RequestInfo) (_ context.Context, done func(RequestEnd))

	// Inject names what travels beside a request of kind "route", as the context
	// of a trace does: pairs of a header of gRPC and its value. A pair whose name is
	// not made of a-z, 0-9, - _ and ., or is reserved (grpc-…, or ending in -bin),
	// or whose value is not printable ASCII, is left out, and so is what is beyond
	// 8 KiB in all. Nothing else of a lookup's context travels, the metadata that
	// its caller set for requests of its own no more than its values.
	Inject func(ctx context.Context, set func(key, value string))
	// Extract returns the context in which such a request of another is served,
	// before Serve is called; get gives what has travelled with it, or "". Whoever
	// can connect can send anything.
	Extract func(ctx context.Context, get func(key string) string) context.Context

	// Range is called with each change of the member's range. They are not merged.
	Range func(Event)
	// Successor is called when the nearest member clockwise was replaced. A zero
	// Server is none. Nothing is called for the successors after it.
	Successor func(old, now Server)
	// Predecessor is called when the nearest member counter-clockwise was replaced.
	// A zero Server is none.
	Predecessor func(old, now Server)
	// Suspicion is called when a member did not answer or is not there, and
	// lookups begin to go round it.
	Suspicion func(Server)
	// RingMet is called when the member has met a member, by, of another ring, and
	// the two rings are about to become one: after a partition, or when several
	// were founded. Usually several members of both notice, each for itself.
	RingMet func(by Server)
}

// LookupBegin is a lookup that memory does not answer.
type LookupBegin struct {
	// Id is the identifier of the key.
	Id uint64
	// Background: it is the member's own, to keep its fingers.
	Background bool
}

// LookupEnd is what became of a lookup.
type LookupEnd struct {
	// Outcome is OutcomeOK if the owner was found.
	Outcome Outcome
	// Owner is the member that was found, zero if none was.
	Owner Server
	// Source is where its name came from, empty if none was found.
	Source Source
	// Hops is how many members were asked.
	Hops int
	// Took is how long it took.
	Took time.Duration
	// Err is nil if the owner was found, else what LookupContext returns; a
	// *LookupError in it names no Key.
	Err error
}

// RequestInfo is one member, or a client, asking a member.
type RequestInfo struct {
	// Kind is what the request asks for.
	Kind RequestKind
	// Server is the other side. It is zero where a client asks, or a member of
	// the existing library, and has an Address only where it is not known who is
	// there.
	Server Server
}

// RequestKind says what a request asks for. Every value is one word with underscores, and their
// number is small, so it can be the label of a metric.
type RequestKind string

// The kinds of requests. KindRoute and KindFindSuccessor belong to lookups and KindMeta to Meta; the
// others maintain the ring.
const (
	// KindRoute asks where an identifier belongs. It is one step of a lookup.
	KindRoute RequestKind = "route"
	// KindFindSuccessor asks for a whole lookup. Only legacy members send it, so a member serves
	// it and never sends it.
	KindFindSuccessor RequestKind = "find_successor"
	// KindMeta asks for the Config.Meta of a member.
	KindMeta RequestKind = "meta"
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

// String returns the kind as it is in labels and attributes.
func (k RequestKind) String() string { return string(k) }

// RequestEnd is what became of a request.
type RequestEnd struct {
	// Outcome is OutcomeOK if there was an answer.
	Outcome Outcome
	// Took is how long it took.
	Took time.Duration
	// Err is nil if there was an answer. Of a request served it says why it was
	// refused.
	Err error
}

// Outcome is what became of a lookup or a request, as one of few words: fit for the
// label of a metric.
type Outcome string

// The outcomes. Of a lookup are those marked L, of a request those marked R.
const (
	OutcomeOK          Outcome = "ok"           // L R
	OutcomeTimedOut    Outcome = "timed_out"    // L R: not in time
	OutcomeCancelled   Outcome = "cancelled"    // L R: the caller gave up; a request served: overloaded, or stopping
	OutcomeNotJoined   Outcome = "not_joined"   // L R: the member asked is in no ring
	OutcomeIsolated    Outcome = "isolated"     // L R: see Config.MinMembers
	OutcomeStopped     Outcome = "stopped"      // L: it was stopped meanwhile
	OutcomeSuperseded  Outcome = "superseded"   // L: see ErrSuperseded
	OutcomeHopLimit    Outcome = "hop_limit"    // L: see ErrHopLimit
	OutcomeFailed      Outcome = "failed"       // L: one of the member's own, with nobody left to ask
	OutcomeUnreachable Outcome = "unreachable"  // R: no connection, or it broke
	OutcomeRefused     Outcome = "refused"      // R: nobody listens there
	OutcomeWrongMember Outcome = "wrong_member" // R: meant for another than who got it
	OutcomeWrongRing   Outcome = "wrong_ring"   // R: see ErrDifferentRing
	OutcomeInvalid     Outcome = "invalid"      // R: one side could not accept what the other sent
	OutcomeRelayed     Outcome = "relayed"      // R: a member of the existing library answered with the failure of another that it had asked
)

// String returns the outcome as it is in labels and attributes.
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
}

// lookupOutcome is the outcome of a lookup that ended with a public error.
func lookupOutcome(err error) Outcome {
	for _, o := range []struct {
		err     error
		outcome Outcome
	}{
		{context.DeadlineExceeded, OutcomeTimedOut}, {context.Canceled, OutcomeCancelled}, {ErrNotJoined, OutcomeNotJoined},
		{ErrIsolated, OutcomeIsolated}, {ErrStopped, OutcomeStopped}, {ErrSuperseded, OutcomeSuperseded}, {ErrHopLimit, OutcomeHopLimit},
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
		var le *node.LookupError
		if errors.As(e.Err, &le) {
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

// Observers joins several into one, which calls the functions of each in the order
// given, but those that tell of an end in the opposite order. Nil ones are left out.
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
