package concord_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// fence is a store that refuses a lesser epoch than it has seen for a key.
type fence map[string]uint64

// write writes each key as its owner, which must be one member, and fails the test if the store
// would refuse a new owner of it, or has not been told of one.
func (f fence) write(t *testing.T, when string, members []*concord.Concord, keys []string, changed func(key string) bool) {
	t.Helper()
	for _, key := range keys {
		var owners int
		for _, m := range members {
			epoch, ok := m.OwnsEpoch([]byte(key))
			if ok != m.Owns([]byte(key)) || ok != (epoch > 0) {
				t.Errorf("%s: %s: OwnsEpoch %d, %v, Owns %v", when, m.Name(), epoch, ok, m.Owns([]byte(key)))
			}
			if !ok {
				continue
			}
			owners++
			if was := f[key]; epoch < was || changed(key) && epoch == was {
				t.Errorf("%s: %s owns %q by the epoch %d after one of %d", when, m.Name(), key, epoch, was)
			}
			f[key] = epoch
		}
		if owners != 1 {
			t.Errorf("%s: %d members own %q", when, owners, key)
		}
	}
}

func TestEpochOfAKeyRisesWithEachOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 5)
		var keys []string
		for i := range 200 {
			keys = append(keys, fmt.Sprint("key ", i))
		}
		owners := func() map[string]string {
			out := map[string]string{}
			for _, key := range keys {
				out[key] = ownerOf(members, members[0].KeyID([]byte(key))).Name
			}
			return out
		}
		store, last := fence{}, map[string]string{}
		check := func(when string) {
			t.Helper()
			awaitIdeal(t, members)
			time.Sleep(5 * time.Second)
			now := owners()
			store.write(t, when, members, keys, func(key string) bool { return now[key] != last[key] })
			last = now
		}
		check("at first")
		joiner := memoryMember(t, network, "joiner")
		join(t, joiner, members[0].Address())
		members = append(members, joiner)
		check("after a join")
		members[1].Stop()
		members = slices.Delete(members, 1, 2)
		check("after a crash")
		if err := members[1].Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		members = slices.Delete(members, 1, 2)
		check("after a leave")
		stopAll(members)
	})
}

// A member that others took for dead owns the same range again, by another epoch.
func TestEpochRisesThoughTheRangeIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 4)
		time.Sleep(5 * time.Second)
		m := members[1]
		key := []byte(m.Name()) // which is its own for certain
		w := watch(t, t.Context(), m, 0)
		before, _ := m.OwnsEpoch(key)
		var others []string
		for _, x := range members {
			if x != m {
				others = append(others, x.Address())
			}
		}
		network.Partition([]string{m.Address()}, others)
		time.Sleep(8 * time.Second)
		heir := members[slices.IndexFunc(members, func(x *concord.Concord) bool { return x != m && x.Owns(key) })]
		meanwhile, _ := heir.OwnsEpoch(key)
		network.HealAll()
		awaitIdeal(t, members)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		after, ok := m.OwnsEpoch(key)
		if !ok || before >= meanwhile || meanwhile >= after {
			t.Errorf("epochs %d, %d of %s, %d (owned: %v)", before, meanwhile, heir.Name(), after, ok)
		}
		if _, _, events, _ := w.state(); events[len(events)-1].Epoch != after {
			t.Errorf("the last event has the epoch %d, want %d: %+v", events[len(events)-1].Epoch, after, events)
		}
		stopAll(members)
	})
}

// A lookup gives the epoch by which the owner claims the key, from whatever source.
func TestTraceGivesTheEpochOfTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 6)
		time.Sleep(5 * time.Second)
		from := map[concord.Source]int{}
		for i := range 100 {
			key := fmt.Append(nil, "key ", i)
			var opts []concord.LookupOption
			if i%2 == 1 {
				opts = append(opts, concord.Cold())
			}
			tr, err := members[i%6].Trace(t.Context(), key, opts...)
			if err != nil {
				t.Fatal(err)
			}
			owner := members[slices.IndexFunc(members, func(m *concord.Concord) bool { return m.Name() == tr.Owner.Name })]
			if epoch, ok := owner.OwnsEpoch(key); !ok || tr.Range != nil && tr.Epoch != epoch {
				t.Errorf("%q is owned by %s by the epoch %d (%v), and the trace says %d", key, owner.Name(), epoch, ok, tr.Epoch)
			}
			if tr.Range != nil {
				from[tr.Source]++
			}
		}
		for _, s := range []concord.Source{concord.SourceOwnRange, concord.SourceRingMap, concord.SourceSuccessorList, concord.SourceAsked} {
			if from[s] == 0 {
				t.Errorf("no answer with a range came from: %s", s)
			}
		}
		stopAll(members)
	})
}
