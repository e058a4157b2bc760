package concord_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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
		gained, lost := in(e.Gained), in(e.Lost)
		if gained && !after || after && !before && !gained || before && !after && !lost || lost && after && !gained {
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
			{Has: true, New: whole, Gained: []concord.Range{whole}, Epoch: 1, Cause: concord.CauseCreated},
			{Had: true, Has: true, Old: whole, New: ours, Lost: []concord.Range{theirs}, To: server, Epoch: 1, Cause: concord.CausePredecessorJoined},
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

// A member that nobody reaches takes itself for a ring of one, while its successor
// answers for its range. When it is back it is told of all of its range, and who has
// it. What a member is told that hung with all that it is, the next test shows, and
// TestStoppedMemberIsTold with processes.
func TestMemberThatWasCutOffIsTold(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(seed)
			members := newMemoryRing(t, network, 4)
			awaitIdeal(t, members)
			time.Sleep(5 * time.Second)
			var watchers []*watcher
			for _, m := range members {
				watchers = append(watchers, watch(t, t.Context(), m, 0))
			}
			synctest.Wait()
			who, own := members[1], members[1].Range()
			heir := who.Successors()[0]
			network.Pause(who.Address())
			time.Sleep(8 * time.Second)
			network.Resume(who.Address())
			awaitIdeal(t, members)
			time.Sleep(20 * time.Second)
			synctest.Wait()

			_, _, events, _ := watchers[1].state()
			told := slices.ContainsFunc(events[1:], func(e concord.Event) bool {
				return e.Has && e.From == heir && slices.ContainsFunc(e.Gained, func(r concord.Range) bool { return r == own || r.Start == r.End })
			})
			if !told {
				t.Errorf("seed %d: %s saw %+v, nothing of %v from %s", seed, who.Name(), events[1:], own, heir.Name)
			}
			for _, m := range members {
				m.Stop()
			}
		})
	}
}

// A member hangs: it answers nothing, and hears no answers. Its successor answers for
// its range meanwhile. When it goes on its range is what it was, and it is told of it
// all the same.
func TestMemberThatHungIsToldThoughItsRangeIsTheSame(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(seed)
			var hung atomic.Pointer[chan struct{}]
			stand := func(ctx context.Context, _ concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
				if until := hung.Load(); until != nil {
					<-*until
				}
				return ctx, nil
			}
			var told calls
			members := newMemoryRing(t, network, 3)
			who := memoryMember(t, network, "who", told.hook, func(cfg *concord.Config) {
				cfg.Observer = &concord.Observer{Request: stand, Serve: stand}
			})
			join(t, who, members[0].Address())
			members = append(members, who)
			awaitIdeal(t, members)
			time.Sleep(5 * time.Second)
			w := watch(t, t.Context(), who, 0)
			synctest.Wait()
			own, heir, calls := who.Range(), who.Successors()[0], len(told.all())

			until := make(chan struct{})
			hung.Store(&until)
			time.Sleep(8 * time.Second)
			if i := slices.IndexFunc(members, func(m *concord.Concord) bool { return m.Name() == heir.Name }); !members[i].Range().Contains(own.End) {
				t.Fatalf("the test tests nothing: %s does not answer for %v", heir.Name, own)
			}
			hung.Store(nil)
			close(until)
			awaitIdeal(t, members)
			time.Sleep(20 * time.Second)
			synctest.Wait()
			_, _, events, _ := w.state()
			want := concord.Event{Had: true, Has: true, Old: own, New: own, Gained: []concord.Range{own}, Lost: []concord.Range{own}, From: heir, Cause: concord.CauseResumed}
			want.Epoch, _ = who.OwnsEpoch([]byte("who"))
			if len(events) != 2 || fmt.Sprint(events[1]) != fmt.Sprint(want) {
				t.Errorf("seed %d: %+v, want\n%+v", seed, events[1:], want)
			}
			if now := told.all(); len(now) != calls+1 || now[calls] != own {
				t.Errorf("seed %d: OnRangeChange was called with %v, want %v once", seed, now[calls:], own)
			}
			for _, m := range members {
				m.Stop()
			}
		})
	}
}

