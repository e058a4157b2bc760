package web

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// ideal is an ideal ring of n members with lists of three.
func ideal(n int) []Member {
	all := make([]Member, n)
	for i := range all {
		all[i] = Member{Server: Server{Name: fmt.Sprint("n", i), ID: ID(10 * (i + 1)), Address: fmt.Sprint("h:", i+1)}, State: Here, Asked: true, Wrong: []string{}}
	}
	for i := range all {
		if n > 1 {
			p := all[(i+n-1)%n].Server
			all[i].Predecessor = &p
		}
		for k := 1; k < n && k <= 3; k++ {
			all[i].Successors = append(all[i].Successors, all[(i+k)%n].Server)
		}
	}
	return all
}

func TestNothingIsWrongWithAnIdealRing(t *testing.T) {
	for n := 1; n <= 6; n++ {
		all := ideal(n)
		if wrong := judge(all, all[0].Server); count(Ring{all, wrong}) != 0 {
			t.Errorf("of %d: %v, %+v", n, wrong, all)
		}
	}
}

func TestEveryWrongPointerIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(all []Member)
		who   int // -1: the ring
		says  string
	}{
		"no predecessor":      {func(all []Member) { all[2].Predecessor = nil }, 2, "it knows no predecessor, and should know n1"},
		"another predecessor": {func(all []Member) { all[2].Predecessor = &all[0].Server }, 2, "its predecessor is n0, and should be n1"},
		"no successor":        {func(all []Member) { all[2].Successors = nil }, 2, "it knows no successor, and should know n3, n4, n0"},
		"another successor":   {func(all []Member) { all[2].Successors = all[3].Successors }, 2, "its successor is n4, and should be n3"},
		"short list":          {func(all []Member) { all[2].Successors = all[2].Successors[:2] }, 2, "it knows 2 successors, others know 3"},
		"another list": {func(all []Member) {
			all[2].Successors = []Server{all[3].Server, all[0].Server, all[1].Server}
		}, 2, "its successors are n3, n0, n1, and should be n3, n4, n0"},
		"one identifier twice": {func(all []Member) { all[2].ID = all[1].ID }, 2, "it has the identifier of n1"},
		"another ring": {func(all []Member) {
			all[1].Successors, all[4].Successors = []Server{all[4].Server}, []Server{all[1].Server}
			all[0].Successors, all[3].Successors = []Server{all[2].Server}, []Server{all[0].Server}
		}, -1, "from n0, successors do not lead to n1, n4"},
	} {
		t.Run(name, func(t *testing.T) {
			all := ideal(5)
			c.spoil(all)
			said := judge(all, all[0].Server)
			if c.who >= 0 {
				said = all[c.who].Wrong
			}
			if !slices.Contains(said, c.says) {
				t.Errorf("says %q, want %q", said, c.says)
			}
		})
	}
}

// A member that is silent is passed over where others know whom they have after it.
func TestSilentMemberDoesNotPartTheRing(t *testing.T) {
	all := ideal(5)
	all[1].State, all[1].Asked = Silent, false
	if wrong := judge(all, all[0].Server); len(wrong) > 0 {
		t.Error(wrong)
	}
	if got := all[0].Wrong; !slices.Contains(got, "its successor is n1, and should be n2") {
		t.Error(got)
	}
}

func TestSharesAddUp(t *testing.T) {
	all := ideal(5)
	all[2].State = Silent
	place(all, 6)
	sum := 0.0
	for _, m := range all {
		sum += m.Share
	}
	if math.Abs(sum-1) > 1e-12 || all[2].Range != nil || all[2].Share != 0 {
		t.Errorf("%v in all; %+v", sum, all)
	}
	if want := (Range{50, 10}); *all[0].Range != want || math.Abs(all[0].Share-24.0/64) > 1e-12 {
		t.Errorf("the first, whose range crosses 0, has %v, %v", *all[0].Range, all[0].Share)
	}
	alone := ideal(1)
	place(alone, 64)
	if alone[0].Share != 1 {
		t.Errorf("a ring of one has %v", alone[0].Share)
	}
}

func TestPercentages(t *testing.T) {
	for share, want := range map[float64]string{1: "100 %", 0.5: "50.0 %", 0.0123: "1.2 %", 0.0004: "0.04 %", 0: "0.0 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v: %q, want %q", share, got, want)
		}
	}
}

func TestManyNamesAreCut(t *testing.T) {
	var many []Server
	for _, m := range ideal(20) {
		many = append(many, m.Server)
	}
	if got := names(many); !strings.HasSuffix(got, "n7, 12 more") {
		t.Error(got)
	}
}
