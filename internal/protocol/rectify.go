package protocol

import (
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/ring"
)

// rectification is one notification that is being looked into: whether the
// predecessor is alive, and whether the notifier answers where it says it is.
// Nobody is adopted unheard.
type rectification struct {
	n       ring.Member // the notifier
	token   uint64
	joining bool
	call    uint64 // 0: waits for the answer to another rectification's question
	attempt int
	asked   ring.Member
	gone    ring.Member // a predecessor found dead meanwhile
	left    bool        // gone has left politely
	met     bool        // the notifier has answered at its address
	cleared bool        // nobody else answers there whom a pointer names
	before  ring.Member // its predecessor, as it said then
	steps   int
	// preparing: the notifier only asks whether it would be adopted.
	preparing bool
}

// rectifications are all that are open.
type rectifications []rectification

func (rs *rectifications) question(i int) (uint64, bool) {
	if i >= len(*rs) {
		return 0, false
	}
	return (*rs)[i].call, true
}

func (rs *rectifications) encode(_ *Machine, f *form) {
	f.bytes(byte(len(*rs)))
	for i := range *rs {
		r := &(*rs)[i]
		f.members(r.n)
		f.token(r.token)
		f.bytes(byte(r.attempt))
		f.members(r.asked, r.gone)
		f.flags(r.joining, r.left, r.met, r.call == 0, r.cleared, r.preparing)
	}
}

// rectify is Zave's rectify at the notified member: adopt the notifier if there
// is no predecessor or the notifier is nearer; otherwise see whether the
// predecessor is alive, and adopt the notifier if not.
func (m *Machine) rectify(r rectification) {
	n, token := r.n, r.token
	switch {
	case n.Name == "":
		m.late(Respond{Token: token, Failure: &Failure{Kind: Invalid, Detail: "notify names no sender"}})
		return
	case m.phase != Joined:
		m.respond(token, Refusal{Reason: NotInRing})
		return
	case n.ID == m.self.ID:
		m.respond(token, m.taken(n, m.self))
		return
	case n == m.pred:
		m.respond(token, Refusal{})
		return
	case m.sharesAddress(n):
		m.respond(token, Refusal{Reason: NotReached, Other: m.self, Detail: sharing(n, m.self)})
		return
	}
	if later := m.laterIncarnation(n); !later.IsZero() && later != m.pred {
		m.respond(token, Refusal{Reason: Outdated, Other: later})
		return
	}
	if len(m.rects) >= maxRectifications {
		m.respond(token, Refusal{Reason: Busy})
		return
	}
	m.startRectification(r)
}

// startRectification opens r and takes its first step.
func (m *Machine) startRectification(r rectification) {
	m.rects = append(slices.Clip(m.rects), r)
	m.advance(len(m.rects) - 1)
}

// taken refuses n because other, alive, has its identifier.
func (m *Machine) taken(n, other ring.Member) Refusal {
	if n.Name == other.Name {
		return Refusal{Reason: NameTaken, Other: other}
	}
	return Refusal{Reason: IdentifierTaken, Other: other}
}

// laterIncarnation is one of n's name that began after n did, as far as known. One
// that is silent may be gone, as n is not.
func (m *Machine) laterIncarnation(n ring.Member) ring.Member {
	if m.pred.Supersedes(n) {
		return m.pred
	}
	return m.acq.laterThan(n)
}

// fits reports whether the notifier may become the predecessor as things are.
func (m *Machine) fits(r *rectification) bool {
	p := m.pred
	return p.IsZero() || p == r.gone || ring.Between(p.ID, r.n.ID, m.self.ID) ||
		p.ID == r.n.ID && p.Addr == r.n.Addr // its own past
}

// advance takes the next step of rectification i.
func (m *Machine) advance(i int) {
	r := &m.rects[i]
	r.steps++
	r.attempt = 0
	switch {
	case r.n == m.pred:
		m.endRectification(i, Refusal{})
		return
	case r.steps > maxSteps:
		m.endRectification(i, Refusal{Reason: Busy})
		return
	case !m.fits(r):
		r.asked = m.pred
		if m.asksPred(i) {
			r.call = 0 // the answer to another's question will do
			return
		}
	case !r.cleared && !m.clashing(r.n).IsZero():
		r.asked = m.clashing(r.n)
	case r.met || m.hasVerified(r.n):
		if r.preparing {
			m.endRectification(i, Refusal{})
			return
		}
		m.acceptPred(i)
		return
	default:
		r.asked = r.n
	}
	r.call = m.ask(r.asked, Request{Kind: AskRing}, 0, false)
}

