package ringmap

import (
	"math/bits"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// level is a certificate: what the map says of the processes with homes clockwise from this
// one's, as far as span reaches, they said at the time as or after it. It holds claim by
// claim: an owner claimed what the map says of it.
type level struct {
	span uint64
	as   time.Duration
}

// blind reports whether the map can be certain of nothing: the nearest successor is a legacy
// member, which claims nothing.
func (m *Map) blind() bool {
	return slices.ContainsFunc(m.owns, func(o *owned) bool {
		return o.next != (ring.Instance{}) && o.next.Incarnation == 0
	})
}

// gap reports whether nobody claims what follows an identifier, as before a legacy member.
func (m *Map) gap(id uint64) bool {
	if m.several() {
		return false // there are no legacy members beside such
	}
	c := m.t.next((id + 1) & m.mask)
	return c != nil && c.After != id
}

// meetGap notes that nobody claims what follows an identifier. A crash leaves such a gap for a
// moment, a legacy member from sweep to sweep.
func (m *Map) meetGap(id uint64) {
	if m.gapBeat != m.beat {
		m.sweep.stuck = m.sweep.stuck || m.gapAfter == id
		m.gapAfter, m.gapBeat = id, m.beat
	}
}

// maxLevels is how often a circle can be doubled.
const maxLevels = 64

// certain is the time as of which the map is certain up to a home.
func (m *Map) certain(home uint64) (at time.Duration, ok bool) {
	d := m.distance(home)
	if home == m.home {
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

// certify notes the certificate of a level, which reaches up to a home.
func (m *Map) certify(i int, to uint64, as time.Duration) {
	span := m.distance(to)
	last := m.t.Len() > 0 && m.distance(m.last()) <= span
	if to == m.home || last && m.gapless() {
		span = m.mask
	}
	if (m.whole.span == 0 || m.whole.as < as) && m.t.Len() > 0 && (last || span == m.mask) {
		m.whole = level{span, as} // which is kept when the level gets a newer and smaller one
	}
	for len(m.levels) <= i && i < maxLevels {
		m.levels = append(m.levels, level{})
	}
	old := m.levels[i]
	if old.span >= span && old.as >= as {
		return
	}
	m.levels[i], m.changed = level{span, as}, true
	if old.as > as && old.span > 0 {
		m.keep(old)
	}
}

// gapless reports whether all of the circle is claimed. Then a map that is certain of all
// processes is certain of those that join, too: their claims are later than what they overrule, and
// an earlier one of a process that is not on the map is refuted.
func (m *Map) gapless() bool {
	after := m.t.at(-1).ID
	for c := range m.t.all() {
		if c.After != after {
			return false
		}
		after = c.ID
	}
	return true
}

// keep keeps what is certain by a level that another has taken the place of, which reaches
// farther and is older.
func (m *Map) keep(l level) {
	for i, x := range m.levels {
		if x.span <= l.span && x.as <= l.as {
			m.levels[i] = l
			return
		}
	}
	if len(m.levels) < maxLevels {
		m.levels = append(m.levels, l)
	}
}

// last is the home of the last process of the circle, which is before this one's.
func (m *Map) last() uint64 { return m.before(m.home) }

// round is the whole circle, from the process at a home on.
func (m *Map) round(home uint64) ring.Arc {
	before := m.before(home)
	return ring.Arc{After: before, To: before}
}

// before is the home of the process before a home.
func (m *Map) before(home uint64) uint64 {
	t := m.homes()
	return t.at(t.rank(home) - 1).ID
}

// depth is how many levels the whole map has, if some members go while it is certified.
func (m *Map) depth() int {
	n := m.others()
	return max(1, bits.Len(uint(max(0, n+n/64-1)))) + base
}

// base is how many levels come before those that double: the next process is asked whether it
// still claims what the map says, so that all that is certain is as of the beginning of a sweep.
const base = 1

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
	pages   int        // of what was compared, beyond the first of each
	asks    int        // for parts of it
}

// Bounds of one check.
const (
	maxCompared = 12 // stretches compared
	atOnce      = 4  // of them, at the same time
	few         = 24 // claims that are compared one by one
	maxPages    = 16 // messages more, if what is compared does not fit in one
	maxAsks     = 64 // questions for parts: an answerer may divide without end
)

// begin begins a check. Answers to another are not taken from now on.
func (m *Map) begin(k check) {
	m.checks++
	m.check = k
}

// askNow asks what the sweep is to ask for.
func (m *Map) askNow(now time.Duration) {
	switch m.sweep.way {
	case byAnchor:
		m.askAnchor(now)
	case byStretches:
		m.askStretch(now)
	default:
		m.askLevel(now)
	}
}

// askLevel asks the member at the end of the level's stretch for as many members more.
func (m *Map) askLevel(now time.Duration) {
	k := &m.check
	n, t := m.others(), m.homes()
	first := t.upTo(m.home)
	if k.level < base {
		if n > 0 {
			m.askNext(now, t.at(first))
		}
		return
	}
	place := m.place(k.level, n)
	if s := &m.sweep; k.sweep && s.stuck && s.to != 0 {
		place = min(place, t.between(m.home, s.to)) // what is before whom is asked was compared
	}
	if place = m.whom(first, place); place < 1 {
		return
	}
	whom := t.at(first + place - 1)
	as, ok := m.certain(whom.ID)
	k.whom, k.to = whom.ID, m.home
	// A little more than as many: what it is certain of, it says. Up to the last is up to this
	// process: there may be one between that is not known.
	if end := place + max(place, 1<<(k.level-base))*9/8 + 1; end < n {
		k.to = t.at(first + end - 1).ID
	} else if m.t.Len() >= m.cfg.Limit {
		if place == n {
			return
		}
		k.to = t.at(first + n - 1).ID // the farthest that is kept
	}
	if k.as = as; !ok {
		k.as = -1
	}
	if k.open = true; k.sweep {
		m.sweep.asks(k.whom)
		m.sweep.to = k.to
	}
	m.ask(now, ring.Arc{After: k.whom, To: k.to}, true)
}

// place is that of the process up to which the map is certain as of this sweep. Beyond a legacy
// member it is certain of nothing.
func (m *Map) place(level, n int) int {
	var span uint64
	if !m.sweep.stuck {
		span = m.ahead()
	} else if level < len(m.levels) {
		span = m.levels[level].span
	}
	if span == 0 {
		return min(1<<(level-base), n)
	}
	return min(n, m.homes().between(m.home, (m.home+span)&m.mask))
}

// askNext asks the next process for what it claims itself.
func (m *Map) askNext(now time.Duration, next *Claim) {
	if m.home == 0 || m.mute(next) {
		return // a question from 0 on is one from the receiver on
	}
	k := &m.check
	k.whom, k.to, k.as, k.open = next.ID, next.ID, now, true
	m.ask(now, ring.Arc{After: m.home, To: next.ID}, true)
}

// whom is the place of the process to be asked, of those up to which the map is certain: the last
// power of two, so that the same few are asked in each sweep, to which there are connections then.
// If that one was asked twice in a row, or cannot be, it is the last that can. Zero: none. If it did
// not help, it is another each time, farther and farther before.
func (m *Map) whom(first, place int) int {
	t, back := m.homes(), m.sweep.tries
	if m.check.silent {
		back = max(1, back)
	}
	if back == 0 && place > 0 {
		p := 1 << (bits.Len(uint(place)) - 1)
		if c := t.at(first + p - 1); !m.mute(c) && (c.ID != m.sweep.whom || m.sweep.row < maxRow) {
			return p
		}
	}
	place = max(min(1, place), place+1-1<<back)
	for place > 0 && m.mute(t.at(first+place-1)) {
		place--
	}
	return place
}

// mute reports whether there is no sense in asking a process.
func (m *Map) mute(p *Claim) bool { return p.Of.Incarnation == 0 || m.silent(p.ID) }

// ask asks the process of the check whether it knows the same of an arc.
func (m *Map) ask(now time.Duration, arc ring.Arc, top bool) {
	m.check.waiting++
	from := arc.After
	if top && from == m.check.whom {
		from = 0
	}
	t := m.homes()
	m.send(now, call{kind: Ask, to: m.check.whom, arc: arc, top: top, level: m.check.level, as: m.check.as},
		Request{Kind: Ask, From: from, To: arc.To, Sum: t.sum(arc.After, arc.To), Level: uint8(m.check.level)})
}

// greeting is a question to the process at a home of which the answer does not count: whether it
// claims what the map says. One for more would be answered with how that divides.
func (m *Map) greeting(home uint64) Request {
	before := m.before(home)
	return Request{Kind: Ask, From: before, To: home, Sum: m.homes().sum(before, home)}
}

// vouch answers an Ask.
func (m *Map) vouch(now time.Duration, r *Request) (out Reply) {
	from := r.From
	if from == 0 {
		from = m.home
	}
	t := m.homes()
	if t.sum(from, r.To) == r.Sum {
		out.Same = true
		if m.has() && (from == m.home || t.Len() > 0 && t.at(t.upTo(from)).ID == m.home && m.alone()) {
			m.vouchFor(now, r, &out)
		}
		return out
	}
	// Both count claims, so that who has few processes of many claims divides as who has many
	// of few.
	n := t.between(from, r.To)
	each := max(1, few/2/m.perProcess(), (n+maxStretches-1)/maxStretches)
	first := t.upTo(from)
	for i := each; i < n; i += each {
		to := t.at(first + i - 1).ID
		out.Stretches = append(out.Stretches, Stretch{to, uint32(t.sum(from, to))})
		from = to
	}
	out.Stretches = append(out.Stretches, Stretch{r.To, uint32(t.sum(from, r.To))})
	return out
}

// asLoaded is the level by which one asks that has loaded the map: it has no older certainty.
const asLoaded = maxLevels - 1

// asWhole is that by which an anchor is asked for the whole circle.
const asWhole = maxLevels - 2

// asItself is that by which a process is asked for its own claims. What follows is compared only.
const asItself = maxLevels - 3

// vouchFor says how old is what the map says from the own home on, and how far: as of this sweep,
// or else by the level that was asked for, or one below it. One that has loaded the map hears of
// all of it, even if that is as of the sweep before, which may be all there is while one is under way.
func (m *Map) vouchFor(now time.Duration, r *Request, out *Reply) {
	var as time.Duration
	if r.Level == asItself {
		out.Aged = true
		if out.Through = m.home; r.To == m.home {
			out.Through = 0
		}
		return
	}
	if r.Level == asLoaded {
		out.Through = r.To
		as, out.Aged = m.certain(r.To)
	}
	if !out.Aged || as < now-promised*m.cfg.Interval {
		out.Through, as, out.Aged = m.fresh(r.To)
	}
	if !out.Aged {
		out.Through, as, out.Aged = m.reach(int(r.Level), r.To)
	}
	for i := int(r.Level) - 1; i >= 0 && (!out.Aged || as < now-promised*m.cfg.Interval); i-- {
		if i < len(m.levels) && m.levels[i].span > 0 { // a shorter stretch
			out.Through, as, out.Aged = m.reach(i, r.To)
		}
	}
	if (r.To == m.home || !out.Aged) && r.From != 0 && r.From != m.home {
		as, out.Through, out.Aged = now, m.home, true // of itself it is certain at least
	}
	out.Age = now - as
	out.Aged = out.Aged && out.Age <= maxTold
	if out.Through == r.To {
		out.Through = 0
	}
}

// alone reports whether the claims at the own home are those of this process.
func (m *Map) alone() bool {
	all := m.claims(m.home)
	return len(all) > 0 && !slices.ContainsFunc(all, func(c *Claim) bool {
		o := m.claiming(c.ID)
		return o == nil || !same(c, &o.claim)
	})
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
		if m.gap(end) {
			m.meetGap(end)
		}
	}
	if m.blind() || !r.Same || !r.Aged || r.Age > maxTold || !c.top || c.as < 0 || !c.arc.Contains(through) {
		return
	}
	if c.arc.After == c.arc.To && c.arc.To != m.home {
		if through != c.arc.To {
			return // it is not certain of all
		}
		through = m.home
	}
	as, was := c.sent-r.Age, m.ahead()
	if c.level == asItself {
		c.level = 0
		if c.arc.After != m.home {
			c.level = bits.Len(uint(m.homes().between(m.home, c.arc.After)))
		}
	}
	m.certify(min(c.level, m.depth()+moreLevels)+1, through, min(c.as, as))
	if c.check == m.checks {
		m.check.done = m.ofSweep(as) && (c.level < base || was == m.mask || m.ahead() > was)
	}
}

// fresh is how far the map is certain as of this sweep, but not beyond to, and as of when.
func (m *Map) fresh(to uint64) (through uint64, as time.Duration, ok bool) {
	span := m.askedFor()
	if d := m.distance(to); to != m.home && d < span {
		span = d
	}
	if span == 0 {
		return to, 0, false
	}
	through = (m.home + span) & m.mask
	if span == m.mask {
		through = m.home
	}
	as, ok = m.certain(through)
	return through, as, ok
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
	if d := m.distance(to); to != m.home && d < l.span {
		l.span = d
	}
	return (m.home + l.span) & m.mask, l.as, true
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
			m.compare(now, c.arc, 0)
			break
		}
		for _, s := range r.Stretches {
			arc := ring.Arc{After: from, To: s.To}
			if uint32(m.homes().sum(arc.After, arc.To)) != s.Sum {
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
		switch n := m.homes().between(arc.After, arc.To); {
		case n > 1 && n*m.perProcess() > few && k.asks == maxAsks:
			continue // in the next beats
		case n > 1 && n*m.perProcess() > few:
			k.asks++
			m.ask(now, arc, false)
		default:
			m.compare(now, arc, 0)
		}
		if len(k.rest) > maxCompared {
			k.rest = k.rest[:maxCompared] // the others in the next beats
		}
		k.again = true
	}
	switch {
	case k.waiting > 0:
	case k.again && k.level == asLoaded:
		k.open = false
		m.sweepOn(now) // and asks the same one again
	case k.again:
		m.begin(check{sweep: k.sweep, level: k.level, last: true, heard: true})
		m.askNow(now)
	default:
		if k.open = false; k.sweep {
			m.levelOver(now, k.done)
		} else {
			m.sweepOn(now)
		}
	}
}

// compare asks which claims of an arc the other has and the member lacks, and the other
// way round; of the first process in it, from the one after so many on.
func (m *Map) compare(now time.Duration, arc ring.Arc, skip int) {
	m.check.waiting++
	m.send(now, call{kind: Compare, to: m.check.whom, arc: arc, skip: skip},
		Request{Kind: Compare, From: arc.After, To: arc.To, Skip: uint32(skip), Hashes: m.hashes(arc)})
}

// hashes are those of the claims in an arc.
func (m *Map) hashes(arc ring.Arc) (out []uint32) {
	m.each(arc, func(c *Claim) bool {
		out = append(out, uint32(c.hash()))
		return len(out) < maxHashes
	})
	return out
}

// differ answers a Compare.
func (m *Map) differ(r *Request) (out Reply) {
	has := make([]bool, len(r.Hashes))
	bytes := 0
	out.Through = r.To
	// Where the next message is to go on: after so many claims of the first process after from.
	from, home, nth := r.From, r.From, 0
	m.each(ring.Arc{After: r.From, To: r.To}, func(c *Claim) bool {
		h := c.home()
		if nth > 0 && h != home {
			from, nth = home, 0
		}
		home, nth = h, nth+1
		if k := slices.Index(r.Hashes, uint32(c.hash())); k >= 0 {
			has[k] = true
			return true
		}
		if from == r.From && nth <= int(r.Skip) {
			return true
		}
		a := announce(c, true)
		if bytes += sizeNested(a.size()); len(out.Claims) == maxSent || bytes > maxBytes {
			out.Through, out.Skip = from, uint32(nth-1)
			return false
		}
		out.Claims = append(out.Claims, a)
		return true
	})
	if out.Through != r.To || out.Skip > 0 {
		return out
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
	if len(r.Lacks) > 0 {
		var mine []*Claim
		m.each(c.arc, func(x *Claim) bool {
			mine = append(mine, x)
			return len(mine) < maxHashes
		})
		for _, k := range r.Lacks {
			if int(k) < len(mine) {
				m.post(c.to, c.to, announce(mine[k], true))
			}
		}
	}
	take := m.take
	if m.loading && !m.tellsEach() {
		take = m.learn // whom it is loaded from passes on what was spread
	}
	for _, a := range r.Claims {
		if got, by := take(now, a); got == refuted {
			m.post(c.to, c.to, announce(by, true))
		}
	}
	m.flush(now)
	on := r.Through != c.arc.To && r.Through != c.arc.After && c.arc.Contains(r.Through) ||
		r.Through == c.arc.After && int(r.Skip) > c.skip
	if m.loading {
		m.loaded(now, c, r, on)
		return
	}
	if on && m.check.pages < maxPages {
		m.check.pages++
		m.compare(now, ring.Arc{After: r.Through, To: c.arc.To}, int(r.Skip))
		return
	}
	m.goOn(now)
}

// maxLoads bounds the pages of the map of another: one that answers without end would keep this
// one from being certified. A map at its limit takes some forty of them.
const maxLoads = 1 << 9

// load asks another process, from the home after on, for the claims of all: page by page.
func (m *Map) load(now time.Duration, whom, after uint64, skip int) {
	if m.loading = whom != m.home && m.homes().get(whom) != nil; !m.loading {
		return
	}
	m.begin(check{open: true, whom: whom, pages: m.check.pages})
	m.compare(now, ring.Arc{After: after, To: m.home}, skip)
}

// loaded goes on after a page has come. In the end, or when a page brings nothing and is not the
// last, the one that was asked is asked for how old all of it is.
func (m *Map) loaded(now time.Duration, c *call, r *Reply, on bool) {
	if on && len(r.Claims) > 0 && m.check.pages < maxLoads {
		m.check.pages++
		m.load(now, c.to, r.Through, int(r.Skip))
		return
	}
	m.loading, m.filled = false, true
	if m.tellsEach() {
		m.paced = 0 // the others are to know at once
		for _, o := range m.owns {
			if o.has {
				m.spread(now, announce(&o.claim, true), m.home)
			}
		}
	} else {
		m.spreadAgain(now, m.loads)
	}
	m.source = c.to
	m.askAge(now)
}

// askAge asks the one from which the map was loaded for how old all of it is.
func (m *Map) askAge(now time.Duration) {
	as, ok := m.certain(m.source)
	arc := ring.Arc{After: m.source, To: m.home}
	if !ok { // then by the other alone, from itself on
		as, arc = now, m.round(m.source)
	}
	m.begin(check{open: true, level: asLoaded, whom: m.source, to: arc.To, as: as})
	m.ask(now, arc, true)
}
