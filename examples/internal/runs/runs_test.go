package runs

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestJudgeFindsWhatIsWrong(t *testing.T) {
	// line is a step at a tenth of a second.
	line := func(tenth int, member string, tick, epoch, step int) string {
		return fmt.Sprintf("%d %s run %d of j by epoch %d, step %d\n", int64(tenth)*1e8, member, tick, epoch, step)
	}
	whole := func(tenth int, member string, tick, epoch int) (out string) {
		return line(tenth, member, tick, epoch, 0) + line(tenth+2, member, tick, epoch, 9) + line(tenth+2, member, tick, epoch, 10)
	}
	unrecorded := func(tenth int, member string, tick, epoch int) string {
		return strings.Join(strings.SplitAfter(whole(tenth, member, tick, epoch), "\n")[:2], "")
	}
	for _, tc := range []struct {
		what, steps string
		want        Verdict
	}{
		{"in order", whole(10, "a", 1, 1) + whole(20, "a", 2, 1), Verdict{Runs: 2}},
		{"late", whole(10, "a", 1, 1) + whole(45, "a", 2, 1), Verdict{Runs: 2, Late: 1, LatestMs: 2500, Missed: 2}},
		{"interrupted", line(10, "a", 1, 1, 0) + whole(15, "b", 1, 2), Verdict{Runs: 1, Interrupted: 1}},
		{"overlapping", whole(10, "a", 1, 1) + whole(11, "b", 2, 2), Verdict{Runs: 2, Overlapping: 1}},
		{"double", whole(10, "a", 1, 1) + whole(15, "b", 1, 2), Verdict{Runs: 1, Double: 1}},
		{"repeated", unrecorded(10, "a", 1, 1) + whole(15, "b", 1, 2), Verdict{Runs: 1, Repeated: 1}},
		{"missed", whole(10, "a", 1, 1) + whole(30, "a", 3, 1), Verdict{Runs: 2, Missed: 1}},
	} {
		if got := Judge(strings.NewReader(tc.steps), time.Second, 0); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.what, got, tc.want)
		}
	}
}
