package protocol

import (
	"bytes"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func named(id uint64, name string, incarnation uint64) ring.Member {
	return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: incarnation}
}

func machineOf(self ring.Member) *Machine {
	m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	m.Step(0, Create{})
	return m
}

// The head takes a member for its predecessor that this one finds to be
// somebody else, for ever. That must cost a few questions a round, not as many
// as the network carries.
func TestDisagreementWithTheHeadIsNotALoop(t *testing.T) {
	self, head, p, other := named(100, "m", 1), named(300, "h", 1), named(200, "p", 1), named(900, "q", 9)
	m := machineOf(self)
	asks := 0
	var queue []Effect
	step := func(ev Event) { queue = append(queue, m.Step(0, ev)...) }
	carry := func() {
		for len(queue) > 0 && asks < 100 {
			e := queue[0]
			queue = queue[1:]
			q, ok := e.(Ask)
			if !ok {
				continue
			}
			asks++
			state := State{Self: head, Phase: Joined, Pred: p, Succ: []ring.Member{self}}
			a := Answer{Call: q.Call, Reply: Reply{State: state, Verdict: Found}}
			switch {
			case q.To.Addr == p.Addr:
				a = Answer{Call: q.Call, Failure: &Failure{Kind: WrongMember, By: other}}
			case q.Request.Kind == Notify:
				a.Reply.Refusal.Reason = Nearer
			}
			step(a)
		}
	}
	step(Asked{Token: 1, From: head, Request: Request{Kind: Introduce, Subject: head}})
	carry()
	for range 3 {
		before := asks
		step(Tick{})
		carry()
		if n := asks - before; n > 8 {
			t.Errorf("%d questions in one round", n)
		}
	}
	if m.head() != head {
		t.Errorf("the head is %v, want %v", m.head(), head)
	}
}

func TestSilenceOfAFormerIncarnationIsNotThatOfTheNext(t *testing.T) {
	m := machineOf(named(100, "m", 1))
	m.setSucc([]ring.Member{named(300, "h", 1)})
	former, next := named(900, "x", 1), named(900, "x", 2)
	m.record(fact{kind: mayBeElsewhere, who: next})
	m.Step(0, Lost{Addr: next.Addr, Gone: true, Who: former})
	if a := m.acq.find(next); a == nil || !a.responsive() || !a.pending {
		t.Errorf("%+v, want it pending and not silent", a)
	}
	m.Step(0, Lost{Addr: next.Addr, Gone: true})
	if a := m.acq.find(next); a == nil || a.responsive() {
		t.Errorf("%+v, want it silent: nobody listens there", a)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	enc := &Encoder{Member: func(x ring.Member) byte { return byte(x.ID / 100) }, Token: func(t uint64) byte { return byte(t) }}
	m := machineOf(named(100, "m", 1))
	var calls []uint64
	for _, e := range m.Step(0, Asked{Token: 1, From: named(900, "x", 2), Request: Request{Kind: Notify}}) {
		if a, ok := e.(Ask); ok {
			calls = append(calls, a.Call)
		}
	}
	for i := range m.rects {
		calls = append(calls, m.rects[i].call)
	}
	c := m.Clone()
	before := c.Encode(nil, enc)
	for _, call := range calls {
		m.Step(0, Answer{Call: call, Failure: &Failure{Kind: TimedOut}})
	}
	m.Step(0, Tick{})
	m.Step(0, Depart{})
	if after := c.Encode(nil, enc); !bytes.Equal(before, after) {
		t.Errorf("the clone has changed from %v to %v", before, after)
	}
}

func TestTheDeadAreNotKeptByWhatOthersSay(t *testing.T) {
	m := machineOf(named(100, "m", 1))
	dead, head := named(200, "d", 1), named(300, "h", 1)
	m.setSucc([]ring.Member{head})
	m.record(fact{kind: wasSilent, who: dead})
	next := m.acq.find(dead).next
	m.Step(0, Asked{Token: 1, From: named(800, "o", 1), Request: Request{Kind: Place, Subject: dead}})
	if a := m.acq.find(dead); a.responsive() || a.next != next {
		t.Errorf("%+v: a third member's placement counts as a sign of life", a)
	}
}

// A joiner's successor dies before it could be notified. What the member before
// has said of the members behind it is old by then: it is asked again, or the
// joiner would skip whoever has joined there since. (The model checker's trace
// of five members: two join into one gap, the successor of both fails, and the
// second skips the first, so that two principals are left of three.)
func TestJoinerWhoseSuccessorDiedLooksAgain(t *testing.T) {
	before, self := named(100, "c", 1), named(200, "d", 1)
	between, dead, far := named(300, "e", 1), named(400, "a", 1), named(500, "b", 1)
	m := New(self, Config{Bits: 64, Successors: 2, Interval: time.Second}, 1)
	var open Ask
	step := func(ev Event) {
		open = Ask{}
		for _, e := range m.Step(0, ev) {
			if q, ok := e.(Ask); ok {
				open = q
			}
		}
	}
	expect := func(kind RequestKind, to ring.Member) {
		t.Helper()
		if open.Request.Kind != kind || open.To.Addr != to.Addr {
			t.Fatalf("asks %s for %s, want %s of %s", open.To.Addr, open.Request.Kind, kind, to.Name)
		}
	}
	listing := func(list ...ring.Member) Answer {
		return Answer{Call: open.Call, Reply: Reply{Verdict: Taken, State: State{Self: before, Phase: Joined, Succ: list}}}
	}

	step(Join{Via: []string{before.Addr}})
	expect(Seek, before)
	step(listing(dead, far))
	expect(Notify, dead)
	step(Answer{Call: open.Call, Failure: &Failure{Kind: Refused}})
	expect(Seek, before)
	step(listing(between, dead))
	expect(Notify, between)
	step(Answer{Call: open.Call, Failure: &Failure{Kind: Refused}})
	expect(Seek, before)
	step(listing(between, dead, far)) // it has not noticed yet
	expect(Notify, far)
}
