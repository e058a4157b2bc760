package transporttest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// waiting is a handler whose answers wait for their context, and say Cancelled
// then. Each tells at began that it has begun and at ended that it has ended.
type waiting struct {
	Handler
	began, ended chan struct{}
}

func newWaiting() *waiting {
	w := &waiting{began: make(chan struct{}, 64), ended: make(chan struct{}, 64)}
	wait := func(ctx context.Context) error {
		w.began <- struct{}{}
		<-ctx.Done()
		w.ended <- struct{}{}
		return &protocol.Failure{Kind: protocol.Cancelled, Detail: "the handler's context ended"}
	}
	w.OnMaintain = func(ctx context.Context, _ transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
		return protocol.Reply{}, wait(ctx)
	}
	w.OnRoute = func(ctx context.Context, _ transport.Envelope, _ routing.Query) (routing.Answer, error) {
		return routing.Answer{}, wait(ctx)
	}
	w.OnMeta = func(ctx context.Context, _ transport.Envelope) ([]byte, error) { return nil, wait(ctx) }
	return w
}

func testFailures(t *testing.T, r *rig) {
	next := make(chan *protocol.Failure, 1)
	b := r.start("b", &Handler{
		OnMaintain: func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
			return protocol.Reply{}, <-next
		},
		OnRoute: func(context.Context, transport.Envelope, routing.Query) (routing.Answer, error) {
			return routing.Answer{}, <-next
		},
		OnMeta: func(context.Context, transport.Envelope) ([]byte, error) { return nil, <-next },
	})
	a := r.start("a", nil)
	for _, c := range []struct {
		name    string
		failure protocol.Failure
	}{
		{"wrong member", protocol.Failure{Kind: protocol.WrongMember, By: anna, Detail: "I am anna"}},
		{"wrong member without words", protocol.Failure{Kind: protocol.WrongMember, By: long}},
		{"wrong member, nobody named", protocol.Failure{Kind: protocol.WrongMember}},
		{"wrong ring", protocol.Failure{Kind: protocol.WrongRing, Differing: []string{"Cluster", "HashBits", "HashFunc"}, Detail: "Ünlike"}},
		{"wrong ring in one setting, by", protocol.Failure{Kind: protocol.WrongRing, By: bert, Differing: []string{"HashFunc"}}},
		{"wrong ring, none named", protocol.Failure{Kind: protocol.WrongRing, Differing: []string{}}},
		{"not joined", protocol.Failure{Kind: protocol.NotJoined}},
		{"not joined, by", protocol.Failure{Kind: protocol.NotJoined, By: anna, Detail: "not yet"}},
		{"isolated", protocol.Failure{Kind: protocol.Isolated}},
		{"isolated, by", protocol.Failure{Kind: protocol.Isolated, By: anna, Detail: "1 of 3"}},
		{"invalid", protocol.Failure{Kind: protocol.Invalid, Detail: "a list of 9,999 entries: at most 64"}},
		{"invalid, by", protocol.Failure{Kind: protocol.Invalid, By: anna, Detail: "no subject"}},
		{"cancelled", protocol.Failure{Kind: protocol.Cancelled, Detail: "stopping"}},
		{"cancelled without words", protocol.Failure{Kind: protocol.Cancelled}},
	} {
		for _, call := range calls {
			t.Run(c.name+"/"+call.name, func(t *testing.T) {
				given := c.failure
				next <- &given
				err := call.call(a, r.context(), b)
				f, ok := errors.AsType[*protocol.Failure](err)
				if !ok {
					t.Fatalf("error %v (%T); want a *protocol.Failure", err, err)
				}
				if f == &given {
					t.Error("the failure is the handler's own, not a copy")
				}
				same(t, *f, c.failure)
			})
		}
	}
}

func testRefused(t *testing.T, r *rig) {
	a, gone := r.start("a", nil), r.start("gone", nil)
	gone.Close()
	for range 3 {
		for _, c := range calls {
			wantFailure(t, c.call(a, r.context(), gone), protocol.Refused)
		}
	}
}

