package invariant

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/protocol"
)

func TestRulesOfWhoServes(t *testing.T) {
	knows := func(isolated bool, succ ...uint64) *protocol.View {
		v := stands(200, succ...)
		v.Isolated = isolated
		return v
	}
	twice := knows(false, 400, 500)
	twice.Succ[1].Name = twice.Succ[0].Name
	outside := &protocol.View{Phase: protocol.Outside}
	for _, c := range []struct {
		name    string
		serving Serving
		rule    string // that is broken; empty: none
	}{
		{"enough", Serving{By: knows(false, 400, 500), MinMembers: 3, Answers: true}, ""},
		{"no number is asked for", Serving{By: knows(false), Answers: true}, ""},
		{"too few, and silent", Serving{By: knows(true, 400), MinMembers: 3}, ""},
		{"too few, and it answers", Serving{By: knows(true, 400), MinMembers: 3, Answers: true}, IsolatedAreSilent.Name},
		{"too few, and it does not say so", Serving{By: knows(false, 400), MinMembers: 3, Answers: true}, IsolatedAreSilent.Name},
		{"too few, one of which stands twice, and it answers", Serving{By: twice, MinMembers: 3, Answers: true}, IsolatedAreSilent.Name},
		{"in no ring", Serving{By: outside, MinMembers: 3}, ""},
		{"an ideal ring of enough", Serving{By: knows(false, 400, 500), MinMembers: 3, Members: 3}, ""},
		{"isolated in a ring of enough", Serving{By: knows(true, 400, 500), MinMembers: 3, Members: 3}, IsolatedAreFew.Name},
		{"an ideal ring of too few", Serving{By: knows(true, 400), MinMembers: 3, Members: 2}, ""},
		{"not isolated in a ring of too few", Serving{By: knows(false, 400), MinMembers: 3, Members: 2}, IsolatedAreFew.Name},
	} {
		for _, rule := range Servings() {
			if how := rule.Broken(c.serving); (how != "") != (rule.Name == c.rule) {
				t.Errorf("%s: %s: %q", c.name, rule.Name, how)
			}
		}
	}
}
