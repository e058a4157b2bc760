package svg

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func TestPlotsAreWellFormedAndShowEveryPoint(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		name string
		plot Plot
		dots int
	}{
		{"nothing", Plot{}, 0},
		{"one point", Plot{Series: []Series{{Points: [][2]float64{{3, 4}}}}}, 1},
		{"escaped", Plot{Title: "a < b & c", Series: []Series{{Name: `"x"`, Line: true, Points: [][2]float64{{0, 1}, {2, 5}}}}}, 2},
		{"log leaves out what it cannot show", Plot{X: Axis{Log: true}, Y: Axis{Log: true}, Series: []Series{{Points: [][2]float64{{0, 1}, {1, nan}, {16, 3}, {4096, 12}}}}}, 2},
		{"equal values", Plot{Y: Axis{Zero: true}, Series: []Series{{Points: [][2]float64{{1, 0}, {2, 0}}}}}, 2},
	} {
		var b strings.Builder
		if err := tc.plot.Write(&b); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		d := xml.NewDecoder(strings.NewReader(b.String()))
		dots := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
				dots++
				for _, a := range e.Attr {
					if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
						t.Errorf("%s: %s=%s", tc.name, a.Name.Local, a.Value)
					}
				}
			}
		}
		if dots != tc.dots {
			t.Errorf("%s: %d points are drawn, want %d", tc.name, dots, tc.dots)
		}
	}
}

func TestTicksAreRound(t *testing.T) {
	p := Plot{Series: []Series{{Points: [][2]float64{{0, 0.3}, {37, 14}}}}}
	got := p.scale(&p.X, 0, 0, 100).ticks()
	if len(got) < 3 || len(got) > 9 || got[0] != 0 || got[1] != 5 {
		t.Errorf("ticks %v, want 0, 5, 10 …", got)
	}
	p.X.Log = true
	p.Series[0].Points = [][2]float64{{16, 1}, {4096, 2}}
	if got := p.scale(&p.X, 0, 0, 100).ticks(); len(got) != 9 || got[0] != 16 || got[8] != 4096 {
		t.Errorf("ticks %v, want the powers of 2 from 16 to 4096", got)
	}
}
