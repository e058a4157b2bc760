package concord_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// Who founds a ring with MinMembers owns nothing for a Lease. Wait and Ready say so; Settled is of
// pointers. Without MinMembers the founder owns at once and hands that over, but to identifiers
// that join at the same time: some of these wait, or none.
func TestFoundingMembersWaitForTheirLeases(t *testing.T) {
	for _, c := range []struct{ least, identifiers uint }{{2, 1}, {2, 4}, {0, 16}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := memory.NewNetwork(1)
				network.Delay(time.Millisecond, 20*time.Millisecond)
				var members []*concord.Concord
				var services []*concord.Service
				for i := range 3 {
					m := memoryMember(t, network, fmt.Sprint("member", i), leased, func(cfg *concord.Config) {
						cfg.MinMembers = c.least
						cfg.VirtualNodes = c.identifiers
					})
					services = append(services, m.Serve(t.Context(), concord.Handler{}))
					members = enter(t, members, m)
				}
				began := time.Now()
				for _, m := range members {
					if err := m.Settled(t.Context()); err != nil {
						t.Error(err)
					}
					if c.least > 0 {
						probes(t, "settled", m, nil, concord.ErrNoLease)
					}
				}
				for i, s := range services {
					if err := s.Wait(t.Context()); err != nil {
						t.Error(err)
					}
					probes(t, "served", members[i], nil, nil)
					for j := range 200 {
						key := fmt.Append(nil, "key ", j)
						if _, ok := s.Serves(key); ok != inRanges(members[i], key) {
							t.Errorf("after Wait, %s serves %q: %v", members[i].Name(), key, ok)
						}
					}
				}
				if took := time.Since(began); c.least > 0 && took < lease/2 || took > 2*lease {
					t.Errorf("a range has an owner after %v", took)
				}
				if c.identifiers > 1 { // one more is no reason
					if err := members[0].SetWeight(t.Context(), int(c.identifiers)+1); err != nil {
						t.Error(err)
					}
					probes(t, "with another identifier", members[0], nil, nil)
				}
				stopAll(members)
			})
		})
	}
}

func inRanges(m *concord.Concord, key []byte) bool {
	return slices.ContainsFunc(m.Ranges(), func(r concord.Range) bool { return r.Contains(m.KeyID(key)) })
}

// A lease that runs out does not take a member out of service by itself.
func TestReadyWithALeaseThatHasRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 5, leased)
		time.Sleep(2 * lease)
		cut := members[0]
		key := []byte(cut.Name())
		if !cut.Owns(key) {
			t.Error("no lease at first")
		}
		network.Partition([]string{cut.Address()}, []string{cut.Successors()[0].Address})
		time.Sleep(9500 * time.Millisecond)
		if cut.Owns(key) {
			t.Error("the lease holds on")
		}
		probes(t, "without a lease", cut, nil, nil)
		stopAll(members)
	})
}

// Take is told of each process once, though these stand at many identifiers.
func TestTakeIsToldOfEachProcessOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		several := func(cfg *concord.Config) { cfg.VirtualNodes, cfg.SuccessorCount = 8, 4 }
		var members []*concord.Concord
		for i := range 3 {
			members = enter(t, members, memoryMember(t, network, fmt.Sprint("member", i), several))
		}
		joiner := memoryMember(t, network, "joiner", several)
		var mu sync.Mutex
		var told [][]concord.Server
		s := joiner.Serve(t.Context(), concord.Handler{Take: func(_ context.Context, _ concord.Range, from []concord.Server, _ uint64) error {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, from)
			return nil
		}})
		join(t, joiner, members[0].Address())
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		if len(told) < 8 {
			t.Errorf("%d calls", len(told))
		}
		for _, from := range told {
			for i, x := range from {
				if slices.Contains(from[:i], x) || i > 0 && x.Name == "joiner" {
					t.Errorf("from %v", from)
				}
			}
			if len(from) == 0 {
				t.Error("nobody to take from")
			}
		}
		mu.Unlock()
		stopAll(append(members, joiner))
	})
}
