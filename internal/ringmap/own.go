package ringmap

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Owning is what a member owns at one of the identifiers of its process.
type Owning struct {
	Self ring.Member // whose incarnation may have changed
	Arc  ring.Arc
	// Has is false if the member is in no ring, or does not know its predecessor. Then it
	// claims nothing.
	Has bool
	// Leaves is true while the member leaves the ring, which it may yet stay in.
	Leaves bool
	Epoch  uint64 // never smaller than before
	// Mute is true if the one before it claims nothing itself, as legacy members.
	Mute bool
	// Next is the nearest successor, zero if there is none.
	Next ring.Instance
}

// owned is what is owned at one identifier of the process.
type owned struct {
	self     *ring.Member // never changed
	claim    Claim
	has      bool          // it claims that
	leaves   bool          // it may be gone soon
	next     ring.Instance // the nearest successor
	defended uint64        // the greatest epoch that it is to be defended against in this round
	defences int           // how often it was to be, and those that wait for the next round
	cut      time.Duration // since when others have said that it claims less; 0: they have not
}

// own is what is owned at an identifier, nil if the process does not stand there.
func (m *Map) own(id uint64) *owned {
	for _, o := range m.owns {
		if o.self.ID == id {
			return o
		}
	}
	return nil
}

// claiming is own, if that claims something.
func (m *Map) claiming(id uint64) *owned {
	if o := m.own(id); o != nil && o.has {
		return o
	}
	return nil
}

// has reports whether the process claims anything.
func (m *Map) has() bool {
	return slices.ContainsFunc(m.owns, func(o *owned) bool { return o.has })
}

// leaving reports whether the process leaves at all of its identifiers.
func (m *Map) leaving() bool {
	return len(m.owns) > 0 && !slices.ContainsFunc(m.owns, func(o *owned) bool { return !o.leaves })
}

