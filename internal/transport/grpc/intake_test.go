package grpctransport

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/budget"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// holding is a handler whose lookups, and requests of maintenance, wait until let.
type holding struct {
	transporttest.Handler
	let chan struct{}
}

func newHolding() *holding {
	h := &holding{let: make(chan struct{})}
	hold := func(ctx context.Context) {
		select {
		case <-h.let:
		case <-ctx.Done():
		}
	}
	h.Self = transporttest.Member("m", "b:1", 7)
	h.OnRoute = func(ctx context.Context, _ transport.Envelope, _ routing.Query) (routing.Answer, error) {
		hold(ctx)
		return routing.Answer{Verdict: routing.Mine, Owner: h.Self, HasArc: true, Arc: ring.Arc{After: h.Self.ID, To: h.Self.ID}}, nil
	}
	h.OnFindSuccessor = func(ctx context.Context, _ transport.Envelope, _ uint64) (ring.Member, error) {
		hold(ctx)
		return h.Self, nil
	}
	return h
}

// stub connects to a transport of the bubble, as anybody can.
func (n *network) stub(t *testing.T, addr string) (pb.ChordServiceClient, *grpc.ClientConn) {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(n.dial), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	return pb.NewChordServiceClient(cc), cc
}

// occupy has so many requests at work by call, over as many connections as that takes,
// and returns what ends them all.
func (n *network) occupy(t *testing.T, addr string, requests int, call func(context.Context, pb.ChordServiceClient) error) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var conns []*grpc.ClientConn
	for begun := 0; begun < requests; begun += budget.DefaultStreams {
		c, cc := n.stub(t, addr)
		conns = append(conns, cc)
		for range min(budget.DefaultStreams, requests-begun) {
			go func() {
				if err := call(ctx, c); err != nil && ctx.Err() == nil {
					t.Errorf("a request within the budget: %v", err)
				}
			}()
		}
	}
	synctest.Wait()
	return func() {
		cancel()
		for _, cc := range conns {
			cc.Close()
		}
		synctest.Wait()
	}
}

func route(ctx context.Context, c pb.ChordServiceClient) error {
	_, err := c.Route(ctx, &pb.RouteReq{Request: pbRequest(transport.Envelope{Settings: transporttest.Settings})})
	return err
}

func findSuccessor(ctx context.Context, c pb.ChordServiceClient) error {
	_, err := c.FindSuccessor(ctx, &pb.FindReq{})
	return err
}

// Strangers may have so many at work, as docs/SECURITY.md says.
const manyRoutes, manyForwarded = 128, 64

func TestRequestOverABudgetIsRefusedAtOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		many    int
		call    func(context.Context, pb.ChordServiceClient) error
		details int
		refused func(transport.Intake) uint64
	}{
		{"Route", manyRoutes, route, 1, func(in transport.Intake) uint64 { return in.LookupsRefused }},
		{"FindSuccessor", manyForwarded, findSuccessor, 0, func(in transport.Intake) uint64 { return in.ForwardedRefused }},
	} {
		t.Run(c.name, func(t *testing.T) {
			onEveryServer(t, func(t *testing.T, n *network) {
				h := newHolding()
				b := n.Listen(t, "b:1", h).(*Transport)
				var told []transport.Refusal
				b.Refused(func(r transport.Refusal) { told = append(told, r) })
				leave := n.occupy(t, "b:1", c.many, c.call)
				stub, cc := n.stub(t, "b:1")
				timed, cancel := context.WithTimeout(context.Background(), time.Hour)
				defer cancel()
				for i, ctx := range []context.Context{context.Background(), timed} {
					began := time.Now()
					err := c.call(ctx, stub)
					if st := status.Convert(err); st.Code() != codes.ResourceExhausted || len(st.Details()) != c.details || time.Since(began) > time.Millisecond {
						t.Errorf("the request over the budget, after %v: %v with %v; want ResourceExhausted within 1 ms", time.Since(began), err, st.Details())
					}
					if len(told) != i+1 || !told[i].Busy || !told[i].Request || !strings.HasPrefix(told[i].Why, "too many") {
						t.Errorf("told of is %+v", told)
					}
				}
				// The ring has its own.
				if _, err := stub.GetRing(context.Background(), &pb.RingReq{}); err != nil {
					t.Errorf("a question about the ring, while lookups use up theirs: %v", err)
				}
				if got := c.refused(b.Intake()); got != 2 {
					t.Errorf("%d are counted, of 2", got)
				}
				leave()
				close(h.let)
				if err := c.call(context.Background(), stub); err != nil {
					t.Errorf("a request when nothing is at work: %v", err)
				}
				cc.Close()
				b.Close()
				for k := range budget.Kinds {
					if n := b.lis.budget.Working(budget.Kind(k)); n != 0 {
						t.Errorf("%d %v are at work when all have ended", n, budget.Kind(k))
					}
				}
			})
		})
	}
}

// A member that refuses has not failed: it is asked again until there is no more time.
func TestAPeerThatHasTooMuchToDoIsAskedAgain(t *testing.T) {
	onEveryServer(t, func(t *testing.T, n *network) {
		h := newHolding()
		b := n.Listen(t, "b:1", h).(*Transport)
		a := n.listen(t, "a:1", 0)
		a.Broken(func(addr string) { t.Errorf("Broken(%q)", addr) })
		leave := n.occupy(t, "b:1", manyRoutes, route)
		env := transport.Envelope{To: h.Self, Settings: transporttest.Settings}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := a.Route(ctx, env, routing.Query{ID: 1})
		wantKind(t, err, protocol.Overloaded, "b:1")
		if ctx.Err() != nil {
			t.Error("the failure has waited for the end of the time allowed")
		}
		if refused := b.Intake().LookupsRefused; refused < 3 || refused > 10 {
			t.Errorf("it was asked %d times in a second", refused)
		}
		answered := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := a.Route(ctx, env, routing.Query{ID: 1})
			answered <- err
		}()
		time.Sleep(100 * time.Millisecond)
		leave()
		close(h.let)
		if err := <-answered; err != nil {
			t.Errorf("the request, when there is room again: %v", err)
		}
		if a.Connections() != 1 {
			t.Errorf("%d connections; want the same one", a.Connections())
		}
		a.Close()
		b.Close()
	})
}

