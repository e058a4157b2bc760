package concord_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// records is a log that tests read.
type records struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func quick(c *concord.Config) {
	c.StabilizeInterval = 100 * time.Millisecond
	c.FoundAfter = 200 * time.Millisecond
}

// awaitRefusals waits until a member has logged that it met another ring and goes on for
// some rounds after that.
func awaitRefusals(t *testing.T, log *records) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(log.String(), "which have nothing in common") {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no refusal is logged:\n%s", log)
		}
	}
}

// A member of one ring ends, and one of another ring is started at its address. The
// others of the first ring ask there, and nothing comes of it.
func TestAddressUsedAgainByAnotherRing(t *testing.T) {
	var log records
	logged := func(c *concord.Config) { c.LogHandler = slog.NewTextHandler(&log, nil) }
	a := create(t, "a", quick, logged)
	b, c := start(t, "b", quick, logged), start(t, "c", quick, logged)
	join(t, b, a.Address())
	join(t, c, b.Address(), a.Address())
	production := []*concord.Concord{a, b, c}
	awaitIdeal(t, production)
	x := create(t, "x", quick)
	addr := b.Address()
	b.Stop()
	y := start(t, "y", quick, at(addr))
	join(t, y, x.Address())
	staging := []*concord.Concord{x, y}
	awaitRefusals(t, &log)
	awaitIdeal(t, []*concord.Concord{a, c})
	awaitIdeal(t, staging)
	if !strings.Contains(log.String(), "set Cluster") {
		t.Errorf("the log does not say what to do:\n%s", &log)
	}
}

// Rings that were founded apart by members that were given an address in common become
// one.
func TestRingsFoundedApartByMembersGivenAnAddressInCommon(t *testing.T) {
	nobodyThere := nobody(t)
	found := func(name string, addrs ...string) *concord.Concord {
		t.Helper()
		c := start(t, name, quick)
		if err := c.JoinOrCreate(t.Context(), append(addrs, nobodyThere, c.Address())...); err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := found("a"), found("b")
	awaitIdeal(t, []*concord.Concord{a})
	awaitIdeal(t, []*concord.Concord{b})
	c := start(t, "c", quick)
	join(t, c, a.Address(), b.Address())
	awaitIdeal(t, []*concord.Concord{a, b, c})
}

// The same, but the founders were given nothing: what the third was given is no matter.
func TestRingsCreatedApartStayApart(t *testing.T) {
	var log records
	a, b := create(t, "a", quick), create(t, "b", quick)
	c := start(t, "c", quick, func(c *concord.Config) { c.LogHandler = slog.NewTextHandler(&log, nil) })
	join(t, c, a.Address(), b.Address())
	awaitRefusals(t, &log)
	awaitIdeal(t, []*concord.Concord{a, c})
	awaitIdeal(t, []*concord.Concord{b})
}