func TestRangeLostAndRegainedDuringASlowLoopBodyIsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		a, b := memoryMember(t, network, "a"), memoryMember(t, network, "b")
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		w := watch(t, t.Context(), a, time.Minute)
		synctest.Wait()
		join(t, b, a.Address())
		awaitIdeal(t, []*concord.Concord{a, b})
		time.Sleep(5 * time.Second)
		b.Stop()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		whole := concord.Range{Start: a.Id(), End: a.Id()}
		theirs := []concord.Range{{Start: a.Id(), End: b.Id()}}
		want := concord.Event{Had: true, Has: true, Old: whole, New: whole, Gained: theirs, Lost: theirs, Cause: concord.CauseAlone}
		want.Epoch, _ = a.OwnsEpoch([]byte("a"))
		if _, _, got, _ := w.state(); len(got) != 2 || fmt.Sprint(got[1]) != fmt.Sprint(want) {
			t.Errorf("got\n%+v, want\n%+v", got[1:], want)
		}
		a.Stop()
	})
}

// What is lost may belong to several members, of which To is the nearest.
func TestEventOfTwoJoinsNamesThePredecessorOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		a, b, c := memoryMember(t, network, "a"), memoryMember(t, network, "b"), memoryMember(t, network, "c")
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		w := watch(t, t.Context(), a, time.Minute)
		synctest.Wait()
		join(t, b, a.Address())
		join(t, c, a.Address())
		awaitIdeal(t, []*concord.Concord{a, b, c})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		_, _, events, _ := w.state()
		before, _ := a.Predecessor()
		if e := events[len(events)-1]; len(e.Lost) != 1 || !e.Lost[0].Contains(b.Id()) || !e.Lost[0].Contains(c.Id()) || e.To != before {
			t.Errorf("%+v, want what b and c have to be lost, to %v", e, before)
		}
		for _, m := range []*concord.Concord{a, b, c} {
			m.Stop()
		}
	})
}

func TestEventOfAJoinNamesTheHolderOfTheData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 4)
		late := memoryMember(t, network, "late")
		w := watch(t, t.Context(), late, 0)
		synctest.Wait()
		join(t, late, members[0].Address())
		awaitIdeal(t, append(slices.Clone(members), late))
		synctest.Wait()
		_, _, events, _ := w.state()
		if len(events) == 0 || events[0].Cause != concord.CauseJoined || events[0].From != late.Successors()[0] {
			t.Errorf("%+v, want the first to be from %v", events, late.Successors()[0])
		}
		// What a member had that crashes, nobody is known to have.
		heir := late.Successors()[0]
		k := slices.IndexFunc(members, func(m *concord.Concord) bool { return m.Name() == heir.Name })
		v := watch(t, t.Context(), members[k], 0)
		synctest.Wait()
		late.Stop()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		_, _, events, _ = v.state()
		if e := events[len(events)-1]; e.Cause != concord.CausePredecessorFailed || len(e.Gained) != 1 || e.From != (concord.Server{}) {
			t.Errorf("after the crash of %s: %+v", late.Name(), e)
		}
		for _, m := range members {
			m.Stop()
		}
	})
}

func TestNothingIsInNoRange(t *testing.T) {
	for _, id := range []uint64{0, 1, 1 << 63, 1<<64 - 1} {
		if (concord.Range{}).Contains(id) {
			t.Errorf("%d is in the zero Range", id)
		}
		if !(concord.Range{Start: 7, End: 7}).Contains(id) {
			t.Errorf("%d is not in the whole circle", id)
		}
	}
	if r := (concord.Range{Start: 5}); !r.Contains(0) || !r.Contains(6) || r.Contains(5) {
		t.Errorf("%v is not what comes after 5, up to 0", r)
	}
}

// Alone with the identifier 0 a member has the whole circle, and not the zero Range.
func TestWholeCircleOfTheMemberZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		var told calls
		c := memoryMember(t, network, "zero", func(cfg *concord.Config) {
			cfg.HashFunc = func(b []byte) uint64 {
				if string(b) == "zero" {
					return 0
				}
				return uint64(len(b))
			}
			cfg.OnRangeChange = told.add
		})
		w := watch(t, t.Context(), c, 0)
		synctest.Wait()
		if r := c.Range(); r != (concord.Range{}) || r.Contains(0) {
			t.Errorf("in no ring the range is %v", r)
		}
		if err := c.Create(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_, _, events, _ := w.state()
		if len(events) != 1 || len(told.all()) != 1 || c.Status().Range == nil {
			t.Fatalf("%+v, told %v, status %+v", events, told.all(), c.Status())
		}
		for _, r := range []concord.Range{c.Range(), events[0].New, events[0].Gained[0], told.all()[0], *c.Status().Range} {
			if r == (concord.Range{}) || !r.Contains(0) || !r.Contains(1) || !r.Contains(1<<40) {
				t.Errorf("%v is not the whole circle", r)
			}
		}
		c.Stop()
	})
}
