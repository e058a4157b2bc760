package protocol

import (
	"cmp"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// looking is how members that may found a ring find one, or agree on one of
// them to found it.
//
// A member that looks asks its addresses again and again who is there, and says
// whom it would let found, its founder: the smallest identifier among itself, if
// one of its addresses is its own, and those that it has met and that name
// themselves. It joins the first member of a ring that answers. It founds one
// when it names itself and
//
//   - everybody at its addresses looks too, and names it, and there can be no
//     others; or
//   - it has looked for the time given, and nobody who was heard of late names
//     another.
//
// A word that names another is a promise: who has given it founds no ring while
// that other is heard. So of members that share their addresses two found only
// if no question of the one reached the other in all the time given. Then their
// rings merge, since each founder keeps the addresses and asks there.
//
// Time is counted in rounds and not read: a member that stood still for a while
// has not looked meanwhile.
type looking struct {
	every    time.Duration // length of a round
	patience int           // rounds until it founds though not everybody has answered
	round    int           // rounds so far
	named    int           // rounds in which it has named itself, without a break
	open     bool          // there may be others than those at the addresses
	listed   bool          // one of the addresses is its own
	others   []looker
}

// looker is an address that is asked, and who looks there.
type looker struct {
	addr    string
	given   bool        // to JoinOrCreate
	recall  bool        // of a member of the ring of an earlier life; otherwise heard of from one that looks
	own     bool        // this member itself is there
	who     ring.Member // who looks there; zero: nobody, as far as known
	met     bool        // who has answered there itself
	founder ring.Member // whom it named last; zero: it has met nobody who may found
	enters  bool        // it has found a ring and is on its way in
	heard   int         // the round in which it last spoke
	call    uint64      // the open question, 0 for none
	asked   int         // the round after that of the last question; 0: none was put
	silent  int         // questions in a row that were not answered
	failure *Failure    // what became of the last question
}

const (
	lookRounds  = 12                     // rounds until a member founds alone, at least
	lookEvery   = 250 * time.Millisecond // length of a round, at most
	lookPace    = time.Second            // between questions where little news is expected
	lookMemory  = 3 * lookPace           // how long a word counts, unless the time to found is longer
	lookDoubt   = 3                      // questions until one that asks and does not answer is no reason to wait
	lookStalled = 4                      // times the time to found, after which others' words are no reason to wait
	maxLooks    = 64                     // questions open at once
	maxLearned  = 32                     // lookers at other addresses than those given
)

// startLooking begins to look for a ring, or for others to found one with.
func (m *Machine) startLooking(ev Join) {
	every := max(time.Millisecond, min(lookEvery, ev.Found/lookRounds))
	l := looking{every: every, patience: int((ev.Found + every - 1) / every), open: ev.Open}
	for i, addr := range slices.Concat(ev.Via, ev.Recalled) {
		l.add(addr, addr == m.self.Addr, i >= len(ev.Via), ev.Attempt)
	}
	l.list()
	m.phase = Looking
	m.look = l
	m.setSeeds(m.seedsOf(ev))
	m.dirty = true
	m.lookRound()
}

// add has an address asked, unless it is asked already.
func (l *looking) add(addr string, own, recall bool, silent int) {
	for i := range l.others {
		if o := &l.others[i]; o.addr == addr {
			o.given = o.given || !recall
			o.recall = o.recall || recall
			return
		}
	}
	l.others = append(l.others, looker{addr: addr, given: !recall, recall: recall, own: own, silent: silent})
}

// list notes whether one of the addresses is the member's own.
func (l *looking) list() {
	l.listed = slices.ContainsFunc(l.others, func(o looker) bool { return o.own && (o.given || o.recall) })
}

// redirect goes on with other addresses. Those that are not among the given any
// more are treated as heard of.
func (m *Machine) redirect(ev Redirect) {
	if m.phase != Looking {
		return
	}
	l := &m.look
	l.open = ev.Open
	for i := range l.others {
		l.others[i].given = false
	}
	for _, addr := range ev.Via {
		l.add(addr, addr == m.self.Addr, false, 0)
	}
	l.list()
}

// lookRound makes one round of looking.
func (m *Machine) lookRound() {
	l := &m.look
	l.others = slices.DeleteFunc(l.others, func(o looker) bool {
		return !o.given && !o.recall && !o.own && o.call == 0 && o.silent > 0 && !l.hears(&o)
	})
	if m.decide() {
		return
	}
	founder := m.founder()
	var due []int
	for i := range l.others {
		if o := &l.others[i]; o.asked == 0 || l.round+1-o.asked >= l.wait(o, founder) {
			due = append(due, i)
		}
	}
	// Those first who have waited longest: not all may be asked at once.
	slices.SortStableFunc(due, func(i, k int) int { return cmp.Compare(l.others[i].asked, l.others[k].asked) })
	for _, i := range due {
		m.lookAt(i)
	}
	m.emit(WakeAt{At: m.now + l.every})
}

// lookAt asks who is at an address, unless it is being asked.
func (m *Machine) lookAt(i int) {
	l := &m.look
	open := 0
	for k := range l.others {
		if l.others[k].call != 0 {
			open++
		}
	}
	o := &l.others[i]
	if o.own || o.call != 0 || open >= maxLooks {
		return
	}
	o.asked = l.round + 1
	o.call = m.ask(ring.Member{Addr: o.addr}, Request{Kind: Look, Subject: m.founder()}, min(o.silent, lookDoubt), false)
}

// wait is the number of rounds between two questions to an address. Those that
// name the same founder have nothing new to tell each other, but all watch it.
func (l *looking) wait(o *looker, founder ring.Member) int {
	looks := o.met && l.hears(o)
	agrees := looks && o.founder == founder
	switch {
	case looks && o.who == founder:
		return 1
	case agrees, l.round >= l.patience:
		return int(lookPace / l.every)
	}
	return 1
}

// hears reports whether somebody who looks was heard at o of late.
func (l *looking) hears(o *looker) bool {
	return !o.who.IsZero() && l.round-o.heard <= max(l.patience, int(lookMemory/l.every))
}

// founder is whom this member would let found a ring, zero if it has met nobody
// who may.
func (m *Machine) founder() ring.Member {
	l := &m.look
	var best ring.Member
	if l.listed {
		best = m.self
	}
	for i := range l.others {
		o := &l.others[i]
		if o.met && o.founder == o.who && l.hears(o) && (best.IsZero() || sooner(o.who, best)) {
			best = o.who
		}
	}
	return best
}

// sooner reports whether x is to found rather than y: by identifier, that is by
// the distance from 0; of two with one identifier the earlier life.
func sooner(x, y ring.Member) bool {
	return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.Incarnation, y.Incarnation), cmp.Compare(x.Addr, y.Addr)) < 0
}

