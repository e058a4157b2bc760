// Package survey tells what is wrong with a ring by what its members say when they
// are asked from outside.
//
// A survey sees what the wire shows: who answers, whom each takes for its
// neighbours, at one instant each. It does not tell the incarnations of one name apart, and
// does not know how long a full successor list is unless it is told.
package survey

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Names of findings. The others are names of rules of package invariant. Of the
// rule "ideal" the first three are what a member has wrong.
const (
	WrongPredecessor = "wrong-predecessor"
	WrongSuccessor   = "wrong-successor"
	ShortList        = "short-list"
	Unreachable      = "unreachable"
	NotJoined        = "not-joined"
	// NoOwner is of a map: a part of the circle belongs to nobody on it.
	NoOwner = "no-owner"
)

// Finding is one thing that is wrong.
type Finding struct {
	// Name is a rule of package invariant, or one of those above.
	Name string `json:"name"`
	// Member is who is concerned; empty: the ring.
	Member string `json:"member,omitempty"`
	// Says is what is wrong, in words that follow the member's name.
	Says string `json:"says"`
}

// Absent is one who was named and does not answer as a member.
type Absent struct {
	Server  concord.Server `json:"server"`
	NamedBy string         `json:"named_by"`
	Error   string         `json:"error"`
	// Name is Unreachable or NotJoined.
	Name string `json:"name"`
}

// Report is what a survey has found.
type Report struct {
	// Ideal: every pointer of every member is right, and nobody else is named.
	Ideal bool `json:"ideal"`
	// Members are those that answered, by their identifiers.
	Members []Member `json:"members"`
	Absent  []Absent `json:"absent"`
	// Successors is the length that a full list was taken to have.
	Successors int `json:"successor_count"`
	// Rings are the names of those that reach themselves by their successors, ring
	// by ring. One is as it should be.
	Rings    [][]string `json:"rings"`
	Findings []Finding  `json:"findings"`
}

// Member is a member that answered.
type Member struct {
	concord.Member
	// Share is how much of the circle lies between it and the member before it.
	Share float64 `json:"share"`
	// Wrong: a finding is about it.
	Wrong bool `json:"wrong"`
}

// UnmarshalJSON implements json.Unmarshaler, in place of that of the concord.Member.
func (m *Member) UnmarshalJSON(b []byte) error {
	own := struct {
		Share *float64 `json:"share"`
		Wrong *bool    `json:"wrong"`
	}{&m.Share, &m.Wrong}
	if err := json.Unmarshal(b, &own); err != nil {
		return err
	}
	return json.Unmarshal(b, &m.Member)
}

// Of judges the members that have answered and those that were named in vain, on a
// circle of 2^bits identifiers. successors is the length of a full list; 0: that of
// the longest.
func Of(members []concord.Member, absent []Absent, successors int, bits uint) Report {
	r := Report{Members: []Member{}, Absent: append([]Absent{}, absent...), Successors: successors, Rings: [][]string{}, Findings: []Finding{}}
	var states []protocol.State
	for _, m := range members {
		r.Members = append(r.Members, Member{Member: m})
		if successors == 0 {
			r.Successors = max(r.Successors, len(m.Successors))
		}
		states = append(states, state(m))
	}
	byID := func(a, b concord.Server) int {
		return cmp.Or(cmp.Compare(a.Id, b.Id), cmp.Compare(a.Address, b.Address))
	}
	slices.SortFunc(r.Members, func(a, b Member) int { return byID(a.Server, b.Server) })
	slices.SortFunc(r.Absent, func(a, b Absent) int { return byID(a.Server, b.Server) })
	if slices.ContainsFunc(members, func(m concord.Member) bool { return len(m.Ranges) > 1 }) {
		r.ranges(bits)
		r.end()
		return r
	}
	in := invariant.NewRing(r.Successors, states)
	for _, c := range in.Cycles() {
		var names []string
		for _, i := range c {
			names = append(names, in.Members[i].Self.Name)
		}
		r.Rings = append(r.Rings, names)
	}
	r.judge(in)
	n := len(r.Members)
	for i := range r.Members {
		m := &r.Members[i]
		before := r.Members[(i+n-1)%n]
		r.neighbours(i)
		m.Share = share(before.Server.Id, m.Server.Id, bits)
	}
	r.end()
	return r
}

// end adds the absent to the findings and draws the sum.
func (r *Report) end() {
	for _, a := range r.Absent {
		r.find(a.Name, a.Server.Name, fmt.Sprintf("at %s, named by %s: %s", a.Server.Address, a.NamedBy, a.Error))
	}
	for i := range r.Members {
		m := &r.Members[i]
		m.Wrong = slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Member == m.Server.Name })
	}
	r.Ideal = len(r.Findings) == 0 && len(r.Members) > 0
}

