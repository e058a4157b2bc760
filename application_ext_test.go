package concord_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ollelogdahl/concord"
)

// application is a program with a service and a member on one port. Its service says who
// it is, unless answer says otherwise.
type application struct {
	*concord.Concord

	server  *grpc.Server
	lis     net.Listener
	serving sync.WaitGroup
	answer  func(ctx context.Context, question string) (string, error)
}

// newApplication makes one whose server does not serve and whose member has not started.
// Both are stopped when the test ends.
func newApplication(t *testing.T, name string, options []grpc.ServerOption, edits ...func(*concord.Config)) *application {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := configure(name, append(edits, func(c *concord.Config) { c.BindAddr, c.AdvAddr = "", lis.Addr().String() })...)
	a := &application{Concord: concord.New(cfg), lis: lis}
	a.answer = func(context.Context, string) (string, error) { return name, nil }
	a.server = grpc.NewServer(append(a.ServerOptions(), options...)...)
	a.server.RegisterService(a.service(), nil)
	if err := a.Register(a.server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Stop()
		a.server.Stop()
		lis.Close()
		a.serving.Wait()
	})
	return a
}

// service is a method that takes and returns a string, and a stream of them.
func (a *application) service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "test.Application", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Ask", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var in wrapperspb.StringValue
			if err := dec(&in); err != nil {
				return nil, err
			}
			out, err := a.answer(ctx, in.GetValue())
			return wrapperspb.String(out), err
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Talk", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			for {
				var in wrapperspb.StringValue
				if err := s.RecvMsg(&in); err != nil {
					return nil //nolint:nilerr // the end of the stream
				}
				out, err := a.answer(s.Context(), in.GetValue())
				if err != nil {
					return err
				}
				if err := s.SendMsg(wrapperspb.String(out)); err != nil {
					return err
				}
			}
		}}},
	}
}

// serve has the server serve.
func (a *application) serve() { a.serving.Go(func() { _ = a.server.Serve(a.lis) }) }

// startApplication makes one that serves, with a member that is in no ring.
func startApplication(t *testing.T, name string, edits ...func(*concord.Config)) *application {
	t.Helper()
	a := newApplication(t, name, nil, edits...)
	a.serve()
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return a
}

// applicationRing is a ring of the members of n applications.
func applicationRing(t *testing.T, n int, edits ...func(*concord.Config)) ([]*application, []*concord.Concord) {
	t.Helper()
	var apps []*application
	var members []*concord.Concord
	for i := range n {
		a := startApplication(t, fmt.Sprintf("member%d", i+1), edits...)
		if i > 0 {
			join(t, a.Concord, members[0].Address())
		} else if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		apps, members = append(apps, a), append(members, a.Concord)
	}
	awaitIdeal(t, members)
	return apps, members
}

// connect is a connection of c to s.
func connect(t *testing.T, c interface {
	Conn(concord.Server) (grpc.ClientConnInterface, error)
}, s concord.Server,
) grpc.ClientConnInterface {
	t.Helper()
	conn, err := c.Conn(s)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// call asks the application at the other end of conn.
func call(t *testing.T, conn grpc.ClientConnInterface, question string, opts ...grpc.CallOption) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out wrapperspb.StringValue
	err := conn.Invoke(ctx, "/test.Application/Ask", wrapperspb.String(question), &out, opts...)
	return out.GetValue(), err
}

// stranger is a connection to addr that is made without a member.
func stranger(t *testing.T, addr string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}
