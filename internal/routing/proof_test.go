package routing

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// asks fails the test unless the search wants to ask x next.
func asks(t *testing.T, s *Search, x ring.Member, why Why) {
	t.Helper()
	if step, y := s.Next(); step != AskNext || y != x || s.Why() != why {
		t.Fatalf("step %v, %v, %v; want to ask %v, %v", step, y, s.Why(), x, why)
	}
}

// everything is what a member says that owns all.
func everything(x ring.Member) Answer {
	return Answer{Verdict: Mine, Owner: x, HasArc: true, Arc: ring.Arc{After: x.ID, To: x.ID}}
}

// A client knows an honest member and one that claims the circle. The claim is contradicted,
// and the search goes back to the honest member, which names the one to be asked instead.
func TestSearchGoesBackFromAClaimThatIsContradicted(t *testing.T) {
	honest, liar, owner := at(10), at(30), at(50)
	s := NewSearch(NewTable(Known{Others: []ring.Member{honest}, Bits: 64}), 40, Options{Fresh: true}, nil, 0)
	asks(t, s, honest, Nearest)
	s.Answered(Answer{Verdict: Closer, Closer: []ring.Member{liar}})
	asks(t, s, liar, Nearest)
	s.Answered(everything(liar))
	asks(t, s, honest, Again)
	if avoid := s.Query().Avoid; len(avoid) != 1 || avoid[0] != liar.Instance() {
		t.Errorf("to go round: %v", avoid)
	}
	s.Answered(Answer{Verdict: Owned, Owner: owner})
	asks(t, s, owner, Named)
	s.Answered(Answer{Verdict: Mine, Owner: owner, HasArc: true, Arc: ring.Arc{After: 30, To: 50}})
	if step, x := s.Next(); step != Done || x != owner {
		t.Errorf("step %v, %v", step, x)
	}
}

// A member names a stranger as the owner, which says so too, and is not. Neither is relied
// on any longer, and those known behind the member that lied are asked.
func TestSearchLeavesWhoeverNamesAnOwnerThatIsContradicted(t *testing.T) {
	self, first, liar, met, stranger, owner := at(0), at(10), at(30), at(50), at(90), at(45)
	table := NewTable(Known{Self: self, Bits: 64, Full: 1, Succ: []ring.Member{first}, Others: []ring.Member{liar, met}})
	s := NewSearch(table, 40, Options{Fresh: true}, nil, 0)
	asks(t, s, liar, Nearest)
	s.Answered(Answer{Verdict: Owned, Owner: stranger, HasArc: true, Arc: ring.Arc{After: 39, To: 90}})
	asks(t, s, stranger, Named)
	s.Answered(everything(stranger))
	asks(t, s, met, Between)
	s.Answered(Answer{Verdict: Closer, Closer: []ring.Member{first}})
	asks(t, s, first, Nearest)
	s.Answered(Answer{Verdict: Owned, Owner: owner})
	asks(t, s, owner, Named)
	s.Answered(Answer{Verdict: Mine, Owner: owner, HasArc: true, Arc: ring.Arc{After: 30, To: 45}})
	if step, x := s.Next(); step != Done || x != owner {
		t.Errorf("step %v, %v", step, x)
	}
}

// Whoever goes round all that a member knows before an identifier is told who is known after
// it, without an arc: that one is to say whether it is the owner.
func TestTableNamesWhoIsBeyondThoseToBeAvoided(t *testing.T) {
	head, pred, legacy := at(30), at(50), at(45)
	legacy.Incarnation = 0
	table := NewTable(Known{Self: at(10), Bits: 64, Full: 3, Succ: []ring.Member{head}, Pred: pred, Others: []ring.Member{legacy}})
	if a := table.Answer(Query{ID: 40}, 0); a.Verdict != Closer || len(a.Closer) != 1 || a.Closer[0] != head {
		t.Errorf("all are asked: %+v", a)
	}
	a := table.Answer(Query{ID: 40, Avoid: []ring.Instance{head.Instance()}}, 0)
	if a.Verdict != Owned || a.Owner != pred || a.HasArc {
		t.Errorf("round the head: %+v", a)
	}
	a = table.Answer(Query{ID: 40, Avoid: []ring.Instance{head.Instance(), pred.Instance()}}, 0)
	if a.Verdict != Closer || len(a.Closer) != 0 {
		t.Errorf("round both: %+v", a)
	}
}
