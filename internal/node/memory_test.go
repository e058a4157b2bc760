package node

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/routing"
)

// TestArcsThatNoLookupWantsAreNotConfirmed looks at what a member asks before its
// first lookup and after its last: what its fingers need.
func TestArcsThatNoLookupWantsAreNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(16)
		time.Sleep(50 * g.interval)
		n := g.nodes[0]
		const rounds = 30
		quiet := func(when string) {
			before := n.Counters().RouteRequests
			time.Sleep(rounds * g.interval)
			if asked := n.Counters().RouteRequests - before; asked > rounds {
				t.Errorf("%s: %d requests in %d rounds", when, asked, rounds)
			}
		}
		quiet("before the first lookup")
		for k := range 100 {
			if _, err := n.Lookup(t.Context(), g.space.ID(fmt.Appendf(nil, "key %d", k)), routing.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * g.interval) // each arc may be confirmed once more
		quiet("after the last lookup")
	})
}
