package concord_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

func TestLawsOfIdealRing(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		members := newRing(t, n)
		byName := map[string]*concord.Concord{}
		for _, c := range members {
			byName[c.Name()] = c
		}
		var covered uint64
		for _, c := range members {
			r := c.Range()
			covered += r.End - r.Start // modulo 2^64: the whole circle is 0
			next := c.Successors()
			if len(next) != min(3, max(1, n-1)) {
				t.Errorf("%d: %s: successors %v", n, c.Name(), next)
			}
			if p, ok := byName[next[0].Name].Predecessor(); !ok || p != serverOf(c) {
				t.Errorf("%d: predecessor of the successor of %s is %v", n, c.Name(), p)
			}
			if p, ok := c.Predecessor(); !ok || p.Id != r.Start || r.End != c.Id() {
				t.Errorf("%d: %s: predecessor %v, range %v", n, c.Name(), p, r)
			}
			names := map[string]bool{}
			for _, s := range next {
				if names[s.Name] || n > 1 && s.Name == c.Name() {
					t.Errorf("%d: %s: %v repeats", n, c.Name(), next)
				}
				names[s.Name] = true
			}
		}
		if covered != 0 {
			t.Errorf("%d: the ranges do not add up to the circle", n)
		}
		ids := []uint64{0, 1, 1 << 63, 1<<63 - 1, ^uint64(0)}
		for _, c := range members {
			ids = append(ids, c.Id()-1, c.Id(), c.Id()+1)
		}
		for _, id := range ids {
			var owners []string
			for _, c := range members {
				if c.Range().Contains(id) {
					owners = append(owners, c.Name())
				}
			}
			if want := ownerOf(members, id).Name; len(owners) != 1 || owners[0] != want {
				t.Errorf("%d: %d belongs to %v, want %s", n, id, owners, want)
			}
		}
		for i := range 100 {
			key := fmt.Appendf(nil, "key%d", i)
			for _, c := range members {
				if got, want := c.Owns(key), ownerOf(members, idOf(string(key))) == serverOf(c); got != want {
					t.Errorf("%d: %s owns %q: %v", n, c.Name(), key, got)
				}
			}
		}
	}
}

func TestKeyExactlyAtMemberIsThatMembers(t *testing.T) {
	for _, n := range []int{1, 2, 3, 8} {
		members := newRing(t, n)
		for _, owner := range members {
			for _, c := range members {
				for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}, {concord.MaxAge(time.Millisecond)}} {
					if got := lookup(t, c, owner.Name(), opts...); got != serverOf(owner) {
						t.Errorf("%d: %s: %q: %v", n, c.Name(), owner.Name(), got)
					}
				}
				if c.Owns([]byte(owner.Name())) != (c == owner) {
					t.Errorf("%d: %s owns %q: %v", n, c.Name(), owner.Name(), c.Owns([]byte(owner.Name())))
				}
			}
		}
	}
}

func TestRangeContains(t *testing.T) {
	for _, tc := range []struct {
		r    concord.Range
		id   uint64
		want bool
	}{
		{concord.Range{Start: 10, End: 20}, 10, false},
		{concord.Range{Start: 10, End: 20}, 11, true},
		{concord.Range{Start: 10, End: 20}, 20, true},
		{concord.Range{Start: 10, End: 20}, 21, false},
		{concord.Range{Start: 20, End: 10}, 10, true},
		{concord.Range{Start: 20, End: 10}, 0, true},
		{concord.Range{Start: 20, End: 10}, ^uint64(0), true},
		{concord.Range{Start: 20, End: 10}, 20, false},
		{concord.Range{Start: 20, End: 10}, 15, false},
		{concord.Range{Start: 10, End: 10}, 10, true},
		{concord.Range{Start: 10, End: 10}, 11, true},
		{concord.Range{Start: 10, End: 10}, 9, true},
		{concord.Range{Start: ^uint64(0), End: 0}, 0, true},
		{concord.Range{Start: ^uint64(0), End: 0}, 1, false},
	} {
		if got := tc.r.Contains(tc.id); got != tc.want {
			t.Errorf("%v contains %d: %v", tc.r, tc.id, got)
		}
	}
}

