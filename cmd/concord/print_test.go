package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/survey"
)

// With the longest names and numbers, too.
func TestTablesFitTheTerminal(t *testing.T) {
	s := concord.Server{Name: strings.Repeat("ä", 255), Id: math.MaxUint64, Address: strings.Repeat("h", 253) + ":65535"}
	whole := concord.Range{Start: math.MaxUint64 - 1, End: math.MaxUint64}
	var out bytes.Buffer
	printTrace(&out, concord.Trace{Key: bytes.Repeat([]byte("k"), 100), Id: math.MaxUint64, Hops: []concord.Hop{
		{Server: s, Why: "nearest before the key", Said: "closer", Named: []concord.Server{s, s, s}, Took: 999 * time.Millisecond},
	}})
	printRing(&out, survey.Report{Ideal: true, Members: []survey.Member{{Member: concord.Member{Server: s}, Share: 1, Wrong: true}}}, time.Minute)
	if err := printEvent(&out, time.Now(), concord.Event{
		New: whole, Has: true, Gained: []concord.Range{whole}, Lost: []concord.Range{whole}, Cause: concord.CausePredecessorJoined,
	}, false); err != nil {
		t.Fatal(err)
	}
	p := picture{bits: 64, members: map[concord.Server]holding{}}
	p.apply([]concord.RingChange{{Server: s, New: whole, Has: true}})
	out.WriteString(p.text(time.Now(), true))
	p.apply([]concord.RingChange{{Server: s, Old: whole, New: concord.Range{Start: math.MaxUint64 - 2, End: math.MaxUint64}, Had: true, Has: true}})
	out.WriteString(p.text(time.Now(), false))
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 15 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestFailuresArePrintedWithWhomWhatWhenAndHowOften(t *testing.T) {
	first := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	printFailures(&out, []concord.PeerFailure{
		{Name: "b", Address: "b:7946", Cause: concord.OutcomeUnreachable, Error: "remote error: tls: expired certificate", First: first, Last: first.Add(time.Hour), Count: 12},
		{Address: "10.0.0.7", Incoming: true, Cause: concord.OutcomeUnreachable, Error: "too many\x1b[2J connections", First: first, Last: first, Count: 1},
	})
	const want = `failures
  2026-07-01T13:00:00Z  b at b:7946: remote error: tls: expired certificate (12 since 2026-07-01T12:00:00Z)
  2026-07-01T12:00:00Z  refused here: 10.0.0.7: too many\x1b[2J connections (1 since 2026-07-01T12:00:00Z)
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

// A member may come before its own first identifier, and a drained one knows of no ring.
func TestStatusSaysWhatPuzzles(t *testing.T) {
	self := concord.Server{Name: "node1", Id: 1, Address: "h:1"}
	var out bytes.Buffer
	printStatus(&out, concord.Status{Self: self, Predecessor: &self, Phase: concord.PhaseJoined, Size: 3})
	printStatus(&out, concord.Status{Self: self, Phase: concord.PhaseDrained})
	for _, want := range []string{"predecessor    itself: ", "about 3\n", "predecessor    none\n", "members        not known: it is in no ring\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
