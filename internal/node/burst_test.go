package node

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// behind is a transport whose requests come from one host, whoever sends them.
type behind struct {
	transport.Transport

	source netip.Addr
}

type behindHandler struct {
	transport.Handler

	source netip.Addr
}

func (t behind) Serve(h transport.Handler) { t.Transport.Serve(behindHandler{h, t.source}) }

func (h behindHandler) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	env.Source = h.source
	return h.Handler.Maintain(ctx, env, req)
}

// addBehind adds a node to which all requests come from that host, and the addresses of
// all are those of another if foreign.
func (g *rig) addBehind(name string, foreign bool) *Node {
	g.t.Helper()
	tr, err := g.net.Listen("")
	if err != nil {
		g.t.Fatal(err)
	}
	n := New(Config{
		Self:  ring.Member{ID: g.space.ID([]byte(name)), Name: name, Addr: tr.Addr()},
		Space: g.space, Settings: g.space.Settings(""), Successors: g.r, Interval: g.interval, Seed: uint64(len(g.nodes) + 1),
	}, behind{tr, stranger})
	n.hosts = func(context.Context, string, string) ([]netip.Addr, error) {
		if foreign {
			return []netip.Addr{netip.MustParseAddr("198.51.100.9")}, nil
		}
		return []netip.Addr{stranger}, nil
	}
	g.nodes = append(g.nodes, n)
	return n
}

// Whoever answers joins soon, whatever else comes from the same host: many at once, also
// of a network behind one address, and joiners that nobody reaches.
func TestBurstsOfOneHostJoin(t *testing.T) {
	for _, c := range []struct {
		name       string
		foreign    bool
		live, dead int
		limit      time.Duration
	}{
		{"at that host", false, 64, 0, 5 * time.Second},
		{"at another", true, 64, 0, 5 * time.Second},
		{"beside those that do not answer", true, 8, peer.ForeignBurst, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 1)
				defer g.close()
				g.net.Delay(25*time.Millisecond, 25*time.Millisecond)
				seed := g.addBehind("n0", c.foreign)
				seed.Create()
				stop := g.unreached(seed, c.dead)
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				errs := make(chan error, c.live)
				for i := range c.live {
					n := g.addBehind(fmt.Sprintf("n%d", 1+i), c.foreign)
					go func() { errs <- n.Join(ctx, []string{seed.Addr()}) }()
				}
				for range c.live {
					if err := <-errs; err != nil {
						t.Error(err)
					}
				}
				stop()
				if refused := seed.Counters().DialsRefused; (refused > 0) != (c.dead > 0) {
					t.Errorf("%d questions refused", refused)
				}
			})
		})
	}
}

// unreached has so many joiners that n does not reach ask it for a place, again and
// again. It returns after a while, and they go on until stop.
func (g *rig) unreached(n *Node, count int) (stop func()) {
	var asking sync.WaitGroup
	ctx, cancel := context.WithCancel(g.t.Context())
	for i := range count {
		name, addr := fmt.Sprintf("d%d", i), fmt.Sprintf("nobody:%d", i)
		by := ring.Member{ID: g.space.ID([]byte(name)), Name: name, Addr: addr, Incarnation: unixMilli(0)}
		env := transport.Envelope{From: by, Settings: g.space.Settings(""), Source: stranger}
		asking.Go(func() {
			for ctx.Err() == nil {
				_, _ = (*handler)(n).Maintain(ctx, env, protocol.Request{Kind: protocol.Notify, Joining: true})
				time.Sleep(time.Second)
			}
		})
	}
	if count > 0 {
		time.Sleep(20 * time.Second)
	}
	return func() { cancel(); asking.Wait() }
}
