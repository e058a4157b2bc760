package grpctransport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/budget"
	"github.com/ollelogdahl/concord/internal/workers"
)

const (
	// maxMessage bounds what is sent and received, in bytes. The largest valid
	// message, lists of 64 members with the longest names and addresses, is
	// about half of it.
	maxMessage = 64 << 10
	// maxHeaders bounds the headers of one request, in bytes, and maxAnswerHeaders
	// those of an answer, which explain a failure.
	maxHeaders       = 4 << 10
	maxAnswerHeaders = 16 << 10
	// connectTimeout bounds how long a connection may take to come up. A
	// request's own deadline, usually shorter, bounds how long it waits.
	connectTimeout = 5 * time.Second

	// idleLimit is how long, at least, a connection of others is kept that they do not
	// use. Members close theirs much earlier.
	idleLimit = 5 * time.Minute
	// manyDescriptors is more than any default needs.
	manyDescriptors = 1 << 20
	// fewestConnections are accepted even if the process may open few descriptors.
	fewestConnections = 16

	defaultIdleLimit   = 16
	defaultIdleTimeout = 30 * time.Second

	// answerers is how many goroutines wait for the next request to answer.
	answerers = 1
)

// Config says how a Transport reaches and is reached. It is copied by Listen and
// NewClient.
type Config struct {
	// Bind is the host and port to receive at. Port 0 picks a free one. Unused
	// if Listener is set.
	Bind string
	// Server and Client are the TLS configurations of the two directions; nil
	// means plaintext. Unless Client names one, the server's name that is
	// verified is the host of the address that is dialled.
	Server, Client *tls.Config
	// GetClient, if set, gives the configuration of each connection made, instead
	// of Client, whose server's name holds.
	GetClient func() (*tls.Config, error)
	// SuccessorCount is up to how many entries a legacy member is told when it
	// asks for the successor list; a shorter list is repeated. Zero: it is sent
	// as it is.
	SuccessorCount int
	// IdleTimeout is how long a connection without requests is kept. Shorter
	// saves memory and file descriptors, longer saves handshakes. Zero: 30 s.
	IdleTimeout time.Duration
	// MaxAge is how old connections that others made become, give or take a tenth. Those
	// that this side makes are replaced after two thirds of it, or a little later. Zero:
	// 30 min.
	MaxAge time.Duration
	// Listener, if set, is received from instead of Bind. Close closes it.
	Listener net.Listener
	// Port, if set, is received by instead of Bind, Listener and Server, and Advertise is
	// the address that leads there. Close leaves the server as it is.
	Port      *Port
	Advertise string
	// Dial, if set, opens connections in place of TCP. Its error counts as a
	// refusal if it wraps syscall.ECONNREFUSED.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Inject, if set, names what travels in the headers of a Route beside the
	// message. What headers cannot carry, and what is beyond 2 KiB, is left out.
	Inject func(ctx context.Context, set func(key, value string))
	// Limits bound what others may use of this side.
	Limits budget.Limits
	// Extract, if set, makes the context in which a Route is handled of what has
	// travelled so; get gives "" for what has not.
	Extract func(ctx context.Context, get func(key string) string) context.Context
	// Prompt: to handle a Route, or a question about the ring, takes no time and calls nothing of
	// the application. One on a stream is then handled before more of the stream is read, which
	// costs less.
	Prompt bool
}

// Transport is a transport.Transport over gRPC.
type Transport struct {
	cfg  Config
	lis  *listener    // nil for one that only asks
	srv  *grpc.Server // nil for one that only asks, or receives by a Port
	pool *pool
	// known remembers members that were seen with an incarnation.
	known   known
	written atomic.Uint64               // bytes, to all connections
	admits  func(transport.Claim) error // nil: everybody is admitted
	refused func(transport.Refusal)     // nil: nobody is told

	closing sync.Once
	ended   chan struct{} // closed by Close
	serving sync.WaitGroup
	// handlers answer requests of streams, each in its own time.
	handlers *workers.Pool

	calling sync.Once // makes callees
	callees atomic.Pointer[callees]

	// Of one that receives by a Port: life ends before Close waits for the requests.
	entering sync.Mutex // held to begin one, and to end life
	life     context.Context
	endLife  context.CancelFunc
	before   uint64 // bytes that others have written to the Port's connections
}

