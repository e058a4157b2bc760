package grpctransport

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// named is a bufconn listener with an address that can be dialled.
type named struct {
	*bufconn.Listener
	addr string
}

func (n named) Addr() net.Addr  { return n }
func (n named) Network() string { return "bufconn" }
func (n named) String() string  { return n.addr }

// network connects transports of one bubble; every connection takes delay.
type network struct {
	mu    sync.Mutex
	at    map[string]named
	leads map[string]string // where an address leads instead
	delay time.Duration
	dials int
	// shared: members receive on servers of applications.
	shared bool
}

// onEveryServer runs f in a bubble with members that have servers of their own, and in
// one with members on servers of applications.
func onEveryServer(t *testing.T, f func(t *testing.T, n *network)) {
	t.Helper()
	for _, shared := range []bool{false, true} {
		t.Run(map[bool]string{false: "of its own", true: "of an application"}[shared], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f(t, &network{at: make(map[string]named), leads: make(map[string]string), shared: shared})
			})
		})
	}
}

// begin has a transport receive at addr.
func (n *network) begin(t *testing.T, addr string, cfg Config, h transport.Handler) *Transport {
	t.Helper()
	lis := named{bufconn.Listen(64 << 10), addr}
	n.mu.Lock()
	n.at[addr] = lis
	n.mu.Unlock()
	cfg.Dial = n.dial
	if !n.shared {
		cfg.Listener = lis
		return begin(t, cfg, h)
	}
	cfg.Port, cfg.Advertise = NewPort(cfg), addr
	s := grpc.NewServer(cfg.Port.Options()...)
	if err := cfg.Port.Register(s); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(lis) })
	t.Cleanup(func() {
		s.Stop()
		serving.Wait()
	})
	return begin(t, cfg, h)
}

func (n *network) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	to := addr
	if elsewhere, ok := n.leads[addr]; ok {
		to = elsewhere
	}
	lis, ok := n.at[to]
	n.dials++
	n.mu.Unlock()
	select {
	case <-time.After(n.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !ok {
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	return lis.DialContext(ctx)
}

func (n *network) listen(t *testing.T, addr string, idle time.Duration) *Transport {
	return n.begin(t, addr, Config{IdleTimeout: idle}, nil)
}

// Listen, Lead and Made make n a transporttest.Paths.
func (n *network) Listen(t *testing.T, addr string, h transport.Handler) transport.Transport {
	return n.begin(t, addr, Config{}, h)
}

func (n *network) Lead(addr, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leads[addr] = to
}

func (n *network) Made() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

func TestPathsThatLeadToAnotherMember(t *testing.T) {
	for _, shared := range []bool{false, true} {
		transporttest.RunAstray(t, func() transporttest.Paths {
			return &network{at: make(map[string]named), leads: make(map[string]string), shared: shared}
		})
	}
}

func TestAnHourInABubble(t *testing.T) {
	onEveryServer(t, func(t *testing.T, n *network) {
		n.delay = 10 * time.Millisecond
		a, b := n.listen(t, "a:1", 0), n.listen(t, "b:1", 0)
		a.Broken(func(addr string) { t.Errorf("Broken(%q)", addr) })
		start := time.Now()
		for time.Since(start) < time.Hour {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if err := ask(ctx, a, at("m", b)); err != nil {
				t.Fatal(err)
			}
			cancel()
			time.Sleep(20 * time.Second)
		}
		if n.dials != 3 { // each is used for 20 to 25 minutes
			t.Errorf("%d connections in an hour of requests, want 3", n.dials)
		}
		a.Close()
		b.Close()
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	onEveryServer(t, func(t *testing.T, n *network) {
		a, b, c := n.listen(t, "a:1", time.Minute), n.listen(t, "b:1", 0), n.listen(t, "c:1", 0)
		a.Broken(func(addr string) { t.Errorf("Broken(%q)", addr) })
		ask1 := func(to *Transport) {
			if err := ask(context.Background(), a, at("m", to)); err != nil {
				t.Fatal(err)
			}
		}
		want := func(conns int) {
			t.Helper()
			synctest.Wait()
			if got := a.Connections(); got != conns {
				t.Errorf("%d connections; want %d", got, conns)
			}
		}
		ask1(b)
		time.Sleep(40 * time.Second)
		ask1(c)
		want(2)
		time.Sleep(30 * time.Second)
		want(1)
		ask1(c)
		time.Sleep(50 * time.Second)
		want(1)
		time.Sleep(20 * time.Second)
		want(0)
		ask1(b)
		want(1)
		a.Limit(0)
		want(0)
		for _, tr := range []*Transport{a, b, c} {
			tr.Close()
		}
	})
}

func TestAttemptEndsWithItsLastWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named), delay: time.Hour}
		a := n.listen(t, "a:1", 0)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		wantKind(t, ask(ctx, a, transporttest.Member("b", "b:1", 1)), 1, "b:1")
		synctest.Wait()
		if took := time.Since(start); took != time.Second || a.Connections() != 0 {
			t.Errorf("gave up after %v with %d connections", took, a.Connections())
		}
		// Without a deadline the attempt has one.
		wantKind(t, ask(context.Background(), a, transporttest.Member("b", "b:1", 1)), 2, "b:1")
		if took := time.Since(start); took != time.Second+connectTimeout {
			t.Errorf("gave up after %v", took)
		}
		a.Close()
	})
}

// A path that is cut for a while leaves a connection that TCP tries again only after
// as long. However slow the peer was, the first question that is given up in the time
// that it is allowed ends that connection.
func TestSilentConnectionIsReplacedHoweverSlowThePeerWas(t *testing.T) {
	for _, trip := range []time.Duration{time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 1200 * time.Millisecond, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := &network{at: make(map[string]named)}
			a, lost := n.listen(t, "a:1", 0), make(chan struct{})
			h := &transporttest.Handler{Self: transporttest.Member("m", "b:1", 7)}
			silent := false
			h.OnMaintain = func(ctx context.Context, _ transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
				if silent {
					<-lost
				}
				time.Sleep(trip)
				return protocol.Reply{State: protocol.State{Self: h.Self, Phase: protocol.Joined, Version: 1}}, nil
			}
			b := n.Listen(t, "b:1", h)
			var known peer.Estimate
			for range 60 {
				began := time.Now()
				if err := ask(t.Context(), a, h.Self); err != nil {
					t.Fatal(err)
				}
				known.Observe(time.Since(began))
			}
			silent = true
			for _, hurried := range []bool{true, false} {
				limit, want := known.Timeout(0), 2
				if hurried {
					limit, want = peer.MinTimeout/2, 1 // says nothing of the connection
				}
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				wantKind(t, ask(ctx, a, h.Self), protocol.TimedOut, "b:1")
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
				wantKind(t, ask(ctx, a, h.Self), protocol.TimedOut, "b:1")
				cancel()
				if got := n.Made(); got != want {
					t.Errorf("answers take %v, a question was given up after %v: %d connections, want %d", trip, limit, got, want)
				}
			}
			close(lost)
			a.Close()
			b.Close()
		})
	}
}
