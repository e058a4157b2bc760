package concordgrpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
)

// DefaultTries is the Tries of a Router that sets none.
const DefaultTries = 10

const (
	leastPause = 10 * time.Millisecond // before a member is looked up again; doubled
	mostPause  = 500 * time.Millisecond
)

// Ring is what a Router needs of a ring. Both [concord.Concord] and [concord.Client] are one.
type Ring interface {
	LookupContext(ctx context.Context, key []byte, opts ...concord.LookupOption) (concord.Server, error)
	Reject(key []byte, s concord.Server)
	Conn(s concord.Server) (grpc.ClientConnInterface, error)
}

// Router sends each call to the owner of its key. It is a grpc.ClientConnInterface: pass it to the
// constructor of a generated client. Its methods may be called concurrently. Its fields must not be
// changed once it is used.
type Router struct {
	// Ring finds the owners and connects to them. It is required.
	Ring Ring
	// Key returns the key of a call. If nil, it is the one of WithKey. A call without a key fails
	// with the code InvalidArgument.
	Key KeyFunc
	// Repeat tells which methods may be called again though a handler may have seen the call,
	// because the connection broke before the answer. If nil, none: the error is returned. Calls
	// that no handler has seen are made again in any case.
	Repeat func(method string) bool
	// Tries is how many members are called for one call, at most, and how many times the owner is
	// looked up, at most. Between two tries is a pause, unless a member has named another. The
	// pauses of ten tries take two seconds together: a call waits no longer while nobody owns its
	// key. The context of the call bounds that, too. If zero, 10.
	Tries int
}

var _ grpc.ClientConnInterface = (*Router)(nil)

// Invoke makes a unary call to the owner of its key. If a member refuses, as a [Guard] does, or if
// it cannot be reached, Invoke calls the member that it has named, or looks the owner up again. The
// error is a [*RouteError] if no member handles the call. Its code is InvalidArgument if the call
// has no key. Other errors are those of the call to the owner.
func (r *Router) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ro, err := r.route(ctx, method, args)
	if err != nil {
		return err
	}
	repeat := r.Repeat != nil && r.Repeat(method)
	var at peer.Peer
	opts = append(opts[:len(opts):len(opts)], grpc.Peer(&at))
	for ro.next() {
		at = peer.Peer{}
		conn, err := r.Ring.Conn(ro.owner)
		if err != nil {
			return ro.failed(err)
		}
		err = conn.Invoke(ro.ctx, method, args, reply, opts...)
		if err == nil || !ro.again(err, repeat || at.Addr == nil) {
			return err
		}
	}
	return ro.failed(ro.err)
}

// NewStream opens a stream to the owner of its key. If that member cannot be reached, NewStream
// looks the owner up again. The error is a [*RouteError] if no member can be reached. A member
// refuses a stream with the first message that is received. By then the messages that were sent may
// be gone, so the stream is not opened anew: RecvMsg returns the refusal. See [Refused].
func (r *Router) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ro, err := r.route(ctx, method, nil)
	if err != nil {
		return nil, err
	}
	for ro.next() {
		conn, err := r.Ring.Conn(ro.owner)
		if err != nil {
			return nil, ro.failed(err)
		}
		s, err := conn.NewStream(ro.ctx, desc, method, opts...)
		if err == nil {
			return &routed{ClientStream: s, route: ro}, nil
		}
		if !ro.again(err, true) {
			return nil, err
		}
	}
	return nil, ro.failed(ro.err)
}

// routed is a stream to a member, whose refusal the ring is told of.
type routed struct {
	grpc.ClientStream

	route *route
}

func (s *routed) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if _, refused := Refused(err); refused {
		s.route.ring.Reject(s.route.key, s.route.owner)
	}
	return err
}

// route is the way of one call.
type route struct {
	ring  Ring
	ctx   context.Context
	key   []byte
	tries int

	owner concord.Server // who is called
	named concord.Server // who the last one that refused takes for the owner
	asked []concord.Server
	err   error
	pause time.Duration
}

func (r *Router) route(ctx context.Context, method string, request any) (*route, error) {
	key, ok := r.Key.key(ctx, method, request)
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "concord: the call of %s has no key", method)
	}
	tries := r.Tries
	if tries <= 0 {
		tries = DefaultTries
	}
	ctx = metadata.AppendToOutgoingContext(ctx, keyHeader, string(key))
	return &route{ring: r.Ring, ctx: ctx, key: key, tries: tries, pause: leastPause}, nil
}

// next finds whom to call. It returns false, with the reason in err, if the call is to be given up.
func (r *route) next() bool {
	for ; r.tries > 0; r.tries-- {
		if r.named.Name != "" && !slices.Contains(r.asked, r.named) {
			r.owner, r.named = r.named, concord.Server{}
			return r.call()
		}
		if r.err != nil && !r.wait() {
			return false
		}
		owner, err := r.ring.LookupContext(r.ctx, r.key)
		if err == nil {
			r.owner = owner
			return r.call()
		}
		r.err = err
		if r.ctx.Err() != nil || errors.Is(err, concord.ErrStopped) || errors.Is(err, concord.ErrNotStarted) {
			return false
		}
	}
	return false
}

func (r *route) call() bool {
	r.tries--
	r.asked = append(r.asked, r.owner)
	return true
}

// wait pauses, and reports whether the call goes on.
func (r *route) wait() bool {
	timer := time.NewTimer(r.pause/2 + rand.N(r.pause))
	defer timer.Stop()
	r.pause = min(2*r.pause, mostPause)
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		r.err = fmt.Errorf("%w; the try before: %w", r.ctx.Err(), r.err)
		return false
	}
}

// again reports whether the call is to be made again after err: a Guard has refused it, or a
// connection failed and it is harmless, since the call has not gone out or may be repeated.
func (r *route) again(err error, harmless bool) bool {
	named, refused := Refused(err)
	if !refused && (!harmless || !errors.Is(err, concord.ErrUnavailable)) {
		return false
	}
	if r.ctx.Err() != nil {
		return false
	}
	r.ring.Reject(r.key, r.owner)
	r.err, r.named = err, named
	return true
}

func (r *route) failed(err error) error { return &RouteError{Asked: r.asked, Err: err} }
