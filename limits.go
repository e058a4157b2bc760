package concord

import (
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/budget"
)

// Defaults and bounds of the fields of Limits.
const (
	// DefaultConnections is the Limits.Connections of a Config that sets none, unless the process
	// may open fewer than twice as many files.
	DefaultConnections = budget.DefaultConnections
	// DefaultConnectionsPerHost is the Limits.ConnectionsPerHost of a Config that sets none, for
	// all hosts but the member's own.
	DefaultConnectionsPerHost = budget.DefaultPerHost
	// DefaultStreams is the Limits.Streams of a Config that sets none.
	DefaultStreams = budget.DefaultStreams
	// MaxConnections is the largest Limits.Connections.
	MaxConnections = 1 << 20
	// MaxStreams is the largest Limits.Streams.
	MaxStreams = 1 << 12
)

// Limits bound what other processes may use of a member. The zero value is good for members that
// strangers can connect to. See docs/SECURITY.md for all bounds and the memory that they allow.
//
// A connection over a limit takes the place of one that has been at rest for a second or more, or
// is closed at once. A request over a limit is refused at once with the gRPC status
// ResourceExhausted. A member or a client that is refused asks again after a pause, for as long as
// the request may take. It does not take the refusal for a failure.
type Limits struct {
	// Connections is how many connections others may have to the member. If zero, it is 4096, or
	// half the number of files that the process may open if that is less. It is at most 2^20.
	Connections uint
	// ConnectionsPerHost is how many of them may come from one host, which is an IPv4 address or
	// an IPv6 network of 64 bits. Connections of members that this member knows do not count.
	// Where many members or clients are behind one address, raise it. If zero, it is 64, but there
	// is no such limit for loopback addresses. If it is set, each loopback address is a host like
	// others, and has a share of every other limit as well.
	ConnectionsPerHost uint
	// Streams is how many streams one connection may have open: one for each request that is
	// a call of its own, and one for all requests that travel as frames, of which 256 may be
	// under way. A client waits with those beyond it. If zero, it is 32. It is at most 4096.
	Streams uint
}

// validate says what is wrong with each field.
func (l Limits) validate(wrong func(field, format string, args ...any)) {
	for _, x := range []struct {
		field string
		value uint
		most  uint
	}{
		{"Connections", l.Connections, MaxConnections}, {"ConnectionsPerHost", l.ConnectionsPerHost, MaxConnections},
		{"Streams", l.Streams, MaxStreams},
	} {
		if x.value > x.most {
			wrong("Limits."+x.field, "is %d, at most %d are allowed", x.value, x.most)
		}
	}
}

// inside is l in the words of the transport.
func (l Limits) inside() transport.Limits {
	return transport.Limits{Connections: int(l.Connections), PerHost: int(l.ConnectionsPerHost), Streams: int(l.Streams)}
}
