package concord_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// calls records the calls of OnRangeChange.
type calls struct {
	mu   sync.Mutex
	got  []concord.Range
	open atomic.Int32
	twin atomic.Bool // two calls at once
}

func (c *calls) add(r concord.Range) {
	if c.open.Add(1) > 1 {
		c.twin.Store(true)
	}
	c.mu.Lock()
	c.got = append(c.got, r)
	c.mu.Unlock()
	c.open.Add(-1)
}

func (c *calls) all() []concord.Range {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]concord.Range(nil), c.got...)
}

func (c *calls) hook(cfg *concord.Config) { cfg.OnRangeChange = c.add }

// last waits until the last call was given the range that the member has.
func (c *calls) last(t *testing.T, m *concord.Concord) {
	t.Helper()
	eventually(t, func() error {
		all := c.all()
		if len(all) == 0 || all[len(all)-1] != m.Range() {
			return fmt.Errorf("%s: calls %v, range %v", m.Name(), all, m.Range())
		}
		return nil
	})
}

func TestCreateAndJoinEachCauseCall(t *testing.T) {
	var first, second calls
	a := create(t, "a", first.hook)
	first.last(t, a)
	if got := first.all(); len(got) != 1 {
		t.Errorf("Create caused %v", got)
	}
	b := start(t, "b", second.hook)
	if got := second.all(); len(got) != 0 {
		t.Errorf("called before Join: %v", got)
	}
	join(t, b, a.Address())
	awaitIdeal(t, []*concord.Concord{a, b})
	first.last(t, a)
	second.last(t, b)
	if got := second.all(); len(got) != 1 {
		t.Errorf("Join caused %v", got)
	}
	if got := first.all(); len(got) != 2 {
		t.Errorf("a second member caused %v", got)
	}
}

func TestLastCallTellsTheRangeInTheEnd(t *testing.T) {
	// A member that the machine does not run for an interval may be told its range again.
	slow := func(cfg *concord.Config) { cfg.StabilizeInterval = 5 * time.Second }
	recorded := map[string]*calls{}
	var members []*concord.Concord
	for i := range 8 {
		name := fmt.Sprintf("member%d", i)
		recorded[name] = &calls{}
		if i == 0 {
			members = append(members, create(t, name, recorded[name].hook, slow))
			continue
		}
		c := start(t, name, recorded[name].hook, slow)
		join(t, c, members[0].Address())
		members = append(members, c)
	}
	awaitIdeal(t, members)
	for _, c := range members {
		recorded[c.Name()].last(t, c)
	}
	members[3].Stop()
	if err := members[5].Leave(t.Context()); err != nil {
		t.Error(err)
	}
	rest := append(append(members[:3:3], members[4]), members[6:]...)
	awaitIdeal(t, rest)
	for _, c := range rest {
		recorded[c.Name()].last(t, c)
	}
	for name, r := range recorded {
		all := r.all()
		for i, x := range all {
			if i > 0 && x == all[i-1] {
				t.Errorf("%s: %v repeats", name, all)
			}
			if x.End != idOf(name) {
				t.Errorf("%s: %v does not end at it", name, x)
			}
		}
		if r.twin.Load() {
			t.Errorf("%s: two calls at once", name)
		}
	}
}

