package node

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// TestNeighboursThatCannotReachEachOther says what holds, and what does not, when
// two neighbours cannot reach each other while everybody else reaches both.
func TestNeighboursThatCannotReachEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(12)
		time.Sleep(10 * g.interval)
		ms := g.live()
		x, y, z := ms[3], ms[4], ms[5]
		between := ring.Arc{After: x.cfg.Self.ID, To: y.cfg.Self.ID}
		g.cut(x.Addr(), y.Addr())
		time.Sleep(50 * g.interval)

		ids := []uint64{between.To, between.To - 1, between.After + 1}
		for k := range 40 {
			ids = append(ids, g.space.ID(fmt.Appendf(nil, "key %d", k)))
		}
		for _, m := range ms {
			// Each knows its own range, so that nobody but y holds y's keys.
			i, n := slices.Index(ms, m), len(ms)
			if arc := m.Snapshot().View.Arc; arc != (ring.Arc{After: ms[(i+n-1)%n].cfg.Self.ID, To: m.cfg.Self.ID}) {
				t.Errorf("%s answers for %v", m.cfg.Self.Name, arc)
			}
			for _, id := range ids {
				owner := g.owner(id)
				r, err := m.Lookup(t.Context(), id, routing.Options{})
				switch {
				case !between.Contains(id) || m == y:
					if err != nil || r.Owner != owner {
						t.Errorf("%s: owner of %x is %v, %v; want %v", m.cfg.Self.Name, id, r.Owner, err, owner)
					}
				case err == nil && r.Owner != owner && r.Owner != z.cfg.Self:
					// Its predecessor x takes y for dead, and the next for its owner.
					t.Errorf("%s: owner of %x is %v; want %v, or %v", m.cfg.Self.Name, id, r.Owner, owner, z.cfg.Self)
				}
				fresh, err := m.Lookup(t.Context(), id, routing.Options{Fresh: true})
				if err == nil && fresh.Owner != owner {
					t.Errorf("%s: %v says itself that %x is its, it is %v's", m.cfg.Self.Name, fresh.Owner, id, owner)
				}
				cannot := between.Contains(id) && m != y || m == y && owner == x.cfg.Self
				if err != nil && !cannot {
					t.Errorf("%s: fresh lookup of %x: %v", m.cfg.Self.Name, id, err)
				}
			}
		}

		g.net.HealAll()
		t.Logf("mended: ideal after %v", g.ideal(15*g.interval))
		time.Sleep(10 * g.interval)
		g.lookupsRight(routing.Options{})
		g.lookupsRight(routing.Options{Fresh: true})
	})
}
