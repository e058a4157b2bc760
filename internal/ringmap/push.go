package ringmap

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// parcel is what waits to be pushed to one member.
type parcel struct {
	to    uint64
	parts []Part
}

// hold is for how long claims wait for others that go the same way, if some went just
// before.
const hold = 10 * time.Millisecond

// Bounds of what is pushed.
const (
	maxParcels = 1024 // members to which something waits to be pushed
	maxCalls   = 1024 // requests under way
)

// spread passes a claim on in the part of the circle between the member and to. If to is
// the member, that is the rest of the circle.
//
// The part is divided in parts that double: the member at place 1 has the first to
// itself, that at place 2 two, that at place 4 four.
func (m *Map) spread(now time.Duration, a Announcement, to uint64) {
	if !m.has {
		return
	}
	first := m.t.upTo(m.self.ID)
	n := m.t.between(m.self.ID, to)
	if m.t.get(to) != nil {
		n-- // to itself, which may be the member, is not part of it
	}
	for place := 1; place <= n; place *= 2 {
		end := to
		if 2*place <= n {
			end = m.t.at(first + 2*place - 1).ID
		}
		m.hand(first+place-1, end, a)
	}
	m.flush(now)
}

// hand gives a claim to the first member from the rank on that is before end and can take
// it.
func (m *Map) hand(rank int, end uint64, a Announcement) {
	for range m.t.Len() {
		x := m.t.at(rank)
		switch {
		case !ring.Between(m.self.ID, x.ID, end):
			return
		case x.Of.Incarnation != 0 && x.ID != a.ID && !m.doubtful(x.ID):
			m.post(x.ID, end, a)
			return
		}
		rank++
	}
}

// post puts a claim into the outbox.
func (m *Map) post(to, end uint64, a Announcement) {
	i := slices.IndexFunc(m.outbox, func(p parcel) bool { return p.to == to })
	if i < 0 {
		if len(m.outbox) >= maxParcels {
			return // certificates find it
		}
		m.outbox = append(m.outbox, parcel{to: to})
		i = len(m.outbox) - 1
	}
	p := &m.outbox[i]
	k := slices.IndexFunc(p.parts, func(p Part) bool { return p.To == end })
	if k < 0 {
		p.parts = append(p.parts, Part{To: end})
		k = len(p.parts) - 1
	}
	part := &p.parts[k]
	if len(part.Claims) < maxSent {
		part.Claims = append(part.Claims, a)
	}
}

// flush sends what waits, if nothing was sent just before.
func (m *Map) flush(now time.Duration) {
	if len(m.outbox) == 0 || m.flushed != 0 && now < m.flushed+hold {
		return
	}
	m.flushed = now
	for _, p := range m.outbox {
		m.send(now, call{kind: Push, to: p.to, parts: p.parts}, Request{Kind: Push, Parts: p.parts})
	}
	m.outbox = m.outbox[:0]
}

// handOn gives the parts of a member that does not answer to the next in them.
func (m *Map) handOn(now time.Duration, c *call) {
	for _, p := range c.parts {
		if p.To == c.to {
			continue
		}
		for _, a := range p.Claims {
			m.hand(m.t.upTo(c.to), p.To, a)
		}
	}
	m.flush(now)
}

// receive takes claims that were pushed, and passes on what is new. It returns claims
// that contradict them.
func (m *Map) receive(now time.Duration, parts []Part) (old []Announcement) {
	for _, p := range parts {
		for _, a := range p.Claims {
			got, by := m.take(a)
			switch {
			case got == refuted && len(old) < maxOld:
				old = append(old, announce(by, true))
			case got == news && p.To != m.self.ID:
				m.spread(now, a, p.To)
			}
		}
	}
	return old
}

// take merges a claim that was announced. One whose process is not known is news that
// cannot be kept.
func (m *Map) take(a Announcement) (outcome, *Claim) {
	c := Claim{ID: a.ID, After: a.After, Epoch: a.Epoch, Of: a.Of}
	if a.ID == m.self.ID && m.has {
		if a.Incarnation != m.self.Incarnation && a.Epoch >= m.own.Epoch {
			m.defendFrom(a.Epoch)
		}
		return known, nil // of its own arc nobody knows better
	}
	if old := m.t.get(a.ID); old != nil && old.Of.Incarnation == a.Incarnation {
		c.Of = old.Of
	}
	if c.Of == nil {
		return news, nil
	}
	got, by := m.merge(c)
	if got == news {
		m.hear(a.ID)
	}
	return got, by
}
