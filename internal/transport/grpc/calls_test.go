package grpctransport

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// program is an application in a bubble: a server with a service, and a transport on it.
type program struct {
	*Transport

	server *grpc.Server
	wg     sync.WaitGroup
	let    chan struct{} // the service answers what it is asked to wait with
}

// run starts a program at addr. Its member is "m".
func (n *network) run(t *testing.T, addr string, edits ...func(*transporttest.Handler)) *program {
	t.Helper()
	lis := named{bufconn.Listen(64 << 10), addr}
	n.mu.Lock()
	n.at[addr] = lis
	n.mu.Unlock()
	p := &program{let: make(chan struct{})}
	port := NewPort(Config{})
	p.server = grpc.NewServer(port.Options()...)
	p.server.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Application", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		{MethodName: "Ask", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.StringValue)
			if err := dec(in); err != nil {
				return nil, err
			}
			switch in.GetValue() {
			case "wait":
				select {
				case <-p.let:
				case <-ctx.Done():
				}
			case "fail":
				return nil, status.Error(codes.Unavailable, "the application says no")
			}
			return in, nil
		}},
	}}, nil)
	if err := port.Register(p.server); err != nil {
		t.Fatal(err)
	}
	p.wg.Go(func() { _ = p.server.Serve(lis) })
	var err error
	if p.Transport, err = Listen(Config{Port: port, Advertise: addr, Dial: n.dial}); err != nil {
		t.Fatal(err)
	}
	m := transporttest.Member("m", addr, 7)
	h := &transporttest.Handler{Self: m, OnMeta: func(_ context.Context, env transport.Envelope) ([]byte, error) {
		if env.To.ID != m.ID {
			return nil, &protocol.Failure{Kind: protocol.WrongMember, By: m}
		}
		return nil, nil
	}}
	for _, edit := range edits {
		edit(h)
	}
	p.Serve(h)
	return p
}

func (p *program) end() {
	p.Close()
	p.server.Stop()
	p.wg.Wait()
}

// conn is a connection of tr to the application of m.
func conn(tr *Transport, m ring.Member) grpc.ClientConnInterface {
	env := transport.Envelope{From: transporttest.Member("asker", "asker:1", 7), To: m, Settings: transporttest.Settings}
	return tr.Conn(env, func(f *protocol.Failure) error { return f })
}

func question(ctx context.Context, cc grpc.ClientConnInterface, words string, opts ...grpc.CallOption) error {
	var out wrapperspb.StringValue
	err := cc.Invoke(ctx, "/test.Application/Ask", wrapperspb.String(words), &out, opts...)
	if err == nil && out.GetValue() != words {
		return errors.New("another answer: " + out.GetValue())
	}
	return err
}

func TestCallsToOneMemberShareAConnectionUntilItIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a, b := n.run(t, "a:1"), n.run(t, "b:1")
		for range 5 {
			var calls sync.WaitGroup
			for range 8 {
				cc := conn(a.Transport, transporttest.Member("m", "b:1", 0))
				calls.Go(func() {
					if err := question(t.Context(), cc, "who"); err != nil {
						t.Error(err)
					}
				})
			}
			calls.Wait()
			time.Sleep(calleeIdle - time.Second)
		}
		if n.dials != 1 || a.Connections() != 1 {
			t.Errorf("%d connections were made, %d are open, want one", n.dials, a.Connections())
		}
		if in := b.Intake(); in.Connections != 1 {
			t.Errorf("%d connections have come, want one", in.Connections)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := a.Connections(); got != 0 {
			t.Errorf("%d connections are open after a minute of rest", got)
		}
		a.end()
		b.end()
	})
}

