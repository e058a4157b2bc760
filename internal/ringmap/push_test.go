package ringmap

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// pushTo has a map receive a claim for the part of the circle up to to.
func pushTo(m *Map, now time.Duration, c Claim, to uint64) {
	m.Receive(now, &Request{Kind: Push, Parts: []Part{{To: to, Claims: []Announcement{announce(&c, true)}}}})
}

// passedOn is to whom a map pushes a claim. All pushes are answered.
func passedOn(m *Map, now time.Duration, c Claim) (to []uint64) {
	for _, x := range slices.Clone(m.calls) {
		m.Answered(now, x.id, &Reply{})
	}
	for _, e := range effects(m) {
		for _, p := range e.Request.Parts {
			if slices.ContainsFunc(p.Claims, func(a Announcement) bool { return a.ID == c.ID && a.Epoch == c.Epoch }) {
				to = append(to, e.To.ID)
			}
		}
	}
	return to
}

// A claim that is known by other ways, when it is pushed, is passed on like one that is news: that an
// earlier claim of the same member was passed on just before is no reason not to.
func TestLaterClaimOfAMemberIsPassedOn(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(5, 5)), 8, 64)
	m := memberOf(all, 0)
	c, now := all[6], time.Second
	passedOn(m, now, all[0])
	for range 3 {
		c.Epoch++
		m.take(now, announce(&c, true)) // in an answer, say
		pushTo(m, now, c, all[3].ID)
		if to := passedOn(m, now, c); !slices.Equal(to, []uint64{all[2].ID, all[1].ID}) {
			t.Errorf("epoch %d is passed on to %v", c.Epoch, to)
		}
		pushTo(m, now+hold, c, all[3].ID)
		if to := passedOn(m, now+hold, c); len(to) > 0 {
			t.Errorf("epoch %d is passed on again to %v", c.Epoch, to)
		}
		now += 3 * hold
	}
}

// A process that leaves passes on at once what waits, and takes no more for others.
func TestNothingIsLeftWithAProcessThatLeaves(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(6, 6)), 8, 64)
	m := memberOf(all, 0)
	own := Owning{Self: *all[0].Of, Arc: all[0].Arc(), Has: true, Epoch: all[0].Epoch}
	first, second := all[6], all[5]
	first.Epoch++
	second.Epoch++
	now := time.Second
	passedOn(m, now, all[0])
	for range inRow {
		first.Epoch++
		pushTo(m, now, first, all[3].ID)
		if to := passedOn(m, now, first); len(to) != 2 {
			t.Fatalf("the first claims went to %v", to)
		}
	}
	pushTo(m, now+1, second, all[3].ID)
	if to := passedOn(m, now+1, second); len(to) > 0 {
		t.Fatalf("what is to wait went to %v at once", to)
	}
	part := &Request{Kind: Push, Parts: []Part{{To: m.home}, {To: all[3].ID}}}
	itself := &Request{Kind: Push, Parts: []Part{{To: m.home}}}
	if !m.Passes(part) {
		t.Fatal("a process that stays takes no part")
	}
	own.Leaves = true
	m.Own(now+2, own)
	if to := passedOn(m, now+2, second); !slices.Equal(to, []uint64{all[2].ID, all[1].ID}) {
		t.Errorf("a process that leaves has passed on to %v", to)
	}
	if m.Passes(part) || !m.Passes(itself) || !m.Passes(&Request{Kind: Ask}) {
		t.Error("a process that leaves takes parts for others, or refuses what is for itself")
	}
	own.Leaves = false
	if m.Own(now+3, own); !m.Passes(part) {
		t.Error("a process that stays after all takes no part")
	}
}

// A joiner has its successor tell all others of its claim, also those at homes before the successor's,
// and tells nobody else, whom it would have to connect to; unless the successor refuses.
func TestJoinerHasItsSuccessorTellAll(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		all := processesOf(48, 4)
		maps := mapsOf(all)
		self := &ring.Member{Name: "joiner", Addr: "joiner", Incarnation: 1, ID: ring.SHA256([]byte("joiner"))}
		k, _ := slices.BinarySearchFunc(all, self.ID, func(c Claim, id uint64) int { return cmp.Compare(c.ID, id) })
		head := all[k%len(all)]
		own := Claim{ID: self.ID, After: head.After, Epoch: head.Epoch + 1, Of: self}
		head.After = self.ID
		m, now := newMap(*self), time.Second
		maps[self.ID] = m
		m.Own(now, Owning{Self: *self, Arc: own.Arc(), Has: true, Epoch: own.Epoch, Next: head.Owner().Instance()})
		m.Head(now, now, self.ID, head)
		told := map[uint64]bool{}
		for busy := true; busy; {
			busy = false
			now += hold
			for home, x := range maps {
				x.flush(now)
				for _, e := range effects(x) {
					if e.Do != Send {
						continue
					}
					busy = true
					if e.Request.Kind == Push && home == self.ID {
						if told[e.To.Process()] = true; refuses && e.To.Process() == head.home() {
							x.Failed(now, e.Call, true)
							continue
						}
					}
					reply := maps[e.To.Process()].Receive(now, &e.Request)
					x.Answered(now, e.Call, &reply)
				}
			}
		}
		for home, x := range maps {
			if c := x.t.get(self.ID); (c == nil || !same(c, &own)) && !(refuses && home == head.home()) {
				t.Errorf("the successor refuses: %t; the process at %x does not know of the joiner", refuses, home)
			}
		}
		if !refuses && len(told) > 1 || len(told) > 10 {
			t.Errorf("the successor refuses: %t; the joiner has pushed to %d", refuses, len(told))
		}
	}
}
