package memory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Transport is one place on a Network. Network.Listen makes one, and Network.Client
// one that only asks; the zero Transport is of no use. Its methods may be called concurrently.
//
// It is never Legacy and never meets a legacy member. A request that arrives
// before Serve waits for it.
type Transport struct {
	net      *Network
	addr     string
	asksOnly bool
	opts     transport.Options // set before it is used

	ctx     context.Context // ends at Close
	end     context.CancelFunc
	running sync.WaitGroup // every goroutine; added to with net.mu held and closed false

	handler transport.Handler           // set before serving is closed
	admits  func(transport.Claim) error // nil: everybody is admitted; set before serving is closed
	refused func(transport.Refusal)     // the same
	serving chan struct{}               // closed by Serve

	// The network's mu guards the rest.
	closed bool
	broken func(addr string)
	limit  int // of idle connections, negative for none
	conns  map[endpoint]*conn
	// retired are connections that take no new requests and have some on their way.
	retired map[*conn]bool
	sent    Requests
}

var _ transport.Transport = (*Transport)(nil)

// Requests counts what a transport has sent.
type Requests struct {
	Maintain map[protocol.RequestKind]uint64
	Route    uint64
	Meta     uint64
	Map      uint64
	// Subscribe counts subscriptions, not what comes of them.
	Subscribe uint64
}

// Total is the number of requests of every kind.
func (r Requests) Total() uint64 {
	sum := r.Route + r.Meta + r.Map + r.Subscribe
	for _, n := range r.Maintain {
		sum += n
	}
	return sum
}

// Addr implements transport.Transport.
func (t *Transport) Addr() string {
	if t.asksOnly {
		return ""
	}
	return t.addr
}

// Serve implements transport.Transport.
func (t *Transport) Serve(h transport.Handler) {
	t.handler = h
	close(t.serving)
}

// Requests is how many requests were sent so far, whatever became of them. The
// caller owns the result.
func (t *Transport) Requests() Requests {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	return Requests{Maintain: maps.Clone(t.sent.Maintain), Route: t.sent.Route, Meta: t.sent.Meta, Map: t.sent.Map, Subscribe: t.sent.Subscribe}
}

// Broken implements transport.Transport. A connection counts as having been up
// once a request on it has arrived, or its ConnectDelay is over.
func (t *Transport) Broken(f func(addr string)) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	t.broken = f
}

// Refused implements transport.Transport: no connection is refused here.
func (t *Transport) Refused(f func(transport.Refusal)) { t.refused = f }

// Intake implements transport.Transport: nothing is bounded here.
func (t *Transport) Intake() transport.Intake { return transport.Intake{} }

// Limit implements transport.Transport. There is none before the first call.
func (t *Transport) Limit(idle int) {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	t.limit = max(0, idle)
	t.evict()
}

// Written implements transport.Transport: what is carried here are values.
func (t *Transport) Written() uint64 { return 0 }

// Connections implements transport.Transport.
func (t *Transport) Connections() int {
	t.net.mu.Lock()
	defer t.net.mu.Unlock()
	return len(t.conns) + len(t.retired)
}

// Close implements transport.Transport. It waits for the handlers at work here,
// whose contexts it ends, so a handler must not call it. Calls after the first
// wait as well.
func (t *Transport) Close() error {
	t.net.mu.Lock()
	if !t.closed {
		t.closed = true
		delete(t.net.listeners, t.addr)
		delete(t.net.askers, t.addr)
		t.net.reset(t)
		clear(t.conns)
		clear(t.retired)
		t.end()
	}
	t.net.mu.Unlock()
	t.running.Wait()
	return nil
}

// Maintain implements transport.Transport.
func (t *Transport) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	req.Succ = cloned(req.Succ)
	o := t.askAdmitted(ctx, env, func() { t.sent.Maintain[req.Kind]++ },
		func(ctx context.Context, at *Transport, env transport.Envelope) outcome {
			reply, err := at.handler.Maintain(ctx, env, req)
			if err != nil {
				return outcome{failure: failureOf(err)}
			}
			reply.State.Succ = cloned(reply.State.Succ)
			reply.State.Zones = cloned(reply.State.Zones)
			reply.Closer = cloned(reply.Closer)
			return outcome{reply: reply}
		})
	if o.failure != nil {
		return protocol.Reply{}, o.failure
	}
	return o.reply, nil
}

// Route implements transport.Transport.
func (t *Transport) Route(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
	q.Avoid = cloned(q.Avoid)
	said := t.injected(ctx)
	o := t.askAdmitted(ctx, env, func() { t.sent.Route++ },
		func(ctx context.Context, at *Transport, env transport.Envelope) outcome {
			answer, err := at.handler.Route(at.extracted(ctx, said), env, q)
			if err != nil {
				return outcome{failure: failureOf(err)}
			}
			answer.Closer = cloned(answer.Closer)
			return outcome{answer: answer}
		})
	if o.failure != nil {
		return routing.Answer{}, o.failure
	}
	return o.answer, nil
}

