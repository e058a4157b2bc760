package concord_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// A joiner takes its range while its successor serves that, and then takes over at once.
func TestJoinerTakesOverWhileTheOwnerServes(t *testing.T) {
	for _, lease := range []time.Duration{0, 10 * time.Second} {
		t.Run(fmt.Sprint("lease ", lease), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				withLease := func(cfg *concord.Config) { cfg.Lease = lease }
				network := memory.NewNetwork(1)
				network.Delay(time.Millisecond, time.Millisecond)
				members := newMemoryRing(t, network, 4, withLease)
				var takers []*taker
				for _, m := range members {
					takers = append(takers, serve(t, m, 100*time.Millisecond))
				}
				time.Sleep(3 * lease)
				time.Sleep(time.Second)
				joiner := memoryMember(t, network, nameBefore(members[0]), withLease)
				key := []byte(joiner.Name())
				j := serve(t, joiner, 5*time.Second)
				takers = append(takers, j)
				before := time.Now()
				joined := make(chan error, 1)
				go func() { joined <- joiner.Join(t.Context(), members[1].Address()) }()
				var unserved, most time.Duration
				for range 8000 {
					time.Sleep(time.Millisecond)
					n := 0
					for _, k := range takers {
						if _, ok := k.s.Serves(key); ok {
							n++
						}
					}
					if unserved += time.Millisecond; n > 0 {
						unserved = 0
					}
					most = max(most, unserved)
					if n > 1 {
						t.Errorf("%d members serve one key", n)
					}
				}
				if err := <-joined; err != nil {
					t.Fatal(err)
				}
				if most > 10*time.Millisecond {
					t.Errorf("nobody serves for %v", most)
				}
				if j.calls() != "take" || !j.servesAll() || time.Since(before) < 5*time.Second {
					t.Errorf("the joiner: calls %q, %+v", j.calls(), j.s.Status())
				}
				if want := append([]concord.Server{serverOf(members[0])}, slices.DeleteFunc(members[0].Successors(), func(s concord.Server) bool { return s == serverOf(joiner) })...); !slices.Equal(j.from, want) {
					t.Errorf("taken from %v, want %v", j.from, want)
				}
				if k := takers[0]; k.calls() != "take release" || !k.servesAll() {
					t.Errorf("its successor: calls %q, %+v", k.calls(), k.s.Status())
				}
				stopAll(append(members, joiner))
			})
		})
	}
}

// After TakeoverTimeout a member joins without, and the Take goes on.
func TestJoinDoesNotWaitLongerThanTakeoverTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 3)
		joiner := memoryMember(t, network, nameBefore(members[0]), func(cfg *concord.Config) { cfg.TakeoverTimeout = 2 * time.Second })
		j := serve(t, joiner, 5*time.Second)
		began := time.Now()
		join(t, joiner, members[1].Address())
		if took := time.Since(began); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("Join took %v", took)
		}
		if _, ok := j.s.Serves([]byte(joiner.Name())); ok {
			t.Error("serves what it has not taken")
		}
		time.Sleep(4 * time.Second)
		if j.calls() != "take" || !j.servesAll() {
			t.Errorf("calls %q, %+v", j.calls(), j.s.Status())
		}
		stopAll(append(members, joiner))
	})
}

// The deadline of Join leaves time for the join itself.
func TestTakeLeavesTimeToJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 3)
		joiner := memoryMember(t, network, nameBefore(members[0]))
		j := serve(t, joiner, time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		if err := joiner.Join(ctx, members[1].Address()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 2*time.Second || took > 3*time.Second {
			t.Errorf("Join took %v", took)
		}
		stopAll(append(members, joiner))
		<-j.s.Done()
	})
}

// If the successor crashes while the joiner takes, the joiner joins before the next one, and
// prepares again, for all that it owns then.
func TestSuccessorFailsWhileAJoinerTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 4)
		joiner := memoryMember(t, network, nameBefore(members[0]))
		j := serve(t, joiner, 3*time.Second)
		joined := make(chan error, 1)
		go func() { joined <- joiner.Join(t.Context(), members[1].Address()) }()
		time.Sleep(time.Second)
		members[0].Stop()
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
		live := append(slices.Clone(members[1:]), joiner)
		awaitIdeal(t, live)
		time.Sleep(4 * time.Second)
		if !j.servesAll() {
			t.Errorf("calls %q, %+v", j.calls(), j.s.Status())
		}
		stopAll(live)
	})
}

