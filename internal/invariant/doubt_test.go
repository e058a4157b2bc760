package invariant

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

func TestDoubtsAfterHang(t *testing.T) {
	self, next := ring.Member{ID: 1, Name: "a", Addr: "a:1"}, ring.Member{ID: 2, Name: "b", Addr: "b:1"}
	v := &protocol.View{Self: self, Phase: protocol.Joined, Succ: []ring.Member{next}, HasArc: true}
	doubting, alone := *v, *v
	doubting.Doubts = true
	alone.Alone, alone.Succ = true, nil
	named, unnamed := &protocol.State{Self: next, Pred: self}, &protocol.State{Self: next}
	for what, tc := range map[string]struct {
		view  *protocol.View
		head  *protocol.State
		asked time.Duration
		fails bool
	}{
		"in doubt":                {&doubting, unnamed, 0, false},
		"sure":                    {v, unnamed, 2, true},
		"named before it hung":    {v, named, 0, true},
		"named since":             {v, named, 1, false},
		"a ring of one":           {&alone, unnamed, 0, false},
		"named, and still doubts": {&doubting, named, 1, false},
	} {
		var k Wakes
		if broken := k.Step(tc.view); broken != "" {
			t.Errorf("%s: it has not hung: %s", what, broken)
		}
		k.Woken(1)
		k.Named(tc.view, tc.head, tc.asked)
		if broken := k.Step(tc.view); (broken != "") != tc.fails {
			t.Errorf("%s: %q", what, broken)
		}
	}
}
