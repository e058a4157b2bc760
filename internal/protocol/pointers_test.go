package protocol

import (
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// The members of a list are written as their processes: "a b a" is two identifiers of a,
// and one of b between them.
func TestListsEndWhenTheyNameEnoughProcesses(t *testing.T) {
	for _, c := range []struct {
		self, list string
		most       int
		want       string
	}{
		{"s", "abcd", 3, "abc"},
		{"s", "abcd", 1, "a"},
		{"s", "ab", 3, "ab"},
		{"s", "aabac", 2, "aab"},
		{"s", "aabac", 3, "aabac"},
		{"s", "aaaa", 2, "aaaa"},
		{"s", "sasbsc", 2, "sasb"},
		{"s", "ssss", 2, "ssss"},
		{"s", "asa", 2, "asa"},
	} {
		at := func(i int, name string) ring.Member {
			return ring.Member{ID: uint64(10 * i), Name: name, Addr: name + ":1", Incarnation: 1}
		}
		m := New(at(0, c.self), Config{Bits: 64, Successors: c.most}, 1)
		var list []ring.Member
		for i, p := range c.list {
			list = append(list, at(i+1, string(p)))
		}
		got := ""
		for _, x := range m.cut(list[0], list[1:]) {
			got += x.Name
		}
		if got != c.want {
			t.Errorf("%s lists %s of %s for %d processes, want %s", c.self, got, c.list, c.most, c.want)
		}
		if full, want := m.full(m.cut(list[0], list[1:])), processes(m.self, list) >= c.most; full != want {
			t.Errorf("%s: the list %s is full: %v", c.self, c.list, full)
		}
	}
}

func TestListsAreBounded(t *testing.T) {
	m := New(ring.Member{ID: 0, Name: "s", Addr: "s:1", Incarnation: 1}, Config{Bits: 64, Successors: 2}, 1)
	var list []ring.Member
	for i := range 3 * MaxList {
		list = append(list, ring.Member{ID: uint64(i + 1), Name: "a", Addr: "a:1", Incarnation: 1})
	}
	if got := m.cut(list[0], list[1:]); len(got) != MaxList || !m.full(got) {
		t.Errorf("%d entries", len(got))
	}
}

// Of two processes at one address, the list has the one named first.
func TestOneAddressIsOneProcess(t *testing.T) {
	m := New(ring.Member{ID: 0, Name: "s", Addr: "s:1", Incarnation: 1}, Config{Bits: 64, Successors: 9}, 1)
	got := m.cut(ring.Member{ID: 1, Name: "a", Addr: "a:1"}, []ring.Member{
		{ID: 2, Name: "b", Addr: "a:1"}, {ID: 3, Name: "a", Addr: "a:1"}, {ID: 4, Name: "c", Addr: "s:1"}, {ID: 5, Name: "s", Addr: "s:1"},
	})
	names := ""
	for _, x := range got {
		names += x.Name
	}
	if names != "aas" {
		t.Errorf("listed are %s", names)
	}
}
