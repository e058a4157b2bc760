package protocol

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

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
