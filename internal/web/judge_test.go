package web

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/survey"
)

// ideal is what an ideal ring of n members with lists of three says.
func ideal(n int) (m met) {
	all := make([]concord.Server, n)
	for i := range all {
		all[i] = concord.Server{Name: fmt.Sprint("n", i), Id: uint64(10 * (i + 1)), Address: fmt.Sprint("h:", i+1)}
	}
	for i, s := range all {
		x := concord.Member{Server: s, Incarnation: 1, Phase: "joined"}
		if n > 1 {
			x.Predecessor = &all[(i+n-1)%n]
		}
		for k := 1; k < n && k <= 3; k++ {
			x.Successors = append(x.Successors, all[(i+k)%n])
		}
		m.add(x, nil)
	}
	return m
}

func TestNothingIsWrongWithAnIdealRing(t *testing.T) {
	for n := range 7 {
		m := ideal(n)
		if r := m.judge(64); count(r) != 0 || len(r.Members) != n {
			t.Errorf("of %d: %+v", n, r)
		}
	}
}

// What is wrong is said where it is: with the member, or with the ring.
func TestFindingsAreWithWhomTheyConcern(t *testing.T) {
	m := ideal(5)
	m.members[2].Predecessor = &m.members[0].Server
	r := m.judge(64)
	if len(r.Members[2].Wrong) != 1 || r.Members[2].Wrong[0] != (Finding{survey.WrongPredecessor, "has predecessor n0, not n1"}) {
		t.Errorf("%+v", r.Members[2])
	}
	for i, x := range r.Members {
		if x.Wrong == nil || i != 2 && len(x.Wrong) > 0 {
			t.Errorf("%+v", x)
		}
	}

	// Two rings, of n0, n2, n3 and of n1, n4.
	m = ideal(5)
	for i, next := range []int{2, 4, 3, 0, 1} {
		m.members[i].Successors = []concord.Server{m.members[next].Server}
	}
	if r := m.judge(64); len(r.Wrong) == 0 {
		t.Errorf("nothing is wrong with two rings: %+v", r)
	}
}

func TestSilentMemberIsShownAsSuch(t *testing.T) {
	m := ideal(5)
	gone := m.members[1]
	gone.NamedBy = &m.members[0].Server
	m.members = append(m.members[:1], m.members[2:]...)
	m.add(gone, fmt.Errorf("%w: connection refused", concord.ErrUnavailable))
	r := m.judge(64)
	x := r.Members[1]
	if x.Name != "n1" || x.State != Silent || x.Range != nil || x.Asked || len(x.Wrong) != 1 || x.Wrong[0].Name != survey.Unreachable {
		t.Errorf("%+v", x)
	}
	if before := r.Members[2]; before.Range.Start != 10 {
		t.Errorf("what belonged to the silent one is not said to be n2's: %+v", before)
	}
	m.absent = nil
	m.add(gone, concord.ErrNotJoined)
	if x := m.judge(64).Members[1]; len(x.Wrong) != 1 || x.Wrong[0].Name != survey.NotJoined {
		t.Errorf("%+v", x)
	}
}

func TestSharesAddUp(t *testing.T) {
	sum := 0.0
	m := ideal(5)
	r := m.judge(6)
	for _, m := range r.Members {
		sum += m.Share
	}
	if math.Abs(sum-1) > 1e-12 {
		t.Errorf("%v in all; %+v", sum, r)
	}
	if want := (Range{50, 10}); *r.Members[0].Range != want || math.Abs(r.Members[0].Share-24.0/64) > 1e-12 {
		t.Errorf("the first, whose range crosses 0, has %v, %v", *r.Members[0].Range, r.Members[0].Share)
	}
}

func TestPartsOfTheCircle(t *testing.T) {
	for _, c := range []struct {
		ranges []concord.Range
		bits   uint
		want   float64
	}{
		{nil, 64, 0},
		{[]concord.Range{{Start: 7, End: 7}}, 64, 1},
		{[]concord.Range{{Start: 250, End: 10}}, 8, 16.0 / 256},
		{[]concord.Range{{Start: 1 << 63, End: 0}}, 64, 0.5},
		{[]concord.Range{{Start: 0, End: 64}, {Start: 128, End: 192}}, 8, 0.5},
	} {
		if got := part(c.ranges, c.bits); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v of %d bits: %v, want %v", c.ranges, c.bits, got, c.want)
		}
	}
}

// A walk that broke off says nothing of those whom it has not met.
func TestHalfAWalkIsCompletedByTheLast(t *testing.T) {
	before := ideal(6)
	before.add(concord.Member{Server: concord.Server{Name: "silent", Id: 35, Address: "h:9"}}, errors.New("no answer"))
	var half met
	for _, x := range before.members[:3] {
		x.Incarnation = 2
		half.add(x, nil)
	}
	half.fill(before)
	if len(half.members) != 6 || len(half.absent) != 1 || half.members[0].Incarnation != 2 {
		t.Errorf("%+v", half)
	}
}

func TestPercentages(t *testing.T) {
	for share, want := range map[float64]string{1: "100 %", 0.5: "50.0 %", 0.0123: "1.2 %", 0.0004: "0.04 %", 0: "0.0 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v: %q, want %q", share, got, want)
		}
	}
}

// A member with several identifiers is one member with all its arcs.
func TestMembersWithSeveralRanges(t *testing.T) {
	a := concord.Member{Server: concord.Server{Name: "a", Id: 5, Address: "a:1"}, Phase: concord.PhaseJoined,
		Ranges: []concord.Range{{Start: 192, End: 64}, {Start: 100, End: 110}}}
	b := concord.Member{Server: concord.Server{Name: "b", Id: 9, Address: "b:1"}, Phase: concord.PhaseJoined,
		Ranges: []concord.Range{{Start: 64, End: 100}, {Start: 110, End: 192}}}
	whole := met{members: []concord.Member{a, b}}
	r := whole.judge(8)
	if n := count(r); n != 0 || len(r.Members) != 2 {
		t.Fatalf("%d members, %d wrong: %+v", len(r.Members), n, r)
	}
	first := r.Members[0]
	if len(first.Ranges) != 2 || first.Ranges[0].Share != 0.5 || first.Share != 0.5+10.0/256 || first.Range.Start != 192 {
		t.Errorf("%+v", first)
	}
	b.Ranges[1].End = 190
	gap := met{members: []concord.Member{a, b}}
	if r := gap.judge(8); count(r) == 0 {
		t.Error("a gap is not wrong")
	}
}
