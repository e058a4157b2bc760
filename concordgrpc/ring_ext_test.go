package concordgrpc_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordgrpc"
)

const patience = 20 * time.Second

// app is a program with a member and a service on one port. Its service is that of the health of
// gRPC, in which the name of the service asked for is the key.
type app struct {
	*concord.Concord
	grpc_health_v1.UnimplementedHealthServer

	guard   *concordgrpc.Guard
	server  *grpc.Server
	addr    string
	serving sync.WaitGroup
	calls   atomic.Int64 // of the handlers
	during  func() error // called by them
	terse   bool         // they answer without headers
}

// health is the key of a call of the health service.
func health(ctx context.Context, _ string, request any) ([]byte, bool) {
	if r, ok := request.(*grpc_health_v1.HealthCheckRequest); ok {
		return []byte(r.GetService()), true
	}
	return concordgrpc.Key(ctx)
}

func (a *app) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	a.calls.Add(1)
	if err := a.during(); err != nil {
		return nil, err
	}
	if a.terse {
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
	}
	epoch, _ := concordgrpc.Epoch(ctx)
	answer := metadata.Pairs("member", a.Name(), "epoch", fmt.Sprint(epoch > 0))
	answer.Append("saw", metadata.ValueFromIncomingContext(ctx, "shown")...)
	if err := grpc.SetHeader(ctx, answer); err != nil {
		return nil, err
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func (a *app) Watch(_ *grpc_health_v1.HealthCheckRequest, s grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	epoch, ok := concordgrpc.Epoch(s.Context())
	if !ok || epoch == 0 {
		return fmt.Errorf("the epoch is %d, %v", epoch, ok)
	}
	return s.Send(&grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING})
}

// start makes an app that serves at addr, with a member that is in no ring.
func start(tb testing.TB, name, addr string, edit func(*concordgrpc.Guard)) *app {
	tb.Helper()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	a := &app{addr: lis.Addr().String(), during: func() error { return nil }}
	a.Concord = concord.New(concord.Config{
		Name: name, AdvAddr: a.addr, VirtualNodes: 4, Zone: "zone of " + name, StabilizeInterval: 200 * time.Millisecond,
	})
	a.guard = &concordgrpc.Guard{Member: a.Concord}
	if edit != nil {
		edit(a.guard)
	}
	a.server = grpc.NewServer(append(a.ServerOptions(),
		grpc.ChainUnaryInterceptor(a.guard.Unary), grpc.ChainStreamInterceptor(a.guard.Stream))...)
	grpc_health_v1.RegisterHealthServer(a.server, a)
	if err := a.Register(a.server); err != nil {
		tb.Fatal(err)
	}
	a.serving.Go(func() { _ = a.server.Serve(lis) })
	if err := a.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		a.Stop()
		a.server.Stop()
		a.serving.Wait()
	})
	return a
}

// ring is a ring of the members of n apps, settled.
func ring(tb testing.TB, n int, edit func(*concordgrpc.Guard)) []*app {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	var apps []*app
	for i := range n {
		a := start(tb, fmt.Sprintf("member%d", i+1), "127.0.0.1:0", edit)
		if i == 0 {
			if err := a.Create(); err != nil {
				tb.Fatal(err)
			}
		} else if err := a.Join(ctx, apps[0].addr); err != nil {
			tb.Fatal(err)
		}
		apps = append(apps, a)
	}
	settle(tb, apps)
	return apps
}

func settle(tb testing.TB, apps []*app) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for _, a := range apps {
		if err := a.Settled(ctx); err != nil {
			tb.Fatal(err)
		}
	}
}

// dial is a client of the ring.
func dial(tb testing.TB, apps []*app) *concord.Client {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	var addrs []string
	for _, a := range apps {
		addrs = append(addrs, a.addr)
	}
	client, err := concord.Dial(ctx, concord.ClientConfig{}, addrs...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	return client
}

// direct is a connection to an app that no Router is part of.
func direct(tb testing.TB, a *app) *grpc.ClientConn {
	tb.Helper()
	cc, err := grpc.NewClient("passthrough:///"+a.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { cc.Close() })
	return cc
}

// keyOf is a key of the app's.
func keyOf(a *app) []byte {
	for i := 0; ; i++ {
		if key := fmt.Appendf(nil, "key%d", i); a.Owns(key) {
			return key
		}
	}
}

// check asks the health of key, and returns the headers of the answer.
func check(ctx context.Context, conn grpc.ClientConnInterface, key []byte) (metadata.MD, error) {
	var header metadata.MD
	_, err := grpc_health_v1.NewHealthClient(conn).Check(concordgrpc.WithKey(ctx, key),
		&grpc_health_v1.HealthCheckRequest{Service: string(key)}, grpc.Header(&header))
	return header, err
}
