package study

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/ollelogdahl/concord/internal/sim"
	"github.com/ollelogdahl/concord/internal/svg"
)

// What the paper on Chord publishes (IEEE/ACM Transactions on Networking 11(1),
// 2003): tables II and III. Figure 10 shows means of half the logarithm.
var (
	publishedHalve = []struct{ share, path, timeouts float64 }{
		{0, 3.84, 0}, {0.1, 4.03, 0.60}, {0.2, 4.22, 1.17}, {0.3, 4.44, 2.02}, {0.4, 4.69, 3.23}, {0.5, 5.09, 5.10},
	}
	publishedChurn = []struct {
		rate, path, timeouts float64
		failed               int
	}{
		{0.05, 3.90, 0.05, 0}, {0.10, 3.83, 0.11, 0}, {0.15, 3.84, 0.16, 2}, {0.20, 3.81, 0.23, 5},
		{0.25, 3.83, 0.30, 6}, {0.30, 3.91, 0.34, 8}, {0.35, 3.94, 0.42, 16}, {0.40, 4.06, 0.46, 15},
	}
)

// Paper is what the experiments of the paper came to, beside its figures.
type Paper struct {
	Paths []PathLengths `json:"path_lengths"`
	Grown *PathLengths  `json:"grown,omitempty"`
	Halve []Row         `json:"half_fail"`
	Churn []Row         `json:"churn"`
	// Seconds is how long all of it took.
	Seconds float64 `json:"seconds"`
}

// PathLengths are those in a ring of one size, with what that ring took.
type PathLengths struct {
	Textbook *sim.Paths `json:"textbook,omitempty"`
	Concord  sim.Paths  `json:"concord"`
	Built    float64    `json:"built_seconds"`
	Bytes    uint64     `json:"bytes_per_member"`
	Events   int        `json:"events_of_the_round"`
}

// Row is one of the tables II and III.
type Row struct {
	What      float64    `json:"what"` // the share that failed; joins and failures in a second
	Published [3]float64 `json:"published"`
	Textbook  *sim.Paths `json:"textbook,omitempty"`
	Concord   sim.Paths  `json:"concord"`
}

// PaperOptions say how large the experiments are.
type PaperOptions struct {
	Successors int // of the path lengths
	Largest    int // ring of the path lengths
	Grown      int // members of a ring that grows by joins; 0: none
	Lookups    int // in each ring
	Seed       uint64
}

// RunPaper repeats the experiments of the paper and tells out what they come to.
func RunPaper(o PaperOptions, out io.Writer) (*Paper, error) {
	began := time.Now()
	p := &Paper{}
	for _, experiment := range []func(*Paper, PaperOptions, io.Writer) error{(*Paper).pathLengths, (*Paper).halfFail, (*Paper).churn} {
		if err := experiment(p, o, out); err != nil {
			return nil, err
		}
	}
	p.Seconds = time.Since(began).Seconds()
	fmt.Fprintf(out, "\n%.0f s\n", p.Seconds)
	return p, nil
}

// pathLengths is figure 10.
func (p *Paper) pathLengths(o PaperOptions, out io.Writer) error {
	fmt.Fprintf(out, "Path length (figure 10), lists of %d, %d lookups each\n", o.Successors, o.Lookups)
	fmt.Fprintf(out, "%9s %8s %14s %14s %8s %8s\n", "members", "log2/2", "textbook", "concord", "built", "bytes")
	for n := 8; n <= o.Largest; n *= 2 {
		book := sim.Textbook(n, o.Successors, min(o.Lookups, 100_000), 0, o.Seed) // before there is a ring to be kept
		bound(n)
		s, err := sim.Stand(n, o.Successors, o.Seed)
		if err != nil {
			return err
		}
		paths := measured(s, o)
		paths.Textbook = &book
		p.Paths = append(p.Paths, paths)
		paths.tell(out)
	}
	if o.Grown == 0 {
		return nil
	}
	fmt.Fprintln(out, "and grown by joins, each round as many as there were:")
	bound(4 * o.Grown) // members that have lived know more others
	s, err := sim.Grow(o.Grown, o.Successors, o.Seed)
	if err != nil {
		return err
	}
	paths := measured(s, o)
	p.Grown = &paths
	paths.tell(out)
	return nil
}