func testTimedOut(t *testing.T, r *rig) {
	w, release := newWaiting(), make(chan struct{})
	polite := r.start("polite", &w.Handler)
	stubborn := r.start("stubborn", &Handler{
		OnMaintain: func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
			<-release
			return protocol.Reply{}, nil
		},
		OnRoute: func(context.Context, transport.Envelope, routing.Query) (routing.Answer, error) {
			<-release
			return routing.Answer{}, nil
		},
		OnMeta: func(context.Context, transport.Envelope) ([]byte, error) {
			<-release
			return nil, nil
		},
	})
	defer close(release)
	a := r.start("a", nil)
	for _, b := range []*peer{polite, stubborn} {
		for _, c := range calls {
			t.Run(c.name+" of one that is "+b.self.Name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
				defer cancel()
				wantFailure(t, c.call(a, ctx, b), protocol.TimedOut)
			})
		}
	}
	t.Run("before it is sent", func(t *testing.T) {
		ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
		defer cancel()
		wantFailure(t, a.ask(ctx, polite), protocol.TimedOut)
	})
}

func testCancelled(t *testing.T, r *rig) {
	w := newWaiting()
	a, b := r.start("a", nil), r.start("b", &w.Handler)
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(r.context())
			failed := make(chan error, 1)
			go func() { failed <- c.call(a, ctx, b) }()
			Await(t, w.began, "the request arrives")
			cancel()
			wantFailure(t, Await(t, failed, "the request ends"), protocol.Cancelled)
			wantFailure(t, c.call(a, ctx, b), protocol.Cancelled)
		})
	}
}

func testCancelledByClose(t *testing.T, r *rig) {
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			w := newWaiting()
			a, b := r.start("a", nil), r.start("b", &w.Handler)
			failed := make(chan error, 1)
			go func() { failed <- c.call(a, r.context(), b) }()
			Await(t, w.began, "the request arrives")
			a.Close()
			wantFailure(t, Await(t, failed, "the request ends"), protocol.Cancelled)
			wantFailure(t, c.call(a, r.context(), b), protocol.Cancelled)
			Await(t, w.ended, "the handler's context ends")
			if got := a.Connections(); got != 0 {
				t.Errorf("%d connections after Close", got)
			}
		})
	}
}

func testUnreachable(t *testing.T, r *rig) {
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			w := newWaiting()
			a, b := r.start("a", nil), r.start("b", &w.Handler)
			failed := make(chan error, 1)
			go func() { failed <- c.call(a, r.context(), b) }()
			Await(t, w.began, "the request arrives")
			b.Close()
			wantFailure(t, Await(t, failed, "the request ends"), protocol.Unreachable)
		})
	}
}

func testConcurrent(t *testing.T, r *rig) {
	const askers = 24 // a connection has 32 at least
	var inside atomic.Int32
	all := make(chan struct{})
	b := r.start("b", &Handler{OnRoute: func(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
		if inside.Add(1) == askers {
			close(all)
		}
		select {
		case <-all:
		case <-ctx.Done():
		}
		return routing.Answer{Verdict: routing.Owned, Owner: Member(strconv.FormatUint(q.ID, 10), "10.0.0.1:1", q.ID), HasArc: true}, nil
	}})
	a := r.start("a", nil)
	ctx := r.context()
	var wg sync.WaitGroup
	for i := range askers {
		wg.Go(func() {
			id := uint64(i + 1)
			got, err := a.Route(ctx, a.envelope(b), routing.Query{ID: id})
			if err != nil {
				t.Errorf("query %d: %v", id, err)
			} else if got.Owner.Incarnation != id {
				t.Errorf("query %d was given the answer to %d", id, got.Owner.Incarnation)
			}
		})
	}
	wg.Wait()
}

