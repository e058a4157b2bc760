package survey

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord"
)

func at(i int) concord.Server {
	return concord.Server{Name: string(rune('a' + i)), Id: uint64(i) << 60, Address: fmt.Sprintf("h%d:1", i)}
}

// ideal is an ideal ring of n at most, those of the places, with lists of r.
func ideal(r int, places ...int) []concord.Member {
	var out []concord.Member
	n := len(places)
	for i, p := range places {
		m := concord.Member{Server: at(p), Incarnation: 1, Phase: "joined"}
		if n > 1 {
			pred := at(places[(i+n-1)%n])
			m.Predecessor = &pred
		}
		for k := 1; k < n && k <= r; k++ {
			m.Successors = append(m.Successors, at(places[(i+k)%n]))
		}
		out = append(out, m)
	}
	return out
}

func TestAnIdealRingHasNoFindings(t *testing.T) {
	for n := 1; n <= 8; n++ {
		places := make([]int, n)
		for i := range places {
			places[i] = i
		}
		all := ideal(3, places...)
		slices.Reverse(all) // in whatever order they were met
		r := Of(all, nil, 0, 64)
		if !r.Ideal || len(r.Findings) != 0 || len(r.Rings) != 1 || len(r.Rings[0]) != n || r.Successors != min(3, n-1) {
			t.Errorf("of %d: %+v", n, r)
		}
		sum := 0.0
		for i, m := range r.Members {
			sum += m.Share
			if m.Server != at(i) || m.Wrong {
				t.Errorf("of %d: member %d is %+v", n, i, m)
			}
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("of %d: the shares make %v", n, sum)
		}
	}
}

func TestFindings(t *testing.T) {
	edit := func(all []concord.Member, i int, f func(*concord.Member)) []concord.Member {
		f(&all[i])
		return all
	}
	five := func() []concord.Member { return ideal(2, 0, 1, 2, 3, 4) }
	for _, c := range []struct {
		name       string
		members    []concord.Member
		absent     []Absent
		successors int
		want       []string // name, member and words of each
	}{
		{"nobody", nil, nil, 0, nil},
		{"wrong predecessor", edit(five(), 2, func(m *concord.Member) { s := at(0); m.Predecessor = &s }), nil, 0,
			[]string{"wrong-predecessor c has predecessor a, not b"}},
		{"no predecessor", edit(five(), 2, func(m *concord.Member) { m.Predecessor = nil }), nil, 0,
			[]string{"wrong-predecessor c does not know its predecessor b"}},
		{"moved predecessor", edit(five(), 2, func(m *concord.Member) { s := at(1); s.Address = "old:1"; m.Predecessor = &s }), nil, 0,
			[]string{"wrong-predecessor c has predecessor b at old:1, not b at h1:1"}},
		{"skipped", edit(five(), 0, func(m *concord.Member) { m.Successors = []concord.Server{at(2), at(3)} }), nil, 0,
			[]string{"wrong-successor a has successor 1 c, not b"}},
		{"second wrong", edit(five(), 0, func(m *concord.Member) { m.Successors = []concord.Server{at(1), at(3)} }), nil, 0,
			[]string{"wrong-successor a has successor 2 d, not c"}},
		{"short", edit(five(), 0, func(m *concord.Member) { m.Successors = m.Successors[:1] }), nil, 0,
			[]string{"short-list a knows 1 of the 2 members after it"}},
		{"short, of a legacy member", edit(five(), 0, func(m *concord.Member) { m.Successors, m.Incarnation = m.Successors[:1], 0 }), nil, 0, nil},
		{"all short", five(), nil, 3, []string{"short-list a knows 2 of the 3", "short-list b", "short-list c", "short-list d", "short-list e"}},
		{"too long", five(), nil, 1, []string{"bounded-lists  a lists 2", "wrong-successor a has a successor 2, c, in a ring of 5",
			"wrong-successor b", "wrong-successor c", "wrong-successor d", "wrong-successor e"}},
		{"unreachable", five(), []Absent{{Server: at(9), NamedBy: "a", Error: "refused", Name: Unreachable}}, 0,
			[]string{"unreachable j at h9:1, named by a: refused"}},
		{"lists itself twice", edit(five(), 0, func(m *concord.Member) { m.Successors = []concord.Server{at(0), at(0)} }), nil, 0,
			[]string{"no-self  a lists itself", "no-duplicates  a lists a twice", "ordered-lists"}},
		{"nobody lives", edit(ideal(1, 0, 1), 0, func(m *concord.Member) { m.Successors = []concord.Server{at(9)} }), nil, 0,
			[]string{"one-live-successor  a has no live successor", "at-least-one-ring", "connected-appendages"}},
		{"two rings", append(ideal(2, 0, 2, 4), ideal(2, 1, 3, 5)...), nil, 0,
			[]string{"sufficient-principals", "at-most-one-ring  2 rings: one of 3 with a, one of 3 with b", "wrong-predecessor a has predecessor e, not f"}},
		{"a loop wound twice", func() []concord.Member {
			var out []concord.Member
			for i := range 5 {
				m := concord.Member{Server: at(i), Incarnation: 1, Successors: []concord.Server{at((i + 2) % 5)}}
				pred := at((i + 3) % 5)
				m.Predecessor = &pred
				out = append(out, m)
			}
			return out
		}(), nil, 0, []string{"sufficient-principals", "ordered-ring  a ring winds round the circle 2 times"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Of(c.members, c.absent, c.successors, 64)
			if r.Ideal != (len(c.want) == 0 && len(c.members) > 0) {
				t.Errorf("ideal: %t", r.Ideal)
			}
			var got []string
			for _, f := range r.Findings {
				got = append(got, f.Name+" "+f.Member+" "+f.Says)
				wrong := slices.ContainsFunc(r.Members, func(m Member) bool { return m.Server.Name == f.Member && !m.Wrong })
				if wrong {
					t.Errorf("%s is not marked", f.Member)
				}
			}
			for _, w := range c.want {
				if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
					t.Errorf("lacks %q:\n%s", w, strings.Join(got, "\n"))
				}
			}
			if len(c.want) <= 1 && len(got) != len(c.want) {
				t.Errorf("found\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

func TestShareOfANarrowCircle(t *testing.T) {
	for _, c := range []struct {
		after, to uint64
		bits      uint
		want      float64
	}{{0, 64, 8, 0.25}, {192, 64, 8, 0.5}, {7, 7, 8, 1}, {0, 1 << 63, 64, 0.5}, {1 << 63, 0, 64, 0.5}} {
		if got := share(c.after, c.to, c.bits); got != c.want {
			t.Errorf("(%d, %d] of 2^%d: %v", c.after, c.to, c.bits, got)
		}
	}
}

// A Member has the fields of a concord.Member and its own, in both directions.
func TestAReportSurvivesJSON(t *testing.T) {
	want := Report{Members: []Member{{
		Member: concord.Member{Server: concord.Server{Name: "a", Id: 1<<64 - 1, Address: "h:1"}, Incarnation: 1<<63 + 1, Phase: "joined", Successors: []concord.Server{}},
		Share:  0.25, Wrong: true,
	}}, Absent: []Absent{}, Rings: [][]string{{"a"}}, Findings: []Finding{}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: %s became\n%+v, was\n%+v", err, text, got, want)
	}
}
