package invariant

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

func TestDrains(t *testing.T) {
	self := ring.Member{ID: 5, Name: "a", Addr: "a:1", Incarnation: 1}
	out := protocol.View{Self: self, Phase: protocol.Outside}
	owns, in := out, out
	owns.HasArc, in.Phase = true, protocol.Joined
	for _, c := range []struct {
		what           string
		d              Drained
		nothing, stays bool // whether the rules are broken
	}{
		{"drained", Drained{By: &out, Others: 1}, false, false},
		{"has a range", Drained{By: &owns, Others: 1}, true, false},
		{"is in the ring", Drained{By: &in, Others: 2}, true, false},
		{"the last", Drained{By: &out}, false, true},
	} {
		if got := DrainedOwnsNothing.Broken(c.d); (got != "") != c.nothing {
			t.Errorf("%s: %q", c.what, got)
		}
		if got := OneStays.Broken(c.d); (got != "") != c.stays {
			t.Errorf("%s: %q", c.what, got)
		}
	}
}