// decide founds a ring if that falls to this member now, and reports whether it
// has.
func (m *Machine) decide() bool {
	l := &m.look
	if m.founder() != m.self {
		l.named = 0
		return false
	}
	all, disputed := !l.open, false
	for i := range l.others {
		o := &l.others[i]
		if o.own {
			continue
		}
		hears := l.hears(o)
		switch {
		case !hears:
		case o.met:
			disputed = disputed || o.enters || o.founder != m.self && !o.founder.IsZero()
		case o.silent < lookDoubt && o.founder == o.who && sooner(o.who, m.self):
			disputed = true // it asks, and has not been met yet
		}
		if agrees := hears && o.met && o.founder == m.self; !agrees && (o.given || o.recall && o.failure == nil) {
			all = false
		}
	}
	if disputed && l.named < lookStalled*l.patience || !all && l.round < l.patience {
		return false
	}
	unanswered := slices.DeleteFunc(m.lookCauses(), func(c JoinCause) bool { return c.Failure.Kind == NotJoined })
	m.look = looking{}
	m.begin()
	m.probeSoon()
	m.late(JoinDone{Unanswered: unanswered})
	return true
}

// looked hears from a member that looks: it has asked who is here.
func (m *Machine) looked(from, founder ring.Member) {
	if m.phase != Looking || from.Name == "" || from.Addr == m.self.Addr {
		return
	}
	l := &m.look
	m.learnLooker(from.Addr)
	i := slices.IndexFunc(l.others, func(o looker) bool { return o.addr == from.Addr || o.who.Addr == from.Addr })
	if i < 0 {
		return
	}
	l.others[i].spoke(from, founder, l.round)
	m.learnLooker(founder.Addr)
	if o := &l.others[i]; !o.met && o.silent == 0 {
		m.lookAt(i)
	}
	m.decide()
}

