package peer

import (
	"fmt"
	"testing"
	"time"
)

const stranger = "192.0.2.7"

func TestMembersThatAnswerCostNothing(t *testing.T) {
	var d Dials
	for range 10 * SourceBurst {
		x, ok := d.Take(stranger, 0)
		if !ok || !d.TakeForeign(&x, 0) {
			t.Fatal("refused, though all before were answered")
		}
		d.Answered(x)
		x, ok = d.Take("", 0)
		if !ok {
			t.Fatal("refused, though all before were answered")
		}
		d.Answered(x)
	}
}

func TestQuestionsThatFailAreBounded(t *testing.T) {
	foreign := func(d *Dials, now time.Duration) bool {
		x, ok := d.Take(stranger, now)
		return ok && d.TakeForeign(&x, now)
	}
	caused := func(d *Dials, now time.Duration) bool { _, ok := d.Take(stranger, now); return ok }
	named := func(d *Dials, now time.Duration) bool { _, ok := d.Take("", now); return ok }
	for _, c := range []struct {
		name  string
		take  func(*Dials, time.Duration) bool
		burst int
		pace  time.Duration
	}{
		{"of one host", caused, SourceBurst, SourcePace},
		{"of one host, elsewhere", foreign, ForeignBurst, ForeignPace},
		{"named", named, NamedBurst, NamedPace},
	} {
		var d Dials
		now := time.Hour
		taken := 0
		for c.take(&d, now) {
			taken++
		}
		if taken != c.burst {
			t.Errorf("%s: %d at once, want %d", c.name, taken, c.burst)
		}
		if c.take(&d, now+c.pace-1) || !c.take(&d, now+c.pace) || c.take(&d, now+c.pace) {
			t.Errorf("%s: not exactly one more after %v", c.name, c.pace)
		}
	}
}

func TestHostsAreToldApartUpToABound(t *testing.T) {
	var d Dials
	at := func(i int) string { return fmt.Sprint("host ", i) }
	if d.source(at(0), 0) == d.source(at(1), 0) || d.source(at(0), 0) != d.source(at(0), 0) {
		t.Error("hosts are not told apart")
	}
	for i := range 3 * MaxSources {
		d.source(at(i), 0).all.take(0, SourceBurst, SourcePace)
	}
	if d.source(at(3*MaxSources), 0) != d.source(at(3*MaxSources+1), 0) {
		t.Error("hosts beyond the bound are told apart")
	}
	if n := len(d.sources); n > MaxSources+1 {
		t.Errorf("%d hosts are told apart, at most %d", n, MaxSources)
	}
	d.source(at(3*MaxSources), time.Hour)
	if n := len(d.sources); n != 1 {
		t.Errorf("%d hosts are remembered an hour later", n)
	}
}

func TestAddressesAreBlamedOnWhoNamedThemLast(t *testing.T) {
	var d Dials
	const other = "192.0.2.8"
	d.Blame("a:1", stranger)
	d.Blame("a:1", other)
	if got := d.Blamed("a:1"); got != other {
		t.Errorf("blamed: %v", got)
	}
	for i := range MaxBlamed {
		d.Blame(fmt.Sprintf("h:%d", i), stranger)
	}
	if got := d.Blamed("a:1"); got != "" || len(d.blamed) != MaxBlamed {
		t.Errorf("%d addresses are remembered, the oldest blamed on %q", len(d.blamed), got)
	}
}
