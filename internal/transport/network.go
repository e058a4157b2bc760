package transport

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Network opens the transports of members and clients. Transports that are to reach
// each other must be opened on the same Network. Its methods may be called
// concurrently.
type Network interface {
	// OpenMember opens a transport that receives at o.Bind.
	OpenMember(o Options) (Transport, error)
	// OpenClient opens a transport that only asks. Of o it uses Client, GetClient
	// and Inject.
	OpenClient(o Options) (Transport, error)
	// Seed returns the seed of the member of that name. Zero: the member draws one.
	Seed(name string) uint64
}

// Options configure a transport. A Network may ignore options that it has no use for.
type Options struct {
	// Bind is the host and port to receive at. Port 0 picks a free one.
	Bind string
	// Advertise is the host and port by which others reach this transport; see
	// Advertised.
	Advertise string
	// Server and Client are the TLS configurations of the two directions; nil
	// means plaintext. GetClient, if set, is asked for that of each connection
	// made, instead of Client.
	Server, Client *tls.Config
	GetClient      func() (*tls.Config, error)
	// SuccessorCount is up to how many successors a legacy member is told.
	SuccessorCount int
	// IdleTimeout is how long a connection without requests is kept. Zero: the
	// network's default.
	IdleTimeout time.Duration
	// Limits bound what others may use of this transport; zeros are defaults.
	Limits Limits
	// Inject and Extract, if set, carry values of a context beside a Route; see
	// concord.Observer.
	Inject  func(ctx context.Context, set func(key, value string))
	Extract func(ctx context.Context, get func(key string) string) context.Context
	// Prompt: to handle a Route, or a question about the ring, takes no time and calls nothing of
	// the application.
	Prompt bool
}

// Limits bound what others may use of a transport. A Network without connections has no
// use for them.
type Limits struct {
	// Connections is how many connections others may have in all, PerHost how many
	// from one host, and Streams how many streams of one may be open.
	Connections, PerHost, Streams int
}

// Advertised returns the address by which others reach a member that listens at bound.
// That is adv, with the port of bound in place of port 0. If adv is empty, it is bound.
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
