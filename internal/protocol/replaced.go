package protocol

import (
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file finds out whether another member has answered for this member's arc.
//
// A member that hangs, or is cut off, is taken for dead: its successor adopts the
// predecessor before it, and answers for both arcs. When the member is back nothing
// of its own has changed, and so nothing tells its program that others have served
// its keys. There are four signs of it, all in what its head says of itself:
//
//   - The head names a predecessor that stands before this member, so that the head's
//     arc holds this member's identifier. The head says so in each answer until this
//     member notifies it, and this member notifies no head that it has not heard. So a
//     lost answer does no harm. Legacy members say it, too, and so does
//     a head in a ring that this member's ring is about to become one with.
//   - The head says that it has replaced this member, though it names another by now:
//     a joiner came between the two, say.
//   - The head says that it was replaced itself by one that answered for this member's
//     arc, too: they hung together, or both were on the same side of a cut.
//   - This member finds by its own clock that it has hung, since a round begins late,
//     and the head is not the one that named it before. The former head may have taken
//     over and died.

// Replaced says of a member that another has answered for its arc while it lived.
type Replaced struct {
	Who ring.Instance
	By  ring.Member
	// By answered for all that comes after this point, up to Who. If it is Who's own
	// identifier, By was a ring of one and nothing is said of the members before Who.
	After uint64
	// Number tells what one member says of different times apart. 0: Replaced says
	// nothing.
	Number uint64
}

// replacement is what a member knows of others that answer for its arc.
type replacement struct {
	// known: a head has answered for this member's identifier, and the program was
	// told. It ends when a head names this member as its predecessor.
	known bool
	// bare: the head's arc alone has told so, without a Number.
	bare bool
	// namedBy is the head that last named this member as its predecessor; zero:
	// none has.
	namedBy ring.Member
	// teller is the incarnation that last said that this member was replaced, and number the
	// Number that it gave.
	teller ring.Instance
	number uint64
	tells  Replaced // what this member says of its predecessor

	due    time.Duration // when the next round should begin; 0: none is scheduled
	doubts bool          // it has hung, and no head has named it or replaced it since
	since  time.Duration // when it found that it had hung

	by ring.Member // found in this Step: who has answered for the arc; zero: nobody
}

// arcStart is the point after which the arc of the member in state st begins. It
// reports false if that member answers for nothing: it does not know its predecessor.
func arcStart(st State) (uint64, bool) {
	if !st.Pred.IsZero() {
		return st.Pred.ID, true
	}
	return st.Self.ID, len(st.Succ) == 0
}

// Arc is the arc that a member in state s claims, if it claims any.
func (s *State) Arc() (ring.Arc, bool) {
	after, ok := arcStart(*s)
	return ring.Arc{After: after, To: s.Self.ID}, ok && s.Phase.InRing()
}

// heardHead takes from the head's answer to a question asked at that time whether
// others have answered for this member's arc.
func (m *Machine) heardHead(st State, asked time.Duration) {
	r := &m.replaced
	was := r.known
	t := st.Replaced
	noted := t.Number != 0 && t.Who == m.self.Instance()
	alone := t.After == m.self.ID // By was a ring of one, which concerns those whose successor it still was
	var by ring.Member
	var after uint64
	if noted && r.take(st.Self, t, alone) {
		by, after = t.By, t.After
	}
	start, has := arcStart(st)
	if st.Pred.IsZero() && st.Self != r.namedBy {
		has = false // a ring of one likewise
	}
	switch {
	case has && ring.Arc{After: start, To: st.Self.ID}.Contains(m.self.ID):
		if !r.known && (!noted || alone) {
			by, after, r.bare = st.Self, start, true
		}
		r.known, r.doubts = true, false
	case st.Pred == m.self:
		m.assured(asked)
		if r.doubts && asked >= r.since {
			r.doubts = false
			if st.Self != r.namedBy && by.IsZero() {
				by, after = st.Self, m.self.ID // of the members before nothing is known
			}
		}
		r.known, r.bare, r.namedBy = false, false, st.Self
	}
	m.dirty = m.dirty || r.known != was
	if !by.IsZero() {
		m.wasReplaced(by, after)
	}
}

// take notes that teller says t of this member. It reports whether that is news. Alone
// says that t.By was a ring of one.
func (r *replacement) take(teller ring.Member, t Replaced, alone bool) (news bool) {
	if r.teller == teller.Instance() && r.number == t.Number {
		return false
	}
	r.teller, r.number = teller.Instance(), t.Number
	if alone && r.namedBy != t.By {
		return false
	}
	news = !r.bare // else the head's arc has told it already
	r.known, r.bare = true, false
	return news
}

// wasReplaced notes that another has answered for all that comes after a point, up to
// this member, and has the predecessor learn of it if that is concerned.
func (m *Machine) wasReplaced(by ring.Member, after uint64) {
	m.replaced.by = by
	m.dirty = true
	if p := m.pred; !p.IsZero() && after != m.self.ID && ring.Between(after, p.ID, m.self.ID) {
		m.say(p, by, after)
	}
}

// hasReplaced notes that this member has taken over the arc of old, which does not
// answer, by taking p for its predecessor, or nobody. What it says of one that is its
// predecessor no longer it says no more.
func (m *Machine) hasReplaced(old, p ring.Member, cause Cause) {
	r := &m.replaced
	switch {
	case cause == CauseAlone && !old.IsZero():
		m.say(old, m.self, old.ID)
	case cause == CausePredecessorFailed && !old.IsZero() && !p.IsZero() && ring.Between(p.ID, old.ID, m.self.ID):
		if r.tells.concerns(old, p) {
			m.say(p, r.tells.By, r.tells.After) // old will hear of it from this member's arc
		} else {
			m.say(old, m.self, p.ID)
		}
	case old.Instance() == r.tells.Who:
		r.tells = Replaced{}
	}
}

// concerns reports whether r was to be said to old, and is about p, before it, too.
func (r Replaced) concerns(old, p ring.Member) bool {
	return r.Number != 0 && r.Who == old.Instance() && ring.Between(r.After, p.ID, old.ID)
}

// takesBack notes that n, which is a member and not on its way to become one, has
// become the predecessor in place of old, of which this member said what it told:
// until now this member has answered for the arc of n.
func (m *Machine) takesBack(n, old ring.Member, told Replaced) {
	if t := &m.replaced.tells; t.Number != 0 && t.Who == n.Instance() && t.By == m.self {
		return // it says so already
	}
	start := old.ID
	if !old.IsZero() && start != n.ID && (ring.Arc{After: start, To: m.self.ID}).Contains(n.ID) {
		if told.Number != 0 && told.Who == old.Instance() && ring.Between(told.After, old.ID, n.ID) {
			start = told.After // n passes it on to old
		}
		m.say(n, m.self, start)
	}
}

// saysAnew has a member that this one says it has replaced take that for news, if it has claimed
// the arc of that again. The other may have heard of the former claim, and have claimed its arc by
// an epoch which this member has just gone beyond.
func (m *Machine) saysAnew() {
	t := &m.replaced.tells
	if t.Number != 0 && t.By == m.self && t.Who != m.self.Instance() && m.claims && m.claimed.Contains(t.Who.ID) {
		t.Number = m.version
	}
}

// say has this member say from now on that by has replaced who.
func (m *Machine) say(who, by ring.Member, after uint64) {
	m.version++
	m.replaced.tells = Replaced{Who: who.Instance(), By: by, After: after, Number: m.version}
}
