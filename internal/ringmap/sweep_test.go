package ringmap

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Legacy members claim nothing. What cannot be certain because of them is not asked for again and
// again.
func TestSweepsBesideLegacyMembersAreCheap(t *testing.T) {
	const sweeps = 5
	for _, legacy := range [][]int{nil, {5}, {1, 3, 5, 7}, {2, 3, 6, 7}} {
		all := claims(rand.New(rand.NewPCG(3, 3)), 8, 64)
		var ours []Claim
		for i, c := range all {
			if !slices.Contains(legacy, i) {
				ours = append(ours, c)
			}
		}
		maps := make(map[uint64]*Map)
		for i, c := range ours {
			m := memberOf(ours, i)
			next := ring.Instance{ID: all[(slices.IndexFunc(all, func(x Claim) bool { return x.ID == c.ID })+1)%len(all)].ID}
			if x := ours[(i+1)%len(ours)]; x.ID == next.ID {
				next = x.Owner().Instance()
			}
			m.Own(0, Owning{Self: *c.Of, Arc: c.Arc(), Has: true, Epoch: c.Epoch, Next: next})
			maps[c.ID] = m
		}
		asked := make(map[uint64]int)
		const end = sweeps * sweepEvery * time.Second
		for now := time.Duration(0); now < end; now += time.Second / (4 * paces) {
			for i, c := range ours {
				m := maps[c.ID]
				if x := ours[(i+1)%len(ours)]; x.After == c.ID && now%time.Second == 0 {
					m.Head(now, now, c.ID, x)
				}
				if now >= m.Next() {
					m.Tick(now)
				}
				for all := effects(m); len(all) > 0; all = effects(m) {
					for _, e := range all {
						if e.Do == Send {
							asked[c.ID]++
							reply := maps[e.To.ID].Receive(now, &e.Request)
							m.Answered(now, e.Call, &reply)
						}
					}
				}
			}
		}
		for id, n := range asked {
			m := maps[id]
			if legacy == nil && !m.swept() {
				t.Error("the circle is not certain")
			}
			if most := (sweeps + 1) * (m.depth() + moreLevels); n > most {
				t.Errorf("legacy members %v: %d questions in %d sweeps, want at most %d", legacy, n, sweeps, most)
			}
		}
	}
}

// Whoever is asked in one sweep is asked in the next: members keep connections to few.
func TestSweepsAskTheSame(t *testing.T) {
	const members = 32
	all := claims(rand.New(rand.NewPCG(5, 5)), members, 64)
	maps := make(map[uint64]*Map)
	for i, c := range all {
		m := memberOf(all, i)
		m.Own(0, Owning{Self: *c.Of, Arc: c.Arc(), Has: true, Epoch: c.Epoch, Next: all[(i+1)%members].Owner().Instance()})
		maps[c.ID] = m
	}
	asked := make(map[uint64]map[uint64]int) // by whom, and how far that is
	for now := time.Duration(0); now < 5*sweepEvery*time.Second; now += time.Second / (4 * paces) {
		for i, c := range all {
			m := maps[c.ID]
			if now%time.Second == 0 {
				m.Head(now, now, c.ID, all[(i+1)%members])
			}
			if now >= m.Next() {
				m.Tick(now)
			}
			for _, e := range effects(m) {
				if e.Do == Send {
					k := slices.IndexFunc(all, func(x Claim) bool { return x.ID == e.To.ID })
					if asked[c.ID] == nil {
						asked[c.ID] = make(map[uint64]int)
					}
					asked[c.ID][uint64((k-i+members)%members)]++
					reply := maps[e.To.ID].Receive(now, &e.Request)
					m.Answered(now, e.Call, &reply)
				}
			}
		}
	}
	questions := 0
	for id, far := range asked {
		for d, n := range far {
			if questions += n; n < 4 {
				t.Errorf("%x asked one %d places on %d times, in five sweeps", id, d, n)
			}
		}
		if len(far) > 8 {
			t.Errorf("%x asked %d members: %v", id, len(far), far)
		}
		if !maps[id].swept() {
			t.Error("the circle is not certain")
		}
	}
	if each := float64(questions) / 4 / members; each > 3 {
		t.Errorf("a member asks %.1f questions in a sweep, want at most 3", each)
	}
}

