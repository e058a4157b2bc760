package sim

import (
	"testing"
	"time"
)

func TestOneSeedIsOneRun(t *testing.T) {
	cfg := Config{Members: 32, Duration: 20 * time.Second, Faults: All}
	for seed := range uint64(4) {
		a, err := Run(cfg, seed)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := Run(cfg, seed)
		if a.Trace != b.Trace || a.Events != b.Events {
			t.Errorf("seed %d: trace %x after %d events, and then %x after %d", seed, a.Trace, a.Events, b.Trace, b.Events)
		}
		if len(a.Violations) > 0 {
			t.Errorf("seed %d: %v", seed, a.Violations)
		}
	}
}
