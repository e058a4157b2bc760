package concordgrpc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordgrpc"
)

func TestCallsReachTheOwnerOfTheirKey(t *testing.T) {
	t.Parallel()
	apps := ring(t, 3, nil)
	for name, r := range map[string]concordgrpc.Ring{"client": dial(t, apps), "member": apps[1]} {
		for _, byRequest := range []bool{false, true} {
			router := &concordgrpc.Router{Ring: r}
			if byRequest {
				router.Key = health
			}
			for _, a := range apps {
				header, err := check(t.Context(), router, keyOf(a))
				if err != nil || header.Get("member")[0] != a.Name() || header.Get("epoch")[0] != "true" {
					t.Errorf("%s, %v: a call for %s gives %v, %v", name, byRequest, a.Name(), header, err)
				}
			}
		}
	}
}

func TestCallWithoutKeyFails(t *testing.T) {
	t.Parallel()
	router := &concordgrpc.Router{}
	_, err := grpc_health_v1.NewHealthClient(router).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "/grpc.health.v1.Health/Check") {
		t.Errorf("a call: %v", err)
	}
	_, err = grpc_health_v1.NewHealthClient(router).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a stream: %v", err)
	}
}

func TestGuardRefusesWithTheNameOfTheOwner(t *testing.T) {
	t.Parallel()
	apps := ring(t, 2, func(g *concordgrpc.Guard) { g.Key = health })
	key := keyOf(apps[1])
	_, err := check(t.Context(), direct(t, apps[0]), key)
	owner, refused := concordgrpc.Refused(err)
	want := concord.Server{Name: apps[1].Name(), Id: apps[1].Id(), Address: apps[1].addr}
	if !refused || owner != want || status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), apps[1].addr) {
		t.Errorf("refused %v, owner %v, want %v: %v", refused, owner, want, err)
	}
	if n := apps[0].calls.Load(); n != 0 {
		t.Errorf("the handler was called %d times", n)
	}
}

func TestCallWithoutKeyIsLetThrough(t *testing.T) {
	t.Parallel()
	a := ring(t, 1, nil)[0]
	if _, err := grpc_health_v1.NewHealthClient(direct(t, a)).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

func TestGuardForwardsToTheOwner(t *testing.T) {
	t.Parallel()
	apps := ring(t, 2, func(g *concordgrpc.Guard) { g.Key, g.Forward = health, true })
	ctx := metadata.AppendToOutgoingContext(t.Context(), "shown", "by the caller")
	header, err := check(ctx, direct(t, apps[0]), keyOf(apps[1]))
	if err != nil || header.Get("member")[0] != apps[1].Name() {
		t.Fatalf("%v, %v", header, err)
	}
	if saw := header.Get("saw"); len(saw) != 1 || saw[0] != "by the caller" {
		t.Errorf("the owner saw the header %q of the caller", saw)
	}
}

func TestForwardedCallKeepsItsKey(t *testing.T) {
	t.Parallel()
	apps := ring(t, 2, func(g *concordgrpc.Guard) { g.Forward = true })
	router := &concordgrpc.Router{Ring: &misled{Ring: apps[0], to: concord.Server{Name: apps[0].Name(), Id: apps[0].Id(), Address: apps[0].addr}}}
	header, err := check(t.Context(), router, keyOf(apps[1]))
	if err != nil || header.Get("member")[0] != apps[1].Name() || header.Get("epoch")[0] != "true" {
		t.Errorf("%v, %v", header, err)
	}
}

func TestForwardedCallKeepsTheErrorOfTheHandler(t *testing.T) {
	t.Parallel()
	apps := ring(t, 2, func(g *concordgrpc.Guard) { g.Key, g.Forward = health, true })
	apps[1].during = func() error { return status.Error(codes.NotFound, "no such service") }
	_, err := check(t.Context(), direct(t, apps[0]), keyOf(apps[1]))
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "no such service" {
		t.Errorf("%v", err)
	}
}

func TestStreamsReachTheOwnerOrAreRefused(t *testing.T) {
	t.Parallel()
	apps := ring(t, 2, nil)
	key := keyOf(apps[1])
	watch := func(r concordgrpc.Ring) error {
		s, err := grpc_health_v1.NewHealthClient(&concordgrpc.Router{Ring: r}).Watch(
			concordgrpc.WithKey(t.Context(), key), &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			return err
		}
		_, err = s.Recv()
		return err
	}
	if err := watch(apps[0]); err != nil {
		t.Error(err)
	}
	wrong := &misled{Ring: apps[0], to: concord.Server{Name: apps[0].Name(), Id: apps[0].Id(), Address: apps[0].addr}}
	owner, refused := concordgrpc.Refused(watch(wrong))
	if !refused || owner.Name != apps[1].Name() || wrong.rejected.Load() != 1 {
		t.Errorf("refused %v by %v, rejected %d times", refused, owner, wrong.rejected.Load())
	}
}

// misled is a ring whose lookups name one member.
type misled struct {
	concordgrpc.Ring

	to       concord.Server
	rejected atomic.Int64
}

func (m *misled) LookupContext(context.Context, []byte, ...concord.LookupOption) (concord.Server, error) {
	return m.to, nil
}

func (m *misled) Reject([]byte, concord.Server) { m.rejected.Add(1) }

func TestRouterFollowsTheNameInARefusal(t *testing.T) {
	t.Parallel()
	apps := ring(t, 3, nil)
	r := &misled{Ring: dial(t, apps), to: concord.Server{Name: apps[0].Name(), Id: apps[0].Id(), Address: apps[0].addr}}
	began := time.Now()
	header, err := check(t.Context(), &concordgrpc.Router{Ring: r, Tries: 2}, keyOf(apps[2]))
	if err != nil || header.Get("member")[0] != apps[2].Name() {
		t.Errorf("after %v: %v, %v", time.Since(began), header, err)
	}
}

// A handler that finds that the member does not serve the key any more refuses as the Guard does.
func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	apps := ring(t, 2, nil)
	key := keyOf(apps[1])
	apps[1].during = func() error {
		if apps[1].calls.Load() < 3 {
			return apps[1].guard.Refuse(t.Context(), key)
		}
		return nil
	}
	_, err := check(concordgrpc.WithKey(t.Context(), key), direct(t, apps[1]), key)
	if owner, ok := concordgrpc.Refused(err); !ok || owner.Name != apps[1].Name() {
		t.Errorf("refused %v by %v: %v", ok, owner, err)
	}
	header, err := check(t.Context(), &concordgrpc.Router{Ring: dial(t, apps)}, key)
	if err != nil || header.Get("member")[0] != apps[1].Name() || apps[1].calls.Load() != 3 {
		t.Errorf("%v, %v after %d calls", header, err, apps[1].calls.Load())
	}
}

