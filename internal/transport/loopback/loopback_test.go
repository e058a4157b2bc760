package loopback

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// member is who is at addr.
func member(addr string) ring.Member { return transporttest.Member(addr, addr, 1) }

// pair is a network of two members that answer queries.
func pair(t *testing.T) (n *Network, a, b transport.Transport) {
	t.Helper()
	n = NewNetwork(1)
	t.Cleanup(n.Close)
	open := func() transport.Transport {
		tr, err := n.OpenMember(transport.Options{Bind: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tr.Close() })
		tr.Serve(&transporttest.Handler{Self: member(tr.Addr())})
		return tr
	}
	return n, open(), open()
}

// ask asks addr by tr, for at most patience, and gives how long that took.
func ask(tr transport.Transport, addr string, patience time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	_, err := tr.Route(ctx, transport.Envelope{To: member(addr), Settings: transporttest.Settings}, routing.Query{ID: 1})
	return time.Since(began), err
}

// answered fails the test unless addr answers tr.
func answered(t *testing.T, what string, tr transport.Transport, addr string) time.Duration {
	t.Helper()
	took, err := ask(tr, addr, 20*time.Second)
	if err != nil {
		t.Fatalf("%s: %v after %v", what, err, took)
	}
	return took
}

// silent fails the test unless addr does not answer tr.
func silent(t *testing.T, what string, tr transport.Transport, addr string) {
	t.Helper()
	_, err := ask(tr, addr, 100*time.Millisecond)
	if f, ok := errors.AsType[*protocol.Failure](err); !ok || f.Kind != protocol.TimedOut {
		t.Errorf("%s: %v, want a time-out", what, err)
	}
}

func TestFaultsHoldOnNewConnectionsAndOnOldOnes(t *testing.T) {
	for _, connected := range []bool{false, true} {
		for _, tc := range []struct {
			name       string
			fault, end func(n *Network, a, b string)
		}{
			{"the question is cut off", func(n *Network, a, b string) { n.Cut(a, b) }, func(n *Network, a, b string) { n.Heal(a, b) }},
			{"the answer is cut off", func(n *Network, a, b string) { n.Cut(b, a) }, func(n *Network, a, b string) { n.HealAll() }},
			{"the asker hangs", func(n *Network, a, b string) { n.Pause(a) }, func(n *Network, a, b string) { n.Resume(a) }},
			{"the asked hangs", func(n *Network, a, b string) { n.Pause(b) }, func(n *Network, a, b string) { n.Resume(b) }},
			{"all is lost", func(n *Network, _, _ string) { n.Lose(1) }, func(n *Network, _, _ string) { n.Lose(0) }},
			{"all is late", func(n *Network, _, _ string) { n.Delay(time.Second, time.Second) }, func(n *Network, _, _ string) { n.Delay(0, 0) }},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				n, a, b := pair(t)
				if connected {
					answered(t, "before", a, b.Addr())
				}
				tc.fault(n, a.Addr(), b.Addr())
				silent(t, "during", a, b.Addr())
				tc.end(n, a.Addr(), b.Addr())
				answered(t, "after", a, b.Addr())
			})
		}
	}
}

func TestDelayIsPaidThereAndBack(t *testing.T) {
	t.Parallel()
	n, a, b := pair(t)
	const d = 30 * time.Millisecond
	n.DelayBetween(a.Addr(), b.Addr(), d, d)
	n.DelayBetween(b.Addr(), a.Addr(), 2*d, 2*d)
	if took := answered(t, "the first", a, b.Addr()); took < 6*d {
		t.Errorf("with the handshake it took %v, want at least %v", took, 6*d)
	}
	if took := answered(t, "the second", a, b.Addr()); took < 3*d {
		t.Errorf("took %v, want at least %v", took, 3*d)
	}
}

// A member that ends is noticed at once, but not through a cut.
func TestEndOfConnectionTravelsToo(t *testing.T) {
	t.Parallel()
	n, a, b := pair(t)
	broken := make(chan string, 1)
	a.Broken(func(addr string) { broken <- addr })
	answered(t, "before", a, b.Addr())
	n.Cut(b.Addr(), a.Addr())
	b.Close()
	select {
	case <-broken:
		t.Error("the end was noticed through a cut")
	case <-time.After(100 * time.Millisecond):
	}
	n.HealAll()
	select {
	case addr := <-broken:
		if addr != b.Addr() {
			t.Errorf("the connection to %s broke", addr)
		}
	case <-time.After(20 * time.Second):
		t.Error("the end was not noticed after the cut was healed")
	}
}

func TestMemberIsReachedByTheNameItAdvertises(t *testing.T) {
	t.Parallel()
	n, a, _ := pair(t)
	tr, err := n.OpenMember(transport.Options{Bind: "127.0.0.1:0", Advertise: "member.example.com:7946"})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	tr.Serve(&transporttest.Handler{Self: member("member.example.com:7946")})
	if !n.Listens("member.example.com:7946") {
		t.Error("nobody listens at the name")
	}
	answered(t, "by its name", a, "member.example.com:7946")
	n.Pause("member.example.com:7946")
	silent(t, "paused by its name", a, "member.example.com:7946")
}

func TestClientsAreHeldUpToo(t *testing.T) {
	t.Parallel()
	n, a, _ := pair(t)
	c, err := n.OpenClient(transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answered(t, "before", c, a.Addr())
	n.Cut("client:1", a.Addr())
	silent(t, "cut off", c, a.Addr())
	n.HealAll()
	answered(t, "after", c, a.Addr())
}

func TestClosedNetworkConnectsNobody(t *testing.T) {
	t.Parallel()
	n, a, b := pair(t)
	answered(t, "before", a, b.Addr())
	n.Close()
	if _, err := ask(a, b.Addr(), 20*time.Second); err == nil {
		t.Error("an answer over a closed network")
	}
}

// A relay without faults, and one with latency, change nothing that a transport is
// relied on for.
func TestConformance(t *testing.T) {
	for _, late := range []time.Duration{0, 2 * time.Millisecond} {
		t.Run(late.String(), func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Listen {
				n := NewNetwork(1)
				n.Delay(0, late)
				t.Cleanup(n.Close)
				return transporttest.Widen(func(addr string) (transport.Transport, error) {
					if addr == "" {
						addr = "127.0.0.1:0"
					}
					return n.OpenMember(transport.Options{Bind: addr})
				})
			})
		})
	}
}
