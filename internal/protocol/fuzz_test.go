package protocol_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// script reads what happens to a machine from bytes. After their end it reads zeros.
type script struct{ left []byte }

func (s *script) byte() byte {
	if len(s.left) == 0 {
		return 0
	}
	b := s.left[0]
	s.left = s.left[1:]
	return b
}

func (s *script) n(below int) int { return int(s.byte()) % below }

// incarnations are those that a hostile member may name. The runtime lets none of the last
// two pass.
var incarnations = []uint64{1000, 999, 1001, 0, 2000, ring.MaxIncarnation, ring.MaxIncarnation + 1, 1<<64 - 1}

// member is one of a few identifiers, in one of a few incarnations, at one of a few addresses;
// or none.
func (s *script) member() ring.Member {
	k := s.n(18)
	if k >= 16 {
		return ring.Member{}
	}
	b := s.byte()
	addr := k
	if b>>6 == 3 { // an address of somebody else
		addr = int(b>>3) % 16
	}
	return ring.Member{ID: uint64(k) * 16, Name: fmt.Sprint("n", k), Addr: fmt.Sprintf("h%d:1", addr), Incarnation: incarnations[b%8]}
}

func (s *script) members(most int) (list []ring.Member) {
	for range s.n(most + 1) {
		if x := s.member(); !x.IsZero() {
			list = append(list, x)
		}
	}
	return list
}

func (s *script) state() protocol.State {
	st := protocol.State{
		Self: s.member(), Phase: protocol.Phase(s.n(7)), Pred: s.member(), Succ: s.members(8), Version: uint64(s.n(3)), Founder: s.member(),
	}
	if s.n(4) == 0 {
		by := s.member()
		st.Replaced = protocol.Replaced{Who: s.member().Instance(), By: by, After: uint64(s.byte()), Number: uint64(s.n(3))}
	}
	return st
}

// answer is an answer to one of the open questions, or to none.
func (s *script) answer(open []uint64) (protocol.Answer, int) {
	i := -1
	a := protocol.Answer{Call: uint64(s.byte())}
	if len(open) > 0 {
		i = s.n(len(open))
		a.Call = open[i]
	}
	if s.n(3) == 0 {
		a.Failure = &protocol.Failure{Kind: protocol.FailureKind(1 + s.n(11)), By: s.member(), Detail: "no"}
		return a, i
	}
	a.Reply = protocol.Reply{
		State: s.state(), Verdict: protocol.Verdict(s.n(4)), Closer: s.members(3),
		Refusal: protocol.Refusal{Reason: protocol.Reason(s.n(8)), Other: s.member()},
	}
	return a, i
}

func (s *script) addresses() (list []string) {
	for range s.n(4) {
		list = append(list, fmt.Sprintf("h%d:1", s.n(18)))
	}
	return list
}

func (s *script) event(open []uint64, token uint64) (e protocol.Event, answered int) {
	switch s.n(12) {
	case 0, 1:
		return protocol.Tick{}, -1
	case 2, 3, 4:
		return protocol.Asked{Token: token, From: s.member(), Request: protocol.Request{
			Kind: protocol.RequestKind(1 + s.n(8)), Subject: s.member(), Joining: s.n(2) == 0, Pred: s.member(), Succ: s.members(8),
		}}, -1
	case 5, 6, 7:
		return s.answer(open)
	case 8:
		return protocol.Lost{Addr: fmt.Sprintf("h%d:1", s.n(18)), Gone: s.n(2) == 0, Who: s.member(), By: s.member()}, -1
	case 9:
		return protocol.Learned{Members: s.members(8)}, -1
	case 10:
		return protocol.Join{Via: s.addresses(), Found: time.Duration(s.n(3)) * time.Second, Open: s.n(2) == 0, Recalled: s.addresses()}, -1
	}
	switch s.n(4) {
	case 0:
		return protocol.Create{Seeds: s.addresses()}, -1
	case 1:
		return protocol.Redirect{Via: s.addresses(), Open: s.n(2) == 0}, -1
	case 2:
		return protocol.GiveUp{}, -1
	}
	return protocol.Depart{}, -1
}

// always are the rules that every state keeps, whatever others say.
var always = []invariant.Rule{invariant.NoSelf, invariant.NoDuplicates, invariant.Ordered, invariant.Bounded}

// maxOpen is more questions than a machine has open at once.
const maxOpen = 256

// Whatever happens to a machine, in whatever order, its list is one, what it has open is bounded,
// it answers each request once, and it neither panics nor takes on an incarnation
// that cannot be.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{11, 0, 0, 0, 2, 1, 0, 3, 1, 0, 1, 0, 0, 0, 5, 0, 1, 1, 0, 3, 2})
	f.Add([]byte{10, 1, 2, 1, 0, 0, 5, 0, 1, 2, 0, 3, 4, 0, 2, 6, 0, 8, 0, 1, 0, 1, 0, 1})
	f.Add([]byte{11, 0, 1, 3, 2, 4, 0, 1, 2, 2, 1, 0, 5, 0, 1, 4, 0, 3, 0, 0, 0, 11, 3, 2, 6, 0, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &script{b}
		self := ring.Member{ID: 0, Name: "n0", Addr: "h0:1", Incarnation: 1000}
		cfg := protocol.Config{Bits: 8, Successors: 1 + s.n(4), Interval: time.Second, MinMembers: s.n(3)}
		m := protocol.New(self, cfg, 1)
		var now time.Duration
		var open []uint64
		waiting := map[uint64]bool{}
		for token := uint64(1); len(s.left) > 0; token++ {
			now += time.Duration(s.byte()) * 8 * time.Millisecond
			e, answered := s.event(open, token)
			if answered >= 0 {
				open = append(open[:answered:answered], open[answered+1:]...)
			}
			if _, asked := e.(protocol.Asked); asked {
				waiting[token] = true
			}
			for _, effect := range m.Step(now, e) {
				switch x := effect.(type) {
				case protocol.Ask:
					open = append(open, x.Call)
				case protocol.Respond:
					if !waiting[x.Token] {
						t.Fatalf("%T: answers request %d, which is not open", e, x.Token)
					}
					delete(waiting, x.Token)
				}
			}
			check(t, m, cfg, e)
			if len(open) > maxOpen || len(waiting) > maxOpen {
				t.Fatalf("%T: %d questions and %d requests are open", e, len(open), len(waiting))
			}
		}
	})
}

// check judges a machine after an event.
func check(t *testing.T, m *protocol.Machine, cfg protocol.Config, e protocol.Event) {
	t.Helper()
	st := m.State()
	r := invariant.Ring{Members: []protocol.State{st}, Successors: cfg.Successors}
	for _, rule := range always {
		if wrong := rule.Broken(r); wrong != "" {
			t.Fatalf("after %#v: %s: %s", e, rule.Name, wrong)
		}
	}
	if st.Self.ID != 0 || st.Self.Name != "n0" || st.Self.Addr != "h0:1" || st.Self.Incarnation > ring.MaxIncarnation+1 || st.Self.Incarnation < 1000 {
		t.Fatalf("after %#v: it is %+v", e, st.Self)
	}
	for _, x := range append(st.Succ, st.Pred) {
		if x.Incarnation > ring.MaxIncarnation {
			t.Fatalf("after %#v: it relies on %+v", e, x)
		}
	}
	if at := m.Snapshot(); len(at.Known)+len(at.Pending) > 16 {
		t.Fatalf("%d acquaintances", len(at.Known)+len(at.Pending))
	}
}
