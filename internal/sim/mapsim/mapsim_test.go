package mapsim

import (
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/sim"
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

// Maps of processes at many identifiers cost as many questions as those of processes at one,
// and are as right.
func TestMapsOfProcessesAtSeveralIdentifiers(t *testing.T) {
	one := run(t, Config{Members: 48, Duration: 30 * time.Second, Lookups: 200}, 1)
	many := run(t, Config{Members: 48, Identifiers: 16, Duration: 30 * time.Second, Lookups: 200}, 1)
	if many.Asked > 0 || many.Wrong > 0 || many.Bytes > 1.25*one.Bytes || many.Messages > 1.25*one.Messages {
		t.Errorf("at 16 identifiers: %.2f messages, %.0f bytes, %d asked; at one: %.2f messages, %.0f bytes",
			many.Messages, many.Bytes, many.Asked, one.Messages, one.Bytes)
	}
	for _, c := range []Config{
		{Members: 32, Identifiers: 16, Session: 10 * time.Minute, Duration: time.Minute, Lookups: 300},
		{Members: 32, Identifiers: 4, Session: 10 * time.Minute, Duration: time.Minute, Lookups: 300, Loss: 0.01, Silent: 0.3},
	} {
		r := run(t, c, 1)
		n := r.Right + r.Wrong + r.Asked
		if r.Joins == 0 || r.Deaths == 0 || r.Wrong*500 > n || r.Asked*50 > n || r.Settled < 0 {
			t.Errorf("%d joined, %d crashed: %d right, %d wrong, %d asked", r.Joins, r.Deaths, r.Right, r.Wrong, r.Asked)
		}
	}
	if r := run(t, Config{Members: 16, Identifiers: 8, Duration: time.Minute, Cut: 20 * time.Second, Lookups: 100, Loss: 0.02}, 1); r.Settled < 0 {
		t.Error("the maps of two rings that met are not the same")
	}
}

// Each member asks some ten others in a sweep, and what any of them is certain of depends on all.
// A lost answer, or a newcomer that is certain of nothing yet, must not stop those behind it.
func TestMapsOfALargeRingAnswerAlmostAllThoughMessagesAreLost(t *testing.T) {
	r := run(t, Config{Members: 1024, Session: time.Hour, Duration: 30 * time.Second, Lookups: 1000, Loss: 0.01}, 1)
	if n := r.Right + r.Wrong + r.Asked; r.Asked*1000 > n || r.Wrong*1000 > n {
		t.Errorf("%d right, %d wrong, %d asked", r.Right, r.Wrong, r.Asked)
	}
	if r.AgeMedian > 5.5 || r.Circle99 > 9 || r.Bytes > 1000 {
		t.Errorf("answers are %.1f intervals old, circles %.1f, %.0f bytes a second", r.AgeMedian, r.Circle99, r.Bytes)
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

// Clients that move between members and lose messages are judged by run; most of what they look up
// again and again they know.
func TestClientsKnowWhatTheirMembersTell(t *testing.T) {
	restarts := 0
	for seed := range uint64(3) {
		r := run(t, Config{
			Members: 16, Identifiers: 3, Session: time.Minute, Duration: 20 * time.Second, Lookups: 50, Loss: 0.02, Clients: 6, Drops: 0.02,
		}, seed)
		if restarts += r.Restarts; r.ClientMemory < 2*r.ClientAsked {
			t.Errorf("seed %d: %d lookups from memory, %d asked", seed, r.ClientMemory, r.ClientAsked)
		}
	}
	if restarts == 0 {
		t.Error("no subscription was begun anew")
	}
}

// The slower answers are, the longer members wait until they ask an anchor, and the more they ask
// again. Their sweeps begin as often as where answers are fast.
func TestSweepsBeginInTimeHoweverSlowAnswersAre(t *testing.T) {
	for seed := range uint64(3) {
		for _, s := range []string{"lognormal:20ms-60ms", "constant:100ms", "pareto:10ms-2s"} {
			l, err := sim.ParseLatency(s)
			if err != nil {
				t.Fatal(err)
			}
			run(t, Config{Members: 64, Duration: 30 * time.Second, Lookups: 50, Latency: l}, seed)
		}
	}
}

// One member in a hurry does not have the others sweep as often.
func TestHastyMemberSweepsAlone(t *testing.T) {
	calm := run(t, Config{Members: 24, Duration: 30 * time.Second, Lookups: 50}, 1)
	if r := run(t, Config{Members: 24, Duration: 30 * time.Second, Lookups: 50, Hasty: 1}, 1); r.Asked > 0 || r.Messages > 8*calm.Messages {
		t.Errorf("%d asked, %.1f messages a second, and %.1f without it", r.Asked, r.Messages, calm.Messages)
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
	_, err := Run(Config{Members: 0, Interval: time.Millisecond, Loss: 2, Cut: time.Second, Drops: 1}, 0)
	for _, want := range []string{"0 members", "interval 1ms", "duration 0s", "loss 2", "drops 1", "cut 1s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}
