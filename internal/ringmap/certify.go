package ringmap

import (
	"math/bits"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// level is a certificate: what the map says of the circle from the member on, as far as
// span reaches, was said by the owners at the time as or after it.
type level struct {
	span uint64
	as   time.Duration
}

// blind reports whether the map can be certain of nothing: the nearest successor is a legacy
// member, which claims nothing.
func (m *Map) blind() bool { return m.next != (ring.Instance{}) && m.next.Incarnation == 0 }

// gap reports whether nobody claims what follows an identifier, as before a legacy member.
func (m *Map) gap(id uint64) bool {
	c := m.t.next((id + 1) & m.mask)
	return c != nil && c.After != id
}

// maxLevels is how often a circle can be doubled.
const maxLevels = 64

// certain is the time as of which the map is certain up to an identifier.
func (m *Map) certain(id uint64) (at time.Duration, ok bool) {
	d := m.distance(id)
	if id == m.self.ID {
		d = m.mask
	}
	if m.whole.span >= d {
		at, ok = m.whole.as, m.whole.span > 0
	}
	for _, l := range m.levels {
		if l.span >= d && (!ok || l.as > at) {
			at, ok = l.as, true
		}
	}
	return at, ok
}

// certify notes the certificate of a level, which reaches up to an identifier.
func (m *Map) certify(i int, to uint64, as time.Duration) {
	span := m.distance(to)
	if to == m.self.ID {
		span = m.mask
	}
	if (m.whole.span == 0 || m.whole.as < as) && m.t.Len() > 0 && m.distance(m.t.at(m.t.rank(m.self.ID)-1).ID) <= span {
		m.whole = level{span, as} // which is kept when the level gets a newer and smaller one
	}
	for len(m.levels) <= i && i < maxLevels {
		m.levels = append(m.levels, level{})
	}
	if l := &m.levels[i]; l.span != span || l.as < as {
		*l = level{span, as}
		m.changed = true
	}
}

// depth is how many levels the whole map has, if some members go while it is certified.
func (m *Map) depth() int {
	n := m.others()
	return max(1, bits.Len(uint(max(0, n+n/64-1))))
}

// check is the comparison of one level with the member at its end.
type check struct {
	open    bool
	sweep   bool // it is one of a sweep
	level   int
	whom    uint64
	to      uint64 // where the stretch ends
	as      time.Duration
	done    bool       // it is certain as of this sweep
	heard   bool       // there was an answer
	silent  bool       // it is asked for again, since there was no answer
	again   bool       // the stretch was compared and mended, and is asked for once more
	last    bool       // it is asked for the second time
	waiting int        // comparisons under way
	rest    []ring.Arc // to be compared
}

// Bounds of one check.
const (
	maxCompared = 12 // stretches compared
	atOnce      = 4  // of them, at the same time
	few         = 24 // claims that are compared one by one
)

// begin begins a check. Answers to another are not taken from now on.
func (m *Map) begin(k check) {
	m.checks++
	m.check = k
}

// askLevel asks the member at the end of the level's stretch for as many members more.
func (m *Map) askLevel(now time.Duration) {
	k := &m.check
	n := m.others()
	place := min(1<<k.level, n)
	first := m.t.upTo(m.self.ID)
	if k.level < len(m.levels) && m.levels[k.level].span > 0 {
		// Members may have come and gone in it since it was certified.
		place = min(n, m.t.between(m.self.ID, (m.self.ID+m.levels[k.level].span)&m.mask))
	}
	if k.silent && place > 1 {
		place-- // the one before it will do
	}
	if place = m.whom(first, place); place < 1 {
		return
	}
	whom := m.t.at(first + place - 1)
	as, ok := m.certain(whom.ID)
	k.whom, k.to = whom.ID, m.self.ID
	// A little more than as many: what it is certain of, it says.
	if end := 2*place + place/8 + 1; end <= n {
		k.to = m.t.at(first + end - 1).ID
	} else if m.t.Len() >= m.cfg.Limit {
		if place == n {
			return
		}
		k.to = m.t.at(first + n - 1).ID // the farthest that is kept
	}
	if k.as = as; !ok {
		k.as = -1
	}
	k.open = true
	m.ask(now, ring.Arc{After: k.whom, To: k.to}, true)
}

// whom is the place of the member to be asked up to which the map is certain: the last
// that can be, or one not far before it that is asked other things anyway. Zero: none.
func (m *Map) whom(first, place int) int {
	for place > 0 && m.mute(m.t.at(first+place-1)) {
		place--
	}
	if m.cfg.Near == nil {
		return place
	}
	for p := place; p > 0 && p >= place-place/4; p-- {
		if c := m.t.at(first + p - 1); !m.mute(c) && m.cfg.Near(c.ID) {
			return p
		}
	}
	return place
}

// mute reports whether there is no sense in asking the owner of a claim.
func (m *Map) mute(c *Claim) bool { return c.Of.Incarnation == 0 || m.doubtful(c.ID) }

// ask asks the member of the check whether it knows the same of an arc.
func (m *Map) ask(now time.Duration, arc ring.Arc, top bool) {
	m.check.waiting++
	from := arc.After
	if top {
		from = 0
	}
	m.send(now, call{kind: Ask, to: m.check.whom, arc: arc, top: top, level: m.check.level, as: m.check.as},
		Request{Kind: Ask, From: from, To: arc.To, Sum: m.t.sum(arc.After, arc.To), Level: uint8(m.check.level)})
}

// vouch answers an Ask.
func (m *Map) vouch(now time.Duration, r *Request) (out Reply) {
	from := r.From
	if from == 0 {
		from = m.self.ID
	}
	if m.t.sum(from, r.To) == r.Sum {
		out.Same = true
		if from == m.self.ID && m.has {
			var as time.Duration
			out.Through, as, out.Aged = m.reach(int(r.Level), r.To)
			for i := int(r.Level) - 1; i >= 0 && (!out.Aged || as < now-promised*m.cfg.Interval); i-- {
				if i < len(m.levels) && m.levels[i].span > 0 { // a shorter stretch
					out.Through, as, out.Aged = m.reach(i, r.To)
				}
			}
			if out.Age = now - as; out.Through == r.To {
				out.Through = 0
			}
		}
		return out
	}
	n := m.t.between(from, r.To)
	each := max(few/2, (n+maxStretches-1)/maxStretches)
	first := m.t.upTo(from)
	for i := each; i < n; i += each {
		to := m.t.at(first + i - 1).ID
		out.Stretches = append(out.Stretches, Stretch{to, uint32(m.t.sum(from, to))})
		from = to
	}
	out.Stretches = append(out.Stretches, Stretch{r.To, uint32(m.t.sum(from, r.To))})
	return out
}

// vouched takes what another is certain of, which is the same here.
func (m *Map) vouched(c *call, r *Reply) {
	through := r.Through
	if through == 0 {
		through = c.arc.To
	}
	if end := through; c.top && c.check == m.checks && r.Same {
		if !r.Aged {
			end = c.to
		}
		m.sweep.stuck = m.sweep.stuck || m.gap(end)
	}
	if m.blind() || !r.Same || !r.Aged || !c.top || c.as < 0 || !c.arc.Contains(through) {
		return
	}
	as := c.sent - r.Age
	m.certify(min(c.level, m.depth()+moreLevels)+1, through, min(c.as, as))
	if c.check == m.checks {
		m.check.done = as >= m.sweep.began-late*m.cfg.Interval
	}
}

// reach is how far the map is certain by the certificate of a level, but not beyond to,
// and as of when; by the certificate that reaches up to to, if that is not older or there is no
// such level.
func (m *Map) reach(i int, to uint64) (through uint64, as time.Duration, ok bool) {
	as, ok = m.certain(to)
	if i >= len(m.levels) || m.levels[i].span == 0 || i > m.depth()+moreLevels || ok && as >= m.levels[i].as {
		return to, as, ok
	}
	l := m.levels[i]
	if d := m.distance(to); to != m.self.ID && d < l.span {
		l.span = d
	}
	return (m.self.ID + l.span) & m.mask, l.as, true
}

// asked goes on after an Ask was answered.
func (m *Map) asked(now time.Duration, c *call, r *Reply) {
	k := &m.check
	switch {
	case r.Same:
	case !(k.last && c.top):
		from := c.arc.After
		if len(r.Stretches) == 1 {
			k.again = true
			m.compare(now, c.arc)
			break
		}
		for _, s := range r.Stretches {
			arc := ring.Arc{After: from, To: s.To}
			if uint32(m.t.sum(arc.After, arc.To)) != s.Sum {
				k.rest = append(k.rest, arc)
			}
			from = s.To
		}
	}
	m.goOn(now)
}

// goOn compares what is left, or asks once more.
func (m *Map) goOn(now time.Duration) {
	k := &m.check
	for len(k.rest) > 0 && k.waiting < atOnce {
		arc := k.rest[0]
		k.rest = k.rest[1:]
		if m.t.between(arc.After, arc.To) > few {
			m.ask(now, arc, false)
		} else {
			m.compare(now, arc)
		}
		if len(k.rest) > maxCompared {
			k.rest = k.rest[:maxCompared] // the others in the next beats
		}
		k.again = true
	}
	switch {
	case k.waiting > 0:
	case k.again:
		m.begin(check{sweep: k.sweep, level: k.level, last: true, heard: true})
		m.askLevel(now)
	default:
		if k.open = false; k.sweep {
			m.levelOver(now, k.done)
		}
	}
}

// compare asks which claims of an arc the other has and the member lacks, and the other
// way round.
func (m *Map) compare(now time.Duration, arc ring.Arc) {
	m.check.waiting++
	m.send(now, call{kind: Compare, to: m.check.whom, arc: arc}, Request{Kind: Compare, From: arc.After, To: arc.To, Hashes: m.hashes(arc)})
}

// hashes are those of the claims in an arc.
func (m *Map) hashes(arc ring.Arc) []uint32 {
	n := min(maxHashes, m.t.between(arc.After, arc.To))
	first := m.t.upTo(arc.After)
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(m.t.at(first + i).hash())
	}
	return out
}

