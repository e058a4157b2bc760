package web

import (
	"fmt"
	"slices"
	"strings"
)

// place says what belongs to each of the members that are here, which are in the
// order of their identifiers.
func place(members []Member, bits uint) {
	var before *Member
	for i := range members {
		if members[i].State == Here {
			before = &members[i] // in the end the last, which is before the first
		}
	}
	for i := range members {
		m := &members[i]
		m.Share, m.Range = 0, nil
		if m.State != Here {
			continue
		}
		m.Range = &Range{Start: before.ID, End: m.ID}
		m.Share = share(before.ID, m.ID, bits)
		before = m
	}
}

// judge adds to each member what is wrong with it, and returns what is wrong with
// the ring that own is in. A ring is ideal if every pointer of every member is
// exactly right. While members join and leave it is not, for a moment.
func judge(members []Member, own Server) []string {
	var here []*Member
	most := 0
	for i := range members {
		if m := &members[i]; m.State == Here && m.Asked {
			here = append(here, m)
			most = max(most, len(m.Successors))
		}
	}
	wrong := apart(here, own)
	for i, m := range here {
		say := func(format string, args ...any) { m.Wrong = append(m.Wrong, fmt.Sprintf(format, args...)) }
		if i > 0 && here[i-1].ID == m.ID {
			say("it has the identifier of %s", here[i-1].Name)
		}
		before := here[(i+len(here)-1)%len(here)]
		switch {
		case len(here) == 1 && m.Predecessor == nil:
		case m.Predecessor == nil:
			say("it knows no predecessor, and should know %s", before.Name)
		case *m.Predecessor != before.Server:
			say("its predecessor is %s, and should be %s", m.Predecessor.Name, before.Name)
		}
		var want []Server
		for k := 1; k < len(here) && k <= most; k++ {
			want = append(want, here[(i+k)%len(here)].Server)
		}
		switch {
		case slices.Equal(m.Successors, want):
		case len(m.Successors) == 0:
			say("it knows no successor, and should know %s", names(want))
		case len(want) == 0:
			say("its successor is %s, which is not in the ring", m.Successors[0].Name)
		case m.Successors[0] != want[0]:
			say("its successor is %s, and should be %s", m.Successors[0].Name, want[0].Name)
		case len(m.Successors) < len(want) && slices.Equal(m.Successors, want[:len(m.Successors)]):
			say("it knows %s, others know %d", plural(len(m.Successors), "successor"), most)
		default:
			say("its successors are %s, and should be %s", names(m.Successors), names(want))
		}
	}
	return wrong
}

// apart names those that are here and that following successors from own does
// not lead to, each the first that is here: they are beside the ring, or in
// another.
func apart(here []*Member, own Server) []string {
	is := make(map[Server]bool, len(here))
	for _, m := range here {
		is[m.Server] = true
	}
	next := make(map[Server]Server, len(here))
	for _, m := range here {
		if i := slices.IndexFunc(m.Successors, func(s Server) bool { return is[s] }); i >= 0 {
			next[m.Server] = m.Successors[i]
		}
	}
	met := make(map[Server]bool, len(here))
	for at, ok := own, true; ok && !met[at]; at, ok = next[at] {
		met[at] = true
	}
	var rest []Server
	for _, m := range here {
		if !met[m.Server] {
			rest = append(rest, m.Server)
		}
	}
	if len(rest) == 0 {
		return []string{}
	}
	return []string{fmt.Sprintf("from %s, successors do not lead to %s", own.Name, names(rest))}
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
func what(members []Member, wrong []string) string {
	n, first := len(wrong), ""
	if n > 0 {
		first = wrong[0]
	}
	for _, m := range members {
		if len(m.Wrong) > 0 && first == "" {
			first = m.Name + ": " + m.Wrong[0]
		}
		n += len(m.Wrong)
	}
	if n == 1 {
		return "something is wrong: " + first
	}
	return fmt.Sprintf("%d things are wrong, the first: %s", n, first)
}

// names lists the names, of many the first.
func names(list []Server) string {
	const most = 8
	var out []string
	for _, s := range list[:min(len(list), most)] {
		out = append(out, s.Name)
	}
	if more := len(list) - most; more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}
