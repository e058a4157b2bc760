package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ollelogdahl/concord"
)

// printJSON prints v over several lines.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printLine prints v as one line of JSON.
func printLine(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }

// cell is s in a column of a table: cut to width, and nothing that would move the
// cursor of a terminal.
func cell(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if n := utf8.RuneCountInString(s); n > width {
		s = string([]rune(s)[:width-1]) + "…"
	}
	return s
}

// person is a server in a line of text.
func person(s concord.Server) string {
	return fmt.Sprintf("%s (%d) %s", cell(s.Name, 255), s.Id, s.Address)
}

// short is a duration with as many digits as one wants to read.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

// progress tells on a terminal how far something is that takes a while.
type progress struct {
	out   io.Writer // nil: nobody looks
	began time.Time
	last  time.Time
	width int
}

// newProgress tells on out, if that is a terminal.
func newProgress(out io.Writer) *progress {
	p := &progress{began: time.Now()}
	if f, ok := out.(*os.File); ok && terminal(f) {
		p.out = out
	}
	return p
}

// tell replaces the line by what it is told, ten times a second at most and not
// before 2 s have passed.
func (p *progress) tell(format string, args ...any) {
	now := time.Now()
	if p.out == nil || now.Sub(p.began) < 2*time.Second || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last = now
	line := fmt.Sprintf(format, args...)
	n := utf8.RuneCountInString(line)
	fmt.Fprint(p.out, "\r", line, strings.Repeat(" ", max(0, p.width-n)))
	p.width = n
}

// done takes the line away.
func (p *progress) done() {
	if p.width > 0 {
		fmt.Fprint(p.out, "\r", strings.Repeat(" ", p.width), "\r")
		p.width = 0
	}
}

// terminal reports whether somebody may type at f.
func terminal(f *os.File) bool {
	is, err := f.Stat()
	if err != nil || is.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(is, null)
}

// quoted is s as the value of name=value.
func quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == '"' || r == '=' || !strconv.IsPrint(r)
	}) {
		return strconv.Quote(s)
	}
	return s
}
