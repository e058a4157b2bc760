package concord

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
	grpctransport "github.com/ollelogdahl/concord/internal/transport/grpc"
)

// ServerOptions returns the options that the application's gRPC server must be made with so that
// the member can be registered on it. See [Concord.Register]. They come from Config.TLS and
// Config.Limits, and set:
//
//   - the credentials: Config.TLS.Server, or plaintext if TLS is nil. The clients of the
//     application use the same, so with TLS each of them needs a certificate.
//   - the limits of connections and of requests to the member. Limits.Connections and
//     Limits.ConnectionsPerHost count all connections to the server. Limits.Streams is the number
//     of calls of one connection at the same time, those to the application included.
//   - a tap handle, of which a server has one; gRPC panics if the application sets its own.
//   - the time for a handshake, pings, and the age at which connections are replaced, 30 minutes.
//     Streams that are open then are ended half a minute later.
//   - the size of the headers of a request, 16 KiB.
//
// The application adds its own options after them. If one of them sets the same as an option of the
// member, the later one holds. The credentials must be those of the member. The size of messages is
// left to the application; the member itself refuses messages of more than 64 KiB.
func (c *Concord) ServerOptions() []grpc.ServerOption {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.port == nil {
		o := grpctransport.ConfigOf(c.cfg.options())
		if c.cfg.TLS != nil && o.Server == nil {
			o.Server = new(tls.Config) // a mistake that Start reports, and no plaintext until then
		}
		c.port = grpctransport.NewPort(o)
	}
	return c.port.Options()
}

// Register registers the member on the application's gRPC server, next to the services of the
// application. The server must have been made with ServerOptions. From then on, Start does not
// listen. The application listens, calls Serve of the server, and stops it. Config.AdvAddr must be
// the address of its listener as others reach it, and Config.BindAddr must be empty.
//
// Register is called before Serve, and once. If the server serves already, it returns an error or,
// before a connection has come, gRPC ends the process, as it does when any service is registered
// then. Register also returns an error if another member is registered on the server, since a
// server has one member, and if ServerOptions was not called. If it was called, but the server was
// not made with its options, the member refuses all requests and logs why.
//
// The application may call Serve before or after Start. Until Start, and after Stop or Leave, the
// member refuses requests with the gRPC status Unavailable, and others take it for stopped. A
// member can be started again on the same server. Before Serve nobody can reach the member. Join
// waits for that: as long as no connection has come to the server, it retries where it would
// return ErrNotReachable.
//
// Stop and Leave end the requests to the member, and close the connections on which there were no
// others: those on which nothing is at work after a second, because a first call to the application
// may be on its way. The server and the calls to the application go on. To stop all, call Leave
// first and then GracefulStop of the server. If the application stops its server first, the other
// members find out at once, as if the member had failed. The member itself does not find out until
// it is told so by Stop or Leave, which work as otherwise.
//
// Interceptors for unary calls do not see requests to the member. Interceptors for streams see one
// stream from each member, of the method /concord.ChordService/Link. If they refuse it with
// Unauthenticated or PermissionDenied, members send unary calls instead.
func (c *Concord) Register(s *grpc.Server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live.Load() != nil {
		return fmt.Errorf("concord: Register: %w", ErrStarted)
	}
	if c.port == nil {
		return errors.New("concord: Register: the server was not made with ServerOptions of this member")
	}
	if err := c.port.Register(s); err != nil {
		return fmt.Errorf("concord: Register: %w", err)
	}
	return nil
}

// registered is the port of a member that is registered on a server, nil otherwise. Callers hold
// mu.
func (c *Concord) registered() *grpctransport.Port {
	if c.port == nil || !c.port.Registered() {
		return nil
	}
	return c.port
}

// unservedPause is the time between two attempts to join of a member whose server nobody has
// connected to.
const unservedPause = 200 * time.Millisecond

// onceServed joins, again and again while that may fail because the application's server does not
// serve yet, until ctx ends.
func (c *Concord) onceServed(ctx context.Context, join func() error) error {
	var last *JoinError // that says so
	for {
		err := join()
		switch je := c.unserved(err); {
		case je != nil:
			last = je
		case last != nil && err != nil && ctx.Err() != nil:
			return last.ended(ctx)
		default:
			return err
		}
		pause := time.NewTimer(unservedPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return last.ended(ctx)
		}
	}
}

// ended is e, as the error of a join that ctx has ended.
func (e *JoinError) ended(ctx context.Context) *JoinError {
	e.Err = ctx.Err()
	return e
}

