package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// acquaintances are the members heard of at some time, dead or alive. They are how a
// ring that fell apart finds itself again.
//
// The type only keeps records. It is told one fact at a time, by note, and returns
// what follows from it as findings; it starts nothing. Machine.record is its caller.
type acquaintances struct {
	self       uint64
	name, addr string // the member's own
	space      ring.Space
	limit      int // how many are kept; 0: none, and nothing that is told is kept
	checkEvery int // see Config
	list       []acquaintance
	own        []sibling // of the same process, the nearest after the member first
	guarded    bool      // while a victim is chosen: not among those that were met
}

// acquaintance is the record of one member.
type acquaintance struct {
	ring.Member
	condition condition
	// failures counts how often in a row it did not answer. It is above 0 exactly
	// while the condition is unresponsive.
	failures uint8
	// verified: it has answered, in this incarnation, at the address that it
	// advertises.
	verified bool
	// pending: it may not be in this member's ring. Cleared only when a placement
	// that starts there has found this member, or when its incarnation is over.
	pending bool
	// returned: it had been unresponsive and was heard again, out of view. Nothing is
	// decided by it: it is for telling that rings have met.
	returned bool
	// next is the round before which it is not asked on this member's own account.
	next uint64
}

// condition is what is known of whether an acquaintance can be asked.
type condition uint8

const (
	// present: a member of a ring, as far as known.
	present condition = iota
	// outside: it lives, and was not, or not yet, in a ring when last heard of.
	outside
	// unresponsive: it did not answer when last asked.
	unresponsive
)

// maxFailures is how often in a row a pending acquaintance does not answer before
// that is no reason to keep it.
const maxFailures = 8

// kept reports whether a has a place that nobody else is given: it may be all that two
// rings know of each other. The dead must not fill all places for ever.
func (a *acquaintance) kept() bool { return a.pending && a.failures < maxFailures }

// responsive reports whether a is not known to be silent.
func (a *acquaintance) responsive() bool { return a.condition != unresponsive }

// inRing reports whether a is known to be a member: it has answered as one, and nothing
// is known against it since. Only such members are named to others and asked in lookups.
func (a *acquaintance) inRing() bool { return a.verified && a.condition == present }

// fact is what a member has found out about another.
type fact struct {
	kind factKind
	who  ring.Member
	by   ring.Member // wasSuperseded: the one that answers in its place
}

type factKind uint8

const (
	wasNamed       factKind = iota + 1 // somebody named it
	mayBeElsewhere                     // it may be in another ring
	wasVouchedFor                      // another member has dealt with it just now
	fellOutOfView                      // a pointer named it until now; it may be needed yet
	hasSpoken                          // it has sent a message, as a member of the ring
	hasAnswered                        // it has answered at the address that it advertises
	wasSilent                          // it did not answer
	isOutside                          // it has answered, and is in no ring or on its way out
	wasSuperseded                      // another answers in its place
	hasLeft                            // it has left politely
)

// findings are what follows from facts. The caller acts on them.
type findings struct {
	// changed: what is published of the acquaintances may differ.
	changed bool
	// returned: the member had been unresponsive and is heard again, out of view.
	returned bool
	// homeless are members that may be in another ring and for whom there is no room.
	// They have to be placed now, or they are lost.
	homeless []ring.Member
	// reborn are pending members whose earlier incarnation is recorded elsewhere than
	// the later one. If the earlier lives, perhaps nobody else can tell it.
	reborn []rebirth
}

type rebirth struct{ earlier, later ring.Member }

// vicinity is what the acquaintances need to know of the member that keeps them.
type vicinity struct {
	round           uint64
	aloneOrIsolated bool // it has nobody, or not enough, to be in a ring with
	inView          func(ring.Member) bool
	choose          func(n int) int
}

// note records one fact and adds to f what follows from it.
func (q *acquaintances) note(x fact, v vicinity, f *findings) {
	if q.isOwn(x.who) {
		q.noteOwn(x, v.round)
	}
	switch x.kind {
	case wasNamed:
		q.remember(x.who, false, false, v, f)
	case mayBeElsewhere:
		q.suspectElsewhere(x.who, v, f)
	case wasVouchedFor:
		if a := q.find(x.who); a != nil {
			if !a.responsive() {
				a.returned = a.returned || !v.inView(x.who)
				a.condition, a.failures = present, 0
			}
			a.next = 0
			f.changed = true
		}
		q.suspectElsewhere(x.who, v, f)
	case fellOutOfView:
		if a := q.find(x.who); a == nil || a.responsive() {
			q.suspectElsewhere(x.who, v, f)
		}
	case hasSpoken, hasAnswered:
		met := x.kind == hasAnswered
		q.heardFrom(x.who, met, v, f)
		if a := q.find(x.who); a != nil && met {
			f.changed = f.changed || !a.verified
			a.verified = true
		}
	case wasSilent:
		q.failed(x.who, v, f)
	case isOutside:
		// It will speak up if it gets there. Forgotten, it would be remembered again as
		// soon as somebody who has not noticed yet names it.
		if a := q.find(x.who); a != nil {
			a.condition, a.failures, a.next = outside, 0, v.round+1
			f.changed = true
		}
	case wasSuperseded:
		q.supersede(x.who, x.by, v, f)
	case hasLeft:
		q.forget(x.who)
		f.changed = true
	}
}

