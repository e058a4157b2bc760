package sim

import (
	"testing"
	"time"
)

func TestMapsOfMembersAreTheRingInTheEnd(t *testing.T) {
	for _, faults := range []Faults{0, Crash | Joins | Leaves | Loss, Cut | Pause, All} {
		for seed := range uint64(3) {
			r, err := Run(Config{Members: 12, Duration: 20 * time.Second, Faults: faults, Lookups: 20, Maps: true}, seed)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range r.Violations {
				t.Errorf("%v, seed %d: %v", faults, seed, v)
			}
			if r.Maps.Right == 0 || faults == 0 && r.Maps.Wrong > 0 {
				t.Errorf("%v, seed %d: the maps were asked, and %+v", faults, seed, r.Maps)
			}
		}
	}
}

func TestMapsChangeNothingElse(t *testing.T) {
	// A member that keeps no map sends and draws nothing for one.
	c := Config{Members: 12, Duration: 10 * time.Second, Faults: Crash}
	a, err := Run(c, 5)
	if err != nil {
		t.Fatal(err)
	}
	if a.Maps != (MapCount{}) {
		t.Errorf("maps were asked: %+v", a.Maps)
	}
	for _, lies := range []Lies{FalseClaims, FalseMaps | Ghosts} {
		if _, err := Run(Config{Members: 12, Hostile: 0.1, Lies: lies}, 1); err == nil {
			t.Errorf("without maps, hostile members lie about them: %v", lies)
		}
	}
}

// Members that were replaced together learn of it one after another, round by round, and
// claim their arcs anew: maps are those of the ring once the last has. Identifiers of a process ask
// more rarely than once a round.
func TestMapsAreTheRingWhenAllHaveClaimedTheirArcs(t *testing.T) {
	for seed, c := range map[uint64]Config{
		5: {Members: 64, Duration: time.Minute, Faults: Loss | Crash | Vanish | Joins | Leaves, Lookups: 16, Maps: true},
		7: {Members: 128, Identifiers: []int{16}, Duration: 5 * time.Second, Start: "random", Lookups: -1, Maps: true},
	} {
		r, err := Run(c, seed)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v", seed, v)
		}
	}
}

// Where rings meet, everybody is replaced on the map of somebody and claims its arc again, by which
// others are: members must not outbid each other until the rings are one.
func TestMembersOfRingsThatMeetDoNotOutbidEachOther(t *testing.T) {
	c := Config{Members: 128, Identifiers: []int{4}, Start: "four-rings", Duration: time.Second, Lookups: -1, Maps: true}
	r, err := Run(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Violations {
		t.Error(v)
	}
}
