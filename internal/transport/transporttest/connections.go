package transporttest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// watch collects what Broken tells p, which has asked nobody yet. The list is
// complete once p is closed.
func watch(p *peer) (told <-chan string, list func() []string) {
	ch := make(chan string, 64)
	p.Broken(func(addr string) { ch <- addr })
	return ch, func() (all []string) {
		for len(ch) > 0 {
			all = append(all, <-ch)
		}
		return all
	}
}

func testBroken(t *testing.T, r *rig) {
	a, b, c := r.start("a", nil), r.start("b", nil), r.start("c", nil)
	told, rest := watch(a)
	for range 3 {
		r.exchange(a, b)
		r.exchange(a, c)
	}
	b.Close()
	if addr := Await(t, told, "Broken is called"); addr != b.Addr() {
		t.Errorf("Broken(%q); want %q", addr, b.Addr())
	}
	for range 3 {
		wantFailure(t, a.ask(r.context(), b), protocol.Refused)
	}
	r.exchange(a, c)
	a.Close()
	if more := rest(); len(more) > 0 {
		t.Errorf("Broken was called again, for %q", more)
	}
}

func testBrokenNotOurs(t *testing.T, r *rig) {
	t.Run("by Close", func(t *testing.T) {
		a, b := r.start("a", nil), r.start("b", nil)
		_, rest := watch(a)
		r.exchange(a, b)
		a.Close()
		if told := rest(); len(told) > 0 {
			t.Errorf("Broken was called for %q", told)
		}
	})
	t.Run("by Limit", func(t *testing.T) {
		a, b := r.start("a", nil), r.start("b", nil)
		_, rest := watch(a)
		r.exchange(a, b)
		a.Limit(0)
		r.settle(a, 0)
		b.Close()
		a.Close()
		if told := rest(); len(told) > 0 {
			t.Errorf("Broken was called for %q", told)
		}
	})
	t.Run("by giving up", func(t *testing.T) {
		w := newWaiting()
		a, b := r.start("a", nil), r.start("b", &w.Handler)
		_, rest := watch(a)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		wantFailure(t, a.ask(ctx, b), protocol.TimedOut)
		a.Close()
		if told := rest(); len(told) > 0 {
			t.Errorf("Broken was called for %q", told)
		}
	})
}

func testBrokenNeverUp(t *testing.T, r *rig) {
	a, gone := r.start("a", nil), r.start("gone", nil)
	_, rest := watch(a)
	gone.Close()
	for range 3 {
		wantFailure(t, a.ask(r.context(), gone), protocol.Refused)
	}
	a.Close()
	if told := rest(); len(told) > 0 {
		t.Errorf("Broken was called for %q", told)
	}
}

func testLimitOrder(t *testing.T, r *rig) {
	a := r.start("a", nil)
	told, rest := watch(a)
	peers := []*peer{r.start("b", nil), r.start("c", nil), r.start("d", nil), r.start("e", nil)}
	b, c, d, e := peers[0], peers[1], peers[2], peers[3]
	for _, p := range []*peer{b, c, d, e, c, b} {
		r.exchange(a, p)
	}
	if got := a.Connections(); got != 4 {
		t.Errorf("Connections() = %d; want 4", got)
	}
	a.Limit(2)
	r.settle(a, 2)

	// The peers go, and Broken tells which connections were left.
	for _, p := range peers {
		p.Close()
	}
	got := []string{Await(t, told, "Broken for the first"), Await(t, told, "Broken for the second")}
	a.Close()
	got = append(got, rest()...)
	want := []string{b.Addr(), c.Addr()}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("connections kept: %q; want those last used: %q", got, want)
	}
}

func testLimitInUse(t *testing.T, r *rig) {
	w := newWaiting()
	a, busy, idle := r.start("a", nil), r.start("busy", &w.Handler), r.start("idle", nil)
	_, rest := watch(a)
	ctx, cancel := context.WithCancel(r.context())
	failed := make(chan error, 1)
	go func() { failed <- a.ask(ctx, busy) }()
	Await(t, w.began, "the request arrives")
	a.Limit(0)
	r.exchange(a, idle)
	r.settle(a, 1)
	if len(failed) > 0 || len(w.ended) > 0 {
		t.Error("the limit ended a request")
	}
	cancel()
	wantFailure(t, Await(t, failed, "the request ends"), protocol.Cancelled)
	r.settle(a, 0)

	// What was closed is opened again.
	a.Limit(1)
	r.exchange(a, idle)
	if err := a.ask(r.context(), idle); err != nil {
		t.Error(err)
	}
	r.settle(a, 1)
	a.Close()
	if told := rest(); len(told) > 0 {
		t.Errorf("Broken was called for %q", told)
	}
}

func testRestart(t *testing.T, r *rig) {
	a, b := r.start("a", nil), r.start("b", nil)
	told, _ := watch(a)
	for range 3 {
		r.exchange(a, b)
		b.Close()
		Await(t, told, "Broken is called")
		b = r.startAt("b", b.Addr(), nil)
		for _, c := range calls {
			if err := c.call(a, r.context(), b); err != nil {
				t.Errorf("%s after a restart: %v", c.name, err)
			}
		}
	}
}

func testRestartAfterRefusal(t *testing.T, r *rig) {
	a, b := r.start("a", nil), r.start("b", nil)
	r.exchange(a, b)
	b.Close()
	// The connection's end may be met by the first request.
	r.eventually(func() bool {
		err := a.ask(r.context(), b)
		f, ok := err.(*protocol.Failure)
		return ok && f.Kind == protocol.Refused
	}, func() { t.Fatal("nobody listens, and the request is not refused") })
	b = r.startAt("b", b.Addr(), nil)
	var err error
	r.eventually(func() bool { err = a.ask(r.context(), b); return err == nil },
		func() { t.Fatalf("after a restart: %v", err) })
}
