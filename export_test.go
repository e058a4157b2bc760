package concord

import (
	"context"
	"crypto/tls"

	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// UseNetwork makes c, which has not started, listen on a network of this
// process in place of TCP.
func UseNetwork(c *Concord, n *memory.Network) {
	c.listen = func(bind string, _, _ *tls.Config, _ *Config) (transport.Transport, error) {
		return n.Listen(bind)
	}
}

// DialOn is Dial over a network of this process, on which the client is known by
// from.
func DialOn(ctx context.Context, n *memory.Network, from string, cfg ClientConfig, addrs ...string) (*Client, error) {
	return dial(ctx, cfg, addrs, func() (transport.Transport, error) { return n.Client(from) })
}
