package shared

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/memory"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// beside is a member of a Hub with another on it, which is closed with it.
type beside struct {
	*Member
	other *Member
}

func (b beside) Close() error {
	b.other.Close()
	return b.Member.Close()
}

// Whatever holds of a transport holds of one that another member uses, too.
func TestConformance(t *testing.T) {
	conform := func(t *testing.T, network func() transport.Network) {
		transporttest.Run(t, func(*testing.T) transporttest.Listen {
			n := network()
			return func(addr string) (transport.Transport, error) {
				tr, err := n.OpenMember(transport.Options{Bind: cmp.Or(addr, "127.0.0.1:0")})
				if err != nil {
					return nil, err
				}
				hub := New(tr, "")
				m, err := hub.Member(1)
				if err != nil {
					return nil, err
				}
				other, err := hub.Member(2)
				if err != nil {
					return nil, err
				}
				return beside{m, other}, nil
			}
		})
	}
	t.Run("memory", func(t *testing.T) {
		conform(t, func() transport.Network { return memory.NewNetwork(1) })
	})
}

// names makes a handler that answers every step of a lookup in the name of one identifier.
func names(id uint64) *transporttest.Handler {
	return &transporttest.Handler{OnRoute: func(context.Context, transport.Envelope, routing.Query) (routing.Answer, error) {
		return routing.Answer{Verdict: routing.Mine, Owner: ring.Member{ID: id, Name: "p", Addr: "p:1", Incarnation: 1}}, nil
	}}
}

func hubs(t *testing.T) (hub *Hub, ask func(to ring.Member) uint64) {
	t.Helper()
	n := memory.NewNetwork(1)
	tr, err := n.Listen("p:1")
	if err != nil {
		t.Fatal(err)
	}
	client, err := n.Client("client:1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return New(tr, ""), func(to ring.Member) uint64 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		to.Addr = "p:1"
		a, err := client.Route(ctx, transport.Envelope{To: to, Settings: transporttest.Settings}, routing.Query{})
		if err != nil {
			t.Errorf("%v: %v", to, err)
		}
		return a.Owner.ID
	}
}

func member(t *testing.T, h *Hub, id uint64) *Member {
	t.Helper()
	m, err := h.Member(id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRequestsAreLedByTheirTarget(t *testing.T) {
	hub, ask := hubs(t)
	a, b := member(t, hub, 10), member(t, hub, 20)
	a.Serve(names(10))
	b.Serve(names(20))
	for _, c := range []struct {
		to   ring.Member
		want uint64
	}{
		{ring.Member{ID: 10, Name: "p", Incarnation: 1}, 10},
		{ring.Member{ID: 20, Name: "p", Incarnation: 1}, 20},
		{ring.Member{ID: 20, Name: "p"}, 20},
		{ring.Member{}, 10},                                  // anyone
		{ring.Member{ID: 30, Name: "p", Incarnation: 1}, 10}, // which says who it is
	} {
		if got := ask(c.to); got != c.want {
			t.Errorf("what is meant for %v is answered by %d, not %d", c.to, got, c.want)
		}
	}
	if a.Addr() != b.Addr() || a.Addr() != "p:1" {
		t.Errorf("at %s and %s", a.Addr(), b.Addr())
	}
	if _, err := hub.Member(20); err == nil {
		t.Error("two members at one identifier")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := ask(ring.Member{}); got != 20 {
		t.Errorf("without the first, anyone is %d", got)
	}
	if _, err := a.Route(t.Context(), transport.Envelope{To: ring.Member{Addr: "p:1"}}, routing.Query{}); err == nil {
		t.Error("a closed member asks")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.Member(30); err == nil {
		t.Error("a member on a transport that is closed")
	}
}

// Closing one member ends its requests, and not those of the others.
func TestMembersEndAlone(t *testing.T) {
	hub, ask := hubs(t)
	a, b := member(t, hub, 10), member(t, hub, 20)
	arrived := make(chan struct{})
	a.Serve(&transporttest.Handler{OnMaintain: func(ctx context.Context, _ transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
		close(arrived)
		<-ctx.Done()
		return protocol.Reply{}, &protocol.Failure{Kind: protocol.Cancelled}
	}})
	b.Serve(names(20))
	ended := make(chan error, 1)
	go func() {
		_, err := b.Maintain(t.Context(), transport.Envelope{To: ring.Member{ID: 10, Name: "p", Addr: "p:1"}, Settings: transporttest.Settings},
			protocol.Request{Kind: protocol.AskRing})
		ended <- err
	}()
	transporttest.Await(t, arrived, "the request")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := transporttest.Await(t, ended, "the end of the request"); err == nil {
		t.Error("the request of a member that is closed was answered")
	}
	if got := ask(ring.Member{ID: 20, Name: "p"}); got != 20 {
		t.Errorf("the other member: %d", got)
	}
	b.Close()
}

func TestAllHearOfConnectionsAndOneOfRefusals(t *testing.T) {
	hub, _ := hubs(t)
	a, b := member(t, hub, 10), member(t, hub, 20)
	broken := make(chan uint64, 4)
	a.Broken(func(string) { broken <- 10 })
	b.Broken(func(string) { broken <- 20 })
	for _, m := range hub.all() {
		m.told().broken("x:1")
	}
	if x, y := transporttest.Await(t, broken, "what is told of the broken connection"), transporttest.Await(t, broken, "what is told of the broken connection"); x != 10 || y != 20 {
		t.Errorf("%d and %d", x, y)
	}
	a.Close()
	b.Close()
}
