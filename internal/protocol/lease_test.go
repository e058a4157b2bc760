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
	given.Granted = true
	return answerAt(t, m, head, asked, now, given)
}

// answerAt has the head's answer arrive that was asked for at that time.
func answerAt(t *testing.T, m *Machine, head ring.Member, asked, now time.Duration, given Lease) *View {
	t.Helper()
	var call uint64
	for _, e := range m.Step(asked, Tick{}) {
		if e, ok := e.(Ask); ok && e.To == head && e.Request.Kind == AskRing {
			if call = e.Call; e.Request.Lease.Length != lease || !e.Request.Lease.Has || e.Request.Lease.Arc != (ring.Arc{After: m.pred.ID, To: 5}) {
				t.Fatalf("it asks for %+v", e.Request.Lease)
			}
		}
	}
	given.Length, given.Chain = lease, []time.Duration{0}
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

// What a member takes over while it has no lease may be held by the one that had it for as
// long as if it had a lease, however long before its head has named it.
func TestWhatIsTakenOverWithoutALeaseIsWaitedFor(t *testing.T) {
	const named, took = 20 * time.Second, 26 * time.Second
	m, head := lessee()
	answerAt(t, m, head, named, named, Lease{Linked: true}) // and not granted anything yet
	m.now = took
	m.setPred(ring.Member{ID: 13, Name: "before", Addr: "before:1", Incarnation: 1}, CausePredecessorFailed)
	for now := took + time.Second; now < took+lease+2*time.Second; now += time.Second {
		v := grantAt(t, m, head, now, now, Lease{Given: true, After: 1})
		all := v.Holds && v.Held == (ring.Arc{After: 13, To: 5})
		if want := now >= took+lease; all != want || !v.Holds {
			t.Errorf("%v after it took over, it holds %v, %v", now-took, v.Held, v.Holds)
		}
	}
}

// A member that restarts in its place is not granted what its past may own, but those before
// it may rely on it, unless its past may own more.
func TestRestartedMemberIsALink(t *testing.T) {
	for what, tc := range map[string]struct {
		past   uint64 // the past was granted what comes after
		linked bool
	}{"the same": {13, true}, "less": {15, true}, "more": {11, false}} {
		m, _ := lessee()
		past, now := m.pred, m.pred
		now.Incarnation++
		m.Step(time.Second, Tick{})
		if granted, _ := m.grants(past, Asks{Length: lease, Arc: ring.Arc{After: tc.past, To: past.ID}, Has: true}); !granted {
			t.Fatalf("%s: the past is not granted anything", what)
		}
		m.pred = now
		granted, linked := m.grants(now, Asks{Length: lease, Arc: ring.Arc{After: 13, To: now.ID}, Has: true})
		if granted || linked != tc.linked {
			t.Errorf("%s: granted %v, a link %v", what, granted, linked)
		}
	}
}

// While another of its name asks for a grant in its place, at another address, a predecessor
// is granted nothing.
func TestNobodyIsGrantedAContestedPlace(t *testing.T) {
	for what, tc := range map[string]struct {
		id      uint64
		name    string
		addr    string
		after   time.Duration
		granted bool
	}{
		"another process": {1, "pred", "twin:1", 2 * interval, false},
		"some rounds ago": {1, "pred", "twin:1", contestedRounds * 10 * time.Second, true},
		"its own past":    {1, "pred", "pred:1", interval, true},
		"another place":   {2, "pred", "twin:1", interval, true},
		"of another name": {1, "other", "twin:1", interval, true},
	} {
		m, _ := lessee()
		m.Step(time.Second, Tick{})
		rival := ring.Member{ID: tc.id, Name: tc.name, Addr: tc.addr, Incarnation: 7}
		if granted, linked := m.grants(rival, Asks{Length: lease}); granted || linked {
			t.Errorf("%s: who is not the predecessor is granted something", what)
		}
		m.now += tc.after
		granted, linked := m.grants(m.pred, Asks{Length: lease, Arc: ring.Arc{After: 13, To: m.pred.ID}, Has: true})
		if granted != tc.granted || linked != tc.granted {
			t.Errorf("%s: granted %v, a link %v", what, granted, linked)
		}
	}
}

// A joiner does not wait anew for what its head has waited for.
func TestJoinerGoesOnWithTheWaitOfItsHead(t *testing.T) {
	for what, tc := range map[string]struct {
		from uint64 // of what the head waits for
		all  time.Duration
	}{"all of its arc": {1, 23 * time.Second}, "a part": {3, 20*time.Second + lease}} {
		m, head := lessee()
		m.ownsNothing()
		waits := Lease{Waits: true, From: tc.from, Wait: 2 * time.Second}
		for now := 20 * time.Second; now < 35*time.Second; now += time.Second {
			v := grantAt(t, m, head, now, now, waits)
			if waits.Wait > 0 {
				waits.Wait -= time.Second
			}
			if all := v.Holds && v.Held == (ring.Arc{After: 1, To: 5}); all != (now >= tc.all) {
				t.Errorf("%s: at %v it holds %v, %v", what, now, v.Held, v.Holds)
			}
		}
	}
}

// What a head has granted others of what comes before a member, that grants nobody either.
func TestNobodyIsGrantedWhatTheHeadHasGrantedOthers(t *testing.T) {
	m, head := lessee()
	other := ring.Instance{ID: 14, Incarnation: 3}
	grantAt(t, m, head, time.Second, time.Second, Lease{Others: []Granted{{To: other, Arc: ring.Arc{After: 11, To: 14}}}})
	ask := Asks{Length: lease, Arc: ring.Arc{After: 12, To: m.pred.ID}, Has: true}
	if granted, linked := m.grants(m.pred, ask); granted || linked {
		t.Errorf("granted %v, a link %v, of what another may own", granted, linked)
	}
	grantAt(t, m, head, time.Second+lease, time.Second+lease, Lease{})
	if granted, _ := m.grants(m.pred, ask); !granted {
		t.Error("not granted when the other cannot own it any more")
	}
}

// A member in whose arc one of its own list stands has a wrong predecessor, and owns nothing
// by a grant.
func TestNoGrantOfAnArcInWhichASuccessorStands(t *testing.T) {
	m, head := lessee()
	between := ring.Member{ID: 3, Name: "between", Addr: "between:1", Incarnation: 1}
	m.cfg.Successors = 2
	m.setSucc([]ring.Member{head, between})
	if !m.overlooks() {
		t.Fatal("3 stands in (1, 5], and is overlooked")
	}
	before := m.lease.until
	m.granted(State{Self: head, Phase: Joined, Pred: m.self, Lease: Lease{Length: lease, Granted: true, Chain: []time.Duration{0, 0, 0}}}, m.now+time.Second)
	if m.lease.until != before {
		t.Errorf("the lease is longer: %v, it was %v", m.lease.until, before)
	}
	m.setSucc([]ring.Member{head})
	if m.overlooks() {
		t.Error("nobody stands in (1, 5]")
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
	if granted, linked := m.grants(first, Asks{Length: lease / 2}); granted || linked {
		t.Error("granted by another length")
	}
}

// A lease begins by a chain of a link more than a list names processes, and counts from the oldest.
func TestChainIsLongerThanTheList(t *testing.T) {
	m, head := lessee()
	m.cfg.Successors = 4
	chain := func(n int) Lease {
		return Lease{Length: lease, Granted: true, Linked: true, Chain: make([]time.Duration, n)}
	}
	grant := func(now time.Duration, given Lease) {
		m.now = now
		m.granted(State{Self: head, Phase: Joined, Pred: m.self, Lease: given}, now)
	}
	m.lease = leasing{}
	for n := range 4 {
		if grant(5*time.Second, chain(n)); m.lease.grant != 0 || m.lease.named != 0 {
			t.Errorf("a chain of %d links, of a list of 4, is a lease until %v", n+1, m.lease.grant)
		}
	}
	if grant(5*time.Second, chain(4)); m.lease.grant != 5*time.Second+m.leased() || !m.lease.holds || m.lease.rest != m.lease.named+lease {
		t.Errorf("a chain of 5 links is a lease until %v", m.lease.grant)
	}
	late := chain(4)
	late.Chain[3] = 2 * time.Second
	if grant(8*time.Second, late); m.lease.oldest != surely(6*time.Second, 8*time.Second) {
		t.Errorf("the chain counts from %v, and its last link is of 6 s", m.lease.oldest)
	}
	m.lease.chain = make([]time.Duration, MaxList+2)
	if n := len(m.saysLease().Chain); n != MaxList {
		t.Errorf("it says %d links, and others take %d", n, MaxList)
	}
}
