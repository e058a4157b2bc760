package protocol

import (
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// joining is Zave's join: find the members between which this one belongs, take
// the successor's list, become its predecessor; then introduce oneself to the
// member before, so that the join is complete in a few round trips instead of
// a few rounds.
type joining struct {
	stage   joinStage
	call    uint64
	sent    time.Duration // when asked was asked
	attempt int
	steps   int
	// patience is the attempt number of questions to the addresses given.
	patience int
	via      []string
	brings   []string     // of one that would have founded a ring: the addresses given
	origin   *ring.Origin // of whoever was heard, nil: of nobody in a ring
	mixed    bool         // some were of rings that have nothing in common
	asked    ring.Member
	rest     []ring.Member // seeking: those still to be asked
	before   ring.Member   // the member before, which knows of us no more than that
	after    []ring.Member // candidates for the successor, nearest first
	tried    []ring.Member // successors that named a nearer predecessor, or failed
	failed   []ring.Member // those that could not be notified
	nearer   ring.Member   // the one named last
	rival    ring.Member   // the member that has our identifier
	causes   []JoinCause
	takeover takingOver
}

type joinStage uint8

const (
	seeking joinStage = iota + 1
	challenging
	surveying // asking a legacy successor for its ring
	preparing // asking the successor whether it would consent
	taking    // waiting for Prepared
	notifying
	introducing
)

func (m *Machine) startJoin(ev Join) {
	if m.phase != Outside {
		return
	}
	m.anew()
	if ev.Found > 0 {
		m.startBootstrapping(ev)
		return
	}
	m.phase = Joining
	m.bootstrap = bootstrapping{}
	m.setSeeds(m.seedsOf(ev))
	m.join = &joining{via: slices.Clone(ev.Via), patience: ev.Attempt, takeover: takingOver{most: ev.Takeover}}
	m.probeSeldom()
	m.dirty = true
	m.joinVia()
}

// seedsOf are the addresses that are kept of a join.
func (m *Machine) seedsOf(ev Join) []string {
	seeds := ev.Seeds
	if seeds == nil {
		seeds = ev.Via
	}
	var out []string
	for _, addr := range seeds {
		if addr != m.self.Addr && !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out
}

// joinVia begins at the next address given.
func (m *Machine) joinVia() {
	j := m.join
	if len(j.via) == 0 {
		m.joinFailed()
		return
	}
	x := ring.Member{Addr: j.via[0]}
	j.via = j.via[1:]
	j.rest = nil
	m.seek(x)
}

func (m *Machine) joinFailed() {
	causes := m.join.causes
	if len(causes) == 0 {
		// Everybody answered, and nobody knew the way: the ring is changing.
		causes = []JoinCause{{At: m.join.asked, Refusal: Refusal{Reason: Busy, Detail: "no member nearer to the joiner's place is known"}}}
	}
	m.failJoin(causes)
}

// failJoin ends a join, or the search for a ring to join.
func (m *Machine) failJoin(causes []JoinCause) {
	met := m.bootstrap.others // by the next attempt, should it look for a ring again
	m.outside()
	m.bootstrap.others = met
	m.late(JoinDone{Causes: causes})
}

func (m *Machine) joinAsk(stage joinStage, x ring.Member, req Request, patient bool) {
	j := m.join
	j.stage, j.asked, j.attempt, j.sent = stage, x, 0, m.now
	if j.steps++; j.steps > maxJoinSteps {
		m.joinCause(JoinCause{At: x, Refusal: Refusal{Reason: Busy}})
		m.joinFailed()
		return
	}
	attempt := 0
	if x.Anyone() {
		attempt = j.patience
	}
	j.call = m.ask(x, req, attempt, patient)
}

func (m *Machine) seek(x ring.Member) {
	m.joinAsk(seeking, x, Request{Kind: Seek, Subject: m.self}, false)
}

func (m *Machine) joinCause(c JoinCause) { m.join.causes = append(m.join.causes, c) }

// sharesAddress reports whether another member has answered that advertises the same
// address as this one. Then whoever connects there reaches now the one, now the other.
func (m *Machine) sharesAddress(by ring.Member) bool {
	return by.Name != "" && by.Addr == m.self.Addr && by.Name != m.self.Name
}

// sharedAddress is the cause that ends a join in that case. By answered at addr.
func (m *Machine) sharedAddress(addr string, by ring.Member) JoinCause {
	return JoinCause{At: ring.Member{Addr: addr}, Refusal: Refusal{Reason: NotReached, Other: by, Detail: sharing(m.self, by)}}
}

// sharing says that x cannot be reached since by advertises its address too.
func sharing(x, by ring.Member) string {
	return fmt.Sprintf("%s answers, which advertises %s as %s does: each member must advertise an address that leads to itself alone, not that of a load balancer", by.Name, by.Addr, x.Name)
}

func (j *joining) question(i int) (uint64, bool) {
	if j == nil || i > 0 {
		return 0, false
	}
	return j.call, true
}

func (j *joining) encode(_ *Machine, f *form) {
	if j == nil {
		return
	}
	f.bytes(byte(j.stage), byte(j.attempt), byte(len(j.via)))
	for _, addr := range j.via {
		f.address(addr)
	}
	f.origin(j.origin)
	f.flags(j.mixed)
	f.bytes(byte(len(j.brings)))
	for _, addr := range j.brings {
		f.address(addr)
	}
	f.members(j.asked, j.before, j.nearer, j.rival)
	for _, list := range [...][]ring.Member{j.rest, j.after, j.tried, j.failed} {
		f.list(list)
	}
	if j.takeover.most > 0 {
		f.members(j.takeover.heard)
	}
}

func (j *joining) answered(m *Machine, _ int, a Answer) {
	by := a.Reply.State.Self
	if a.Failure != nil {
		by = a.Failure.By
	}
	if m.sharesAddress(by) && j.stage != introducing {
		m.joinCause(m.sharedAddress(j.asked.Addr, by))
		m.joinFailed()
		return
	}
	if f := a.Failure; f != nil {
		switch {
		case f.Kind.unsaid():
			m.joinCause(JoinCause{At: j.asked, Failure: f})
			if j.stage == introducing {
				m.joined()
			} else {
				m.joinFailed()
			}
			return
		case (f.Kind == TimedOut || f.Kind == Unreachable) && j.attempt == 0 && j.stage < preparing && !j.asked.Anyone():
			j.attempt++
			j.sent = m.now
			j.call = m.ask(j.asked, m.joinRequest(), j.attempt, false)
			return
		}
	} else if self := a.Reply.State.Self; !j.asked.Anyone() && !self.IsZero() {
		if !names(j.asked, self) {
			a.Failure = &Failure{Kind: WrongMember, By: self}
		} else {
			j.asked = self
		}
	}
	switch j.stage {
	case seeking:
		m.sought(a)
	case challenging:
		m.challenged(a)
	case surveying:
		m.surveyed(a)
	case preparing, notifying:
		m.joinNotified(a)
	case introducing:
		m.joinIntroduced(a)
	}
}

// joinRequest is the open question, to be asked once more.
func (m *Machine) joinRequest() Request {
	if m.join.stage == seeking {
		return Request{Kind: Seek, Subject: m.self}
	}
	return Request{Kind: AskRing}
}

// sought goes on after a member was asked where this one belongs.
func (m *Machine) sought(a Answer) {
	j := m.join
	if a.Failure != nil {
		m.joinCause(JoinCause{At: j.asked, Failure: a.Failure})
		m.seekNext()
		return
	}
	st := a.Reply.State
	drained := j.asked.Anyone() && a.Reply.Verdict == Next && st.Phase == Outside
	switch {
	case drained: // it names members whom it knows, and is none itself
	case st.Self.IsZero():
		m.recordAnswer(st)
	default:
		m.recordAnswer(st, fact{kind: hasAnswered, who: st.Self})
	}
	switch a.Reply.Verdict {
	case Found:
		rival := st.Self
		if rival.ID != m.self.ID {
			rival = st.Head()
			j.before = st.Self
			j.after = slices.Clone(st.Succ[min(1, len(st.Succ)):])
			if len(j.after) == 0 {
				j.after = []ring.Member{st.Self}
			}
		}
		m.challenge(rival)
	case Taken:
		j.before = st.Self
		j.after = slices.Clone(st.Succ)
		if len(j.after) == 0 {
			j.after = []ring.Member{st.Self}
		}
		if !j.nearer.IsZero() && slices.ContainsFunc(j.tried, func(x ring.Member) bool { return names(j.after[0], x) }) {
			// The member before does not know yet of the one that the
			// successor named: go to that one.
			j.after = slices.Insert(j.after, 0, j.nearer)
		}
		m.joinAfter()
	case Next:
		var closer []ring.Member
		for _, x := range a.Reply.Closer {
			if x.ID != m.self.ID && (drained || j.asked.Anyone() && st.Self.IsZero() || ring.Between(st.Self.ID, x.ID, m.self.ID)) {
				closer = append(closer, x)
			}
		}
		j.rest = slices.Concat(closer, j.rest)
		j.rest = j.rest[:min(len(j.rest), maxPlaceRest)]
		m.seekNext()
	default:
		m.joinCause(JoinCause{At: j.asked, Failure: &Failure{Kind: Invalid, Detail: "the answer has no verdict"}})
		m.seekNext()
	}
}

func (m *Machine) seekNext() {
	j := m.join
	if len(j.rest) == 0 {
		m.joinVia()
		return
	}
	x := j.rest[0]
	j.rest = j.rest[1:]
	m.seek(x)
}

// challenge deals with a member that has this one's identifier. At our own
// address it is our past, and we join where it stood. Anywhere else it is asked
// whether it lives.
func (m *Machine) challenge(rival ring.Member) {
	j := m.join
	j.rival = rival
	if rival.SameProcess(m.self) {
		m.outlive(rival)
		return
	}
	m.joinAsk(challenging, rival, Request{Kind: AskRing}, false)
}

func (m *Machine) challenged(a Answer) {
	j := m.join
	j.rival = j.asked // in full, if a legacy member had named it
	f := a.Failure
	switch {
	case f == nil && a.Reply.State.Phase.InRing():
		m.joinCause(JoinCause{At: j.rival, Refusal: m.taken(m.self, j.rival)})
		m.joinFailed()
	case f == nil || f.Kind == Refused || f.Kind == WrongMember || f.Kind == NotJoined:
		m.outlive(j.rival)
	default:
		// Time-outs alone are no evidence: the ring's failure detection must
		// come to its end first. The caller tries again.
		m.joinCause(JoinCause{At: j.rival, Failure: f})
		m.joinFailed()
	}
}

// outlive joins in the place of an earlier incarnation of this member.
func (m *Machine) outlive(past ring.Member) {
	j := m.join
	if past.Name == m.self.Name && past.Incarnation >= m.self.Incarnation {
		m.self.Incarnation = past.Incarnation + 1
		m.dirty = true
	}
	if len(j.after) == 0 {
		m.seekNext()
		return
	}
	m.joinAfter()
}

// joinAfter turns to the nearest candidate for the successor.
func (m *Machine) joinAfter() {
	j := m.join
	j.after = slices.DeleteFunc(j.after, func(x ring.Member) bool {
		return x.ID == m.self.ID || slices.Contains(j.failed, x)
	})
	if len(j.after) == 0 {
		m.joinVia()
		return
	}
	s := j.after[0]
	j.after = j.after[1:]
	if s.Legacy() {
		m.joinAsk(surveying, s, Request{Kind: AskRing}, false)
		return
	}
	if m.prepares(s) {
		m.joinAsk(preparing, s, Request{Kind: Notify, Joining: true, Preparing: true}, true)
		return
	}
	m.commit(s)
}

// surveyed goes on after a legacy member gave its ring: it is taken as the
// successor if this one belongs between its predecessor and it, and walked
// back from otherwise.
func (m *Machine) surveyed(a Answer) {
	j := m.join
	s := j.asked
	if a.Failure != nil || a.Reply.State.Phase != Joined {
		if a.Failure == nil {
			a.Failure = &Failure{Kind: NotJoined, By: s}
		}
		j.tried = append(slices.Clip(j.tried), s)
		m.joinCause(JoinCause{At: s, Failure: a.Failure})
		m.joinAfter()
		return
	}
	st := a.Reply.State
	m.recordAnswer(st)
	if !s.Legacy() {
		// A legacy member had named it; it can be notified.
		j.after = slices.Insert(j.after, 0, s)
		m.joinAfter()
		return
	}
	if p := st.Pred; !p.IsZero() && p.ID != m.self.ID && ring.Between(m.self.ID, p.ID, s.ID) && !slices.Contains(j.tried, p) {
		j.after = slices.Insert(j.after, 0, p, s) // s after all, if p does not answer
		m.joinAfter()
		return
	}
	m.enter(s, a.Reply)
	m.triggerStabilize() // notifies it
	m.introduce()
}

// joinNotified goes on after the successor has made up its mind about this
// member.
func (m *Machine) joinNotified(a Answer) {
	j := m.join
	s := j.asked
	if a.Failure != nil {
		j.tried = append(slices.Clip(j.tried), s)
		m.joinCause(JoinCause{At: s, Failure: a.Failure})
		if a.Failure.Kind == NotJoined {
			m.joinFailed() // it is on its way in: come back when it is there
			return
		}
		m.seekAgain(s)
		return
	}
	st, refusal := a.Reply.State, a.Reply.Refusal
	m.recordAnswer(st)
	switch refusal.Reason {
	case Consent:
		if j.stage == preparing && st.Pred != m.self {
			m.prepare(s, st)
			return
		}
		m.enter(s, a.Reply)
		m.introduce()
	case Nearer:
		j.tried, j.nearer = append(slices.Clip(j.tried), s), ring.Member{}
		if ring.Between(m.self.ID, st.Pred.ID, s.ID) {
			j.nearer = st.Pred
		}
		m.seek(j.before)
	case Outdated:
		if refusal.Other.ID == m.self.ID && refusal.Other.Incarnation >= m.self.Incarnation {
			m.self.Incarnation = refusal.Other.Incarnation + 1
			m.dirty = true
		}
		j.after = slices.Insert(j.after, 0, s)
		m.joinAfter()
	case NotInRing:
		m.joinCause(JoinCause{At: s, Refusal: refusal})
		m.seekAgain(s)
	default:
		m.joinCause(JoinCause{At: s, Refusal: refusal})
		m.joinFailed()
	}
}

// seekAgain asks the member before once more after s could not be notified. What
// it has said is as old as the search: whoever joined behind s since then is
// not in its list of that time, and the next entry of that would be skipped to.
func (m *Machine) seekAgain(s ring.Member) {
	j := m.join
	j.failed = append(slices.Clip(j.failed), s)
	j.nearer = ring.Member{}
	m.seek(j.before)
}

// enter makes this member one of the ring, with s for its successor.
func (m *Machine) enter(s ring.Member, r Reply) {
	st := r.State
	m.settleIn(st.Origin)
	m.setSucc(m.cut(s, st.Succ))
	m.recognize(s)
	m.record(fact{kind: hasAnswered, who: s})
	m.phase = Joined
	m.ownsNothing()
	m.replaced.namedBy = s
	m.certain, m.answered = m.join.sent, m.now
	m.dirty = true
	m.schedule()
	m.namedBy(st)
	m.takeOver(r.Former)
}

// introduce tells the member before of this one, and waits until it has
// considered it.
func (m *Machine) introduce() {
	j := m.join
	if j.before.IsZero() || j.before.Legacy() || j.before.ID == m.self.ID || j.steps >= maxJoinSteps {
		m.joined()
		return
	}
	m.joinAsk(introducing, j.before, Request{Kind: Introduce, Subject: m.self}, true)
}

func (m *Machine) joinIntroduced(a Answer) {
	st := a.Reply.State
	q := m.join.before
	if h := st.Head(); a.Failure == nil && !h.IsZero() && ring.Between(q.ID, h.ID, m.self.ID) {
		// Another has come between: that one is the member before.
		m.recordAnswer(st)
		m.join.before = h
		m.introduce()
		return
	}
	m.joined()
	if a.Failure != nil {
		return // it will find out by stabilizing
	}
	m.recordAnswer(st)
	if st.Self == m.pred && st.Head() == m.self {
		m.pointsHere()
	}
	if st.Self == q && st.Head() == m.self && m.phase == Joined && q != m.pred && len(m.rects) < maxRectifications {
		// Its own answer that we are its successor is as good as a Notify.
		m.record(fact{kind: hasAnswered, who: q})
		m.startRectification(rectification{n: q})
	}
}

func (m *Machine) joined() {
	m.join, m.bootstrap = nil, bootstrapping{}
	m.late(JoinDone{})
	m.triggerStabilize() // the list may have grown since the successor gave it
}

// JoinCauses lists why the open join has not succeeded yet, and whose answer it
// waits for; zero: that of nobody in particular.
func (m *Machine) JoinCauses() (causes []JoinCause, waiting ring.Member) {
	if m.phase == Bootstrapping {
		return m.bootstrapCauses(), ring.Member{}
	}
	if m.join == nil {
		return nil, ring.Member{}
	}
	if m.join.stage == taking {
		return m.join.causes, ring.Member{}
	}
	return m.join.causes, m.join.asked
}
