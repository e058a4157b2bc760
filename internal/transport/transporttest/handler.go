package transporttest

import (
	"context"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Space is the circle on which the suite's members stand. A transport that
// checks what it receives must check it against this space.
var Space = ring.Space{Bits: 64, Hash: ring.SHA256}

// Settings are those that the suite's requests carry, unless a case is about
// settings.
var Settings = Space.Settings("transporttest")

// Member is a member of the given name at addr, at its place in Space.
func Member(name, addr string, incarnation uint64) ring.Member {
	return ring.Member{ID: Space.ID([]byte(name)), Name: name, Addr: addr, Incarnation: incarnation}
}

// Handler answers by a script: each method calls the function of its name. One
// that is nil is answered as a member alone in its ring would, by Self. The zero
// Handler is ready to use; its fields must not change once it serves.
type Handler struct {
	Self ring.Member

	OnMaintain      func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error)
	OnRoute         func(context.Context, transport.Envelope, routing.Query) (routing.Answer, error)
	OnFindSuccessor func(context.Context, transport.Envelope, uint64) (ring.Member, error)
	OnMeta          func(context.Context, transport.Envelope) ([]byte, error)
	OnMap           func(context.Context, transport.Envelope, *ringmap.Request) (ringmap.Reply, error)
	OnSubscribe     func(context.Context, transport.Envelope, *ringmap.Subscription, func(*ringmap.Update) error) error
}

var _ transport.Handler = (*Handler)(nil)

// Maintain implements transport.Handler.
func (h *Handler) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	if h.OnMaintain != nil {
		return h.OnMaintain(ctx, env, req)
	}
	return protocol.Reply{State: protocol.State{Self: h.Self, Phase: protocol.Joined, Version: 1}}, nil
}

// Route implements transport.Handler.
func (h *Handler) Route(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
	if h.OnRoute != nil {
		return h.OnRoute(ctx, env, q)
	}
	return routing.Answer{
		Verdict: routing.Mine,
		Owner:   h.Self,
		Arc:     ring.Arc{After: h.Self.ID, To: h.Self.ID},
		HasArc:  true,
	}, nil
}

// FindSuccessor implements transport.Handler.
func (h *Handler) FindSuccessor(ctx context.Context, env transport.Envelope, id uint64) (ring.Member, error) {
	if h.OnFindSuccessor != nil {
		return h.OnFindSuccessor(ctx, env, id)
	}
	return h.Self, nil
}

// Meta implements transport.Handler.
func (h *Handler) Meta(ctx context.Context, env transport.Envelope) ([]byte, error) {
	if h.OnMeta != nil {
		return h.OnMeta(ctx, env)
	}
	return nil, nil
}

// Map implements transport.Handler.
func (h *Handler) Map(ctx context.Context, env transport.Envelope, req *ringmap.Request) (ringmap.Reply, error) {
	if h.OnMap != nil {
		return h.OnMap(ctx, env, req)
	}
	return ringmap.Reply{}, nil
}

// Subscribe implements transport.Handler.
func (h *Handler) Subscribe(ctx context.Context, env transport.Envelope, sub *ringmap.Subscription, send func(*ringmap.Update) error) error {
	if h.OnSubscribe != nil {
		return h.OnSubscribe(ctx, env, sub, send)
	}
	if err := send(&ringmap.Update{Interval: time.Second}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
