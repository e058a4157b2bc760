package concord_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

func start(t *testing.T, name string, edit func(*concord.Config)) *concord.Concord {
	t.Helper()
	cfg := concord.Config{Name: name, BindAddr: "127.0.0.1:0", StabilizeInterval: 200 * time.Millisecond}
	if edit != nil {
		edit(&cfg)
	}
	c := concord.New(cfg)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

func TestThreeMembersOnRealSockets(t *testing.T) {
	a := start(t, "node1", nil)
	if err := a.Create(); err != nil {
		t.Fatal(err)
	}
	ring := []*concord.Concord{a}
	for i := 2; i <= 3; i++ {
		b := start(t, fmt.Sprintf("node%d", i), nil)
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
