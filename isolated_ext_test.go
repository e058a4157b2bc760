package concord_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

func atLeast(n uint) func(*concord.Config) {
	return func(c *concord.Config) { c.MinMembers = n }
}

// isolated fails the test if c serves anything.
func isolated(t *testing.T, c *concord.Concord) {
	t.Helper()
	if !c.Joined() || !c.Status().Isolated {
		t.Errorf("%s: joined %v, isolated %v; want both", c.Name(), c.Joined(), c.Status().Isolated)
	}
	for i := range 20 {
		key := fmt.Appendf(nil, "key %d", i)
		if c.Owns(key) {
			t.Errorf("%s is isolated and owns %q", c.Name(), key)
		}
		for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}, {concord.MaxAge(time.Hour)}} {
			began := time.Now()
			if s, err := c.LookupContext(t.Context(), key, opts...); !errors.Is(err, concord.ErrIsolated) {
				t.Errorf("%s is isolated and names %v, %v", c.Name(), s, err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s took %v to say so", c.Name(), took)
			}
		}
	}
}

// serves fails the test if a key has not exactly one owner, that all name.
func serves(t *testing.T, members []*concord.Concord, others ...*concord.Concord) {
	t.Helper()
	for i := range 20 {
		key := fmt.Sprintf("key %d", i)
		owners := 0
		for _, c := range append(others, members...) {
			if c.Owns([]byte(key)) {
				owners++
			}
		}
		if owners != 1 {
			t.Errorf("%d members own %q", owners, key)
		}
		want := ownerOf(members, idOf(key))
		for _, c := range members {
			if got := lookup(t, c, key); got != want {
				t.Errorf("%s names %v for %q, want %v", c.Name(), got, key, want)
			}
		}
	}
}

func TestMinorityOfAPartitionIsIsolated(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(seed)
			network.Delay(time.Millisecond, 20*time.Millisecond)
			told := map[string]*calls{}
			members := newMemoryRing(t, network, 5, atLeast(3), func(cfg *concord.Config) {
				told[cfg.Name] = &calls{}
				cfg.OnRangeChange = told[cfg.Name].add
			})
			// Which two are cut off depends on the seed.
			k := int(seed) % 5
			order := append(append([]*concord.Concord(nil), members[k:]...), members[:k]...)
			minority, majority := order[:2], order[2:]
			var groups [2][]string
			for i, c := range order {
				groups[min(i/2, 1)] = append(groups[min(i/2, 1)], c.Address())
			}
			time.Sleep(10 * time.Second)
			network.Partition(groups[0], groups[1])
			began := time.Now()
			for !minority[0].Status().Isolated || !minority[1].Status().Isolated {
				if time.Since(began) > 10*time.Second {
					t.Fatalf("not isolated after %v: %v, %v", time.Since(began), minority[0].Successors(), minority[1].Successors())
				}
				time.Sleep(10 * time.Millisecond)
			}
			noticed := time.Since(began)
			before := make(map[string][]concord.Range)
			for _, c := range minority {
				isolated(t, c)
				before[c.Name()] = told[c.Name()].all()
			}
			untilIdeal(t, 10*time.Second, majority)
			settled := time.Since(began)
			for range 30 {
				time.Sleep(time.Second)
				serves(t, majority, minority...)
			}
			for _, c := range minority {
				isolated(t, c)
				history := told[c.Name()].all()
				if len(history) != len(before[c.Name()]) {
					t.Errorf("%s was told %v while isolated", c.Name(), history[len(before[c.Name()]):])
				}
				if got := c.Range(); got != history[len(history)-1] {
					t.Errorf("%s: Range is %v while isolated, told was %v", c.Name(), got, history[len(history)-1])
				}
			}
			network.HealAll()
			merged := untilIdeal(t, 15*time.Second, members)
			t.Logf("seed %d: isolated after %v, the others one ring after %v, all one ring %v after the cut's end", seed, noticed, settled, merged)
			time.Sleep(time.Second)
			serves(t, members)
			for _, c := range members {
				history := told[c.Name()].all()
				if got := history[len(history)-1]; got != c.Range() {
					t.Errorf("%s was told %v last, its range is %v", c.Name(), got, c.Range())
				}
			}
			for _, c := range minority {
				if len(told[c.Name()].all()) == len(before[c.Name()]) {
					t.Errorf("%s was not told that it serves again", c.Name())
				}
			}
			stopAll(members)
		})
	}
}

func TestMemberIsIsolatedUntilTheOthersHaveCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		var told calls
		a := memoryMember(t, network, "member1", atLeast(3), told.hook)
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		isolated(t, a)
		if got := a.Range(); got != (concord.Range{}) {
			t.Errorf("range %v", got)
		}
		b := memoryMember(t, network, "member2", atLeast(3))
		join(t, b, a.Address())
		time.Sleep(5 * time.Second)
		isolated(t, a)
		isolated(t, b)
		if got := told.all(); len(got) > 0 {
			t.Errorf("told %v while isolated", got)
		}
		c := memoryMember(t, network, "member3", atLeast(3))
		join(t, c, b.Address())
		members := []*concord.Concord{a, b, c}
		untilIdeal(t, 5*time.Second, members)
		time.Sleep(time.Second)
		serves(t, members)
		for _, m := range members {
			if m.Status().Isolated {
				t.Errorf("%s is isolated", m.Name())
			}
		}
		if got := told.all(); len(got) == 0 || got[len(got)-1] != a.Range() {
			t.Errorf("told %v, range %v", got, a.Range())
		}
		// Whoever leaves makes the others too few again.
		if err := c.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		isolated(t, a)
		isolated(t, b)
		stopAll(members)
	})
}

// One that has no MinMembers itself asks one that is isolated, and gets no owner
// of it.
func TestIsolatedMemberNamesNoOwnerToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		network.Delay(time.Millisecond, 20*time.Millisecond)
		a := memoryMember(t, network, "member1", atLeast(3))
		if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		b := memoryMember(t, network, "member2")
		join(t, b, a.Address())
		time.Sleep(5 * time.Second)
		key := ""
		for i := 0; key == ""; i++ {
			if k := fmt.Sprintf("key %d", i); !b.Owns([]byte(k)) {
				key = k
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.LookupContext(ctx, []byte(key), concord.Fresh())
		var le *concord.LookupError
		if !errors.As(err, &le) || len(le.Hops) == 0 || !errors.Is(le.Hops[0].Err, concord.ErrIsolated) || le.Hops[0].Server != serverOf(a) {
			t.Errorf("%v, want %s asked and isolated", err, a.Name())
		}
		stopAll([]*concord.Concord{a, b})
	})
}

func TestMinMembersNobodyCanTell(t *testing.T) {
	for _, tc := range []struct {
		successors, min uint
		fine            bool
	}{{0, 4, true}, {0, 5, false}, {1, 2, true}, {1, 3, false}, {5, 6, true}, {64, 65, true}, {64, 66, false}, {0, ^uint(0), false}} {
		c := concord.New(configure("c", atLeast(tc.min), func(c *concord.Config) { c.SuccessorCount = tc.successors }))
		err := c.Start()
		c.Stop()
		if tc.fine {
			if err != nil {
				t.Errorf("%+v: %v", tc, err)
			}
			continue
		}
		if got := fields(err); len(got) != 1 || got[0] != "MinMembers" || !strings.Contains(err.Error(), "raise SuccessorCount") {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
