package concord_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// taker is a program that serves what it has taken, and checks how it is called.
type taker struct {
	t      *testing.T
	of     *concord.Concord
	copies time.Duration // how long a Take takes
	s      *concord.Service

	mu     sync.Mutex
	busy   []concord.Range // what a call is being made for
	served []concord.Range // taken and not released
	log    []string
	fails  int // the next so many Takes
	from   []concord.Server
	to     []concord.Server
}

func serve(t *testing.T, of *concord.Concord, copies time.Duration) *taker {
	k := &taker{t: t, of: of, copies: copies}
	k.s = of.Serve(t.Context(), concord.Handler{Take: k.take, Release: k.release})
	return k
}

// begin notes a call. No other may be made for any key of its range meanwhile.
func (k *taker) begin(what string, r concord.Range) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, x := range k.busy {
		if len(x.Intersect(r)) > 0 {
			k.t.Errorf("%s: %s of %v during a call for %v", k.of.Name(), what, r, x)
		}
	}
	k.busy = append(k.busy, r)
	k.log = append(k.log, what)
}

func (k *taker) end(r concord.Range) {
	k.busy = slices.Delete(k.busy, slices.Index(k.busy, r), slices.Index(k.busy, r)+1)
}

func (k *taker) take(ctx context.Context, r concord.Range, from []concord.Server, epoch uint64) error {
	k.begin("take", r)
	select {
	case <-time.After(k.copies):
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.end(r)
	k.from = from
	switch {
	case epoch == 0:
		k.t.Errorf("%s: Take of %v without an epoch", k.of.Name(), r)
	case ctx.Err() != nil:
		return ctx.Err()
	case k.fails > 0:
		k.fails--
		return errors.New("no data yet")
	}
	for _, x := range k.served {
		if len(x.Intersect(r)) > 0 {
			k.t.Errorf("%s: Take of %v, which holds a part of %v that is served", k.of.Name(), r, x)
		}
	}
	k.served = append(k.served, r)
	return nil
}

func (k *taker) release(_ context.Context, r concord.Range, to []concord.Server, epoch uint64) {
	k.begin("release", r)
	time.Sleep(k.copies / 2)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.end(r)
	k.to = to
	if epoch == 0 {
		k.t.Errorf("%s: Release of %v without an epoch", k.of.Name(), r)
	}
	var left []concord.Range
	found := false
	for _, x := range k.served {
		found = found || len(x.Intersect(r)) > 0
		left = append(left, x.Minus(r)...)
	}
	if !found {
		k.t.Errorf("%s: Release of %v, which it does not serve", k.of.Name(), r)
	}
	k.served = left
}

// check holds Serves against what was taken.
func (k *taker) check() {
	key := fmt.Append(nil, "key ", rand.Uint64())
	epoch, ok := k.s.Serves(key)
	owned, owns := k.of.OwnsEpoch(key)
	k.mu.Lock()
	defer k.mu.Unlock()
	id := k.of.KeyID(key)
	taken := slices.ContainsFunc(k.served, func(r concord.Range) bool { return r.Contains(id) })
	if ok && (!owns || epoch != owned || !taken) {
		k.t.Errorf("%s serves %x by the epoch %d; owned %v by %d, taken %v", k.of.Name(), id, epoch, owns, owned, taken)
	}
}

func (k *taker) calls() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.log, " ")
}

func (k *taker) servesAll() bool {
	st := k.s.Status()
	r := k.of.Range()
	for _, x := range st.Served {
		rest := r.Minus(x)
		if len(rest) == 0 {
			return len(st.Taking) == 0
		}
		r = rest[0]
	}
	return false
}