func TestWhatIsReturnedIsTheCallers(t *testing.T) {
	members := newRing(t, 3)
	for _, c := range members {
		clear(c.Successors())
		s := c.Status()
		clear(s.Successors)
		clear(s.Acquaintances)
		clear(s.Fingers)
		if s.Range != nil {
			*s.Range = concord.Range{}
		}
		if s.Predecessor != nil {
			*s.Predecessor = concord.Server{}
		}
	}
	if err := ideal(members); err != nil {
		t.Error(err)
	}
}

func TestStatusSurvivesJSON(t *testing.T) {
	members := newRing(t, 5)
	fresh := concord.New(configure("fresh"))
	stopped := create(t, "stopped")
	stopped.Stop()
	for _, c := range append(members, fresh, start(t, "outside"), create(t, "alone"), stopped) {
		before := c.Status()
		text, err := json.Marshal(before)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "null") {
			t.Errorf("null in %s", text)
		}
		var after concord.Status
		if err := json.Unmarshal(text, &after); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s became\n%+v, was\n%+v", text, after, before)
		}
	}
}

func TestStatusAgreesWithTheMethods(t *testing.T) {
	for _, n := range []int{2, 5} {
		for _, c := range newRing(t, n) {
			s := c.Status()
			p, _ := c.Predecessor()
			if s.Self != serverOf(c) || s.Phase != "joined" || s.Range == nil || *s.Range != c.Range() ||
				s.Predecessor == nil || *s.Predecessor != p || !slices.Equal(s.Successors, c.Successors()) {
				t.Errorf("%+v", s)
			}
			if s.Size < 2 || s.Incarnation == 0 {
				t.Errorf("size %d, incarnation %d", s.Size, s.Incarnation)
			}
			if s.Counters.RingRequests == 0 || s.Counters.Served == 0 || s.Counters.RangeChanges == 0 {
				t.Errorf("counters %+v", s.Counters)
			}
		}
	}
}

func TestSuccessorCountOfOne(t *testing.T) {
	one := func(c *concord.Config) { c.SuccessorCount = 1 }
	members := []*concord.Concord{create(t, "member1", one)}
	for i := 2; i <= 4; i++ {
		c := start(t, fmt.Sprintf("member%d", i), one)
		join(t, c, members[0].Address())
		members = append(members, c)
	}
	awaitIdeal(t, members, 1)
	for _, c := range members {
		for i := range 20 {
			key := fmt.Sprintf("key%d", i)
			if got, want := lookup(t, c, key), ownerOf(members, idOf(key)); got != want {
				t.Errorf("%s: %q: %v, want %v", c.Name(), key, got, want)
			}
		}
	}
}

func TestRingSurvivesAsManyFailuresAsPromised(t *testing.T) {
	members := newRing(t, 6)
	slices.SortFunc(members, func(a, b *concord.Concord) int {
		if a.Id() < b.Id() {
			return -1
		}
		return 1
	})
	members[2].Stop()
	members[3].Stop()
	rest := append(members[:2:2], members[4:]...)
	var wg sync.WaitGroup
	for _, c := range rest {
		wg.Go(func() {
			for i := range 30 {
				began := time.Now()
				if _, err := c.Lookup(fmt.Appendf(nil, "key%d", i)); err != nil {
					t.Errorf("%s: %v", c.Name(), err)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("%s: took %v", c.Name(), took)
				}
			}
		})
	}
	wg.Wait()
	awaitIdeal(t, rest)
}

func TestLastMemberOwnsEverything(t *testing.T) {
	members := newRing(t, 4)
	for _, c := range members[1:] {
		c.Stop()
	}
	awaitIdeal(t, members[:1])
	for i := range 20 {
		if got := lookup(t, members[0], fmt.Sprintf("key%d", i)); got != serverOf(members[0]) {
			t.Error(got)
		}
	}
}

// On a network with latency, in virtual time: the ring becomes ideal within few
// rounds after two adjacent members have died.
func TestRingHealsWithinFewIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(2)
		network.Delay(time.Millisecond, 5*time.Millisecond)
		members := newMemoryRing(t, network, 12)
		slices.SortFunc(members, func(a, b *concord.Concord) int {
			if a.Id() < b.Id() {
				return -1
			}
			return 1
		})
		members[5].Stop()
		members[6].Stop()
		rest := append(members[:5:5], members[7:]...)
		began := time.Now()
		awaitIdeal(t, rest)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		for _, c := range rest {
			c.Stop()
		}
	})
}