// Meta implements transport.Transport.
func (t *Transport) Meta(ctx context.Context, env transport.Envelope) ([]byte, error) {
	o := t.askAdmitted(ctx, env, func() { t.sent.Meta++ },
		func(ctx context.Context, at *Transport, env transport.Envelope) outcome {
			meta, err := at.handler.Meta(ctx, env)
			if err != nil {
				return outcome{failure: failureOf(err)}
			}
			return outcome{meta: cloned(meta)}
		})
	if o.failure != nil {
		return nil, o.failure
	}
	return o.meta, nil
}

// Map implements transport.Transport.
func (t *Transport) Map(ctx context.Context, env transport.Envelope, req *ringmap.Request) (ringmap.Reply, error) {
	sent := req.Clone()
	o := t.askAdmitted(ctx, env, func() { t.sent.Map++ },
		func(ctx context.Context, at *Transport, env transport.Envelope) outcome {
			reply, err := at.handler.Map(ctx, env, &sent)
			if err != nil {
				return outcome{failure: failureOf(err)}
			}
			return outcome{mapped: reply.Clone()}
		})
	if o.failure != nil {
		return ringmap.Reply{}, o.failure
	}
	return o.mapped, nil
}

// outcome is what became of a request: a failure or one of the others.
type outcome struct {
	reply   protocol.Reply
	answer  routing.Answer
	meta    []byte
	mapped  ringmap.Reply
	failure *protocol.Failure
}

func failed(kind protocol.FailureKind, detail string) outcome {
	return outcome{failure: &protocol.Failure{Kind: kind, Detail: detail}}
}

// failureOf is what a handler's error arrives as.
func failureOf(err error) *protocol.Failure {
	var f *protocol.Failure
	if !errors.As(err, &f) {
		return &protocol.Failure{Kind: protocol.Invalid, Detail: err.Error()}
	}
	out := *f
	out.Differing = cloned(f.Differing)
	return &out
}