func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 3)
		own := []byte(members[0].Name())
		k := serve(t, members[0], time.Second)
		synctest.Wait()
		if _, ok := k.s.Serves(own); ok || !members[0].Owns(own) {
			t.Error("serves a key before Take has returned, or does not own it")
		}
		if st := k.s.Status(); len(st.Served) != 0 || !slices.Equal(st.Taking, []concord.Range{members[0].Range()}) {
			t.Errorf("status %+v", st)
		}
		time.Sleep(1001 * time.Millisecond)
		if epoch, ok := k.s.Serves(own); !ok || epoch == 0 || !k.servesAll() {
			t.Errorf("after Take: %d, %v, %+v", epoch, ok, k.s.Status())
		}
		if !slices.Equal(k.from, members[0].Successors()) {
			t.Errorf("taken from %v, want the successors", k.from)
		}

		// A member that joins gets its part from its successor, which goes on with the rest.
		joiner := memoryMember(t, network, nameBefore(members[0]))
		join(t, joiner, members[0].Address())
		j := serve(t, joiner, time.Second)
		awaitIdeal(t, append(slices.Clone(members), joiner))
		time.Sleep(2 * time.Second)
		if k.calls() != "take release" || !k.servesAll() || len(k.to) != 1 || k.to[0].Name != joiner.Name() {
			t.Errorf("the successor of a joiner: calls %q, to %v, %+v", k.calls(), k.to, k.s.Status())
		}
		if j.calls() != "take" || !j.servesAll() || len(j.from) == 0 || j.from[0].Name != members[0].Name() {
			t.Errorf("a joiner: calls %q, from %v, %+v", j.calls(), j.from, j.s.Status())
		}

		// Leave waits for Release, and the successor takes the rest from it.
		before := time.Now()
		if err := joiner.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(before); took < 500*time.Millisecond || j.calls() != "take release" || len(j.to) == 0 || j.to[0].Name != members[0].Name() {
			t.Errorf("Leave took %v; calls %q, to %v", took, j.calls(), j.to)
		}
		<-j.s.Done()
		if _, ok := j.s.Serves([]byte(joiner.Name())); ok {
			t.Error("a member that has left serves a key")
		}
		time.Sleep(3 * time.Second)
		if k.calls() != "take release take" || !k.servesAll() {
			t.Errorf("the successor of a leaver: calls %q, from %v, %+v", k.calls(), k.from, k.s.Status())
		}
		stopAll(members)
		<-k.s.Done()
	})
}

// nameBefore is a name whose identifier lies in the range of m.
func nameBefore(m *concord.Concord) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("joiner", i); m.Owns([]byte(name)) {
			return name
		}
	}
}

func TestServeTakesAgainAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryRing(t, memory.NewNetwork(1), 1)[0]
		k := &taker{t: t, of: m, fails: 8}
		began := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		k.s = m.Serve(t.Context(), concord.Handler{Take: k.take, Release: k.release})
		if err := k.s.Wait(short); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("Wait: %v after %v", err, time.Since(began))
		}
		if err := k.s.Wait(t.Context()); err != nil {
			t.Errorf("Wait: %v", err)
		}
		if _, ok := k.s.Serves(nil); !ok {
			t.Error("does not serve a key after Wait")
		}
		// 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 5 + 5 s
		if took := time.Since(began).Round(100 * time.Millisecond); took != 16300*time.Millisecond {
			t.Errorf("served after %v", took)
		}
		if st := k.s.Status(); st.Failures != 8 || st.Err == nil || st.Err.Error() != "no data yet" || len(k.from) != 0 {
			t.Errorf("%+v, from %v", st, k.from)
		}
		m.Stop()
		<-k.s.Done()
	})
}

// A Take whose range has shrunk meanwhile ends, and another is made for the rest.
func TestServeTakesWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 2)
		k := serve(t, members[0], time.Minute)
		time.Sleep(time.Second)
		joiner := memoryMember(t, network, nameBefore(members[0]))
		join(t, joiner, members[0].Address())
		time.Sleep(30 * time.Second)
		if k.calls() != "take take" || k.servesAll() {
			t.Errorf("calls %q, %+v", k.calls(), k.s.Status())
		}
		time.Sleep(time.Minute)
		if k.calls() != "take take" || !k.servesAll() || k.s.Status().Failures != 0 {
			t.Errorf("calls %q, %+v", k.calls(), k.s.Status())
		}
		stopAll(append(members, joiner))
	})
}

// Whatever joins, crashes and is cut off, only what was taken and not lost is served, calls
// for a key are made one after another, and in the end all of the range is served.
func TestServeInARingThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(3)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		rng := rand.New(rand.NewPCG(7, 7))
		var members []*concord.Concord
		var takers []*taker
		add := func(m *concord.Concord) {
			members = append(members, m)
			takers = append(takers, serve(t, m, 400*time.Millisecond))
		}
		for _, m := range newMemoryRing(t, network, 8) {
			add(m)
		}
		for round := range 40 {
			switch rng.IntN(4) {
			case 0:
				m := memoryMember(t, network, fmt.Sprint("more", round))
				if m.Join(t.Context(), members[0].Address()) == nil {
					add(m)
				}
			case 1:
				if len(members) > 4 {
					i := 1 + rng.IntN(len(members)-1)
					members[i].Stop()
					<-takers[i].s.Done()
					members, takers = slices.Delete(members, i, i+1), slices.Delete(takers, i, i+1)
				}
			case 2:
				i := rng.IntN(len(members))
				var others []string
				for _, m := range members {
					if m != members[i] {
						others = append(others, m.Address())
					}
				}
				network.Partition([]string{members[i].Address()}, others)
			case 3:
				network.HealAll()
			}
			for range 100 {
				time.Sleep(30 * time.Millisecond)
				for _, k := range takers {
					k.check()
				}
			}
		}
		network.HealAll()
		awaitIdeal(t, members)
		time.Sleep(10 * time.Second)
		again := 0
		for _, k := range takers {
			if !k.servesAll() {
				t.Errorf("%s does not serve all of its range: %+v of %v", k.of.Name(), k.s.Status(), k.of.Range())
			}
			again += strings.Count(k.calls(), "release take")
		}
		if again == 0 {
			t.Error("the test tests nothing: nobody has taken again what it had released")
		}
		stopAll(members)
		for _, k := range takers {
			<-k.s.Done()
		}
	})
}

