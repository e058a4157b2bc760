package concord_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// BenchmarkJoinerUnserved joins members to a ring of four on this machine, each of which takes its
// range for a second, and reports for how long nobody serves a key of it.
func BenchmarkJoinerUnserved(b *testing.B) {
	serve := func(m *concord.Concord) *concord.Service {
		return m.Serve(b.Context(), concord.Handler{Take: func(ctx context.Context, _ concord.Range, _ []concord.Server, _ uint64) error {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return ctx.Err()
		}})
	}
	begin := func(name string) (*concord.Concord, *concord.Service) {
		m := concord.New(concord.Config{Name: name, BindAddr: "127.0.0.1:0"})
		if err := m.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { m.Stop() })
		return m, serve(m)
	}
	var members []*concord.Concord
	var services []*concord.Service
	for i := range 4 {
		m, s := begin(fmt.Sprint("member ", i))
		if i == 0 {
			if err := m.Create(); err != nil {
				b.Fatal(err)
			}
		} else if err := m.Join(b.Context(), members[0].Address()); err != nil {
			b.Fatal(err)
		}
		members, services = append(members, m), append(services, s)
	}
	for _, s := range services {
		if err := s.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	var total, most time.Duration
	for i := range b.N {
		joiner, s := begin(fmt.Sprint("joiner ", i))
		key := []byte(joiner.Name())
		var owner *concord.Service
		for k, m := range members {
			if m.Owns(key) {
				owner = services[k]
			}
		}
		joined := make(chan error, 1)
		go func() { joined <- joiner.Join(b.Context(), members[0].Address()) }()
		served := time.Now()
		unserved := time.Duration(0)
		look := time.NewTicker(100 * time.Microsecond)
		for range look.C {
			if _, ok := s.Serves(key); ok {
				unserved = time.Since(served)
				break
			}
			if _, ok := owner.Serves(key); ok {
				served = time.Now()
			}
		}
		look.Stop()
		if err := <-joined; err != nil {
			b.Fatal(err)
		}
		total += unserved
		most = max(most, unserved)
		if err := joiner.Leave(b.Context()); err != nil {
			b.Fatal(err)
		}
		for _, s := range services {
			if err := s.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(total.Microseconds())/1000/float64(b.N), "ms/join")
	b.ReportMetric(float64(most.Microseconds())/1000, "ms-worst")
	b.ReportMetric(0, "ns/op")
}
