// Package ringmap is the map of a whole ring that every member keeps: which member owns
// which arc of the circle, as the owners themselves said. It is a room without I/O: events
// and the time go in, effects come out, and the same events give the same effects.
//
// An owner claims its arc whenever that has changed. Its claim is pushed along a tree, so
// that every member gets it once. Each member compares stretches of its map with others,
// so that a claim that was lost is found, and so that it knows how old what it knows can
// be. docs/PROTOCOL.md has the rules and their reasons.
package ringmap

import (
	"cmp"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Claim is what an owner says of its arc, which is (After, ID].
//
// Epochs rise along the owners of a point: who takes a point over claims it with a greater
// epoch than the owner before. Within one epoch an arc only shrinks.
type Claim struct {
	ID    uint64 // where the owner stands
	After uint64
	Epoch uint64
	// Of is the process that stands there. It is never changed, and shared by all claims
	// of one identifier. One without an incarnation is a legacy member: another has spoken
	// for it, and it is not to be named without asking.
	Of *ring.Member
}

// Arc is the arc that is claimed.
func (c *Claim) Arc() ring.Arc { return ring.Arc{After: c.After, To: c.ID} }

// Owner is the member that claims.
func (c *Claim) Owner() ring.Member {
	return ring.Member{ID: c.ID, Name: c.Of.Name, Addr: c.Of.Addr, Incarnation: c.Of.Incarnation, Choice: c.Of.Choice, Home: c.Of.Home}
}

// asked is the member that is asked about a claim.
func (c *Claim) asked() ring.Member {
	if c.Of.Choice.Several() {
		return *c.Of
	}
	return c.Owner()
}

// later orders the claims of one identifier: positive if c was made after o. A clock may
// have been put back between two incarnations, so that their epochs count first.
func (c *Claim) later(o *Claim) int {
	return cmp.Or(
		cmp.Compare(c.Epoch, o.Epoch),
		cmp.Compare(c.Of.Incarnation, o.Of.Incarnation),
		// Length, of which the whole circle, where After is ID, has the greatest.
		cmp.Compare(o.ID-o.After-1, c.ID-c.After-1),
		cmp.Compare(c.Of.Addr, o.Of.Addr),
	)
}

// covers reports whether the point is in the arc and not its end.
func (c *Claim) covers(point uint64) bool { return ring.Between(c.After, point, c.ID) }

// hash is what sums of stretches are made of.
func (c *Claim) hash() uint64 {
	h := mix(c.ID ^ 0x9e3779b97f4a7c15)
	h = mix(h ^ c.After)
	h = mix(h ^ c.Epoch)
	return mix(h ^ c.Of.Incarnation)
}

// mix is a permutation of 64 bits in which every bit depends on every other.
func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}
