package grpctransport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file carries calls of an application to the services of other applications, on the
// servers where their members receive. They have connections of their own, beside those of
// the ring: what an application sends holds up no question about the ring, and what becomes
// of it says nothing of a member.

const (
	// maxIdleCallees bounds the connections for calls that nobody uses, and calleeIdle is
	// how long one is kept.
	maxIdleCallees = 64
	calleeIdle     = time.Minute
	// maxCalleeDials bounds the connections for calls that are being opened.
	maxCalleeDials = 32
	// After a failure to connect, a member is not tried again for calleePauseMin, doubled
	// up to calleePauseMax, a half more or less.
	calleePauseMin = 20 * time.Millisecond
	calleePauseMax = time.Second
	// maxUnreached bounds the members of which that is remembered.
	maxUnreached = 1024
)

// callees are the members that an application calls.
type callees struct {
	t     *Transport
	pool  *pool
	from  transport.Envelope // of the request with which a connection begins; To is not set
	dials chan struct{}      // holds one element for each connection being opened

	mu        sync.Mutex
	unreached map[endpoint]unreached
}

// unreached is a member to which no connection could be made of late.
type unreached struct {
	failure *protocol.Failure
	times   int // in a row
	until   time.Time
}

// newCallees makes the pool. The transport's own is there.
func newCallees(t *Transport, from transport.Envelope) *callees {
	c := &callees{
		t: t, from: from, dials: make(chan struct{}, maxCalleeDials), unreached: make(map[endpoint]unreached),
	}
	c.pool = newPool(c.dial, t.pool.creds, calleeIdle, t.cfg.MaxAge, new(atomic.Uint64))
	c.pool.streams, c.pool.options, c.pool.made = never, nil, c.made
	c.pool.limit(maxIdleCallees)
	return c
}

func (c *callees) dial(ctx context.Context, addr string) (net.Conn, error) {
	select {
	case c.dials <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.dials }()
	return c.t.cfg.Dial(ctx, addr)
}

// made says why a connection that was made to reach who is not used, and remembers that it
// could not be made, or that it could.
func (c *callees) made(ctx context.Context, to endpoint, who ring.Member, l *link, err error) error {
	if err == nil {
		env := c.from
		env.To = who
		err = c.t.greet(ctx, l, env)
	}
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return err // nobody waits for it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.unreached, to)
		return nil
	}
	f := failedToReach(ctx, to.addr, err)
	u := c.unreached[to]
	pause := min(calleePauseMin<<min(u.times, 10), calleePauseMax)
	pause = pause/2 + rand.N(pause)
	if len(c.unreached) >= maxUnreached {
		clear(c.unreached)
	}
	c.unreached[to] = unreached{failure: f, times: u.times + 1, until: time.Now().Add(pause)}
	return f
}

// failedToReach is err, of making a connection to addr, as a failure.
func failedToReach(ctx context.Context, addr string, err error) *protocol.Failure {
	var f *protocol.Failure
	if errors.As(err, &f) {
		return f
	}
	return dialFailure(ctx, addr, err)
}

// greet finds out whether l leads to env.To, which then counts the connection as one of
// this side's member. A legacy member does not say who it is.
func (t *Transport) greet(ctx context.Context, l *link, env transport.Envelope) error {
	for refusals := 0; ; refusals++ {
		_, err := t.metaOn(ctx, l, env)
		if errors.Is(err, errBase) {
			err = nil
		}
		if err = t.asked(l, env.To, err); err == nil {
			return nil
		}
		known, _, _ := t.judged(ctx, l, env.To, err)
		if known == nil {
			return err
		}
		if known.Kind == protocol.Cancelled && ctx.Err() == nil { // by the peer, which is about to stop
			return failure(protocol.Unreachable, "%s: %s", env.To.Addr, known.Detail)
		}
		if known.Kind != protocol.Overloaded || !backOff(ctx, peer.BusyPause(refusals, rand.Float64())) {
			return known
		}
	}
}

// resting is the last failure to reach an endpoint, and for how long it is not tried
// again; nil if it may be tried.
func (c *callees) resting(to endpoint) (*protocol.Failure, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, ok := c.unreached[to]
	if left := time.Until(u.until); ok && left > 0 {
		return u.failure, left
	}
	return nil, 0
}

