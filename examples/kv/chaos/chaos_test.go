//go:build unix

package main

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/examples/internal/herd"
)

func TestNothingIsLostWhenAMemberIsKilledAndWiped(t *testing.T) {
	faults := herd.Faults()
	r, err := run(t.Context(), plan{
		members: 4, virtual: 16, cold: 40, hot: 4, clients: 2, length: time.Second, settle: 12 * time.Second, seed: 1,
		faults: faults[:1], dir: t.TempDir(), source: "..",
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults != 1 || r.Checked != 80 || r.Writes < 40 || r.Lost+r.Unreadable+r.Stale+r.NotLinearizable+r.Undecided > 0 {
		t.Errorf("%+v", r)
	}
}

func TestJudgeFindsWhatIsWrong(t *testing.T) {
	write := func(value string, begin, end int64) call {
		return call{write: true, value: value, begin: begin, end: end}
	}
	read := func(value string, begin, end int64) call { return call{value: value, begin: begin, end: end} }
	for _, tc := range []struct {
		what         string
		calls        []call
		stale, wrong int
	}{
		{"one after another", []call{write("a", 1, 2), read("a", 3, 4), write("b", 5, 6), read("b", 7, 8)}, 0, 0},
		{"an old value", []call{write("a", 1, 2), write("b", 3, 4), read("a", 5, 6)}, 1, 1},
		{"nothing any more", []call{write("a", 1, 2), read("", 3, 4)}, 0, 1},
		{"one or the other", []call{write("a", 1, 2), write("b", 3, 9), read("a", 5, 6)}, 0, 0},
		{"back again", []call{write("a", 1, 2), write("b", 3, 9), read("b", 4, 5), read("a", 6, 7)}, 0, 1},
	} {
		w := &work{calls: tc.calls}
		w.judge()
		if w.result.Stale != tc.stale || w.result.NotLinearizable != tc.wrong {
			t.Errorf("%s: %+v", tc.what, w.result)
		}
	}
}