// differ answers a Compare.
func (m *Map) differ(r *Request) (out Reply) {
	n := m.t.between(r.From, r.To)
	first := m.t.upTo(r.From)
	has := make([]bool, len(r.Hashes))
	bytes := 0
	out.Through = r.To
	for i := range n {
		c := m.t.at(first + i)
		if k := slices.Index(r.Hashes, uint32(c.hash())); k >= 0 {
			has[k] = true
			continue
		}
		a := announce(c, true)
		if bytes += sizeNested(a.size()); len(out.Claims) == maxSent || bytes > maxBytes {
			out.Through = m.t.at(first + i - 1).ID
			return out
		}
		out.Claims = append(out.Claims, a)
	}
	for k, known := range has {
		if !known {
			out.Lacks = append(out.Lacks, uint16(k))
		}
	}
	return out
}

// compared goes on after a Compare was answered: what the other lacks is pushed to it.
func (m *Map) compared(now time.Duration, c *call, r *Reply) {
	mine := m.hashes(c.arc)
	first := m.t.upTo(c.arc.After)
	for _, k := range r.Lacks {
		if int(k) < len(mine) {
			m.post(c.to, c.to, announce(m.t.at(first+int(k)), true))
		}
	}
	for _, a := range r.Claims {
		if got, by := m.take(now, a); got == refuted {
			m.post(c.to, c.to, announce(by, true))
		}
	}
	m.flush(now)
	if m.loading {
		m.loaded(now, c, r)
		return
	}
	m.goOn(now)
}

// load asks the nearest successor for the claims after an identifier: all, page by page.
func (m *Map) load(now time.Duration, after uint64) {
	head := m.t.next((m.self.ID + 1) & m.mask)
	if m.loading = head != nil && head.ID != m.self.ID; !m.loading {
		return
	}
	m.begin(check{open: true, whom: head.ID})
	m.compare(now, ring.Arc{After: after, To: m.self.ID})
}

// loaded goes on after a page has come. In the end the successor is asked for how old all
// of it is.
func (m *Map) loaded(now time.Duration, c *call, r *Reply) {
	if r.Through != m.self.ID && r.Through != c.arc.After {
		m.load(now, r.Through)
		return
	}
	m.loading, m.filled = false, true
	m.flushed = 0 // the others are to know at once
	m.spread(now, announce(&m.own, true), m.self.ID)
	as, ok := m.certain(c.to)
	if !ok {
		m.begin(check{})
		return
	}
	m.begin(check{open: true, level: maxLevels - 1, whom: c.to, to: m.self.ID, as: as})
	m.ask(now, ring.Arc{After: c.to, To: m.self.ID}, true)
}
