package concord

import (
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
