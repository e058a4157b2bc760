package concord_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// A member that has restarted at its address is the same Server, and has another incarnation.
func TestIncarnationOfAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		members := newMemoryRing(t, network, 4)
		time.Sleep(10 * time.Second)
		old := members[3]
		who := serverOf(old)
		before := map[*concord.Concord]uint64{}
		for _, m := range members {
			inc, ok := m.Incarnation(who)
			if !ok || inc == 0 {
				t.Fatalf("%s: %d, %v", m.Name(), inc, ok)
			}
			before[m] = inc
		}
		elsewhere := who
		elsewhere.Address = "elsewhere:1"
		if inc, ok := members[0].Incarnation(elsewhere); ok {
			t.Errorf("of one at another address: %d", inc)
		}
		if err := old.Stop(); err != nil {
			t.Fatal(err)
		}
		if inc, ok := old.Incarnation(who); ok {
			t.Errorf("after Stop: %d", inc)
		}
		again := memoryMember(t, network, old.Name())
		join(t, again, members[0].Address())
		members[3] = again
		awaitIdeal(t, members)
		time.Sleep(10 * time.Second)
		if serverOf(again) != who {
			t.Fatalf("it is %v, and was %v", serverOf(again), who)
		}
		for _, m := range members[:3] {
			if inc, ok := m.Incarnation(who); !ok || inc <= before[m] {
				t.Errorf("%s: %d, %v, and before %d", m.Name(), inc, ok, before[m])
			}
		}
		for list := range members[0].WatchRing(t.Context()) {
			for _, x := range list {
				if inc, _ := members[0].Incarnation(x.Server); inc != x.Incarnation || inc == 0 {
					t.Errorf("%s: on the map %d, known %d", x.Server.Name, x.Incarnation, inc)
				}
			}
			break
		}
		stopAll(members)
	})
}
