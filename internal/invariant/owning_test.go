package invariant

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

func named(id uint64) ring.Member {
	name := string(rune('A' + id/100))
	return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: 1}
}

func ringOf(ids ...uint64) Ring {
	var states []protocol.State
	for i, id := range ids {
		n := len(ids)
		states = append(states, protocol.State{Self: named(id), Phase: protocol.Joined, Pred: named(ids[(i+n-1)%n]), Succ: []ring.Member{named(ids[(i+1)%n])}})
	}
	return NewRing(1, states)
}

func TestHolderIsNextClockwiseOrClaimsIt(t *testing.T) {
	r := ringOf(100, 200, 300)
	for _, c := range []struct {
		owner, id uint64
		want      bool
	}{
		{200, 150, true}, {200, 200, true}, {200, 201, false}, {300, 150, false},
		{100, 301, true}, {100, 50, true}, {100, 100, true}, {300, 100, false},
		{400, 350, false}, // no member
	} {
		if got := r.Holds(named(c.owner), c.id); got != c.want {
			t.Errorf("%d holds %d: %t", c.owner, c.id, got)
		}
	}
	// One that has not heard of a newcomer yet still answers for its arc.
	r.Claims = []Claim{{By: named(300), Arc: ring.Arc{After: 100, To: 300}}}
	if !r.Holds(named(300), 150) || r.Holds(named(300), 50) {
		t.Error("what 300 claims is (100, 300]")
	}
}

func TestRulesOfWhatMembersAnswerFor(t *testing.T) {
	claims := func(of ...[2]uint64) Ring {
		r := ringOf(100, 200, 300)
		for _, c := range of {
			r.Claims = append(r.Claims, Claim{By: named(c[1]), Arc: ring.Arc{After: c[0], To: c[1]}})
		}
		return r
	}
	for _, c := range []struct {
		rule   Rule
		ring   Ring
		broken bool
	}{
		{OneOwner, claims([2]uint64{300, 100}, [2]uint64{100, 200}, [2]uint64{200, 300}), false},
		{OneOwner, claims([2]uint64{300, 100}, [2]uint64{300, 200}), true},
		{OneOwner, claims([2]uint64{300, 100}, [2]uint64{200, 200}), true},
		{WholeCircle, claims([2]uint64{100, 200}), false},
		{WholeCircle, claims([2]uint64{200, 200}), true},
	} {
		if how := c.rule.Broken(c.ring); (how != "") != c.broken {
			t.Errorf("%s of %v: %q", c.rule.Name, c.ring.Claims, how)
		}
	}
	alone := Ring{Members: []protocol.State{{Self: named(100), Phase: protocol.Joined}}, Claims: []Claim{{By: named(100), Arc: ring.Arc{After: 100, To: 100}, Alone: true}}}
	if how := WholeCircle.Broken(alone); how != "" {
		t.Error(how)
	}
}
