package invariant

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Rules of what a client has of the maps of members, and of the sweeps by which maps are certified.
const (
	// CopyIsTold: what a client has is what the map of the member was when that told of it.
	CopyIsTold = "copy-is-what-was-told"
	// CopyAge: an owner that a client names from memory has owned the key at the time that the
	// answer is of, or later.
	CopyAge = "copy-as-old-as-it-says"
	// CopyConfirmed: a client names from memory only an owner that has confirmed to it that it owns
	// the key.
	CopyConfirmed = "copy-names-confirmed"
	// CopyForward: what a client has of a point, and what it names from memory, is never of an
	// earlier epoch than before, at whichever member it asks. It holds where epochs rise: where no
	// live member is taken for gone, as in a ring that is cut apart.
	CopyForward = "copy-never-goes-back"
	// CopyDoubts: what the member doubted last at which a client was, that client does not name
	// by what others knew before.
	CopyDoubts = "copy-doubts-move-along"
	// SweepsInTime: a member begins a sweep as often as the age of maps needs, and no more often,
	// whatever the others do.
	SweepsInTime = "sweeps-in-time"
	// SweepAsksFew: where nobody comes or goes and nothing is lost, the members ask few questions in a
	// sweep. See Asked.
	SweepAsksFew = "sweep-asks-few"
	// MapCertain: where nobody comes or goes, every map is certain of the whole circle, and no older
	// than promised.
	MapCertain = "map-certain-in-time"
)

// Intervals from one sweep of a member to its next.
const (
	leastSweep = 3
	mostSweep  = 7
)

// Sweeps holds the sweeps of one member against SweepsInTime. The zero Sweeps has seen none.
type Sweeps struct {
	seen  bool
	began time.Duration
}

// Begin takes that a sweep begins, and says how that breaks the rule; empty if it does not.
func (s *Sweeps) Begin(now, interval time.Duration) (broken string) {
	gap := now - s.began
	if s.seen && (gap < leastSweep*interval || gap > mostSweep*interval) {
		broken = fmt.Sprintf("from one sweep to the next are %v (%d to %d intervals of %v)", gap, leastSweep, mostSweep, interval)
	}
	s.seen, s.began = true, now
	return broken
}

// Asked holds the questions of one sweep of all members against SweepAsksFew: a member asks two for
// each doubling of the circle at most and eight besides, and all of them askedMean on average. The
// zero Asked has seen none.
type Asked struct {
	by  map[string]int
	all int
}

const askedMean = 6

// Ask takes that one of so many members asks something, and says how that breaks the rule; empty if
// it does not.
func (a *Asked) Ask(who string, members int) (broken string) {
	if a.by == nil {
		a.by = map[string]int{}
	}
	a.by[who]++
	a.all++
	if most := 2*bits.Len(uint(members)) + 8; a.by[who] > most {
		return fmt.Sprintf("%s has asked %d times in a sweep, of at most %d", who, a.by[who], most)
	}
	if a.all > askedMean*members {
		return fmt.Sprintf("all %d members have asked %d times in a sweep, of at most %d", members, a.all, askedMean*members)
	}
	return ""
}

// Forward holds what one client has of points against CopyForward. The zero Forward has seen nothing.
type Forward struct{ points map[uint64]uint64 }

// See takes by which epoch a point is claimed, and says how that breaks the rule; empty if it does not.
func (f *Forward) See(point, epoch uint64) (broken string) {
	if was := f.points[point]; epoch < was {
		broken = fmt.Sprintf("%d is claimed by the epoch %d, and was by %d", point, epoch, was)
	}
	if f.points == nil {
		f.points = map[uint64]uint64{}
	}
	f.points[point] = epoch
	return broken
}

// Confirmed holds what one client names against CopyConfirmed. The zero Confirmed knows nothing.
type Confirmed struct{ arcs map[ring.Member][]ring.Arc }

// Confirm notes what an owner has confirmed.
func (c *Confirmed) Confirm(owner ring.Member, arc ring.Arc) {
	if c.arcs == nil {
		c.arcs = map[ring.Member][]ring.Arc{}
	}
	c.arcs[owner] = append(c.arcs[owner], arc)
}

// Name takes that an owner is named, and says how that breaks the rule; empty if it does not.
func (c *Confirmed) Name(owner ring.Member, id uint64) (broken string) {
	for _, arc := range c.arcs[owner] {
		if arc.Contains(id) {
			return ""
		}
	}
	return fmt.Sprintf("%s is named as the owner of %d, and has not confirmed it", owner.Name, id)
}
