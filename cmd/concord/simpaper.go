package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/sim"
	"github.com/ollelogdahl/concord/internal/svg"
)

// What the paper on Chord publishes (IEEE/ACM Transactions on Networking 11(1),
// 2003): tables II and III. Figure 10 shows means of half the logarithm.
var (
	paperHalve = []struct{ share, path, timeouts float64 }{
		{0, 3.84, 0}, {0.1, 4.03, 0.60}, {0.2, 4.22, 1.17}, {0.3, 4.44, 2.02}, {0.4, 4.69, 3.23}, {0.5, 5.09, 5.10},
	}
	paperChurn = []struct {
		rate, path, timeouts float64
		failed               int
	}{
		{0.05, 3.90, 0.05, 0}, {0.10, 3.83, 0.11, 0}, {0.15, 3.84, 0.16, 2}, {0.20, 3.81, 0.23, 5},
		{0.25, 3.83, 0.30, 6}, {0.30, 3.91, 0.34, 8}, {0.35, 3.94, 0.42, 16}, {0.40, 4.06, 0.46, 15},
	}
)

// paperResult is what concord sim paper --json ends with.
type paperResult struct {
	Paths []paperPaths `json:"path_lengths"`
	Grown *paperPaths  `json:"grown,omitempty"`
	Halve []paperRow   `json:"half_fail"`
	Churn []paperRow   `json:"churn"`
	// Seconds is how long all of it took.
	Seconds float64 `json:"seconds"`
}

type paperPaths struct {
	Textbook *sim.Paths `json:"textbook,omitempty"`
	Concord  sim.Paths  `json:"concord"`
	Built    float64    `json:"built_seconds"`
	Bytes    uint64     `json:"bytes_per_member"`
	Events   int        `json:"events_of_the_round"`
}

type paperRow struct {
	What      float64    `json:"what"` // the share that failed; joins and failures in a second
	Published [3]float64 `json:"published"`
	Textbook  *sim.Paths `json:"textbook,omitempty"`
	Concord   sim.Paths  `json:"concord"`
}

func newSimPaper() *cobra.Command {
	var f simFlags
	var largest, grown, lookups int
	cmd := &cobra.Command{
		Use:   "paper",
		Short: "Repeat experiments of the paper on Chord, beside its figures",
		Long: `Repeat experiments of the paper on Chord (IEEE/ACM Transactions on Networking
11(1), 2003) with the code that ships:

  path lengths   figure 10: members asked in a lookup by one that has not looked
                 anything up before, in rings of 8 to --largest members
  half fail      table II: of 1,000 members with 20 successors a share fails at
                 once, and 10,000 lookups follow
  churn          table III: 1,000 members come and go while lookups run, rounds
                 of 30 s

"textbook" is routing as it stands in the paper: successors and the owners of
self + 2^i. It stands still: what failed is found out by time-outs, nothing
mends. "concord" is what ships. In tables II and III it runs on virtual time, so
it mends while the lookups run. The member that looks up does not count as
asked.

A ring of a million takes 11 GiB and some minutes.`,
		Example: `  concord sim paper
  concord sim paper --largest 1048576 --lookups 1000000 --grown 65536`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if largest < 8 || largest > 1<<22 || lookups < 100 || grown < 0 || grown > 1<<20 {
				return errors.New("--largest 8 to 4194304, --lookups at least 100, --grown 0 to 1048576")
			}
			out := f.output(cmd)
			began := time.Now()
			var all paperResult
			fmt.Fprintf(out, "Path length (figure 10), lists of %d, %d lookups each\n", f.successors, lookups)
			fmt.Fprintf(out, "%9s %8s %14s %14s %8s %8s\n", "members", "log2/2", "textbook", "concord", "built", "bytes")
			line := func(p *paperPaths) {
				book := "-"
				if p.Textbook != nil {
					book = spread(*p.Textbook)
				}
				fmt.Fprintf(out, "%9d %8.2f %14s %14s %7.1fs %8d\n", p.Concord.Members, math.Log2(float64(p.Concord.Members))/2,
					book, spread(p.Concord), p.Built, p.Bytes)
			}
			var book, ours, half svg.Series
			book.Name, ours.Name, half.Name = "textbook", "concord", "half of log2, as published"
			book.Line, ours.Line, half.Line = true, true, true
			for n := 8; n <= largest; n *= 2 {
				b := sim.Textbook(n, f.successors, min(lookups, 100_000), 0, f.seed) // before there is a ring to be kept
				bound(n)
				s, err := sim.Stand(n, f.successors, f.seed)
				if err != nil {
					return err
				}
				p := standing(s, lookups, f.seed)
				p.Textbook = &b
				all.Paths = append(all.Paths, p)
				line(&p)
				book.Points = append(book.Points, [2]float64{float64(n), b.Asked})
				ours.Points = append(ours.Points, [2]float64{float64(n), p.Concord.Asked})
				half.Points = append(half.Points, [2]float64{float64(n), math.Log2(float64(n)) / 2})
			}
			if grown > 0 {
				fmt.Fprintln(out, "and grown by joins, each round as many as there were:")
				bound(4 * grown) // members that have lived know more others
				s, err := sim.Grow(grown, f.successors, f.seed)
				if err != nil {
					return err
				}
				p := standing(s, lookups, f.seed)
				all.Grown = &p
				line(&p)
			}

			fmt.Fprintf(out, "\nHalf fail (table II): path length and time-outs of a lookup\n")
			fmt.Fprintf(out, "%6s  %15s  %23s  %28s\n", "failed", "published", "textbook (not found)", "concord (not found, wrong)")
			for _, pub := range paperHalve {
				b := sim.Textbook(1000, 20, 10_000, pub.share, f.seed)
				p, err := sim.Halve(1000, 20, 10_000, pub.share, f.seed)
				if err != nil {
					return err
				}
				all.Halve = append(all.Halve, paperRow{pub.share, [3]float64{pub.path, pub.timeouts, 0}, &b, p})
				fmt.Fprintf(out, "%5.0f%%  %7.2f %7.2f  %7.2f %7.2f %7d  %7.2f %7.2f %6d %5d\n", 100*pub.share,
					pub.path, pub.timeouts, b.Asked, b.Silent, b.Failed, p.Asked, p.Silent, p.Failed, p.Wrong)
			}

			fmt.Fprintf(out, "\nChurn (table III): path length, time-outs, lookups of 10,000 that failed\n")
			fmt.Fprintf(out, "%6s  %23s  %31s\n", "rate/s", "published", "concord (not found, wrong)")
			for _, pub := range paperChurn {
				p, err := sim.Churn(1000, 20, 10_000, pub.rate, f.seed)
				if err != nil {
					return err
				}
				all.Churn = append(all.Churn, paperRow{pub.rate, [3]float64{pub.path, pub.timeouts, float64(pub.failed)}, nil, p})
				fmt.Fprintf(out, "%6.2f  %7.2f %7.2f %7d  %8.2f %7.2f %7d %7d\n", pub.rate,
					pub.path, pub.timeouts, pub.failed, p.Asked, p.Silent, p.Failed, p.Wrong)
			}
			all.Seconds = time.Since(began).Seconds()
			fmt.Fprintf(out, "\n%.0f s\n", all.Seconds)
			if f.svg != "" {
				if err := f.drawIn(&svg.Plot{
					Title:    "Members asked in a lookup",
					Subtitle: fmt.Sprintf("%d successors, %d lookups each, nothing looked up before", f.successors, lookups),
					X:        svg.Axis{Label: "members", Log: true}, Y: svg.Axis{Label: "members asked", Zero: true},
					Series: []svg.Series{half, book, ours},
				}, "paths.svg"); err != nil {
					return err
				}
				if err := f.drawIn(halvePlot(all.Halve), "half-fail.svg"); err != nil {
					return err
				}
				if err := f.drawIn(churnPlot(all.Churn), "churn.svg"); err != nil {
					return err
				}
			}
			return f.finish(cmd, 0, all)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.successors, "successors", 3, "length of a full successor list in figure 10")
	flags.Uint64Var(&f.seed, "seed", 0, "of all that is random")
	flags.BoolVar(&f.json, "json", false, "end with a line of JSON; tell on standard error")
	flags.StringVar(&f.svg, "svg", "", "draw the plots into this directory")
	flags.IntVar(&largest, "largest", 1<<14, "members of the largest ring of figure 10")
	flags.IntVar(&grown, "grown", 1<<12, "also let a ring of so many grow by joins; 0: do not")
	flags.IntVar(&lookups, "lookups", 20_000, "lookups in each ring of figure 10")
	return cmd
}

