package protocol

import (
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/voting"
)

// elected is a member that claims (1, 5], whose process and that of its head have to vote for it.
func elected() (m *Machine, head ring.Member) {
	m, head = lessee()
	cfg := m.cfg
	cfg.MinMembers, cfg.Votes = 2, nil
	return Restore(m.self, cfg, 1, Snapshot{Pred: m.pred, Succ: m.succ, Epoch: 1}), head
}

// askedFor are the questions to the head among effects, of which one asks for votes on these
// claims.
func askedFor(t *testing.T, effects []Effect, head ring.Member, want ...ring.Arc) (calls []uint64) {
	t.Helper()
	claimed := false
	for _, e := range effects {
		e, ok := e.(Ask)
		if !ok || e.To != head {
			continue
		}
		calls = append(calls, e.Call)
		var arcs []ring.Arc
		for _, c := range e.Request.Lease.Claims {
			arcs = append(arcs, c.Arc)
		}
		claimed = claimed || slices.Equal(arcs, want)
	}
	if !claimed {
		t.Fatalf("the head is not asked for votes on %v: %v", want, effects)
	}
	return calls
}

// answered has all questions to the head answered at that time, and is what is shown then.
func answered(m *Machine, now time.Duration, head ring.Member, calls []uint64, votes ...voting.Vote) (v *View) {
	given := Lease{Length: lease, Granted: true, Linked: true, Votes: votes}
	for _, call := range calls {
		st := State{Self: head, Phase: Joined, Pred: m.self, Lease: given}
		if x := shown(m.Step(now, Answer{Call: call, Reply: Reply{State: st}})); x != nil {
			v = x
		}
	}
	return v
}

// shown is what is published last among effects, nil if nothing is.
func shown(effects []Effect) (v *View) {
	for _, e := range effects {
		if e, ok := e.(Publish); ok {
			v = e.View
		}
	}
	return v
}

func TestVotesCountFromTheQuestion(t *testing.T) {
	m, head := elected()
	arc := ring.Arc{After: 1, To: 5}
	calls := askedFor(t, m.Step(2*time.Second, Tick{}), head, arc)
	v := answered(m, 5*time.Second, head, calls, voting.Vote{Given: true, After: 1})
	if v == nil || !v.Holds || v.Held != arc || v.Until != 2*time.Second+lease/10*9 {
		t.Fatalf("with two votes it shows %+v", v)
	}
	calls = askedFor(t, m.Step(10*time.Second, Tick{}), head, arc)
	if v = answered(m, 10*time.Second, head, calls, voting.Vote{}); v == nil || !v.Holds || v.Until != 2*time.Second+lease/10*9 {
		t.Errorf("without the vote of its head it shows %+v", v)
	}
	if v = shown(m.Step(11*time.Second, Tick{})); v == nil || v.Holds {
		t.Errorf("when the vote has run out it shows %+v", v)
	}
}

// A vote for a part is of use, and a member that leaves claims nothing, and says so.
func TestPartsAndLeaversAreVotedOn(t *testing.T) {
	m, head := elected()
	calls := askedFor(t, m.Step(2*time.Second, Tick{}), head, ring.Arc{After: 1, To: 5})
	v := answered(m, 3*time.Second, head, calls, voting.Vote{Given: true, After: 3})
	if part := (ring.Arc{After: 3, To: 5}); v == nil || !v.Holds || v.Held != part {
		t.Fatalf("with a vote for a part it shows %+v", v)
	}
	held := m.State().Lease.Stake
	m.Step(4*time.Second, Depart{})
	if left := m.State().Lease.Stake; left.Has || left.Number <= held.Number || !held.Has {
		t.Errorf("a leaver claims %+v, after %+v", left, held)
	}
}

