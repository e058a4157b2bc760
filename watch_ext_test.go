package concord_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// watcher applies the events of a member one after another.
type watcher struct {
	of    *concord.Concord
	pause time.Duration // in each

	mu     sync.Mutex
	has    bool
	now    concord.Range
	events []concord.Event
	ended  bool
}

func watch(t *testing.T, ctx context.Context, of *concord.Concord, pause time.Duration) *watcher {
	w := &watcher{of: of, pause: pause}
	go func() {
		for e := range of.Watch(ctx) {
			w.apply(t, e)
			time.Sleep(pause)
		}
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
	}()
	return w
}

// apply checks that an event follows from the one before, and tells all that has
// changed.
func (w *watcher) apply(t *testing.T, e concord.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Had != w.has || e.Had && e.Old != w.now {
		t.Errorf("%s: %+v after %v (%v)", w.of.Name(), e, w.now, w.has)
	}
	for _, id := range []uint64{e.Old.Start, e.Old.End, e.New.Start, e.New.End, e.Old.Start + 1, e.New.Start + 1, rand.Uint64(), rand.Uint64()} {
		in := func(ranges []concord.Range) bool {
			return slices.ContainsFunc(ranges, func(r concord.Range) bool { return r.Contains(id) })
		}
		before, after := e.Had && e.Old.Contains(id), e.Has && e.New.Contains(id)
		if in(e.Gained) != (after && !before) || in(e.Lost) != (before && !after) {
			t.Errorf("%s: %+v: %d was %v, is %v", w.of.Name(), e, id, before, after)
		}
	}
	if e.Cause == "" {
		t.Errorf("%s: %+v has no cause", w.of.Name(), e)
	}
	w.has, w.now = e.Has, e.New
	w.events = append(w.events, e)
}

func (w *watcher) state() (concord.Range, bool, []concord.Event, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now, w.has, slices.Clone(w.events), w.ended
}

func TestEventsAppliedGiveTheRange(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			network := memory.NewNetwork(seed)
			var watchers []*watcher
			ctx, cancel := context.WithCancel(t.Context())
			members := newMemoryRing(t, network, 3)
			for _, m := range members {
				watchers = append(watchers, watch(t, ctx, m, 0), watch(t, ctx, m, 700*time.Millisecond))
			}
			for i := range 24 {
				time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
				if len(members) > 3 && rng.IntN(2) == 0 {
					k := 1 + rng.IntN(len(members)-1)
					if rng.IntN(2) == 0 {
						members[k].Stop()
					} else if err := members[k].Leave(t.Context()); err != nil {
						t.Fatal(err)
					}
					members = slices.Delete(members, k, k+1)
					continue
				}
				m := memoryMember(t, network, fmt.Sprintf("late%d", i))
				watchers = append(watchers, watch(t, ctx, m, 0), watch(t, ctx, m, 2*time.Second))
				join(t, m, members[0].Address())
				members = append(members, m)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			for _, w := range watchers {
				now, has, events, ended := w.state()
				if alive := slices.Contains(members, w.of); ended == alive {
					t.Errorf("%s: alive %v, its watch has ended %v", w.of.Name(), alive, ended)
				} else if alive && (!has || now != w.of.Range()) {
					t.Errorf("%s (pause %v): by its events %v (%v), by Range %v", w.of.Name(), w.pause, now, has, w.of.Range())
				}
				if len(events) == 0 {
					t.Errorf("%s: no event", w.of.Name())
				}
			}
			cancel()
			synctest.Wait()
			for _, w := range watchers {
				if _, _, _, ended := w.state(); !ended {
					t.Errorf("%s: goes on without its context", w.of.Name())
				}
			}
			for _, m := range members {
				m.Stop()
			}
		})
	}
}

func TestEventSaysFromWhomAndToWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		a := memoryMember(t, network, "a")
		w := watch(t, t.Context(), a, 0)
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b := memoryMember(t, network, "b")
		join(t, b, a.Address())
		awaitIdeal(t, []*concord.Concord{a, b})
		time.Sleep(5 * time.Second)
		if err := b.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		whole := concord.Range{Start: a.Id(), End: a.Id()}
		theirs, ours := concord.Range{Start: a.Id(), End: b.Id()}, concord.Range{Start: b.Id(), End: a.Id()}
		server := concord.Server{Name: "b", Id: b.Id(), Address: "b:1"}
		want := []concord.Event{
			{Has: true, New: whole, Gained: []concord.Range{whole}, Cause: concord.CauseCreated},
			{Had: true, Has: true, Old: whole, New: ours, Lost: []concord.Range{theirs}, To: server, Cause: concord.CausePredecessorJoined},
		}
		_, _, got, _ := w.state()
		if len(got) < 3 {
			t.Fatalf("%d events: %+v", len(got), got)
		}
		for i := range want {
			if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
				t.Errorf("event %d is\n%+v, want\n%+v", i, got[i], want[i])
			}
		}
		// There may be an instant without a predecessor, and without a range.
		if e := got[2]; e.Old != ours || e.Has && e.From != server {
			t.Errorf("event 2 is %+v", e)
		}
		if e := got[len(got)-1]; e.New != whole || e.Cause != concord.CauseAlone {
			t.Errorf("the last event is %+v", e)
		}
		a.Stop()
	})
}

func TestWatchOfAMemberThatIsNotStarted(t *testing.T) {
	for e := range concord.New(configure("a")).Watch(t.Context()) {
		t.Errorf("%+v", e)
	}
}
