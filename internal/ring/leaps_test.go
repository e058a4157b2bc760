package ring

import "testing"

// A clock that hears of far times goes on by MaxLeap in a round, and by little without that
// counting.
func TestClockLeapsByBoundedStepsInARound(t *testing.T) {
	var l Leaps
	clock := uint64(10)
	for _, k := range []struct{ at, want uint64 }{
		{5, 10}, {11, 11}, {11 + smallLeap, 11 + smallLeap},
		{11 + smallLeap + MaxLeap/2, 11 + smallLeap + MaxLeap/2},
		{1 << 61, 11 + smallLeap + MaxLeap}, {1 << 61, 11 + smallLeap + MaxLeap},
		{12 + smallLeap + MaxLeap, 12 + smallLeap + MaxLeap},
	} {
		if clock += l.Toward(clock, k.at); clock != k.want {
			t.Fatalf("it hears of %d, and is at %d, not %d", k.at, clock, k.want)
		}
	}
	l.Begin()
	if got := l.Toward(clock, 1<<61); got != MaxLeap {
		t.Errorf("in the next round it goes on by %d", got)
	}
}
