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
	"github.com/ollelogdahl/concord/concordtest"
)

// In rings of any size, with zones and without, before and after a crash, WatchReplicas gives
// the ranges whose keys LookupN names the member for, and who else it names.
func TestWatchReplicas(t *testing.T) {
	for _, zoned := range []bool{false, true} {
		for _, size := range []int{1, 2, 3, 9} {
			t.Run(fmt.Sprint("members ", size, " zones ", zoned), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { watchesReplicas(t, size, zoned) })
			})
		}
	}
}

func watchesReplicas(t *testing.T, size int, zoned bool) {
	const n = 3
	ring := concordtest.New(t, concordtest.Options{})
	members := ring.Start(size, func(i int, c *concord.Config) {
		if zoned {
			c.Zone = string(rune('a' + i%3))
		}
	})
	ring.Settle(t.Context())
	zone := map[concord.Server]string{}
	for i, m := range members {
		if zone[serverOf(m)] = m.Status().Zone; !zoned {
			zone[serverOf(m)] = fmt.Sprint(i) // as if each had one of its own
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var watching sync.WaitGroup
	newest := make([][]concord.ReplicaSet, size)
	for i, m := range members {
		watching.Go(func() {
			for sets := range m.WatchReplicas(ctx, n) {
				newest[i] = sets
			}
		})
	}
	check := func(live []*concord.Concord) {
		t.Helper()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for k := range 200 {
			key := fmt.Append(nil, "key ", k)
			want := chosen(live, zone, key, n)
			for i, m := range members {
				if !slices.Contains(live, m) {
					continue
				}
				var got []concord.Server
				for _, s := range newest[i] {
					if s.Range.Contains(m.KeyID(key)) {
						got = append(got, s.Servers...)
					}
				}
				if holds := slices.Contains(want, serverOf(m)); holds && !slices.Equal(got, want) || !holds && got != nil {
					t.Fatalf("%s holds a copy of %s with %v, want %v", m.Name(), key, got, want)
				}
			}
		}
	}
	check(members)
	if last := newest[0][len(newest[0])-1]; last.Range != members[0].Range() {
		t.Errorf("the last range is %v, not the member's own %v", last.Range, members[0].Range())
	}
	if size > 3 {
		members[4].Stop()
		live := slices.Delete(slices.Clone(members), 4, 5)
		check(live)
	}
	for _, m := range members {
		m.Stop()
	}
	watching.Wait()
	for i, m := range members {
		if len(newest[i]) == 0 {
			t.Errorf("%s holds nothing", m.Name())
		}
	}
}

func TestWatchReplicasOfNothing(t *testing.T) {
	for range concord.New(configure("a")).WatchReplicas(t.Context(), 3) {
		t.Error("a member that has not started holds copies")
	}
	for sets := range create(t, "b").WatchReplicas(t.Context(), 0) {
		if len(sets) > 0 {
			t.Errorf("none of no members holds %v", sets)
		}
		break
	}
}