var _ transport.Transport = (*Transport)(nil)

// Listen binds a transport. Connections made to it wait until Serve.
// The caller closes it.
func Listen(cfg Config) (*Transport, error) {
	if cfg.Port != nil {
		return cfg.Port.open(NewClient(cfg))
	}
	lis := cfg.Listener
	if lis == nil {
		var err error
		if lis, err = net.Listen("tcp", cfg.Bind); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	t := NewClient(cfg)
	t.lis = newListener(lis, &t.written, cfg.connections(), t.refuse)
	t.srv = t.newServer(telling{credentialsOf(cfg.Server), t.refuse, t.cfg.MaxAge})
	return t, nil
}

// connections are the limits, with the default for connections.
func (c *Config) connections() budget.Limits {
	l := c.Limits
	if l.Connections <= 0 {
		l.Connections = min(budget.DefaultConnections, max(fewestConnections, descriptors()/2))
	}
	return l
}

// withDefaults is c with defaults in place of what is not set.
func (c Config) withDefaults() Config {
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = defaultIdleTimeout
	}
	if c.MaxAge <= 0 {
		c.MaxAge = defaultMaxAge
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	return c
}

// NewClient makes a transport that only asks: its Addr is empty and its Serve does
// nothing. Of cfg it uses Client, GetClient, IdleTimeout, Dial and Inject. The caller closes it.
func NewClient(cfg Config) *Transport {
	cfg = cfg.withDefaults()
	t := &Transport{cfg: cfg, ended: make(chan struct{}), handlers: workers.New(answerers)}
	creds := credentialsOf(cfg.Client)
	if cfg.Client != nil {
		get := cfg.GetClient
		if get == nil {
			own := cfg.Client.Clone()
			get = func() (*tls.Config, error) { return own, nil }
		}
		creds = outgoing{creds, get}
	}
	t.pool = newPool(cfg.Dial, creds, cfg.IdleTimeout, cfg.MaxAge, &t.written)
	return t
}

// TCP is the transport.Network of the operating system.
type TCP struct{}

var _ transport.Network = TCP{}

// OpenMember implements transport.Network by Listen.
func (TCP) OpenMember(o transport.Options) (transport.Transport, error) { return Listen(ConfigOf(o)) }

// OpenClient implements transport.Network by NewClient.
func (TCP) OpenClient(o transport.Options) (transport.Transport, error) {
	return NewClient(ConfigOf(o)), nil
}

// Seed implements transport.Network: every member draws its own.
func (TCP) Seed(string) uint64 { return 0 }

// ConfigOf is the Config that o asks for.
func ConfigOf(o transport.Options) Config {
	return Config{
		Bind: o.Bind, Server: o.Server, Client: o.Client, GetClient: o.GetClient,
		SuccessorCount: o.SuccessorCount, IdleTimeout: o.IdleTimeout, Inject: o.Inject, Extract: o.Extract, Prompt: o.Prompt,
		Limits: budget.Limits{Connections: o.Limits.Connections, PerHost: o.Limits.PerHost, Streams: o.Limits.Streams},
	}
}

// credentialsOf copies c, so that what the user does with it afterwards does
// not matter.
func credentialsOf(c *tls.Config) credentials.TransportCredentials {
	if c == nil {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(c.Clone())
}

func (t *Transport) newServer(creds credentials.TransportCredentials) *grpc.Server {
	return grpc.NewServer(append(t.cfg.serverOptions(),
		grpc.Creds(creds),
		grpc.InTapHandle(t.take),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeaders),
		// A static window needs none of the pings that gRPC sizes windows with.
		grpc.StaticStreamWindowSize(maxMessage),
		grpc.StaticConnWindowSize(4*maxMessage),
		grpc.ReadBufferSize(4<<10),
		grpc.WriteBufferSize(4<<10),
		grpc.WaitForHandlers(true),
	)...)
}

// serverOptions are the options of every server, with the limits of its connections.
func (c *Config) serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxConcurrentStreams(uint32(c.Limits.WithDefaults().Streams)),
		grpc.ConnectionTimeout(connectTimeout),
		// Clients send no pings, so this side has to find out which of its
		// connections lead nowhere. Every client answers a server's pings.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: time.Minute, Timeout: 20 * time.Second, MaxConnectionIdle: c.idleLimit(),
			MaxConnectionAge: c.MaxAge, MaxConnectionAgeGrace: ageGrace,
		}),
	}
}