// asksPred reports whether a rectification other than i has asked the
// predecessor already and waits for its answer.
func (m *Machine) asksPred(i int) bool {
	for k := range m.rects {
		if o := &m.rects[k]; k != i && o.call != 0 && o.asked == m.pred && o.n != m.pred {
			return true
		}
	}
	return false
}

// answered gives an answer to rectification i and to those that wait for the same
// one.
func (*rectifications) answered(m *Machine, i int, a Answer) {
	asked, shared := m.rects[i].asked, m.rects[i].asked != m.rects[i].n
	if f := a.Failure; f != nil && (f.Kind == TimedOut || f.Kind == Unreachable) && m.rects[i].attempt == 0 {
		shared = false // it is asked once more
	}
	m.rectifyOne(i, a)
	for k := 0; shared && k < len(m.rects); {
		if m.rects[k].call != 0 || m.rects[k].asked != asked {
			k++
			continue
		}
		m.rects[k].attempt = 1
		n := len(m.rects)
		m.rectifyOne(k, a)
		if len(m.rects) == n {
			k++
		}
	}
}

func (m *Machine) rectifyOne(i int, a Answer) {
	r := &m.rects[i]
	f := a.Failure
	if f == nil && a.Reply.State.Self != r.asked {
		f = &Failure{Kind: WrongMember, By: a.Reply.State.Self}
	}
	if f != nil {
		switch {
		case f.Kind.unsaid():
			m.endRectification(i, Refusal{Reason: Busy})
			return
		case (f.Kind == TimedOut || f.Kind == Unreachable) && r.attempt == 0:
			r.attempt++
			m.suspect(r.asked)
			r.call = m.ask(r.asked, Request{Kind: AskRing}, r.attempt, false)
			return
		}
	}
	switch {
	case r.asked == r.n:
		m.callbackAnswer(i, f, a.Reply.State)
	case r.asked.Addr == r.n.Addr && r.asked.Name != r.n.Name && m.fits(r):
		m.clashAnswer(i, f)
	default:
		m.predAnswer(i, f, a.Reply.State)
	}
}

// predAnswer goes on after the predecessor was asked whether it is alive.
func (m *Machine) predAnswer(i int, f *Failure, st State) {
	r := &m.rects[i]
	p := r.asked
	switch {
	case f != nil && f.Kind == WrongMember:
		m.record(fact{kind: wasSuperseded, who: p, by: f.By})
		r.gone = p
	case f != nil && f.Kind == NotJoined:
		m.record(fact{kind: isOutside, who: p})
		r.gone = p
	case f != nil && f.Kind == Invalid:
		m.endRectification(i, Refusal{Reason: Nearer}) // it lives
		return
	case f != nil:
		m.record(fact{kind: wasSilent, who: p})
		r.gone = p
	case st.Phase == Leaving:
		m.record(fact{kind: isOutside, who: p})
		if r.gone, r.left = p, true; p == m.pred { // its own notice of that may come later
			m.leaves(p)
			m.isBack(p, st)
		}
	case st.Phase != Joined && st.Phase != Joining: // one on its way in lives
		m.record(fact{kind: isOutside, who: p})
		r.gone = p
	default:
		m.recognize(p)
		m.recordAnswer(st, fact{kind: hasAnswered, who: p})
		m.noticeIncarnation(p)
		if p == m.pred {
			switch {
			case p.ID == r.n.ID && p.Supersedes(r.n):
				m.endRectification(i, Refusal{Reason: Outdated, Other: p})
			case p.ID == r.n.ID:
				m.endRectification(i, m.taken(r.n, p))
			default:
				m.endRectification(i, Refusal{Reason: Nearer})
			}
			return
		}
	}
	m.advance(i)
}

