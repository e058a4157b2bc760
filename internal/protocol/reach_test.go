package protocol

import (
	"fmt"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// One identifier that does not answer is all of its process, where no pointer names them; one
// that answers again has the others asked in the next round.
func TestProcessIsSilentAtAllIdentifiers(t *testing.T) {
	at := func(name string, slot int) ring.Member {
		return ring.Member{ID: uint64(100*len(name) + slot), Name: name, Addr: name + ":1", Incarnation: 5, Choice: ring.Chosen(slot, 0)}
	}
	later := at("q", 5)
	later.Incarnation++
	v := vicinity{round: 50, inView: func(x ring.Member) bool { return x == at("q", 2) }, choose: func(int) int { return 0 }}
	q := acquaintances{self: 1, addr: "a:1", space: ring.Space{Bits: 64}, limit: 16, checkEvery: 10}
	var f findings
	for _, x := range []ring.Member{at("q", 0), at("q", 1), at("q", 2), at("other", 0), later} {
		q.note(fact{kind: hasAnswered, who: x}, v, &f)
	}
	is := func() (out string) {
		for i := range q.list {
			a := &q.list[i]
			out += fmt.Sprintf("%s %d: %d until %d; ", a.Name, a.ID, a.failures, a.next)
		}
		return out
	}
	f = findings{}
	q.reach(Reach{Who: at("q", 7), Failures: 2}, v, &f)
	if got, want := is(), "q 100: 2 until 70; q 101: 2 until 70; q 102: 0 until 0; other 500: 0 until 0; q 105: 0 until 0; "; got != want || !f.changed {
		t.Errorf("silent: %s, want %s; changed %t", got, want, f.changed)
	}
	q.reach(Reach{Who: at("q", 7), Failures: 1}, v, &f)
	if a := q.find(at("q", 1)); a.failures != 2 || a.responsive() {
		t.Errorf("it was silent %d times", a.failures)
	}
	v.round = 60
	q.reach(Reach{Who: at("q", 7)}, v, &f)
	if a := q.find(at("q", 1)); a.failures != 0 || a.next != 60 || !a.responsive() || !a.pending {
		t.Errorf("it answers again: %d failures, until %d, pending %t", a.failures, a.next, a.pending)
	}
	if a := q.find(at("other", 0)); a.pending {
		t.Error("so does another")
	}
}
