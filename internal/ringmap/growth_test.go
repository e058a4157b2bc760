package ringmap

import (
	"testing"
	"time"
)

// A process chooses identifiers by its map when that is certain of all, and, while another may be
// about to take more, when that has been the same for as long as a claim may be on its way; after an
// interval, and a second at most, by what there is.
func TestProcessWaitsForWhatToChooseBy(t *testing.T) {
	const ms, interval = time.Millisecond, 600 * time.Millisecond
	const began = 10 * time.Second
	ring := func(n, v int) []Claim { return processesOf(n, v) }
	self := ring(1, 1)[0]
	certain := func(all []Claim, as time.Duration) *Snapshot { return snapshotOf(self.home(), 64, all, as) }
	doubted := certain(ring(3, 4), began)
	doubted.doubts = []uint64{ring(3, 4)[2].ID}
	unknown := certain(ring(3, 4), began)
	unknown.levels = nil
	full, growing, grown := certain(ring(3, 4), began), certain(ring(3, 3), began), certain(ring(3, 2), began)
	old := certain(ring(3, 4), began-Promised(interval)-1)

	type ask struct {
		after time.Duration // since it began
		s     *Snapshot
		by    Advice
		again time.Duration // of Wait, since it began
	}
	for name, c := range map[string]struct {
		interval time.Duration
		want     int
		asks     []ask
	}{
		"certain, and nobody grows":            {interval, 4, []ask{{0, full, ByMap, 0}}},
		"others stand at more":                 {interval, 2, []ask{{0, full, ByMap, 0}}},
		"it chooses one anew":                  {interval, 0, []ask{{0, growing, ByMap, 0}}},
		"not certain":                          {interval, 4, []ask{{0, unknown, Wait, 600 * ms}, {599 * ms, unknown, Wait, 600 * ms}, {600 * ms, unknown, ByHead, 0}}},
		"certain of what is too old":           {interval, 4, []ask{{0, old, Wait, 600 * ms}, {600 * ms, old, ByHead, 0}}},
		"in doubt":                             {interval, 4, []ask{{0, doubted, Wait, 600 * ms}, {600 * ms, doubted, ByHead, 0}}},
		"certain after a while":                {interval, 4, []ask{{0, unknown, Wait, 600 * ms}, {70 * ms, full, ByMap, 0}}},
		"a second at most":                     {time.Minute, 4, []ask{{0, unknown, Wait, 1000 * ms}, {1000 * ms, unknown, ByHead, 0}}},
		"another grows, and then does not":     {interval, 4, []ask{{0, growing, Wait, 50 * ms}, {20 * ms, full, ByMap, 0}}},
		"another might grow, and does not":     {interval, 4, []ask{{0, growing, Wait, 50 * ms}, {49 * ms, growing, Wait, 50 * ms}, {50 * ms, growing, ByMap, 0}}},
		"another grows on":                     {interval, 4, []ask{{0, grown, Wait, 50 * ms}, {40 * ms, growing, Wait, 90 * ms}, {50 * ms, growing, Wait, 90 * ms}, {90 * ms, growing, ByMap, 0}}},
		"another grows, not certain meanwhile": {interval, 4, []ask{{0, grown, Wait, 50 * ms}, {40 * ms, unknown, Wait, 600 * ms}, {300 * ms, growing, Wait, 350 * ms}, {350 * ms, growing, ByMap, 0}}},
		"another never ends to grow":           {interval, 4, []ask{{0, grown, Wait, 50 * ms}, {570 * ms, growing, Wait, 600 * ms}, {600 * ms, growing, ByMap, 0}}},
		"late, and it has changed just now":    {interval, 4, []ask{{0, grown, Wait, 50 * ms}, {700 * ms, growing, ByMap, 0}}},
	} {
		g := NewGrowth(began, c.interval, self.home(), c.want)
		for _, a := range c.asks {
			by, claims, at := g.Next(began+a.after, a.s)
			if by != a.by || by == Wait && at != began+a.again || (len(claims) > 0) != (by == ByMap) || len(claims) > 0 && len(claims) != a.s.Len() {
				t.Errorf("%s, after %v: %v by %d claims, again after %v; want %v, after %v", name, a.after, by, len(claims), at-began, a.by, a.again)
			}
		}
	}
}
