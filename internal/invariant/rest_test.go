package invariant

import (
	"strings"
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// A head at the third identifier of its process may be left alone for two rounds.
func TestRestsCountRounds(t *testing.T) {
	v := &protocol.View{Phase: protocol.Joined, Succ: []ring.Member{{ID: 7, Name: "q", Choice: ring.Chosen(2, 0)}}}
	var r Rests
	r.Asked()
	for i := range 3 {
		if broken := r.Round(v, false); broken != "" {
			t.Errorf("after %d rounds: %s", i+1, broken)
		}
	}
	if broken := r.Round(v, false); !strings.Contains(broken, "asked nobody in 4 rounds") {
		t.Errorf("after 4 rounds: %q", broken)
	}
	if broken := r.Round(v, true); broken != "" {
		t.Errorf("with a question open: %s", broken)
	}
	r = Rests{rounds: 9}
	if broken := r.Round(&protocol.View{Phase: protocol.Leaving, Succ: v.Succ}, false); broken != "" {
		t.Errorf("on its way out: %s", broken)
	}
}

func TestSilentProcessIsLiveOnlyWhereAPointerNamesIt(t *testing.T) {
	at := func(slot int) ring.Member {
		return ring.Member{ID: uint64(slot), Name: "q", Addr: "q:1", Incarnation: 5, Choice: ring.Chosen(slot, 0)}
	}
	later := at(4)
	later.Incarnation++
	v := &protocol.View{Pred: at(1), Succ: []ring.Member{at(2)}, Known: []ring.Member{at(1), at(2), later}}
	if x := Silent(v, at(0)); !x.IsZero() {
		t.Errorf("%v", x)
	}
	v.Known = append(v.Known, at(3))
	if x := Silent(v, at(0)); x != at(3) {
		t.Errorf("%v", x)
	}
}
