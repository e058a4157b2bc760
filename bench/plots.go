package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/ollelogdahl/concord/internal/bench"
)

// line is one line of a plot: values by numbers of members.
type line struct {
	name   string
	points plotter.XYs
}

// picture is a plot over the number of members.
type picture struct {
	file, title, y string
	lines          func(r results) []line
	linear         bool // the y axis, from 0
}

var pictures = []picture{
	{"lookup.svg", "One lookup from memory, one caller, median", "ns", lookupLines, true},
	{"join.svg", "Until all know of a member that joined, median", "ms", groupLines(func(g groupResult) float64 { return ms(bench.Median(g.Join)) }), false},
	{"fail.svg", "Until all know of a member that was killed, median", "ms", groupLines(func(g groupResult) float64 { return ms(bench.Median(g.Fail)) }), false},
	{"bytes.svg", "Written by each member while nothing happens", "bytes/s", groupLines(func(g groupResult) float64 { return g.Bytes }), false},
	{"cpu.svg", "Processor time of each member while nothing happens", "ms/s", groupLines(func(g groupResult) float64 { return g.CPU / 1e6 }), false},
	{"heap.svg", "Heap and stacks of each member", "KiB", groupLines(func(g groupResult) float64 { return float64(g.Heap+g.Stacks) / 1024 }), false},
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// fromMemory are the lookups that are drawn.
var fromMemory = []string{"lookup-confirmed", "lookup-owned", "floor-hash-search", "groupcache-sha256", "groupcache-crc32", "serialx-hashring"}

func lookupLines(r results) []line {
	var out []line
	for _, name := range fromMemory {
		l := line{name: name}
		for _, t := range r.Lookups {
			if t.Name == name && t.Callers == 1 {
				l.points = append(l.points, plotter.XY{X: float64(t.Members), Y: t.P50})
			}
		}
		out = append(out, l)
	}
	return out
}

func groupLines(of func(groupResult) float64) func(results) []line {
	return func(r results) []line {
		var out []line
		for _, s := range systems {
			l := line{name: s.name}
			for _, g := range r.Groups {
				if g.System == s.name {
					l.points = append(l.points, plotter.XY{X: float64(g.Members), Y: of(g)})
				}
			}
			out = append(out, l)
		}
		return out
	}
}

// drawAll draws every picture for which there is something to be drawn.
func drawAll(r results, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // pictures are for all to see
		return err
	}
	for _, p := range pictures {
		if err := p.draw(r, filepath.Join(dir, p.file)); err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
	}
	return nil
}

// draw makes the axes logarithmic, unless the picture says otherwise: what grows
// with the number of members and what does not is told apart, and so are
// milliseconds and seconds.
func (p picture) draw(r results, file string) error {
	lines := slices.DeleteFunc(p.lines(r), func(l line) bool { return len(l.points) == 0 })
	if len(lines) == 0 {
		return nil
	}
	c := plot.New()
	c.Title.Text = p.title
	c.X.Label.Text = "members"
	c.Y.Label.Text = p.y
	c.Title.Padding = vg.Points(6)
	c.X.Scale = plot.LogScale{}
	if !p.linear {
		c.Y.Scale = plot.LogScale{}
		c.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	}
	c.Legend.Top, c.Legend.Left = true, true
	c.Legend.Padding = vg.Points(2)
	c.Add(plotter.NewGrid())
	var all plotter.XYs
	for i, l := range lines {
		slices.SortFunc(l.points, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		for k := range l.points {
			l.points[k].Y = max(l.points[k].Y, 1e-3) // zero has no logarithm
		}
		all = append(all, l.points...)
		drawn, marks, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return err
		}
		drawn.Color, marks.Color = plotutil.Color(i), plotutil.Color(i)
		drawn.Dashes, marks.Shape = plotutil.Dashes(i), plotutil.Shape(i)
		c.Add(drawn, marks)
		c.Legend.Add(l.name, drawn, marks)
	}
	c.X.Tick.Marker = membersTicks(all)
	low, high := all[0], all[0]
	for _, at := range all {
		low.X, high.X = min(low.X, at.X), max(high.X, at.X)
		low.Y, high.Y = min(low.Y, at.Y), max(high.Y, at.Y)
	}
	c.X.Min, c.X.Max = low.X/1.2, high.X*1.2
	c.Y.Min, c.Y.Max = low.Y/1.5, high.Y*15 // room for the legend
	if p.linear {
		c.Y.Min, c.Y.Max = 0, high.Y*1.8
	}
	return c.Save(18*vg.Centimeter, 11*vg.Centimeter, file)
}

// membersTicks marks the numbers of members that were measured.
func membersTicks(all plotter.XYs) plot.ConstantTicks {
	var out plot.ConstantTicks
	for _, at := range all {
		label := strconv.Itoa(int(at.X))
		if !slices.ContainsFunc(out, func(t plot.Tick) bool { return t.Label == label }) {
			out = append(out, plot.Tick{Value: at.X, Label: label})
		}
	}
	return out
}
