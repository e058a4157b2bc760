package concord_test

import (
	"slices"
	"testing"

	"github.com/ollelogdahl/concord"
)

// ends are where a member stands.
func ends(c *concord.Concord) (out []uint64) {
	for _, r := range c.Ranges() {
		out = append(out, r.End)
	}
	return out
}

// A member that is restarted, or drained, stands where it stood, though others have come
// meanwhile, beside whom it would choose other places.
func TestVirtualNodesAreKept(t *testing.T) {
	dir := t.TempDir()
	all := virtual(t, 8, 8)
	c := virtualMember(t, "kept", 8, keeps(dir))
	join(t, c, all[0].Address())
	all = append(all, c)
	settledRanges(t, all)
	stood := ends(c)

	if err := c.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	another := virtualMember(t, "another", 8, nil)
	join(t, another, all[0].Address())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	join(t, c, all[0].Address())
	all = append(all, another)
	settledRanges(t, all)
	if got := ends(c); !slices.Equal(got, stood) {
		t.Errorf("restarted, it stands at %d, and stood at %d", got, stood)
	}

	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, weight := range []int{2, 8} {
		if err := c.SetWeight(t.Context(), weight); err != nil {
			t.Fatal(err)
		}
	}
	settledRanges(t, all)
	if got := ends(c); !slices.Equal(got, stood) {
		t.Errorf("back again, it stands at %d, and stood at %d", got, stood)
	}
}
