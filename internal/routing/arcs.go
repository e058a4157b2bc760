package routing

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Arcs are the confirmed arcs that somebody keeps: who owns which arc of the
// circle, as that owner said of late, or its predecessor. No two overlap. Find
// takes no lock and allocates nothing; all methods may be called concurrently.
//
// An arc whose time is over stays, as a hint whom to ask, until it is contradicted
// or its place is needed.
type Arcs struct {
	self  uint64
	bits  uint
	limit int

	mu    sync.Mutex // of writers
	table atomic.Pointer[arcTable]
}

// arcTable is never modified, but for the confirmations of its arcs.
type arcTable struct {
	ends []uint64 // where the arcs end, ascending
	arcs []*Confirmed
	// The circle is cut into slices of 2^shift identifiers, four or more for each
	// arc; first has the index of the first arc that ends in a slice or after it.
	// Identifiers are hashes, so most slices hold the end of no arc.
	shift uint
	first []uint16
}

func newArcTable(arcs []*Confirmed, width uint) *arcTable {
	slices := min(uint(bits.Len(uint(len(arcs))))+2, width)
	t := &arcTable{arcs: arcs, ends: make([]uint64, len(arcs)), shift: width - slices, first: make([]uint16, 1<<slices+1)}
	slice := 0
	for i, c := range arcs {
		t.ends[i] = c.Arc.To
		for ; slice <= int(c.Arc.To>>t.shift); slice++ {
			t.first[slice] = uint16(i)
		}
	}
	for ; slice < len(t.first); slice++ {
		t.first[slice] = uint16(len(arcs))
	}
	return t
}

// Confirmed is an arc and its owner. The arc and the owner never change.
type Confirmed struct {
	Arc    ring.Arc
	Owner  ring.Member
	latest atomic.Pointer[Confirmation]
	used   atomic.Bool // found since it was last swept
}

// Confirmation says when a member named the owner of an arc, and for how long that
// answers lookups.
type Confirmation struct {
	By    ring.Member   // the owner, or its predecessor
	At    time.Duration // the instant that it speaks of, or an earlier one
	Until time.Duration // before this it may answer lookups
	Epoch uint64        // that by which the owner claims the arc; 0: not known
}

// Latest returns the latest confirmation of the arc.
func (c *Confirmed) Latest() Confirmation { return *c.latest.Load() }

// Holds reports whether the arc may answer lookups at the time now, by a confirmation
// that is not older than age; 0: however old it is.
func (c *Confirmed) Holds(now, age time.Duration) bool {
	latest := c.latest.Load()
	return now < latest.Until && (age == 0 || now-latest.At <= age)
}

// NewArcs returns no arcs of a circle of 2^bits points, kept for the member at
// self, at most limit, which is below 2^16.
func NewArcs(self uint64, bits uint, limit int) *Arcs {
	a := &Arcs{self: self, bits: bits, limit: limit}
	a.table.Store(&arcTable{})
	return a
}

// Find returns the arc that the identifier lies on, nil if none is known. Whether
// it still holds, Holds says. It is for lookups: what they find is kept
// confirmed. Who only wants to know what is known calls Known.
func (a *Arcs) Find(id uint64) *Confirmed {
	c := a.table.Load().find(id)
	if c != nil && !c.used.Load() { // a write only when it tells something
		c.used.Store(true)
	}
	return c
}

// Known is Find for others than lookups.
func (a *Arcs) Known(id uint64) *Confirmed { return a.table.Load().find(id) }

// find is the arc that id lies on, nil if none is known.
func (t *arcTable) find(id uint64) *Confirmed {
	if len(t.ends) == 0 {
		return nil
	}
	if c := t.arcs[t.next(id)]; c.Arc.Contains(id) {
		return c
	}
	return nil
}

// next is the index of the first arc that ends at id or clockwise after it.
func (t *arcTable) next(id uint64) int {
	slice := id >> t.shift
	lo, hi := int(t.first[slice]), int(t.first[slice+1])
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if t.ends[mid] < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(t.ends) {
		return 0
	}
	return lo
}

// Near lists at most n owners that stand before the identifier, nearest to it
// first, whether their arcs hold or not: they know what lies after them best.
func (a *Arcs) Near(id uint64, n int) []ring.Member {
	t := a.table.Load()
	if len(t.ends) == 0 {
		return nil
	}
	n = min(n, len(t.ends))
	out := make([]ring.Member, 0, n)
	for i := t.next(id) - 1; len(out) < n; i-- {
		out = append(out, t.arcs[(i+len(t.arcs))%len(t.arcs)].Owner)
	}
	return out
}

// Len is how many arcs are kept.
func (a *Arcs) Len() int { return len(a.table.Load().ends) }

// All lists the arcs in the order of their ends.
func (a *Arcs) All() []*Confirmed { return a.table.Load().arcs }