// A joiner that crashes while it takes leaves no trace: its successor has served all the time.
func TestJoinerFailsWhileItTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 3)
		k := serve(t, members[0], 0)
		joiner := memoryMember(t, network, nameBefore(members[0]))
		key := []byte(joiner.Name())
		serve(t, joiner, 5*time.Second)
		joined := make(chan error, 1)
		go func() { joined <- joiner.Join(t.Context(), members[1].Address()) }()
		for i := range 5000 {
			if i == 3000 {
				joiner.Stop()
			}
			time.Sleep(time.Millisecond)
			if _, ok := k.s.Serves(key); !ok {
				t.Fatalf("the successor does not serve after %d ms", i)
			}
		}
		if err := <-joined; !errors.Is(err, concord.ErrStopped) {
			t.Errorf("Join: %v", err)
		}
		if k.calls() != "take" {
			t.Errorf("the successor: calls %q", k.calls())
		}
		stopAll(members)
	})
}

// A Take that has failed before the member owned the range is called again by its epoch.
func TestTakeThatFailsIsCalledAgainByTheEpochOfTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 3)
		joiner := memoryMember(t, network, nameBefore(members[0]), func(cfg *concord.Config) { cfg.TakeoverTimeout = time.Second })
		key := []byte(joiner.Name())
		s := joiner.Serve(t.Context(), concord.Handler{
			Take: func(_ context.Context, _ concord.Range, _ []concord.Server, epoch uint64) error {
				if owned, ok := joiner.OwnsEpoch(key); !ok || owned != epoch {
					return fmt.Errorf("by the epoch %d, owned by %d", epoch, owned)
				}
				return nil
			},
		})
		join(t, joiner, members[1].Address())
		time.Sleep(10 * time.Second)
		if _, ok := s.Serves(key); !ok {
			t.Errorf("does not serve: %v", s.Status().Err)
		}
		stopAll(append(members, joiner))
	})
}

// CatchUp is called once nobody else serves the range, and Take again if it fails.
func TestCatchUpAfterAJoin(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(1)
			members := newMemoryRing(t, network, 3)
			k := serve(t, members[0], 0)
			joiner := memoryMember(t, network, nameBefore(members[0]))
			key := []byte(joiner.Name())
			var calls []string // made one after another
			s := joiner.Serve(t.Context(), concord.Handler{
				Take: func(_ context.Context, _ concord.Range, _ []concord.Server, epoch uint64) error {
					calls = append(calls, "take")
					if owned, ok := joiner.OwnsEpoch(key); ok && owned != epoch {
						t.Errorf("Take by the epoch %d, owned by %d", epoch, owned)
					}
					return nil
				},
				CatchUp: func(_ context.Context, r concord.Range, from []concord.Server, epoch uint64) error {
					calls = append(calls, "catch up")
					if owned, ok := joiner.OwnsEpoch(key); !ok || owned != epoch || !r.Contains(joiner.Id()) {
						t.Errorf("CatchUp of %v by %d; owned %v by %d", r, epoch, ok, owned)
					}
					if len(from) == 0 || from[0] != serverOf(members[0]) {
						t.Errorf("CatchUp from %v", from)
					}
					if _, ok := k.s.Serves(key); ok {
						t.Error("the old owner serves during CatchUp")
					}
					if fails {
						return errors.New("no answer")
					}
					return nil
				},
			})
			join(t, joiner, members[1].Address())
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := []string{"take", "catch up"}
			if fails {
				want = append(want, "take")
			}
			if !slices.Equal(calls, want) {
				t.Errorf("calls %q, want %q", calls, want)
			}
			stopAll(append(members, joiner))
		})
	}
}

// A time-out as long as can be is not one that is over at once.
func TestJoinThatWaitsForTakeForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 2)
		joiner := memoryMember(t, network, nameBefore(members[0]), func(c *concord.Config) { c.TakeoverTimeout = math.MaxInt64 })
		s := joiner.Serve(t.Context(), concord.Handler{Take: func(context.Context, concord.Range, []concord.Server, uint64) error {
			time.Sleep(5 * time.Minute)
			if joiner.Joined() {
				t.Error("the member has joined before")
			}
			return nil
		}})
		if err := joiner.Join(context.Background(), members[0].Address()); err != nil {
			t.Error(err)
		}
		stopAll(append(members, joiner))
		<-s.Done()
	})
}

// A Take that looks keys up cannot prepare; the member joins at once.
func TestTakeThatNeedsARing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 3)
		joiner := memoryMember(t, network, nameBefore(members[0]))
		calls := 0
		s := joiner.Serve(t.Context(), concord.Handler{
			Take: func(context.Context, concord.Range, []concord.Server, uint64) error {
				calls++
				_, err := joiner.Lookup([]byte("key"))
				return err
			},
		})
		began := time.Now()
		join(t, joiner, members[1].Address())
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second || calls != 2 {
			t.Errorf("%d calls in %v", calls, took)
		}
		stopAll(append(members, joiner))
	})
}
