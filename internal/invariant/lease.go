package invariant

import (
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// OneOwnerAtATime is the rule that Owners holds members against: with leases no two members
// own a point at one instant.
const OneOwnerAtATime = "one-owner-at-a-time"

// OwnedInTheEnd is the rule that with leases each member of an ideal ring owns all of its arc, once
// that has been left alone for some leases and enough processes live.
const OwnedInTheEnd = "owned-in-the-end"

// Unowned is what a member that shows v does not own of its arc at the time now, empty if it owns
// all.
func Unowned(v *protocol.View, now time.Duration) string {
	switch {
	case !v.HasArc:
		return "knows no arc"
	case !v.Holds || now >= v.Until:
		return fmt.Sprintf("has no lease for %v", v.Arc)
	case v.Held != v.Arc:
		return fmt.Sprintf("owns %v of %v", v.Held, v.Arc)
	}
	return ""
}

// Leasehold is what a member owns, and until when.
type Leasehold struct {
	By    ring.Member
	Arc   ring.Arc
	Has   bool
	Until time.Duration
}

// String says what is owned.
func (x Leasehold) String() string {
	if !x.Has {
		return "nothing"
	}
	return x.Arc.String()
}

// Owners knows what each member owns now, in times of one clock. Members are numbers. The
// zero Owners knows nobody.
type Owners struct {
	all  []Leasehold
	torn []ring.Arc
}

// Tear notes that from now on an arc may have two owners: more members have failed than leases
// allow for.
func (o *Owners) Tear(arc ring.Arc) { o.torn = append(o.torn, arc) }

// Mend notes that all that was torn is whole again.
func (o *Owners) Mend() { o.torn = nil }

// shared reports whether two arcs have a point in common that may have one owner only.
func (o *Owners) shared(x, y ring.Arc) bool {
	if !x.Contains(y.To) && !y.Contains(x.To) {
		return false
	}
	common := []ring.Arc{x}
	for _, not := range append(x.Minus(y), o.torn...) {
		common = without(common, not)
	}
	return len(common) > 0
}

func without(arcs []ring.Arc, not ring.Arc) []ring.Arc {
	var out []ring.Arc
	for _, a := range arcs {
		out = append(out, a.Minus(not)...)
	}
	return out
}

// Of is what member i owns, as far as is known.
func (o *Owners) Of(i int) Leasehold {
	if i >= len(o.all) {
		return Leasehold{}
	}
	return o.all[i]
}

// Own notes what member i owns from now on, and says how that breaks the rule, and for how
// long at most; empty if it does not. What is torn is left out.
func (o *Owners) Own(i int, x Leasehold, now time.Duration) (two time.Duration, broken string) {
	for len(o.all) <= i {
		o.all = append(o.all, Leasehold{})
	}
	o.all[i] = x
	if !x.Has || x.Until <= now {
		return 0, ""
	}
	for k, y := range o.all {
		if k == i || !y.Has || y.Until <= now || !o.shared(x.Arc, y.Arc) {
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
