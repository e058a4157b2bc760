package node

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// Two rings that name no cluster. A member of the one ends, and one of the other is
// started at its address.
func TestBothRingsCountAndLogThatTheyMeetAtAnAddressUsedAgain(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, seed)
			defer g.close()
			var sides [2][]*Node
			var logs [2]journal
			add := func(side int, name, addr string) {
				t.Helper()
				g.log = slog.NewTextHandler(&logs[side], nil)
				n := g.addAt(name, addr)
				if sides[side] == nil {
					n.Create()
				} else if err := n.Join(t.Context(), []string{sides[side][0].Addr()}); err != nil {
					t.Fatal(err)
				}
				sides[side] = append(sides[side], n)
			}
			for i := range 10 {
				add(i%2, fmt.Sprintf("n%d of %d", i, seed), "")
			}
			time.Sleep(time.Minute)
			old := sides[0][2]
			old.Close()
			time.Sleep(time.Second)
			add(1, fmt.Sprintf("again of %d", seed), old.Addr())
			g.ideal(5 * time.Minute)
			time.Sleep(time.Minute)
			for i, side := range sides {
				counted := uint64(0)
				for _, n := range side {
					counted += n.Counters().RingsMet
				}
				if logged := logs[i].count("another ring met"); counted == 0 || uint64(logged) != counted {
					t.Errorf("side %d: counted %d times, logged %d times", i, counted, logged)
				}
			}
		})
	}
}
