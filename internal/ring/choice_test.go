package ring

import (
	"errors"
	"testing"
)

func TestChoices(t *testing.T) {
	s := Space{Bits: 64, Hash: SHA256}
	for text, c := range map[string]Choice{
		"db": 0, "db_0": Chosen(0, 0), "db_0.7": Chosen(0, 7), "db_15": Chosen(15, 0), "db_1023.3": Chosen(1023, 3),
	} {
		if got := string(c.Text("db")); got != text || s.At("db", c) != s.ID([]byte(text)) || !c.Possible() {
			t.Errorf("%d is %q, not %q", c, got, text)
		}
	}
	if i, v := Chosen(12, 5).Slot(); i != 12 || v != 5 {
		t.Errorf("slot %d, variant %d", i, v)
	}
	if Chosen(MaxIdentifiers, 0).Possible() {
		t.Error("an identifier too many is possible")
	}
}

func TestMembersAreCheckedByTheirChoice(t *testing.T) {
	s := Space{Bits: 64, Hash: SHA256}
	at := func(c Choice) Member {
		return Member{ID: s.At("db", c), Name: "db", Addr: "db:1", Incarnation: 7, Choice: c, Home: s.ID([]byte("db"))}
	}
	good := at(Chosen(3, 2))
	if err := s.Check(good); err != nil {
		t.Fatal(err)
	}
	if good.Process() != s.ID([]byte("db")) || !good.SameProcess(at(Chosen(0, 0))) || good.Run() != at(Chosen(0, 0)).Run() {
		t.Error("two identifiers are not of one process")
	}
	one := Member{ID: s.ID([]byte("db")), Name: "db", Addr: "db:1", Incarnation: 7}
	if err := s.Check(one); err != nil || one.Process() != one.ID {
		t.Errorf("one identifier: %v", err)
	}
	for name, change := range map[string]func(*Member){
		"another variant":         func(m *Member) { m.Choice = Chosen(3, 1) },
		"another identifier":      func(m *Member) { m.Choice = Chosen(4, 2) },
		"no choice":               func(m *Member) { m.Choice, m.Home = 0, 0 },
		"another home":            func(m *Member) { m.Home++ },
		"another name":            func(m *Member) { m.Name = "bd" },
		"an impossible choice":    func(m *Member) { m.Choice = Chosen(MaxIdentifiers, 0) },
		"no incarnation":          func(m *Member) { m.Incarnation = 0 },
		"a home without a choice": func(m *Member) { *m = one; m.Home = 1 },
	} {
		m := good
		change(&m)
		if err := s.Check(m); err == nil {
			t.Errorf("%s is not refused", name)
		}
	}
	var e *HashError
	bad := good
	bad.ID++
	if err := s.Check(bad); !errors.As(err, &e) || e.Want != good.ID {
		t.Errorf("%v", err)
	}
}
