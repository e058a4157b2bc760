package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/admin"
	"github.com/ollelogdahl/concord/internal/health"
	"github.com/ollelogdahl/concord/internal/remote"
)

// listeners are those of a member besides the members' own, each by what ends it.
type listeners []func()

// close ends them, the last first.
func (l listeners) close() {
	for _, end := range slices.Backward(l) {
		end()
	}
}

// serve opens the listeners that the flags ask for, and says in where, for the
// ready line, at which address the admin listener is. They answer from before the
// member joins until it has left; leave is what whoever operates it may ask for.
func (f *runFlags) serve(node *concord.Concord, log *slog.Logger, leave func() error) (l listeners, where string, err error) {
	probes := health.Probes{Alive: node.Alive, Ready: node.Ready}
	if f.http != "" {
		end, err := serveHTTP(f.http, probes.Handler(), log)
		if err != nil {
			return nil, "", fmt.Errorf("--http: %w", err)
		}
		l = append(l, end)
	}
	if f.admin != "" {
		s, err := admin.Listen(admin.Config{Addr: f.admin, Probes: probes, Log: log,
			Services: remote.Services(node, leave)})
		if err != nil {
			l.close()
			return nil, "", fmt.Errorf("--admin: %w", err)
		}
		log.Info("admin listener", slog.String("address", s.Addr()))
		l = append(l, s.Close)
		where = " admin=" + s.Addr()
	}
	return l, where, nil
}

// serveHTTP serves h at addr until end is called.
func serveHTTP(addr string, h http.Handler, log *slog.Logger) (end func(), err error) {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	log.Info("http listener", slog.String("address", lis.Addr().String()))
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := srv.Serve(lis); err != http.ErrServerClosed {
			log.Error("the http listener has failed", slog.Any("error", err))
		}
	})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		serving.Wait()
	}, nil
}
