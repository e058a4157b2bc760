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
