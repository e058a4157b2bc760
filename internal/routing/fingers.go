package routing

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Fingers are a member's routes for distance: the owners of self + 2^i and of
// self + 3·2^(i−1), two for each doubling of the distance (Chord has one; the
// second saves every third hop). Most of the 128 starts have the same few owners, so
// only the distinct ones are kept, each with the starts that it covers, and only
// those are asked again. Not safe for concurrent use.
type Fingers struct {
	self    uint64
	space   ring.Space
	list    []Finger      // from the farthest to the nearest
	members []ring.Member // of the list; nil: it has changed
	next    int           // the start to be looked up next
	doubted []string      // addresses of fingers that may be gone: these come first
	offers  []offer
	tending tending
}

// Finger is a member and the starts i, Low ≤ i ≤ High, that it owns.
type Finger struct {
	Member    ring.Member
	Low, High int
}

// NewFingers returns the fingers of a member that knows none yet.
func NewFingers(self uint64, bits uint) *Fingers {
	f := &Fingers{space: ring.Space{Bits: bits}}
	f.Reset(self)
	return f
}

// Reset makes f the fingers of a member that knows none yet, in the same room.
func (f *Fingers) Reset(self uint64) {
	f.members = nil
	f.self, f.list, f.next, f.doubted, f.offers, f.tending = self, f.list[:0], f.last(), nil, nil, tending{}
}

// Clone returns a copy, in no more room than it takes.
func (f *Fingers) Clone() *Fingers {
	c := *f
	c.list = append(make([]Finger, 0, len(f.list)), f.list...)
	return &c
}

// last is the start that is farthest away.
func (f *Fingers) last() int { return 2*int(f.space.Bits) - 1 }

// Reach is how far away start i is: 2^(i/2) for an even i, and half of that more
// for an odd one.
func Reach(i int) uint64 {
	d := uint64(1) << (i / 2)
	if i%2 == 1 {
		d += d / 2
	}
	return d
}

// Start is the point that start i is about.
func (f *Fingers) Start(i int) uint64 { return f.space.Add(f.self, Reach(i)) }

// due says which start is to be looked up next and who was its owner, zero if
// unknown. At the end of a round over all starts outside the arc covered it says
// false, and begins again. Those that are doubted come first.
func (f *Fingers) due(covered ring.Arc) (start int, believed ring.Member, ok bool) {
	for len(f.doubted) > 0 {
		if i := f.at(f.doubted[0]); i >= 0 && !covered.Whole() && !covered.Contains(f.Start(f.list[i].High)) {
			return f.list[i].High, f.list[i].Member, true
		}
		f.doubted = f.doubted[1:]
	}
	if f.next < 0 || covered.Whole() || covered.Contains(f.Start(f.next)) {
		// The successor list knows the rest better.
		f.put(0, f.next, ring.Member{})
		f.next = f.last()
		return 0, ring.Member{}, false
	}
	if i := f.covers(f.next); i >= 0 {
		believed = f.list[i].Member
	}
	return f.next, believed, true
}

// covers is the index of the finger that covers a start, -1 if none does.
func (f *Fingers) covers(start int) int {
	return slices.IndexFunc(f.list, func(e Finger) bool { return e.Low <= start && start <= e.High })
}

// set notes the owner of start i and the arc that is certain to be its. The zero
// Member notes that nobody was found.
func (f *Fingers) set(i int, owner ring.Member, arc ring.Arc) {
	low := i
	if !owner.IsZero() {
		low = f.lowest(i, arc)
	}
	if len(f.doubted) == 0 {
		f.put(low, i, owner)
		f.next = low - 1
		return
	}
	was := f.doubted[0]
	k := f.at(was)
	asked := k >= 0 && f.list[k].High == i
	f.put(low, i, owner)
	switch {
	case !asked:
		f.next = low - 1
	case owner.IsZero(), owner.Addr == was, f.at(was) < 0:
		f.doubted = f.doubted[1:] // it is there, or nothing is left of it, or nobody knows
	}
}

// lowest is the nearest start that the arc of the owner of start i covers, too.
func (f *Fingers) lowest(i int, arc ring.Arc) int {
	for i > 0 && !arc.Whole() && arc.Contains(f.Start(i-1)) {
		i--
	}
	return i
}

