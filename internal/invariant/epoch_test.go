package invariant

import (
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// claims is what a member shows that claims the arc from a point on.
func claims(id, after, epoch uint64) *protocol.View {
	return &protocol.View{Self: named(id), Phase: protocol.Joined, Arc: ring.Arc{After: after, To: id}, HasArc: true, Epoch: epoch}
}

func TestGainsWantANewEpoch(t *testing.T) {
	none := claims(300, 0, 4)
	none.HasArc = false
	isolated := claims(300, 200, 4)
	isolated.Isolated = true
	for _, c := range []struct {
		name          string
		before, after *protocol.View
		broken        bool
	}{
		{"gains, greater", claims(300, 200, 4), claims(300, 100, 5), false},
		{"gains, the same", claims(300, 200, 4), claims(300, 100, 4), true},
		{"loses", claims(300, 100, 4), claims(300, 200, 4), false},
		{"first, greater", none, claims(300, 200, 5), false},
		{"first, the same", none, claims(300, 200, 4), true},
		{"isolated no longer, greater", isolated, claims(300, 200, 5), false},
		{"isolated no longer, the same", isolated, claims(300, 200, 4), true},
		{"falls", claims(300, 200, 4), claims(300, 200, 3), true},
	} {
		if how := NewEpoch.Broken(Change{Before: c.before, After: c.after}); (how != "") != c.broken {
			t.Errorf("%s: %q", c.name, how)
		}
	}
}

func TestEpochsRiseAlongTheOwnersOfAPoint(t *testing.T) {
	var gone []uint64
	lives := func(x ring.Instance) bool { return !slices.Contains(gone, x.ID) }
	var e Epochs
	for _, step := range []struct {
		v      *protocol.View
		gone   uint64
		broken bool
	}{
		{claims(100, 300, 1), 0, false},
		{claims(200, 100, 1), 0, false},
		{claims(300, 200, 1), 0, false},
		{claims(250, 200, 2), 0, false},  // a joiner
		{claims(300, 200, 2), 0, false},  // both claim 250, and live
		{claims(300, 200, 2), 250, true}, // it is gone, and had claimed by the same
		{claims(300, 200, 3), 0, false},
		{claims(300, 100, 3), 200, false}, // it had claimed by 1
		{claims(100, 200, 2), 300, true},
		{claims(100, 200, 4), 0, false},
		{claims(50, 300, 1), 0, false}, // 100 lives
		{claims(150, 100, 1), 0, true}, // what 200 had claimed
	} {
		if step.gone != 0 {
			gone = append(gone, step.gone)
		}
		if how := e.Claim(step.v, lives); (how != "") != step.broken {
			t.Errorf("%s from %d by %d: %q", step.v.Self.Name, step.v.Arc.After, step.v.Epoch, how)
		}
	}
}

// A claim that nobody has heard of who is left binds nobody. One that somebody has heard of does.
func TestClaimsOfWhichNobodyIsLeftWhoHasHeardAreForgotten(t *testing.T) {
	nobody := func(ring.Instance) bool { return false }
	for what, tc := range map[string]struct {
		most   uint64 // that somebody has heard of
		broken bool
	}{"nobody is left": {0, false}, "not heard of": {6, false}, "heard of": {7, true}} {
		var e Epochs
		e.Claim(claims(100, 200, 3), nobody)
		e.Claim(claims(200, 100, 7), nobody)
		e.Left(func(_ ring.Instance, epoch uint64) bool { return epoch <= tc.most })
		if how := e.Claim(claims(300, 100, 5), nobody); (how != "") != tc.broken {
			t.Errorf("%s: %q", what, how)
		}
	}
}