func TestCallGoesAroundAMemberThatIsGone(t *testing.T) {
	t.Parallel()
	apps := ring(t, 4, nil)
	router := &concordgrpc.Router{Ring: dial(t, apps), Repeat: func(method string) bool { return method == "/grpc.health.v1.Health/Check" }}
	key := keyOf(apps[2])
	if _, err := check(t.Context(), router, key); err != nil {
		t.Fatal(err)
	}
	apps[2].Stop()
	apps[2].server.Stop()
	if header, err := check(t.Context(), router, key); err != nil || header.Get("member")[0] == apps[2].Name() {
		t.Errorf("%v, %v", header, err)
	}
}

// A call that a handler may have seen is not made again.
func TestCallThatBreaksIsNotRepeated(t *testing.T) {
	t.Parallel()
	apps := ring(t, 4, nil)
	router := &concordgrpc.Router{Ring: dial(t, apps)}
	key := keyOf(apps[1])
	if _, err := check(t.Context(), router, key); err != nil {
		t.Fatal(err)
	}
	var ending sync.WaitGroup
	apps[1].during = func() error {
		ending.Go(func() { apps[1].Stop(); apps[1].server.Stop() })
		<-t.Context().Done()
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	before := total(apps)
	done := make(chan error, 1)
	go func() { _, err := check(ctx, router, key); done <- err }()
	err := <-done
	if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
		t.Errorf("the call ends with %v", err)
	}
	if n := total(apps) - before; n != 1 {
		t.Errorf("handlers were called %d times", n)
	}
	t.Cleanup(ending.Wait)
}

func total(apps []*app) (n int64) {
	for _, a := range apps {
		n += a.calls.Load()
	}
	return n
}

func TestRefusalIsNotMistakenForAnotherError(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errors.New("x"), status.Error(codes.Aborted, "x"), context.Canceled} {
		if owner, refused := concordgrpc.Refused(err); refused {
			t.Errorf("%v is a refusal that names %v", err, owner)
		}
	}
}

