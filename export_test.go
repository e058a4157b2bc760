package concord

import (
	"context"

	"github.com/ollelogdahl/concord/internal/bootstrap"
)

// UseDNS makes c, which has not started, resolve names by dns.
func UseDNS(c *Concord, dns bootstrap.DNS) { c.dns = dns }

// DialBy is Dial with names resolved by dns.
func DialBy(ctx context.Context, dns bootstrap.DNS, cfg ClientConfig, addrs ...string) (*Client, error) {
	return dial(ctx, cfg, addrs, dns)
}

// Identifiers is at how many identifiers a service knows its member to stand.
func Identifiers(s *Service) int { return len(s.state.Load().changes) }

// Bound is the address that a member has bound, whatever it advertises.
func Bound(c *Concord) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bound
}
