package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file has the subscriptions of clients to maps, which are streams of their own.

// errUnread ends a subscription whose client does not read what it is told. What waits for
// a client is bounded by the windows of its stream.
var errUnread = &protocol.Failure{Kind: protocol.Overloaded, Detail: "the client does not read what it is told"}

// Subscribe has env.To tell of its map; see transport.Transport.
func (t *Transport) Subscribe(ctx context.Context, env transport.Envelope, sub *ringmap.Subscription, f func(*ringmap.Update) error) error {
	ctx = bare(ctx)
	var own error
	err := t.callOnce(ctx, env, func(l *link) error {
		err := t.inExtension(ctx, l, env, func(l *link) (err error) {
			err, own = t.toldOn(ctx, l, env, sub, f)
			return err
		})
		if status.Code(err) == codes.Unimplemented {
			err = errBase
		}
		return err
	})
	switch {
	case own != nil:
		return own
	case errors.Is(err, errBase):
		return transport.ErrTellsNothing
	}
	return err
}

// toldOn subscribes on l until the peer asks to use another connection, besides all else that
// ends a subscription; see told.
func (t *Transport) toldOn(ctx context.Context, l *link, env transport.Envelope, sub *ringmap.Subscription, f func(*ringmap.Update) error) (err, own error) {
	// The stream ends with this call, by whichever side.
	on, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := l.stub.Subscribe(on, subscribeReq(l.request(env), sub), grpc.StaticMethod())
	if err != nil {
		return err, nil
	}
	moved := func() {
		if l.drain(on) {
			cancel(transport.ErrMoved)
		}
	}
	if !t.pool.start(moved) {
		return errClosed, nil
	}
	return t.told(on, l, env, stream, f)
}

// told gives each message of a stream to f until one of them ends. Own is ErrMoved if that is why
// ctx has ended, or the error of f.
func (t *Transport) told(ctx context.Context, l *link, env transport.Envelope, stream grpc.ServerStreamingClient[pb.MapUpdate], f func(*ringmap.Update) error) (err, own error) {
	for begun := false; ; begun = true {
		m, err := stream.Recv()
		moved := err != nil && errors.Is(context.Cause(ctx), transport.ErrMoved)
		switch {
		case moved && begun:
			return failure(protocol.Cancelled, "%v", transport.ErrMoved), transport.ErrMoved
		case moved:
			return status.Error(codes.Unavailable, transport.ErrMoved.Error()), nil // it is asked again
		case err != nil && !begun:
			return err, nil // perhaps it is asked again
		case errors.Is(err, io.EOF):
			return failure(protocol.Unreachable, "%s has ended the subscription", env.To.Addr), nil
		case err != nil:
			known, _, _ := t.judged(ctx, l, env.To, err)
			return known, nil
		}
		l.speaks.Store(int32(extended))
		u, err := update(m)
		if err := t.vouch(l, env, err, env.To); err != nil {
			return err, nil
		}
		if own := f(u); own != nil {
			return failure(protocol.Cancelled, "%v", own), own
		}
	}
}

// Subscribe tells a client of the member's map.
func (s *service) Subscribe(r *pb.SubscribeReq, stream grpc.ServerStreamingServer[pb.MapUpdate]) error {
	ctx := stream.Context()
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return err
	}
	sub, err := subscription(r)
	if err != nil {
		return s.t.malformed(ctx, err)
	}
	err = s.handler.Subscribe(ctx, env, sub, func(u *ringmap.Update) error {
		return s.tell(ctx, stream, mapUpdate(u))
	})
	if err == nil {
		err = status.FromContextError(context.Canceled).Err()
	}
	return statusOf(ctx, err)
}

