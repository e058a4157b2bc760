//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

// A member that may open 64 files is offered 200 connections at a time. It stays in the
// ring, answers its probes and those who join, and says why it refuses.
func TestMemberWithFewDescriptorsStaysInTheRing(t *testing.T) {
	t.Parallel()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	limited := filepath.Join(t.TempDir(), "limited")
	if err := os.WriteFile(limited, []byte("#!/bin/sh\nulimit -n 64\nexec '"+bin+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var ring []*child.Child
	defer func() { child.Kill(ring) }()
	begin := func(binary string, join ...string) *child.Child {
		t.Helper()
		c, err := child.Start(ctx, child.Options{
			Binary: binary, Name: fmt.Sprintf("node%d", len(ring)), Interval: 200 * time.Millisecond,
			Join: join, Args: []string{"--admin", "127.0.0.1:0"},
		})
		if err != nil {
			t.Fatal(err)
		}
		ring = append(ring, c)
		return c
	}
	poor := begin(limited)
	begin(bin, poor.Self.Address)
	begin(bin, poor.Self.Address)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	await := func() {
		t.Helper()
		for {
			all, err := child.Statuses(ctx, ring)
			if err != nil {
				t.Fatal(err)
			}
			if child.NotIdeal(all, concord.DefaultSuccessorCount) == "" {
				return
			}
			<-tick.C
		}
	}
	await()
	before, err := ring[1].Status(ctx)
	if err != nil {
		t.Fatal(err)
	}

	offer := func() {
		var offered []net.Conn
		defer func() {
			for _, conn := range offered {
				conn.Close()
			}
		}()
		for range 200 {
			conn, err := net.Dial("tcp", poor.Self.Address)
			if err != nil {
				t.Fatal(err)
			}
			offered = append(offered, conn)
		}
		for began := time.Now(); time.Since(began) < 2*time.Second; <-tick.C {
			for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
				if code, body := httpGet(t, "http://"+poor.Admin+path); code != 200 {
					t.Errorf("%s: %d %s", path, code, body)
				}
			}
		}
		begin(bin, poor.Self.Address)
	}
	for range 2 {
		offer()
	}
	await()
	s, err := poor.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Counters.ConnectionsRefused < 300 || s.Counters.AcceptFailures != 0 {
		t.Errorf("of 400 connections %d were refused, and %d could not be accepted", s.Counters.ConnectionsRefused, s.Counters.AcceptFailures)
	}
	after, err := ring[1].Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Counters.Suspicions - before.Counters.Suspicions; n != 0 {
		t.Errorf("another member has suspected %d members", n)
	}
	if log := poor.Log(); !strings.Contains(log, "incoming connection refused") || !strings.Contains(log, "too many connections: 32, and none at rest") {
		t.Errorf("its log does not say why it refuses:\n%s", log)
	}
}
