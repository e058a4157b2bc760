package concord_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

func TestThreeMembersOnRealSockets(t *testing.T) {
	a := create(t, "node1")
	ring := []*concord.Concord{a}
	for i := 2; i <= 3; i++ {
		b := start(t, fmt.Sprintf("node%d", i))
		began := time.Now()
		if err := b.Join(context.Background(), a.Address()); err != nil {
			t.Fatal(err)
		}
		t.Logf("joined in %v", time.Since(began))
		ring = append(ring, b)
	}
	for i := range 20 {
		key := fmt.Appendf(nil, "key%d", i)
		owners := map[concord.Server]bool{}
		for _, c := range ring {
			s, err := c.Lookup(key)
			if err != nil {
				t.Fatal(err)
			}
			owners[s] = true
			if c.Owns(key) != (s.Name == c.Name()) {
				t.Errorf("%s: %s named, Owns says %v", c.Name(), s.Name, c.Owns(key))
			}
		}
		if len(owners) != 1 {
			t.Errorf("%s: owners %v", key, owners)
		}
	}
}