// clashAnswer goes on after a member was asked that a pointer names at the notifier's
// address. If it answers, the notifier does not.
func (m *Machine) clashAnswer(i int, f *Failure) {
	r := &m.rects[i]
	o := r.asked
	switch {
	case f == nil || f.Kind == NotJoined || f.Kind == Invalid:
		m.endRectification(i, Refusal{Reason: NotReached, Other: o, Detail: sharing(r.n, o)})
		return
	case f.Kind == WrongMember:
		m.record(fact{kind: wasSuperseded, who: o, by: f.By})
	default:
		m.record(fact{kind: wasSilent, who: o})
	}
	m.rects[i].cleared = true
	m.advance(i)
}

// callbackAnswer goes on after the notifier was asked at its own address.
func (m *Machine) callbackAnswer(i int, f *Failure, st State) {
	r := &m.rects[i]
	if f != nil {
		if m.acq.find(r.n) != nil {
			m.record(fact{kind: wasSilent, who: r.n})
		}
		other := m.self
		if f.Kind == WrongMember && f.By.Addr == r.n.Addr {
			other = f.By // it advertises the same address, and lives
		}
		m.endRectification(i, Refusal{Reason: NotReached, Other: other,
			Detail: fmt.Sprintf("%s asked %s, where %s says it is: %s", m.self.Name, r.n.Addr, plain.Text(r.n.Name), f.category())})
		return
	}
	if st.Phase != Joined && !(r.joining && st.Phase == Joining) {
		m.endRectification(i, Refusal{Reason: NotInRing, Other: r.n, Detail: "the notifier is " + st.Phase.String()})
		return
	}
	r.met, r.before = true, st.Pred
	m.recognize(r.n)
	facts := []fact{{kind: hasAnswered, who: r.n}, {kind: isOutside, who: r.n}}
	if st.Phase != Joining {
		facts = facts[:1]
	}
	m.recordAnswer(st, facts...)
	m.noticeIncarnation(m.rects[i].n)
	m.advance(i)
}

// acceptPred adopts the notifier, which has answered and fits.
func (m *Machine) acceptPred(i int) {
	r := m.rects[i]
	old := m.pred
	if m.foreignBefore(&r) {
		m.emit(RingMet{By: r.n})
	}
	cause := CausePredecessorJoined
	switch {
	case old.IsZero() && !m.hasArc:
		cause = CauseJoined
	case !old.IsZero() && old == r.gone && r.left:
		cause = CausePredecessorLeft
	case !old.IsZero() && old == r.gone:
		cause = CausePredecessorFailed
	}
	if r.left {
		m.gone = old
	}
	told := m.replaced.tells
	m.setPred(r.n, cause)
	if !r.joining {
		m.settling.points = true // it has notified this member
		m.takesBack(r.n, old, told)
	}
	m.closeRectification(i, Reply{Former: m.former(old)})
	if r.joining {
		return // it is no member yet, and will introduce itself
	}
	if !old.IsZero() && old != r.gone && old.ID != r.n.ID {
		m.tell(old, Request{Kind: Introduce, Subject: r.n})
	}
	if m.nearer(r.n) {
		m.triggerStabilize()
	}
}

// endRectification answers the notifier and closes rectification i.
func (m *Machine) endRectification(i int, refusal Refusal) {
	m.closeRectification(i, Reply{Refusal: refusal})
}

// closeRectification does so with a reply that lacks only the state.
func (m *Machine) closeRectification(i int, reply Reply) {
	token := m.rects[i].token
	m.rects = slices.Concat(m.rects[:i], m.rects[i+1:])
	if token != 0 {
		m.reply(token, reply)
	}
}

// closeAll ends every open operation; whoever waits is told that this member
// is in no ring.
func (m *Machine) closeAll() {
	waiting := m.stabilization.waiters
	m.stabilization = stabilization{}
	m.placing = placement{}
	m.toPlace = nil
	m.again = false
	for _, r := range m.rects {
		if r.token != 0 {
			m.respond(r.token, Refusal{Reason: NotInRing})
		}
	}
	m.rects = nil
	m.contest = contest{}
	for _, f := range m.farewells {
		m.respond(f.token, Refusal{Reason: Busy})
	}
	m.farewells = nil
	for _, t := range slices.Concat(waiting, m.waiters) {
		m.respond(t, Refusal{Reason: NotInRing})
	}
	m.waiters = nil
}
