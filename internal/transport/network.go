package transport

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Network is where members and clients open their transports. Those that are to
// reach each other open theirs on the same one. Its methods may be called
// concurrently.
type Network interface {
	// OpenMember opens a transport that receives at o.Bind.
	OpenMember(o Options) (Transport, error)
	// OpenClient opens a transport that only asks. Of o it uses Client, GetClient
	// and Inject.
	OpenClient(o Options) (Transport, error)
	// Seed is the seed of the member of that name; zero has it drawn.
	Seed(name string) uint64
}

// Options say how one transport reaches and is reached. A network may leave out
// what it has no use for.
type Options struct {
	// Bind is the host and port to receive at. Port 0 picks a free one.
	Bind string
	// Advertise is the host and port at which others ask for this transport; see
	// Advertised.
	Advertise string
	// Server and Client are the TLS configurations of the two directions; nil
	// means plaintext. GetClient, if set, is asked for that of each connection
	// made, instead of Client.
	Server, Client *tls.Config
	GetClient      func() (*tls.Config, error)
	// SuccessorCount is up to how many successors an older member is told.
	SuccessorCount int
	// IdleTimeout is how long a connection without requests is kept. Zero: the
	// network's default.
	IdleTimeout time.Duration
	// Inject and Extract carry a context's values beside a Route, if set.
	Inject  func(ctx context.Context, set func(key, value string))
	Extract func(ctx context.Context, get func(key string) string) context.Context
}

// Advertised is the address by which others ask for a member that is bound at
// bound: adv, with the bound port in place of port 0, or bound itself if adv is
// empty.
func Advertised(adv, bound string) string {
	if adv == "" {
		return bound
	}
	if host, port, err := net.SplitHostPort(adv); err == nil && port == "0" {
		if _, p, err := net.SplitHostPort(bound); err == nil {
			return net.JoinHostPort(host, p)
		}
	}
	return adv
}