// unserved is err, of an attempt to join, if that may have failed because the application's server
// does not serve yet, and nil otherwise.
func (c *Concord) unserved(err error) *JoinError {
	c.mu.Lock()
	port := c.registered()
	c.mu.Unlock()
	var je *JoinError
	if port == nil || port.Seen() || !errors.Is(err, ErrNotReachable) || !errors.As(err, &je) {
		return nil
	}
	for i, a := range je.Attempts {
		if errors.Is(a.Err, ErrNotReachable) {
			je.Attempts[i].Err = fmt.Errorf("%w; no connection has come to the server that it is registered on: does that serve?", a.Err)
		}
	}
	return je
}

// caller makes connections to the services of other applications.
type caller interface {
	Conn(env transport.Envelope, explain func(*protocol.Failure) error) grpc.ClientConnInterface
}

// Conn returns a connection to the services of the application whose member s is, such as one that
// a lookup has named. They are on the gRPC server that the member is registered on; see
// [Concord.Register]. Pass the connection to the constructor of a generated client.
//
// Conn returns at once. The first call makes the connection, with the credentials and the rules of
// Config.TLS. Before it is used, the member there has answered a request: a call reaches the member
// that s names, and no other, or fails. All calls to one member share a connection, also those of
// different results of Conn. It is not that of the ring, so calls hold up no request of the ring
// and their errors do not count as failures of the member. An unused connection is closed after a
// minute, and the next call makes another. While a member cannot be reached, it is tried again
// after a pause of up to a second or so. Until then its calls fail at once, or wait with
// grpc.WaitForReady.
//
// A call that was not made, or whose connection broke, returns a gRPC status that names the member:
// Unavailable if it cannot be reached or another member answers, FailedPrecondition if it is of
// another ring, and PermissionDenied if it is not accepted. With errors.Is the error matches
// ErrUnavailable, ErrBusy, ErrDifferentRing or ErrDenied, and ErrStopped after Stop. What the
// application there answers is returned as it is, and so are the errors of a stream that is open.
//
// The result may be used concurrently, and until Stop or Leave. Calls that are in progress then
// fail. Conn does not notice when the member leaves: calls fail once it cannot be reached.
//
// The error of Conn is ErrNotStarted, ErrStopped, or ErrAddress, or says that s has no Name or that
// the Network of Config has no such connections.
func (c *Concord) Conn(s Server) (grpc.ClientConnInterface, error) {
	n, err := c.started()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	tr := c.tr
	c.mu.Unlock()
	env := transport.Envelope{From: n.Snapshot().View.Self, Settings: c.space.Settings(c.cfg.Cluster)}
	return connection(tr, member(c.space, s), env, func() bool { return c.live.Load() != n })
}

// Conn returns a connection to the services of the application whose member s is. See
// [Concord.Conn]. The result may be used until Close. The error is ErrStopped after Close.
func (c *Client) Conn(s Server) (grpc.ClientConnInterface, error) {
	stopped := func() bool { return c.node.Snapshot().Table == nil }
	if stopped() {
		return nil, ErrStopped
	}
	return connection(c.tr, member(c.space, s), transport.Envelope{Settings: c.settings}, stopped)
}

// connection is a connection to a member over tr. Env says who asks, and stopped whether that one
// has been stopped.
func connection(tr transport.Transport, to ring.Member, env transport.Envelope, stopped func() bool) (grpc.ClientConnInterface, error) {
	calls, ok := tr.(caller)
	if !ok {
		return nil, errors.New("concord: the Network has no connections to services of applications")
	}
	if err := checkAddress(to.Addr); err != nil {
		return nil, err
	}
	if env.To = to; to.Anyone() {
		return nil, fmt.Errorf("concord: no member is named to be connected to at %s", to.Addr)
	}
	return calls.Conn(env, func(f *protocol.Failure) error {
		err := failureError(f, ring.Member{})
		switch {
		case f.Kind == protocol.Cancelled && stopped():
			err = ErrStopped
		case f.Kind == protocol.Cancelled:
			err = fmt.Errorf("%s: %w", f.Detail, context.Canceled)
		}
		return &connError{server(to), err}
	}), nil
}

// connError is why a call to a member was not made, or had no answer.
type connError struct {
	to  Server
	err error
}

func (e *connError) Error() string {
	return fmt.Sprintf("concord: %s at %s: %s", plain.Text(e.to.Name), e.to.Address, strings.TrimPrefix(e.err.Error(), "concord: "))
}

func (e *connError) Unwrap() error { return e.err }