// idleLimit is how long a connection of others is kept that they do not use.
func (c *Config) idleLimit() time.Duration { return max(idleLimit, 2*c.IdleTimeout) }

// Addr is where the transport receives: host and port as bound, or as advertised if it
// receives by a Port; empty if it only asks.
func (t *Transport) Addr() string {
	switch {
	case t.cfg.Port != nil:
		return t.cfg.Advertise
	case t.lis == nil:
		return ""
	}
	return t.lis.Addr().String()
}

// Serve starts to receive. It is called once and does not block.
func (t *Transport) Serve(h transport.Handler) {
	if t.lis == nil {
		return
	}
	s := &service{t: t, handler: h, methods: servedMethods()}
	t.serving.Go(t.watch)
	if t.srv == nil {
		t.cfg.Port.serve(s)
		return
	}
	t.srv.RegisterService(description(), s)
	t.serving.Go(func() {
		// It returns when Close stops it, or when the listener fails for good;
		// then this member is unreachable, which others find out and act on.
		t.lis.ended(t.srv.Serve(t.lis))
	})
}

// Broken registers f; see transport.Transport.
func (t *Transport) Broken(f func(addr string)) { t.pool.onBroken(f) }

// Refused registers f; see transport.Transport.
func (t *Transport) Refused(f func(transport.Refusal)) { t.refused = f }

// refuse tells of a connection that is refused.
func (t *Transport) refuse(from net.Addr, why string) {
	if t.refused != nil {
		t.refused(transport.Refusal{From: host(from), Why: detail(why)})
	}
}

// refuseRequest tells of a request that is refused.
func (t *Transport) refuseRequest(ctx context.Context, why string) {
	if t.refused == nil {
		return
	}
	r := transport.Refusal{Request: true, Why: detail(why)}
	if p, ok := peer.FromContext(ctx); ok {
		r.From = host(p.Addr)
	}
	t.refused(r)
}

// malformed tells of a request that breaks the contract, and is the answer to it.
func (t *Transport) malformed(ctx context.Context, err error) error {
	t.refuseRequest(ctx, err.Error())
	return malformed(err)
}

// Limit sets how many idle connections are kept; 16 until it is called.
func (t *Transport) Limit(idle int) { t.pool.limit(idle) }

// Connections is how many outgoing connections are open or being opened.
func (t *Transport) Connections() int {
	n := t.pool.count()
	if c := t.callees.Load(); c != nil {
		n += c.pool.count()
	}
	return n
}

// Written is how many bytes were written to connections of either direction;
// with TLS, as encrypted. Connections that an application uses are not counted.
func (t *Transport) Written() uint64 {
	n := t.written.Load()
	if p := t.cfg.Port; p != nil {
		n += p.written.Load() - t.before
	}
	return n
}

// Close ends everything; see transport.Transport. It waits for handlers, whose
// contexts it cancels.
func (t *Transport) Close() error {
	t.closing.Do(func() {
		close(t.ended)
		t.calling.Do(func() {}) // from now on there are none, or the same
		if t.srv != nil {
			t.lis.end() // the others notice by this: first
		}
		if c := t.callees.Load(); c != nil {
			c.pool.close()
		}
		t.pool.close()
		switch {
		case t.srv != nil:
			t.srv.Stop()
		case t.lis != nil:
			t.cfg.Port.close(t)
		}
		t.serving.Wait()
		t.handlers.Close()
	})
	return nil
}