// at is the index of the finger at an address, -1 if there is none.
func (f *Fingers) at(addr string) int {
	return slices.IndexFunc(f.list, func(e Finger) bool { return e.Member.Addr == addr })
}

// put makes owner the one of the starts from low to high.
func (f *Fingers) put(low, high int, owner ring.Member) {
	n := len(f.list)
	if !owner.IsZero() && owner.ID != f.self && (n == 0 || f.list[n-1].Low > high && f.list[n-1].Member != owner) {
		// The next one, when they are looked up for the first time: nothing that is
		// there changes.
		if n == cap(f.list) { // with little room for more: they are few
			f.list = append(make([]Finger, 0, n+8), f.list...)
		}
		f.members = nil
		f.list = append(f.list, Finger{Member: owner, Low: low, High: high})
		return
	}
	if owner.IsZero() && (high < low || n == 0 || f.list[n-1].Low > high) {
		return // nobody had them
	}
	if i := f.covers(high); i >= 0 && f.list[i].Member == owner && f.list[i].Low <= low {
		return // it had them
	}
	at := 0
	kept := make([]Finger, 0, len(f.list)+2)
	for _, e := range f.list {
		if e.High > high { // what lies above stays
			above := e
			above.Low = max(e.Low, high+1)
			kept = append(kept, above)
			at = len(kept)
		}
		if e.Low < low { // and what lies below
			below := e
			below.High = min(e.High, low-1)
			kept = append(kept, below)
		}
	}
	if !owner.IsZero() && owner.ID != f.self {
		if at > 0 && kept[at-1].Member == owner {
			kept[at-1].Low = low
		} else {
			kept = slices.Insert(kept, at, Finger{Member: owner, Low: low, High: high})
		}
	}
	f.list, f.members = kept, nil
}

// Offer notes that x says that it has just joined. If that makes it the finger of some
// starts, it is asked whether it owns the farthest of them: an errand is to be done. Offer
// reports whether it is.
func (f *Fingers) Offer(x ring.Member) bool {
	d := f.space.Distance(f.self, x.ID)
	high := f.last()
	for high >= 0 && Reach(high) > d {
		high--
	}
	i := f.covers(high)
	if i < 0 || f.space.Distance(f.self, f.list[i].Member.ID) <= d {
		return false
	}
	if len(f.offers) >= maxOffers || slices.ContainsFunc(f.offers, func(o offer) bool { return o.who.Addr == x.Addr }) {
		return false // it will be found in time
	}
	f.offers = append(slices.Clip(f.offers), offer{who: x, start: high})
	return true
}

// offer is a member that says that it is the finger of a start.
type offer struct {
	who   ring.Member
	start int
}

// ErrandPause is how long errands wait that are to be done soon: when a member has come or gone,
// those who say so to others go first, and the map says then who owns a start.
func ErrandPause(interval time.Duration) time.Duration { return interval / 8 }

// maxOffers bounds how many of them wait to be asked.
const maxOffers = 8

// Distrust has the starts of a member that may be gone looked up before others. It
// reports whether there are any.
func (f *Fingers) Distrust(addr string) bool {
	if f.at(addr) < 0 {
		return false
	}
	if !slices.Contains(f.doubted, addr) {
		f.doubted = append(slices.Clip(f.doubted), addr)
	}
	return true
}

// Followers is where the members stand whose start i is in the arc, which is its
// owner's: they need to know of a member that has just come to own it.
func Followers(i int, arc ring.Arc, space ring.Space) ring.Arc {
	d := Reach(i)
	return ring.Arc{After: space.Add(arc.After, -d), To: space.Add(arc.To, -d)}
}

// Starts is how many starts there are on a circle of that many bits.
func Starts(bits uint) int { return 2 * int(bits) }

// Distinct lists the fingers, the farthest first. The slice is never modified.
func (f *Fingers) Distinct() []Finger { return f.list }

// Members lists the members of the fingers, the farthest first. The slice is never modified.
func (f *Fingers) Members() []ring.Member {
	if f.members == nil {
		f.members = make([]ring.Member, 0, len(f.list))
		for _, e := range f.list {
			if !slices.Contains(f.members, e.Member) {
				f.members = append(f.members, e.Member)
			}
		}
	}
	return f.members
}