// endings are the ways in which a program ends its member and its server.
var endings = []struct {
	name string
	end  func(context.Context, *app) error
}{
	{"the member leaves first", func(ctx context.Context, a *app) error {
		err := a.Leave(ctx)
		a.server.GracefulStop()
		return err
	}},
	{"the member drains first", func(ctx context.Context, a *app) error {
		err := a.Drain(ctx)
		a.server.GracefulStop()
		return errors.Join(err, a.Leave(ctx))
	}},
	// The others hear nothing of the server at once, so Leave may not be answered.
	{"the server stops first", func(ctx context.Context, a *app) error {
		a.server.GracefulStop()
		_ = a.Leave(ctx)
		return nil
	}},
	{"both at once", func(ctx context.Context, a *app) error {
		var wg sync.WaitGroup
		wg.Go(a.server.GracefulStop)
		wg.Go(func() { _ = a.Leave(ctx) })
		wg.Wait()
		return nil
	}},
}

// Four members restart one after another while calls are made. None of the calls fails, whether a
// member leaves before its server stops, or after.
func TestNoCallFailsInARollingRestart(t *testing.T) {
	t.Parallel()
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			if calls, failures := rolling(t, e.end, 300); len(failures) > 0 {
				t.Errorf("%d of %d calls failed, the first with: %v", len(failures), calls, failures[0])
			}
		})
	}
}

// BenchmarkRollingRestart restarts four members under 5,000 calls and more.
func BenchmarkRollingRestart(b *testing.B) {
	for _, e := range endings {
		b.Run(e.name, func(b *testing.B) {
			calls, failed := int64(0), 0
			for b.Loop() {
				n, failures := rolling(b, e.end, 1250)
				calls, failed = calls+n, failed+len(failures)
			}
			b.ReportMetric(float64(calls), "calls")
			b.ReportMetric(float64(failed), "failed")
		})
	}
}

// rolling restarts the members of a ring of four under calls, at least so many for each. The calls
// end with it, also if a restart fails.
func rolling(t testing.TB, end func(context.Context, *app) error, least int64) (int64, []error) {
	t.Helper()
	apps := ring(t, 4, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	calls := call(ctx, &concordgrpc.Router{Ring: dial(t, apps)})
	defer calls.stop()
	for i, a := range apps {
		if err := end(ctx, a); err != nil {
			t.Fatal(err)
		}
		a.serving.Wait()
		apps[i] = start(t, a.Name(), a.addr, nil)
		if err := apps[i].Join(ctx, apps[(i+1)%4].addr); err != nil {
			t.Fatal(err)
		}
		settle(t, apps)
		for calls.made.Load() < int64(i+1)*least {
			select {
			case <-calls.progress:
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
		}
	}
	calls.stop()
	return calls.made.Load(), calls.failures
}

// calls are made by two callers, each when its last one has ended, until they are stopped.
type calls struct {
	made     atomic.Int64
	progress chan struct{} // gets what it can take, one for each call
	over     context.Context
	end      context.CancelFunc
	callers  sync.WaitGroup
	mu       sync.Mutex
	failures []error // complete when the calls are stopped
}

func call(ctx context.Context, router *concordgrpc.Router) *calls {
	c := &calls{progress: make(chan struct{})}
	c.over, c.end = context.WithCancel(ctx)
	for i := range 2 {
		c.callers.Go(func() {
			for n := 0; c.over.Err() == nil; n++ {
				c.made.Add(1)
				select {
				case c.progress <- struct{}{}:
				default:
				}
				if _, err := check(ctx, router, fmt.Appendf(nil, "key%d-%d", i, n%100)); err != nil {
					c.mu.Lock()
					c.failures = append(c.failures, err)
					c.mu.Unlock()
				}
			}
		})
	}
	return c
}

func (c *calls) stop() {
	c.end()
	c.callers.Wait()
}

// BenchmarkCall compares calls of the owner of a key: on a connection to it, by a Router that has
// looked the key up before, by one that looks it up each time, and forwarded by another member.
func BenchmarkCall(b *testing.B) {
	apps := ring(b, 4, func(g *concordgrpc.Guard) { g.Forward, g.Key = true, health })
	key := keyOf(apps[2])
	for _, bm := range []struct {
		name string
		conn grpc.ClientConnInterface
	}{
		{"direct", direct(b, apps[2])},
		{"routed", &concordgrpc.Router{Ring: dial(b, apps)}},
		{"routed-by-member", &concordgrpc.Router{Ring: apps[0]}},
		{"forwarded", direct(b, apps[0])},
	} {
		b.Run(bm.name, func(b *testing.B) {
			client := grpc_health_v1.NewHealthClient(bm.conn)
			ctx := concordgrpc.WithKey(b.Context(), key)
			for b.Loop() {
				if _, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: string(key)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
