package ringmap

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// parcel is what waits to be pushed to one process.
type parcel struct {
	to    uint64 // its home
	parts []Part
	bytes int // of the claims
}

// Where changes are many, claims wait for others that go the same way: what waits is sent once
// in hold in the long run, and so many times in a row at once.
const (
	hold  = 10 * time.Millisecond
	inRow = 2
)

// spreads is for how long a claim may be on its way to all, if each who passes it on holds it.
const spreads = 5 * hold

// justSaid is for how long a claim that was spread is told to members that were not known
// then: two that join at the same time may be on no map of each other.
const justSaid = 50 * hold

// maxSaid bounds how many such claims are kept.
const maxSaid = 256

// said is a claim that was spread in the part of the circle between the home and to.
type said struct {
	id, after, epoch, to uint64
	at                   time.Duration
}

// catchUp tells a process that has just become known what was spread in its part of the
// circle of late.
func (m *Map) catchUp(now time.Duration, home uint64) {
	for _, s := range m.said {
		if now >= s.at+justSaid || !ring.Between(m.home, home, s.to) {
			continue
		}
		if c := m.t.get(s.id); c != nil && c.home() != home {
			m.post(home, home, announce(c, true))
		}
	}
}

// all is the end of a part that is the whole circle, for the process at a home.
func (m *Map) all(home uint64) uint64 { return (home - 1) & m.mask }

// tellsEach reports whether the process, when it joins, tells its claim to each whom it finds on the
// map that it loads. One that is to stand at several identifiers connects to most of them anyway.
func (m *Map) tellsEach() bool {
	return len(m.owns) > 0 && m.owns[0].self.Choice.Several()
}

// spreadBy has the process at a home, from which the map is about to be loaded, pass on to all what
// this process claims, and what it has spread of late: its own map has hardly anybody.
func (m *Map) spreadBy(now time.Duration, home uint64) {
	for _, o := range m.owns {
		if o.has {
			a := announce(&o.claim, true)
			m.note(now, &a, m.home)
		}
	}
	for _, s := range m.said {
		if c := m.t.get(s.id); c != nil && c.home() != home && now < s.at+justSaid {
			m.post(home, m.all(home), announce(c, true))
		}
	}
	m.flush(now)
}

// spreadAgain passes on what was spread since a time, when the map had hardly anybody.
func (m *Map) spreadAgain(now, since time.Duration) {
	for _, s := range slices.Clone(m.said) {
		if c := m.t.get(s.id); c != nil && s.at > since {
			m.pass(now, announce(c, true), s.to)
		}
	}
	m.flush(now)
}

// note keeps that a claim is spread.
func (m *Map) note(now time.Duration, a *Announcement, to uint64) {
	m.said = slices.DeleteFunc(m.said, func(s said) bool { return now >= s.at+justSaid || s.id == a.ID && s.to == to })
	if len(m.said) < maxSaid {
		m.said = append(m.said, said{a.ID, a.After, a.Epoch, to, now})
	}
}

// hasSaid reports whether a claim was spread of late up to an identifier: that, and not an earlier
// one of the same member.
func (m *Map) hasSaid(now time.Duration, a *Announcement, to uint64) bool {
	return slices.ContainsFunc(m.said, func(s said) bool {
		return s.id == a.ID && s.after == a.After && s.epoch == a.Epoch && now < s.at+justSaid && m.distance(to)-1 <= m.distance(s.to)-1
	})
}

// Bounds of what is pushed.
const (
	maxParcels = 1024 // members to which something waits to be pushed
	maxCalls   = 1024 // requests under way
)

// spread passes a claim on in the part of the circle of processes between the home and to.
// If to is the home, that is the rest of the circle.
//
// The part is divided in parts that grow: the processes at the places 1 and 2 have one each, those
// at 3 and 6 three, those at 9 and 18 nine.
func (m *Map) spread(now time.Duration, a Announcement, to uint64) {
	m.pass(now, a, to)
	m.flush(now)
}

// By what parts grow: a claim takes as many steps as the number of processes has digits to that
// base. Each is told once in any case. Where processes stand at several identifiers, changes come
// many at once, and more would be sent at once.
const (
	fan          = 3
	fanOfSeveral = 2
)

// pass is spread of what is sent later.
func (m *Map) pass(now time.Duration, a Announcement, to uint64) {
	if !m.has() {
		return
	}
	m.note(now, &a, to)
	m.newsAt = now
	t := m.homes()
	first := t.upTo(m.home)
	n := t.between(m.home, to)
	if t.get(to) != nil {
		n-- // to itself, which may be the member, is not part of it
	}
	step, fan := 1, fan
	if m.several() {
		fan = fanOfSeveral
	}
	for step*fan <= n {
		step *= fan
	}
	// The largest part first: it takes the most steps.
	for end := to; step > 0; step /= fan {
		for place := (fan - 1) * step; place > 0; place -= step {
			if place <= n {
				m.hand(first+place-1, end, a)
				end = t.at(first + place - 1).ID
			}
		}
	}
}

// hand gives a claim to the first process from the rank on that is before end and can take
// it. Those that are in doubt get it for themselves.
func (m *Map) hand(rank int, end uint64, a Announcement) {
	t := m.homes()
	by := a.home(m)
	for range t.Len() {
		x := t.at(rank)
		switch {
		case !ring.Between(m.home, x.ID, end):
			return
		case x.Of.Incarnation == 0 || x.ID == by:
		case m.silent(x.ID):
			m.post(x.ID, x.ID, a)
		default:
			m.post(x.ID, end, a)
			return
		}
		rank++
	}
}

