package routing

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Bounds on whom a client knows and asks.
const (
	// MaxContacts is how many contacts are kept, and how many owners of arcs are asked
	// besides them for a way into the ring.
	MaxContacts = 16
	// maxNamed is how many of the members that one contact names are kept.
	maxNamed = 3
	// MaxAsking is how many are asked at once for a way into the ring.
	MaxAsking = 16
)

// Contacts are the members that a client begins its searches at: those that answered it
// last, and some of those that they named, each of another process: all identifiers of one fail
// together. The zero Contacts are none. They are a value: the methods change nothing.
type Contacts struct {
	list []ring.Member // never modified
}

// List lists the contacts, the one met last first. It is not to be modified.
func (c Contacts) List() []ring.Member { return c.list }

// Meet adds a member of the ring that has answered, and some of the successors that it
// names. A legacy member does not say who it is itself, but whom it has for a
// predecessor: self is the zero Member then. Contacts that are suspected at the time now
// are dropped, and the last of those that are too many.
func (c Contacts) Meet(self, pred ring.Member, succ []ring.Member, s peer.Suspicions, now time.Duration) Contacts {
	var met []ring.Member
	add := func(x ring.Member) (added bool) {
		added = x.Name != "" && len(met) < MaxContacts && !slices.ContainsFunc(met, of(x))
		if added {
			met = append(met, x)
		}
		return added
	}
	add(self)
	for i, named := 0, 0; i < len(succ) && named < maxNamed; i++ {
		if add(succ[i]) {
			named++
		}
	}
	if self.IsZero() {
		add(pred)
	}
	for _, x := range c.list {
		if !s.Avoided(x, now) {
			add(x)
		}
	}
	return Contacts{met}
}

// of reports whether a member is of the process of x.
func of(x ring.Member) func(ring.Member) bool {
	return func(y ring.Member) bool { return y.Process() == x.Process() }
}

// Replenish adds a member of the ring that has answered a lookup, if fewer contacts are left than one
// answer to Meet gives. It reports whether it did. Without it a client whose contacts fail one after
// another would know nobody in the end, although its lookups have met their successors.
func (c Contacts) Replenish(x ring.Member) (_ Contacts, added bool) {
	if x.Name == "" || len(c.list) > maxNamed || slices.ContainsFunc(c.list, of(x)) {
		return c, false
	}
	return Contacts{append([]ring.Member{x}, c.list...)}, true
}

// Forget drops the member at an address, which is known not to be there: who, or
// whoever it is if that is the zero Member. It reports whether there was one.
func (c Contacts) Forget(addr string, who ring.Member) (_ Contacts, forgotten bool) {
	gone := func(x ring.Member) bool { return x.Addr == addr && (who.IsZero() || x == who) }
	if !slices.ContainsFunc(c.list, gone) {
		return c, false
	}
	return Contacts{slices.DeleteFunc(slices.Clone(c.list), gone)}, true
}

// Table is what a client's lookups begin at: it owns nothing and has no neighbours, so
// that it names no owner itself. Contacts that are suspected at the time now are left out,
// unless all are: a lookup asks whoever a new table names, though it had no answer there
// before.
func (c Contacts) Table(bits uint, s peer.Suspicions, now time.Duration) *Table {
	list := slices.DeleteFunc(slices.Clone(c.list), func(x ring.Member) bool { return s.Avoided(x, now) })
	if len(list) == 0 {
		list = c.list
	}
	return NewTable(Known{Others: list, Bits: bits, Certain: -1})
}

// Everybody lists whom to ask for a way into the ring: the contacts, owners of arcs from
// all round the circle, and whoever is at the addresses. Arcs may be nil.
func (c Contacts) Everybody(arcs *Arcs, addrs []string) []ring.Member {
	out := slices.Clone(c.list)
	if arcs != nil {
		all := arcs.All()
		n := min(len(all), MaxContacts)
		for i := range n {
			if x := all[i*len(all)/n].Owner; !slices.Contains(out, x) {
				out = append(out, x)
			}
		}
	}
	for _, a := range addrs {
		out = append(out, ring.Member{Addr: a})
	}
	return out
}

// Turn picks whom of everybody to ask now, beginning with the one at from: those that
// are not being asked, as long as no more than MaxAsking are at once, open of them
// already. Whoever does not answer keeps the others not waiting, but takes a place: next
// is where the next turn is to begin, with the first for whom there was none.
func Turn(everybody []ring.Member, from, open int, asked func(ring.Member) bool) (ask []ring.Member, next int) {
	for i := range everybody {
		at := (from + i) % len(everybody)
		x := everybody[at]
		if open+len(ask) >= MaxAsking {
			return ask, at
		}
		if !asked(x) && !slices.Contains(ask, x) {
			ask = append(ask, x)
		}
	}
	return ask, from
}
