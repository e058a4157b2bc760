package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// maxOwn is how many other identifiers of its process a member remembers: those nearest after it.
const maxOwn = 16

// A process that stands at several identifiers is no acquaintance of its own: it cannot help
// itself to find a ring. But its identifiers come between one another, and one that is told of
// another, nearer than its head, asks that as it would any member. So each remembers, of the
// others of its process, the nearest after it that it has heard of.

// sibling is one of them.
type sibling struct {
	ring.Member
	next uint64 // the round before which it is not asked, since it was not in the ring
}

// isOwn reports whether x is another identifier of this process.
func (q *acquaintances) isOwn(x ring.Member) bool {
	return q.limit > 0 && x.ID != q.self && x.Addr == q.addr && x.Name == q.name && x.Choice.Several()
}

// noteOwn records a fact about another identifier of this process.
func (q *acquaintances) noteOwn(x fact, round uint64) {
	i := slices.IndexFunc(q.own, func(s sibling) bool { return s.ID == x.who.ID })
	if x.kind == hasLeft {
		if i >= 0 {
			q.own = slices.Delete(slices.Clone(q.own), i, i+1)
		}
		return
	}
	if i < 0 || q.own[i].Member != x.who {
		if i = q.rememberOwn(x.who, i); i < 0 {
			return
		}
	}
	switch s := &q.own[i]; x.kind {
	case wasVouchedFor, hasSpoken, hasAnswered:
		s.next = min(s.next, round)
	case wasSilent, isOutside, wasSuperseded:
		s.next = round + 1
	case wasNamed, mayBeElsewhere, fellOutOfView, hasLeft:
	}
}

// rememberOwn gives x a place, that at i if i is not negative, and returns which; -1: there are
// enough that are nearer.
func (q *acquaintances) rememberOwn(x ring.Member, i int) int {
	if i >= 0 {
		q.own[i] = sibling{Member: x}
		return i
	}
	at := len(q.own)
	for at > 0 && ring.Between(q.self, x.ID, q.own[at-1].ID) {
		at--
	}
	if at == maxOwn {
		return -1
	}
	q.own = slices.Insert(slices.Clone(q.own[:min(len(q.own), maxOwn-1)]), at, sibling{Member: x})
	return at
}

// nearestOwn is the nearest of them that is asked in that round and fits; zero if there is none.
func (q *acquaintances) nearestOwn(round uint64, fits func(ring.Member) bool) ring.Member {
	for _, s := range q.own {
		if s.next <= round && fits(s.Member) {
			return s.Member
		}
	}
	return ring.Member{}
}

// mayAskOwn reports whether x is one of them, and may be asked in that round.
func (q *acquaintances) mayAskOwn(x ring.Member, round uint64) bool {
	return slices.ContainsFunc(q.own, func(s sibling) bool { return s.Member == x && s.next <= round })
}
