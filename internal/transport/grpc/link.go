package grpctransport

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// dialect is what the peer at the other end of a link is known to speak.
type dialect int32

const (
	unknown dialect = iota
	extended
	base
)

// errSpent is what gRPC gets when it tries to reconnect.
var errSpent = errors.New("the connection has ended")

// link is one connection to an address, from its TCP handshake to its end. The
// gRPC client connection around it never makes another.
type link struct {
	pool *pool
	endpoint
	cc   *grpc.ClientConn
	stub pb.ChordServiceClient

	// Guarded by pool.mu.
	uses    int           // requests at work on it
	retired bool          // takes no new requests
	ours    bool          // this side ends it
	idle    *list.Element // in pool.idle while uses is 0
	since   time.Time     // when it became idle
	by      ring.Member   // if it is astray, the member that it leads to as far as known

	made     time.Time
	age      atomic.Int64 // when it is replaced, from then on
	raw      net.Conn
	closing  sync.Once                // of raw; who comes second waits for the first
	conn     atomic.Pointer[net.Conn] // nil once given to gRPC
	over     atomic.Bool              // it has ended, or takes no new requests
	astray   atomic.Bool              // somebody else than the member asked for answered; set under pool.mu
	received atomic.Uint64            // how often something was read from it
	shaken   atomic.Uint64            // the same when the handshake was done, and 1
	cause    cause                    // why it is of no use
	party    atomic.Pointer[party]    // the other side; nil before the handshake is done
	speaks   atomic.Int32             // a dialect
	trip     atomic.Int64             // how long the last answer took; at first, how long the connection
	// asking is the part of the last request that says who asks whom. It is
	// never modified.
	asking atomic.Pointer[asking]
	// ring is the last answer to AskRing, which the peer need not repeat while
	// it is unchanged.
	ring atomic.Pointer[protocol.State]
	// rings are the last answers to AskRing of the identifiers of a peer that has several.
	rings rings
	// origin is the number of the ring that the peer has last said to be in; 0: it has
	// said nothing.
	origin atomic.Uint64

	streams  sync.Mutex // guards the following; held briefly
	opening  bool       // somebody opens the stream
	mux      *mux       // the stream, which may have ended; nil: there was none
	noStream bool       // the peer does not know the method Link
}

func newLink(p *pool, to endpoint, conn net.Conn, creds credentials.TransportCredentials) (*link, error) {
	l := &link{pool: p, endpoint: to, raw: conn, made: time.Now()}
	l.age.Store(int64(ageOf(p.maxAge)))
	conn = &watched{conn, newReader(conn), l}
	l.conn.Store(&conn)
	cc, err := grpc.NewClient("passthrough:///"+to.addr, append(append(to.options(), p.options...),
		grpc.WithTransportCredentials(shaken{creds, l}),
		grpc.WithContextDialer(l.take),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		// The pool decides which connections are idle for too long.
		grpc.WithIdleTimeout(0),
		// The back-off is never waited for, since a link that has failed is
		// given up.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
	)...)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	l.cc, l.stub = cc, pb.NewChordServiceClient(l)
	// Shake hands now, even if no request follows: a peer waits for it.
	cc.Connect()
	return l, nil
}

// ringOptions are those of links that carry questions about the ring.
func ringOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithMaxHeaderListSize(maxAnswerHeaders),
		grpc.WithStaticStreamWindowSize(maxMessage),
		grpc.WithStaticConnWindowSize(4 * maxMessage),
		grpc.WithReadBufferSize(4 << 10),
		grpc.WithWriteBufferSize(4 << 10),
	}
}

// options has gRPC verify the certificate for the host name, if there is one.
func (e endpoint) options() []grpc.DialOption {
	if e.host == "" {
		return nil
	}
	return []grpc.DialOption{grpc.WithAuthority(e.host)}
}

