package grpctransport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

func TestClientOnlyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		b := n.listen(t, "b:1", 0)
		c := NewClient(Config{Dial: n.dial, IdleTimeout: time.Minute})
		broken := make(chan string, 1)
		c.Broken(func(addr string) { broken <- addr })
		c.Serve(nil)
		if c.Addr() != "" {
			t.Errorf("receives at %q", c.Addr())
		}
		for range 2 {
			if err := ask(context.Background(), c, at("m", b)); err != nil {
				t.Fatal(err)
			}
		}
		if n.dials != 1 || c.Connections() != 1 {
			t.Errorf("%d connections made, %d open", n.dials, c.Connections())
		}
		time.Sleep(2 * time.Minute)
		if c.Connections() != 0 {
			t.Errorf("%d connections after it was idle", c.Connections())
		}
		if err := ask(context.Background(), c, at("m", b)); err != nil {
			t.Fatal(err)
		}
		b.Close()
		if addr := <-broken; addr != "b:1" {
			t.Errorf("connection to %q broke", addr)
		}
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		wantKind(t, ask(context.Background(), c, transporttest.Member("b", "b:1", 1)), protocol.Cancelled, "b:1")
	})
}
