//go:build unix

package main

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/child"
)

// One of three processes is stopped until the member after it has taken over its
// range, and goes on. Its range is what it was, and it is told of it all the same.
func TestStoppedMemberIsTold(t *testing.T) {
	t.Parallel()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ring, err := child.Ring(ctx, 3, func(i int) child.Options {
		return child.Options{Binary: bin, Name: fmt.Sprintf("node%d", i), Interval: 100 * time.Millisecond}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer child.Kill(ring)
	// status asks a member until what it says is as wanted.
	status := func(c *child.Child, wanted func(shares float64, changes uint64) bool) (float64, uint64) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			s, err := c.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if wanted(s.Share, s.Counters.RangeChanges) {
				return s.Share, s.Counters.RangeChanges
			}
			<-tick.C
		}
	}
	whole := func() bool {
		total := 0.0
		for _, c := range ring {
			share, _ := status(c, func(float64, uint64) bool { return true })
			total += share
		}
		return total > 0.999 && total < 1.001
	}
	status(ring[0], func(float64, uint64) bool { return whole() })
	self, err := ring[1].Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ring[1].Signal(syscall.SIGSTOP)
	others := func() float64 {
		a, _ := status(ring[0], func(float64, uint64) bool { return true })
		b, _ := status(ring[2], func(float64, uint64) bool { return true })
		return a + b
	}
	status(ring[0], func(float64, uint64) bool { return others() > 0.999 })
	ring[1].Signal(syscall.SIGCONT)
	status(ring[1], func(_ float64, changes uint64) bool { return changes > self.Counters.RangeChanges })
	status(ring[0], func(float64, uint64) bool { return whole() })
	now, err := ring[1].Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if now.Range == nil || *now.Range != *self.Range || now.Counters.RangeChanges != self.Counters.RangeChanges+1 {
		t.Errorf("the range was %v and is %v; told %d times", self.Range, now.Range, now.Counters.RangeChanges-self.Counters.RangeChanges)
	}
}
