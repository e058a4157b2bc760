package sim

import (
	"runtime"
	"testing"
	"time"
)

// BenchmarkMemberRound is what one member costs for one round of its time, its
// fingers, its part of the lookups and of the churn included.
func BenchmarkMemberRound(b *testing.B) {
	const members = 10_000
	cfg := Config{Members: members, Duration: time.Duration(max(1, b.N/members)) * time.Second, Sessions: Sessions{Mean: time.Hour}, Lookups: 100, Idle: -1}
	r, err := Run(cfg, 1)
	if err != nil || len(r.Violations) > 0 {
		b.Fatal(err, r.Violations)
	}
	b.ReportMetric(float64(r.Events)/(members*r.Virtual.Seconds()), "events/op")
}

// BenchmarkMemory is what a member of a ring at rest occupies.
func BenchmarkMemory(b *testing.B) {
	const members = 20_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		cfg, err := Config{Members: members}.withDefaults()
		if err != nil {
			b.Fatal(err)
		}
		w := newWorld(cfg, 1)
		w.settle()
		w.run(20*time.Second, nil)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/members, "bytes/member")
		runtime.KeepAlive(w)
	}
}
