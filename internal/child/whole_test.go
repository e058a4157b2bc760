package child

import (
	"testing"

	"github.com/ollelogdahl/concord"
)

func TestNotWhole(t *testing.T) {
	right := func() []concord.Status {
		return []concord.Status{
			{Self: concord.Server{Name: "a"}, Phase: concord.PhaseJoined, Weight: 2, Ranges: []concord.Range{{Start: 30, End: 10}, {Start: 10, End: 20}}},
			{Self: concord.Server{Name: "b"}, Phase: concord.PhaseJoined, Weight: 1, Ranges: []concord.Range{{Start: 20, End: 30}}},
		}
	}
	if not := NotWhole(right()); not != "" {
		t.Error(not)
	}
	alone := concord.Status{Phase: concord.PhaseJoined, Weight: 1, Ranges: []concord.Range{{Start: 7, End: 7}}}
	if not := NotWhole([]concord.Status{alone}); not != "" {
		t.Error(not)
	}
	for what, change := range map[string]func([]concord.Status){
		"a gap":           func(all []concord.Status) { all[1].Ranges[0].Start = 21 },
		"an overlap":      func(all []concord.Status) { all[0].Ranges[0].Start = 25 },
		"a range missing": func(all []concord.Status) { all[0].Ranges = all[0].Ranges[:1] },
		"one drains":      func(all []concord.Status) { all[1].Phase = concord.PhaseDraining },
	} {
		all := right()
		change(all)
		if NotWhole(all) == "" {
			t.Errorf("%s is not found", what)
		}
	}
}
