package grpctransport

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// serveForeign serves on loopback until the test ends, and returns the address.
func serveForeign(t *testing.T, serve func(net.Listener) error, stop func()) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { serve(lis) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
	})
	return lis.Addr().String()
}

// web answers every request in HTTP/2 with a status.
func web(t *testing.T, code int) string {
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
	})}
	s.Protocols.SetUnencryptedHTTP2(true)
	return serveForeign(t, s.Serve, func() { s.Close() })
}

// Whoever knows none of our methods is a legacy member only if it knows the legacy ones.
func TestServersThatAreNoMembersAreNotTakenForLegacyOnes(t *testing.T) {
	other := grpc.NewServer()
	servers := map[string]string{"another gRPC server": serveForeign(t, other.Serve, other.Stop)}
	for _, code := range []int{200, 301, 400, 401, 403, 404, 500, 503} {
		servers[http.StatusText(code)] = web(t, code)
	}
	a := begin(t, Config{}, nil)
	for what, addr := range servers {
		t.Run(what, func(t *testing.T) {
			for _, to := range []ring.Member{transporttest.Member("m", addr, 7), transporttest.Member("m", addr, 0), {Addr: addr}} {
				env := transport.Envelope{From: at("m", a), To: to, Settings: ring.Settings{Bits: 64}}
				for kind := protocol.AskRing; kind <= protocol.Leave; kind++ {
					if to.Incarnation == 0 && (kind == protocol.Introduce || kind == protocol.Changed || kind == protocol.Leave) {
						continue // a legacy member is not asked that
					}
					_, err := a.Maintain(patient(t), env, protocol.Request{Kind: kind, Subject: at("n", a), Pred: at("n", a)})
					wantKind(t, err, protocol.Unreachable, addr)
				}
				_, err := a.Route(patient(t), env, routing.Query{ID: 1})
				wantKind(t, err, protocol.Unreachable, addr)
				_, err = a.Meta(context.Background(), env)
				wantKind(t, err, protocol.Unreachable, addr)
			}
		})
	}
}
