package invariant

import (
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Every rule of a state holds in an ideal ring, and is broken by what it is there
// to forbid.
func TestEachRuleIsBrokenByWhatItForbids(t *testing.T) {
	list := func(ids ...uint64) (out []ring.Member) {
		for _, id := range ids {
			out = append(out, named(id))
		}
		return out
	}
	// Of members 100 … 600 with lists of two; nil: as it should be.
	for _, c := range []struct {
		rule  Rule
		lists map[uint64][]ring.Member
		pred  map[uint64]uint64
	}{
		{rule: NoSelf, lists: map[uint64][]ring.Member{200: list(300, 200)}},
		{rule: NoDuplicates, lists: map[uint64][]ring.Member{200: list(300, 300)}},
		{rule: Ordered, lists: map[uint64][]ring.Member{200: list(400, 300)}},
		{rule: Bounded, lists: map[uint64][]ring.Member{200: list(300, 400, 500)}},
		{rule: OneLiveSuccessor, lists: map[uint64][]ring.Member{200: list(250, 350)}},
		{rule: NoEmptyList, lists: map[uint64][]ring.Member{200: {}}},
		{rule: SufficientPrincipals, lists: map[uint64][]ring.Member{100: list(300, 500), 200: list(400, 600)}},
		{rule: AtLeastOneRing, lists: map[uint64][]ring.Member{200: list(250)}},
		{rule: AtMostOneRing, lists: map[uint64][]ring.Member{100: list(300), 300: list(500), 500: list(100), 200: list(400), 400: list(600), 600: list(200)}},
		{rule: OrderedRing, lists: map[uint64][]ring.Member{100: list(300), 300: list(500), 500: list(200), 200: list(400), 400: list(600), 600: list(100)}},
		{rule: ConnectedAppendages, lists: map[uint64][]ring.Member{100: list(300), 600: list(300), 200: list(250)}},
		{rule: Ideal, lists: map[uint64][]ring.Member{200: list(300)}},
		{rule: Ideal, pred: map[uint64]uint64{200: 600}},
		{rule: Ideal, pred: map[uint64]uint64{200: 0}},
	} {
		r := ringOf(100, 200, 300, 400, 500, 600)
		r.Successors = 2
		for i := range r.Members {
			r.Members[i].Succ = list(r.Members[(i+1)%6].Self.ID, r.Members[(i+2)%6].Self.ID)
		}
		if how := c.rule.Broken(r); how != "" {
			t.Errorf("%s in an ideal ring: %s", c.rule.Name, how)
		}
		for i := range r.Members {
			id := r.Members[i].Self.ID
			if l, ok := c.lists[id]; ok {
				r.Members[i].Succ = l
			}
			if p, ok := c.pred[id]; ok {
				r.Members[i].Pred = ring.Member{}
				if p > 0 {
					r.Members[i].Pred = named(p)
				}
			}
		}
		if c.rule.Broken(r) == "" {
			t.Errorf("%s is not broken by the lists %v, the predecessors %v", c.rule.Name, c.lists, c.pred)
		}
	}
}

func TestEveryRuleHasNameSentenceAndSource(t *testing.T) {
	all := slices.Concat(Always(), Zave(), Owning(), []Rule{Ideal, AnswersForItsArc, IdealLookups})
	seen := map[string]bool{}
	for _, r := range all {
		if r.Name == "" || r.Says == "" || r.Source == "" || seen[r.Name] {
			t.Errorf("%+v", r)
		}
		seen[r.Name] = true
	}
	for _, g := range Grown() {
		if !slices.ContainsFunc(Zave(), func(r Rule) bool { return r.Name == g.Name }) {
			t.Errorf("%s is not among Zave's", g.Name)
		}
	}
}
