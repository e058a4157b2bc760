package concord_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

const lease = 10 * time.Second

func leased(cfg *concord.Config) { cfg.Lease = lease }

// owners counts who owns a key by a lease now, and fails the test if it is more than one.
func owners(t *testing.T, members []*concord.Concord, key []byte) int {
	t.Helper()
	n := 0
	for _, m := range members {
		until, ok := m.OwnedUntil(key)
		if ok != m.Owns(key) || ok && !until.After(time.Now()) {
			t.Errorf("%s owns %q: %v, and until %v, now is %v", m.Name(), key, m.Owns(key), until, time.Now())
		}
		if ok {
			n++
		}
	}
	if n > 1 {
		t.Errorf("%d members own %q", n, key)
	}
	return n
}

// leasings are how members own: by what their heads grant, or by the votes of four processes, which
// stand at two identifiers each.
var leasings = map[string]func(*concord.Config){
	"grants": leased,
	"votes":  func(cfg *concord.Config) { cfg.Lease, cfg.MinMembers, cfg.VirtualNodes = lease, 4, 2 },
}

// leasedRing is a ring of so many members, at whatever number of identifiers.
func leasedRing(t *testing.T, network *memory.Network, n int, leased func(*concord.Config)) []*concord.Concord {
	t.Helper()
	var members []*concord.Concord
	for i := range n {
		members = enter(t, members, memoryMember(t, network, fmt.Sprint("member", i), leased))
	}
	return members
}

func TestLeasedKeysHaveOneOwner(t *testing.T) {
	for what, leased := range leasings {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { leasedKeysHaveOneOwner(t, leased) })
		})
	}
}

func leasedKeysHaveOneOwner(t *testing.T, leased func(*concord.Config)) {
	network := memory.NewNetwork(1)
	members := leasedRing(t, network, 5, leased)
	all := slices.Clone(members)
	var keys [][]byte
	for i := range 20 {
		keys = append(keys, fmt.Append(nil, "key ", i))
	}
	// watch looks every 10 ms, and returns for how long each key had no owner at most.
	watch := func(d time.Duration) (most time.Duration) {
		missing := make([]time.Duration, len(keys))
		for range d / (10 * time.Millisecond) {
			time.Sleep(10 * time.Millisecond)
			for i, key := range keys {
				if owners(t, all, key) > 0 {
					missing[i] = 0
				} else if missing[i] += 10 * time.Millisecond; missing[i] > most {
					most = missing[i]
				}
			}
		}
		for i, key := range keys {
			if missing[i] > 0 {
				t.Errorf("%q has no owner in the end", key)
			}
		}
		return most
	}
	watch(2 * lease)
	if most := watch(lease); most > 0 {
		t.Errorf("at rest, a key has no owner for %v", most)
	}
	joiner := memoryMember(t, network, "joiner", leased)
	all = append(all, joiner)
	joined := make(chan error, 1)
	go func() { joined <- joiner.Join(t.Context(), members[0].Address()) }()
	// One that joins may know too few that vote in its first round.
	if most := watch(lease); most > 2*time.Second {
		t.Errorf("while one joins, a key has no owner for %v", most)
	}
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- members[1].Leave(t.Context()) }()
	if most := watch(lease); most > time.Second {
		t.Errorf("while one leaves, a key has no owner for %v", most)
	}
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	members[2].Stop()
	if most := watch(2 * lease); most > lease+3*time.Second || most < lease-2*time.Second {
		t.Errorf("after a crash, a key has no owner for %v", most)
	}
	stopAll(all)
}

func TestOwnedUntilWithoutALease(t *testing.T) {
	c := create(t, "a")
	if until, ok := c.OwnedUntil([]byte("key")); ok || !until.IsZero() || !c.Owns([]byte("key")) {
		t.Errorf("without a lease it owns until %v, %v", until, ok)
	}
	alone := create(t, "b", leased)
	if until, ok := alone.OwnedUntil([]byte("key")); !ok || time.Until(until) > lease || time.Until(until) < lease/2 {
		t.Errorf("alone it owns for %v, %v", time.Until(until), ok)
	}
}
