package grpctransport

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// conform runs the suite, without the cases named, over transports that are changed by tweak
// before they serve.
func conform(t *testing.T, tweak func(*Transport), except ...string) {
	conformAs(t, func(tr *Transport) transport.Transport { tweak(tr); return tr }, except...)
}

// conformAs is conform of what tweak makes of the transports.
func conformAs(t *testing.T, tweak func(*Transport) transport.Transport, except ...string) {
	transporttest.Run(t, func(*testing.T) transporttest.Listen {
		return transporttest.Widen(func(addr string) (transport.Transport, error) {
			if addr == "" {
				addr = "127.0.0.1:0"
			}
			tr, err := Listen(ConfigOf(transport.Options{Bind: addr}))
			if err != nil {
				return nil, err
			}
			return tweak(tr), nil
		})
	}, except...)
}

func TestConformance(t *testing.T) { conform(t, func(*Transport) {}) }

// Over a stream from the first request on, and without streams.
func TestConformanceOfStreams(t *testing.T) {
	conform(t, func(tr *Transport) { tr.pool.streams = always })
}

// Over a stream, by members that answer a Route, and questions about the ring, before they read
// on. In the cases left out a Route waits.
func TestConformanceOfPromptStreams(t *testing.T) {
	conform(t, func(tr *Transport) { tr.pool.streams, tr.cfg.Prompt = always, true },
		"requests are answered concurrently", "giving up is Cancelled",
		"a handler's context ends with the asker's patience")
}

// By members that begin what they can without a goroutine that waits. The case that is left out
// besides those has its asker give up.
func TestConformanceOfStartedRequests(t *testing.T) {
	var begun atomic.Int64
	conformAs(t, func(tr *Transport) transport.Transport {
		tr.pool.streams, tr.cfg.Prompt = always, true
		return starter{tr, &begun}
	}, "requests are answered concurrently", "giving up is Cancelled", "a handler's context ends with the asker's patience")
	if begun.Load() == 0 {
		t.Error("no request was begun so")
	}
}

// starter is a Transport whose Maintain and Map are begun, and waited for here.
type starter struct {
	*Transport
	begun *atomic.Int64
}

func (s starter) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	return await(s, ctx, func(ctx context.Context, done func(protocol.Reply, error)) bool {
		return s.StartMaintain(ctx, env, req, done)
	}, func() (protocol.Reply, error) { return s.Transport.Maintain(ctx, env, req) })
}

func (s starter) Map(ctx context.Context, env transport.Envelope, req *ringmap.Request) (ringmap.Reply, error) {
	return await(s, ctx, func(ctx context.Context, done func(ringmap.Reply, error)) bool {
		return s.StartMap(ctx, env, req, done)
	}, func() (ringmap.Reply, error) { return s.Transport.Map(ctx, env, req) })
}

// await begins a request by start, waits for its end, and does otherwise what wait does.
func await[T any](s starter, ctx context.Context, start func(context.Context, func(T, error)) bool, wait func() (T, error)) (reply T, err error) {
	ended := make(chan struct{})
	if !start(ctx, func(r T, e error) { reply, err = r, e; close(ended) }) {
		return wait()
	}
	s.begun.Add(1)
	<-ended
	return reply, err
}

func TestConformanceOfUnaryCalls(t *testing.T) {
	conform(t, func(tr *Transport) { tr.pool.streams = never })
}
