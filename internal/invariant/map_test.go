package invariant

import (
	"testing"
	"time"
)

func TestMapIsComparedWithTheRing(t *testing.T) {
	ring := []Owned{{named(100), 300, 1}, {named(200), 100, 4}, {named(300), 200, 2}}
	if how := MapOfTheRing("x", ring, ring); how != "" {
		t.Errorf("the ring itself: %s", how)
	}
	other := []Owned{ring[0], {named(200), 100, 3}, ring[2]}
	for name, m := range map[string][]Owned{"an epoch": other, "one is missing": ring[:2], "nothing": nil} {
		if MapOfTheRing("x", m, ring) == "" {
			t.Errorf("%s: nothing is found", name)
		}
	}
}

func TestWaitToGrowEnds(t *testing.T) {
	for _, c := range []struct {
		d, interval time.Duration
		allowed     bool
	}{
		{200 * time.Millisecond, 200 * time.Millisecond, true},
		{201 * time.Millisecond, 200 * time.Millisecond, false},
		{time.Second, time.Minute, true},
		{2 * time.Second, time.Minute, false},
	} {
		if how := WaitsToGrow(c.d, c.interval); (how == "") != c.allowed {
			t.Errorf("%v, at intervals of %v: %q", c.d, c.interval, how)
		}
	}
}
