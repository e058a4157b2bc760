package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
)

// maxSharedHeaders bounds the headers of one request to a server of an application, in
// bytes: tokens of its callers may be longer than what members send.
const maxSharedHeaders = 16 << 10

// Port is how a Transport receives on the gRPC server of an application. The server is
// made with the options of the Port and the Port is registered on it, both before it
// serves. Transports use the Port one after another, by Config.Port. While there is none,
// requests are refused. Its methods may be called concurrently.
type Port struct {
	cfg     Config
	lis     *listener
	written atomic.Uint64 // bytes, to all connections that the application does not use
	seen    atomic.Bool   // a connection has come
	current atomic.Pointer[service]

	mu         sync.Mutex
	registered bool
	used       bool       // a transport has received here
	owner      *Transport // the one that receives, or is about to; nil: none
}

// NewPort makes a Port. Of cfg it uses Server, IdleTimeout, MaxAge and Limits.
func NewPort(cfg Config) *Port {
	p := &Port{cfg: cfg.withDefaults()}
	p.lis = newListener(nil, &p.written, p.cfg.connections(), p.refuse)
	return p
}

// Options are what the server must be made with: connections and requests are counted,
// verified and refused by them as on a server of our own. They leave the size of messages
// to the application.
func (p *Port) Options() []grpc.ServerOption {
	return append(p.cfg.serverOptions(),
		grpc.Creds(shared{telling{credentialsOf(p.cfg.Server), p.refuse, p.cfg.MaxAge}, p}),
		grpc.InTapHandle(p.take),
		grpc.MaxHeaderListSize(maxSharedHeaders),
	)
}

// Registrar is the gRPC server of an application.
type Registrar interface {
	grpc.ServiceRegistrar
	GetServiceInfo() map[string]grpc.ServiceInfo
}

// The errors of Register.
var (
	ErrRegistered = errors.New("it is registered already")
	ErrServing    = errors.New("the server serves already: services are registered before")
	ErrOccupied   = errors.New("the server has a member already: each needs a server of its own")
)

// Register registers the service on a server that does not serve yet. If it serves, and no
// connection has come yet that would show it, gRPC ends the process.
func (p *Port) Register(s Registrar) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, occupied := s.GetServiceInfo()[pb.ChordService_ServiceDesc.ServiceName]
	switch {
	case p.registered:
		return ErrRegistered
	case occupied:
		return ErrOccupied
	case p.seen.Load():
		return ErrServing
	}
	s.RegisterService(p.description(), p)
	p.registered = true
	return nil
}

// Registered reports whether Register has succeeded.
func (p *Port) Registered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.registered
}

// Seen reports whether a connection has come, so that the server serves, or has served.
func (p *Port) Seen() bool { return p.seen.Load() }

// refuse tells the transport that receives of a connection that is refused.
func (p *Port) refuse(from net.Addr, why string) {
	if s := p.current.Load(); s != nil {
		s.t.refuse(from, why)
	}
}

// shared are the credentials of a server of an application. They take connections in as
// the listener of our own server does.
type shared struct {
	telling

	port *Port
}

func (c shared) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c.port.seen.Store(true)
	conn := c.port.lis.admit(raw)
	if conn == nil {
		return nil, nil, credentials.ErrConnDispatched // it is closed
	}
	out, info, err := c.telling.ServerHandshake(conn)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	if p, ok := info.(*party); ok {
		info = p.AuthInfo // which the application looks at
	}
	return out, info, nil
}

func (c shared) Clone() credentials.TransportCredentials {
	t, _ := c.telling.Clone().(telling)
	return shared{t, c.port}
}

// take is what gRPC calls when the headers of a request have arrived; see Transport.take.
func (p *Port) take(ctx context.Context, info *tap.Info) (context.Context, error) {
	c := p.lis.connection(ctx)
	if c == nil {
		return ctx, nil
	}
	if !strings.HasPrefix(info.FullMethodName, "/"+pb.ChordService_ServiceDesc.ServiceName+"/") {
		c.shared.Store(true)
		context.AfterFunc(ctx, c.budget.Use())
		return ctx, nil
	}
	c.asked.Store(true)
	if s := p.current.Load(); s != nil {
		return s.t.take(ctx, info)
	}
	return ctx, nil
}