// What tells another anchor that a sweep has begun is of no check, also while one is open.
func TestRousingIsOfNoCheck(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(7, 7)), 16, 64)
	for _, answered := range []bool{true, false} {
		m, other := memberOf(all, 0), memberOf(all, 1)
		m.begin(check{open: true, sweep: true, waiting: 1})
		m.rouse(0)
		sent := effects(m)
		if len(sent) != 1 || sent[0].Do != Send {
			t.Fatalf("%d effects", len(sent))
		}
		if answered {
			r := other.Receive(0, &sent[0].Request)
			m.Answered(0, sent[0].Call, &r)
		} else {
			m.Failed(0, sent[0].Call, false)
		}
		if !m.check.open || m.check.waiting != 1 || m.check.heard {
			t.Errorf("answered %v: the check is %+v", answered, m.check)
		}
		if more := effects(m); len(more) > 0 {
			t.Errorf("answered %v: %+v", answered, more)
		}
	}
}

// What a member asks of which the answer does not count is answered in a few bytes.
func TestGreetingsAreAnsweredBriefly(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(8, 8)), 16, 64)
	m := memberOf(all, 0)
	for i, c := range all[1:] {
		x := memberOf(all, i+1)
		r := m.greeting(c.ID)
		if reply := x.Receive(0, &r); len(reply.Stretches) > 0 {
			t.Errorf("%x answers %+v", c.ID, reply)
		}
	}
}

func TestWhomASweepAsks(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(6, 6)), 16, 64)
	for _, x := range []struct {
		name              string
		place, row, tries int
		last, legacy      int // places; 0: none
		want              int
	}{
		{name: "the next", place: 1, want: 1},
		{name: "a power of two", place: 8, want: 8},
		{name: "the last power of two", place: 7, want: 4},
		{name: "one that was asked before", place: 7, last: 4, row: 1, want: 4},
		{name: "not one that was asked twice", place: 7, last: 4, row: 2, want: 7},
		{name: "not a legacy member", place: 7, legacy: 4, want: 7},
		{name: "nor the last if that is one, too", place: 4, legacy: 4, want: 3},
		{name: "another, if that did not help", place: 8, tries: 1, want: 7},
		{name: "one farther before", place: 8, tries: 2, want: 5},
		{name: "at least the next", place: 8, tries: 5, want: 1},
		{name: "none", place: 0, want: 0},
	} {
		m := memberOf(all, 0)
		first := m.homes().upTo(m.home)
		at := func(p int) *Claim { return m.homes().at(first + p - 1) }
		if x.legacy > 0 {
			of := *at(x.legacy).Of
			of.Incarnation = 0
			at(x.legacy).Of = &of
		}
		if x.last > 0 {
			m.sweep.whom, m.sweep.row = at(x.last).ID, x.row
		}
		m.sweep.tries = x.tries
		if got := m.whom(first, x.place); got != x.want {
			t.Errorf("%s: place %d, want %d", x.name, got, x.want)
		}
	}
}

// Maps that lack a process are those of the others after some sweeps, whichever lack it; also if
// only that process knows that it is in the ring, and no round says so.
func TestSweepsFindAProcessThatMapsLack(t *testing.T) {
	for seed := range uint64(80) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n, chance := 3+rng.IntN(5), 1.0
		if seed%4 == 0 {
			n, chance = 3+rng.IntN(30), rng.Float64()
		}
		all := processesOf(n, 1+rng.IntN(4))
		lacked := all[rng.IntN(len(all))].home()
		var without []Claim // as they were before it came
		for i := range all {
			if all[i].home() == lacked {
				all[i].Epoch++
			} else {
				without = append(without, all[i])
			}
		}
		for i := range without {
			without[i].After = without[(i+len(without)-1)%len(without)].ID
		}
		maps := mapsOf(all)
		for home, m := range maps {
			if home != lacked && rng.Float64() < chance {
				m.Fill(NewTable(64, without))
			}
		}
		run(maps, 0, 4*sweepEvery*time.Second)
		for home, m := range maps {
			if k := m.t.Len(); k != len(all) {
				t.Errorf("seed %d: of %d claims %x has %d, of %d processes; what it may lack is of %x", seed, len(all), home, k, n, lacked)
			}
		}
	}
}
