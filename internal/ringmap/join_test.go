package ringmap

import (
	"cmp"
	"fmt"
	xmaps "maps"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Who joins while a sweep is under way is certain of all by what its successor has been certain of
// since the sweep before.
func TestJoinerIsCertainAtOnceDuringASweep(t *testing.T) {
	const period = sweepEvery * time.Second
	all := processesOf(16, 4)
	for step := range time.Duration(8) {
		now := 2*period + step*time.Second/paces
		maps := mapsOf(all)
		run(maps, 0, now)
		exchange(maps, now)
		m, with := join(maps, now, all, "joiner")
		exchange(maps, now)
		if n := len(m.Snapshot().Circle(m.home, now, promised*time.Second)); n != len(with) {
			t.Errorf("%v into the sweep a joiner is certain of %d claims of %d", now-2*period, n, len(with))
		}
	}
}

// Each process that joins a ring is certain of all at once, from the second on, and though there is no
// sweep. So is the one that was alone.
func TestEachThatJoinsIsCertainOfAll(t *testing.T) {
	now := time.Second
	founder := processesOf(1, 1)
	founder[0].Of.Choice = ring.Chosen(0, 0)
	founder[0].After = founder[0].ID
	maps, all := mapsOf(founder), founder
	for i := range 40 {
		now += time.Second / 20
		var m *Map
		m, all = join(maps, now, all, fmt.Sprintf("joiner-%d", i))
		exchange(maps, now)
		pushed(maps, now)
		if n := len(m.Snapshot().Circle(m.home, now, promised*time.Second)); n != len(all) {
			t.Fatalf("the %d. that joins is certain of %d claims of %d", i+1, n, len(all))
		}
	}
	for home, m := range maps {
		if n := len(m.Snapshot().Circle(m.home, now, promised*time.Second)); n != len(all) {
			t.Errorf("%x is certain of %d claims of %d", home, n, len(all))
		}
	}
}

// A joiner whose successor has heard of something that it has not heard of yet asks again soon.
func TestJoinerAsksAgainForTheAge(t *testing.T) {
	now := 2 * sweepEvery * time.Second
	all := processesOf(16, 4)
	maps := mapsOf(all)
	run(maps, 0, now-time.Second)
	m, all := join(maps, now, all, "joiner")
	head := maps[all[(slices.IndexFunc(all, func(c Claim) bool { return c.home() == m.home })+1)%len(all)].home()]
	circle := head.homes()
	news, asked := *head.claims(circle.at(circle.rank(head.home) + 1).ID)[0], 0
	m.levels, m.whole = nil, level{}
	m.load(now, head.home, m.home, 0)
	for end := now + 8*hold; now < end; now += time.Millisecond {
		if now >= m.Next() {
			m.Tick(now)
		}
		for todo := effects(m); len(todo) > 0; todo = effects(m) {
			for _, e := range todo {
				if e.Do != Send {
					continue
				}
				if e.Request.Kind == Ask && e.Request.Level == asLoaded && asked < 3 {
					asked++
					news.Epoch++
					head.take(now, announce(&news, true)) // just before it answers
				}
				reply := maps[e.To.Process()].Receive(now, &e.Request)
				m.Answered(now, e.Call, &reply)
			}
		}
		exchange(maps, now)
	}
	if n := len(m.Snapshot().Circle(m.home, now, promised*time.Second)); n != len(all) || asked != 3 {
		t.Errorf("it has asked %d times, and is certain of %d claims of %d", asked, n, len(all))
	}
}

// pushed has the maps send what waits.
func pushed(maps map[uint64]*Map, now time.Duration) {
	waits := func(m *Map) bool { return len(m.outbox) > 0 }
	for slices.ContainsFunc(slices.Collect(xmaps.Values(maps)), waits) {
		now += hold
		for _, m := range maps {
			m.flush(now)
		}
		exchange(maps, now)
	}
}

// join has one more process join at its first identifier, and returns its map and the ring with it.
func join(maps map[uint64]*Map, now time.Duration, all []Claim, name string) (*Map, []Claim) {
	self := &ring.Member{Name: name, Addr: name + ":7946", Incarnation: 1, Choice: ring.Chosen(0, 0), Home: ring.SHA256([]byte(name))}
	self.ID = ring.SHA256(self.Choice.Text(name))
	k, _ := slices.BinarySearchFunc(all, self.ID, func(c Claim, id uint64) int { return cmp.Compare(c.ID, id) })
	k %= len(all)
	head, before := all[k], all[(k+len(all)-1)%len(all)]
	c := Claim{ID: self.ID, After: head.After, Epoch: head.Epoch + 1, Of: self}
	all = slices.Clone(all)
	all[k].After = self.ID
	head = all[k]
	if before.ID == head.ID {
		before = head
	}
	own := func(c, next Claim) {
		maps[c.home()].Own(now, Owning{Self: *c.Of, Arc: c.Arc(), Has: true, Epoch: c.Epoch, Next: next.Owner().Instance()})
	}
	m := newMap(*self)
	maps[self.Home] = m
	own(c, head)
	own(head, all[(k+1)%len(all)])
	m.Head(now, now, self.ID, head)
	exchange(maps, now)
	own(before, c)
	maps[before.home()].Head(now, now, before.ID, c)
	all = append(all, c)
	slices.SortFunc(all, func(a, b Claim) int { return cmp.Compare(a.ID, b.ID) })
	return m, all
}
