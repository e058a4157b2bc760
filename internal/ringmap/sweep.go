package ringmap

import (
	"slices"
	"time"
)

// A map is certified in sweeps, in a fraction of an interval each. All members sweep at the same
// time, so that whoever is asked for a part has just certified it: whoever hears that the next
// sweep has begun begins it, too. In between nobody asks anything. Anchors certify the circle, and
// the others ask them. So the whole circle costs a member some three questions in a sweep, and
// grows as old as the time from one sweep to the next, and little more. Where that does not help, a
// member asks level after level: log2 N questions, each for as much as it is certain of.

// promised is how old what answers a lookup may be, in intervals.
const promised = 10

const (
	// sweepEvery is the time from one sweep to the next, in intervals. What is certain
	// is as of the last round of each owner, so it is older by up to one interval. There
	// is time left to ask again what was not answered.
	sweepEvery = 6
	// paces is how many levels are asked in an interval. It is a few times what an
	// answer takes, or those who are asked do not know yet.
	paces = 16
	// late is how much older than the sweep a certainty may be, in intervals, that is of it.
	// If answers take long, it may be older by lateMore.
	late     = 1
	lateMore = 2
	// moreLevels is how many levels more there can be than by doubling, since whoever is asked
	// may be certain of less than that.
	moreLevels = 8
	// maxTries is how often a level is asked again in a sweep, within an interval.
	maxTries = 6
	// maxRow is how often one process is asked in a row, if there is another.
	maxRow = 2
	// maxAgain is how often all levels are asked again, an interval later, if the circle
	// is not certain as of the sweep.
	maxAgain = 2
	// maxAges is how often the one from which the map was loaded is asked how old it is, if what
	// both have differed because claims were under way. The first pause is hold, and each is twice
	// the one before.
	maxAges = 4
)

// Promised is how old what answers a lookup by default may be.
func Promised(interval time.Duration) time.Duration { return promised * interval }

// sweep is where the map is in a sweep.
type sweep struct {
	began time.Duration // the last one
	way   way
	more  int           // byStretches: how often an anchor was asked for more
	level int           // that is asked
	tries int           // how often it was asked again
	again int           // how often all levels were
	ages  int           // how often it was asked for the age of what was loaded
	aging bool          // that is asked next
	stuck bool          // more cannot be certified, because of a legacy member or of a claim that is lost
	whom  uint64        // the home of the process that was asked last; 0: none
	row   int           // how often it was, in a row
	to    uint64        // the home up to which the map was compared; 0: none
	first time.Duration // when the level was asked for the first time
	asked time.Duration // when it was asked last
	next  time.Duration // when it goes on; 0: it is over, or waits for an answer
}

// asks notes that the process at a home is asked.
func (s *sweep) asks(whom uint64) {
	if s.whom != whom {
		s.whom, s.row = whom, 0
	}
	s.row++
}

// swept reports whether the whole circle is certain as of this sweep.
func (m *Map) swept() bool {
	if m.t.Len() == 0 {
		return true
	}
	as, ok := m.certain(m.last())
	return ok && m.ofSweep(as)
}

// ofSweep reports whether what is certain as of a time is of this sweep.
func (m *Map) ofSweep(as time.Duration) bool {
	return as >= m.sweep.began-late*m.cfg.Interval-min(4*m.trip, lateMore*m.cfg.Interval)
}

// ahead is how far the map is certain as of this sweep, 0 if it is of nothing.
func (m *Map) ahead() uint64 { return m.spanOf(m.levels) }

// spanOf is how far the one of some levels reaches that reaches farthest, of those of this sweep.
func (m *Map) spanOf(levels []level) (span uint64) {
	for _, l := range levels {
		if l.span > span && m.ofSweep(l.as) {
			span = l.span
		}
	}
	return span
}

// missing is the level to begin with if all are asked again.
func (m *Map) missing() int {
	for i := base; i < min(len(m.levels), m.depth()); i++ {
		if l := m.levels[i]; l.span == 0 || !m.ofSweep(l.as) {
			return i - 1
		}
	}
	return m.depth()
}

// pace is the time from one level to the next.
func (m *Map) pace() time.Duration { return m.cfg.Interval / paces }

// step is about how long who is asked takes to be certain of the next stretch.
func (m *Map) step() time.Duration { return max(m.pace(), m.trip) }

// hearBeat takes over the number of a sweep that another has begun.
func (m *Map) hearBeat(now time.Duration, beat uint32) {
	if int32(beat-m.heard) <= 0 {
		return
	}
	m.heard = beat
	if !m.has() || m.loading {
		// What it loads is as certain as at whom it is loaded from.
		m.beat, m.sweep, m.barred = beat, sweep{began: now}, 0
	}
}

