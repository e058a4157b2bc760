package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/ollelogdahl/concord/internal/explore"
)

// checkReport is the last line of --json.
type checkReport struct {
	States      int        `json:"states"`
	Transitions int        `json:"transitions"`
	Violations  int        `json:"violations"`
	Exhausted   bool       `json:"exhausted"`
	Seconds     float64    `json:"seconds"`
	Rate        int        `json:"rate"` // transitions a second
	QuietRounds int        `json:"quiet_rounds_max"`
	Runs        []checkRun `json:"runs"`
}

type checkRun struct {
	Start       string  `json:"start"`
	States      int     `json:"states"`
	Transitions int     `json:"transitions"`
	Exhausted   bool    `json:"exhausted"`
	Seconds     float64 `json:"seconds"`
	Rate        int     `json:"rate"`
	QuietRounds int     `json:"quiet_rounds_max"`
	Depth       int     `json:"depth"`
	Violation   string  `json:"violation,omitempty"`
	Trace       string  `json:"trace,omitempty"`
}

func (t *checkReport) add(start string, r explore.Result) checkRun {
	run := checkRun{
		Start: start, States: r.States, Transitions: r.Transitions, Exhausted: r.Exhausted,
		Seconds: math.Round(1000*r.Seconds) / 1000, Rate: rate(r.Transitions, r.Seconds), QuietRounds: r.QuietRounds, Depth: r.Depth,
	}
	if v := r.Violation; v != nil {
		run.Violation, run.Trace = v.Rule, v.Trace
		t.Violations++
	}
	t.States += r.States
	t.Transitions += r.Transitions
	t.Exhausted = t.Exhausted && r.Exhausted
	t.Seconds += run.Seconds
	t.Rate = rate(t.Transitions, t.Seconds)
	t.QuietRounds = max(t.QuietRounds, r.QuietRounds)
	t.Runs = append(t.Runs, run)
	return run
}

func (r checkRun) String(every bool) string {
	end := "not exhausted"
	if r.Exhausted {
		end = "exhausted"
	}
	if r.Violation != "" {
		end = "broken"
	}
	if every {
		return fmt.Sprintf("every state: %s states, %s tried, %s\n  in %.1f s; quiet rounds: at most %d",
			grouped(r.States), grouped(r.Transitions), end, r.Seconds, r.QuietRounds)
	}
	return fmt.Sprintf("from a %s: %s states, %s transitions, %s\n  in %.1f s, %s transitions/s; quiet rounds: at most %d",
		r.Start, grouped(r.States), grouped(r.Transitions), end, r.Seconds, grouped(r.Rate), r.QuietRounds)
}

func rate(n int, seconds float64) int { return int(float64(n) / max(seconds, 0.001)) }

// grouped writes a number with a comma between thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
