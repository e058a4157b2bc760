package routing

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// How fingers are tended.
const (
	// fingerRounds is in how many rounds one finger is looked up when nothing has
	// happened. That is only the safety net, and so costs the same in a ring of any
	// size: a member that joins tells those whose finger it becomes, and a finger to
	// which the connection breaks is looked up at once.
	fingerRounds = 4
	// fingerPatience is for how many rounds a member that has joined waits for its
	// neighbours to settle before it looks its fingers up for the first time. While
	// many members join at once, what is found is wrong a moment later.
	fingerPatience = 3
	// maxFollowers bounds how many members are told of a joiner for one start.
	maxFollowers = 4
)

// tending is what a member has yet to do for its fingers. The zero value is that of a
// member that has just joined.
type tending struct {
	version uint64 // of the view, in the round before
	round   int
	settled bool // the neighbours have settled, and all fingers were asked for
	wanted  wanted
	// While announcing, the member tells others of itself: for each start, from the
	// farthest on, those whose start it owns by having joined.
	announcing bool
	start      int
	follow     ring.Arc // where the followers stand of whom one is looked up
	at         uint64   // the point at which it is looked up
	told       int
}

// wanted is which fingers are to be looked up.
type wanted uint8

const (
	noFinger wanted = iota
	oneFinger
	allFingers
)

// Errand is one thing to be done for the fingers: a point whose owner is wanted.
type Errand struct {
	ID uint64
	// Believed, if not zero, is the owner so far. It is asked first.
	Believed ring.Member
	// Announce says that the owner is wanted to be told of this member.
	Announce bool
	// Offered says that Believed has offered itself. If it does not confirm that, nobody
	// else is to be looked for.
	Offered bool

	start int
}

// Confirms reports whether the answer of the owner believed in shows that it is the
// owner still.
func (e Errand) Confirms(a Answer) bool { return a.Verdict == Mine || a.Owner == e.Believed }

// Charted reports whether the map of the ring may answer, if it names an owner: it is
// younger than what a finger was found by may be. Whoever offers itself is asked.
func (e Errand) Charted() bool { return !e.Offered }

// Fresh reports whether the owner's own confirmation is wanted. The member's own table
// answers for its successor list only; a finger is farther, and its arc is wanted.
func (e Errand) Fresh() bool { return !e.Announce }

// Round begins a round of a member in a ring whose view has this version.
func (f *Fingers) Round(version uint64) {
	t := &f.tending
	t.round++
	if t.settled {
		if t.wanted == noFinger && t.round%fingerRounds == 0 {
			t.wanted = oneFinger
		}
		return
	}
	same := version == t.version
	t.version = version
	if same || t.round >= fingerPatience {
		t.settled, t.wanted = true, allFingers
	}
}

// Fill looks up every start outside the arc covered, as a whole round does, by a
// function that knows the owner of each point and its arc.
func (f *Fingers) Fill(covered ring.Arc, owner func(id uint64) (ring.Member, ring.Arc)) {
	for {
		start, _, ok := f.due(covered)
		if !ok {
			return
		}
		x, arc := owner(f.Start(start))
		f.set(start, x, arc)
	}
}

// Settle makes f the fingers of a member that has tended them for so many rounds.
func (f *Fingers) Settle(rounds int) { f.tending = tending{settled: true, round: rounds} }

// Errand is the next thing to be done, by what the table knows; nil: the member is in
// no ring. It reports false if there is nothing to do now. Otherwise the caller does
// it, calls Found, and asks again.
func (f *Fingers) Errand(table *Table) (Errand, bool) {
	t := &f.tending
	if table == nil {
		t.wanted, t.announcing, f.offers = noFinger, false, nil
		return Errand{}, false
	}
	if len(f.offers) > 0 {
		o := f.offers[0]
		return Errand{ID: f.Start(o.start), Believed: o.who, Offered: true, start: o.start}, true
	}
	if !t.announcing && (t.wanted != noFinger || t.settled && len(f.doubted) > 0) {
		if start, believed, ok := f.due(table.covered()); ok {
			return Errand{ID: f.Start(start), Believed: believed, start: start}, true
		}
		if t.wanted == allFingers {
			t.announcing = true
			f.announceFrom(table, Starts(f.space.Bits)-1)
		}
		t.wanted = noFinger
	}
	if t.announcing {
		return Errand{ID: t.at, Announce: true, start: t.start}, true
	}
	return Errand{}, false
}

// announceFrom has the followers of a start told next. Those that are nearer than the
// length of the member's own arc have it in their successor lists.
func (f *Fingers) announceFrom(table *Table, start int) {
	t := &f.tending
	arc := table.Arc
	if !table.HasArc || arc.Whole() || start < 0 || Reach(start) < f.space.Distance(arc.After, arc.To) {
		t.announcing = false
		return
	}
	t.start, t.told = start, 0
	t.follow = Followers(start, arc, f.space)
	t.at = f.space.Add(t.follow.After, 1)
}

// Found takes the answer of a lookup that was done for an errand, the zero Answer if
// it has failed. A finger's owner is the better known by it: owner names it, zero if
// nobody was found, and news says that it is another than was believed. For an
// announcement, owner is to be told of this member, unless it is zero.
func (f *Fingers) Found(table *Table, e Errand, a Answer) (owner ring.Member, news bool) {
	if e.Announce {
		return f.followed(table, a.Owner), false
	}
	owner, arc := a.Owner, table.shorten(a.Arc, a.Owner, func(ring.Member) bool { return false })
	if e.Offered {
		f.offers = slices.DeleteFunc(slices.Clone(f.offers), func(o offer) bool { return o.who == e.Believed })
		if !a.HasArc || !arc.Contains(e.ID) {
			return ring.Member{}, false
		}
		f.put(f.lowest(e.start, arc), e.start, owner)
		return owner, true
	}
	switch {
	case a.HasArc && arc.Contains(e.ID):
	case a.HasArc:
		arc = ring.Arc{After: e.ID - 1, To: e.ID} // it is not certain of more
	case owner.Name != "" && (owner.Legacy() || owner == e.Believed):
		arc = ring.Arc{After: e.ID - 1, To: e.ID} // no more than that is known
	default:
		owner = ring.Member{}
	}
	f.set(e.start, owner, arc)
	if f.tending.wanted == oneFinger {
		f.tending.wanted = noFinger
	}
	return owner, owner.Name != "" && owner != e.Believed
}

// followed goes on after x was found at the point where a follower was looked up. It
// returns x if that is to be told.
func (f *Fingers) followed(table *Table, x ring.Member) ring.Member {
	t := &f.tending
	if !t.announcing {
		return ring.Member{}
	}
	tell := x.Name != "" && t.follow.Contains(x.ID) && x.ID != f.self && !x.Legacy()
	t.told++
	t.at = f.space.Add(x.ID, 1)
	if !tell || t.told >= maxFollowers || !t.follow.Contains(t.at) {
		if table == nil {
			t.announcing = false
		} else {
			f.announceFrom(table, t.start-1)
		}
	}
	if !tell {
		return ring.Member{}
	}
	return x
}

// covered is the arc that the successor list knows better than any finger.
func (t *Table) covered() ring.Arc {
	covered := ring.Arc{After: t.Self.ID, To: t.Self.ID}
	if k := len(t.Succ); k == t.Full {
		covered.To = t.Succ[k-1].ID
	}
	return covered
}
