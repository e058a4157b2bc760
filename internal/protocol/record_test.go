package protocol

import (
	"testing"
	"time"
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