// enter begins a request: it gives the service that answers it, and the context in which
// that is at work. The caller calls over once it is answered.
func (p *Port) enter(ctx context.Context, method string) (s *service, working context.Context, over func(), err error) {
	if s = p.current.Load(); s == nil || !s.t.enter() {
		return nil, nil, nil, p.absent(method)
	}
	if p.lis.connection(ctx) == nil {
		s.t.left()
		const why = "the server was made without the options of its member"
		s.t.refuseRequest(ctx, why)
		return nil, nil, nil, status.Error(codes.Unavailable, why)
	}
	working, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.t.life, cancel)
	return s, working, func() {
		stop()
		cancel()
		s.t.left()
	}, nil
}

// absent is the answer to a request while no member runs. A legacy member hands an
// answer to FindSuccessor on as it is, where its detail would pass for its own word.
func (p *Port) absent(method string) error {
	p.mu.Lock()
	why := "the member at this address has not started"
	if p.used {
		why = "the member at this address has stopped"
	}
	p.mu.Unlock()
	st := status.New(codes.Unavailable, why)
	if method == "FindSuccessor" {
		return st.Err()
	}
	if detailed, err := st.WithDetails(&pb.NotRunning{}); err == nil {
		st = detailed
	}
	return st.Err()
}

// description is the service as a Port serves it, by whichever transport receives.
// Interceptors of the application do not see unary requests.
func (p *Port) description() *grpc.ServiceDesc {
	d := description()
	d.HandlerType = (*any)(nil)
	for i := range d.Methods {
		name, handle := d.Methods[i].MethodName, d.Methods[i].Handler
		d.Methods[i].Handler = func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			s, ctx, over, err := p.enter(ctx, name)
			if err != nil {
				return nil, err
			}
			defer over()
			answer, err := handle(s, ctx, bounded(dec), nil)
			if err != nil && s.t.life.Err() != nil {
				err = p.absent(name)
			}
			return answer, err
		}
	}
	for i := range d.Streams {
		name, handle := d.Streams[i].StreamName, d.Streams[i].Handler
		d.Streams[i].Handler = func(_ any, stream grpc.ServerStream) error { return p.serveStream(name, handle, stream) }
	}
	return d
}

// bounded is dec, but that messages larger than members send are refused.
func bounded(dec func(any) error) func(any) error {
	return func(m any) error {
		if err := dec(m); err != nil {
			return err
		}
		if msg, ok := m.(proto.Message); ok {
			if n := proto.Size(msg); n > maxMessage {
				return status.Error(codes.ResourceExhausted, tooLarge(n))
			}
		}
		return nil
	}
}

func tooLarge(n int) string {
	return fmt.Sprintf("a message of %d bytes, at most %d are allowed", n, maxMessage)
}

// serveStream answers the requests of a stream until the asker ends it, the connection
// ends, or the transport that receives is closed. That waits for what is left of it.
func (p *Port) serveStream(method string, handle grpc.StreamHandler, stream grpc.ServerStream) error {
	s, _, over, err := p.enter(stream.Context(), method)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		defer over()
		ended <- handle(s, stream)
	}()
	select {
	case err := <-ended:
		return err
	case <-s.t.life.Done():
		return p.absent(method)
	}
}

// open has t receive by p, once it is served.
func (p *Port) open(t *Transport) (*Transport, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.registered:
		return nil, errors.New("it is registered on no server")
	case p.owner != nil:
		return nil, errors.New("another member, or an earlier run of this one, still receives on the server")
	}
	p.owner = t
	t.lis, t.before = p.lis, p.written.Load()
	t.life, t.endLife = context.WithCancel(context.Background())
	return t, nil
}

// serve has s answer requests.
func (p *Port) serve(s *service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owner == s.t {
		p.used = true
		p.current.Store(s)
	}
}

// close has t receive no more: its requests end, and the connections on which there was
// nothing else. The application's server goes on.
func (p *Port) close(t *Transport) {
	p.mu.Lock()
	ours := p.owner == t
	if ours {
		p.owner = nil
		p.current.Store(nil)
	}
	p.mu.Unlock()
	if ours {
		p.lis.endAsked() // before the requests end, whose answers would say less
	}
	t.entering.Lock()
	defer t.entering.Unlock()
	t.endLife()
}

// enter counts a request that begins. It reports false if the transport is closed.
func (t *Transport) enter() bool {
	t.entering.Lock()
	defer t.entering.Unlock()
	if t.life.Err() != nil {
		return false
	}
	t.serving.Add(1)
	return true
}

// left is for a request that enter has counted, once it is over.
func (t *Transport) left() { t.serving.Done() }
