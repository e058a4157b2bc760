package protocol

import (
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func mixed(id uint64, name string, incarnation uint64, c ring.Choice) ring.Member {
	m := ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: incarnation, Choice: c}
	if c.Several() {
		m.Home = id + 1
	}
	return m
}

// A request of a legacy member is refused by one of several identifiers, and by a member
// that relies on one; and the other way round.
func TestLegacyMembersAndSeveralIdentifiersRefuseEachOther(t *testing.T) {
	legacy, one, several := mixed(100, "legacy", 0, 0), mixed(200, "one", 5, 0), mixed(300, "several", 5, ring.Chosen(1, 2))
	self := mixed(400, "self", 5, 0)
	ask := func(m *Machine, from ring.Member) *Failure {
		for _, e := range m.Step(time.Second, Asked{Token: 1, From: from, Request: Request{Kind: Notify}}) {
			if r, ok := e.(Respond); ok {
				return r.Failure
			}
		}
		return nil
	}
	for _, c := range []struct {
		self, head, from ring.Member
		refused          bool
	}{
		{self: self, head: one, from: legacy},
		{self: self, head: legacy, from: one},
		{self: self, head: one, from: several},
		{self: self, head: several, from: legacy, refused: true},
		{self: self, head: legacy, from: several, refused: true},
		{self: mixed(400, "self", 5, ring.Chosen(0, 0)), head: one, from: legacy, refused: true},
		{self: mixed(400, "self", 5, ring.Chosen(0, 0)), head: one, from: several},
	} {
		m := Restore(c.self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1, Snapshot{Pred: c.head, Succ: []ring.Member{c.head}})
		f := ask(m, c.from)
		if got := f != nil && f.Kind == WrongRing; got != c.refused {
			t.Errorf("%s with %s refuses %s: %v", c.self.Name, c.head.Name, c.from.Name, f)
		}
		if c.refused && (len(f.Differing) != 1 || f.Differing[0] != "VirtualNodes" || !strings.Contains(f.Error(), "existing library")) {
			t.Errorf("not in words: %v", f)
		}
	}
}

// A joiner with several identifiers enters no ring next to a legacy member.
func TestSeveralIdentifiersDoNotJoinLegacyMembers(t *testing.T) {
	m := New(mixed(400, "self", 5, ring.Chosen(0, 0)), Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	var call uint64
	for _, e := range m.Step(0, Join{Via: []string{"one:1"}}) {
		if a, ok := e.(Ask); ok {
			call = a.Call
		}
	}
	one, legacy := mixed(200, "one", 5, 0), mixed(100, "legacy", 0, 0)
	answer := Answer{Call: call, Reply: Reply{Verdict: Taken, State: State{Self: one, Phase: Joined, Pred: legacy, Succ: []ring.Member{legacy}}}}
	var done *JoinDone
	for _, e := range m.Step(time.Millisecond, answer) {
		if d, ok := e.(JoinDone); ok {
			done = &d
		}
	}
	if done == nil || len(done.Causes) != 1 || !done.Causes[0].Permanent() || !strings.Contains(done.Causes[0].Failure.Error(), "one names legacy") {
		t.Errorf("the join ended with %+v", done)
	}
}
