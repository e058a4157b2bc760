package node

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/routing"
)

// Every finger to which the connection breaks is looked up at once, not only the last.
func TestFingersLostTogetherAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Second
		g.grow(64)
		time.Sleep(20 * g.interval) // all fingers have been looked up
		n := g.nodes[0]
		v := n.Snapshot().View
		var dead []string
		for _, f := range n.Snapshot().Fingers {
			if len(dead) < 6 && !slices.Contains(v.Succ, f.Member) && f.Member != v.Pred {
				// Connections that nobody uses are closed. To this one there is one.
				if _, err := n.route(t.Context(), f.Member, routing.Query{ID: f.Member.ID}); err != nil {
					t.Fatal(err)
				}
				dead = append(dead, f.Member.Addr)
			}
		}
		for _, addr := range dead {
			g.at(addr).Close()
		}
		time.Sleep(g.interval)
		for _, f := range n.Snapshot().Fingers {
			if slices.Contains(dead, f.Member.Addr) {
				t.Errorf("%v, one of %d that died, is a finger after an interval", f.Member.Name, len(dead))
			}
		}
	})
}