func TestServeOfAMemberThatDoesNotRun(t *testing.T) {
	m := concord.New(configure("member"))
	s := m.Serve(t.Context(), concord.Handler{})
	<-s.Done()
	if epoch, ok := s.Serves([]byte("key")); ok || epoch != 0 {
		t.Errorf("serves a key by the epoch %d", epoch)
	}
	if err := s.Wait(t.Context()); !errors.Is(err, concord.ErrNotStarted) {
		t.Errorf("Wait: %v", err)
	}
	if st := s.Status(); len(st.Served)+len(st.Taking) > 0 || st.Failures != 0 || st.Err != nil {
		t.Errorf("%+v", st)
	}
}

// Leave does not wait for Release longer than its context.
func TestLeaveWaitsForReleaseUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := newMemoryRing(t, memory.NewNetwork(1), 2)
		ended := make(chan error, 1)
		s := members[0].Serve(t.Context(), concord.Handler{Release: func(ctx context.Context, _ concord.Range, _ []concord.Server, _ uint64) {
			<-ctx.Done()
			ended <- ctx.Err()
		}})
		synctest.Wait()
		if _, ok := s.Serves([]byte(members[0].Name())); !ok {
			t.Error("without a Take the range is not served")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := members[0].Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Leave: %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Leave took %v", took)
		}
		<-s.Done()
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the context of Release ended with %v", err)
		}
		members[1].Stop()
	})
}

// A Service whose context has ended releases nothing when the member leaves; one that goes on does.
func TestLeaveReleasesOnlyWhatAServiceStillServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := newMemoryRing(t, memory.NewNetwork(1), 2)
		ctx, cancel := context.WithCancel(t.Context())
		ended, runs := &taker{t: t, of: members[0]}, &taker{t: t, of: members[0]}
		ended.s = members[0].Serve(ctx, concord.Handler{Take: ended.take, Release: ended.release})
		runs.s = members[0].Serve(t.Context(), concord.Handler{Take: runs.take, Release: runs.release})
		for _, k := range []*taker{ended, runs} {
			if err := k.s.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		cancel()
		<-ended.s.Done()
		wantErr(t, "Wait", ended.s.Wait(t.Context()), concord.ErrStopped)
		if err := members[0].Leave(t.Context()); err != nil {
			t.Error(err)
		}
		<-runs.s.Done()
		if ended.calls() != "take" || runs.calls() != "take release" {
			t.Errorf("calls %q of the one that had ended, %q of the other", ended.calls(), runs.calls())
		}
		stopAll(members)
	})
}

// Wait ends when the member is stopped, also while a Take goes on that ignores its context.
func TestWaitEndsBeforeATakeThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memoryMember(t, memory.NewNetwork(1), "m")
		goOn, taking := make(chan struct{}), make(chan struct{})
		s := m.Serve(t.Context(), concord.Handler{
			Take: func(context.Context, concord.Range, []concord.Server, uint64) error {
				close(taking)
				<-goOn
				return nil
			},
		})
		if err := m.Create(); err != nil {
			t.Fatal(err)
		}
		<-taking
		waited := make(chan error)
		go func() { waited <- s.Wait(t.Context()) }()
		synctest.Wait()
		stopped := make(chan error)
		go func() { stopped <- m.Stop() }()
		wantErr(t, "Wait", <-waited, concord.ErrStopped)
		select {
		case <-s.Done():
			t.Error("the Service is done before Take has returned")
		default:
		}
		close(goOn)
		<-s.Done()
		wantErr(t, "Stop", <-stopped, nil)
	})
}
