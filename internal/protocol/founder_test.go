package protocol

import (
	"testing"
	"time"
)

// Somebody with the smallest identifier says that it will found, answers everybody, and
// never does; and when it is not believed any longer another comes that does the same.
// Those that look for a ring found one without them.
func TestFoundersThatNeverFoundAreNotWaitedForWithoutEnd(t *testing.T) {
	for _, listed := range []bool{false, true} {
		w := newWorld(t, 7, 3)
		const after = 3 * time.Second
		var via []string
		for i := range 3 {
			via = append(via, w.member(i).addr)
		}
		var fakes []*host
		for i := range uint64(6) {
			fake := w.add("fake", 1+i, "fake:"+string(rune('1'+i)), 1_000)
			fake.m.phase = Bootstrapping
			fake.m.bootstrap = bootstrapping{every: bootstrapEvery, patience: 1 << 30, wanted: true, listed: true}
			fakes = append(fakes, fake)
		}
		if listed {
			via = append(via, fakes[5].addr)
		}
		members := w.order[:3]
		for _, h := range members {
			w.step(h, Join{Via: via, Found: after})
		}
		for k := range 60 {
			for _, fake := range fakes[:min(6, 1+k/2)] {
				for _, h := range members {
					w.hear(h, fake.m.self, Request{Kind: Look, Subject: fake.m.self})
				}
			}
			w.run(time.Second)
		}
		for _, h := range members {
			if h.m.phase != Joined {
				t.Errorf("listed %v: %v is %v after a minute", listed, h.m.self, h.m.phase)
			}
		}
	}
}
