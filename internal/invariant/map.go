package invariant

import (
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Rules of the maps that members keep.
const (
	// MapAge: what a map says of an owner, that owner has said at the time that the map
	// names, or later.
	MapAge = "map-as-old-as-it-says"
	// MapIsTheRing: the maps of an ideal ring are the ring.
	MapIsTheRing = "map-is-the-ring"
	// MapRefused: no honest member pushes so many claims that it is refused.
	MapRefused = "map-push-within-bounds"
	// MapContradicted: a map names no owner by what was said before another was named for
	// a point of the same arc.
	MapContradicted = "map-not-contradicted"
	// GrowsInTime: a process that is to choose identifiers waits for a map to choose by for an
	// interval, and a second at most.
	GrowsInTime = "grows-in-time"
)

// WaitsToGrow says how a process that is to choose identifiers waits too long, if it waits for so
// long at least; empty if it does not.
func WaitsToGrow(d, interval time.Duration) string {
	if longest := min(interval, time.Second); d > longest {
		return fmt.Sprintf("waits for %v or longer for a map to choose identifiers by, and %v are allowed", d, longest)
	}
	return ""
}

// Owned is what a member owns, or a map says that it owns: from After on, to where it
// stands.
type Owned struct {
	By    ring.Member
	After uint64
	Epoch uint64
}

// MapOfTheRing says how the map of a member differs from the ring, both clockwise from
// identifier 0; empty if it does not.
func MapOfTheRing(of string, got, want []Owned) string {
	if len(got) != len(want) {
		return fmt.Sprintf("the map of %s has %d members, the ring %d", of, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Sprintf("the map of %s says that %s owns from %d on by the epoch %d, and %s does from %d on by %d",
				of, got[i].By.Name, got[i].After, got[i].Epoch, want[i].By.Name, want[i].After, want[i].Epoch)
		}
	}
	return ""
}
