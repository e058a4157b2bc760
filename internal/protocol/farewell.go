package protocol

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// farewell is the word of a neighbour that it is leaving, until the neighbour has been
// asked. Whoever can connect can send a Leave in another's name, so what counts is what
// the neighbour says at its own address, or that it does not answer there.
type farewell struct {
	who     ring.Member
	pred    ring.Member // as the Leave named it
	token   uint64
	call    uint64
	attempt int
}

// farewells are all that are open, at most one of each neighbour.
type farewells []farewell

// maxFarewells bounds them. Only neighbours count, and they are few.
const maxFarewells = 8

func (fs *farewells) question(i int) (uint64, bool) {
	if i >= len(*fs) {
		return 0, false
	}
	return (*fs)[i].call, true
}

func (fs *farewells) encode(_ *Machine, f *form) {
	f.bytes(byte(len(*fs)))
	for i := range *fs {
		x := &(*fs)[i]
		f.members(x.who, x.pred)
		f.token(x.token)
		f.bytes(byte(x.attempt))
	}
}

// hearFarewell asks x, of which somebody says that it is leaving, whether it is. One
// that no pointer names has nothing to be done about.
func (m *Machine) hearFarewell(x ring.Member, req Request, token uint64) {
	switch {
	case !m.inView(x):
		m.respond(token, Refusal{})
	case slices.ContainsFunc(m.farewells, func(f farewell) bool { return f.who == x }), len(m.farewells) >= maxFarewells:
		m.respond(token, Refusal{Reason: Busy})
	default:
		f := farewell{who: x, pred: req.Pred, token: token}
		f.call = m.ask(x, Request{Kind: AskRing}, 0, false)
		m.farewells = append(slices.Clip(m.farewells), f)
	}
}

func (fs *farewells) answered(m *Machine, i int, a Answer) {
	x := (*fs)[i]
	f := a.Failure
	if f == nil && a.Reply.State.Self != x.who {
		f = &Failure{Kind: WrongMember, By: a.Reply.State.Self}
	}
	if f != nil && (f.Kind == TimedOut || f.Kind == Unreachable) && x.attempt == 0 {
		all := slices.Clone(*fs)
		all[i].attempt++
		all[i].call = m.ask(x.who, Request{Kind: AskRing}, 1, false)
		*fs = all
		return
	}
	*fs = slices.Concat((*fs)[:i], (*fs)[i+1:])
	st := a.Reply.State
	switch {
	case f != nil && f.Kind == Cancelled:
		m.respond(x.token, Refusal{Reason: Busy})
	case f != nil && f.Kind == Invalid, f == nil && (st.Phase == Joined || st.Phase == Joining):
		m.late(Respond{Token: x.token, Failure: errNotLeaving}) // it lives, and says that it stays
	case f != nil && f.Kind == WrongMember:
		m.record(fact{kind: wasSuperseded, who: x.who, by: f.By})
		m.without(x.who, x.pred, x.token)
	case f != nil && f.Kind != NotJoined:
		m.record(fact{kind: wasSilent, who: x.who})
		m.without(x.who, x.pred, x.token)
	default:
		facts := []fact{{kind: hasLeft, who: x.who}}
		for _, y := range st.Succ {
			facts = append(facts, fact{kind: wasNamed, who: y})
		}
		m.record(facts...)
		if st.Phase == Leaving {
			x.pred = st.Pred // its own word
		}
		m.without(x.who, x.pred, x.token)
		if st.Phase == Leaving {
			m.isBack(x.who, st)
		}
	}
}

// leaves notes that a predecessor has left, and as yet not that it is to be back.
func (m *Machine) leaves(x ring.Member) { m.leaver, m.back = x, returning{} }

// isBack notes when a predecessor that has left says that it is to be back.
func (m *Machine) isBack(x ring.Member, said State) {
	if m.leaver == x && said.Returning > 0 && !said.Pred.IsZero() {
		m.back = returning{at: m.now + min(said.Returning, MaxReturning), after: said.Pred.ID}
	}
}

// returning is when a member is to be back that has left, and where the arc began that it
// had. The zero returning says that it has not said so.
type returning struct {
	at    time.Duration
	after uint64
}

// errNotLeaving answers a Leave that the member itself does not confirm.
var errNotLeaving = &Failure{Kind: Invalid, Detail: "the member that is said to leave says that it stays"}

// without does without x, which has left. Whoever waits is told when that is done.
func (m *Machine) without(x, before ring.Member, token uint64) {
	inList := slices.Contains(m.succ, x)
	if m.phase == Joined && x == m.pred {
		m.leaves(x)
		switch {
		case before.IsZero() || before.ID == m.self.ID:
			m.setPred(ring.Member{}, CausePredecessorLeft)
		case len(m.rects) < maxRectifications:
			m.record(fact{kind: wasNamed, who: before})
			m.startRectification(rectification{n: before, gone: x, left: true, token: token})
			token = 0 // answered with it
		}
	}
	switch {
	case m.phase == Joined && inList:
		m.dropSucc(x)
		if token != 0 {
			m.wait(token)
		}
		m.triggerStabilize()
	case token != 0:
		m.respond(token, Refusal{})
	}
}
