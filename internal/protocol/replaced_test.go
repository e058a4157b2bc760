package protocol

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// A member that says that it has replaced another, and then claims the arc of that again, says so
// anew: the other may have claimed its arc meanwhile, by a lower epoch.
func TestReplacedIsSaidAnewWithEachClaim(t *testing.T) {
	at := func(id uint64, name string) ring.Member {
		return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: 1}
	}
	before, gone, self, head := at(1, "before"), at(3, "gone"), at(5, "self"), at(9, "head")
	m := Restore(self, Config{Bits: 4, Successors: 2, Interval: interval, Named: true}, 1, Snapshot{Pred: gone, Succ: []ring.Member{head}, Epoch: 1})
	m.setPred(before, CausePredecessorFailed)
	m.claim()
	first := m.State()
	if first.Replaced.Who != gone.Instance() || first.Replaced.By != self || first.Epoch < 2 {
		t.Fatalf("it took over from one that failed, and says %+v by epoch %d", first.Replaced, first.Epoch)
	}
	m.claim()
	if again := m.State(); again.Replaced != first.Replaced {
		t.Errorf("nothing has happened, and it says %+v, not %+v", again.Replaced, first.Replaced)
	}
	m.raise()
	again := m.State()
	if again.Epoch <= first.Epoch || again.Replaced.Number == first.Replaced.Number || again.Replaced.Who != gone.Instance() {
		t.Errorf("after a claim by %d it says %+v, as after that by %d", again.Epoch, again.Replaced, first.Epoch)
	}
	m.setPred(gone, CausePredecessorJoined)
	m.claim()
	was := m.State().Replaced
	if m.raise(); m.State().Replaced != was {
		t.Error("it claims its own arc only, and says that it has replaced another again")
	}
}

// A member that is told that its head answers for its arc, then loses all others, and meets a head
// again that does, is told that anew.
func TestMemberThatWasAloneIsToldAgainThatItWasReplaced(t *testing.T) {
	at := func(id uint64, name string) ring.Member {
		return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: 1}
	}
	before, self, head := at(3, "before"), at(5, "self"), at(9, "head")
	m := New(self, Config{Bits: 4, Successors: 2, Interval: interval, Named: true}, 1)
	m.Step(0, Create{})
	hears := func(says Replaced) (told bool) {
		m.replaced.by = ring.Member{}
		m.heardHead(State{Self: head, Phase: Joined, Pred: before, Replaced: says}, 0)
		return m.replaced.by == head
	}
	if !hears(Replaced{}) {
		t.Error("its head's arc holds its identifier, and it is told nothing")
	}
	m.becomeAlone()
	if !hears(Replaced{Who: self.Instance(), By: head, After: before.ID, Number: 1}) {
		t.Error("it was alone, and is told nothing")
	}
}
