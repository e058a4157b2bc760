package legacytest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord/internal/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var space = ring.Space{Bits: 64, Hash: ring.SHA256}

func start(t *testing.T, name string) *Member {
	t.Helper()
	m, err := Listen(Config{Name: name, Space: space, Interval: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(what)
		}
	}
}

func TestAloneItIsItsOwnNeighbour(t *testing.T) {
	m := start(t, "a")
	ctx := context.Background()
	if r, err := m.ringOf(ctx, m.self.address); err != nil || r.predecessor != nil || len(r.successors) > 0 {
		t.Errorf("before it joined: ring %+v, %v; want an empty one", r, err)
	}
	if _, err := m.findSuccessorAt(ctx, m.self.address, 1); err == nil {
		t.Error("FindSuccessor answered before it joined")
	}
	m.Create()
	r, err := m.ringOf(ctx, m.self.address)
	if err != nil || *r.predecessor != m.self || len(r.successors) != 3 || *r.successors[2] != m.self {
		t.Errorf("alone: %+v, %v", r, err)
	}
}

func TestRingConvergesAndMends(t *testing.T) {
	ms := []*Member{start(t, "m0")}
	ms[0].Create()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i := 1; i < 4; i++ {
		m := start(t, fmt.Sprintf("m%d", i))
		if err := m.Join(ctx, ms[0].self.address); err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	slices.SortFunc(ms, func(a, b *Member) int {
		if ring.Between(0, a.self.id, b.self.id) {
			return -1
		}
		return 1
	})
	ideal := func() bool {
		for i, m := range ms {
			next, prev := ms[(i+1)%len(ms)], ms[(i+len(ms)-1)%len(ms)]
			if s := m.Successors(); len(s) == 0 || s[0] != next.Self() || m.Predecessor() != prev.Self() {
				return false
			}
		}
		return true
	}
	eventually(t, "four members do not converge", ideal)
	for i, m := range ms {
		next := ms[(i+1)%len(ms)]
		if got, err := m.Lookup(ctx, m.self.id+1); err != nil || got != next.Self() {
			t.Errorf("lookup = %v, %v; want %v", got, err, next.Self())
		}
		// The habit: a member's own identifier is answered with the one before.
		if got, err := ms[(i+2)%len(ms)].Lookup(ctx, next.self.id); err != nil || got != m.Self() {
			t.Errorf("lookup of %v = %v, %v; want %v", next.Self(), got, err, m.Self())
		}
	}
	ms[1].Stop()
	ms = slices.Delete(ms, 1, 2)
	eventually(t, "three members do not mend", ideal)
}