// post puts a claim into the outbox.
func (m *Map) post(to, end uint64, a Announcement) {
	bytes := sizeNested(a.size())
	i := slices.IndexFunc(m.outbox, func(p parcel) bool { return p.to == to && p.room(end, bytes) })
	if i < 0 {
		if len(m.outbox) >= maxParcels {
			return // certificates find it
		}
		m.outbox = append(m.outbox, parcel{to: to})
		i = len(m.outbox) - 1
	}
	p := &m.outbox[i]
	p.bytes += bytes
	k := slices.IndexFunc(p.parts, func(p Part) bool { return p.To == end })
	if k < 0 {
		p.parts = append(p.parts, Part{To: end})
		k = len(p.parts) - 1
	}
	p.parts[k].Claims = append(p.parts[k].Claims, a)
}

// room reports whether the message to be sent has room for one claim more, of so many
// bytes, that is to be passed on up to end.
func (p *parcel) room(end uint64, bytes int) bool {
	if p.bytes+bytes > maxBytes {
		return false
	}
	k := slices.IndexFunc(p.parts, func(x Part) bool { return x.To == end })
	if k < 0 {
		return len(p.parts) < maxParts
	}
	return len(p.parts[k].Claims) < maxSent
}

// flushAt is from when on what waits may be sent. Where processes stand at several identifiers,
// changes come many at once.
func (m *Map) flushAt() time.Duration {
	if m.several() {
		return m.paced
	}
	return m.paced - (inRow-1)*hold
}

// flush sends what waits, if not too much was sent just before or the process leaves, but to
// members that have not answered what was sent to them.
func (m *Map) flush(now time.Duration) {
	if now < m.flushAt() && !m.leaving() || !slices.ContainsFunc(m.outbox, m.sendable) {
		return
	}
	out := m.outbox // to which may be added while it is sent
	m.outbox, m.paced = nil, max(now, m.paced)+hold
	for _, p := range out {
		if !m.sendable(p) {
			m.outbox = append(m.outbox, p)
			continue
		}
		m.send(now, call{kind: Push, to: p.to, parts: p.parts}, Request{Kind: Push, Parts: p.parts})
	}
}

// handOn gives the parts of a process that does not answer to the next in them. It is told
// once more itself: it may be about to be in the ring.
func (m *Map) handOn(now time.Duration, c *call) {
	for _, p := range c.parts {
		if p.To == c.to {
			continue
		}
		for _, a := range p.Claims {
			m.post(c.to, c.to, a)
			if p.To == m.all(c.to) {
				m.pass(now, a, m.home)
				continue
			}
			m.hand(m.homes().upTo(c.to), p.To, a)
		}
	}
	m.flush(now)
}

// receive takes claims that were pushed, and passes on what is new. It returns claims
// that contradict them.
func (m *Map) receive(now time.Duration, parts []Part) (old []Announcement) {
	for _, p := range parts {
		for _, a := range p.Claims {
			got, by := m.take(now, a)
			switch {
			case got == refuted && len(old) < maxOld:
				old = append(old, announce(by, true))
			case p.To != m.home && (got == news || got == known && !m.hasSaid(now, &a, p.To)):
				m.spread(now, a, p.To) // also if it was told for itself before
			}
		}
	}
	return old
}

// believes reports whether an epoch is one that a claim may have. It is what a member believes in
// a round: whom such a claim replaces has to claim by a greater one. If it is too great, the process
// has heard of one in between: if others have claimed by such epochs, it believes them in the end.
func (m *Map) believes(epoch uint64) bool {
	heard := m.highest + m.leaps.Toward(m.highest, epoch)
	if heard >= epoch {
		return true
	}
	m.hearEpoch(heard)
	return false
}

// take merges a claim that was announced, and tells a process that has become known by it what was
// spread of late.
func (m *Map) take(now time.Duration, a Announcement) (outcome, *Claim) {
	home := a.home(m)
	unknown := m.homes().get(home) == nil
	got, by := m.learn(now, a)
	if unknown && m.has() {
		if p := m.homes().get(home); p != nil && p.Of.Incarnation != 0 {
			m.catchUp(now, home)
		}
	}
	return got, by
}

// learn merges a claim that was announced. One whose process is not known is news that cannot be
// kept.
func (m *Map) learn(now time.Duration, a Announcement) (outcome, *Claim) {
	c := Claim{ID: a.ID, After: a.After, Epoch: a.Epoch, Of: a.Of}
	if !m.believes(a.Epoch) {
		return unbelieved, nil
	}
	if o := m.claiming(a.ID); o != nil {
		m.hearOfOwn(now, o, &a)
		return known, nil // of its own arc nobody knows better
	}
	if old := m.t.get(a.ID); old != nil && old.Of.Incarnation == a.Incarnation && (a.Of == nil || *a.Of == *old.Of) {
		c.Of = old.Of
	}
	if c.Of == nil {
		return news, nil
	}
	got, by := m.merge(c)
	if got == news {
		m.newsAt = now
		m.hearClaim(a.ID)
	}
	return got, by
}

// home is where the process of an announcement has its home, as far as is known.
func (a *Announcement) home(m *Map) uint64 {
	if a.Of != nil {
		return homeOf(a.ID, a.Of)
	}
	return m.homeAt(a.ID)
}
