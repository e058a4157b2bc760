package protocol

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// An answer about the head is recorded once. A second time there is only for what it
// changes: for whoever falls out of the list.
func TestAnswerAboutTheHeadIsRecordedOnce(t *testing.T) {
	var all [5]int
	for seed := range uint64(10) {
		w := ringOf(t, seed, 3, 12)
		for _, h := range w.order[3:6] {
			h.up = false
		}
		w.run(20 * time.Second)
		for i := range 6 {
			w.rejoin(w.member(20+i), w.order[0].addr)
		}
		w.ideal(time.Minute, 15)
		for n, count := range w.recorded {
			all[n] += count
		}
	}
	t.Logf("answers by how often something was recorded: %v", all)
	if all[1] < 1000 || all[2] == 0 {
		t.Error("too few answers, or none that changed the list")
	}
	if all[3]+all[4] > 0 {
		t.Errorf("%d answers were recorded more often than twice", all[3]+all[4])
	}
}

// Of an identifier at which its process answers with another one there is nothing to find
// out. One at which a member of another name answers is asked again.
func TestIdentifierThatIsGivenUpIsForgotten(t *testing.T) {
	x := ring.Member{ID: 7, Name: "x", Addr: "x:1", Incarnation: 1}
	elsewhere, stranger := x, ring.Member{ID: 8, Name: "y", Addr: "x:1", Incarnation: 1}
	elsewhere.ID = 9
	for by, kept := range map[ring.Member]bool{elsewhere: false, stranger: true} {
		q := acquaintances{self: 1, addr: "a:1", space: ring.Space{Bits: 64}, limit: 4, checkEvery: 8}
		v := vicinity{inView: func(ring.Member) bool { return false }, choose: func(int) int { return 0 }}
		var f findings
		q.note(fact{kind: hasAnswered, who: x}, v, &f)
		q.note(fact{kind: wasSilent, who: x}, v, &f)
		q.note(fact{kind: wasSuperseded, who: x, by: by}, v, &f)
		if a := q.find(x); (a != nil) != kept || kept && a.responsive() {
			t.Errorf("%s answers: %+v is known of it", by.Name, a)
		}
	}
}
