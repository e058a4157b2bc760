package sim

import (
	"testing"
	"time"
)

// Processes at several identifiers do not ask all of their heads in every round, and renew
// their leases in time.
func TestLeasesOfMembersThatRest(t *testing.T) {
	for _, lease := range []time.Duration{7 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second} {
		r, err := Run(Config{Members: 42, Identifiers: []int{1, 4, 16}, Lease: lease, Duration: 2 * time.Minute, Lookups: -1}, uint64(lease))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Violations {
			t.Errorf("lease %v: %v", lease, v)
		}
		if len(r.Leases.NoOwner) > 0 {
			t.Errorf("lease %v: a point had no owner: %v", lease, r.Leases.NoOwner)
		}
		if lease == 30*time.Second && r.Maintenance > 0.6 {
			t.Errorf("%.2f messages a member and round: they do not rest", r.Maintenance)
		}
	}
}
