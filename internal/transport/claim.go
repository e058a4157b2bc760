package transport

import (
	"crypto/tls"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Claim is who the other side of a connection says it is.
type Claim struct {
	// Member is the member that the other side claims to be.
	Member ring.Member
	// Incoming: the other side made the connection.
	Incoming bool
	// Remote is the address of the other end of the connection.
	Remote string
	// TLS is the state of the connection; nil without TLS. It must not be modified.
	TLS *tls.ConnectionState
}