// silenced is a connection on which nothing comes any more once cut is true.
type silenced struct {
	net.Conn
	cut    *atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (s *silenced) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.cut.Load() {
		<-s.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (s *silenced) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// A connection on which nothing comes is replaced, but not more often than once a second.
func TestSilentConnectionOfCallsIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a, b := n.run(t, "a:1"), n.run(t, "b:1")
		cut := new(atomic.Bool)
		a.cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := n.dial(ctx, addr)
			return &silenced{Conn: c, cut: cut, closed: make(chan struct{})}, err
		}
		cc := conn(a.Transport, transporttest.Member("m", "b:1", 7))
		if err := question(t.Context(), cc, "who"); err != nil {
			t.Fatal(err)
		}
		cut.Store(true)
		for i, tc := range []struct {
			patience time.Duration
			dials    int // that have been made then
		}{{time.Millisecond, 1}, {400 * time.Millisecond, 1}, {400 * time.Millisecond, 1}, {400 * time.Millisecond, 1}, {400 * time.Millisecond, 2}} {
			ctx, cancel := context.WithTimeout(t.Context(), tc.patience)
			if err := question(ctx, cc, "who"); status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("call %d: %v", i, err)
			}
			cancel()
			if n.dials != tc.dials {
				t.Errorf("%d connections have been made for call %d, want %d", n.dials, i, tc.dials)
			}
		}
		a.end()
		b.end()
	})
}

func TestMemberThatCannotBeReachedIsTriedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a := n.run(t, "a:1")
		gone := conn(a.Transport, transporttest.Member("m", "gone:1", 7))
		began := time.Now()
		for time.Since(began) < time.Minute {
			for range 5 {
				err := question(t.Context(), gone, "who")
				if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "gone:1") {
					t.Fatalf("%v, want Unavailable and the address", err)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		if least, most := 60*2/3, 60*2+12; n.dials < least || n.dials > most {
			t.Errorf("%d attempts in a minute, want %d to %d", n.dials, least, most)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := question(ctx, gone, "who", grpc.WaitForReady(true)); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("waited for a member in vain: %v", err)
		}
		time.AfterFunc(5*time.Second, func() { n.Lead("gone:1", "b:1") })
		n.leads = make(map[string]string)
		b := n.run(t, "b:1")
		began = time.Now()
		if err := question(t.Context(), gone, "who", grpc.WaitForReady(true)); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("waited %v for a member that came after 5 s", took)
		}
		a.end()
		b.end()
	})
}

func TestCallsOfClosedTransportFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a, b := n.run(t, "a:1"), n.run(t, "b:1")
		before := conn(a.Transport, transporttest.Member("m", "b:1", 7))
		gone := conn(a.Transport, transporttest.Member("m", "gone:1", 7))
		failed := make(chan error, 2)
		go func() { failed <- question(context.Background(), before, "wait") }()
		go func() { failed <- question(context.Background(), gone, "who", grpc.WaitForReady(true)) }()
		synctest.Wait()
		a.Close()
		for range 2 {
			if err := <-failed; err == nil {
				t.Error("a call is answered after Close")
			}
		}
		for _, cc := range []grpc.ClientConnInterface{before, conn(a.Transport, transporttest.Member("m", "b:1", 7))} {
			if err := question(t.Context(), cc, "who"); status.Code(err) != codes.Canceled {
				t.Errorf("after Close: %v, want Canceled", err)
			}
		}
		a.end()
		b.end()
	})
}

// An application closes none of its connections because its member hears nothing on them.
func TestConnectionsOfAnApplicationAreNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		b := n.run(t, "b:1")
		_, used := n.stub(t, "b:1")
		defer used.Close()
		_, unused := n.stub(t, "b:1")
		defer unused.Close()
		unused.Connect()
		answered := make(chan error, 1)
		go func() { answered <- question(t.Context(), used, "wait") }()
		synctest.Wait()
		if in := b.Intake(); in.Connections != 2 {
			t.Fatalf("%d connections, want 2", in.Connections)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if in := b.Intake(); in.Connections != 1 {
			t.Errorf("%d connections after 20 min, want the one with a call", in.Connections)
		}
		before := b.Written()
		close(b.let)
		if err := <-answered; err != nil {
			t.Error(err)
		}
		if now := b.Written(); now != before {
			t.Errorf("%d bytes of the application are counted", now-before)
		}
		b.end()
	})
}

func TestLargeMessagesAreForTheApplicationOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a, b := n.run(t, "a:1"), n.run(t, "b:1")
		var refusals []string
		b.Refused(func(r transport.Refusal) { refusals = append(refusals, r.Why) })
		large := strings.Repeat("x", 1<<20)
		if err := question(t.Context(), conn(a.Transport, transporttest.Member("m", "b:1", 7)), large); err != nil {
			t.Error(err)
		}
		stub, cc := n.stub(t, "b:1")
		defer cc.Close()
		_, err := stub.Introduce(t.Context(), &pb.IntroduceReq{Request: &pb.Request{}, Subject: &pb.Server{Name: large}})
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a large message to the member gives %v", err)
		}
		stream, err := stub.Link(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&pb.Frames{Frames: []byte(large)}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a large message on a stream gives %v", err)
		}
		if len(refusals) != 2 || !strings.Contains(refusals[0], "bytes") || !strings.Contains(refusals[1], "bytes") {
			t.Errorf("told of %q", refusals)
		}
		a.end()
		b.end()
	})
}

// What an application answers is what its caller gets. A connection that breaks is named,
// and is no news of the ring.
func TestErrorsOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a, b := n.run(t, "a:1"), n.run(t, "b:1")
		a.Broken(func(addr string) { t.Errorf("Broken(%q) for calls", addr) })
		cc := conn(a.Transport, transporttest.Member("m", "b:1", 7))
		if err := question(t.Context(), cc, "fail"); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "the application says no" {
			t.Errorf("%v, want what the application says", err)
		}
		other := conn(a.Transport, transporttest.Member("other", "b:1", 0))
		err := question(t.Context(), other, "who")
		if f, ok := errors.AsType[*protocol.Failure](err); !ok || f.Kind != protocol.WrongMember || status.Code(err) != codes.Unavailable {
			t.Errorf("a call to a member at the address of another: %v", err)
		}
		failed := make(chan error, 1)
		go func() { failed <- question(t.Context(), cc, "wait") }()
		synctest.Wait()
		b.end()
		err = <-failed
		if f, ok := errors.AsType[*protocol.Failure](err); !ok || f.Kind != protocol.Unreachable || !strings.Contains(err.Error(), "b:1") {
			t.Errorf("a call whose connection breaks: %v", err)
		}
		a.end()
	})
}

// A call that finds its connection about to end has not been sent, and is made on another.
func TestCallsGoOnWhileAServerStopsGracefully(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named), leads: make(map[string]string)}
		a, b, c := n.run(t, "a:1"), n.run(t, "b:1"), n.run(t, "c:1")
		cc := conn(a.Transport, transporttest.Member("m", "b:1", 7))
		waiting := make(chan error, 1)
		go func() { waiting <- question(t.Context(), cc, "wait") }()
		synctest.Wait()
		n.Lead("b:1", "c:1")
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			b.server.GracefulStop()
		}()
		synctest.Wait()
		if err := question(t.Context(), cc, "who"); err != nil {
			t.Errorf("a call during GracefulStop: %v", err)
		}
		close(b.let)
		if err := <-waiting; err != nil {
			t.Errorf("the call that was under way: %v", err)
		}
		<-stopped
		a.end()
		b.end()
		c.end()
	})
}

// On a connection that the application uses, too, the requests to the member end with it,
// and the others go on.
func TestRequestsToAMemberEndWithItOnAnyConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		ended := make(chan error, 1)
		b := n.run(t, "b:1", func(h *transporttest.Handler) {
			h.OnRoute = func(ctx context.Context, _ transport.Envelope, _ routing.Query) (routing.Answer, error) {
				<-ctx.Done()
				ended <- ctx.Err()
				return routing.Answer{}, &protocol.Failure{Kind: protocol.Cancelled}
			}
		})
		stub, cc := n.stub(t, "b:1")
		defer cc.Close()
		call, route, link := make(chan error, 1), make(chan error, 1), make(chan error, 1)
		go func() { call <- question(t.Context(), cc, "wait") }()
		go func() {
			_, err := stub.Route(t.Context(), &pb.RouteReq{Id: 1, Request: &pb.Request{}})
			route <- err
		}()
		go func() {
			stream, err := stub.Link(t.Context())
			if err == nil {
				_, err = stream.Recv()
			}
			link <- err
		}()
		synctest.Wait()
		b.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the context of a request ends with %v", err)
		}
		for what, failed := range map[string]chan error{"request": route, "stream": link} {
			if st := status.Convert(<-failed); st.Code() != codes.Unavailable || len(st.Details()) != 1 || !isNotRunning(st.Details()[0]) {
				t.Errorf("a %s ends with %v, want that no member runs", what, st)
			}
		}
		// A legacy member hands on what FindSuccessor is answered.
		_, err := stub.FindSuccessor(t.Context(), &pb.FindReq{Id: 1})
		if st := status.Convert(err); st.Code() != codes.Unavailable || len(st.Details()) != 0 {
			t.Errorf("FindSuccessor after that gives %v with %v, want Unavailable without a detail", err, st.Details())
		}
		close(b.let)
		if err := <-call; err != nil {
			t.Errorf("the application's call ends with %v", err)
		}
		b.end()
	})
}

