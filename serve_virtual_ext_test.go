package concord_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// Ranges pass from one identifier of a member to another, and to and from others: all that a member
// owns in the end is served, and was taken after it was released last.
func TestServeWithVirtualNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := concordtest.New(t, concordtest.Options{})
		m := r.Start(2, func(_ int, c *concord.Config) { c.VirtualNodes = 8 })[0]
		r.Settle(t.Context())
		var mu sync.Mutex
		var taken []concord.Range
		s := m.Serve(t.Context(), concord.Handler{
			Take: func(_ context.Context, gained concord.Range, _ []concord.Server, _ uint64) error {
				mu.Lock()
				defer mu.Unlock()
				taken = append(taken, gained)
				return nil
			},
			Release: func(_ context.Context, lost concord.Range, _ []concord.Server, _ uint64) {
				mu.Lock()
				defer mu.Unlock()
				var left []concord.Range
				for _, x := range taken {
					left = append(left, x.Minus(lost)...)
				}
				taken = left
			},
		})
		for _, weight := range []int{8, 16, 4, 12, 2} {
			if err := m.SetWeight(t.Context(), weight); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for _, key := range keys(200) {
				_, owns := m.OwnsEpoch(key)
				has := slices.ContainsFunc(taken, func(x concord.Range) bool { return x.Contains(m.KeyID(key)) })
				if _, ok := s.Serves(key); ok != owns || owns && !has {
					t.Errorf("weight %d: %q: owned %v, served %v, taken %v; %+v", weight, key, owns, ok, has, s.Status())
				}
			}
		}
	})
}

// A member that is alone loses nothing, whatever passes between its identifiers.
func TestMemberThatIsAloneReleasesNothing(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			m := memoryMember(t, memory.NewNetwork(seed), "m", func(c *concord.Config) { c.VirtualNodes = 16 })
			var released atomic.Int64
			m.Serve(t.Context(), concord.Handler{
				Release: func(context.Context, concord.Range, []concord.Server, uint64) { released.Add(1) },
			})
			if err := m.Create(); err != nil {
				t.Fatal(err)
			}
			for _, weight := range []int{16, 24, 8} {
				if err := m.SetWeight(t.Context(), weight); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				if n := released.Load(); n > 0 {
					t.Fatalf("weight %d: Release was called %d times", weight, n)
				}
			}
			m.Stop()
		})
	}
}

// When its isolation ends, a member has lost what it served at each of its identifiers.
func TestMemberThatWasIsolatedReleasesAllItServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := concordtest.New(t, concordtest.Options{Config: concord.Config{VirtualNodes: 4, MinMembers: 2}})
		members := r.Start(2, nil)
		r.Settle(t.Context())
		m := members[0]
		var released atomic.Int64
		s := m.Serve(t.Context(), concord.Handler{
			Release: func(context.Context, concord.Range, []concord.Server, uint64) { released.Add(1) },
		})
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		served := len(m.Ranges())
		r.Kill(members[1])
		time.Sleep(time.Minute)
		r.Restart(members[1])
		r.Settle(t.Context())
		if got := int(released.Load()); served < 4 || got < served {
			t.Errorf("Release was called %d times, for %d ranges", got, served)
		}
	})
}

// Data that Release hands to the first of to and then deletes is always at the owner: a member that
// gives up an identifier releases what it has there while it owns it.
func TestReleaseNamesWhoTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := concordtest.New(t, concordtest.Options{Config: concord.Config{VirtualNodes: 16}})
		members := r.Start(3, nil)
		r.Settle(t.Context())
		var mu sync.Mutex
		stores := map[string]map[string]bool{}
		services := map[string]*concord.Service{}
		released := 0
		for _, m := range members {
			name := m.Name()
			stores[name] = map[string]bool{}
			services[name] = m.Serve(t.Context(), concord.Handler{
				Release: func(_ context.Context, lost concord.Range, to []concord.Server, _ uint64) {
					time.Sleep(20 * time.Millisecond) // meanwhile nobody serves the range
					mu.Lock()
					defer mu.Unlock()
					released++
					if len(to) == 0 {
						t.Errorf("%s: %v belongs to nobody", name, lost)
						return
					}
					for key := range stores[name] {
						if lost.Contains(m.KeyID([]byte(key))) {
							stores[to[0].Name][key] = true
							delete(stores[name], key)
						}
					}
				},
			})
		}
		for _, s := range services {
			if err := s.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var written []string
		put := func() {
			mu.Lock()
			defer mu.Unlock()
			key := fmt.Sprint("key", len(written))
			for name, s := range services {
				if _, ok := s.Serves([]byte(key)); ok {
					stores[name][key] = true
					written = append(written, key)
					return
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var writer sync.WaitGroup
		defer writer.Wait()
		defer cancel()
		writer.Go(func() {
			for ctx.Err() == nil {
				put()
				time.Sleep(time.Millisecond)
			}
		})
		for _, weight := range []int{4, 16, 1} {
			mu.Lock()
			before := released
			mu.Unlock()
			if err := members[0].SetWeight(t.Context(), weight); err != nil {
				t.Fatal(err)
			}
			r.Settle(t.Context())
			time.Sleep(time.Second)
			mu.Lock()
			if released == before {
				t.Errorf("weight %d: nothing was released", weight)
			}
			for _, key := range written {
				owner := ""
				for name, s := range services {
					if _, ok := s.Serves([]byte(key)); ok {
						owner = name
					}
				}
				if !stores[owner][key] {
					t.Errorf("weight %d: %s is not at its owner %q", weight, key, owner)
				}
			}
			mu.Unlock()
		}
		cancel()
		writer.Wait()
		if len(written) < 1000 {
			t.Errorf("only %d keys were written", len(written))
		}
	})
}