// cloned copies a list; an empty one becomes nil.
func cloned[S ~[]E, E any](s S) S {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// injected is what Options.Inject has travel beside a Route.
func (t *Transport) injected(ctx context.Context) map[string]string {
	if t.opts.Inject == nil {
		return nil
	}
	said := make(map[string]string)
	t.opts.Inject(ctx, func(key, value string) {
		if key = strings.ToLower(key); said[key] == "" {
			said[key] = value
		}
	})
	return said
}

// extracted is the context of a Route as Options.Extract makes it.
func (t *Transport) extracted(ctx context.Context, said map[string]string) context.Context {
	if t.opts.Extract == nil {
		return ctx
	}
	return t.opts.Extract(ctx, func(key string) string { return said[strings.ToLower(key)] })
}

// serve has the handler at a transport answer a request and copies what it answers.
type serve func(ctx context.Context, at *Transport, env transport.Envelope) outcome

// spawn starts f in a goroutine that Close waits for, and reports whether it
// did: not after Close. Callers hold the network's mu.
func (t *Transport) spawn(f func()) bool {
	if t.closed {
		return false
	}
	t.running.Go(f)
	return true
}

// ask sends a request on its way and waits for its outcome, the end of ctx, or
// Close. It calls count, with the network's mu held, if it sends anything.
func (t *Transport) ask(ctx context.Context, env transport.Envelope, count func(), s serve) outcome {
	over, giveUp := context.WithCancel(t.ctx)
	defer giveUp()
	result := make(chan outcome, 1)

	t.net.mu.Lock()
	started := ctx.Err() == nil && t.spawn(func() {
		if o, ok := t.carry(ctx, over, env, s); ok {
			result <- o
		}
	})
	if started {
		count()
	}
	t.net.mu.Unlock()

	if started {
		select {
		case o := <-result:
			return o
		case <-ctx.Done():
		case <-t.ctx.Done():
		}
	}
	switch {
	case t.ctx.Err() != nil:
		return failed(protocol.Cancelled, "the transport is closed")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failed(protocol.TimedOut, "no answer from "+env.To.Addr)
	default:
		return failed(protocol.Cancelled, "given up by the caller")
	}
}

// carry takes one request to env.To.Addr and what becomes of it back. It reports
// false when the caller waits no longer, which ends over, and until then nothing
// came back. ctx is the caller's own, for its deadline.
//
// A request that was sent arrives even if its caller has given up by then. It goes once
// more on a new connection if the one from before turns out to lead to another member.
func (t *Transport) carry(ctx, over context.Context, env transport.Envelope, s serve) (outcome, bool) {
	if !t.net.Awake(over, t.addr) {
		return outcome{}, false
	}
	o, arrived, again := t.carryOnce(ctx, over, env, s)
	if again {
		o, arrived, _ = t.carryOnce(ctx, over, env, s)
	}
	return o, arrived
}

func (t *Transport) carryOnce(ctx, over context.Context, env transport.Envelope, s serve) (o outcome, arrived, again bool) {
	c, reused := t.acquire(env.To)
	o, arrived = t.carryOn(ctx, over, c, env, s)
	if f := o.failure; arrived && f != nil && f.Kind == protocol.WrongMember &&
		(f.By.IsZero() || f.By.ID != env.To.ID || f.By.Incarnation < env.To.Incarnation) {
		again = t.stray(c, f.By) && reused && over.Err() == nil
	}
	// A connection for this question only may be of use to others.
	t.release(c, arrived && o.failure == nil && o.reply.State.Self.Addr == env.To.Addr)
	return o, arrived, again
}

// carryOn does so on one connection.
func (t *Transport) carryOn(ctx, over context.Context, c *conn, env transport.Envelope, s serve) (outcome, bool) {
	n, to := t.net, env.To.Addr
	lost := func() bool {
		<-over.Done()
		return false
	}
	broken := func(kind protocol.FailureKind, detail string) (outcome, bool) {
		if !n.Travel(over, to, t.addr, false) || !n.Awake(over, t.addr) {
			return outcome{}, lost()
		}
		t.drop(c)
		return failed(kind, detail+to), true
	}
	const nobody, ended = "nobody listens at ", "the other side ended the connection to "

	switch listens, arrived := t.connect(over, c); {
	case !arrived:
		return outcome{}, lost()
	case !listens:
		return broken(protocol.Refused, nobody)
	}
	if !n.Travel(t.ctx, t.addr, to, true) {
		return outcome{}, lost()
	}

	n.mu.Lock()
	target := n.reached(c)
	if target == nil {
		n.mu.Unlock()
		return broken(protocol.Refused, nobody)
	}
	if c.over || c.peer != nil && c.peer != target {
		n.mu.Unlock()
		return broken(protocol.Unreachable, ended)
	}
	c.peer = target
	handling, cancel := untilDeadline(target.ctx, ctx)
	if over.Err() != nil {
		cancel()
	}
	answered := make(chan outcome, 1)
	// A listener is not closed, so this starts.
	target.spawn(func() {
		defer cancel()
		target.handle(handling, received(env), s, answered)
	})
	n.mu.Unlock()

	select {
	case o := <-answered:
		if !n.Travel(over, to, t.addr, true) || !n.Awake(over, t.addr) {
			return outcome{}, lost()
		}
		return o, true
	case <-c.broke:
		cancel()
		return broken(protocol.Unreachable, ended)
	case <-over.Done():
		// The caller's giving up is news that travels too; that of a
		// process's end is not waited for, as Close must not.
		if t.ctx.Err() != nil && !n.Severed(t.addr, to) || n.Travel(t.ctx, t.addr, to, false) {
			cancel()
		}
		return outcome{}, false
	}
}

// untilDeadline is a context that ends with open or at the caller's deadline.
func untilDeadline(open, caller context.Context) (context.Context, context.CancelFunc) {
	if at, ok := caller.Deadline(); ok {
		return context.WithDeadline(open, at)
	}
	return context.WithCancel(open)
}

// connect makes the round trips of a new connection. It reports whether somebody
// listened and whether the last packet of ours arrived before over ended.
func (t *Transport) connect(over context.Context, c *conn) (listens, arrived bool) {
	n := t.net
	n.mu.Lock()
	trips := n.trips
	if c.peer != nil {
		trips = 0
	}
	n.mu.Unlock()
	var peer *Transport
	for range trips {
		if !n.Travel(over, t.addr, c.addr, true) || !n.Awake(over, c.addr) {
			return false, false
		}
		n.mu.Lock()
		if peer == nil {
			peer = n.reached(c)
		}
		n.mu.Unlock()
		if peer == nil {
			return false, true
		}
		if !n.Travel(over, c.addr, t.addr, true) || !n.Awake(over, t.addr) {
			return false, false
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if peer != nil && c.peer == nil && !n.refusing[peer.addr] && n.listeners[peer.addr] == peer {
		c.peer = peer
	}
	return true, true
}

// handle has the handler answer one request that has arrived. A reply that is
// late for the context is not sent.
func (t *Transport) handle(ctx context.Context, env transport.Envelope, s serve, answered chan<- outcome) {
	select {
	case <-t.serving:
	case <-t.ctx.Done():
		return
	}
	if !t.net.Awake(t.ctx, t.addr) {
		return
	}
	o, denied := t.sender(env)
	if !denied {
		o = s(ctx, t, env)
	}
	if ctx.Err() == nil && t.net.Awake(ctx, t.addr) {
		answered <- o
	}
}

// received is env as it arrives.
func received(env transport.Envelope) transport.Envelope {
	to := ring.Member{ID: env.To.ID, Incarnation: env.To.Incarnation}
	if env.To.Anyone() {
		to = ring.Member{}
	}
	return transport.Envelope{From: env.From, To: to, Settings: env.Settings}
}
