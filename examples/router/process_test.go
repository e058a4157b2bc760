//go:build unix

package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/examples/internal/herd"
)

func TestProcessesCountTogether(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	bin, err := herd.Build(ctx, ".", dir)
	if err != nil {
		t.Fatal(err)
	}
	var h *herd.Herd
	h, err = herd.New(bin, dir, func(s herd.Seat) []string {
		return []string{"-name", s.Name, "-addr", s.Addr, "-join", h.Others(s.Name), "-interval", "100ms", "-zone", s.Zone, "-forward"}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	for i := range 3 {
		if _, err := h.Add(ctx, herd.Zone(i)); err != nil {
			t.Fatal(err)
		}
	}
	// by asks for a user, and returns who has counted.
	by := func(user string) string {
		t.Helper()
		var out strings.Builder
		if err := ask(ctx, &out, options{ask: h.Others("")}, []string{user}); err != nil {
			t.Fatal(err)
		}
		_, member, _ := strings.Cut(strings.TrimSpace(out.String()), "says ")
		return member
	}
	owner := by("alice")
	if again := by("alice"); again != owner {
		t.Errorf("%s has counted, and then %s", owner, again)
	}
	if err := h.Kill(false, owner); err != nil {
		t.Fatal(err)
	}
	next := by("alice")
	if next == owner {
		t.Errorf("%s has counted, which was killed", next)
	}
	if err := h.Leave(ctx, next); err != nil {
		t.Errorf("%s does not leave in order: %v", next, err)
	}
	if last := h.Running()[0].Name; by("alice") != last {
		t.Errorf("%s is the last, and does not count", last)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for _, tc := range []struct {
		run   func() error
		words string
	}{
		{func() error { return serve(ctx, nil, options{}, nil) }, "-name"},
		{func() error { return serve(ctx, nil, options{name: "a", addr: "127.0.0.1:x"}, nil) }, "unknown port"},
		{func() error { return serve(ctx, nil, options{name: "a", addr: "127.0.0.1:0", join: "x"}, nil) }, "not an address"},
		{func() error { return ask(ctx, nil, options{ask: "127.0.0.1:1"}, nil) }, "127.0.0.1:1"},
	} {
		if err := tc.run(); err == nil || !strings.Contains(fmt.Sprint(err), tc.words) {
			t.Errorf("%v, want %q", err, tc.words)
		}
	}
}
