package sim

import (
	"testing"
	"time"
)

// Rings of processes of one identifier and of several heal from drains and changes of
// weights, alone and among other faults.
func TestWeightsChange(t *testing.T) {
	for name, cfg := range map[string]Config{
		"drains":      {Members: 16, Faults: Drains},
		"few":         {Members: 3, Faults: Drains},
		"identifiers": {Members: 42, Identifiers: []int{1, 4, 16}, Faults: Drains, Maps: true},
		"faults":      {Members: 16, Faults: Drains | Loss | Crash | Vanish | Joins | Leaves | Pause, Maps: true},
		"everything":  {Members: 42, Identifiers: []int{1, 4, 16}, Faults: Drains | All},
		"leases":      {Members: 7, MinMembers: 4, Lease: 9 * time.Second, Faults: Drains | All, NoFingers: true},
		"owners":      {Members: 16, Lease: 9 * time.Second, Faults: Drains | Joins | Leaves, NoFingers: true},
	} {
		cfg.Duration = 30 * time.Second
		for seed := range seedsOf(2, 4) {
			r, err := Run(cfg, seed)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Violations) > 0 {
				t.Errorf("%s, seed %d: %v", name, seed, r.Violations[0])
			}
			if r.Faults == 0 || r.Leases != nil && r.Leases.TwoOwners > 0 {
				t.Errorf("%s, seed %d: %d faults, %+v", name, seed, r.Faults, r.Leases)
			}
		}
	}
}
