package peer

import "testing"

func TestRecentForgetsTheOldest(t *testing.T) {
	var m Recent[string, int]
	if v, ok := m.Get("a"); ok || v != 0 {
		t.Errorf("the zero Recent has %d", v)
	}
	for i, k := range []string{"a", "b", "a", "c", "d", "d", "e"} {
		m.Put(k, i, 3)
	}
	for k, want := range map[string]int{"a": 0, "b": 0, "c": 3, "d": 5, "e": 6} {
		if v, ok := m.Get(k); v != want || ok != (want > 0) {
			t.Errorf("%q is %d, %t; want %d", k, v, ok, want)
		}
	}
}
