package child

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord"
)

func TestEveryWrongPointerIsNoticed(t *testing.T) {
	right := func() []concord.Status {
		var all []concord.Status
		for i := range 5 {
			all = append(all, concord.Status{Phase: "joined",
				Self: concord.Server{Name: fmt.Sprint("n", i), Id: uint64(i) * 10, Address: fmt.Sprint("h:", i+1)}})
		}
		for i := range all {
			pred := all[(i+4)%5].Self
			all[i].Predecessor = &pred
			all[i].Range = &concord.Range{Start: pred.Id, End: all[i].Self.Id}
			for k := 1; k <= 3; k++ {
				all[i].Successors = append(all[i].Successors, all[(i+k)%5].Self)
			}
		}
		return all
	}
	if got := NotIdeal(right(), 3); got != "" {
		t.Errorf("an ideal ring is called wrong: %s", got)
	}
	alone := concord.Status{Phase: "joined", Self: concord.Server{Name: "n", Id: 7, Address: "h:1"},
		Range: &concord.Range{Start: 7, End: 7}, Successors: []concord.Server{}}
	if got := NotIdeal([]concord.Status{alone}, 3); got != "" {
		t.Errorf("a ring of one is called wrong: %s", got)
	}
	for name, spoil := range map[string]func(s *concord.Status){
		"phase":               func(s *concord.Status) { s.Phase = "leaving" },
		"no predecessor":      func(s *concord.Status) { s.Predecessor = nil },
		"another predecessor": func(s *concord.Status) { s.Predecessor = &s.Self },
		"last successor":      func(s *concord.Status) { s.Successors = s.Successors[:2] },
		"another address":     func(s *concord.Status) { s.Successors[2].Address = "h:99" },
		"no range":            func(s *concord.Status) { s.Range = nil },
		"another range":       func(s *concord.Status) { s.Range.Start-- },
	} {
		all := right()
		spoil(&all[3])
		if got := NotIdeal(all, 3); !strings.HasPrefix(got, "n3 ") {
			t.Errorf("%s: NotIdeal says %q", name, got)
		}
	}
}