// acquire is a connection to who for a call, to be given back to the pool, and whether it
// was there already. With wait it tries until ctx ends.
func (c *callees) acquire(ctx context.Context, to endpoint, who ring.Member, wait bool) (*link, bool, *protocol.Failure) {
	for {
		f, left := c.resting(to)
		if f == nil {
			l, reused, err := c.pool.acquire(ctx, to, who)
			if err == nil {
				return l, reused, nil
			}
			f = failedToReach(ctx, to.addr, err)
			if errors.Is(err, errClosed) || ctx.Err() != nil {
				return nil, false, f
			}
			_, left = c.resting(to)
		}
		if !wait {
			return nil, false, f
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, false, contextFailure(ctx, to.addr)
		case <-c.t.ended:
			timer.Stop()
			return nil, false, dialFailure(ctx, to.addr, errClosed)
		}
	}
}

// callee is one of them, as a grpc.ClientConnInterface.
type callee struct {
	*callees

	to      endpoint
	who     ring.Member
	explain func(*protocol.Failure) error
}

var _ grpc.ClientConnInterface = (*callee)(nil)

// Conn is a connection to the services of the application whose member env.To is. It is
// made by the first call. A connection is used only once the member has answered on it. A
// call that finds none, or whose connection breaks, fails with what explain makes of the
// failure, as a status.
func (t *Transport) Conn(env transport.Envelope, explain func(*protocol.Failure) error) grpc.ClientConnInterface {
	t.calling.Do(func() { t.callees.Store(newCallees(t, env)) })
	c := t.callees.Load()
	if c == nil { // closed before
		c = newCallees(t, env)
		c.pool.close()
	}
	to := t.endpoint(env)
	to.member = env.To.ID
	return &callee{callees: c, to: to, who: env.To, explain: explain}
}

// Invoke makes a unary call; see grpc.ClientConnInterface.
func (c *callee) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	var at grpcpeer.Peer
	opts = append(opts[:len(opts):len(opts)], grpc.Peer(&at))
	return c.call(ctx, opts, func(l *link) (bool, error) {
		defer c.pool.release(l)
		before, sent := l.received.Load(), time.Now()
		err := l.cc.Invoke(ctx, method, in, out, opts...)
		if l.old() && status.Code(err) == codes.DeadlineExceeded && l.silent(before, sent) {
			c.pool.retire(l) // the path may be cut, as with questions of the ring
		}
		return at.Addr == nil, err
	})
}

// NewStream opens a stream; see grpc.ClientConnInterface.
func (c *callee) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (out grpc.ClientStream, err error) {
	err = c.call(ctx, opts, func(l *link) (bool, error) {
		release := sync.OnceFunc(func() { c.pool.release(l) })
		s, err := l.cc.NewStream(ctx, desc, method, append(opts[:len(opts):len(opts)], grpc.OnFinish(func(error) { release() }))...)
		if err != nil {
			release()
		}
		out = s
		return true, err
	})
	return out, err
}

// call has try make a call on a connection and give that back. It is tried once
// more if it has not been sent, since the connection was about to end.
func (c *callee) call(ctx context.Context, opts []grpc.CallOption, try func(l *link) (unsent bool, err error)) error {
	for again := false; ; again = true {
		l, reused, f := c.acquire(ctx, c.to, c.who, waits(opts))
		if f != nil {
			return c.failed(f)
		}
		unsent, err := try(l)
		switch {
		case err == nil:
			return nil
		case status.Code(err) != codes.Unavailable || !l.over.Load() || ctx.Err() != nil:
			return err // the application's, or of no connection
		case unsent && reused && !again:
			continue
		}
		why := unwrapped(status.Convert(err).Message())
		if cause := l.cause.get(); cause != nil {
			why = words(cause)
		}
		return c.failed(failure(protocol.Unreachable, "%s: %s", c.to.addr, why))
	}
}

// waits reports whether a call is to wait for a connection.
func waits(opts []grpc.CallOption) (wait bool) {
	for _, o := range opts {
		if f, ok := o.(grpc.FailFastCallOption); ok {
			wait = !f.FailFast
		}
	}
	return wait
}

// failed is the error of a call that failed so.
func (c *callee) failed(f *protocol.Failure) error {
	code := codes.Unavailable
	switch f.Kind {
	case protocol.TimedOut:
		code = codes.DeadlineExceeded
	case protocol.Cancelled:
		code = codes.Canceled
	case protocol.Denied:
		code = codes.PermissionDenied
	case protocol.WrongRing, protocol.Invalid:
		code = codes.FailedPrecondition
	}
	return &callError{c.explain(f), code}
}

// callError is an error that is a status as well.
type callError struct {
	error

	code codes.Code
}

func (e *callError) Unwrap() error { return e.error }

// GRPCStatus is for package status.
func (e *callError) GRPCStatus() *status.Status { return status.New(e.code, detail(e.Error())) }
