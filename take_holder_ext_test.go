package concord_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// What is left of a range, when a part of it is lost during its Take, is taken from who held all.
func TestRestOfARangeIsTakenFromItsHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 4)
		slices.SortFunc(members, func(a, b *concord.Concord) int { return cmp.Compare(a.Id(), b.Id()) })
		leaver, heir := members[1], members[2]
		joiner := memoryMember(t, network, nameBefore(leaver))
		held := serverOf(leaver)
		var mu sync.Mutex
		var takes []concord.Range
		s := heir.Serve(t.Context(), concord.Handler{
			Take: func(ctx context.Context, gained concord.Range, from []concord.Server, _ uint64) error {
				if gained.Contains(heir.Id()) {
					return nil // its own, at first
				}
				mu.Lock()
				takes = append(takes, gained)
				first := len(takes) == 1
				mu.Unlock()
				if len(from) == 0 || from[0] != held {
					t.Errorf("Take of %v from %v, want %v first", gained, from, held)
				}
				if first {
					<-ctx.Done()
				}
				return ctx.Err()
			},
		})
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := leaver.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		join(t, joiner, heir.Address())
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		want := concord.Range{Start: joiner.Id(), End: leaver.Id()}
		if len(takes) != 2 || takes[1] != want {
			t.Errorf("taken were %v, want what is left in the end: %v", takes, want)
		}
		stopAll(append(members, joiner))
	})
}

// A Take that has begun before the member owned the range, and ends after that, is followed by a
// CatchUp from who held the range: here, the member itself at another identifier.
func TestCatchUpAfterALateTakeIsFromTheHolder(t *testing.T) {
	for _, needsRing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := memoryMember(t, memory.NewNetwork(1), "m", func(c *concord.Config) {
				c.VirtualNodes = 2
				c.TakeoverTimeout = time.Second
			})
			var mu sync.Mutex
			calls := map[string]int{}
			called := func(what string, r concord.Range, from []concord.Server) {
				mu.Lock()
				defer mu.Unlock()
				if r.End == m.Range().End { // nobody had it before
					return
				}
				if calls[what]++; !slices.Equal(from, []concord.Server{serverOf(m)}) {
					t.Errorf("%s of %v from %v, want the member itself", what, r, from)
				}
			}
			s := m.Serve(t.Context(), concord.Handler{
				Take: func(_ context.Context, r concord.Range, from []concord.Server, _ uint64) error {
					called("take", r, from)
					if slices.ContainsFunc(m.Ranges(), func(x concord.Range) bool { return x.End == r.End }) {
						return nil // it owns the range
					}
					time.Sleep(3 * time.Second)
					if needsRing {
						return concord.ErrNotJoined
					}
					return nil
				},
				CatchUp: func(_ context.Context, r concord.Range, from []concord.Server, _ uint64) error {
					called("catch up", r, from)
					return nil
				},
			})
			if err := m.Create(); err != nil {
				t.Fatal(err)
			}
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"take": 1, "catch up": 1}
			if needsRing {
				want = map[string]int{"take": 2}
			}
			mu.Lock()
			defer mu.Unlock()
			if !maps.Equal(calls, want) {
				t.Errorf("calls %v, want %v", calls, want)
			}
			m.Stop()
		})
	}
}

// Identifiers that a member comes to have after Serve begin with changes that come together: who
// held what they gain is known all the same.
func TestAllIdentifiersOfAFounderAreTakenFromItself(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			m := memoryMember(t, memory.NewNetwork(seed), "m", func(c *concord.Config) { c.VirtualNodes = 16 })
			from := func(what string) func(context.Context, concord.Range, []concord.Server, uint64) error {
				return func(_ context.Context, r concord.Range, from []concord.Server, _ uint64) error {
					if r.End != m.Range().End && !slices.Equal(from, []concord.Server{serverOf(m)}) {
						t.Errorf("seed %d: %s of %v from %v, want the member itself", seed, what, r, from)
					}
					if share := m.Status().Share; share > 1 { // two identifiers have the same part
						t.Errorf("seed %d: the share is %v", seed, share)
					}
					return nil
				}
			}
			s := m.Serve(t.Context(), concord.Handler{Take: from("Take"), CatchUp: from("CatchUp")})
			if err := m.Create(); err != nil {
				t.Fatal(err)
			}
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.Stop()
		})
	}
}

// A Service that begins when the member has its range takes that from the successors. Who has
// handed a part of it over once may be gone.
func TestServiceThatBeginsLateDoesNotTakeFromWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		members := newMemoryRing(t, memory.NewNetwork(1), 4)
		slices.SortFunc(members, func(a, b *concord.Concord) int { return cmp.Compare(a.Id(), b.Id()) })
		leaver, heir := members[1], members[2]
		gone := serverOf(leaver)
		if err := leaver.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		s := heir.Serve(t.Context(), concord.Handler{
			Take: func(_ context.Context, r concord.Range, from []concord.Server, _ uint64) error {
				if slices.Contains(from, gone) {
					t.Errorf("Take of %v from %v, of which %v has left", r, from, gone)
				}
				return nil
			},
		})
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		stopAll(members)
	})
}
