package protocol

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// place puts a member into the ring with the given pointers, as it might stand
// after any history.
func (h *host) place(succ []ring.Member, pred ring.Member, known ...ring.Member) {
	self := h.m.self
	slices.SortFunc(succ, func(a, b ring.Member) int { return cmp.Compare(a.ID-self.ID, b.ID-self.ID) })
	h.m = Restore(self, h.m.cfg, self.ID, Standing{Pred: pred, Succ: succ, Pending: known})
}

// families are bad states: each puts the members of a world, in clockwise
// order, into a state that is weakly connected.
var families = map[string]func(w *world, ms []*host){
	// Lists and predecessors at random, a tree of acquaintances beneath.
	"random": func(w *world, ms []*host) {
		n := len(ms)
		for i, h := range ms {
			var succ []ring.Member
			for range w.rng.IntN(w.r + 1) {
				if x := ms[w.rng.IntN(n)].m.self; x != h.m.self && !slices.Contains(succ, x) {
					succ = append(succ, x)
				}
			}
			var pred ring.Member
			if x := ms[w.rng.IntN(n)].m.self; x != h.m.self && w.rng.IntN(4) > 0 {
				pred = x
			}
			var known []ring.Member
			if i > 0 {
				known = append(known, ms[w.rng.IntN(i)].m.self)
			}
			h.place(succ, pred, known...)
		}
	},
	// Two rings, one acquaintance between them.
	"two rings": func(w *world, ms []*host) {
		split(w, ms, 2, 1)
	},
	"four rings": func(w *world, ms []*host) {
		split(w, ms, min(4, len(ms)), 1)
	},
	// One ring that winds round the circle twice: everybody's successor is the
	// one after the next.
	"loopy": func(w *world, ms []*host) {
		n := len(ms)
		if n == 2 {
			// There is no such ring of one.
			ms[0].place([]ring.Member{ms[1].m.self}, ring.Member{})
			ms[1].place(nil, ring.Member{})
			return
		}
		if n%2 == 0 {
			n-- // so that it closes after two turns
			ms[n].place([]ring.Member{ms[0].m.self}, ring.Member{})
		}
		for i, h := range ms[:n] {
			h.place([]ring.Member{ms[(i+2)%n].m.self}, ms[(i+n-2)%n].m.self)
		}
	},
	// The same, and nobody knows a successor: only the member two back.
	"two back": func(w *world, ms []*host) {
		n := len(ms) - (1 - len(ms)%2)
		for i, h := range ms[:n] {
			h.place(nil, ring.Member{}, ms[(i+n-2)%n].m.self)
		}
		for _, h := range ms[n:] {
			h.place(nil, ring.Member{}, ms[0].m.self)
		}
	},
	// Everybody alone, and knows the one before in a random order.
	"chain": func(w *world, ms []*host) {
		order := w.rng.Perm(len(ms))
		for k, i := range order {
			if k == 0 {
				ms[i].place(nil, ring.Member{})
			} else {
				ms[i].place(nil, ring.Member{}, ms[order[k-1]].m.self)
			}
		}
	},
	// Everybody alone, and all know the same one.
	"star": func(w *world, ms []*host) {
		c := w.rng.IntN(len(ms))
		for i, h := range ms {
			if i == c {
				h.place(nil, ring.Member{})
			} else {
				h.place(nil, ring.Member{}, ms[c].m.self)
			}
		}
	},
	// One knows as many as it can hold, they know nobody but each the next
	// that it does not.
	"hub": func(w *world, ms []*host) {
		order := w.rng.Perm(len(ms))
		k := min(15, len(ms)-1)
		var known []ring.Member
		for _, i := range order[1 : 1+k] {
			known = append(known, ms[i].m.self)
			ms[i].place(nil, ring.Member{})
		}
		ms[order[0]].place(nil, ring.Member{}, known...)
		for j, i := range order[1+k:] {
			ms[i].place(nil, ring.Member{}, ms[order[1+j%k]].m.self)
		}
	},
	// An ideal ring whose lists are all shifted: the head is wrong everywhere.
	"shifted": func(w *world, ms []*host) {
		n := len(ms)
		for i, h := range ms {
			var succ []ring.Member
			for j := range w.r {
				if x := ms[(i+2+j)%n].m.self; x != h.m.self {
					succ = append(succ, x)
				}
			}
			h.place(succ, ms[(i+1)%n].m.self)
		}
	},
}

// split makes rings of every count-th member, joined by links acquaintances.
func split(w *world, ms []*host, count, links int) {
	for k := range count {
		var part []*host
		for i := k; i < len(ms); i += count {
			part = append(part, ms[i])
		}
		n := len(part)
		for i, h := range part {
			var succ []ring.Member
			for j := 1; j <= min(w.r, n-1); j++ {
				succ = append(succ, part[(i+j)%n].m.self)
			}
			var pred ring.Member
			if n > 1 {
				pred = part[(i+n-1)%n].m.self
			}
			h.place(succ, pred)
		}
		if k > 0 {
			for range links {
				part[w.rng.IntN(n)].m.rememberPending(ms[w.rng.IntN(len(ms)/count)*count+k-1].m.self)
			}
		}
	}
}

// TestBadStatesHeal lets members in bad states alone. HEAL_SEEDS sets how many
// seeds of each family are tried.
func TestBadStatesHeal(t *testing.T) {
	seeds := 10
	if s, err := strconv.Atoi(os.Getenv("HEAL_SEEDS")); err == nil {
		seeds = s
	}
	names := make([]string, 0, len(families))
	for name := range families {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, n := range []int{2, 3, 5, 16, 64} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				var rounds []float64
				for seed := range uint64(seeds) {
					w := newWorld(t, seed, 2+int(seed%3))
					for i := range n {
						w.member(i)
					}
					ms := slices.Clone(w.order)
					slices.SortFunc(ms, func(a, b *host) int { return cmp.Compare(a.m.self.ID, b.m.self.ID) })
					families[name](w, ms)
					for _, h := range w.order {
						// Rounds are not in step.
						w.after(time.Duration(w.rng.Int64N(int64(interval))), func() { w.step(h, Tick{}) })
					}
					d := w.healed(n, 100*interval, seed)
					rounds = append(rounds, float64(d)/float64(interval))
				}
				slices.Sort(rounds)
				t.Logf("rounds to ideal: median %.1f, most %.1f", rounds[len(rounds)/2], rounds[len(rounds)-1])
			})
		}
	}
}

// healed waits until the ring is ideal.
func (w *world) healed(n int, limit time.Duration, seed uint64) time.Duration {
	w.t.Helper()
	for w.now <= limit {
		if w.wrong(n) == "" {
			return w.now
		}
		w.run(20 * time.Millisecond)
	}
	w.t.Errorf("seed %d: not ideal after %v: %s", seed, w.now, w.wrong(n))
	if n <= 5 {
		w.t.Log(w)
	}
	return limit
}