func TestCallbackMayCallEveryMethod(t *testing.T) {
	a := create(t, "a")
	var c *concord.Concord
	done := make(chan error, 100)
	ready := make(chan struct{})
	c = start(t, "c", func(cfg *concord.Config) {
		cfg.OnRangeChange = func(r concord.Range) {
			<-ready
			var errs []error
			if got := c.Range(); got.End != r.End {
				errs = append(errs, fmt.Errorf("range %v in a call for %v", got, r))
			}
			c.Name()
			c.Id()
			c.Address()
			c.Successors()
			c.Predecessor()
			c.Status()
			c.Joined()
			c.Owns([]byte("key"))
			for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}} {
				if _, err := c.LookupContext(context.Background(), []byte("key"), opts...); err != nil {
					errs = append(errs, err)
				}
			}
			if _, err := c.Lookup([]byte("other key")); err != nil {
				errs = append(errs, err)
			}
			c.Reject([]byte("key"), concord.Server{Name: "x", Id: 1, Address: "127.0.0.1:1"})
			for what, err := range map[string]error{
				"Create": c.Create(), "Join": c.Join(context.Background(), a.Address()),
			} {
				if !errors.Is(err, concord.ErrAlreadyJoined) {
					errs = append(errs, fmt.Errorf("%s: %w", what, err))
				}
			}
			if err := c.Start(); !errors.Is(err, concord.ErrStarted) {
				errs = append(errs, err)
			}
			done <- errors.Join(errs...)
		}
	})
	close(ready)
	join(t, c, a.Address())
	if err := receive(t, done, patience, "the call"); err != nil {
		t.Error(err)
	}
	awaitIdeal(t, []*concord.Concord{a, c})
}

func TestStopInCallback(t *testing.T) {
	for what, end := range map[string]func(*concord.Concord) error{
		"Stop":             func(c *concord.Concord) error { return c.Stop() },
		"Leave":            func(c *concord.Concord) error { return c.Leave(context.Background()) },
		"Leave, then Stop": func(c *concord.Concord) error { return errors.Join(c.Leave(context.Background()), c.Stop()) },
		"Stop and Start": func(c *concord.Concord) error {
			return errors.Join(c.Stop(), c.Start(), c.Stop())
		},
	} {
		t.Run(what, func(t *testing.T) {
			a := create(t, "a")
			var c *concord.Concord
			ready, done := make(chan struct{}), make(chan error, 8)
			c = start(t, "c", func(cfg *concord.Config) {
				cfg.OnRangeChange = func(concord.Range) {
					<-ready
					done <- end(c)
				}
			})
			close(ready)
			// The member may be gone again before Join returns.
			if err := joinOrStopped(t, c, a.Address()); err != nil {
				t.Error(err)
			}
			if err := receive(t, done, patience, what); err != nil {
				t.Error(err)
			}
			phase(t, c, "stopped")
			awaitIdeal(t, []*concord.Concord{a})
			if len(done) > 0 {
				t.Error("called again")
			}
		})
	}
}

func joinOrStopped(t *testing.T, c *concord.Concord, addr string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Join(ctx, addr); err != nil && !errors.Is(err, concord.ErrStopped) {
		return err
	}
	return nil
}

func TestCallbackThatBlocksHoldsUpNothing(t *testing.T) {
	var recorded calls
	release, entered := make(chan struct{}), make(chan struct{}, 100)
	a := create(t, "a", func(cfg *concord.Config) {
		cfg.OnRangeChange = func(r concord.Range) {
			entered <- struct{}{}
			<-release
			recorded.add(r)
		}
	})
	receive(t, entered, patience, "the first call")
	// Its range changes several times while the call blocks.
	members := []*concord.Concord{a}
	for i := range 8 {
		c := start(t, fmt.Sprintf("member%d", i))
		join(t, c, a.Address())
		members = append(members, c)
	}
	awaitIdeal(t, members)
	for i := range 20 {
		key := fmt.Sprintf("key%d", i)
		for _, c := range members {
			if got, want := lookup(t, c, key), ownerOf(members, idOf(key)); got != want {
				t.Errorf("%s: %q: %v, want %v", c.Name(), key, got, want)
			}
		}
	}
	if len(entered) > 0 {
		t.Error("called during a call")
	}
	close(release)
	recorded.last(t, a)
	if got := recorded.all(); len(got) > 2 {
		t.Errorf("not merged: %v", got)
	}
}

