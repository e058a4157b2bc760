package routing

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
)

func contact(id uint64) ring.Member {
	return ring.Member{ID: id, Name: fmt.Sprint(id), Addr: fmt.Sprintf("h%d:1", id), Incarnation: 1}
}

func contacts(ids ...uint64) []ring.Member {
	var out []ring.Member
	for _, id := range ids {
		out = append(out, contact(id))
	}
	return out
}

func TestContactsAreWhoeverAnsweredLastAndWhomTheyNamed(t *testing.T) {
	var none peer.Suspicions
	c := Contacts{}.Meet(contact(10), contact(5), contacts(20, 30, 40, 50), none, 0)
	if got := c.List(); !slices.Equal(got, contacts(10, 20, 30, 40)) {
		t.Errorf("after the first: %v", got)
	}
	c = c.Meet(contact(30), contact(20), contacts(40), none, 0)
	if got := c.List(); !slices.Equal(got, contacts(30, 40, 10, 20)) {
		t.Errorf("after the second: %v", got)
	}
	// A legacy member says only who its neighbours are.
	if got := (Contacts{}).Meet(ring.Member{}, contact(5), contacts(20), none, 0).List(); !slices.Equal(got, contacts(20, 5)) {
		t.Errorf("by a legacy member: %v", got)
	}
	suspects, _ := none.Suspect(contact(10), false, 0, time.Second)
	if got := c.Meet(contact(60), ring.Member{}, nil, suspects, 0).List(); !slices.Equal(got, contacts(60, 30, 40, 20)) {
		t.Errorf("with 10 suspected: %v", got)
	}
	for id := range uint64(3 * MaxContacts) {
		c = c.Meet(contact(100+id), ring.Member{}, nil, none, 0)
	}
	if got := c.List(); len(got) != MaxContacts || got[0] != contact(100+3*MaxContacts-1) {
		t.Errorf("%d contacts, first %v", len(got), got[0])
	}
}

func TestFewContactsAreReplenishedByWhoeverAnswers(t *testing.T) {
	c, added := Contacts{}.Meet(contact(10), ring.Member{}, contacts(20, 30), nil, 0).Replenish(contact(20))
	if added {
		t.Errorf("one that is known is added: %v", c.List())
	}
	if _, added = c.Replenish(ring.Member{Addr: "h40:1"}); added {
		t.Error("one without a name is added")
	}
	if c, added = c.Replenish(contact(40)); !added || !slices.Equal(c.List(), contacts(40, 10, 20, 30)) {
		t.Errorf("after 40: %v", c.List())
	}
	if c, added = c.Replenish(contact(50)); added {
		t.Errorf("added to enough contacts: %v", c.List())
	}
}

func TestContactsThatAreGoneAreForgotten(t *testing.T) {
	c := Contacts{}.Meet(contact(10), ring.Member{}, contacts(20), nil, 0)
	later := contact(10)
	later.Incarnation = 2
	if _, forgotten := c.Forget("h10:1", later); forgotten {
		t.Error("10 is forgotten for another instance of it")
	}
	for _, who := range []ring.Member{{}, contact(10)} {
		if rest, forgotten := c.Forget("h10:1", who); !forgotten || !slices.Equal(rest.List(), contacts(20)) || len(c.List()) != 2 {
			t.Errorf("%v left, %v before", rest.List(), c.List())
		}
	}
}

func TestClientNamesNoOwnerItself(t *testing.T) {
	table := Contacts{}.Meet(contact(10), ring.Member{}, contacts(20, 30), nil, 0).Table(64, nil, 0)
	for _, id := range []uint64{0, 9, 10, 11, 20, 25, 31} {
		a := table.Answer(Query{ID: id}, 0)
		if a.Verdict != Closer || len(a.Closer) == 0 || !a.Owner.IsZero() {
			t.Errorf("%d: %+v", id, a)
		}
	}
	if own, arc := Recall(table, nil, 10); own != nil || arc != nil {
		t.Error("a client answers for an identifier itself")
	}
}

