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
		x, ok := d.Take(stranger, "x:1", 0)
		if !ok || !d.TakeForeign(&x, "x:1", 0) {
			t.Fatal("refused, though all before were answered")
		}
		d.Answered(x)
		x, ok = d.Take("", "x:1", 0)
		if !ok {
			t.Fatal("refused, though all before were answered")
		}
		d.Answered(x)
	}
}

func TestQuestionsThatFailAreBounded(t *testing.T) {
	foreign := func(d *Dials, now time.Duration) bool {
		x, ok := d.Take(stranger, "x:1", now)
		return ok && d.TakeForeign(&x, "x:1", now)
	}
	caused := func(d *Dials, now time.Duration) bool { _, ok := d.Take(stranger, "x:1", now); return ok }
	named := func(d *Dials, now time.Duration) bool { _, ok := d.Take("", "x:1", now); return ok }
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
	first := d.source(at(0), 0)
	if d.source(at(1), 0) == first || d.source(at(0), 0) != first {
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
	if got := d.Blamed("a:1"); got != "" || d.blamed.Len() != MaxBlamed {
		t.Errorf("%d addresses are remembered, the oldest blamed on %q", d.blamed.Len(), got)
	}
}

func TestAddressThatFailedLeavesHalfOfABudgetToOthers(t *testing.T) {
	var d Dials
	d.Failed("dead:1")
	ask := func(addr string) bool {
		x, ok := d.Take("192.0.2.7", addr, 0)
		return ok && d.TakeForeign(&x, addr, 0)
	}
	asked := func(addr string) (n int) {
		for ask(addr) {
			n++
		}
		return n
	}
	if n := asked("dead:1"); n != ForeignBurst/2 {
		t.Errorf("one that failed is asked %d times, want %d", n, ForeignBurst/2)
	}
	if n := asked("new:1"); n != ForeignBurst/2 {
		t.Errorf("others are asked %d times after that, want %d", n, ForeignBurst/2)
	}
	for i := range 2 * MaxBlamed {
		d.Failed(fmt.Sprint("other:", i))
	}
	if _, kept := d.failed.Get("dead:1"); d.failed.Len() != MaxBlamed || kept {
		t.Errorf("%d are remembered, want the last %d", d.failed.Len(), MaxBlamed)
	}
}
