package protocol

import (
	"fmt"
	"math/rand/v2"

	"github.com/ollelogdahl/concord/internal/ring"
)

// This file keeps rings apart that have nothing in common.
//
// An address may be used again: the member of one ring asks at the address of one that
// is gone, and a member of another ring answers there. Without more the two rings would
// become one. So a member says in every message of which Origin its ring is, and neither
// asks nor answers for the pointers of a ring that is not akin to its own. Every message
// is tested here, before anything else is done with it, so that what one ring names never
// gets into the memory of the other.
//
// One that is in no ring has no Origin, and takes that of the ring which it enters.
// When rings that are akin meet, their Origins become one, see ring.Origin.And. A
// member takes marks from answers, which name them when they have changed, and from
// requests, which name them to a member that is not known to be of the same number.
// So they travel along the ring, against the clock, as the successor lists do.

// draw makes the number that the machine gives to a ring which it founds.
func draw(self ring.Member, seed uint64) uint64 {
	return rand.NewPCG(seed, self.ID^self.Incarnation<<1).Uint64()
}

// foundedOrigin is the Origin of the ring that the machine founds. If an earlier
// incarnation of it was in a ring, it is akin to that one, and of the same number.
func (m *Machine) foundedOrigin(given []string) *ring.Origin {
	if m.cfg.Named {
		return nil
	}
	drawn := m.drawn
	if m.cfg.Origin != nil {
		drawn = m.cfg.Origin.ID
	}
	return ring.Founded(drawn, m.self, given).And(m.cfg.Origin)
}

// setOrigin changes the Origin of the ring that the machine is in.
func (m *Machine) setOrigin(o *ring.Origin) {
	if o != m.origin && !m.cfg.Named {
		m.origin = o
		m.version++
		m.dirty = true
	}
}

// unrelated is why by, a member of a ring of Origin o, has nothing to do with the ring
// of this member; nil: it may have.
func (m *Machine) unrelated(by ring.Member, o *ring.Origin) *Failure {
	return Unrelated(m.self, m.origin, by, o)
}

// Unrelated is why self, in a ring of Origin own, refuses by, in one of Origin o; nil: it
// does not. Lookups are refused so, too: one that was on its way into this ring, and is
// taken for a predecessor, may have entered another.
func Unrelated(self ring.Member, own *ring.Origin, by ring.Member, o *ring.Origin) *Failure {
	if own.Kin(o) {
		return nil
	}
	return &Failure{Kind: WrongRing, By: self, Origin: own, Detail: fmt.Sprintf(
		"%s is in ring %v and %s in ring %v, which have nothing in common: to keep rings apart, or to make them one, set Cluster",
		self.Name, own, nameOf(by), o)}
}

func nameOf(x ring.Member) string {
	if x.Name == "" {
		return "the other"
	}
	return x.Name
}

// related is the answer a as far as it comes from a ring that is akin to this
// member's. The Origin of that ring is taken over.
func (m *Machine) related(a Answer) Answer {
	if f := a.Failure; f != nil {
		if why := m.unrelated(f.By, f.Origin); f.Kind == WrongMember && why != nil {
			m.emit(Stranger{By: f.By, Why: why})
			a.Failure = &Failure{Kind: WrongMember, Detail: f.Detail}
		}
		return a
	}
	if f := m.unrelated(a.Reply.State.Self, a.Reply.State.Origin); f != nil {
		f.By, a.Reply = a.Reply.State.Self, Reply{}
		m.emit(Stranger{By: f.By, Why: f})
		a.Failure = f
		return a
	}
	m.join.heard(a.Reply.State.Origin)
	if m.phase.InRing() {
		m.setOrigin(m.origin.And(a.Reply.State.Origin))
	}
	return a
}

// heard notes of which ring somebody was heard of before the joiner has entered one.
func (j *joining) heard(o *ring.Origin) {
	switch {
	case j == nil || o == nil:
	case j.origin.Kin(o):
		j.origin = j.origin.And(o)
	default:
		j.mixed = true
	}
}

// settleIn is the Origin of the ring that the joiner enters. Whom it has heard of is
// forgotten if that may be somebody of another ring.
func (m *Machine) settleIn(o *ring.Origin) {
	if j := m.join; j.mixed || !j.origin.Kin(o) {
		m.acq = m.noAcquaintances()
	}
	m.setOrigin(o.Given(m.self, m.join.brings))
}

// askedBy tests whether a request comes from a ring that is akin to this member's, whose
// Origin is then taken over. It returns why not, nil if it does.
func (m *Machine) askedBy(a Asked) *Failure {
	o := a.Request.Origin
	if f := m.unrelated(a.From, o); f != nil {
		return f
	}
	m.join.heard(o)
	if m.phase.InRing() && o != nil && (m.origin == nil || o.ID != m.origin.ID) {
		m.setOrigin(m.origin.And(o))
	}
	return nil
}