func (q *acquaintances) forget(x ring.Member) {
	q.list = slices.DeleteFunc(q.list, func(a acquaintance) bool { return a.Member == x })
}

// find is the record of exactly x, nil if there is none. It is valid until the next
// note.
func (q *acquaintances) find(x ring.Member) *acquaintance {
	for i := range q.list {
		if q.list[i].Member == x {
			return &q.list[i]
		}
	}
	return nil
}

// remember returns the record of x, made if there is room for it. It returns nil for
// the member itself, for an earlier incarnation of a member known, and for one that is
// not kept. Met says that x has answered at its address. What others only name, or what
// is sent in its name, takes no address of a member that has, nor its place, once half of
// the places are taken so. A later incarnation that nobody has met takes the place of an
// earlier only until that answers.
func (q *acquaintances) remember(x ring.Member, pending, met bool, v vicinity, f *findings) *acquaintance {
	if !q.keeps(x) {
		return nil
	}
	inherits := false
	if q.moves(x, met) {
		var free bool
		if inherits, free = q.vacate(x, false, met); !free {
			return nil
		}
	}
	for i := range q.list {
		a := &q.list[i]
		if a.ID != x.ID {
			continue
		}
		switch {
		case a.Member == x:
			return a
		case names(a.Member, x):
			a.Member = x // the same, in full
		case x.Supersedes(a.Member), x.Legacy() && a.Legacy():
			// A new incarnation: nothing that was known of the old one applies,
			// except that it may be in another ring.
			if a.pending && x.Addr != a.Addr {
				f.reborn = append(f.reborn, rebirth{a.Member, x})
			}
			*a = acquaintance{Member: x, pending: a.pending || inherits}
		case met && !a.Legacy() && !(a.verified && a.responsive()):
			*a = acquaintance{Member: x, pending: a.pending || inherits} // there may be no later one
		default:
			return nil
		}
		f.changed = true
		return a
	}
	pending, free := q.vacate(x, pending, met)
	if !free {
		return nil
	}
	i := len(q.list)
	if i < q.limit {
		q.list = append(q.list, acquaintance{Member: x, pending: pending && met})
	} else {
		if i = q.victim(x, pending, met, v); i < 0 {
			return nil
		}
		q.list[i] = acquaintance{Member: x}
	}
	f.changed = true
	return &q.list[i]
}

// vacate sees to it that nobody else has a record with the address of x, which is to
// have one: one address is one process. Who has answered there last has it. If nobody
// has, the first that was named keeps it until it is found silent.
func (q *acquaintances) vacate(x ring.Member, pending, met bool) (inherits, free bool) {
	i := slices.IndexFunc(q.list, func(a acquaintance) bool { return a.Addr == x.Addr && (a.ID == x.ID || a.Name != x.Name) })
	if i < 0 {
		return pending, true
	}
	a := &q.list[i]
	if !met && (a.responsive() || a.kept()) {
		return pending, false
	}
	pending = pending || a.pending // whoever answers in its place may be elsewhere, too
	q.list = slices.Delete(slices.Clone(q.list), i, i+1)
	return pending, true
}

// moves reports whether x takes the record of another incarnation of its name, which was
// at another address.
func (q *acquaintances) moves(x ring.Member, met bool) bool {
	return slices.ContainsFunc(q.list, func(a acquaintance) bool {
		return a.ID == x.ID && a.Addr != x.Addr && (met || x.Supersedes(a.Member))
	})
}

// keeps reports whether x is one of whom records are kept.
func (q *acquaintances) keeps(x ring.Member) bool {
	return q.limit > 0 && x.Name != "" && x.ID != q.self && x.Addr != q.addr
}

// suspectElsewhere records that x may be in another ring.
func (q *acquaintances) suspectElsewhere(x ring.Member, v vicinity, f *findings) {
	a := q.remember(x, true, false, v, f)
	switch {
	case a == nil:
		if q.keeps(x) {
			f.homeless = append(f.homeless, x)
		}
	case !a.pending && a.responsive():
		a.pending, a.next = true, 0
		f.changed = true
	}
}

