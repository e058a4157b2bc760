package invariant

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// stands is what member 300 shows with a predecessor, 0 for none, and a list.
func stands(pred uint64, succ ...uint64) *protocol.View {
	v := &protocol.View{Self: named(300), Phase: protocol.Joined}
	if pred != 0 {
		v.Pred, v.Arc, v.HasArc = named(pred), ring.Arc{After: pred, To: 300}, true
	}
	for _, id := range succ {
		v.Succ = append(v.Succ, named(id))
	}
	return v
}

func TestRulesOfSteps(t *testing.T) {
	alone := stands(0)
	alone.Arc, alone.HasArc = ring.Arc{After: 300, To: 300}, true
	for _, c := range []struct {
		rule          ChangeRule
		before, after *protocol.View
		answered      uint64 // who has
		lives         uint64 // who does
		broken        bool
	}{
		{AskedFirst, stands(200, 500), stands(200, 400, 500), 400, 0, false},
		{AskedFirst, stands(200, 500), stands(200, 400, 500), 500, 0, true},
		{AskedFirst, stands(200, 400, 500), stands(200, 500), 0, 0, false}, // the head is dropped
		{AskedFirst, stands(200, 400), stands(200, 400, 500), 0, 0, false}, // the head's word
		{AskedFirst, stands(100), stands(200), 200, 0, false},
		{AskedFirst, stands(100), stands(200), 100, 0, true},
		{NoTakeover, stands(200), stands(100), 0, 200, true},
		{NoTakeover, stands(200), stands(100), 0, 100, false}, // 200 is dead
		{NoTakeover, stands(100), stands(200), 0, 100, false}, // less than before
		{NoTakeover, stands(200, 500), alone, 0, 200, true},
		{NoTakeover, stands(200, 500), alone, 0, 500, false},
		{NoTakeover, stands(0, 500), stands(100, 500), 0, 500, false},
	} {
		how := c.rule.Broken(Change{
			Before: c.before, After: c.after,
			Answered: func(x ring.Member) bool { return x.ID == c.answered },
			Lives:    func(x ring.Member) bool { return x.ID == c.lives },
		})
		if (how != "") != c.broken {
			t.Errorf("%s from %v to %v, %d has answered, %d lives: %q", c.rule.Name, c.before, c.after, c.answered, c.lives, how)
		}
	}
}

func TestRulesOfLookups(t *testing.T) {
	r := ringOf(100, 200, 300)
	for i, m := range r.Members {
		r.Claims = append(r.Claims, Claim{By: m.Self, Arc: ring.Arc{After: r.Members[(i+2)%3].Self.ID, To: m.Self.ID}})
	}
	for _, rule := range []Rule{AnswersForItsArc, IdealLookups, FromPredecessor} {
		if how := rule.Broken(r); how != "" {
			t.Errorf("%s: %s", rule.Name, how)
		}
	}
	// The tables answer by the claims: with another's arc in its place a member
	// answers for what is not its own.
	r.Claims[1].Arc.After = 300
	if FromPredecessor.Broken(r) == "" || IdealLookups.Broken(r) == "" {
		t.Error("200 answers for (300, 200], and no rule is broken")
	}
	r.Members[1].Succ = nil
	if how := IdealLookups.Broken(r); how != "" {
		t.Errorf("a ring that is not ideal: %s", how)
	}
}