// A process votes for those who ask, and only by its own length of leases.
func TestMembersVote(t *testing.T) {
	m, head := elected()
	ask := func(now, length time.Duration, from ring.Member, claims ...voting.Stake) []voting.Vote {
		for _, e := range m.Step(now, Asked{Token: 1, From: from, Request: Request{Kind: AskRing, Lease: Asks{Length: length, Claims: claims}}}) {
			if e, ok := e.(Respond); ok {
				return e.Reply.State.Lease.Votes
			}
		}
		return nil
	}
	m.Step(time.Second, Tick{}) // it has votes of its own for (1, 5]
	claim := voting.Stake{Who: head.Instance(), Arc: ring.Arc{After: 5, To: 9}, Has: true, Number: 1}
	over := voting.Stake{Who: ring.Instance{ID: 7, Incarnation: 1}, Arc: ring.Arc{After: 3, To: 7}, Has: true, Number: 2}
	if got := ask(2*time.Second, lease, head, claim); len(got) != 1 || got[0] != (voting.Vote{Given: true, After: 5}) {
		t.Errorf("it votes %+v", got)
	}
	if got := ask(2*time.Second, lease, head, over); len(got) != 1 || got[0].Given {
		t.Errorf("on a part of what it has voted for it votes %+v", got)
	}
	if got := ask(2*time.Second, lease/2, head, claim); got != nil {
		t.Errorf("by another length it votes %+v", got)
	}
	if got := ask(2*time.Second, lease, ring.Member{}, claim); got != nil {
		t.Errorf("for a stranger it votes %+v", got)
	}
}

// Another member of the process may ask between two looks at whether it is due. Then the answer
// to a question that was to ask for votes says nothing.
func TestQuestionForNoVotes(t *testing.T) {
	m, head := elected()
	m.Step(time.Second, Tick{})
	before := len(m.lease.polls)
	m.lease.bare(m.calls + 1)
	m.calls++
	if len(m.lease.polls) != before+1 {
		t.Fatalf("%d questions are noted, after %d", len(m.lease.polls), before)
	}
	was := m.lease.until
	st := State{Self: head, Phase: Joined, Pred: m.self, Lease: Lease{Length: lease, Votes: []voting.Vote{{Given: true}}}}
	if !m.polled(Answer{Call: m.calls, Reply: Reply{State: st}}) || m.lease.until != was || len(m.lease.polls) != before {
		t.Errorf("its answer has a lease last until %v, before %v, and %d questions are noted", m.lease.until, was, len(m.lease.polls))
	}
}

// A member whose incarnation rises while it is in the ring, since the clock went back before it
// started, is voted for again: by its head, which votes as its process and that of the head would.
func TestMemberThatOutgrowsIsVotedFor(t *testing.T) {
	m, head := elected()
	votes := m.cfg.NewVotes(head.Name, -lease, 0)
	// step has what the head is asked then answered, and is what is shown in the end.
	step := func(now time.Duration, ev Event) (v *View) {
		effects := slices.Clone(m.Step(now, ev))
		v = shown(effects)
		for len(effects) > 0 {
			e, ok := effects[0].(Ask)
			effects = effects[1:]
			if !ok || e.To != head || e.Request.Kind != AskRing {
				continue
			}
			given := votes.Vote(e.Request.Lease.Claims, e.Request.Lease.Words, now)
			st := State{Self: head, Phase: Joined, Pred: m.self, Lease: Lease{Length: lease, Granted: true, Linked: true, Votes: given}}
			more := slices.Clone(m.Step(now, Answer{Call: e.Call, Reply: Reply{State: st}}))
			if x := shown(more); x != nil {
				v = x
			}
			effects = append(effects, more...)
		}
		return v
	}
	if v := step(2*time.Second, Tick{}); v == nil || !v.Holds {
		t.Fatalf("with two votes it shows %+v", v)
	}
	later := m.self
	later.Incarnation = 7
	refused := Reply{State: State{Self: head, Phase: Joined, Pred: later}, Refusal: Refusal{Reason: Outdated, Other: later}}
	if v := step(3*time.Second, Answer{Reply: refused}); v == nil || v.Self.Incarnation != 8 || v.Holds {
		t.Fatalf("refused for a later incarnation it shows %+v", v)
	}
	arc := ring.Arc{After: 1, To: 5}
	var v *View
	for now := 4 * time.Second; now <= 2*lease; now += 2 * time.Second {
		if x := step(now, Tick{}); x != nil {
			v = x
		}
	}
	if v == nil || v.Self.Incarnation != 8 || !v.Holds || v.Held != arc || v.Until <= 2*lease {
		t.Errorf("some rounds later it shows %+v", v)
	}
}
