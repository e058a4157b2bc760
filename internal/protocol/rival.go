package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// contest finds out whether a later incarnation of this member's name has taken its
// place. Two of one name can meet after a merge, or when one that hung wakes; then the
// earlier yields. But whoever can connect can say that there is a later one, and can
// answer in its name. So this member asks its own head and its own predecessor first.
// Each of them names in that place only a member that has answered it at its address,
// and only since the one before it did not. A member yields if they name the rival and
// not itself, and the rival answers as a member.
//
// Where one neighbour names the rival and the other this member, two rings have become
// one, with one of the name in each. Then the earlier yields if that has not changed
// some rounds later.
type contest struct {
	open    bool
	rival   ring.Member
	refused bool // a member refuses this one for the rival
	stage   contestStage
	asked   ring.Member
	call    uint64
	attempt int
	rivals  int // neighbours that name the rival in this member's place
	own     int // neighbours that name this member there
	others  int // neighbours that name neither
}

type contestStage uint8

const (
	askingHead contestStage = iota
	askingPred
	askingRival
)

// divisionRounds is for how many rounds a member whose neighbours are divided waits for
// them to agree.
const divisionRounds = 3

func (c *contest) question(i int) (uint64, bool) { return c.call, c.open && i == 0 }

func (c *contest) encode(m *Machine, f *form) {
	if m.cfg.Recall == nil {
		f.members(m.divided)
	}
	if c.open {
		f.members(c.rival, c.asked)
		f.bytes(byte(c.stage), byte(c.attempt), byte(c.rivals), byte(c.own), byte(c.others))
		f.flags(c.refused)
	}
}

// noticeRival looks into a member that has this member's identifier and began
// later.
func (m *Machine) noticeRival(x ring.Member) {
	if x.Supersedes(m.self) {
		m.meetRival(x, false)
	}
}

// meetRival finds out about another incarnation of this member's name. An earlier one
// is told of this one, of which it may not have heard. Refused says that a member
// refuses this one for the other.
func (m *Machine) meetRival(x ring.Member, refused bool) {
	later := x.Supersedes(m.self)
	if m.phase != Joined || !later && (x.Name != m.self.Name || !m.self.Supersedes(x)) {
		return
	}
	if refused && later && x.SameProcess(m.self) {
		m.outgrow(x) // its own past, which the clock says is to come
		return
	}
	if m.contest.open {
		m.contest.refused = m.contest.refused || refused && later
		return
	}
	if m.round < m.rivalry {
		return
	}
	m.rivalry = m.round + uint64(m.cfg.CheckEvery)
	if !later {
		// Its neighbours take it for the only one, and refuse this incarnation.
		m.tell(x, Request{Kind: Introduce, Subject: m.self})
		return
	}
	m.contest = contest{open: true, rival: x, refused: refused}
	m.contestAsk(m.head())
}

// contestAsk asks the member of the stage, or goes on to the next if there is none.
func (m *Machine) contestAsk(x ring.Member) {
	c := &m.contest
	if x.IsZero() {
		m.contestNext()
		return
	}
	c.asked, c.attempt = x, 0
	c.call = m.ask(x, Request{Kind: AskRing}, 0, false)
}

// contestNext goes on to the next stage.
func (m *Machine) contestNext() {
	c := &m.contest
	c.stage++
	switch {
	case c.stage == askingPred && m.pred != m.head():
		m.contestAsk(m.pred)
	case c.stage == askingPred:
		m.contestNext() // it has answered for both
	case c.rivals == 0 && (c.refused || c.others > 0 || c.rival.Addr == m.self.Addr):
		m.stay()
	default:
		m.contestAsk(c.rival)
	}
}

func (c *contest) answered(m *Machine, _ int, a Answer) {
	f := a.Failure
	switch {
	case f == nil:
	case f.Kind == Cancelled:
		m.contest = contest{}
		return
	case (f.Kind == TimedOut || f.Kind == Unreachable) && c.attempt == 0:
		c.attempt++
		c.call = m.ask(c.asked, Request{Kind: AskRing}, 1, false)
		return
	}
	st := a.Reply.State
	if c.stage == askingRival {
		m.rivalAnswer(f, st)
		return
	}
	if f == nil && st.Self == c.asked {
		if st.Self == m.head() {
			c.count(m.self, st.Pred)
		}
		if st.Self == m.pred {
			c.count(m.self, st.Succ...)
		}
	}
	m.contestNext()
}

// count takes from whom a neighbour names whether it takes the rival or self for its
// neighbour.
func (c *contest) count(self ring.Member, named ...ring.Member) {
	i := slices.IndexFunc(named, func(x ring.Member) bool { return !x.IsZero() && x.ID == self.ID })
	switch {
	case i >= 0 && named[i] == self:
		c.own++
	case i >= 0 && named[i].Supersedes(self) && (named[i].Name != self.Name || named[i].Addr != self.Addr):
		c.rivals++
	default:
		c.others++
	}
}

// rivalAnswer ends a contest in which a neighbour names the rival.
func (m *Machine) rivalAnswer(f *Failure, st State) {
	c := m.contest
	m.contest = contest{}
	switch {
	case f != nil && f.Kind == Refused && c.refused:
		m.contest = c
		m.stay()
	case f != nil || !st.Phase.InRing() || !st.Self.Supersedes(m.self):
		m.divided = ring.Member{}
	case c.rivals == 0:
		m.contest = c
		m.contest.rival = st.Self
		m.stay()
	case c.own == 0 || m.divided == c.rival:
		m.yield(st.Self)
	default:
		m.divided, m.rivalry = c.rival, m.round+divisionRounds
	}
}

// stay ends a contest: this member stays in its place. It goes above the rival, so that
// nobody refuses it for the other, and so that a rival which is a member yields. It need
// not for one that nobody has met and that answers at no other address.
func (m *Machine) stay() {
	c := m.contest
	m.contest, m.divided = contest{}, ring.Member{}
	unmet := c.own > 0 && c.others == 0 && c.rival.Addr == m.self.Addr && !c.refused
	if !unmet && m.phase == Joined && c.rival.Name == m.self.Name && c.rival.Supersedes(m.self) {
		m.outgrow(c.rival)
	}
}

// outgrow makes this member a later incarnation than x: its own past at its own address
// (the clock went back between the two, and those who were asked in the join had
// forgotten it), or one that its neighbours do not take for the member. It does so once
// a round at most: each time its neighbours have to ask it again.
func (m *Machine) outgrow(x ring.Member) {
	if m.cfg.Recall == nil {
		if m.outgrew > m.round {
			return
		}
		m.outgrew = m.round + 1
	}
	m.self.Incarnation = x.Incarnation + 1
	m.version++
	m.dirty = true
	if m.pred != m.head() {
		m.tell(m.pred, Request{Kind: Introduce, Subject: m.self})
	}
	m.triggerStabilize() // the neighbours do not know this incarnation
}

// yield has this member make way for a later incarnation of its name.
func (m *Machine) yield(later ring.Member) {
	m.closeAll()
	m.phase, m.later, m.divided = Superseded, &later, ring.Member{}
	m.vacate(CauseSuperseded)
	if m.join != nil {
		m.joinCause(JoinCause{At: later, Refusal: Refusal{Reason: NameTaken, Other: later}})
		m.late(JoinDone{Causes: m.join.causes})
		m.join = nil
	}
}
