package explore

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
)

func run(t *testing.T, cfg Config) {
	t.Helper()
	began := time.Now()
	r := Run(cfg)
	took := time.Since(began)
	t.Logf("%d states, %d transitions, %v, %.0f transitions/s, exhausted %v, quiet rounds at most %d",
		r.States, r.Transitions, took.Round(time.Millisecond), float64(r.Transitions)/took.Seconds(), r.Exhausted, r.QuietRounds)
	if r.Violation != nil {
		t.Fatal(r.Violation)
	}
}

func TestThreeMembersFromOneFounder(t *testing.T) {
	run(t, Config{Identifiers: 3, Successors: 2, Founded: 1, Grain: Instant, Joins: 2, Fails: 0, Rules: invariant.Always(), Quiet: 20, MaxStates: 20000})
}

func TestThreeMembersFail(t *testing.T) {
	run(t, Config{Identifiers: 3, Successors: 2, Founded: 3, Grain: Instant, Fails: 1, Rules: invariant.Always(), Quiet: 20, MaxStates: 20000})
}

func TestThreeMembersSuspect(t *testing.T) {
	run(t, Config{Identifiers: 3, Successors: 2, Founded: 3, Grain: Instant, Suspicions: 2, Rules: invariant.Always(), Quiet: 20, MaxStates: 20000})
}

func TestThreeMembersApart(t *testing.T) {
	run(t, Config{Identifiers: 3, Successors: 2, Founded: 3, Grain: Apart, Fails: 1, Rules: invariant.Always(), Quiet: 20, MaxStates: 20000})
}
