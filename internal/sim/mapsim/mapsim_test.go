package mapsim

import (
	"strings"
	"testing"
	"time"
)

func run(t *testing.T, c Config, seed uint64) Result {
	t.Helper()
	r, err := Run(c, seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Violations {
		t.Errorf("seed %d: %s", seed, v)
	}
	return r
}

func TestMapsOfAQuietRingAnswerAll(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 64, 100} {
		r := run(t, Config{Members: n, Duration: time.Minute, Lookups: 200}, 1)
		if r.Wrong > 0 || r.Asked > 0 || r.Right < 5000 {
			t.Errorf("of %d members: %d right, %d wrong, %d asked", n, r.Right, r.Wrong, r.Asked)
		}
		if r.AgeMedian > 6 || r.Circle99 > 10 {
			t.Errorf("of %d members: answers are %.1f intervals old, circles %.1f", n, r.AgeMedian, r.Circle99)
		}
	}
}

func TestMapsAreRightWhileMembersComeAndGo(t *testing.T) {
	for _, c := range []Config{
		{Members: 64, Session: 10 * time.Minute, Duration: 3 * time.Minute, Lookups: 300},
		{Members: 32, Session: 16 * time.Second, Interval: 200 * time.Millisecond, Duration: time.Minute, Lookups: 500},
		{Members: 64, Session: 10 * time.Minute, Duration: 3 * time.Minute, Lookups: 300, Loss: 0.01, Silent: 0.3},
	} {
		r := run(t, c, 1)
		n := r.Right + r.Wrong + r.Asked
		if r.Joins == 0 || r.Deaths == 0 || r.Wrong*500 > n || r.Asked*20 > n {
			t.Errorf("%d joined, %d crashed: %d right, %d wrong, %d asked", r.Joins, r.Deaths, r.Right, r.Wrong, r.Asked)
		}
		if c.Loss == 0 && (r.JoinMedian > 20*time.Millisecond || r.DeathMedian > 20*time.Millisecond) {
			t.Errorf("joins are known to all after %v, crashes after %v", r.JoinMedian, r.DeathMedian)
		}
	}
}

func TestMapsOfTwoRingsThatMeetBecomeOne(t *testing.T) {
	for seed := range uint64(3) {
		r := run(t, Config{Members: 40, Duration: time.Minute, Cut: 20 * time.Second, Lookups: 100, Loss: 0.02}, seed)
		if r.Settled < 0 {
			t.Errorf("seed %d: the maps are not the same", seed)
		}
	}
}

func TestMapsThatHoldAPartAreRightInIt(t *testing.T) {
	r := run(t, Config{Members: 200, Limit: 50, Session: 10 * time.Minute, Duration: 20 * time.Second, Lookups: 500}, 1)
	if r.Wrong*500 > r.Right || r.Right < 1000 {
		t.Errorf("%d right, %d wrong, %d asked", r.Right, r.Wrong, r.Asked)
	}
}

func TestOneSeedIsOneRun(t *testing.T) {
	c := Config{Members: 50, Session: time.Minute, Duration: 30 * time.Second, Lookups: 100, Loss: 0.05, Silent: 0.5, Cut: 5 * time.Second}
	a, b, other := run(t, c, 3), run(t, c, 3), run(t, c, 4)
	if a.Trace != b.Trace || a.Events != b.Events {
		t.Error("one seed gave two runs")
	}
	if a.Trace == other.Trace {
		t.Error("two seeds gave one run")
	}
}

func TestConfigurationIsRefusedWithItsMistakes(t *testing.T) {
	_, err := Run(Config{Members: 0, Interval: time.Millisecond, Loss: 2, Cut: time.Second}, 0)
	for _, want := range []string{"0 members", "interval 1ms", "duration 0s", "loss 2", "cut 1s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}
