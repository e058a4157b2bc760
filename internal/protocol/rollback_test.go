package protocol

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// A legacy member answers where one of ours stood, by the same name. It takes that
// one's place wherever it was named, and is asked before anything it says is relied on.
func TestLegacyMemberTakesThePlaceOfOurs(t *testing.T) {
	self, next, far := named(100, "m", 1), named(300, "h", 1), named(500, "f", 1)
	was := named(200, "x", 5)
	now := was
	now.Incarnation = 0
	for what, c := range map[string]struct {
		succ []ring.Member
		tell func(m *Machine) []Effect
	}{
		"the head is asked": {[]ring.Member{was, next, far}, func(m *Machine) []Effect {
			for _, e := range m.Step(0, Tick{}) {
				if q, ok := e.(Ask); ok && q.To == was && q.Request.Kind == AskRing {
					return m.Step(0, Answer{Call: q.Call, Failure: &Failure{Kind: WrongMember, By: now}})
				}
			}
			t.Fatal("the head is not asked")
			return nil
		}},
		"a lookup finds it out": {[]ring.Member{was, next, far}, func(m *Machine) []Effect {
			return m.Step(0, Lost{Addr: was.Addr, Gone: true, Who: was, By: now})
		}},
		"a lookup finds it out of one that is not the head": {[]ring.Member{named(150, "y", 1), was, next}, func(m *Machine) []Effect {
			return m.Step(0, Lost{Addr: was.Addr, Gone: true, Who: was, By: now})
		}},
	} {
		t.Run(what, func(t *testing.T) {
			m := machineOf(self)
			m.setSucc(c.succ)
			m.record(fact{kind: mayBeElsewhere, who: was})
			effects := c.tell(m)
			if m.inView(was) || !m.inView(now) {
				t.Errorf("the list is %v", m.succ)
			}
			if a := m.acq.find(now); a == nil || !a.responsive() || m.acq.find(was) != nil {
				t.Errorf("%v is remembered as %+v", now, m.acq.list)
			}
			asked := false
			for _, e := range effects {
				q, ok := e.(Ask)
				asked = asked || ok && q.To == now
			}
			if asked != (m.head() == now) {
				t.Errorf("asked: %v, with the list %v", asked, m.succ)
			}
			// Who names it now names it, and not the incarnation that is over.
			r := Reply{State: State{Self: next, Phase: Joined, Pred: now}}
			if m.complete(&r); r.State.Pred != now {
				t.Errorf("completed to %v", r.State.Pred)
			}
		})
	}
}

// Somebody else at the address, or by the name, is not it.
func TestStrangerDoesNotTakeThePlaceOfOurs(t *testing.T) {
	was := named(200, "x", 5)
	elsewhere, other := was, named(200, "x", 0)
	elsewhere.Incarnation, elsewhere.Addr = 0, "elsewhere:1"
	other.Name = "another"
	for _, by := range []ring.Member{{}, elsewhere, other} {
		m := machineOf(named(100, "m", 1))
		m.setSucc([]ring.Member{was, named(300, "h", 1)})
		m.Step(0, Lost{Addr: was.Addr, Gone: true, Who: was, By: by})
		if !m.inView(was) {
			t.Errorf("by %v: the list is %v", by, m.succ)
		}
	}
}
