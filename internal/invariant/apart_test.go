package invariant

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

func TestRingsApart(t *testing.T) {
	a, b, c := ring.Member{ID: 1, Name: "a"}, ring.Member{ID: 2, Name: "b"}, ring.Member{ID: 3, Name: "c"}
	one, two := ring.NewOrigin(1, []uint64{1}), ring.NewOrigin(2, []uint64{2})
	for _, tc := range []struct {
		name       string
		ofA, ofB   *ring.Origin
		listed     []ring.Member
		wantBroken bool
	}{
		{"one ring", one, one, []ring.Member{b}, false},
		{"another ring", one, two, []ring.Member{b}, true},
		{"another ring, behind the head", one, two, []ring.Member{c, b}, true},
		{"akin", one, one.And(two), []ring.Member{b}, false},
		{"not known", one, nil, []ring.Member{b}, false},
		{"one that is gone", one, two, []ring.Member{c}, false},
	} {
		r := NewRing(3, []protocol.State{
			{Self: a, Phase: protocol.Joined, Succ: tc.listed, Origin: tc.ofA}, {Self: b, Phase: protocol.Joined, Origin: tc.ofB},
		})
		if how := RingsApart.Broken(r); (how != "") != tc.wantBroken {
			t.Errorf("%s: %q", tc.name, how)
		}
		bridged := tc.name == "akin"
		if how := OriginsApart(one, two).Broken(r); (how != "") != bridged {
			t.Errorf("%s: %q", tc.name, how)
		}
	}
}