// sweepOn goes on with the sweep that is under way after the map of another was loaded: that
// may have been loaded before the other was certain as of this sweep.
func (m *Map) sweepOn(now time.Duration) {
	s := &m.sweep
	if !m.filled {
		return
	}
	as, certain := time.Duration(0), false
	if m.t.Len() > 0 {
		as, certain = m.certain(m.last())
	}
	if certain && now-as < (sweepEvery-1)*m.cfg.Interval {
		s.began = min(s.began, as) // it began before the member was there
	}
	switch {
	case m.swept():
	case !certain && s.ages < maxAges:
		s.aging, s.next = true, now+hold<<s.ages
		s.ages++
	default:
		s.way = m.way()
		s.level, s.tries, s.first, s.next = 0, 0, 0, now+m.pace()
	}
}

// sweepAt is when the next sweep begins.
func (m *Map) sweepAt() time.Duration {
	if m.heard != m.beat {
		return m.barred
	}
	return m.sweep.began + sweepEvery*m.cfg.Interval
}

// SweepBegan is when the last sweep began.
func (m *Map) SweepBegan() time.Duration { return m.sweep.began }

// slack is by how much a round of the map may begin early or late.
func (m *Map) slack() time.Duration { return m.cfg.Interval / 8 }

// Next is when Tick is to be called.
func (m *Map) Next() time.Duration { return m.next(m.nextRound) }

// Latest is when Tick is to be called at the latest, if it is also called in each round of the
// member: a round of the map begins with that, if one is due at about that time. A process that is
// woken less often needs less.
func (m *Map) Latest() time.Duration { return m.next(m.nextRound + m.slack()) }

func (m *Map) next(round time.Duration) time.Duration {
	at := min(round, m.sweepAt())
	if m.sweep.next != 0 {
		at = min(at, m.sweep.next)
	}
	if slices.ContainsFunc(m.outbox, m.sendable) {
		at = min(at, m.flushAt())
	}
	return at
}

// Tick is called when it is time.
func (m *Map) Tick(now time.Duration) {
	m.flush(now)
	if now >= m.nextRound-m.slack() {
		m.nextRound = now + m.cfg.Interval
		m.leaps.Begin()
		m.settle(now)
		m.probe(now)
	}
	switch {
	case now >= m.sweepAt():
		if m.beat++; int32(m.heard-m.beat) > 0 {
			m.beat = m.heard
		}
		m.heard = m.beat
		level := 0
		if m.check.sweep && m.check.waiting > 0 && m.trip > m.cfg.Interval/2 {
			level = m.sweep.level // those who answer slowly would never be asked for the later ones
		}
		m.sweep, m.barred = sweep{began: now, way: m.way(), level: level}, now+sweepEvery/2*m.cfg.Interval
		if m.sweep.way == byAnchor {
			m.sweep.next = now + m.needed()
			return
		}
		if m.sweep.way == byStretches {
			m.rouse(now)
		}
		m.goOnSweeping(now)
	case m.sweep.next != 0 && now >= m.sweep.next:
		m.goOnSweeping(now)
	}
}

// goOnSweeping asks for the level that is next, or asks again.
func (m *Map) goOnSweeping(now time.Duration) {
	s, k := &m.sweep, m.check
	s.next = 0
	switch {
	case !m.has():
		return
	case m.loading, k.waiting > 0 && (k.heard || k.silent):
		s.next = now + m.cfg.Interval/2 // the pages and comparisons have time-outs
		return
	case s.aging && m.homes().get(m.source) != nil:
		s.aging = false
		m.askAge(now)
		return
	}
	s.aging = false
	m.begin(check{sweep: true, level: s.level, silent: k.waiting > 0 || s.tries > 0 && !k.heard})
	if s.asked = now; s.first == 0 {
		s.first = now
	}
	m.askNow(now)
	switch {
	case m.check.open:
		if s.next == 0 {
			s.next = now + max(2*m.pace(), 2*m.trip)
		}
	case s.way != byLevels: // there is nobody to be asked now
		m.goOnAsking(now, false)
	default:
		m.levelOver(now, true)
	}
}

// levelOver goes on to the next level, or asks again if the answer was not of this sweep. Beyond a
// legacy member, which claims nothing, nothing can be certified: then each level is compared once,
// all round the circle, so that what differs is mended. So is what others have of this process,
// also if there is only one other.
func (m *Map) levelOver(now time.Duration, done bool) {
	s := &m.sweep
	s.stuck = s.stuck || m.blind()
	if s.way != byLevels {
		m.goOnAsking(now, done)
		return
	}
	if !done && !s.stuck && s.tries < maxTries && now < s.first+m.cfg.Interval {
		s.tries++
		s.next = now + time.Duration(s.tries)*m.pace()
		return
	}
	m.settle(now)
	s.level, s.tries, s.first, s.next = s.level+1, 0, 0, 0
	switch {
	case m.swept() && s.level > base, s.stuck && s.to == m.home:
	case s.level < m.depth()+moreLevels:
		s.next = max(now, s.asked+m.pace())
	case !s.stuck && s.again < maxAgain:
		s.again, s.level = s.again+1, m.missing()
		s.next = now + m.cfg.Interval
	}
}