// heardFrom records that x itself spoke. One that had been unresponsive may have been
// cut off, with others: it is pending again.
func (q *acquaintances) heardFrom(x ring.Member, met bool, v vicinity, f *findings) {
	a := q.remember(x, false, met, v, f)
	if a == nil {
		return
	}
	a.next = min(a.next, v.round)
	if a.condition == present {
		f.returned = a.returned
		return
	}
	if !a.responsive() {
		a.returned = !v.inView(x)
		a.pending = a.pending || a.returned
	}
	a.condition, a.failures = present, 0
	f.returned = a.returned
	f.changed = true
}

// failed records that x did not answer. If it is pending, nothing else is known by that.
func (q *acquaintances) failed(x ring.Member, v vicinity, f *findings) {
	a := q.remember(x, false, false, v, f)
	if a == nil || a.Member != x {
		return
	}
	a.condition, a.failures = unresponsive, oneMore(a.failures, v.aloneOrIsolated)
	a.next = v.round + q.backoff(a.failures, v.aloneOrIsolated)
	f.changed = true
}

// supersede records that the incarnation x has ended: by answers in its place, and is
// as pending as x was. The record is kept as that of an unresponsive member, so that
// being named does not bring it back, unless by is the same member: an incarnation of
// it, which may have begun with a clock that went back, or a legacy member that runs in
// its place. Nothing is kept of an identifier that its process has given up, which answers
// with another: nobody will ever answer for it.
func (q *acquaintances) supersede(x, by ring.Member, v vicinity, f *findings) {
	a := q.find(x)
	pending := a != nil && a.pending
	switch {
	case by.GaveUp(x):
		q.forget(x)
		f.changed = true
	case !by.SameMember(x):
		q.failed(x, v, f)
		if a = q.find(x); a != nil {
			a.pending = false
		}
	case a != nil:
		*a = acquaintance{Member: by}
		f.changed = true
	}
	if pending {
		q.suspectElsewhere(by, v, f)
	}
}

// rolledBack reports whether by is a legacy member that runs in place of x, which is
// one of ours.
func rolledBack(x, by ring.Member) bool { return by.SameMember(x) && by.Legacy() && !x.Legacy() }

// victim chooses whose place x takes when all places are taken, -1 for none: one that
// a pointer names anyway; an unresponsive one if those are more than half; one of the
// distance class that has the most, so that the acquaintances spread over the circle;
// for a pending newcomer anyone. Never one that is kept, and for one that has not been
// met none that has, once half of all have not.
func (q *acquaintances) victim(x ring.Member, pending, met bool, v vicinity) int {
	q.guarded = !met && 2*q.unmet() >= q.limit
	defer func() { q.guarded = false }()
	var dead, loose, settled int
	var classes [65]int
	for i := range q.list {
		a := &q.list[i]
		if !a.responsive() {
			dead++
		}
		switch {
		case !q.evictable(a):
			continue
		case v.inView(a.Member):
			return i
		case !a.responsive():
			loose++
		default:
			classes[q.class(a.ID)]++
		}
		settled++
	}
	if 2*dead > len(q.list) && loose > 0 {
		return q.nth(v.choose(loose), func(a *acquaintance) bool { return !a.responsive() })
	}
	if own := q.class(x.ID); !pending {
		classes[own]++ // the newcomer competes too
	}
	fullest := 0
	for c, n := range classes {
		if n > classes[fullest] {
			fullest = c
		}
	}
	if n := classes[fullest]; n > 0 {
		return q.nth(v.choose(n), func(a *acquaintance) bool { return a.responsive() && q.class(a.ID) == fullest })
	}
	if pending && settled > 0 {
		return q.nth(v.choose(settled), func(*acquaintance) bool { return true })
	}
	return -1
}

// evictable reports whether another may take the place of a.
func (q *acquaintances) evictable(a *acquaintance) bool {
	return !a.kept() && !(q.guarded && a.verified && a.responsive())
}

// unmet counts those that have not answered at their addresses.
func (q *acquaintances) unmet() int {
	n := 0
	for i := range q.list {
		if !q.list[i].verified {
			n++
		}
	}
	return n
}