func testNoHoldUp(t *testing.T, r *rig) {
	w := newWaiting()
	w.OnRoute = nil
	a, b, c := r.start("a", nil), r.start("b", &w.Handler), r.start("c", nil)
	ctx, cancel := context.WithCancel(r.context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range 8 {
		wg.Go(func() {
			_, err := a.Maintain(ctx, a.envelope(b), protocol.Request{Kind: protocol.Notify})
			wantFailure(t, err, protocol.Cancelled)
		})
		Await(t, w.began, "the request arrives")
	}
	for _, asker := range []*peer{a, c} {
		if err := asker.route(r.context(), b); err != nil {
			t.Errorf("%s asks a busy member: %v", asker.self.Name, err)
		}
	}
	if err := a.ask(r.context(), c); err != nil {
		t.Errorf("asking another: %v", err)
	}
	if err := b.ask(r.context(), a); err != nil {
		t.Errorf("the busy one asks: %v", err)
	}
}

func testHandlerContext(t *testing.T, r *rig) {
	w := newWaiting()
	a, b := r.start("a", nil), r.start("b", &w.Handler)
	for _, c := range calls {
		t.Run(c.name+" at the deadline", func(t *testing.T) {
			// The deadline may pass before the handler begins, if the
			// machine is busy: then a longer one is tried.
			for wait := 50 * time.Millisecond; ; wait *= 2 {
				ctx, cancel := context.WithTimeout(context.Background(), wait)
				wantFailure(t, c.call(a, ctx, b), protocol.TimedOut)
				cancel()
				if len(w.began) > 0 || wait > patience {
					break
				}
			}
			Await(t, w.began, "the request arrives")
			Await(t, w.ended, "the handler's context ends")
		})
		t.Run(c.name+" at cancellation", func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			failed := make(chan error, 1)
			go func() { failed <- c.call(a, ctx, b) }()
			Await(t, w.began, "the request arrives")
			cancel()
			Await(t, w.ended, "the handler's context ends")
			wantFailure(t, Await(t, failed, "the request ends"), protocol.Cancelled)
		})
	}
}

func testCloseWaits(t *testing.T, r *rig) {
	began, ending, released := make(chan struct{}), make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	defer release() // or the end of a failed case waits for the handler
	var finished atomic.Bool
	b := r.start("b", &Handler{OnMaintain: func(ctx context.Context, _ transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
		close(began)
		<-ctx.Done()
		close(ending)
		<-released
		finished.Store(true)
		return protocol.Reply{}, &protocol.Failure{Kind: protocol.Cancelled}
	}})
	a := r.start("a", nil)
	failed := make(chan error, 1)
	go func() { failed <- a.ask(r.context(), b) }()
	Await(t, began, "the request arrives")
	closed := make(chan bool, 1)
	go func() {
		b.Close()
		closed <- finished.Load()
	}()
	Await(t, ending, "Close ends the handler's context")
	select {
	case <-closed:
		t.Error("Close returned while a handler was at work")
	default:
	}
	release()
	if !Await(t, closed, "Close returns") {
		t.Error("Close returned before the handler did")
	}
	Await(t, failed, "the request ends")
}

func testCloseAgain(t *testing.T, r *rig) {
	a, b := r.start("a", nil), r.start("b", nil)
	r.exchange(a, b)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := b.Close(); err != nil {
				t.Errorf("Close, at the same time as others: %v", err)
			}
		})
	}
	wg.Wait()
	if err := b.Close(); err != nil {
		t.Errorf("Close, after others: %v", err)
	}
	if got := b.Addr(); got != b.self.Addr {
		t.Errorf("Addr after Close = %q; want %q", got, b.self.Addr)
	}
	if _, err := b.Maintain(r.context(), transport.Envelope{To: ring.Member{Addr: a.Addr()}, Settings: Settings}, protocol.Request{Kind: protocol.AskRing}); err == nil {
		t.Error("a closed transport still asks")
	}
}
