// Package transport is how members reach each other: the interface that the
// runtime drives. Package transport/grpc speaks the wire contract, package
// transport/memory connects members of one process and can make faults;
// package transporttest is the suite that each must pass.
package transport

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Envelope is what every request says besides what it asks.
type Envelope struct {
	// From is who asks: zero for a client and for a legacy member.
	From ring.Member
	// To is whom the request is meant for. A To that is Anyone is meant for
	// whoever answers at the address. Addr is set on the asking side only.
	To ring.Member
	// Host, on the asking side, is the name that To.Addr was resolved from and
	// that the certificate of whoever answers there must be good for. Empty: the
	// host of To.Addr.
	Host string
	// Settings are the asker's.
	Settings ring.Settings
	// Source, on the answering side, is the host that the request came from. On the
	// asking side it is that of the request that has caused the question. Invalid: not
	// known, or of a network without hosts. It does not travel.
	Source netip.Addr
	// Origin is that of the ring which the asker is in, nil for none. In Maintain it is
	// that of the request: who asks need not set it.
	Origin *ring.Origin
	// Legacy is set on the answering side when the request speaks the base
	// contract only; From and Settings are then unknown.
	Legacy bool
}

// ErrMoved is the error of a subscription whose peer asks to use another connection, as a server
// does that is to stop once its requests are over, or after the greatest age of a connection.
var ErrMoved = errors.New("the peer asks to use another connection")

// ErrTellsNothing is the failure of a subscription at a peer that tells clients nothing.
var ErrTellsNothing = &protocol.Failure{Kind: protocol.Invalid, Detail: "it tells clients nothing of its map"}

// Handler answers requests. Its methods are called concurrently. Their error,
// if not nil, is a *protocol.Failure of kind WrongMember, WrongRing, NotJoined,
// Isolated, Invalid or Cancelled, and arrives at the asker as such.
//
// A To is only ever compared by ID, and Incarnation if that is not zero: the
// name and the address of a To do not travel.
type Handler interface {
	// Maintain answers a request of the ring's maintenance. It may take as
	// long as the context allows, but returns at once from AskRing, Look, Seek and Place.
	Maintain(ctx context.Context, env Envelope, req protocol.Request) (protocol.Reply, error)
	// Route answers one step of a lookup; it returns at once.
	Route(ctx context.Context, env Envelope, q routing.Query) (routing.Answer, error)
	// FindSuccessor does a whole lookup for a legacy member.
	FindSuccessor(ctx context.Context, env Envelope, id uint64) (ring.Member, error)
	// Meta answers what the application says of the member; it returns at once.
	Meta(ctx context.Context, env Envelope) ([]byte, error)
	// Map answers a request of another member's map; it returns at once.
	Map(ctx context.Context, env Envelope, req *ringmap.Request) (ringmap.Reply, error)
	// Subscribe tells a client of this member's map until ctx ends, or send fails. Send
	// blocks while the client does not take what was sent before. It is not to be called
	// concurrently.
	Subscribe(ctx context.Context, env Envelope, sub *ringmap.Subscription, send func(*ringmap.Update) error) error
}

// Starter is a Transport that can begin requests for which no goroutine waits.
type Starter interface {
	// StartMaintain and StartMap begin what Maintain and Map do. They do not block. They report
	// false if they have done nothing: a connection is to be made before, say. Otherwise done is
	// told once how the request has ended, on another goroutine, which it must not hold up: what
	// others have asked is answered after it. The deadline of ctx ends the request, and so does
	// Close, but not the end of ctx before that.
	StartMaintain(ctx context.Context, env Envelope, req protocol.Request, done func(protocol.Reply, error)) bool
	StartMap(ctx context.Context, env Envelope, req *ringmap.Request, done func(ringmap.Reply, error)) bool
}

// Refusal is why a transport has turned somebody away.
type Refusal struct {
	// From is the host that the connection came from.
	From string
	// Request: it is a request that is refused, since it is malformed or its sender is
	// not admitted. Otherwise it is the connection: its TLS handshake has failed, there
	// are too many, or none can be accepted; then From is empty.
	Request bool
	// Busy: there is nothing wrong with the request, but others like it are at work.
	Busy bool
	// Sender is the member that the sender claims to be, if that is not admitted.
	Sender ring.Member
	// Why says why in words.
	Why string
}

