package ringmap

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ollelogdahl/concord/internal/ring"
)

// claims are those of n members of an ideal ring.
func claims(rng *rand.Rand, n int, bits uint) []Claim {
	out := make([]Claim, n)
	for i := range out {
		name := fmt.Sprintf("member-%d-%d", i, rng.Uint32())
		x := &ring.Member{Name: name, Addr: fmt.Sprintf("10.0.%d.%d:7946", i/256, i%256), Incarnation: 1}
		x.ID = ring.SHA256([]byte(name)) >> (64 - bits)
		out[i] = Claim{ID: x.ID, Epoch: 1, Of: x}
	}
	slices.SortFunc(out, func(a, b Claim) int { return cmp.Compare(a.ID, b.ID) })
	out = slices.CompactFunc(out, func(a, b Claim) bool { return a.ID == b.ID })
	for i := range out {
		out[i].After = out[(i+len(out)-1)%len(out)].ID
	}
	return out
}

// list is what a table should say, worked out from a sorted list.
type list []Claim

func (l list) sum(after, to uint64) (sum uint64, n int) {
	for i := range l {
		if (ring.Arc{After: after, To: to}).Contains(l[i].ID) {
			sum += l[i].hash()
			n++
		}
	}
	return sum, n
}

func (l list) next(id uint64) *Claim {
	for i := range l {
		if l[i].ID >= id {
			return &l[i]
		}
	}
	return &l[0]
}

func TestTableSaysWhatASortedListSays(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, bits := range []uint{8, 20, 64} {
		for _, n := range []int{1, 2, 33, 100, 700} {
			all := claims(rng, n, bits)
			table := NewTable(bits, all[:len(all)/2+1])
			have := list(slices.Clone(all[:len(all)/2+1]))
			for range 300 {
				c := all[rng.IntN(len(all))]
				c.Epoch = rng.Uint64N(3)
				k, there := slices.BinarySearchFunc(have, c.ID, func(x Claim, id uint64) int { return cmp.Compare(x.ID, id) })
				switch {
				case there && rng.IntN(2) == 0 && len(have) > 1:
					have = slices.Delete(have, k, k+1)
					table.remove(c.ID, nil)
				case there:
					have[k] = c
					table.put(c, nil)
				default:
					have = slices.Insert(have, k, c)
					table.put(c, nil)
				}
			}
			compareTable(t, rng, table, have)
		}
	}
}

func compareTable(t *testing.T, rng *rand.Rand, table *Table, have list) {
	t.Helper()
	if got := slices.Collect(table.all()); !slices.Equal(got, have) {
		t.Fatalf("the table holds %d claims, not %d, or others", len(got), len(have))
	}
	if table.Len() != len(have) {
		t.Fatalf("Len is %d, not %d", table.Len(), len(have))
	}
	for range 200 {
		a, b := rng.Uint64()>>(64-table.bits), rng.Uint64()>>(64-table.bits)
		if rng.IntN(2) == 0 {
			a = have[rng.IntN(len(have))].ID
		}
		if rng.IntN(2) == 0 {
			b = have[rng.IntN(len(have))].ID
		}
		sum, n := have.sum(a, b)
		if got := table.sum(a, b); got != sum {
			t.Fatalf("the sum of (%d, %d] is %d, not %d", a, b, got, sum)
		}
		if got := table.between(a, b); got != n {
			t.Fatalf("(%d, %d] has %d claims, not %d", a, b, got, n)
		}
		if got := table.next(a); *got != *have.next(a) {
			t.Fatalf("after %d is %v, not %v", a, got, have.next(a))
		}
		k := rng.IntN(3*len(have)) - len(have)
		if got := table.at(k); *got != have[(k+len(have))%len(have)] {
			t.Fatalf("at %d of %d is %v", k, len(have), got)
		}
	}
}

func TestTableThatWasHandedOutDoesNotChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	all := claims(rng, 200, 64)
	m := New(*all[0].Of, Config{Bits: 64, Interval: 1e9})
	m.Fill(NewTable(64, all[:150]))
	m.Own(0, Owning{Self: *all[0].Of, Arc: all[0].Arc(), Has: true, Epoch: 1})
	before := m.Snapshot()
	want := slices.Collect(before.All())
	for i := range all[150:] {
		c := all[150+i]
		c.Epoch = 5
		m.merge(c)
	}
	if got := slices.Collect(before.All()); !slices.Equal(got, want) {
		t.Fatal("a snapshot has changed")
	}
	if m.Snapshot().Len() == before.Len() {
		t.Fatal("nothing has changed")
	}
}

func TestPoolKeepsEqualBlocksOnce(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(1, 1)), 300, 64)
	pool := NewPool()
	a, b := NewTable(64, nil), NewTable(64, nil)
	for i := range all {
		a.put(all[i], pool)
		b.put(all[len(all)-1-i], pool)
	}
	if !slices.Equal(a.blocks, b.blocks) {
		t.Fatal("equal tables do not share their blocks")
	}
}