// Confirm notes that the owner of an arc was confirmed. Where arcs overlap, the later
// confirmation counts.
func (a *Arcs) Confirm(arc ring.Arc, owner ring.Member, given Confirmation) {
	if owner.ID != arc.To {
		return // no member owns what lies beyond it
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.table.Load()
	if c := t.find(arc.To); c != nil && c.Arc == arc && c.Owner == owner {
		if c.latest.Load().At < given.At { // of the same instant nothing is new, and it may have been doubted
			c.latest.Store(&given)
		}
		return
	}
	kept := make([]*Confirmed, 0, len(t.arcs)+1)
	for _, c := range t.arcs {
		switch {
		case !overlap(c.Arc, arc):
			kept = append(kept, c)
		case c.latest.Load().At > given.At:
			kept = append(kept, c)
			var ok bool
			if arc, ok = without(arc, c.Arc); !ok {
				return // all that is new about it is old
			}
		default:
			if rest, ok := without(c.Arc, arc); ok {
				kept = append(kept, c.shrunk(rest))
			}
		}
	}
	c := &Confirmed{Arc: arc, Owner: owner}
	c.latest.Store(&given)
	a.store(append(kept, c))
}

// Contradict takes the arc out of all that others were said to own: it is known
// to be somebody's, and no confirmation of that is to be kept.
func (a *Arcs) Contradict(arc ring.Arc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.table.Load()
	if !slices.ContainsFunc(t.arcs, func(c *Confirmed) bool { return overlap(c.Arc, arc) }) {
		return
	}
	kept := make([]*Confirmed, 0, len(t.arcs)+1)
	for _, c := range t.arcs {
		if !overlap(c.Arc, arc) {
			kept = append(kept, c)
		} else if rest, ok := without(c.Arc, arc); ok {
			kept = append(kept, c.shrunk(rest))
		}
	}
	a.store(kept)
}

// NoteMember notes that x is a member: whoever was said to own the arc in which it
// stands owns no more than what follows it.
func (a *Arcs) NoteMember(x ring.Member) {
	if c := a.table.Load().find(x.ID); c != nil && c.Owner.ID != x.ID {
		a.Contradict(ring.Arc{After: x.ID - 1, To: x.ID})
	}
}

// Doubt ends the time of every arc whose owner matches: lookups ask again. It
// reports whether there was one.
func (a *Arcs) Doubt(matches func(owner ring.Member) bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := false
	for _, c := range a.table.Load().arcs {
		if matches(c.Owner) {
			latest := *c.latest.Load()
			latest.Until = latest.At
			c.latest.Store(&latest)
			found = true
		}
	}
	return found
}

// Drop forgets the arcs whose owner matches.
func (a *Arcs) Drop(matches func(owner ring.Member) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.table.Load()
	if slices.ContainsFunc(t.arcs, func(c *Confirmed) bool { return matches(c.Owner) }) {
		a.store(slices.DeleteFunc(slices.Clone(t.arcs), func(c *Confirmed) bool { return matches(c.Owner) }))
	}
}

// Due lists the arcs, at most n, of whose time two thirds are over and that lookups
// have found since they were asked about last: those to be confirmed again. Live
// says that there are arcs which hold, confirmed by others: look again soon.
func (a *Arcs) Due(now time.Duration, n int) (due []*Confirmed, live bool) {
	for _, c := range a.table.Load().arcs {
		latest := c.latest.Load()
		if latest.Until <= now {
			c.used.Store(false) // a lookup that wants it will ask
			continue
		}
		if latest.By.ID == a.self && latest.By != c.Owner { // a client, which has no place, is at 0 too
			continue // comes anew in every round
		}
		live = true
		if c.used.Load() && latest.At+(latest.Until-latest.At)*2/3 <= now && len(due) < n {
			due = append(due, c)
		}
	}
	return due, live
}

// Asked notes that the arc is being confirmed again. That is done once more only
// if lookups find it from now on.
func (c *Confirmed) Asked() { c.used.Store(false) }

// shrunk is what is left of c when others own the rest of its arc.
func (c *Confirmed) shrunk(rest ring.Arc) *Confirmed {
	s := &Confirmed{Arc: rest, Owner: c.Owner}
	s.latest.Store(c.latest.Load())
	s.used.Store(c.used.Load())
	return s
}

// store makes arcs the table, without one if they are too many.
func (a *Arcs) store(arcs []*Confirmed) {
	if len(arcs) > a.limit {
		i := a.victim(arcs)
		arcs = slices.Delete(arcs, i, i+1)
	}
	slices.SortFunc(arcs, func(x, y *Confirmed) int { return cmp.Compare(x.Arc.To, y.Arc.To) })
	a.table.Store(newArcTable(arcs, a.bits))
}

// victim chooses whose place is taken: the one confirmed longest ago of those that
// no lookup wants, and among those one of the distance class that has the most,
// so that what is kept for later spreads over the circle.
func (a *Arcs) victim(arcs []*Confirmed) int {
	var count [65]int
	class := func(c *Confirmed) int { return ring.Space{Bits: a.bits}.Class(a.self, c.Owner.ID) }
	for _, c := range arcs {
		if !c.used.Load() {
			count[class(c)]++
		}
	}
	best := -1
	for i, c := range arcs[:len(arcs)-1] { // the last is the newcomer
		if best < 0 {
			best = i
			continue
		}
		b := arcs[best]
		x := cmp.Or(
			compare(b.used.Load(), c.used.Load()),
			-cmp.Compare(count[class(b)], count[class(c)]),
			cmp.Compare(b.latest.Load().At, c.latest.Load().At),
		)
		if x > 0 {
			best = i
		}
	}
	return best
}

func compare(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	}
	return 1
}

// overlap reports whether the arcs have a point in common.
func overlap(a, b ring.Arc) bool { return a.Contains(b.To) || b.Contains(a.To) }

// without is what a has and b has not, as far as it reaches to the end of a.
func without(a, b ring.Arc) (ring.Arc, bool) {
	switch {
	case b.Contains(a.To):
		return ring.Arc{}, false
	case !a.Contains(b.To):
		return a, true
	}
	return ring.Arc{After: b.To, To: a.To}, true
}
