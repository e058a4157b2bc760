package concordprom_test

import (
	"testing"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordprom"
)

// What being observed costs: a lookup that memory answers, by an arc that its owner
// has confirmed, and one that asks the owner. The first is the same with and
// without.

func benchmark(b *testing.B, opts ...concord.LookupOption) {
	for _, how := range []string{"off", "prometheus"} {
		b.Run(how, func(b *testing.B) {
			var o *concord.Observer
			if how != "off" {
				o = concordprom.New().Observer()
			}
			members := newRing(b, 2, o)
			key := []byte(members[1].Name())
			// The owner's word, so that the arc is confirmed.
			if _, err := members[0].LookupContext(b.Context(), key, concord.Fresh()); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := members[0].LookupContext(b.Context(), key, opts...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkConfirmedLookup is a lookup from memory.
func BenchmarkConfirmedLookup(b *testing.B) { benchmark(b) }

// BenchmarkAskedLookup asks the owner, on loopback.
func BenchmarkAskedLookup(b *testing.B) { benchmark(b, concord.Fresh()) }