func TestSilentContactsAreLeftOutOfNewTables(t *testing.T) {
	c := Contacts{}.Meet(contact(10), ring.Member{}, contacts(20, 30), nil, 0)
	var s peer.Suspicions
	for _, id := range []uint64{20, 10} {
		s, _ = s.Suspect(contact(id), false, 0, time.Second)
	}
	if got := c.Table(64, s, 0).Near(); !slices.Equal(got, contacts(30)) {
		t.Errorf("with 10 and 20 suspected: %v", got)
	}
	if got := c.Table(64, s, 2*time.Second).Near(); len(got) != 3 {
		t.Errorf("when that is over: %v", got)
	}
	s, _ = s.Suspect(contact(30), false, 0, time.Second)
	if got := c.Table(64, s, 0).Near(); len(got) != 3 {
		t.Errorf("with all suspected: %v", got)
	}
}

func TestEverybodyIsAskedForAWayIntoTheRing(t *testing.T) {
	c := Contacts{}.Meet(contact(10), ring.Member{}, contacts(20), nil, 0)
	arcs := NewArcs(0, 64, MaxArcs)
	for i := range uint64(100) {
		arcs.Confirm(ring.Arc{After: 1000 + i*10, To: 1010 + i*10}, contact(1010+i*10), Confirmation{By: contact(1010 + i*10), Until: time.Second})
	}
	all := c.Everybody(arcs, []string{"a:1", "b:1"})
	if len(all) != 2+MaxContacts+2 || !slices.Equal(all[:2], contacts(10, 20)) || all[len(all)-1].Addr != "b:1" || all[len(all)-1].Name != "" {
		t.Errorf("%d to ask: %v", len(all), all)
	}
	if only := (Contacts{}).Everybody(nil, []string{"a:1"}); len(only) != 1 || only[0].Addr != "a:1" {
		t.Errorf("of one that has met nobody: %v", only)
	}
}

func TestTurnsComeToEverybody(t *testing.T) {
	var all []ring.Member
	for i := range uint64(3 * MaxAsking) {
		all = append(all, contact(i+1))
	}
	asked := map[ring.Member]bool{}
	isAsked := func(x ring.Member) bool { return asked[x] }
	for turn, from := 0, 0; turn < 3; turn++ {
		ask, next := Turn(all, from, 0, isAsked)
		for _, x := range ask {
			if asked[x] {
				t.Errorf("turn %d: %v is asked again", turn, x)
			}
			asked[x] = true
		}
		if len(ask) != MaxAsking {
			t.Errorf("turn %d: %d are asked", turn, len(ask))
		}
		from = next
	}
	if ask, next := Turn(all, 5, MaxAsking-1, func(ring.Member) bool { return false }); len(ask) != 1 || ask[0] != all[5] || next != 6 {
		t.Errorf("with room for one: %v, next %d", ask, next)
	}
	if ask, _ := Turn(nil, 3, 0, isAsked); len(ask) != 0 {
		t.Errorf("of nobody: %v", ask)
	}
}

// identifier is where a process stands, which stands at several.
func identifier(name string, id uint64) ring.Member {
	return ring.Member{ID: id, Name: name, Addr: name + ":1", Incarnation: 1, Choice: ring.Chosen(1, 0), Home: ring.SHA256([]byte(name))}
}

// All identifiers of a process fail together: one of them is kept, and three other processes that
// it has named.
func TestContactsAreOfDifferentProcesses(t *testing.T) {
	succ := []ring.Member{
		identifier("p", 20), identifier("q", 30), identifier("q", 35), identifier("p", 40),
		identifier("r", 50), identifier("s", 60), identifier("t", 70),
	}
	c := Contacts{}.Meet(identifier("p", 10), ring.Member{}, succ, nil, 0)
	if want := []ring.Member{identifier("p", 10), identifier("q", 30), identifier("r", 50), identifier("s", 60)}; !slices.Equal(c.List(), want) {
		t.Errorf("contacts %v, want %v", c.List(), want)
	}
	c = c.Meet(identifier("q", 35), ring.Member{}, nil, nil, 0)
	if want := []ring.Member{identifier("q", 35), identifier("p", 10), identifier("r", 50), identifier("s", 60)}; !slices.Equal(c.List(), want) {
		t.Errorf("after another identifier of q has answered: %v, want %v", c.List(), want)
	}
	few := Contacts{}.Meet(identifier("p", 10), ring.Member{}, nil, nil, 0)
	if _, added := few.Replenish(identifier("p", 20)); added {
		t.Error("another identifier of the only contact makes them no more")
	}
}