// agreed are the own identifiers of which the map says what the process claims, or a part of it.
func (m *Map) agreed() (ids []uint64) {
	for _, o := range m.owns {
		c := m.t.get(o.self.ID)
		if o.has && c != nil && c.Epoch == o.claim.Epoch && c.Of.Incarnation == o.self.Incarnation {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// Own notes what the member owns, and tells the others if they cannot know.
func (m *Map) Own(now time.Duration, o Owning) {
	x := m.own(o.Self.ID)
	if x == nil {
		x = &owned{self: &o.Self}
		if len(m.owns) > 0 && m.highest > 0 { // of which it has not heard yet
			m.effects = append(m.effects, Effect{Do: Hear, Epoch: m.highest})
		}
		m.owns = append(m.owns, x)
	}
	if o.Self != *x.self {
		x.self = &o.Self
	}
	if x.leaves = o.Leaves; m.leaving() {
		m.flush(now) // nobody else knows what waits to be passed on
	}
	if o.Next != x.next {
		// Who follows a member owns the identifier at which it stands. A map that has it as
		// another's has not heard of that member yet.
		if x.next = o.Next; o.Next != (ring.Instance{}) {
			m.Named(now, o.Next.ID, o.Next)
		}
		if m.blind() {
			m.levels, m.whole, m.changed = nil, level{}, true
		}
	}
	c := Claim{ID: o.Arc.To, After: o.Arc.After, Epoch: o.Epoch, Of: x.self}
	was, had := x.claim, x.has
	if x.has != o.Has {
		x.has, m.changed = o.Has, true
	}
	if !o.Has || had && c == was {
		return
	}
	x.claim, x.cut = c, 0
	if got, by := m.merge(c); got == refuted {
		if !m.ours(by) || by.ID == x.self.ID {
			m.defendFrom(x, by.Epoch)
		}
		return // it is claimed by a greater epoch, or not at all
	}
	if m.others() == 0 {
		m.filled = false // it was alone: if it finds others, it knows none of them
	}
	if had && c.Epoch == was.Epoch && c.Of == was.Of && !o.Mute {
		return // it is smaller, and the claim of whoever has the rest says so
	}
	// Who takes over from another is known. Who claims anew what it had was replaced, and is
	// on no map of those who know.
	m.spread(now, announce(&c, was.Of != c.Of || !c.covers(was.After)), m.home)
}

// Left notes that the process does not stand at an identifier any more.
func (m *Map) Left(id uint64) {
	m.owns = slices.DeleteFunc(m.owns, func(o *owned) bool { return o.self.ID == id })
	m.changed = true
}

// ours reports whether a claim is of this run of the process.
func (m *Map) ours(c *Claim) bool {
	o := m.claiming(c.ID)
	return o != nil && o.self.Incarnation == c.Of.Incarnation
}

// mutual reports whether a claim is of this process and each of the two covers the other.
func (m *Map) mutual(o *owned, c *Claim) bool { return m.ours(c) && o.claim.covers(c.ID) }

// defend has the owners at the own identifiers that a claim of another process covers defend
// them. Identifiers of this process that claim the same would outbid each other without end
// and without a pause. They are led to each other, or one defends itself, by probe.
func (m *Map) defend(c *Claim) {
	if m.ours(c) {
		return
	}
	for _, o := range m.owns {
		if o.has && c.ID != o.self.ID && c.covers(o.self.ID) && c.Epoch >= o.claim.Epoch {
			m.defendFrom(o, c.Epoch)
		}
	}
}

// maxDefences is how often a member defends its arc in a round. Where two rings meet, whoever does
// replaces members of the other ring before it, who do the same: that goes on round the circle, as
// fast as claims are spread, until the rings are one.
const maxDefences = 2

// defendFrom wants an own epoch to be raised above another. Until then the map takes the
// member for replaced, as those of others do.
func (m *Map) defendFrom(o *owned, epoch uint64) {
	if epoch <= o.defended {
		return
	}
	o.defended = epoch
	if o.defences++; o.defences <= maxDefences {
		m.effects = append(m.effects, Effect{Do: Defend, By: o.self.ID, Epoch: epoch})
	}
}

// defendAnew begins a round of the defence of an own arc: the member may not have owned it when it
// was to defend it. It reports whether it is to defend it now, against what has waited for the round.
func (m *Map) defendAnew(o *owned) bool {
	epoch, waits := o.defended, o.defences > maxDefences
	o.defended, o.defences = 0, 0
	if !waits || epoch < o.claim.Epoch {
		return false
	}
	m.defendFrom(o, epoch)
	return true
}

// believedCut is for how many intervals others may say that an own claim is smaller than it is:
// a member that joins is known to its successor by then.
const believedCut = 2

// hearOfOwn defends an own claim against what others have in its place: a greater epoch, that of
// another run, or a smaller arc, because of a member that is on no map any more.
func (m *Map) hearOfOwn(now time.Duration, o *owned, a *Announcement) {
	own := m.t.get(o.self.ID)
	switch {
	case a.Epoch > o.claim.Epoch, a.Epoch == o.claim.Epoch && a.Incarnation != o.self.Incarnation:
		m.defendFrom(o, a.Epoch)
	case a.Epoch < o.claim.Epoch, a.After == o.claim.After, own == nil || own.After != o.claim.After:
	case o.cut == 0:
		o.cut = now
	case now >= o.cut+believedCut*m.cfg.Interval:
		o.cut = 0
		m.defendFrom(o, a.Epoch)
	}
}

// probe asks the members whose claims make own arcs smaller in the map than they are known
// to be, whether they are there.
func (m *Map) probe(now time.Duration) {
	for _, o := range m.owns {
		if o.has {
			m.probeFor(now, o)
		}
	}
}

func (m *Map) probeFor(now time.Duration, o *owned) {
	if m.defendAnew(o) {
		return
	}
	own := m.t.get(o.self.ID)
	var x *Claim
	switch {
	case own == nil && m.restored(now, o):
		return
	case own != nil && own.Of.Incarnation != o.self.Incarnation:
		m.defendFrom(o, own.Epoch)
		return
	case own == nil:
		if x = m.t.next(o.self.ID); x != nil && !m.mutual(o, x) {
			m.defendFrom(o, x.Epoch)
			return
		}
	case own.After != o.claim.After && o.claim.covers(own.After):
		x = m.t.get(own.After)
	}
	if x != nil && x.Of.Incarnation != 0 {
		m.send(now, call{kind: Ask, to: x.home(), probe: x.ID, by: o.self.ID, probes: true}, m.greeting(x.home()))
	}
}

// restored brings an own claim back that is on the map no longer, if nothing on it refutes the
// claim. Another identifier of the process has claimed its arc for a while, which is no
// reason to defend it, or one by an epoch that is not on the map any more. Nobody else can bring it
// back: of its own arcs the process believes itself alone.
func (m *Map) restored(now time.Duration, o *owned) bool {
	if got, _ := m.merge(o.claim); got != news {
		return false
	}
	m.spread(now, announce(&o.claim, true), m.home)
	return true
}

// probed takes whether it is. If it is gone, its claim is overruled. If another run stands there
// meanwhile, nothing is known of that.
func (m *Map) probed(c *call, there bool) {
	x, o := m.t.get(c.probe), m.claiming(c.by)
	switch {
	case x == nil || o == nil || !o.claim.covers(x.ID) || x.Owner() != c.whom:
	case there:
		m.effects = append(m.effects, Effect{Do: Consider, By: c.by, Member: x.Owner()})
	case x.Epoch >= o.claim.Epoch:
		m.effects = append(m.effects, Effect{Do: Defend, By: c.by, Epoch: x.Epoch})
	}
}
