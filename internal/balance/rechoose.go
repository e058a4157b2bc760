package balance

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/plain"
)

const (
	// Far is how many times what is fair for it a member must own for an identifier to be
	// chosen anew. It is seldom reached in a ring that only grows.
	Far = 1.125
	// reach is how many of the most loaded members, and then of the least loaded, are
	// looked at for a change.
	reach = 32
)

// Change is one identifier of a member that is to become another variant.
type Change struct {
	Name    string
	Slot    int
	Variant uint8
}

// Next returns the change that makes the shares more even, if a member owns more than [Far]
// times what is fair for it. It is a change of a member that owns too much, the most loaded
// first. If none of those has one that helps, it is a change of one that owns little, by
// which it takes from one that owns too much. All who know the same circle find the same
// change, so that the member in question makes it and the others wait.
func (c *Circle) Next() (Change, bool) {
	order := make([]int32, 0, len(c.owners))
	for i := range c.owners {
		if c.owners[i].weight > 0 {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(c.fills(b), c.fills(a)), cmp.Compare(c.owners[a].Name, c.owners[b].Name))
	})
	for _, o := range order[:min(reach, len(order))] {
		if c.fills(o) <= Far {
			break
		}
		if change, ok := c.best(o, false); ok {
			return change, true
		}
	}
	if len(order) == 0 || c.fills(order[0]) <= Far {
		return Change{}, false
	}
	slices.Reverse(order)
	for _, o := range order[:min(reach, len(order)-1)] {
		if change, ok := c.best(o, true); ok {
			return change, true
		}
	}
	return Change{}, false
}

// best is the change of one member that brings it, and those that lose or gain by it,
// nearest to what is fair; only one by which a member loses that owns too much, if relieve
// is set. It returns false if no change helps.
func (c *Circle) best(o int32, relieve bool) (best Change, ok bool) {
	m := &c.owners[o]
	if len(c.points) == m.weight {
		return Change{}, false
	}
	saved := least
	for slot, id := range m.IDs {
		if slot < m.Fixed {
			continue
		}
		p := c.at(id)
		for v := range uint8(Variants) {
			to := Identifier(c.space, m.Name, slot, v)
			if v == m.Choices[slot] || c.vacant(m.Name, to) != nil {
				continue
			}
			d, from := c.saves(p, to)
			if d > saved && (!relieve || c.fills(from) > Far) {
				best, saved, ok = Change{Name: m.Name, Slot: slot, Variant: v}, d, true
			}
		}
	}
	return best, ok
}

// saves is by how much the shares cost less once the p-th point stands at another place,
// and from whom it takes there.
func (c *Circle) saves(p int, to uint64) (saved float64, from int32) {
	after, at := c.next(p), c.at(to)
	start, from := c.points[c.before(at)].id, c.points[at].owner
	if at == p || at == after { // on the arc that is there without the point
		start, from = c.points[c.before(p)].id, c.points[after].owner
	}
	var t transfer
	dropped, taken := c.length(p), c.between(start, to)
	t.add(c.points[p].owner, taken-dropped)
	t.add(c.points[after].owner, dropped)
	t.add(from, -taken)
	return t.saves(c), from
}

// transfer is what up to three owners gain and lose.
type transfer struct {
	owners [3]int32
	gains  [3]float64
	n      int
}

func (t *transfer) add(owner int32, gain float64) {
	for i := range t.n {
		if t.owners[i] == owner {
			t.gains[i] += gain
			return
		}
	}
	t.owners[t.n], t.gains[t.n] = owner, gain
	t.n++
}

// saves is by how much the shares cost less with the transfer.
func (t *transfer) saves(c *Circle) float64 {
	sum := 0.0
	for i := range t.n {
		o := &c.owners[t.owners[i]]
		sum += cost(o.share, o.weight, c.weight) - cost(o.share+t.gains[i], o.weight, c.weight)
	}
	return sum
}

// Make carries a change out, and returns the share of the circle that it moves. It fails,
// and changes nothing, if there is no such identifier or the place is taken.
func (c *Circle) Make(change Change) (moved float64, err error) {
	o := c.place(change.Name)
	if o < 0 || change.Slot < 0 || change.Slot >= c.owners[o].weight || change.Variant >= Variants {
		return 0, fmt.Errorf("member %q has no identifier %d, variant %d",
			plain.Text(change.Name), change.Slot, change.Variant)
	}
	to := Identifier(c.space, change.Name, change.Slot, change.Variant)
	if err := c.vacant(change.Name, to); err != nil {
		return 0, err
	}
	s := &c.owners[o].Stand
	moved = c.remove(c.at(s.IDs[change.Slot])) + c.insert(to, o)
	s.IDs[change.Slot], s.Choices[change.Slot] = to, change.Variant
	return moved, nil
}

// Grow gives a member one more identifier, and returns the share that it takes by that. The
// variant is the one that brings the member, and whom it takes from, nearest to what is
// fair. It fails, and changes nothing, if all are taken.
func (c *Circle) Grow(name string) (taken float64, err error) {
	o := c.place(name)
	if o < 0 {
		return 0, fmt.Errorf("no member is named %q", plain.Text(name))
	}
	m := &c.owners[o]
	slot := m.weight
	if slot >= MaxWeight {
		return 0, fmt.Errorf("member %q has %d identifiers (at most %d)", plain.Text(name), slot, MaxWeight)
	}
	var id uint64
	variant, saved := uint8(Variants), 0.0
	for v := range uint8(Variants) {
		to := Identifier(c.space, name, slot, v)
		if e := c.vacant(name, to); e != nil {
			err = e
			continue
		}
		if d := c.grown(o, to); variant == Variants || d > saved {
			id, variant, saved = to, v, d
		}
	}
	if variant == Variants {
		return 0, fmt.Errorf("every variant of identifier %d is taken: %w", slot, err)
	}
	m.IDs, m.Choices = append(m.IDs, id), append(m.Choices, variant)
	return c.insert(id, o), nil
}

// grown is by how much the shares cost less once the member in place o, with one identifier
// more, also stands at id.
func (c *Circle) grown(o int32, id uint64) float64 {
	at := c.at(id)
	from, taken := c.points[at].owner, c.between(c.points[c.before(at)].id, id)
	if from == o { // it takes from itself
		return 0
	}
	mine, other, total := &c.owners[o], &c.owners[from], c.weight+1
	return cost(mine.share, mine.weight+1, total) - cost(mine.share+taken, mine.weight+1, total) +
		cost(other.share, other.weight, total) - cost(other.share-taken, other.weight, total)
}

// Shrink takes the last identifier of a member away, and returns the share that goes with
// it. It fails, and changes nothing, if the member has only one.
func (c *Circle) Shrink(name string) (given float64, err error) {
	o := c.place(name)
	if o < 0 {
		return 0, fmt.Errorf("no member is named %q", plain.Text(name))
	}
	m := &c.owners[o]
	last := m.weight - 1
	if last < 1 {
		return 0, fmt.Errorf("member %q has one identifier, its last", plain.Text(name))
	}
	given = c.remove(c.at(m.IDs[last]))
	m.IDs, m.Choices = m.IDs[:last], m.Choices[:last]
	return given, nil
}
