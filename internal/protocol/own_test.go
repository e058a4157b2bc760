package protocol

import (
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// ofOne is the member that one process has at an identifier.
func ofOne(id uint64) ring.Member {
	return ring.Member{ID: id, Name: "a", Addr: "a:1", Incarnation: 1, Choice: ring.Chosen(int(id%100), 0), Home: 1}
}

// asksRing are those that are asked for their ring, and the number of the last question.
func asksRing(effects []Effect) (whom []uint64, call uint64) {
	for _, e := range effects {
		if e, ok := e.(Ask); ok && e.Request.Kind == AskRing {
			whom, call = append(whom, e.To.ID), e.Call
		}
	}
	return whom, call
}

// A member that hears of another identifier of its own process, nearer than its head, asks that at
// once, and the nearest of several.
func TestOwnIdentifiersComeBetween(t *testing.T) {
	head := ring.Member{ID: 80, Name: "q", Addr: "q:1", Incarnation: 1}
	x, y := ofOne(30), ofOne(20)
	introduced := func(of, by ring.Member) Event {
		return Asked{Token: of.ID, From: by, Request: Request{Kind: Introduce, Subject: of}}
	}
	begin := func() (*Machine, func(ring.Member, State) []uint64) {
		m := Restore(ofOne(10), Config{Bits: 64, Successors: 3, Interval: interval, CheckEvery: 1000}, 1, Snapshot{Pred: head, Succ: []ring.Member{head}})
		_, call := asksRing(m.Step(0, Tick{}))
		return m, func(by ring.Member, st State) (whom []uint64) {
			st.Self = by
			whom, call = asksRing(m.Step(0, Answer{Call: call, Reply: Reply{State: st}}))
			return whom
		}
	}
	joined := State{Phase: Joined, Pred: ofOne(10), Succ: []ring.Member{ofOne(10)}}
	for what, by := range map[string]ring.Member{"itself": {}, "its head": head, "another identifier": ofOne(40)} {
		m, answers := begin()
		for _, own := range []ring.Member{x, y} {
			from := by
			if by.IsZero() {
				from = own
			}
			m.Step(0, introduced(own, from))
		}
		if whom := answers(head, joined); !slices.Equal(whom, []uint64{20}) {
			t.Errorf("introduced by %s: asks %v after its head, not the nearest", what, whom)
		}
		answers(y, State{Phase: Joined, Succ: []ring.Member{head}})
		if m.head() != y {
			t.Errorf("introduced by %s: its head is %v", what, m.head())
		}
	}
	m, answers := begin()
	m.Step(0, introduced(y, head))
	answers(head, joined)
	if whom := answers(y, State{Phase: Joining}); slices.Contains(whom, 20) {
		t.Error("one on its way in is asked again in the same round")
	}
	if whom, _ := asksRing(m.Step(0, introduced(y, y))); slices.Equal(whom, []uint64{80}) {
		t.Error("one that says itself that it is in the ring is not asked")
	}
}

// Of all the identifiers of its process a member remembers the nearest after it.
func TestOwnIdentifiersRememberedAreTheNearest(t *testing.T) {
	m := machineOf(ofOne(10))
	for i := range uint64(40) {
		m.record(fact{kind: wasNamed, who: ofOne(11 + (i*7)%40)})
	}
	m.record(fact{kind: hasLeft, who: ofOne(12)}, fact{kind: wasNamed, who: ofOne(10)})
	var got, want []uint64
	for _, s := range m.acq.own {
		got = append(got, s.ID)
	}
	for i := range uint64(maxOwn) {
		if i != 1 {
			want = append(want, 11+i)
		}
	}
	if !slices.Equal(got, want) || len(m.acq.list) > 0 {
		t.Errorf("remembered are %v, not %v, and %d acquaintances", got, want, len(m.acq.list))
	}
}
