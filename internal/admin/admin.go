// Package admin is the listener for whoever operates a member. On one port, which
// is not the members', or at one socket in the file system, it serves gRPC (health,
// reflection, and what is registered besides) and HTTP (/healthz, /readyz, /metrics, and
// /debug/pprof/ if that is asked for). The port authenticates nobody, and so is on loopback
// unless it is told otherwise. The socket is open to the user that runs the member alone.
// The Probes can also be served by themselves, by the HTTP server of another room.
//
// A browser can be made by web sites to send HTTP to the port, but no gRPC. So a request
// for /metrics or /debug/pprof/ is answered only if the guard accepts it. The probes
// say so little that everybody may ask.
package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"

	"github.com/ollelogdahl/concord/internal/guard"
)

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	closeTimeout  = time.Second // for requests under way to end by themselves
	maxHeaders    = 16 << 10    // bytes
	maxStreams    = 64          // requests of one connection at once
	maxMessage    = 64 << 10    // bytes received in one gRPC message
)

// Config says what a Server serves. It is copied by Listen.
type Config struct {
	// Addr is the host and port to listen at, or unix: and the path of a socket. An
	// empty host is loopback, port 0 a free one.
	Addr string
	// Hosts are the names by which HTTP may be asked for, besides localhost and
	// addresses.
	Hosts []string
	// Profiles: /debug/pprof/ is served. It shows what is in memory.
	Profiles bool
	// Probes are those of the member. Required.
	Probes Probes
	// Services registers further gRPC services. Nil: none. Their streams must end
	// when the context does.
	Services func(context.Context, grpc.ServiceRegistrar)
	// Metrics is served at /metrics. Nil: nothing is there.
	Metrics http.Handler
	// Log is told if the listener is open to other machines. Required.
	Log *slog.Logger
}

// Server is a listener and what it serves.
type Server struct {
	lis  net.Listener
	grpc *grpc.Server
	http *http.Server
	end  context.CancelFunc

	serving sync.WaitGroup
	closing sync.Once
}

// Listen begins to serve. The caller closes the Server.
func Listen(cfg Config) (*Server, error) {
	lis, err := listen(cfg.Addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := lis.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		cfg.Log.Warn("the admin listener is open to other machines and authenticates nobody", slog.String("address", lis.Addr().String()))
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Server{lis: lis, end: end, grpc: grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage))}
	cfg.Probes.Register(ctx, s.grpc)
	if cfg.Services != nil {
		cfg.Services(ctx, s.grpc)
	}
	reflection.Register(s.grpc)

	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:           s.handler(cfg),
		Protocols:         &protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	s.serving.Go(func() {
		if err := s.http.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
			cfg.Log.Error("the admin listener has failed", slog.Any("err", err))
		}
	})
	return s, nil
}

// handler tells gRPC from the rest by its content type.
func (s *Server) handler(cfg Config) http.Handler {
	private := http.NewServeMux()
	if cfg.Metrics != nil {
		private.Handle("/metrics", cfg.Metrics)
	}
	if cfg.Profiles {
		private.HandleFunc("/debug/pprof/", pprof.Index)
		private.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		private.HandleFunc("/debug/pprof/profile", pprof.Profile)
		private.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		private.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	mux := http.NewServeMux()
	healthy := cfg.Probes.Handler()
	mux.Handle("/healthz", healthy)
	mux.Handle("/readyz", healthy)
	mux.Handle("/", guard.Guard{Hosts: slices.Clone(cfg.Hosts)}.Handler(private))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			s.grpc.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// Addr is where the Server listens: host and port as bound, or unix: and a path.
func (s *Server) Addr() string {
	if s.lis.Addr().Network() == "unix" {
		return unixPrefix + s.lis.Addr().String()
	}
	return s.lis.Addr().String()
}

// Close ends the listener, gives requests under way a second, and returns when
// nothing is served any more. Calls after the first wait as well.
func (s *Server) Close() {
	s.closing.Do(func() {
		s.end()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
		}
		s.grpc.Stop()
		s.serving.Wait()
	})
}