func TestStopDoesNotWaitForCallbackThatBlocks(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 100)
	c := create(t, "c", func(cfg *concord.Config) {
		cfg.OnRangeChange = func(concord.Range) {
			entered <- struct{}{}
			<-release
		}
	})
	receive(t, entered, patience, "the call")
	within(t, patience, "Stop", func() { c.Stop() })
	close(release)
	if len(entered) > 0 {
		t.Error("called again")
	}
}

func TestNoCallBeginsAfterStop(t *testing.T) {
	for what, end := range map[string]func(*concord.Concord){
		"Stop":  func(c *concord.Concord) { c.Stop() },
		"Leave": func(c *concord.Concord) { c.Leave(t.Context()) },
	} {
		for round := range 15 {
			var over atomic.Bool
			var late atomic.Int32
			a := create(t, "a", func(cfg *concord.Config) {
				cfg.OnRangeChange = func(concord.Range) {
					if over.Load() {
						late.Add(1)
					}
				}
			})
			b := start(t, "b")
			joined := make(chan struct{})
			go func() {
				defer close(joined)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				b.Join(ctx, a.Address()) // changes the range of a
			}()
			if round%3 == 0 {
				poll(2*time.Millisecond, func() error { return errors.New("wait") })
			}
			end(a)
			over.Store(true)
			<-joined
			b.Stop()
			if n := late.Load(); n > 0 {
				t.Errorf("%s: %d calls after it", what, n)
			}
		}
	}
}

func TestStopAndLeaveCauseNoCall(t *testing.T) {
	for what, end := range map[string]func(*concord.Concord) error{
		"Stop":  func(c *concord.Concord) error { return c.Stop() },
		"Leave": func(c *concord.Concord) error { return c.Leave(t.Context()) },
	} {
		var recorded calls
		c := create(t, "c", recorded.hook)
		recorded.last(t, c)
		if err := end(c); err != nil {
			t.Error(err)
		}
		if got := recorded.all(); len(got) != 1 {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestEveryStartHasItsCall(t *testing.T) {
	var recorded calls
	c := create(t, "c", recorded.hook)
	for session := 1; session <= 4; session++ {
		eventually(t, func() error {
			if got := recorded.all(); len(got) != session {
				return fmt.Errorf("session %d: %v", session, got)
			}
			return nil
		})
		c.Stop()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCallsOfTwoLivesDoNotOverlap(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	var open, most atomic.Int32
	c := create(t, "c", func(cfg *concord.Config) {
		cfg.OnRangeChange = func(concord.Range) {
			most.Store(max(most.Load(), open.Add(1)))
			entered <- struct{}{}
			<-release
			open.Add(-1)
		}
	})
	receive(t, entered, patience, "the first call")
	c.Stop()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(); err != nil {
		t.Fatal(err)
	}
	close(release)
	receive(t, entered, patience, "the call after the second Start")
	if most.Load() > 1 {
		t.Error("two calls at once")
	}
}

// reentrant is a log handler that calls the member that logs.
type reentrant struct {
	c *atomic.Pointer[concord.Concord]
}

func (h reentrant) Enabled(context.Context, slog.Level) bool { return true }
func (h reentrant) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h reentrant) WithGroup(string) slog.Handler            { return h }
func (h reentrant) Handle(context.Context, slog.Record) error {
	if c := h.c.Load(); c != nil {
		c.Reject(nil, concord.Server{Name: "x", Address: "y"})
		c.Stop()
	}
	return nil
}

func TestLogHandlerMayCallTheMember(t *testing.T) {
	var p atomic.Pointer[concord.Concord]
	c := start(t, "a", func(cfg *concord.Config) { cfg.LogHandler = reentrant{&p} })
	p.Store(c)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Create() }()
	receive(t, done, patience, "Create")
	eventually(t, func() error {
		if _, err := c.Lookup([]byte("k")); !errors.Is(err, concord.ErrStopped) {
			return fmt.Errorf("not stopped by its log handler: %w", err)
		}
		return nil
	})
}