// take is gRPC's dialer: it hands out the connection, once.
func (l *link) take(context.Context, string) (net.Conn, error) {
	conn := l.conn.Swap(nil)
	if conn == nil {
		// The peer ended it, which gRPC may act on before it closes the
		// connection, or asked to use another; then the requests at work on it
		// go on.
		l.end()
		return nil, errSpent
	}
	return *conn, nil
}

// close ends the link and waits until it has ended.
func (l *link) close() {
	_ = l.cc.Close()
	l.shut() // gRPC closes it on a goroutine of its own, in its own time
}

// shut closes the connection and returns when its descriptor is given back.
func (l *link) shut() {
	l.closing.Do(func() { _ = l.raw.Close() })
}

// end notes that the link is of no more use, by whichever side's doing.
func (l *link) end() {
	if !l.over.Swap(true) {
		l.pool.ended(l)
	}
}

// serves reports whether a question for who may go on l. Callers hold pool.mu.
func (l *link) serves(who ring.Member) bool {
	if l.due() {
		return false
	}
	return !l.astray.Load() || l.by.ID == who.ID && !l.by.IsZero() || !l.old()
}

// old reports whether l may be replaced because it leads to another member.
func (l *link) old() bool { return time.Since(l.made) >= redialAfter }

// dialect is what the peer is known to speak.
func (l *link) dialect() dialect { return dialect(l.speaks.Load()) }

// enough is how long a request must have been without an answer for the link to be
// under suspicion: a caller who waits less, for reasons of its own, has found out
// nothing. It is less than the time that peer.Estimate allows after the last answer,
// or the link of a peer that was slow once would be kept for as long as the peer is
// silent. The first request may have to wait for the handshake.
func (l *link) enough() time.Duration {
	last := time.Duration(l.trip.Load())
	return max(peer.MinTimeout, min(last*3/2, peer.MaxTimeout*3/4))
}

// watched is the connection under a link. gRPC closes it when the handshake
// fails, when the peer has ended it, and when the link is closed; in each case
// before the requests on it learn of it.
type watched struct {
	net.Conn
	reader *reader
	link   *link
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.link.received.Add(1)
	}
	w.broke(err)
	return n, err
}

// ReadOnReady is for gRPC, in place of Read; see reader.
func (w *watched) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	buf, n, err := w.reader.readOnReady(size, pool)
	if n > 0 {
		w.link.received.Add(1)
	}
	w.broke(err)
	return buf, n, err
}

// broke notes an error of reading. If the other side has ended the connection, the link is of no
// more use: gRPC says so only after it has taken down all that it had for it.
func (w *watched) broke(err error) {
	w.link.cause.broke(err)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		w.link.end()
	}
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	w.link.pool.written.Add(uint64(n))
	w.link.cause.broke(err)
	return n, err
}

func (w *watched) Close() error {
	w.link.end()
	w.link.shut()
	return nil
}

// up reports whether the connection came up: whether, after the handshake, the
// peer said anything.
func (l *link) up() bool {
	at := l.shaken.Load()
	return at > 0 && l.received.Load() >= at
}

// shaken notes on its link when the handshake is done, or why it failed.
type shaken struct {
	credentials.TransportCredentials
	link *link
}

func (s shaken) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	out, info, err := s.TransportCredentials.ClientHandshake(ctx, authority, conn)
	if err != nil {
		s.link.cause.tls.CompareAndSwap(nil, &err)
		return out, info, err
	}
	s.link.shake(info)
	if d, ok := info.(dated); ok {
		info = d.TLSInfo
	}
	s.link.party.Store(partyOf(conn, info))
	s.link.shaken.Store(s.link.received.Load() + 1)
	if _, ok := info.(credentials.TLSInfo); ok {
		out = &secured{Conn: out, cause: &s.link.cause}
	}
	return out, info, nil
}

func (s shaken) Clone() credentials.TransportCredentials {
	return shaken{s.TransportCredentials.Clone(), s.link}
}