// nth is the acquaintance of number n, from 0, of those that are not kept and fit; -1
// if there are fewer.
func (q *acquaintances) nth(n int, fits func(*acquaintance) bool) int {
	for i := range q.list {
		if a := &q.list[i]; q.evictable(a) && fits(a) {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}

// class is the distance class of id: the highest bit of the clockwise distance.
func (q *acquaintances) class(id uint64) int { return q.space.Class(q.self, id) }

// oneMore counts one more failure in a row. A member that is alone does not count far:
// it may be the one that cannot be reached.
func oneMore(failures uint8, aloneOrIsolated bool) uint8 {
	if failures < 3 || failures < maxFailures && !aloneOrIsolated {
		failures++
	}
	return failures
}

// backoff is the number of rounds until an unresponsive member is tried again:
// K·2^failures/2, at most 2K, and sooner for a member that is alone, which has nothing
// else to do.
func (q *acquaintances) backoff(failures uint8, aloneOrIsolated bool) uint64 {
	k := q.checkEvery
	if aloneOrIsolated {
		return uint64(min(1<<failures, max(1, k/2)))
	}
	return uint64(min(k<<failures/2, 2*k))
}

// rarely is the number of rounds until one that is pending and unresponsive is asked
// again: K·2^failures/2, at most 16K.
func rarely(checkEvery int, failures uint8) uint64 {
	return uint64(min(checkEvery<<failures/2, 16*checkEvery))
}

// due is the round from which a is asked because it is pending: one that is
// unresponsive ever less often, since it may be dead.
func (q *acquaintances) due(a *acquaintance) uint64 {
	tried := uint64(2 * q.checkEvery)
	return a.next + max(rarely(q.checkEvery, a.failures), tried) - tried
}

// pendingDue is the pending acquaintance, of those whose time has come, that has
// waited longest, of those the nearest; nil if there is none.
func (q *acquaintances) pendingDue(round uint64) *acquaintance {
	var due *acquaintance
	for i := range q.list {
		a := &q.list[i]
		if !a.pending || q.due(a) > round {
			continue
		}
		if due == nil || a.next < due.next || a.next == due.next && ring.Between(q.self, a.ID, due.ID) {
			due = a
		}
	}
	return due
}

// nearest is the responsive acquaintance, or other identifier of this process, nearest after the
// member, of those whose time has come and that fit; zero if there is none.
func (q *acquaintances) nearest(round uint64, fits func(ring.Member) bool) ring.Member {
	best := q.nearestOwn(round, fits)
	for i := range q.list {
		a := &q.list[i]
		if !a.responsive() || a.next > round || !fits(a.Member) {
			continue
		}
		if best.IsZero() || ring.Between(q.self, a.ID, best.ID) {
			best = a.Member
		}
	}
	return best
}

// pick is a random acquaintance of those that fit; zero if there is none.
func (q *acquaintances) pick(choose func(n int) int, fits func(*acquaintance) bool) ring.Member {
	var of []int
	for i := range q.list {
		if fits(&q.list[i]) {
			of = append(of, i)
		}
	}
	if len(of) == 0 {
		return ring.Member{}
	}
	return q.list[of[choose(len(of))]].Member
}

// laterThan is an acquaintance that has answered, is responsive, and is a later
// incarnation of n; zero if there is none.
func (q *acquaintances) laterThan(n ring.Member) ring.Member {
	for i := range q.list {
		if a := &q.list[i]; a.verified && a.responsive() && a.Supersedes(n) {
			return a.Member
		}
	}
	return ring.Member{}
}

// clockwise lists the acquaintances that fit, the nearest after the member first.
func (q *acquaintances) clockwise(fits func(*acquaintance) bool) []ring.Member {
	var out []ring.Member
	for i := range q.list {
		if a := &q.list[i]; fits(a) {
			out = append(out, a.Member)
		}
	}
	slices.SortStableFunc(out, func(x, y ring.Member) int {
		switch {
		case x.ID == y.ID:
			return 0
		case ring.Between(q.self, x.ID, y.ID):
			return -1
		}
		return 1
	})
	return out
}

// placed records that a placement from x has found this member: they are in one ring.
func (q *acquaintances) placed(x ring.Member) (changed bool) {
	a := q.find(x)
	if a == nil || !a.pending {
		return false
	}
	a.pending, a.returned = false, false
	return true
}

// told records that people were told of the return of x.
func (q *acquaintances) told(x ring.Member) {
	if a := q.find(x); a != nil {
		a.returned = false
	}
}

// clone returns a copy that shares nothing.
func (q *acquaintances) clone() acquaintances {
	c := *q
	c.list = slices.Clone(q.list)
	c.own = slices.Clone(q.own)
	return c
}

// names reports whether x, as another named it, is y, as it named itself: a legacy
// member names members of ours without their incarnation.
func names(x, y ring.Member) bool {
	return x == y || x.Legacy() && x.SameMember(y)
}