func TestConnectionsThatSayNothingAreClosed(t *testing.T) {
	onEveryServer(t, func(t *testing.T, n *network) {
		a, b := n.listen(t, "a:1", time.Hour), n.listen(t, "b:1", 0)
		if err := ask(context.Background(), a, at("m", b)); err != nil {
			t.Fatal(err)
		}
		_, mute := n.stub(t, "b:1")
		mute.Connect()
		_, half := n.stub(t, "b:1")
		// gRPC sends the headers of a stream before there is a message.
		s, err := half.NewStream(context.Background(), &grpc.StreamDesc{ClientStreams: true}, pb.ChordService_Route_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if in := b.Intake(); in.Connections != 3 {
			t.Fatalf("%d connections; want 3", in.Connections)
		}
		if err := s.RecvMsg(&pb.RouteResp{}); status.Code(err) != codes.Unavailable {
			t.Errorf("the stream without a message: %v", err)
		}
		time.Sleep(2 * silentLimit)
		if in := b.Intake(); in.Connections != 1 || in.ConnectionsClosed != 2 {
			t.Errorf("%d connections, %d closed; want the member's to stay, and 2", in.Connections, in.ConnectionsClosed)
		}
		mute.Close()
		half.Close()
		a.Close()
		b.Close()
	})
}

func TestConnectionsOfMembersCountAsTheirs(t *testing.T) {
	onEveryServer(t, func(t *testing.T, n *network) {
		ha, hb := &transporttest.Handler{Self: transporttest.Member("a", "a:1", 7)}, &transporttest.Handler{Self: transporttest.Member("b", "b:1", 7)}
		a, b := n.Listen(t, "a:1", ha).(*Transport), n.Listen(t, "b:1", hb).(*Transport)
		from := func(x ring.Member, to *transporttest.Handler) transport.Envelope {
			return transport.Envelope{From: x, To: to.Self, Settings: transporttest.Settings}
		}
		members := func() (count int) {
			b.lis.mu.Lock()
			defer b.lis.mu.Unlock()
			for c := range b.lis.conns {
				if c.budget.Member() {
					count++
				}
			}
			return count
		}
		speak := func(tr *Transport, env transport.Envelope) {
			t.Helper()
			if _, err := tr.Maintain(context.Background(), env, protocol.Request{Kind: protocol.AskRing}); err != nil {
				t.Fatal(err)
			}
		}
		speak(a, from(ha.Self, hb))
		if got := members(); got != 0 {
			t.Errorf("%d connections count as those of members that were never reached", got)
		}
		speak(b, from(hb.Self, ha))
		speak(a, from(ha.Self, hb))
		if got := members(); got != 1 {
			t.Errorf("%d connections count as those of members; want that of a", got)
		}
		other := n.listen(t, "x:1", 0)
		later := ha.Self
		later.Incarnation++
		speak(other, from(later, hb))
		if got := members(); got != 1 {
			t.Errorf("%d connections count as those of members, with one of an incarnation that was never reached", got)
		}
		for _, tr := range []*Transport{a, b, other} {
			tr.Close()
		}
	})
}

// exhausted is a listener of a process that has no descriptors left.
type exhausted struct {
	named
	until time.Time
	calls atomic.Int64
}

func (l *exhausted) Accept() (net.Conn, error) {
	if time.Now().Before(l.until) {
		l.calls.Add(1)
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l, Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.named.Accept()
}

func TestListenerThatCannotAcceptSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		plain := n.listen(t, "a:1", 0)
		if in := plain.Intake(); in.Deaf != 0 || in.Err != nil || in.AcceptFailures != 0 {
			t.Errorf("a listener that accepts says %+v", in)
		}
		lis := &exhausted{named: plain.lis.Listener.(named), until: time.Now().Add(time.Minute)}
		b, err := Listen(Config{Listener: lis})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var told []string
		b.Refused(func(r transport.Refusal) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(r.From, "|", r.Why))
		})
		b.Serve(&transporttest.Handler{})
		time.Sleep(30 * time.Second)
		in := b.Intake()
		if in.Deaf < 29*time.Second || in.Deaf > 30*time.Second || in.AcceptFailures != uint64(lis.calls.Load()) || in.AcceptFailures < 30 {
			t.Errorf("after half a minute without descriptors: %+v", in)
		}
		mu.Lock()
		if want := "|no connection can be accepted: accept tcp a:1: accept4: too many open files"; int64(len(told)) != lis.calls.Load() || told[0] != want {
			t.Errorf("told of are %q; want %q", told, want)
		}
		mu.Unlock()
		time.Sleep(time.Minute)
		if in := b.Intake(); in.Deaf != 0 || in.Err != nil {
			t.Errorf("when there are descriptors again: %+v", in)
		}
		b.Close()
		if in := b.Intake(); in.Deaf != 0 {
			t.Errorf("a listener that was closed says %+v", in)
		}
		plain.Close()
	})
}
