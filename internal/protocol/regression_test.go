package protocol

import (
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Found by the simulator: a member restarts with a clock that went back, and
// those whom its join asks have forgotten its past, which others remember.
func TestRestartWithAClockThatWentBackUnnoticedByTheJoin(t *testing.T) {
	w := ringOf(t, 3, 3, 6)
	old := w.order[3]
	old.up = false
	self := old.m.self
	w.ideal(20*interval, 5)
	// All but one have forgotten the past.
	witness := w.order[5]
	for _, h := range w.order {
		if h != witness {
			h.m.record(fact{kind: hasLeft, who: self})
		}
	}
	if witness.m.acq.find(self) == nil {
		t.Fatal("nobody remembers the past")
	}
	again := w.add(self.Name, self.ID, self.Addr, self.Incarnation-500)
	w.rejoin(again, w.order[0].addr)
	w.until(10*interval, "joined", func() bool { return again.joinDone != nil && again.joinDone.Causes == nil })
	// By now the witness has heard of it, and would refuse its Notify.
	w.step(again, Asked{From: w.order[0].m.self, Request: Request{Kind: Introduce, Subject: self}})
	w.ideal(10*interval, 6)
	// Whoever refuses it all the same has it go above its past.
	notify := again.m.ask(witness.m.self, Request{Kind: Notify}, 0, true)
	w.step(again, Answer{Call: notify, Reply: Reply{State: witness.m.State(), Refusal: Refusal{Reason: Outdated, Other: self}}})
	if got := again.m.self.Incarnation; got <= self.Incarnation {
		t.Errorf("incarnation %d after one of %d", got, self.Incarnation)
	}
	w.ideal(10*interval, 6)
}

// Found by the simulator: a member hung, its name was started elsewhere, it
// woke, and its neighbours took it back before they had met the later incarnation. They
// refused that one, and the earlier never heard of it. The one that the neighbours have
// stays, and the other ends.
func TestLaterIncarnationThatNoNeighbourHasMetYields(t *testing.T) {
	w := ringOf(t, 3, 3, 6)
	past := w.order[3].m.self
	again := w.add(past.Name, past.ID, "elsewhere:1", past.Incarnation+1)
	at := w.order[3].m.Snapshot()
	again.place(slices.Clone(at.Succ), ring.Member{})
	w.step(again, Tick{})
	w.until(40*interval, "superseded", func() bool { return again.m.phase == Superseded })
	w.ideal(10*interval, 6)
	if got := w.order[3].m; got.phase != Joined || got.self.Incarnation <= past.Incarnation+1 {
		t.Errorf("the one in its place is %v, with incarnation %d after a rival of %d", got.phase, got.self.Incarnation, past.Incarnation+1)
	}
}

// Found by the simulator: the first member crashes and is created anew, as its
// script does. The others remember it by its past only, or not at all, but they
// were given its address when they joined.
func TestRingFoundedAnewAtAKnownAddressIsFound(t *testing.T) {
	w := ringOf(t, 3, 3, 6)
	first := w.order[0]
	for _, h := range w.order[1:] {
		h.m.setSeeds([]string{first.addr})
	}
	first.up = false
	self := first.m.self
	w.ideal(20*interval, 5)
	for _, h := range w.order[1:] {
		h.m.record(fact{kind: hasLeft, who: self})
	}
	again := w.add(self.Name, self.ID, self.Addr, self.Incarnation+1)
	w.step(again, Create{})
	w.ideal(probePace*10*interval+10*interval, 6)
}

// Found by the simulator: a name is started a second time elsewhere, its
// successor takes it for its predecessor, as a joiner, and it ends. The first
// incarnation, which is alive, was refused as outdated without a look at the second.
func TestLaterIncarnationThatIsGoneDoesNotStandInTheWay(t *testing.T) {
	w := ringOf(t, 3, 3, 6)
	ms := w.live()
	first, next := ms[2], ms[3]
	second := first.m.self
	second.Addr, second.Incarnation = "elsewhere:1", second.Incarnation+1
	at := next.m.Snapshot()
	next.place(slices.Clone(at.Succ), second)
	w.step(next, Tick{})
	w.ideal(10*interval, 6)
	if next.m.pred != first.m.self {
		t.Errorf("the predecessor is %v", next.m.pred)
	}
}

// Found by the model checker: a founder consents to a joiner, whose attempt ends
// before it hears of that, and whose program goes on without the ring. The
// founder answered for a part of the circle only, for ever.
func TestJoinerThatGivesUpAfterConsentLeavesTheWholeCircle(t *testing.T) {
	w := ringOf(t, 1, 3, 1)
	founder, joiner := w.order[0], w.member(1)
	w.step(joiner, Join{Via: []string{founder.addr}})
	for range 1000 {
		if founder.m.pred == joiner.m.self {
			break
		}
		w.run(time.Millisecond)
	}
	w.step(joiner, GiveUp{})
	if founder.m.pred != joiner.m.self || joiner.m.phase != Outside {
		t.Fatalf("the founder's predecessor is %v, the joiner is %v", founder.m.pred, joiner.m.phase)
	}
	w.ideal(20*interval, 1)
	if arc, ok := founder.m.Owns(); !ok || !arc.Whole() {
		t.Errorf("the founder answers for %v", arc)
	}
}

// Found by the simulator, in rings with faults while they healed: what two
// rings know of each other may be one record of one member. It must outlast that
// the other is silent for long, that it begins a new incarnation, even with a clock
// that went back, and all that is heard of others meanwhile.
func TestTheOnlyRecordOfAnotherRingIsKept(t *testing.T) {
	self, other := named(100, "m", 1), named(900, "x", 5)
	fill := func(m *Machine) {
		for i := range uint64(200) {
			m.record(fact{kind: wasNamed, who: named(1000+i*1<<50, "h"+string(rune('a'+i)), 1)})
		}
	}
	ask := func(m *Machine, rounds int) (asked []int, call uint64) {
		for n := range rounds {
			for _, e := range m.Step(0, Tick{}) {
				q, ok := e.(Ask)
				switch {
				case ok && q.Request.Kind == Place && q.To.ID == other.ID && q.Attempt == 0:
					asked, call = append(asked, n+1), q.Call
					return asked, call
				case ok:
					m.Step(0, Answer{Call: q.Call, Failure: &Failure{Kind: Cancelled}})
				}
			}
		}
		return nil, 0
	}
	ringMember := func() *Machine {
		m := machineOf(self)
		m.setSucc([]ring.Member{named(300, "s", 1), named(400, "u", 1), named(500, "v", 1)})
		m.record(fact{kind: mayBeElsewhere, who: other})
		return m
	}

	t.Run("silent", func(t *testing.T) {
		m := ringMember()
		total := 0
		for silent, want := range []int{1, 10, 20, 40, 80, 160, 160} {
			asked, call := ask(m, 400)
			if len(asked) == 0 || asked[0] > want+1 {
				t.Fatalf("silent %d times, it is asked after %v rounds, want %d", silent, asked, want)
			}
			total += asked[0]
			m.Step(0, Answer{Call: call, Failure: &Failure{Kind: Refused}})
			fill(m)
			if a := m.acq.find(other); a == nil || !a.pending || a.failures != uint8(silent+1) {
				t.Fatalf("after %d rounds %+v, want it pending", total, a)
			}
		}
		m.heardFrom(other)
		if a := m.acq.find(other); !a.pending || m.acq.due(a) > m.round {
			t.Errorf("it speaks, and is %+v in round %d", a, m.round)
		}
	})
	t.Run("dead for ever", func(t *testing.T) {
		m := ringMember()
		for range maxFailures {
			m.record(fact{kind: wasSilent, who: other})
		}
		for i := range uint64(m.cfg.Acquaintances) {
			m.record(fact{kind: wasSilent, who: named(2000+i*1<<50, "d"+string(rune('a'+i)), 1)})
		}
		for range 20 {
			fill(m)
		}
		if a := m.acq.find(other); a != nil {
			t.Errorf("%+v is still there, among %d", a, len(m.acq.list))
		}
	})
	t.Run("alone", func(t *testing.T) {
		m := machineOf(self)
		m.record(fact{kind: mayBeElsewhere, who: other})
		for range 100 {
			m.record(fact{kind: wasSilent, who: other})
		}
		m.setSucc([]ring.Member{named(300, "s", 1)})
		if a := m.acq.find(other); m.acq.due(a) > m.round+40 {
			t.Errorf("asked after %d rounds: the one that was cut off was this member", m.acq.due(a)-m.round)
		}
	})
	for name, later := range map[string]ring.Member{
		"later incarnation":                     named(900, "x", 6),
		"incarnation with a clock that is back": named(900, "x", 4),
		"somebody else at the address":          {ID: 950, Name: "y", Addr: other.Addr, Incarnation: 7},
	} {
		t.Run(name, func(t *testing.T) {
			m := ringMember()
			_, call := ask(m, 2)
			m.Step(0, Answer{Call: call, Failure: &Failure{Kind: WrongMember, By: later}})
			fill(m)
			if a := m.acq.find(later); a == nil || !a.pending || m.acq.due(a) > m.round+1 {
				t.Errorf("%+v, want it pending", a)
			}
			if a := m.acq.find(other); a != nil && a.pending {
				t.Errorf("%+v, which is over", a)
			}
		})
	}
}

// Whoever was given addresses may know another ring by one of them only, and
// nobody may answer there while it joins.
func TestEveryAddressIsAskedUntilItHasFoundTheRing(t *testing.T) {
	w := ringOf(t, 3, 3, 4)
	other := w.add("o", 1<<62, "o:1", 1000)
	w.step(other, Create{})
	kin(w.order[0], other)
	other.frozen = true
	h := w.member(9)
	var via []string
	for i := range 8 {
		via = append(via, w.order[i%4].addr)
		if i >= 4 {
			via[i] = "nobody" + via[i]
		}
	}
	w.step(h, Join{Via: append(via, other.addr)})
	w.run(15 * interval)
	for i := range h.m.seeds {
		if s := h.m.seeds[i]; s.pending != (i >= 4) || (s.silent > 0) != (i >= 4) {
			t.Errorf("after 15 rounds %+v", s)
		}
	}
	w.run(80 * interval)
	clear(w.sent)
	w.run(100 * interval)
	if per := float64(w.sent[Place]) / 500; per > 0.5 {
		t.Errorf("%.2f placements per member and round, for the sake of 5 addresses that nobody answers at", per)
	}
	other.frozen = false
	w.step(other, Tick{})
	w.ideal(170*interval, 6)
	w.run(20 * interval)
	if s := h.m.seed(other.addr); s.pending || s.silent > 0 {
		t.Errorf("in the ring %+v", *s)
	}
	other.up = false
	w.run(400 * interval)
	if s := h.m.seed(other.addr); !s.pending {
		t.Errorf("nobody answers any more, and it is %+v", *s)
	}
}

// Found by the simulator: two rings know each other by a member only that hung
// while its name was started elsewhere: it is in none of them any more.
func TestSupersededMemberIntroducesWhoKnowsNoOther(t *testing.T) {
	w := ringOf(t, 3, 3, 4)
	old := w.order[1]
	alone := w.member(9)
	w.step(alone, Create{Seeds: []string{old.addr}})
	kin(old, alone)
	alone.frozen = true
	old.frozen = true
	w.ideal(20*interval, 3)
	again := w.add(old.m.self.Name, old.m.self.ID, "elsewhere:1", old.m.self.Incarnation+1)
	w.rejoin(again, w.order[0].addr)
	w.ideal(20*interval, 4)
	old.frozen = false
	w.step(old, Tick{})
	w.until(40*interval, "superseded", func() bool { return old.m.phase == Superseded })
	alone.frozen = false
	w.step(alone, Tick{})
	w.ideal(30*interval, 5)
}

// Found by the simulator: of a member that nobody else knows, a later incarnation at
// another address is heard of. The earlier, which lives, has to be told, or it
// stays a ring of its own.
func TestLaterIncarnationElsewhereIsToldToTheOneThatIsReplaced(t *testing.T) {
	m := machineOf(named(100, "m", 1))
	m.setSucc([]ring.Member{named(300, "s", 1)})
	old, later := named(900, "x", 1), named(900, "x", 2)
	later.Addr = "elsewhere:1"
	m.record(fact{kind: mayBeElsewhere, who: old})
	var told []Tell
	for _, e := range m.Step(0, Learned{Members: []ring.Member{later}}) {
		if e, ok := e.(Tell); ok {
			told = append(told, e)
		}
	}
	if len(told) != 1 || told[0].To != old || told[0].Request.Kind != Introduce || told[0].Request.Subject != later {
		t.Errorf("told %+v", told)
	}
	if a := m.acq.find(later); a == nil || !a.pending {
		t.Errorf("%+v, want it pending", a)
	}
}

// Found by the simulator: a member that alone knows others leaves before it could
// place itself from each.
func TestLeaverHandsOverWhomNobodyElseKnows(t *testing.T) {
	w := ringOf(t, 3, 3, 6)
	leaver := w.live()[2]
	var others []ring.Member
	for i := range 15 {
		h := w.member(100 + i)
		w.step(h, Create{})
		kin(leaver, h)
		others = append(others, h.m.self)
	}
	at := leaver.m.Snapshot()
	leaver.place(slices.Clone(at.Succ), at.Pred, others...)
	w.step(leaver, Depart{})
	w.until(5*interval, "it has left", func() bool { return leaver.departed })
	leaver.up = false
	w.ideal(30*interval, 20)
}
