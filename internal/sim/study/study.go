// Package study makes experiments of many simulated runs: how members in bad states heal,
// how rings merge, and those that the paper on Chord publishes.
package study

import (
	"fmt"
	"io"
	"time"

	"github.com/ollelogdahl/concord/internal/sim"
	"github.com/ollelogdahl/concord/internal/svg"
)

// Runner runs all seeds of a configuration.
type Runner func(sim.Config) (*sim.Summary, error)

// Heal lets members in bad states heal.
type Heal struct {
	Base   sim.Config
	States []string
	Sizes  []int // numbers of members
}

// Healed is what Heal came to.
type Healed struct {
	States     []*sim.Summary `json:"states"`
	Violations int            `json:"violations"`
	RoundsMax  float64        `json:"rounds_max"`
	Seconds    float64        `json:"seconds"`
}

// Run runs every state in every size and tells out what each came to.
func (h Heal) Run(run Runner, out io.Writer) (*Healed, error) {
	fmt.Fprintf(out, "%-14s %7s %6s %8s %8s %8s %8s\n", "state", "members", "seeds", "median", "99 %", "worst", "failed")
	began := time.Now()
	all := &Healed{}
	for _, name := range h.States {
		for _, n := range h.Sizes {
			c := h.Base
			c.Members, c.Start, c.Idle, c.Lookups = n, name, -1, -1
			sum, err := run(c)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(out, "%-14s %7d %6d %8.1f %8.1f %8.1f %8d\n", name, n, sum.Seeds, sum.RoundsMedian, sum.Rounds99, sum.RoundsMax, sum.Violations)
			all.States = append(all.States, sum)
			all.Violations += sum.Violations
			all.RoundsMax = max(all.RoundsMax, sum.RoundsMax)
		}
	}
	all.Seconds = time.Since(began).Seconds()
	return all, nil
}

// Plot shows the median of each state, a line each.
func (h Heal) Plot(all *Healed, seeds int) *svg.Plot {
	plot := &svg.Plot{
		Title: "Rounds until members in bad states are one ideal ring", Subtitle: fmt.Sprintf("median of %d seeds", seeds),
		X: svg.Axis{Label: "members", Log: true}, Y: svg.Axis{Label: "rounds", Zero: true},
	}
	for i, name := range h.States {
		line := svg.Series{Name: name, Line: true}
		for k, n := range h.Sizes {
			line.Points = append(line.Points, [2]float64{float64(n), all.States[i*len(h.Sizes)+k].RoundsMedian})
		}
		plot.Series = append(plot.Series, line)
	}
	return plot
}

// Merge lets two rings become one.
type Merge struct {
	Base  sim.Config
	Sizes []int         // numbers of members, both rings together
	Cut   time.Duration // if above 0, one ring is cut into halves for so long instead
}

// Merged is what Merge came to.
type Merged struct {
	Sizes      []*sim.Summary `json:"sizes"`
	Violations int            `json:"violations"`
	RoundsMax  float64        `json:"rounds_max"`
	Seconds    float64        `json:"seconds"`
}

// Run runs every size and tells out what each came to.
func (m Merge) Run(run Runner, out io.Writer) (*Merged, error) {
	fmt.Fprintf(out, "%7s %6s %8s %8s %8s %8s\n", "members", "seeds", "median", "99 %", "worst", "failed")
	began := time.Now()
	all := &Merged{}
	for _, n := range m.Sizes {
		c := m.Base
		c.Members, c.Idle, c.Lookups, c.Start = n, -1, -1, "two-rings"
		if m.Cut > 0 {
			c.Start, c.Warmup, c.Split = "ideal", 30*c.Interval, m.Cut
		}
		sum, err := run(c)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "%7d %6d %8.1f %8.1f %8.1f %8d\n", n, sum.Seeds, sum.RoundsMedian, sum.Rounds99, sum.RoundsMax, sum.Violations)
		all.Sizes = append(all.Sizes, sum)
		all.Violations += sum.Violations
		all.RoundsMax = max(all.RoundsMax, sum.RoundsMax)
	}
	all.Seconds = time.Since(began).Seconds()
	return all, nil
}

// Plot shows the median and the worst of each size.
func (m Merge) Plot(all *Merged, seeds int) *svg.Plot {
	what := "two rings, one acquaintance between them"
	if m.Cut > 0 {
		what = fmt.Sprintf("one ring, cut into halves for %v", m.Cut)
	}
	median, worst := svg.Series{Name: "median", Line: true}, svg.Series{Name: "worst", Line: true}
	for i, n := range m.Sizes {
		median.Points = append(median.Points, [2]float64{float64(n), all.Sizes[i].RoundsMedian})
		worst.Points = append(worst.Points, [2]float64{float64(n), all.Sizes[i].RoundsMax})
	}
	return &svg.Plot{
		Title:    "Rounds until two rings are one",
		Subtitle: fmt.Sprintf("%s; %d seeds each", what, seeds),
		X:        svg.Axis{Label: "members", Log: true}, Y: svg.Axis{Label: "rounds", Zero: true},
		Series: []svg.Series{median, worst},
	}
}

// Histogram plots which share of the runs was ideal by when.
func Histogram(s *sim.Summary) *svg.Plot {
	all := s.Distribution()
	line := svg.Series{Line: true, Points: [][2]float64{{0, 0}}}
	for i, r := range all {
		line.Points = append(line.Points, [2]float64{r, 100 * float64(i+1) / float64(len(all))})
	}
	return &svg.Plot{
		Title:    fmt.Sprintf("Rounds until the ring was ideal, %d members", s.Members),
		Subtitle: fmt.Sprintf("%d seeds, start %s, faults %s, %d successors", s.Seeds, s.Start, s.Faults, s.Successors),
		X:        svg.Axis{Label: "rounds after the faults", Zero: true},
		Y:        svg.Axis{Label: "% of the runs", Zero: true},
		Series:   []svg.Series{line},
	}
}
