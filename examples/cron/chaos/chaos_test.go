//go:build unix

package main

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/examples/internal/herd"
)

func TestNoRunIsLostWhenAMemberIsKilled(t *testing.T) {
	r, err := carryOut(t.Context(), plan{
		members: 4, virtualNodes: 16, jobs: 8, every: time.Second, takes: 100 * time.Millisecond, length: time.Second, between: 3 * time.Second,
		seed: 1, faults: herd.Faults()[:1], dir: t.TempDir(), source: "..",
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Runs < 50 || r.Overlapping+r.Double+r.Missed > 0 {
		t.Errorf("%+v", r)
	}
}
