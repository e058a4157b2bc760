package protocol

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

const lease = 10 * time.Second

// lessee is a member that owns (1, 5] by a lease that its head, at 9, grants.
func lessee() (m *Machine, head ring.Member) {
	at := func(id uint64, name string) ring.Member {
		return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: 1}
	}
	head = at(9, "head")
	m = Restore(at(5, "self"), Config{Bits: 4, Successors: 1, Interval: 10 * time.Second, Lease: lease}, 1,
		Snapshot{Pred: at(1, "pred"), Succ: []ring.Member{head}, Epoch: 1})
	return m, head
}

// grantAt has the head's grant arrive that was asked for at that time.
func grantAt(t *testing.T, m *Machine, head ring.Member, asked, now time.Duration, given Lease) *View {
	t.Helper()
	var call uint64
	for _, e := range m.Step(asked, Tick{}) {
		if e, ok := e.(Ask); ok && e.To == head && e.Request.Kind == AskRing {
			if call = e.Call; e.Request.Lease.Length != lease || !e.Request.Lease.Has || e.Request.Lease.Arc != (ring.Arc{After: m.pred.ID, To: 5}) {
				t.Fatalf("it asks for %+v", e.Request.Lease)
			}
		}
	}
	given.Length, given.Granted = lease, true
	var v *View
	for _, e := range m.Step(now, Answer{Call: call, Reply: Reply{State: State{Self: head, Phase: Joined, Pred: m.self, Succ: []ring.Member{m.self}, Lease: given}}}) {
		if e, ok := e.(Publish); ok {
			v = e.View
		}
	}
	if v == nil {
		t.Fatal("the grant changes nothing")
	}
	return v
}

func TestLeaseCountsFromTheQuestion(t *testing.T) {
	m, head := lessee()
	v := grantAt(t, m, head, 2*time.Second, 5*time.Second, Lease{})
	if want := 2*time.Second + lease/10*9; v.Until != want {
		t.Errorf("it holds until %v, want %v", v.Until, want)
	}
	if !v.Owns(5, 0, v.Until-1, interval) || v.Owns(5, 0, v.Until, interval) {
		t.Error("the lease does not end when it ends")
	}
}

func TestWhoseLeaseHasRunOutHoldsWhatItIsGivenAndWaitsForTheRest(t *testing.T) {
	for what, tc := range map[string]struct {
		given Lease
		held  ring.Arc // at once
		holds bool
	}{
		"nothing":            {Lease{}, ring.Arc{}, false},
		"a part":             {Lease{Given: true, After: 3}, ring.Arc{After: 3, To: 5}, true},
		"more than it wants": {Lease{Given: true, After: 12}, ring.Arc{After: 1, To: 5}, true},
	} {
		m, head := lessee()
		v := grantAt(t, m, head, 20*time.Second, 20*time.Second, tc.given)
		if v.Holds != tc.holds || v.Holds && v.Held != tc.held {
			t.Errorf("%s: it holds %v, %v", what, v.Held, v.Holds)
		}
		for now := 21 * time.Second; now < 35*time.Second; now += time.Second {
			v = grantAt(t, m, head, now, now, Lease{})
			if all := v.Holds && v.Held == (ring.Arc{After: 1, To: 5}); all != (now >= 20*time.Second+lease || tc.held.After == 1 && tc.holds) {
				t.Errorf("%s: %v after its first grant it holds %v, %v", what, now-20*time.Second, v.Held, v.Holds)
			}
		}
	}
}

func TestGrantIsOfAnArcThatNobodyElseWasGranted(t *testing.T) {
	m, _ := lessee()
	first, other := m.pred, m.pred
	other.Incarnation++
	ask := func(who ring.Member, after uint64, now time.Duration) bool {
		m.Step(now, Tick{})
		m.pred = who
		for _, e := range m.Step(now, Asked{Token: 1, From: who, Request: Request{Kind: AskRing, Lease: Asks{Length: lease, Arc: ring.Arc{After: after, To: who.ID}, Has: true}}}) {
			if e, ok := e.(Respond); ok {
				return e.Reply.State.Lease.Granted
			}
		}
		t.Fatal("no answer")
		return false
	}
	before := ring.Member{ID: 13, Name: "before", Addr: "before:1", Incarnation: 1}
	for _, tc := range []struct {
		who     ring.Member
		after   uint64
		now     time.Duration
		granted bool
	}{
		{first, 13, time.Second, true},
		{first, 13, 2 * time.Second, true},
		{other, 13, 3 * time.Second, false}, // the same place
		{before, 11, 4 * time.Second, true}, // beside it
		{other, 13, 2*time.Second + lease - 1, false},
		{other, 13, 2*time.Second + lease, true},
		{before, 15, 2*time.Second + lease, false}, // of which the other has a part
	} {
		if got := ask(tc.who, tc.after, tc.now); got != tc.granted {
			t.Errorf("%s asks for what comes after %d at %v: granted %v", tc.who.Name, tc.after, tc.now, got)
		}
	}
	if m.grants(first, Asks{Length: lease / 2}) {
		t.Error("granted by another length")
	}
}
