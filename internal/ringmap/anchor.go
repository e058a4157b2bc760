package ringmap

import (
	"math/bits"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Most processes do not certify the circle themselves, but ask one that has: an anchor. Every
// process can tell from its map which are anchors: those whose hash is the smallest of several
// around. So about one in five is one, none is far from the next, and who comes or goes
// changes only which are anchors near it.
//
// An anchor asks the processes after it one after another, up to the next anchor, whether they
// still claim what the map says. The next anchor does the same, and so vouches for as much when it
// is asked. The one at the end of that vouches for twice as much by then, and so on. Of n anchors,
// each is certain of all after log2 n such questions. Then the others ask.

const (
	// around is of how many processes before it, and of as many after it, an anchor has the smallest
	// hash.
	around = 2
	// maxRetries is how often a question that did not help is asked again before a sweep goes on in
	// another way.
	maxRetries = 8
	// fewTries is after how many tries others are asked than anchors, and those that have not
	// answered.
	fewTries = 1
	// maxNeeded is how many intervals others wait for anchors at most: what slow answers leave too
	// little time for goes level by level.
	maxNeeded = 3
	// maxMore is how often an anchor is asked again because it was not certain yet up to the next.
	maxMore = 2
)

// way is how a process sweeps.
type way uint8

const (
	// byLevels asks level after level, and goes around those that do not answer.
	byLevels way = iota
	// byAnchor asks an anchor for the whole circle.
	byAnchor
	// byStretches is that of an anchor: it asks the first process of which it is not certain.
	byStretches
)

// way is how a sweep begins. What legacy members keep from being certain, and what maps do not
// hold, is compared level by level.
func (m *Map) way() way {
	t := m.homes()
	switch own := t.rank(m.home); {
	case m.home == 0, t.get(m.home) == nil, m.t.Len() >= m.cfg.Limit:
		return byLevels
	case m.needed() > maxNeeded*m.cfg.Interval:
		return byLevels
	case m.blind(), !m.several() && !m.gapless():
		return byLevels
	case m.anchor(own):
		return byStretches
	}
	return byAnchor
}

// needed is about how long anchors need to be certain of the whole circle.
func (m *Map) needed() time.Duration { return time.Duration(m.depth()) * m.step() }

// anchor reports whether the process of a rank is an anchor. A legacy member is none.
func (m *Map) anchor(rank int) bool {
	t := m.homes()
	x := t.at(rank)
	if x.Of.Incarnation == 0 {
		return false
	}
	for i := -around; i <= around; i++ {
		if y := t.at(rank + i); y.Of.Incarnation != 0 && mix(y.ID) < mix(x.ID) {
			return false
		}
	}
	return true
}

// askAnchor asks the nearest anchor before this process how old all is that the map says, or
// another one each time. If two did not help, it asks the nearest processes, which need not be
// anchors: what is wrong here may be of the anchors, so that they cannot be asked.
func (m *Map) askAnchor(now time.Duration) {
	t, k := m.homes(), &m.check
	own, skip := t.rank(m.home), m.sweep.tries
	if k.silent {
		skip++
	}
	any := skip > fewTries
	if any {
		skip -= fewTries + 1
	}
	var found []int
	for i := 1; i < t.Len() && len(found) <= skip; i++ {
		if (any || m.anchor(own-i)) && !m.mute(t.at(own-i)) {
			found = append(found, own-i)
		}
	}
	if len(found) == 0 {
		return
	}
	k.whom = t.at(found[skip%len(found)]).ID
	arc := m.round(k.whom)
	k.to, k.as, k.level, k.open = arc.To, now, asWhole, true
	m.ask(now, arc, true)
}

// askStretch asks the first process of which the map is not certain whether it still claims what
// the map says, and an anchor for what follows it, too.
func (m *Map) askStretch(now time.Duration) {
	place, n := m.reached(), m.others()
	if place >= n {
		return
	}
	if m.sweep.more > 0 && m.sweep.tries == 0 {
		place -= m.pastAnchor(place) + 1
	}
	t, k := m.homes(), &m.check
	own := t.rank(m.home)
	from, whom := t.at(own+place).ID, t.at(own+place+1)
	if from == 0 || m.mute(whom) && m.sweep.tries <= fewTries {
		return
	}
	k.whom, k.to, k.as, k.level, k.open = whom.ID, whom.ID, now, bits.Len(uint(place)), true
	if m.anchor(own+place+1) && m.sweep.tries == 0 { // else for itself: it may not know what it is
		// As much as is certain here, or a little more: up to an anchor.
		k.to = m.home
		for end := 2*(place+1) + around; end < n; end++ {
			if m.anchor(own + end + 1) {
				k.to = t.at(own + end).ID
				break
			}
		}
	}
	if place > 0 {
		k.as, _ = m.certain(from)
	}
	if k.to == whom.ID && now > m.newsAt+m.cfg.Interval {
		// Claims are hardly on their way. One whose map is another may not know whom to ask.
		k.to, k.level = m.home, asItself
	}
	m.ask(now, ring.Arc{After: from, To: k.to}, true)
}

// askedFor is how far the map is certain by what was asked in this sweep. What the next process has
// said in a round of the ring does not count: it may be older than the sweep by an interval, and
// would be of none to those that begin it a little later.
func (m *Map) askedFor() uint64 { return m.spanOf(m.levels[min(base, len(m.levels)):]) }

// reached is the place of the last process up to which the map is certain by what was asked in this
// sweep.
func (m *Map) reached() int {
	switch span := m.askedFor(); span {
	case 0:
		return 0
	case m.mask:
		return m.others()
	default:
		return m.homes().between(m.home, (m.home+span)&m.mask)
	}
}

// pastAnchor is how many places the last anchor is before a place; that many if this process is the
// last.
func (m *Map) pastAnchor(place int) int {
	own := m.homes().rank(m.home)
	for i := range place {
		if m.anchor(own + place - i) {
			return i
		}
	}
	return place
}

// goOnAsking goes on after a question of an anchor's sweep, or to one, was answered, or was not.
func (m *Map) goOnAsking(now time.Duration, done bool) {
	s := &m.sweep
	m.settle(now)
	s.next = 0
	switch place, own := m.reached(), m.homes().rank(m.home); {
	case m.swept():
	case s.stuck, !done && s.tries == maxRetries:
		m.sweepOtherwise(now)
	case !done && s.way == byAnchor && s.tries == 0 && m.anchor(own):
		s.way, s.next = byStretches, now // it has become one in this sweep
	case !done:
		s.tries++
		s.next = now + time.Duration(s.tries)*m.step()
	case m.anchor(own + place + 1):
		s.tries, s.more, s.first, s.next = 0, 0, 0, max(now, s.asked+m.pace())
	case m.pastAnchor(place) < place && s.more < maxMore:
		s.tries, s.first, s.next = 0, 0, max(now, s.asked+m.step())
		s.more++ // the anchor has not come to the next one yet
	default:
		s.tries, s.more, s.first, s.next = 0, 0, 0, now
	}
}

// sweepOtherwise has a sweep go on that cannot as it began: an anchor asks another one, and others
// go level by level.
func (m *Map) sweepOtherwise(now time.Duration) {
	s := &m.sweep
	if s.way == byStretches && !s.stuck {
		s.way, s.level = byAnchor, 0
	} else {
		s.way, s.level = byLevels, bits.Len(uint(m.reached()))
	}
	s.tries, s.more, s.first, s.next = 0, 0, 0, now+m.pace()
}

// rouse tells an anchor that a sweep has begun that is half the circle away, a quarter, or less,
// which differs from anchor to anchor. So all begin at about the same time, also if clocks differ.
func (m *Map) rouse(now time.Duration) {
	t, n := m.homes(), m.others()
	own := t.rank(m.home)
	far := n >> (1 + mix(m.home)%uint64(bits.Len(uint(n))+1))
	for i := max(1, far); i <= n; i++ {
		if x := t.at(own + i); m.anchor(own+i) && !m.mute(x) {
			m.send(now, call{kind: Ask, to: x.ID, greets: true}, m.greeting(x.ID))
			return
		}
	}
}
