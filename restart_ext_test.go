package concord_test

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// at makes a member listen at exactly this address.
func at(addr string) func(*concord.Config) {
	return func(c *concord.Config) { c.BindAddr = addr }
}

func TestMemberThatRestartsAtOnceIsBack(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		members := newRing(t, n)
		for round := range 6 {
			i := 1 + round%(n-1)
			old := members[i]
			addr := old.Address()
			old.Stop()
			c := start(t, old.Name(), at(addr))
			join(t, c, members[0].Address())
			members[i] = c
			awaitIdeal(t, members)
			for _, m := range members {
				if got := lookup(t, m, c.Name(), concord.Fresh()); got != serverOf(c) {
					t.Errorf("%s: %v, want %v", m.Name(), got, serverOf(c))
				}
			}
		}
	}
}

func TestMemberThatRestartsElsewhereIsBack(t *testing.T) {
	members := newRing(t, 3)
	for range 6 {
		old := members[1]
		old.Stop()
		c := start(t, old.Name())
		join(t, c, members[2].Address())
		members[1] = c
		awaitIdeal(t, members)
		for _, m := range members {
			if got := lookup(t, m, c.Name()); got != serverOf(c) {
				t.Errorf("%s: %v, want %v", m.Name(), got, serverOf(c))
			}
		}
	}
}

// Nobody can have found out that the member was dead: it listens again before
// any question has arrived, and no round comes.
func TestMemberThatRestartsUnnoticedIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		lazy := func(c *concord.Config) { c.StabilizeInterval = time.Hour }
		network.Delay(50*time.Millisecond, 50*time.Millisecond)
		members := memoryRing(t, network, 4, lazy)
		for i := 1; i < 4; i++ {
			old := members[i]
			old.Stop()
			c := memoryMember(t, network, old.Name(), lazy)
			join(t, c, members[0].Address())
			members[i] = c
			awaitIdeal(t, members)
		}
		for _, c := range members {
			c.Stop()
		}
	})
}

func TestRestartedMemberWhoseBootstrapIsTheRestOfTheRing(t *testing.T) {
	members := newRing(t, 2)
	for i := range 8 {
		old := members[i%2]
		addr := old.Address()
		old.Stop()
		c := start(t, old.Name(), at(addr))
		join(t, c, members[1-i%2].Address())
		members[i%2] = c
		awaitIdeal(t, members)
	}
}

func TestAnotherAtDeadMembersAddressIsNeverTakenForIt(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		members := newRing(t, n)
		dead := members[1]
		was := serverOf(dead)
		dead.Stop()
		// It listens where the dead one did, first in no ring.
		c := start(t, "newcomer", at(was.Address))
		rest := append([]*concord.Concord{members[0]}, members[2:]...)
		awaitIdeal(t, rest)
		join(t, c, rest[0].Address())
		now := append([]*concord.Concord{c}, rest...)
		awaitIdeal(t, now)
		for _, m := range now {
			for _, key := range []string{was.Name, "newcomer", "a", "b", "c", "d"} {
				for _, opts := range [][]concord.LookupOption{nil, {concord.Fresh()}} {
					if got, want := lookup(t, m, key, opts...), ownerOf(now, idOf(key)); got != want {
						t.Errorf("%s: %q: %v, want %v", m.Name(), key, got, want)
					}
				}
			}
		}
	}
}

func TestLookupsOutliveAnAddressThatChangesHands(t *testing.T) {
	members := newRing(t, 4)
	was := serverOf(members[1])
	members[1].Stop()
	c := start(t, "newcomer", at(was.Address))
	join(t, c, members[0].Address())
	rest := []*concord.Concord{members[0], members[2], members[3]}
	eventually(t, func() error {
		for _, m := range rest {
			for i := range 10 {
				key := fmt.Sprintf("key%d", i)
				got := lookup(t, m, key)
				if got.Address == was.Address && got.Name != "newcomer" && got != was {
					t.Fatalf("%s: %v is neither the dead nor the new one", m.Name(), got)
				}
			}
		}
		return ideal(append(rest, c))
	})
	for _, m := range append(rest, c) {
		if got := lookup(t, m, was.Name); got == was {
			t.Errorf("%s still names the dead", m.Name())
		}
	}
}

// Members swap addresses: each listens where the other did.
func TestMembersThatSwapAddresses(t *testing.T) {
	members := newRing(t, 4)
	a, b := members[1], members[2]
	addrA, addrB := a.Address(), b.Address()
	a.Stop()
	b.Stop()
	a2, b2 := start(t, a.Name(), at(addrB)), start(t, b.Name(), at(addrA))
	join(t, a2, members[0].Address())
	join(t, b2, members[3].Address())
	members[1], members[2] = a2, b2
	awaitIdeal(t, members)
	for _, m := range members {
		for _, c := range members {
			if got := lookup(t, m, c.Name(), concord.Fresh()); got != serverOf(c) {
				t.Errorf("%s: %q is at %v", m.Name(), c.Name(), got)
			}
		}
	}
}

func TestStrangerAtDeadMembersAddress(t *testing.T) {
	members := newRing(t, 3)
	addr := members[1].Address()
	members[1].Stop()
	start(t, "stranger", at(addr), func(c *concord.Config) { c.Cluster = "another" })
	awaitIdeal(t, []*concord.Concord{members[0], members[2]})
}

func TestBlackHoleAtDeadMembersAddress(t *testing.T) {
	t.Parallel() // it waits
	members := newRing(t, 3)
	addr := members[1].Address()
	members[1].Stop()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the address was taken: %v", err)
	}
	swallow(t, lis)
	rest := []*concord.Concord{members[0], members[2]}
	awaitIdeal(t, rest)
	for _, m := range rest {
		for i := range 20 {
			key := fmt.Sprintf("key%d", i)
			if got, want := lookup(t, m, key), ownerOf(rest, idOf(key)); got != want {
				t.Errorf("%s: %q: %v, want %v", m.Name(), key, got, want)
			}
		}
	}
}
