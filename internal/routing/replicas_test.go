package routing

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// choose is what Replicas chooses of members m0, m1, … in these zones, and how many of them
// it looked at.
func choose(n int, zones []string) (chosen string, lookedAt int) {
	r := NewReplicas(n)
	for i, z := range zones {
		lookedAt++
		if r.Add(ring.Member{ID: uint64(i), Name: fmt.Sprintf("m%d", i)}, z) {
			break
		}
	}
	var names []string
	for _, m := range r.Members() {
		names = append(names, m.Name)
	}
	return strings.Join(names, " "), lookedAt
}

func TestReplicasAreInZonesOfTheirOwnFirst(t *testing.T) {
	for _, c := range []struct {
		n        int
		zones    string // - is none
		want     string
		lookedAt int
	}{
		{1, "a a b", "m0", 1},
		{2, "a a b", "m0 m2", 3},
		{3, "a a b", "m0 m2 m1", 3},
		{3, "a a a b c", "m0 m3 m4", 5},
		{3, "a b c a b c", "m0 m1 m2", 3},
		{4, "a b a c a b", "m0 m1 m3 m2", 6},
		{5, "a b a c a b", "m0 m1 m3 m2 m4", 6},
		{9, "a b a", "m0 m1 m2", 3},
		{3, "- - - -", "m0 m1 m2", 3},
		{3, "a a - a -", "m0 m2 m4", 5},
		{2, "a a a a a a a a a a a a a a a a b", "m0 m1", 16},
		{2, "", "", 0},
	} {
		zones := strings.Fields(strings.ReplaceAll(c.zones, "-", "none"))
		for i, z := range zones {
			if z == "none" {
				zones[i] = ""
			}
		}
		got, lookedAt := choose(c.n, zones)
		if got != c.want || lookedAt != c.lookedAt {
			t.Errorf("%d of %q: %q after %d; want %q after %d", c.n, c.zones, got, lookedAt, c.want, c.lookedAt)
		}
	}
}

// When a zone is gone, those of a key's replicas that are left are among its new ones.
func TestReplicasOutliveAZone(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		zones := make([]string, 3+rng.IntN(15))
		for i := range zones {
			zones[i] = string(rune('a' + rng.IntN(3)))
		}
		dead := string(rune('a' + rng.IntN(3)))
		before, after := NewReplicas(3), NewReplicas(3)
		for i, z := range zones {
			if before.Add(ring.Member{ID: uint64(i)}, z) {
				break
			}
		}
		for i, z := range zones {
			if z != dead && after.Add(ring.Member{ID: uint64(i)}, z) {
				break
			}
		}
		for _, m := range before.Members() {
			// One that was only there for want of zones can give way to one that is not.
			spare := slices.Index(zones, zones[m.ID]) != int(m.ID)
			if zones[m.ID] != dead && !spare && !slices.Contains(after.Members(), m) {
				t.Fatalf("%v without %s: %v before, %v after", zones, dead, before.Members(), after.Members())
			}
		}
	}
}