// bound has a ring of n members in as much memory as it takes and half of that
// more: nearly all of a large one is kept, and the collector would let it double.
func bound(n int) {
	debug.FreeOSMemory() // of the ring before
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(256<<20 + int64(n)*11_000)
	}
}

// spread is a mean with what 98 of 100 lookups ask.
func spread(p sim.Paths) string { return fmt.Sprintf("%.2f (%d, %d)", p.Asked, p.P1, p.P99) }

func standing(s *sim.Standing, lookups int, seed uint64) paperPaths {
	p := s.Lookups(lookups, seed)
	return paperPaths{Concord: p, Built: s.Built.Seconds(), Bytes: s.Bytes / uint64(p.Members), Events: s.Events}
}

// drawIn writes a plot into the directory of --svg.
func (f *simFlags) drawIn(p *svg.Plot, name string) error {
	in := *f
	in.svg = filepath.Join(f.svg, name)
	return in.draw(p)
}

func halvePlot(rows []paperRow) *svg.Plot {
	pub, book, ours := svg.Series{Name: "published"}, svg.Series{Name: "textbook", Line: true}, svg.Series{Name: "concord", Line: true}
	for _, r := range rows {
		pub.Points = append(pub.Points, [2]float64{100 * r.What, r.Published[1]})
		book.Points = append(book.Points, [2]float64{100 * r.What, r.Textbook.Silent})
		ours.Points = append(ours.Points, [2]float64{100 * r.What, r.Concord.Silent})
	}
	return &svg.Plot{
		Title: "Time-outs in a lookup after a share of 1,000 members failed at once", Subtitle: "20 successors, 10,000 lookups",
		X: svg.Axis{Label: "% failed", Zero: true}, Y: svg.Axis{Label: "members asked that did not answer", Zero: true},
		Series: []svg.Series{pub, book, ours},
	}
}

func churnPlot(rows []paperRow) *svg.Plot {
	pub, ours := svg.Series{Name: "published", Line: true}, svg.Series{Name: "concord", Line: true}
	for _, r := range rows {
		pub.Points = append(pub.Points, [2]float64{r.What, r.Published[2]})
		ours.Points = append(ours.Points, [2]float64{r.What, float64(r.Concord.Failed + r.Concord.Wrong)})
	}
	return &svg.Plot{
		Title: "Lookups of 10,000 that failed or named the wrong member", Subtitle: "1,000 members, rounds of 30 s, one lookup a second",
		X: svg.Axis{Label: "joins and failures in a second, each", Zero: true}, Y: svg.Axis{Label: "lookups", Zero: true},
		Series: []svg.Series{pub, ours},
	}
}