// OfMap judges the first element of WatchRing, which has all members on a map, on a circle
// of 2^bits identifiers. Nothing is known of what members have for neighbours.
func OfMap(list []concord.RingChange, bits uint) Report {
	r := Report{Members: []Member{}, Absent: []Absent{}, Rings: [][]string{}, Findings: []Finding{}}
	var names []string
	at := map[concord.Server]int{} // of r.Members
	for i, x := range list {
		k, ok := at[x.Server]
		if !ok {
			k = len(r.Members)
			at[x.Server] = k
			r.Members = append(r.Members, Member{Member: concord.Member{Server: x.Server, Incarnation: x.Incarnation, Zone: x.Zone, Phase: concord.PhaseJoined, Successors: []concord.Server{}}})
			names = append(names, x.Server.Name)
		}
		m := &r.Members[k]
		m.Ranges = append(m.Ranges, x.New)
		m.Share += share(x.New.Start, x.New.End, bits)
		if before := list[(i+len(list)-1)%len(list)]; before.New.End != x.New.Start {
			m.Wrong = true
			r.find(NoOwner, x.Server.Name, fmt.Sprintf("begins at %d, and %s ends at %d", x.New.Start, before.Server.Name, before.New.End))
		}
	}
	if len(names) > 0 {
		r.Rings = append(r.Rings, names)
	}
	r.Ideal = len(r.Findings) == 0 && len(names) > 0
	return r
}

// judge applies the rules of the whole ring.
func (r *Report) judge(in invariant.Ring) {
	rules := invariant.Always()
	for _, rule := range invariant.Zave() {
		switch rule.Name {
		case invariant.NoEmptyList.Name:
			continue // a list that is too short is told of below
		case invariant.SufficientPrincipals.Name:
			if len(in.Members) <= in.Successors {
				continue // not as many members as the rule wants principals
			}
		}
		rules = append(rules, rule)
	}
	for _, rule := range rules {
		says := rule.Broken(in)
		if says == "" {
			continue
		}
		if rule.Name == invariant.AtMostOneRing.Name {
			var each []string
			for _, names := range r.Rings {
				each = append(each, fmt.Sprintf("one of %d with %s", len(names), names[0]))
			}
			says += ": " + strings.Join(each, ", ")
		}
		r.find(rule.Name, "", says)
	}
}

// neighbours finds what the i-th member has wrong, of what it says of its
// neighbours.
func (r *Report) neighbours(i int) {
	n, m := len(r.Members), r.Members[i]
	name := m.Server.Name
	before := r.Members[(i+n-1)%n].Server
	switch pred := m.Predecessor; {
	case n == 1 && pred != nil:
		r.find(WrongPredecessor, name, "has predecessor "+pred.Name+", and is alone")
	case n > 1 && pred == nil:
		r.find(WrongPredecessor, name, "does not know its predecessor "+before.Name)
	case n > 1 && *pred != before:
		r.find(WrongPredecessor, name, "has predecessor "+named(*pred, before)+", not "+named(before, *pred))
	}
	full := min(r.Successors, n-1)
	for k, s := range m.Successors {
		if k >= full {
			r.find(WrongSuccessor, name, fmt.Sprintf("has a successor %d, %s, in a ring of %d", k+1, s.Name, n))
			return
		}
		if want := r.Members[(i+1+k)%n].Server; s != want {
			r.find(WrongSuccessor, name, fmt.Sprintf("has successor %d %s, not %s", k+1, named(s, want), named(want, s)))
			return
		}
	}
	// Legacy members have their own ways with the end of a list.
	if have := len(m.Successors); have < full && (m.Incarnation != 0 || have == 0) {
		r.find(ShortList, name, fmt.Sprintf("knows %d of the %d members after it", have, full))
	}
}

// named is a server's name, with its address if the other has the same name.
func named(s, other concord.Server) string {
	if s.Name == other.Name {
		return s.Name + " at " + s.Address
	}
	return s.Name
}

func (r *Report) find(name, member, says string) {
	r.Findings = append(r.Findings, Finding{Name: name, Member: member, Says: says})
}

// state is what a member says of itself, in the words of the rules. Servers have no
// incarnation, so nobody has one there.
func state(m concord.Member) protocol.State {
	s := protocol.State{Self: member(m.Server), Phase: protocol.Joined}
	if m.Predecessor != nil {
		s.Pred = member(*m.Predecessor)
	}
	for _, x := range m.Successors {
		s.Succ = append(s.Succ, member(x))
	}
	return s
}

func member(s concord.Server) ring.Member {
	return ring.Member{ID: s.Id, Name: s.Name, Addr: s.Address}
}

// Share is how much of the circle of 2^bits identifiers a range has.
func Share(r concord.Range, bits uint) float64 { return share(r.Start, r.End, bits) }

// share is how much of the circle of 2^bits identifiers lies on (after, to].
func share(after, to uint64, bits uint) float64 {
	if after == to {
		return 1
	}
	mask := ^uint64(0) >> (64 - bits)
	return float64((to-after)&mask) / (float64(mask) + 1)
}