// Intake is what others take up of a transport, and totals of what was refused because
// a budget was used up.
type Intake struct {
	Connections        int    // that others have made
	ConnectionsRefused uint64 // at once, since there are too many
	ConnectionsClosed  uint64 // later, to make room or since nothing came
	AcceptFailures     uint64 // when a connection was to be accepted
	RingRefused        uint64 // questions about the ring
	ChangesRefused     uint64 // messages that can change the ring
	LookupsRefused     uint64 // steps of lookups
	ForwardedRefused   uint64 // whole lookups for others
	SubscribeRefused   uint64 // subscriptions of clients
	// Deaf is for how long no connection could be accepted, and Err why: 0 and nil
	// while nothing keeps this side from it.
	Deaf time.Duration
	Err  error
}

// MaxMeta bounds what an application says of a member, in bytes.
const MaxMeta = 256

// Transport reaches other members and receives from them.
//
// The methods may be called concurrently. Every error of Maintain, Route, Meta and Map is
// a *protocol.Failure. A context that ends by its deadline gives TimedOut, one
// that is cancelled gives Cancelled, and a transport that was closed Cancelled.
type Transport interface { //nolint:interfacebloat // the questions, and what the runtime needs of the connections under them
	// Addr is where the transport receives: host and port as bound; empty for one
	// that only asks, as clients do.
	Addr() string
	// Serve starts to receive. It is called once and does not block. One that
	// only asks need not be served.
	Serve(h Handler)
	// Maintain asks the member env.To at env.To.Addr and waits for the reply.
	// A legacy member is asked in terms of the base contract. A
	// question to an address alone, to a To that is Anyone, is put on a connection
	// of its own: the next one may lead to another member. A connection that turned
	// out to lead to another member than this one is not used for it again, but for a
	// second at most.
	Maintain(ctx context.Context, env Envelope, req protocol.Request) (protocol.Reply, error)
	// Route asks for one step of a lookup. A legacy member answers Owned
	// without an arc.
	Route(ctx context.Context, env Envelope, q routing.Query) (routing.Answer, error)
	// Meta asks what the application says of a member. Of a legacy member that
	// is nothing.
	Meta(ctx context.Context, env Envelope) ([]byte, error)
	// Map sends a request of this member's map. A peer that keeps none, as a legacy
	// member, is Invalid.
	Map(ctx context.Context, env Envelope, req *ringmap.Request) (ringmap.Reply, error)
	// Subscribe has a member tell this client of its map, each message by a call of f, until
	// ctx ends, f fails, or the member ends it. Then it returns, always with an error: that of
	// f, ErrMoved, or a failure. It is ErrTellsNothing if the peer tells nobody of its map, as a
	// legacy member.
	Subscribe(ctx context.Context, env Envelope, sub *ringmap.Subscription, f func(*ringmap.Update) error) error
	// Broken registers f, called with an address when a connection to it that
	// had been up has ended and it was not this side that ended it. It must be
	// called before the first request and f must not block.
	Broken(f func(addr string))
	// Refused registers f, called when a connection that somebody made to this side,
	// or a request that the handler never sees, is refused. A connection that ended
	// before it had said anything is not told of. It must be called before Serve and
	// f must not block.
	Refused(f func(Refusal))
	// Intake is what others take up of this side, and what of it was refused so far.
	Intake() Intake
	// Admit registers f, which says why the other side of a connection is not taken for
	// the member that it claims to be; nil: it is. A question to a member, and the claim
	// in an answer or a request, are judged before any of it is used. The failure of who
	// asks is of kind Denied then. On one connection f need not be asked again for the
	// member that it admitted last. It must be called before Serve and the first
	// request, and f must be safe for concurrent use. Without f everybody is admitted.
	Admit(f func(Claim) error)
	// Limit sets how many idle connections are kept; those least recently used
	// are closed first. Connections in use are not touched.
	Limit(idle int)
	// Connections is how many outgoing connections are open or being opened.
	Connections() int
	// Written is how many bytes were written to connections, in both directions
	// of asking, as handed to the network: the network's own headers do not
	// count. A transport that carries no bytes says 0.
	Written() uint64
	// Close ends every connection in both directions, in-flight requests with
	// them, and returns when no goroutine of the transport is left. Calls
	// after the first do nothing.
	Close() error
}
