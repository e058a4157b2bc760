package attacktest

import (
	"context"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	grpctransport "github.com/ollelogdahl/concord/internal/transport/grpc"
)

// Liar is the network of a member that joins as all do and then answers others what it is
// told to. It is for Config.Network. Lies are told from the first answer on.
type Liar struct {
	grpctransport.TCP

	// Route, if set, changes an honest answer to Route.
	Route func(q routing.Query, honest routing.Answer) routing.Answer
	// Maintain, if set, changes an honest answer to what maintains the ring.
	Maintain func(from ring.Member, r protocol.Request, honest protocol.Reply) protocol.Reply
	// Subscribe, if set, changes an honest message to a client that has subscribed, the nth of
	// the subscription from 0.
	Subscribe func(n int, honest *ringmap.Update)
}

var _ transport.Network = (*Liar)(nil)

// OpenMember implements transport.Network.
func (l *Liar) OpenMember(o transport.Options) (transport.Transport, error) {
	tr, err := grpctransport.Listen(grpctransport.ConfigOf(o))
	if err != nil {
		return nil, err
	}
	return &lying{Transport: tr, liar: l}, nil
}

type lying struct {
	transport.Transport

	liar *Liar
}

func (t *lying) Serve(h transport.Handler) { t.Transport.Serve(lyingHandler{h, t.liar}) }

type lyingHandler struct {
	transport.Handler

	liar *Liar
}

func (h lyingHandler) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	reply, err := h.Handler.Maintain(ctx, env, req)
	if err == nil && h.liar.Maintain != nil {
		reply = h.liar.Maintain(env.From, req, reply)
	}
	return reply, err
}

func (h lyingHandler) Route(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
	a, err := h.Handler.Route(ctx, env, q)
	if err == nil && h.liar.Route != nil {
		a = h.liar.Route(q, a)
	}
	return a, err
}

func (h lyingHandler) Subscribe(ctx context.Context, env transport.Envelope, sub *ringmap.Subscription, send func(*ringmap.Update) error) error {
	n := 0
	return h.Handler.Subscribe(ctx, env, sub, func(u *ringmap.Update) error {
		told := u.Clone()
		if h.liar.Subscribe != nil {
			h.liar.Subscribe(n, &told)
		}
		n++
		return send(&told)
	})
}
