// Package svg draws plots of points and lines as SVG, with no more than a
// browser needs to show them.
package svg

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
)

// Plot is one picture. Its axes end at the outermost points.
type Plot struct {
	Title, Subtitle string
	X, Y            Axis
	Series          []Series
}

// Axis is one of the two.
type Axis struct {
	Label string
	Log   bool // to the base of 2; what is not above 0 is left out
	Zero  bool // begins at 0; not with Log
}

// Series is points, joined by a line if wanted.
type Series struct {
	Name   string
	Line   bool
	Points [][2]float64
}

const (
	width, height           = 720, 440
	left, right, top, below = 64, 16, 56, 56
	dots                    = 1.8
)

var colours = []string{"#1f6feb", "#d1480c", "#1a7f37", "#8250df", "#9a6700"}

// Write draws the plot.
func (p *Plot) Write(to io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	text := func(x, y float64, anchor, style, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, style, html.EscapeString(s))
	}
	text(left, 22, "start", `font-size="15" font-weight="bold"`, p.Title)
	text(left, 40, "start", `fill="#555"`, p.Subtitle)
	x := p.scale(&p.X, 0, left, width-right)
	y := p.scale(&p.Y, 1, height-below, top)
	for _, t := range x.ticks() {
		at := x.at(t)
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`+"\n", at, top, at, height-below)
		text(at, height-below+18, "middle", "", number(t))
	}
	for _, t := range y.ticks() {
		at := y.at(t)
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", left, at, width-right, at)
		text(left-8, at+4, "end", "", number(t))
	}
	text((left+width-right)/2, height-14, "middle", "", p.X.Label)
	text(0, 0, "middle", fmt.Sprintf(`transform="translate(16 %d) rotate(-90)"`, (top+height-below)/2), p.Y.Label)
	for i, s := range p.Series {
		colour := colours[i%len(colours)]
		var line []string
		for _, pt := range s.Points {
			if !x.shows(pt[0]) || !y.shows(pt[1]) {
				continue
			}
			line = append(line, fmt.Sprintf("%.1f,%.1f", x.at(pt[0]), y.at(pt[1])))
			if !s.Line || len(s.Points) <= 64 {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/>`+"\n", x.at(pt[0]), y.at(pt[1]), dots, colour)
			}
		}
		if s.Line {
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", strings.Join(line, " "), colour)
		}
		if s.Name != "" {
			at := float64(top + 16 + 16*i)
			fmt.Fprintf(&b, `<rect x="%d" y="%.1f" width="10" height="3" fill="%s"/>`+"\n", left+10, at-5, colour)
			text(left+26, at, "start", "", s.Name)
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(to, b.String())
	return err
}

// scale maps the values of an axis to the picture.
type scale struct {
	axis     *Axis
	low, top float64 // values
	from, to float64 // picture
}

func (p *Plot) scale(a *Axis, dim int, from, to float64) scale {
	s := scale{axis: a, low: math.Inf(1), top: math.Inf(-1), from: from, to: to}
	for _, series := range p.Series {
		for _, pt := range series.Points {
			if s.shows(pt[dim]) {
				s.low, s.top = min(s.low, pt[dim]), max(s.top, pt[dim])
			}
		}
	}
	switch {
	case s.low > s.top:
		s.low, s.top = 1, 2
	case s.low == s.top && a.Log:
		s.low, s.top = s.low/2, s.top*2
	case s.low == s.top:
		s.low, s.top = s.low-1, s.top+1
	}
	if a.Zero && !a.Log {
		s.low = min(0, s.low)
	}
	if !a.Log {
		s.top += (s.top - s.low) / 20
	}
	return s
}

func (s scale) shows(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!s.axis.Log || v > 0)
}

func (s scale) at(v float64) float64 {
	low, top := s.low, s.top
	if s.axis.Log {
		v, low, top = math.Log2(v), math.Log2(low), math.Log2(top)
	}
	return s.from + (v-low)/(top-low)*(s.to-s.from)
}

// ticks are round values along the axis, about eight.
func (s scale) ticks() []float64 {
	var out []float64
	if s.axis.Log {
		first, last := math.Ceil(math.Log2(s.low)-1e-9), math.Floor(math.Log2(s.top)+1e-9)
		step := max(1, math.Ceil((last-first)/10))
		for e := first; e <= last; e += step {
			out = append(out, math.Exp2(e))
		}
		return out
	}
	step := math.Pow(10, math.Floor(math.Log10((s.top-s.low)/8)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (s.top-s.low)/(step*f) <= 8 {
			step *= f
			break
		}
	}
	first := math.Ceil(s.low / step)
	for i := range 32 {
		v := (first + float64(i)) * step
		if v > s.top {
			break
		}
		out = append(out, v)
	}
	return out
}

func number(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'g', 6, 64) }
