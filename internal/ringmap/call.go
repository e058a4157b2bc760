package ringmap

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// call is a request under way.
type call struct {
	id    uint64
	kind  Kind
	to    uint64 // the home of a process
	sent  time.Duration
	check uint64   // Ask, Compare: of which check
	parts []Part   // Push
	arc   ring.Arc // Ask, Compare
	top   bool     // Ask: of the whole level
	skip  int      // Compare
	// Ask: whether the member that stands at probe is there, which claims a part of the arc
	// of by.
	probes    bool
	probe, by uint64
	whom      ring.Member // that was asked so
	greets    bool        // Ask: the answer is of no check
	level     int
	as        time.Duration // top: as of which the map is certain up to the one that is asked
}

// maxPushing is how many pushes to one member may be under way. Beyond, what is to be
// pushed waits, so that members that have too much to do are not told faster than they
// answer. Of two, one may be lost.
const maxPushing = 2

// sendable reports whether a parcel may be pushed now.
func (m *Map) sendable(p parcel) bool {
	n := 0
	for i := range m.calls {
		if c := &m.calls[i]; c.kind == Push && c.to == p.to {
			n++
		}
	}
	return n < maxPushing
}

// send sends a request to a process.
func (m *Map) send(now time.Duration, c call, r Request) {
	to := m.homes().get(c.to)
	if c.probes {
		to = m.t.get(c.probe)
	}
	if to == nil || len(m.calls) >= maxCalls {
		if c.kind == Push && to == nil {
			m.handOn(now, &c)
		}
		if !c.probes && !c.greets {
			m.given(now, c.kind)
		}
		return
	}
	m.lastID++
	c.id, c.sent, c.check = m.lastID, now, m.checks
	if c.probes {
		c.whom = to.Owner()
	}
	m.calls = append(m.calls, c)
	r.Beat = m.beat
	m.effects = append(m.effects, Effect{Do: Send, Call: c.id, To: to.asked(), Request: r})
}

// given notes that a question of the check gets no answer.
func (m *Map) given(now time.Duration, kind Kind) {
	if kind == Push {
		return
	}
	if m.check.waiting--; m.check.waiting <= 0 {
		k := m.check
		m.begin(check{heard: k.heard})
		if m.loading = false; k.sweep {
			m.levelOver(now, false)
		} else {
			m.sweepOn(now)
		}
	}
}

// end takes a call out of those under way.
func (m *Map) end(id uint64) (call, bool) {
	i := slices.IndexFunc(m.calls, func(c call) bool { return c.id == id })
	if i < 0 {
		return call{}, false
	}
	c := m.calls[i]
	m.calls = slices.Delete(m.calls, i, i+1)
	return c, true
}

// Receive answers a request of another map.
func (m *Map) Receive(now time.Duration, r *Request) (out Reply) {
	switch r.Kind {
	case Push:
		out.Claims = m.receive(now, r.Parts)
	case Ask:
		out = m.vouch(now, r)
	case Compare:
		out = m.differ(r)
	}
	m.hearBeat(now, r.Beat)
	out.Beat = m.beat
	return out
}

// Answered takes the answer to a request.
func (m *Map) Answered(now time.Duration, id uint64, r *Reply) {
	c, ok := m.end(id)
	if !ok {
		return
	}
	m.hearBeat(now, r.Beat)
	m.trip = max(now-c.sent, m.trip*7/8)
	if p := m.homes().get(c.to); p != nil {
		m.hear(c.to, p.Of.Incarnation)
	}
	switch {
	case c.probes:
		m.probed(&c, true)
		return
	case c.greets:
		return
	case c.kind == Push:
		for _, a := range r.Claims {
			m.take(now, a)
		}
		m.flush(now)
		return
	}
	m.vouched(&c, r)
	if c.check != m.checks || !m.check.open {
		return // of a check that is over
	}
	m.check.waiting--
	m.check.heard = true
	if c.kind == Ask {
		m.asked(now, &c, r)
	} else {
		m.compared(now, &c, r)
	}
}

// Failed notes that a request gets no answer. Gone says that the member is not there: the
// map does not name it until it is heard of again.
func (m *Map) Failed(now time.Duration, id uint64, gone bool) {
	c, ok := m.end(id)
	if !ok {
		return
	}
	if gone {
		m.strikeAll(now, &c)
	}
	switch {
	case c.probes:
		m.probed(&c, false)
		return
	case c.greets:
		return
	case c.kind == Push:
		m.handOn(now, &c)
		return
	}
	if c.check == m.checks && m.check.open {
		m.given(now, c.kind)
	}
}

// strikeAll notes that who was asked is gone: a process, or the member at an identifier.
func (m *Map) strikeAll(now time.Duration, c *call) {
	p := m.homes().get(c.to)
	for _, x := range m.claims(c.to) {
		if c.probes && x.ID == c.probe || !c.probes && x.Of.Incarnation == p.Of.Incarnation {
			m.Strike(now, 0, x.Owner().Instance())
		}
	}
}
