package node

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Whoever names addresses that swallow packets keeps the machine waiting for them. One host
// does not take all the places.
func TestOneHostHasAShareOfTheNotificationsLookedInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		n := g.logged("victim", &journal{})
		n.Create()
		ctx, cancel := context.WithCancel(t.Context())
		ask := func(ctx context.Context, source string, i int) protocol.Refusal {
			name := fmt.Sprint(source, i)
			by := ring.Member{ID: g.space.ID([]byte(name)), Name: name, Addr: fmt.Sprintf("192.0.2.200:%d", 1000+i), Incarnation: unixMilli(0)}
			env := transport.Envelope{From: by, Settings: g.space.Settings(""), Source: netip.MustParseAddr(source)}
			r, err := (*handler)(n).Maintain(ctx, env, protocol.Request{Kind: protocol.Notify})
			if err != nil {
				return protocol.Refusal{Detail: err.Error()}
			}
			return r.Refusal
		}
		for i := range hostCallbacks {
			g.net.Cut(n.Addr(), fmt.Sprintf("192.0.2.200:%d", 1000+i))
		}
		began := time.Now()
		for i := range hostCallbacks {
			go ask(ctx, "192.0.2.7", i)
		}
		synctest.Wait()
		cancel() // who asked is gone, and the machine still waits
		synctest.Wait()
		if r := ask(t.Context(), "192.0.2.7", 100); r.Reason != protocol.Busy || time.Since(began) != 0 {
			t.Errorf("one more of the same host, after %v: %+v", time.Since(began), r)
		}
		if r := ask(t.Context(), "198.51.100.1", 200); r.Reason != protocol.NotReached {
			t.Errorf("one of another host: %+v", r)
		}
		time.Sleep(10 * time.Second)
		if r := ask(t.Context(), "192.0.2.7", 101); r.Reason != protocol.NotReached {
			t.Errorf("one of the first host, when the machine is done: %+v", r)
		}
		if len(n.callbacks.open)+len(n.callbacks.hosts) != 0 {
			t.Errorf("%d notifications of %d hosts are open when all are answered", len(n.callbacks.open), len(n.callbacks.hosts))
		}
	})
}
