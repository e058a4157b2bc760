package concordtest_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
)

// A member that has drained is none of the Members until it is back, and a ring settles in which
// members have other weights than they began with.
func TestRingSettlesAfterDrainsAndOtherWeights(t *testing.T) {
	t.Parallel()
	for _, several := range []bool{false, true} {
		t.Run(fmt.Sprintf("several %t", several), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				whole := 1
				if several {
					whole = 4
				}
				ring := concordtest.New(t, concordtest.Options{Config: concord.Config{VirtualNodes: uint(whole)}})
				members := ring.Start(3, nil)
				ring.Settle(t.Context())
				weigh := func(m *concord.Concord, weight, want int) {
					t.Helper()
					if err := m.SetWeight(t.Context(), weight); err != nil {
						t.Fatal(err)
					}
					ring.Settle(t.Context())
					if got := ring.Members(); len(got) != want || slices.Contains(got, m) != (weight > 0) {
						t.Errorf("weight %d: %d members, want %d", weight, len(got), want)
					}
					agree(t, ring)
				}
				weigh(members[0], 0, 2)
				if several {
					weigh(members[1], 2, 2)
				}
				weigh(members[0], whole, 3)
				weigh(members[2], 0, 2)
				ring.Kill(members[2])
				ring.Restart(members[2])
				ring.Settle(t.Context())
				agree(t, ring)
			})
		})
	}
}
