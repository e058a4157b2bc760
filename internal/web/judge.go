package web

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/survey"
)

// met is whom walks have met: those that answered, and those that were named and
// did not.
type met struct {
	members []concord.Member
	absent  []survey.Absent
}

func (m *met) size() int { return len(m.members) + len(m.absent) }

// add adds what a walk says of a member.
func (m *met) add(x concord.Member, err error) {
	if err == nil {
		m.members = append(m.members, x)
		return
	}
	a := survey.Absent{Server: x.Server, Name: survey.Unreachable, Error: strings.TrimPrefix(err.Error(), "concord: ")}
	if x.NamedBy != nil {
		a.NamedBy = x.NamedBy.Name
	}
	if errors.Is(err, concord.ErrNotJoined) {
		a.Name = survey.NotJoined
	}
	m.absent = append(m.absent, a)
}

// has reports whether a server was met.
func (m *met) has(s concord.Server) bool {
	return slices.ContainsFunc(m.members, func(x concord.Member) bool { return x.Server == s }) ||
		slices.ContainsFunc(m.absent, func(x survey.Absent) bool { return x.Server == s })
}

// fill adds those of before whom it has not met.
func (m *met) fill(before met) {
	for _, x := range before.members {
		if !m.has(x.Server) {
			m.members = append(m.members, x)
		}
	}
	for _, x := range before.absent {
		if !m.has(x.Server) {
			m.absent = append(m.absent, x)
		}
	}
}

// judge makes of them what the page shows: who is where, and what is wrong. While
// members join and leave, something is, for a moment.
func (m *met) judge(bits uint) Ring {
	out := Ring{Members: []Member{}, Wrong: []Finding{}}
	if m.size() == 0 {
		return out
	}
	report := survey.Of(m.members, m.absent, 0, bits)
	for i, x := range report.Members {
		before := report.Members[(i+len(report.Members)-1)%len(report.Members)].Server
		member := Member{
			Server: server(x.Server), State: Here, Share: x.Share, Range: &Range{Start: ID(before.Id), End: ID(x.Server.Id)},
			Asked: true, Successors: servers(x.Successors), Wrong: []Finding{},
		}
		if len(x.Ranges) > 1 {
			member.Range = &Range{Start: ID(x.Ranges[0].Start), End: ID(x.Ranges[0].End)}
			for _, r := range x.Ranges {
				member.Ranges = append(member.Ranges, Arc{Range{Start: ID(r.Start), End: ID(r.End)}, part([]concord.Range{r}, bits)})
			}
		}
		if x.Predecessor != nil {
			p := server(*x.Predecessor)
			member.Predecessor = &p
		}
		out.Members = append(out.Members, member)
	}
	for _, x := range report.Absent {
		out.Members = append(out.Members, Member{Server: server(x.Server), State: Silent, Successors: []Server{}, Wrong: []Finding{}})
	}
	slices.SortStableFunc(out.Members, clockwise)
	for _, f := range report.Findings {
		found := Finding{Name: f.Name, Says: f.Says}
		if f.Member == "" {
			out.Wrong = append(out.Wrong, found)
		}
		for i := range out.Members {
			if x := &out.Members[i]; x.Name == f.Member && (x.State == Silent) == (f.Name == survey.Unreachable || f.Name == survey.NotJoined) {
				x.Wrong = append(x.Wrong, found)
			}
		}
	}
	return out
}

func clockwise(a, b Member) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), strings.Compare(a.Name, b.Name), strings.Compare(a.Address, b.Address))
}

// count is how many things are wrong.
func count(r Ring) int {
	n := len(r.Wrong)
	for _, m := range r.Members {
		if m.State != Gone {
			n += len(m.Wrong)
		}
	}
	return n
}

// what says in a sentence what is wrong.
func what(r Ring) string {
	first := ""
	for _, m := range r.Members {
		if m.State == Silent && len(m.Wrong) > 0 { // which may be why the others are wrong
			first = cmp.Or(first, m.Name+" "+m.Wrong[0].Says)
		}
	}
	for _, f := range r.Wrong {
		first = cmp.Or(first, "the ring: "+f.Says)
	}
	for _, m := range r.Members {
		for _, f := range m.Wrong {
			first = cmp.Or(first, m.Name+" "+f.Says)
		}
	}
	if n := count(r); n > 1 {
		return fmt.Sprintf("%d things are wrong, the first: %s", n, first)
	}
	return "something is wrong: " + first
}

// part is how much of the circle of 2^bits identifiers the ranges are.
func part(ranges []concord.Range, bits uint) (sum float64) {
	mask := ^uint64(0) >> (64 - bits)
	for _, r := range ranges {
		if r.Start == r.End {
			return 1
		}
		sum += float64((r.End-r.Start)&mask) / math.Ldexp(1, int(bits))
	}
	return sum
}
