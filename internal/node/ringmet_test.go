package node

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// usedAgain makes two rings that name no cluster, of which each founder is founded by
// found. A member of the one ends, and one of the other is started at its address.
func usedAgain(t *testing.T, g *rig, seed uint64, found func(*Node)) (sides [2][]*Node, logs *[2]journal) {
	logs = new([2]journal)
	add := func(side int, name, addr string) {
		t.Helper()
		g.log = slog.NewTextHandler(&logs[side], nil)
		n := g.addAt(name, addr)
		if sides[side] == nil {
			found(n)
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
	sides[0] = slices.Delete(sides[0], 2, 3)
	time.Sleep(time.Second)
	add(1, fmt.Sprintf("again of %d", seed), old.Addr())
	return sides, logs
}

func TestBothRingsCountAndLogThatTheyMeetAtAnAddressUsedAgain(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, seed)
			defer g.close()
			g.interval = time.Second
			// Both founders were given the same address, where nobody is.
			sides, logs := usedAgain(t, g, seed, func(n *Node) {
				if err := n.JoinOrFound(t.Context(), []string{n.Addr(), "nobody:1"}, nil, time.Second); err != nil {
					t.Fatal(err)
				}
			})
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

func TestRingsWithNothingInCommonButAnAddressStayApart(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, seed)
			defer g.close()
			g.interval = time.Second
			sides, logs := usedAgain(t, g, seed, func(n *Node) { n.Create() })
			time.Sleep(3 * time.Minute)
			var refused uint64
			for _, side := range sides {
				wantApart(t, side)
				for _, n := range side {
					outgoing, _ := n.failures.counts()
					_, incoming := n.refusals.counts()
					refused += outgoing + incoming
				}
			}
			// Who asks at the address finds out; who is asked there in another's place
			// need not.
			if logs[0].count("which have nothing in common") == 0 || refused == 0 {
				t.Errorf("%d refusals are counted, logged are\n%s", refused, logs[0].text.String())
			}
		})
	}
}

// wantApart tests that the members are one ring, and nobody else is in it.
func wantApart(t *testing.T, side []*Node) {
	t.Helper()
	order := slices.Clone(side)
	slices.SortFunc(order, func(a, b *Node) int {
		if a.cfg.Self.ID < b.cfg.Self.ID {
			return -1
		}
		return 1
	})
	for i, n := range order {
		v := n.Snapshot().View
		var want []ring.Member
		for k := 1; k < len(order) && k <= n.cfg.Successors; k++ {
			want = append(want, order[(i+k)%len(order)].Snapshot().View.Self)
		}
		pred := order[(i+len(order)-1)%len(order)].Snapshot().View.Self
		if !slices.Equal(v.Succ, want) || v.Pred != pred {
			t.Errorf("%s has the predecessor %s and the successors %v, want %s and %v", v.Self.Name, v.Pred, v.Succ, pred, want)
		}
		if v.Origin == nil || v.Origin.ID != order[0].Snapshot().View.Origin.ID {
			t.Errorf("%s is in ring %v, %s in ring %v", v.Self.Name, v.Origin, order[0].cfg.Self.Name, order[0].Snapshot().View.Origin)
		}
	}
}
