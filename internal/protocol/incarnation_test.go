package protocol

import (
	"math"
	"reflect"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// A message names somebody, the member itself among others, with an incarnation that
// nothing can come after. A member that took it over, plus one, would be a
// legacy member.
func TestImpossibleIncarnationsAreRefusedAndChangeNothing(t *testing.T) {
	for _, n := range []uint64{math.MaxUint64, math.MaxUint64 - 1, ring.MaxIncarnation + 1} {
		self, other := named(100, "m", 7), named(900, "x", 5)
		rival, third := self, named(500, "y", n)
		rival.Incarnation = n
		elsewhere := rival
		elsewhere.Addr = "elsewhere:1"
		for _, bad := range []ring.Member{rival, elsewhere, third} {
			for what, x := range map[string]struct {
				from ring.Member
				req  Request
			}{
				"sender":               {bad, Request{Kind: Notify}},
				"introduced":           {other, Request{Kind: Introduce, Subject: bad}},
				"introduced by itself": {bad, Request{Kind: Introduce, Subject: bad}},
				"to be placed":         {other, Request{Kind: Place, Subject: bad}},
				"sought":               {other, Request{Kind: Seek, Subject: bad}},
				"let found":            {other, Request{Kind: Look, Subject: bad}},
				"leaver's predecessor": {other, Request{Kind: Leave, Pred: bad}},
				"leaver's successor":   {other, Request{Kind: Leave, Succ: []ring.Member{bad}}},
			} {
				m := machineOf(self)
				before, known := m.State(), m.Snapshot()
				out := m.Step(0, Asked{Token: 1, From: x.from, Request: x.req})
				if len(out) != 1 || out[0].(Respond).Failure == nil || out[0].(Respond).Failure.Kind != Invalid {
					t.Errorf("%s of incarnation %d: %v", what, n, out)
				}
				if !reflect.DeepEqual(m.State(), before) || !reflect.DeepEqual(m.Snapshot(), known) {
					t.Errorf("%s of incarnation %d has changed the member: %v", what, n, m.State())
				}
			}
			answer := Answer{Reply: Reply{State: State{Self: other, Phase: Joined, Replaced: Replaced{Who: self.Instance(), By: bad, Number: 1}}}}
			if got := answer.believable(); got.Failure == nil || got.Failure.Kind != Invalid {
				t.Errorf("an answer that says that incarnation %d has replaced the member: %v", n, got)
			}
			m := machineOf(self)
			known := m.Snapshot()
			m.Step(0, Learned{Members: []ring.Member{bad}})
			if !reflect.DeepEqual(m.Snapshot(), known) {
				t.Errorf("incarnation %d was learned", n)
			}
		}
		// A seed says that the joiner is in its ring already.
		for what, st := range map[string]State{
			"as itself":        {Self: rival, Phase: Joined},
			"as its successor": {Self: other, Phase: Joined, Succ: []ring.Member{rival}},
			"elsewhere":        {Self: other, Phase: Joined, Succ: []ring.Member{elsewhere}},
		} {
			m := New(self, Config{Bits: 64, Successors: 3, Interval: interval}, 1)
			m.Step(0, Join{Via: []string{"seed:1"}})
			out := m.Step(0, Answer{Call: m.calls, Reply: Reply{State: st, Verdict: Found}})
			if done, ok := out[len(out)-1].(JoinDone); !ok || len(done.Causes) != 1 || done.Causes[0].Failure.Kind != Invalid || m.Self() != self {
				t.Errorf("a seed names the joiner %s with incarnation %d: %v, now %v", what, n, out, m.Self())
			}
		}
	}
}

// The highest possible incarnation can be outlived.
func TestHighestIncarnationDoesNotWrap(t *testing.T) {
	self := named(100, "m", 7)
	past := self
	past.Incarnation = ring.MaxIncarnation
	m := machineOf(self)
	m.Step(0, Asked{Token: 1, From: named(900, "x", 5), Request: Request{Kind: Introduce, Subject: past}})
	if got := m.Self(); !got.Supersedes(past) || got.Legacy() {
		t.Errorf("%v of incarnation %d comes after %d", got, got.Incarnation, past.Incarnation)
	}
}
