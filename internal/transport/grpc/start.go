package grpctransport

import (
	"context"
	"errors"
	"math/rand/v2"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file begins requests for which no goroutine waits. What has been answered is read, and
// told, by the goroutine that receives it. That is done where nothing of the application is
// called, on a stream that is there. All else, and each second attempt, is as for other requests.

var _ transport.Starter = (*Transport)(nil)

var (
	getRing = methods[pb.ChordService_GetRing_FullMethodName]
	mapping = methods[pb.ChordService_Map_FullMethodName]
)

// StartMaintain implements transport.Starter.
func (t *Transport) StartMaintain(ctx context.Context, env transport.Envelope, req protocol.Request, done func(protocol.Reply, error)) bool {
	if req.Kind != protocol.AskRing {
		return false
	}
	env.Origin = req.Origin
	var reply protocol.Reply
	in, out := &pb.RingReq{Lease: pbLeaseReq(req.Lease)}, new(pb.Ring)
	var seen *protocol.State
	return t.start(ctx, env, &starting{
		method: getRing, in: in, out: out,
		begin: func(l *link) { seen = l.address(env, in) },
		read: func(l *link) (err error) {
			if legacyAnswer(in, out) {
				return errBase
			}
			reply.State, err = t.ringAnswer(l, env, in, seen, out)
			return err
		},
		again: func() (err error) {
			reply, err = t.Maintain(ctx, env, req)
			return err
		},
		done: func(err error) {
			if err != nil {
				reply = protocol.Reply{}
			}
			done(reply, err)
		},
	})
}

// StartMap implements transport.Starter.
func (t *Transport) StartMap(ctx context.Context, env transport.Envelope, req *ringmap.Request, done func(ringmap.Reply, error)) bool {
	var reply ringmap.Reply
	in, out := mapReq(nil, req), new(pb.MapResp)
	return t.start(ctx, env, &starting{
		method: mapping, in: in, out: out,
		begin: func(l *link) { in.Request = l.request(env) },
		read: func(l *link) (err error) {
			l.speaks.Store(int32(extended))
			reply, err = mapReply(out)
			return unusable(env, err)
		},
		again: func() (err error) {
			reply, err = t.Map(ctx, env, req)
			return err
		},
		done: func(err error) { done(reply, err) },
	})
}

// starting is a request that is begun.
type starting struct {
	method  rpcMethod
	in, out proto.Message
	begin   func(l *link)       // completes in, for a link
	read    func(l *link) error // reads out; errBase: that is no answer of a member of ours
	again   func() error        // makes the whole request, and waits
	done    func(error)         // is told once how it has ended
}

// start begins a request, or reports false.
func (t *Transport) start(ctx context.Context, env transport.Envelope, s *starting) bool {
	if !t.cfg.Prompt || env.To.Anyone() {
		return false
	}
	l := t.pool.ready(t.endpoint(env), env.To)
	if l == nil {
		return false
	}
	m := l.streamed()
	if m == nil {
		t.pool.release(l)
		return false
	}
	u := useOf(l, true)
	s.begin(l)
	begun := m.start(ctx, s.method, s.in, s.out, func(err error) {
		switch status.Code(err) {
		case codes.OK:
			err = s.read(l)
		case codes.Unimplemented:
			err = errBase
		}
		err, stale := t.concluded(ctx, env, u, err)
		known, _ := err.(*protocol.Failure) //nolint:errorlint // concluded wraps none
		busy := known != nil && known.Kind == protocol.Overloaded
		if !stale && !busy && !errors.Is(err, errBase) {
			s.done(err)
			return
		}
		more := func() {
			if !busy || backOff(ctx, peer.BusyPause(0, rand.Float64())) {
				err = s.again()
			}
			s.done(err)
		}
		if ctx.Err() != nil || !t.pool.start(more) {
			s.done(err)
		}
	})
	if !begun {
		t.pool.release(l)
	}
	return begun
}

// ready is a link to an endpoint for a question to who if it is there, to be given back by
// release; nil: it is not.
func (p *pool) ready(to endpoint, who ring.Member) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byEndpoint[to]
	if p.closed || l == nil || !l.serves(who) {
		return nil
	}
	p.use(l)
	return l
}

// streamed is the stream of l, nil if it has none.
func (l *link) streamed() *mux {
	if l.dialect() != extended {
		return nil
	}
	l.streams.Lock()
	m := l.mux
	l.streams.Unlock()
	if m == nil || m.ended() {
		return nil
	}
	return m
}
