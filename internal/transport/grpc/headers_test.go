package grpctransport

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// What the caller's context carries for the caller's own requests stays at home,
// and what Inject adds to a Route travels.
func TestCallersHeadersStayAtHome(t *testing.T) {
	var mu sync.Mutex
	served := map[string]int{}
	arrived := func(ctx context.Context, what string) {
		mu.Lock()
		defer mu.Unlock()
		served[what]++
		md, _ := metadata.FromIncomingContext(ctx)
		for key, values := range md {
			if strings.Contains(strings.Join(values, " "), "secret") || strings.HasPrefix(key, "grpc-t") && key != "grpc-timeout" {
				t.Errorf("%s came with %s: %q", what, key, values)
			}
		}
		if want := what == "route"; slices.Contains(md.Get("x-trace"), "one") != want {
			t.Errorf("%s came with x-trace %q", what, md.Get("x-trace"))
		}
	}
	b := begin(t, Config{}, &transporttest.Handler{
		OnMaintain: func(ctx context.Context, _ transport.Envelope, req protocol.Request) (protocol.Reply, error) {
			arrived(ctx, req.Kind.String())
			return protocol.Reply{Verdict: protocol.Next}, nil
		},
		OnRoute: func(ctx context.Context, _ transport.Envelope, _ routing.Query) (routing.Answer, error) {
			arrived(ctx, "route")
			return routing.Answer{}, nil
		},
		OnMeta: func(ctx context.Context, _ transport.Envelope) ([]byte, error) {
			arrived(ctx, "meta")
			return nil, nil
		},
		OnFindSuccessor: func(ctx context.Context, _ transport.Envelope, _ uint64) (ring.Member, error) {
			arrived(ctx, "find_successor")
			return ring.Member{}, nil
		},
	})
	a := begin(t, Config{Inject: func(_ context.Context, set func(key, value string)) { set("x-trace", "one") }}, nil)
	ctx := metadata.AppendToOutgoingContext(patient(t),
		"authorization", "Bearer secret", "x-secret-bin", "secret", "grpc-trace-bin", "secret", "x-trace", "secret")
	env := transport.Envelope{From: at("a", a), To: at("m", b), Settings: transporttest.Settings}
	for _, kind := range []protocol.RequestKind{protocol.AskRing, protocol.Look, protocol.Notify, protocol.Seek, protocol.Place,
		protocol.Introduce, protocol.Changed, protocol.Leave} {
		req := protocol.Request{Kind: kind, Subject: env.From}
		_, _ = a.Maintain(ctx, env, req) // what is answered does not matter here
	}
	_, _ = a.Route(ctx, env, routing.Query{ID: 1})
	_, _ = a.Meta(ctx, env)
	mu.Lock()
	defer mu.Unlock()
	if len(served) != 10 {
		t.Errorf("served: %v; want ten kinds", served)
	}
	if md, _ := metadata.FromOutgoingContext(ctx); len(md) != 4 {
		t.Errorf("the caller's own context now carries %v", md)
	}
}
