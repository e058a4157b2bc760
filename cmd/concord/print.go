package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/plain"
)

// printJSON prints v over several lines.
func printJSON(out io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := out.Write(plain.JSON(b.Bytes())) // what others say is in it
	return err
}

// printLine prints v as one line of JSON.
func printLine(out io.Writer, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	_, err := out.Write(plain.JSON(b.Bytes())) // what others say is in it
	return err
}

// cell is s, which others may have chosen, in a column of a table: harmless, and cut to
// width.
func cell(s string, width int) string {
	s = plain.Text(s)
	if n := utf8.RuneCountInString(s); n > width {
		s = string([]rune(s)[:width-1]) + "…"
	}
	return s
}

// person is a server in a line of text.
func person(s concord.Server) string {
	return fmt.Sprintf("%s (%d) %s", cell(s.Name, 255), s.Id, plain.Text(s.Address))
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