// Who calls an application asks first which member the connection leads to. If the member ends
// then, the call comes all the same. A connection on which none comes ends later.
func TestFirstCallOutlivesTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		b := n.run(t, "b:1")
		ask := func() *grpc.ClientConn {
			stub, cc := n.stub(t, "b:1")
			if _, err := stub.Meta(t.Context(), &pb.MetaReq{Request: pbRequest(transport.Envelope{To: transporttest.Member("m", "b:1", 7), Settings: transporttest.Settings})}); err != nil {
				t.Fatal(err)
			}
			return cc
		}
		calling, idle := ask(), ask()
		b.Close()
		synctest.Wait()
		for what, cc := range map[string]*grpc.ClientConn{"one": calling, "another": idle} {
			if s := cc.GetState(); s != connectivity.Ready {
				t.Fatalf("%s connection is %v", what, s)
			}
		}
		if err := question(t.Context(), calling, "who"); err != nil {
			t.Errorf("the call: %v", err)
		}
		time.Sleep(firstCall)
		synctest.Wait()
		if s := calling.GetState(); s != connectivity.Ready || n.dials != 2 {
			t.Errorf("the connection of the call is %v, of %d", s, n.dials)
		}
		if s := idle.GetState(); s == connectivity.Ready {
			t.Errorf("the connection without a call is %v", s)
		}
		calling.Close()
		idle.Close()
		b.end()
	})
}

// A member that is about to stop gives up what it is asked: the call has not been made.
func TestCallToAMemberThatIsAboutToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a, b := n.run(t, "a:1"), n.run(t, "b:1", func(h *transporttest.Handler) {
			h.OnMeta = func(context.Context, transport.Envelope) ([]byte, error) {
				return nil, &protocol.Failure{Kind: protocol.Cancelled, Detail: "the transport is closed"}
			}
		})
		err := question(t.Context(), conn(a.Transport, transporttest.Member("m", "b:1", 7)), "who")
		if f, ok := errors.AsType[*protocol.Failure](err); !ok || f.Kind != protocol.Unreachable || status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "b:1") {
			t.Errorf("%v", err)
		}
		a.end()
		b.end()
	})
}

// The streams of a connection of the ring end when the server is to stop, so that it can.
func TestServerThatStopsGracefullyDoesNotWaitForStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a, b := n.run(t, "a:1"), n.run(t, "b:1")
		for range 3 {
			if err := ask(t.Context(), a.Transport, transporttest.Member("m", "b:1", 7)); err != nil {
				t.Fatal(err)
			}
		}
		told, ended := make(chan struct{}, 1), make(chan error)
		env := transport.Envelope{To: transporttest.Member("m", "b:1", 7), Settings: transporttest.Settings}
		go func() {
			ended <- a.Subscribe(t.Context(), env, &ringmap.Subscription{}, func(*ringmap.Update) error {
				told <- struct{}{}
				return nil
			})
		}()
		<-told
		began := time.Now()
		b.server.GracefulStop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if err := <-ended; !errors.Is(err, transport.ErrMoved) {
			t.Errorf("the subscription ends with %v", err)
		}
		a.end()
		b.end()
	})
}
