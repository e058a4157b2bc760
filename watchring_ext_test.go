package concord_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// Applied in order, the changes follow from one another and end in the ring, however slow
// the loop is.
func TestRingChangesAppliedGiveTheRing(t *testing.T) {
	for _, pause := range []time.Duration{0, 700 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			network := memory.NewNetwork(1)
			network.Delay(time.Millisecond, time.Millisecond)
			members := newMemoryRing(t, network, 6)
			ctx, cancel := context.WithCancel(t.Context())
			known := map[concord.Server]concord.Range{}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for list := range members[0].WatchRing(ctx) {
					for _, x := range list {
						if old, had := known[x.Server]; had != x.Had || old != x.Old {
							t.Errorf("%+v after %v (%v)", x, old, had)
						}
						if known[x.Server] = x.New; !x.Has {
							delete(known, x.Server)
						}
					}
					time.Sleep(pause)
				}
			}()
			members[3].Stop()
			late := memoryMember(t, network, "late")
			join(t, late, members[0].Address())
			if err := members[4].Leave(t.Context()); err != nil {
				t.Error(err)
			}
			left := []*concord.Concord{members[0], members[1], members[2], members[5], late}
			awaitIdeal(t, left)
			time.Sleep(5 * time.Second)
			cancel()
			<-ended
			if len(known) != len(left) {
				t.Errorf("it knows %v", known)
			}
			for _, c := range left {
				if got := known[serverOf(c)]; got != c.Range() {
					t.Errorf("%s has %v, should have %v", c.Name(), got, c.Range())
				}
				c.Stop()
			}
		})
	}
}

func TestRingOfNobodyIsEmpty(t *testing.T) {
	for range concord.New(configure("unstarted")).WatchRing(t.Context()) {
		t.Error("a member that was not started yields something")
	}
	c := start(t, "member1")
	for list := range c.WatchRing(t.Context()) {
		if len(list) > 0 {
			t.Errorf("a member in no ring yields %v", list)
		}
		break
	}
	c.Stop()
	for range c.WatchRing(t.Context()) {
		t.Error("a member that was stopped yields something")
	}
}

// Members that join one right after another are on each other's maps before any round: what is
// pushed suffices.
func TestMapsAreCompleteWithoutRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := memoryRing(t, network, 12, func(c *concord.Config) { c.StabilizeInterval = time.Hour })
		time.Sleep(3 * time.Second)
		for _, m := range members {
			for list := range m.WatchRing(t.Context()) {
				if len(list) != len(members) {
					t.Errorf("%d of %d members are on the map of %s", len(list), len(members), m.Name())
				}
				break
			}
		}
		for _, m := range members {
			m.Stop()
		}
	})
}
