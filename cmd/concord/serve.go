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
	"github.com/ollelogdahl/concord/internal/guard"
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

// serve opens the listeners that the flags ask for, and serves the page at the one
// that is open, if it is not nil. It adds to ready at which addresses they are. They answer from before the member joins until it has left;
// leave is what whoever operates it may ask for.
func (f *runFlags) serve(node *concord.Concord, metrics http.Handler, page net.Listener, log *slog.Logger, ready *readiness, leave func() error) (l listeners, err error) {
	probes := admin.Probes{Alive: node.Alive, Ready: node.Ready}
	if page != nil {
		l = append(l, f.servePage(page, node, probes, log))
		ready.Page = pageURL(page)
	}
	if f.admin != "" {
		s, err := admin.Listen(admin.Config{Addr: f.admin, Hosts: f.hosts(), Probes: probes, Profiles: f.pprof, Log: log,
			Services: remote.Services(node, leave), Metrics: metrics})
		if err != nil {
			l.close()
			return nil, fmt.Errorf("--admin: %w", err)
		}
		log.Info("admin listener", slog.String("address", s.Addr()))
		l = append(l, s.Close)
		ready.Admin = s.Addr()
	}
	if f.metrics != "" {
		lis, err := listenHTTP("--metrics", f.metrics)
		if err != nil {
			l.close()
			return nil, err
		}
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", metrics)
		l = append(l, serveHTTP("metrics", lis, guard.Guard{Hosts: f.hosts()}.Handler(mux), log))
		ready.Metrics = pageURL(lis) + "metrics"
	}
	return l, nil
}

// serveHTTP serves h at lis, which the log calls by a name, until end is called.
func serveHTTP(name string, lis net.Listener, h http.Handler, log *slog.Logger) (end func()) {
	log.Info(name+" listener", slog.String("address", lis.Addr().String()))
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
			log.Error("the "+name+" listener has failed", slog.Any("err", err))
		}
	})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		serving.Wait()
	}
}