// A ring of three of whom each hears nothing of one other for a while.
func TestRingOutlastsPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(3)
		network.Delay(time.Millisecond, 2*time.Millisecond)
		members := newMemoryRing(t, network, 6)
		var sides [2][]string
		for i, c := range members {
			sides[i%2] = append(sides[i%2], c.Address())
		}
		network.Partition(sides[0], sides[1])
		time.Sleep(30 * time.Second)
		for _, side := range [][]*concord.Concord{{members[0], members[2], members[4]}, {members[1], members[3], members[5]}} {
			if err := ideal(side); err != nil {
				t.Errorf("a side of the partition: %v", err)
			}
		}
		network.HealAll()
		if err := poll(2*time.Minute, func() error { return ideal(members) }); err != nil {
			t.Error(err)
		}
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestPausedMemberIsMemberAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(4)
		network.Delay(time.Millisecond, 2*time.Millisecond)
		members := newMemoryRing(t, network, 6)
		network.Pause(members[2].Address())
		rest := append(members[:2:2], members[3:]...)
		awaitIdeal(t, rest)
		for _, c := range rest {
			began := time.Now()
			for i := range 10 {
				key := fmt.Sprintf("key%d", i)
				if got, want := lookup(t, c, key), ownerOf(rest, idOf(key)); got != want {
					t.Errorf("%s: %q: %v, want %v", c.Name(), key, got, want)
				}
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("%s: took %v", c.Name(), took)
			}
		}
		network.Resume(members[2].Address())
		awaitIdeal(t, members)
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestConcurrentUseOfOneMember(t *testing.T) {
	members := newRing(t, 3)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			c := members[g%3]
			for i := range 50 {
				key := fmt.Sprintf("key%d-%d", g, i)
				var opts []concord.LookupOption
				if i%2 == 0 {
					opts = append(opts, concord.Fresh())
				}
				s, err := c.LookupContext(t.Context(), []byte(key), opts...)
				if want := ownerOf(members, idOf(key)); err != nil || s != want {
					t.Errorf("%s: %q: %v, %v, want %v", c.Name(), key, s, err, want)
				}
				c.Status()
				c.Successors()
				c.Predecessor()
				if c.Owns([]byte(key)) != (s == serverOf(c)) {
					t.Errorf("%s: owns %q", c.Name(), key)
				}
				if err := c.Create(); !errors.Is(err, concord.ErrAlreadyJoined) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMembersMayKeepListsOfDifferentLengths(t *testing.T) {
	var members []*concord.Concord
	for i, count := range []uint{1, 3, 64, 2, 5, 1} {
		c := start(t, fmt.Sprintf("member%d", i), func(c *concord.Config) { c.SuccessorCount = count })
		if i == 0 {
			if err := c.Create(); err != nil {
				t.Fatal(err)
			}
		} else {
			join(t, c, members[i-1].Address())
		}
		members = append(members, c)
	}
	eventually(t, func() error {
		for _, c := range members {
			if p, ok := c.Predecessor(); !ok || c.Range() != (concord.Range{Start: p.Id, End: c.Id()}) || ownerOf(members, c.Id()) != serverOf(c) {
				return fmt.Errorf("%s: %v %v", c.Name(), p, c.Range())
			}
			for i := range 10 {
				key := fmt.Sprintf("key%d", i)
				if s, err := c.Lookup([]byte(key)); err != nil || s != ownerOf(members, idOf(key)) {
					return fmt.Errorf("%s: %q: %v, %v", c.Name(), key, s, err)
				}
			}
		}
		return nil
	})
}

// Those that have gone fill the memory of those that stay; that must not keep
// them from dealing with the next.
func TestManyComeAndGo(t *testing.T) {
	ring := newRing(t, 3)
	for i := range 40 {
		c := start(t, fmt.Sprintf("guest%d", i))
		join(t, c, ring[0].Address())
		began := time.Now()
		if err := c.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("guest %d took %v to leave", i, took)
		}
	}
	awaitIdeal(t, ring)
}