// halfFail is table II.
func (p *Paper) halfFail(o PaperOptions, out io.Writer) error {
	fmt.Fprintf(out, "\nHalf fail (table II): path length and time-outs of a lookup\n")
	fmt.Fprintf(out, "%6s  %15s  %23s  %28s\n", "failed", "published", "textbook (not found)", "concord (not found, wrong)")
	for _, pub := range publishedHalve {
		book := sim.Textbook(1000, 20, 10_000, pub.share, o.Seed)
		ours, err := sim.Halve(1000, 20, 10_000, pub.share, o.Seed)
		if err != nil {
			return err
		}
		p.Halve = append(p.Halve, Row{pub.share, [3]float64{pub.path, pub.timeouts, 0}, &book, ours})
		fmt.Fprintf(out, "%5.0f%%  %7.2f %7.2f  %7.2f %7.2f %7d  %7.2f %7.2f %6d %5d\n", 100*pub.share,
			pub.path, pub.timeouts, book.Asked, book.Silent, book.Failed, ours.Asked, ours.Silent, ours.Failed, ours.Wrong)
	}
	return nil
}

// churn is table III.
func (p *Paper) churn(o PaperOptions, out io.Writer) error {
	fmt.Fprintf(out, "\nChurn (table III): path length, time-outs, lookups of 10,000 that failed\n")
	fmt.Fprintf(out, "%6s  %23s  %31s\n", "rate/s", "published", "concord (not found, wrong)")
	for _, pub := range publishedChurn {
		ours, err := sim.Churn(1000, 20, 10_000, pub.rate, o.Seed)
		if err != nil {
			return err
		}
		p.Churn = append(p.Churn, Row{pub.rate, [3]float64{pub.path, pub.timeouts, float64(pub.failed)}, nil, ours})
		fmt.Fprintf(out, "%6.2f  %7.2f %7.2f %7d  %8.2f %7.2f %7d %7d\n", pub.rate,
			pub.path, pub.timeouts, pub.failed, ours.Asked, ours.Silent, ours.Failed, ours.Wrong)
	}
	return nil
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

func measured(s *sim.Standing, o PaperOptions) PathLengths {
	p := s.Lookups(o.Lookups, o.Seed)
	return PathLengths{Concord: p, Built: s.Built.Seconds(), Bytes: s.Bytes / uint64(p.Members), Events: s.Events}
}

func (p *PathLengths) tell(out io.Writer) {
	book := "-"
	if p.Textbook != nil {
		book = spread(*p.Textbook)
	}
	fmt.Fprintf(out, "%9d %8.2f %14s %14s %7.1fs %8d\n", p.Concord.Members, math.Log2(float64(p.Concord.Members))/2,
		book, spread(p.Concord), p.Built, p.Bytes)
}

// Plots are the plots of the experiments, by the names of their files.
func (p *Paper) Plots(o PaperOptions) map[string]*svg.Plot {
	return map[string]*svg.Plot{"paths.svg": p.pathsPlot(o), "half-fail.svg": halvePlot(p.Halve), "churn.svg": churnPlot(p.Churn)}
}

func (p *Paper) pathsPlot(o PaperOptions) *svg.Plot {
	half, book, ours := svg.Series{Name: "half of log2, as published", Line: true}, svg.Series{Name: "textbook", Line: true}, svg.Series{Name: "concord", Line: true}
	for _, r := range p.Paths {
		n := float64(r.Concord.Members)
		half.Points = append(half.Points, [2]float64{n, math.Log2(n) / 2})
		book.Points = append(book.Points, [2]float64{n, r.Textbook.Asked})
		ours.Points = append(ours.Points, [2]float64{n, r.Concord.Asked})
	}
	return &svg.Plot{
		Title:    "Members asked in a lookup",
		Subtitle: fmt.Sprintf("%d successors, %d lookups each, nothing looked up before", o.Successors, o.Lookups),
		X:        svg.Axis{Label: "members", Log: true}, Y: svg.Axis{Label: "members asked", Zero: true},
		Series: []svg.Series{half, book, ours},
	}
}

func halvePlot(rows []Row) *svg.Plot {
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

func churnPlot(rows []Row) *svg.Plot {
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
