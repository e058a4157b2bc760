package concord

import (
	"context"
	"crypto/tls"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/transport"
	grpctransport "github.com/ollelogdahl/concord/internal/transport/grpc"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// UseNetwork makes c, which has not started, listen on a network of this
// process in place of TCP.
func UseNetwork(c *Concord, n *memory.Network) {
	c.listen = func(bind string, _, _ *tls.Config, _ *Config) (transport.Transport, error) {
		return n.Listen(bind)
	}
	c.dns = nil // its names are addresses
}

// UseDNS makes c, which has not started, resolve names by dns.
func UseDNS(c *Concord, dns bootstrap.DNS) { c.dns = dns }

// DialBy is Dial with names resolved by dns.
func DialBy(ctx context.Context, dns bootstrap.DNS, cfg ClientConfig, addrs ...string) (*Client, error) {
	return dial(ctx, cfg, addrs, dns, func() (transport.Transport, error) {
		return grpctransport.NewClient(grpctransport.Config{Client: cfg.TLS}), nil
	})
}

// DialOn is Dial over a network of this process, on which the client is known by
// from.
func DialOn(ctx context.Context, n *memory.Network, from string, cfg ClientConfig, addrs ...string) (*Client, error) {
	return dial(ctx, cfg, addrs, nil, func() (transport.Transport, error) { return n.Client(from) })
}