// spoke notes that who looks, and whom it names.
func (o *looker) spoke(who, founder ring.Member, round int) {
	o.met = o.met && o.who == who
	o.who, o.founder, o.heard, o.enters = who, founder, round, false
}

// learnLooker has an address asked at which somebody looks.
func (m *Machine) learnLooker(addr string) {
	l := &m.look
	learned := 0
	for i := range l.others {
		o := &l.others[i]
		if o.addr == addr || o.who.Addr == addr {
			return
		}
		if !o.given && !o.recall {
			learned++
		}
	}
	if addr != "" && addr != m.self.Addr && learned < maxLearned {
		l.others = append(slices.Clip(l.others), looker{addr: addr})
	}
}

// lookAnswer goes on after an address was asked who is there.
func (m *Machine) lookAnswer(a Answer) {
	l := &m.look
	i := slices.IndexFunc(l.others, func(o looker) bool { return o.call != 0 && o.call == a.Call })
	if i < 0 {
		return
	}
	o := &l.others[i]
	o.call = 0
	o.failure = a.Failure
	if f := a.Failure; f != nil {
		o.silent++
		if f.Kind == Refused || f.Kind == WrongRing {
			o.who = ring.Member{} // whoever looked there does so no more
		}
		if m.hopeless() {
			m.failJoin(m.lookCauses())
			return
		}
		m.decide()
		return
	}
	o.silent = 0
	switch st := a.Reply.State; {
	case st.Self == m.self:
		o.own = true
		l.list()
	case st.Phase == Joined:
		m.joinFrom(o.addr)
		return
	case st.Phase == Looking:
		o.spoke(st.Self, st.Founder, l.round)
		o.met = true
		m.learnLooker(st.Founder.Addr)
	case st.Phase == Joining && st.Self == o.who:
		o.enters, o.heard = true, l.round
	default:
		o.who = ring.Member{}
	}
	m.decide()
}

// hopeless reports whether every address but the member's own belongs to
// another kind of ring. To found one beside them is not what was wanted.
func (m *Machine) hopeless() bool {
	others := 0
	for i := range m.look.others {
		switch o := &m.look.others[i]; {
		case o.own, o.recall && !o.given:
		case o.failure == nil || o.failure.Kind != WrongRing:
			return false
		default:
			others++
		}
	}
	return others > 0
}

// joinFrom joins the ring that the member at addr has shown to be in.
func (m *Machine) joinFrom(addr string) {
	m.look = looking{}
	m.phase = Joining
	m.dirty = true
	m.join = &joining{via: []string{addr}}
	m.probeSeldom()
	m.joinVia()
}

// lookCauses says of each address given why it has not led to a ring yet.
func (m *Machine) lookCauses() []JoinCause {
	var out []JoinCause
	for i := range m.look.others {
		o := &m.look.others[i]
		c := JoinCause{At: ring.Member{Addr: o.addr}, Failure: o.failure}
		switch {
		case !o.given && !o.recall || o.own:
			continue
		case o.failure == nil && m.look.hears(o):
			c.Failure = &Failure{Kind: NotJoined, By: o.who, Detail: Looking.String()}
		case o.failure == nil && o.heard == 0 && o.call != 0:
			c.Failure = &Failure{Kind: TimedOut, Detail: "no answer yet"}
		case o.failure == nil:
			c.Failure = &Failure{Kind: NotJoined, Detail: "it is in no ring"}
		}
		out = append(out, c)
	}
	return out
}