// tell sends one message, if the client reads what was sent before.
func (s *service) tell(ctx context.Context, stream grpc.ServerStreamingServer[pb.MapUpdate], m *pb.MapUpdate) error {
	sent := make(chan error, 1)
	s.t.serving.Go(func() { sent <- stream.Send(m) })
	timer := time.NewTimer(stuckAfter)
	defer timer.Stop()
	select {
	case err := <-sent:
		return err
	case <-timer.C:
	}
	s.t.refuseRequest(ctx, errUnread.Detail)
	if c := s.t.lis.connection(ctx); c != nil && !c.shared.Load() {
		_ = c.Close() // or what waits in it would be kept
	}
	return errUnread
}

// serveSubscription answers a Subscribe within the budgets; see description.
func serveSubscription(handle grpc.StreamHandler, srv any, stream grpc.ServerStream) error {
	w, _ := stream.Context().Value(workingKey{}).(*working)
	switch {
	case w == nil:
		return handle(srv, stream)
	case w.refused != nil:
		return w.refused
	}
	defer w.over()
	return handle(srv, &noted{stream, srv.(*service), w})
}

// noted is a stream of which the member is told what gRPC refuses.
type noted struct {
	grpc.ServerStream
	service *service
	working *working
}

func (n *noted) RecvMsg(m any) error {
	err := n.ServerStream.RecvMsg(m)
	switch st := status.Convert(err); {
	case err == nil:
		n.working.request.Came()
	case st.Code() == codes.Internal, st.Code() == codes.ResourceExhausted:
		n.service.t.refuseRequest(n.Context(), st.Message())
	}
	return err
}

func subscribeReq(who *pb.Request, sub *ringmap.Subscription) *pb.SubscribeReq {
	return &pb.SubscribeReq{Sums: sub.Sums, Request: who}
}

func subscription(r *pb.SubscribeReq) (*ringmap.Subscription, error) {
	out := &ringmap.Subscription{Sums: r.GetSums()}
	return out, out.Check()
}

func mapUpdate(u *ringmap.Update) *pb.MapUpdate {
	out := &pb.MapUpdate{
		Cleared: u.Cleared, Gone: u.Gone, Claims: claims(u.Claims), More: u.More, Doubts: u.Doubts,
		ClockMs: uint64(u.Clock / ringmap.ClockPrecision), IntervalNs: uint64(u.Interval),
		SuccessorCount: uint32(u.Successors),
	}
	if u.Aged {
		out.AgeMs1 = uint64(u.Age/ringmap.AgePrecision) + 1
		if u.Partly {
			out.Through = &u.Through
		}
	}
	if u.Summed {
		out.Sum = &u.Sum
	}
	if u.Interval != 0 {
		out.Answer = &pb.Answer{}
	}
	return out
}

// mostTold is more than any time in an update, so that it can be reckoned with.
const mostTold = 1 << 40

func update(m *pb.MapUpdate) (*ringmap.Update, error) {
	if m.GetAgeMs1() > mostTold || m.GetClockMs() > mostTold || m.GetIntervalNs() > 1<<62 {
		return nil, fmt.Errorf("age_ms1 %d, clock_ms %d or interval_ns %d is out of range", m.GetAgeMs1(), m.GetClockMs(), m.GetIntervalNs())
	}
	out := &ringmap.Update{
		Cleared: orNone(m.GetCleared()), Gone: orNone(m.GetGone()), More: m.GetMore(), Doubts: orNone(m.GetDoubts()),
		Clock: time.Duration(m.GetClockMs()) * ringmap.ClockPrecision, Interval: time.Duration(m.GetIntervalNs()),
		Summed: m.Sum != nil, Sum: m.GetSum(), Successors: int(m.GetSuccessorCount()),
	}
	if age := m.GetAgeMs1(); age > 0 {
		out.Aged, out.Age = true, time.Duration(age-1)*ringmap.AgePrecision
		out.Partly, out.Through = m.Through != nil, m.GetThrough()
	}
	var err error
	if out.Claims, err = announcements("claims", m.GetClaims(), maxClaims); err != nil {
		return nil, err
	}
	return out, out.Check()
}

// orNone is a copy of a list, nil if it is empty.
func orNone[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return slices.Clone(list)
}
