package invariant

import (
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// OneOwnerAtATime is the rule that Owners holds members against: with leases no two members
// own a point at one instant.
const OneOwnerAtATime = "one-owner-at-a-time"

// Leasehold is what a member owns, and until when.
type Leasehold struct {
	By    ring.Member
	Arc   ring.Arc
	Has   bool
	Until time.Duration
}

// Owners knows what each member owns now, in times of one clock. Members are numbers. The
// zero Owners knows nobody.
type Owners struct{ all []Leasehold }

// Own notes what member i owns from now on, and says how that breaks the rule, and for how
// long at most; empty if it does not.
func (o *Owners) Own(i int, x Leasehold, now time.Duration) (two time.Duration, broken string) {
	for len(o.all) <= i {
		o.all = append(o.all, Leasehold{})
	}
	o.all[i] = x
	if !x.Has || x.Until <= now {
		return 0, ""
	}
	for k, y := range o.all {
		if k == i || !y.Has || y.Until <= now || !(x.Arc.Contains(y.Arc.To) || y.Arc.Contains(x.Arc.To)) {
			continue
		}
		if both := min(x.Until, y.Until) - now; both > two {
			two = both
			broken = fmt.Sprintf("%s owns %v and %s owns %v, for %v", x.By.Name, x.Arc, y.By.Name, y.Arc, both)
		}
	}
	return two, broken
}

// Drop notes that member i is gone.
func (o *Owners) Drop(i int) {
	if i < len(o.all) {
		o.all[i] = Leasehold{}
	}
}

// At reports whether anybody owns a point now.
func (o *Owners) At(id uint64, now time.Duration) bool {
	for _, x := range o.all {
		if x.Has && x.Until > now && x.Arc.Contains(id) {
			return true
		}
	}
	return false
}
