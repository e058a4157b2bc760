package balance

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Holding is a member and where it stands.
type Holding struct {
	Name string
	Stand
	// Fixed is how many of the first identifiers are never chosen anew.
	Fixed int
}

// Circle is the members of a ring and where they stand. It is not safe for use by several
// goroutines at once.
type Circle struct {
	space  ring.Space
	size   float64 // points on the circle
	points []point // in the order of their identifiers
	owners []owner
	free   []int32 // places in owners that no member has
	weight int     // of all members together: the number of points
}

// point is one identifier and its owner's place.
type point struct {
	id    uint64
	owner int32
}

type owner struct {
	Holding
	weight int     // the number of its identifiers, 0 if there is no such member
	share  float64 // of the circle
}

// fills is how many times what is fair for it a member owns.
func (c *Circle) fills(o int32) float64 { return c.owners[o].share / c.fair(c.owners[o].weight) }

// NewCircle makes a circle of members. Members without identifiers are left out. It fails if
// two have a name or an identifier in common.
func NewCircle(space ring.Space, members []Holding) (*Circle, error) {
	c := &Circle{space: space, size: float64(space.Mask()) + 1}
	names := make(map[string]bool, len(members))
	for _, m := range members {
		if len(m.IDs) == 0 {
			continue
		}
		if names[m.Name] {
			return nil, fmt.Errorf("two members are named %q", plain.Text(m.Name))
		}
		names[m.Name] = true
		for _, id := range m.IDs {
			c.points = append(c.points, point{id: id & space.Mask(), owner: int32(len(c.owners))})
		}
		c.owners = append(c.owners, owner{Holding: Holding{Name: m.Name, Stand: m.Stand.Clone(), Fixed: m.Fixed}, weight: len(m.IDs)})
	}
	c.weight = len(c.points)
	slices.SortFunc(c.points, func(a, b point) int { return cmp.Compare(a.id, b.id) })
	for i, p := range c.points {
		if next := c.next(i); next != i && c.points[next].id == p.id {
			return nil, &CoincidenceError{ID: p.id, One: c.owners[p.owner].Name, Other: c.owners[c.points[next].owner].Name}
		}
		c.owners[p.owner].share += c.length(i)
	}
	return c, nil
}

// next is the point after the i-th, and before the one before it.
func (c *Circle) next(i int) int {
	if i++; i == len(c.points) {
		return 0
	}
	return i
}

func (c *Circle) before(i int) int {
	if i == 0 {
		i = len(c.points)
	}
	return i - 1
}

// between is the share of the circle on the arc (a, b], which is not the whole circle.
func (c *Circle) between(a, b uint64) float64 { return float64(c.space.Distance(a, b)) / c.size }

// length is the share of the circle on the arc that ends at the i-th point.
func (c *Circle) length(i int) float64 {
	if len(c.points) == 1 {
		return 1
	}
	return c.between(c.points[c.before(i)].id, c.points[i].id)
}

// at is the point at which the arc that has id ends.
func (c *Circle) at(id uint64) int {
	i, _ := slices.BinarySearchFunc(c.points, id, func(p point, id uint64) int { return cmp.Compare(p.id, id) })
	if i == len(c.points) {
		return 0
	}
	return i
}

// place is the member's place in owners, or -1.
func (c *Circle) place(name string) int32 {
	for i := range c.owners {
		if c.owners[i].weight > 0 && c.owners[i].Name == name {
			return int32(i)
		}
	}
	return -1
}

// Members returns the number of members.
func (c *Circle) Members() int { return len(c.owners) - len(c.free) }

// Stand returns where a member stands: nowhere if it is a stranger.
func (c *Circle) Stand(name string) Stand {
	i := c.place(name)
	if i < 0 {
		return Stand{}
	}
	return c.owners[i].Stand.Clone()
}

// Share returns the share of the circle that a member owns, and the one that its weight
// makes fair: its part of all identifiers. Both are from 0 to 1, and 0 of a stranger.
func (c *Circle) Share(name string) (owns, fair float64) {
	i := c.place(name)
	if i < 0 {
		return 0, 0
	}
	return c.owners[i].share, c.fair(c.owners[i].weight)
}

func (c *Circle) fair(weight int) float64 { return float64(weight) / float64(c.weight) }

// Spread returns the least and the largest share of a member by what is fair for it: 1 and
// 1 where all have what is fair.
func (c *Circle) Spread() (least, most float64) {
	first := true
	for i := range c.owners {
		if c.owners[i].weight == 0 {
			continue
		}
		r := c.fills(int32(i))
		if first || r < least {
			least = r
		}
		most, first = max(most, r), false
	}
	return least, most
}

// Add puts a member on the circle, and returns the share that it took from others. It
// fails, and changes nothing, if the name or one of the identifiers is taken.
func (c *Circle) Add(m Holding) (moved float64, err error) {
	if len(m.IDs) == 0 {
		return 0, fmt.Errorf("member %q has no identifier", plain.Text(m.Name))
	}
	if c.place(m.Name) >= 0 {
		return 0, fmt.Errorf("a member is named %q already", plain.Text(m.Name))
	}
	for i, id := range m.IDs {
		if err := c.vacant(m.Name, id); err != nil {
			return 0, err
		}
		if slices.Contains(m.IDs[:i], id) {
			return 0, &CoincidenceError{ID: id, One: m.Name, Other: m.Name}
		}
	}
	o := c.settle(Holding{Name: m.Name, Stand: m.Stand.Clone()})
	for _, id := range m.IDs {
		c.insert(id, o)
	}
	return c.owners[o].share, nil
}

// Free reports whether nobody stands at an identifier.
func (c *Circle) Free(id uint64) bool { return c.vacant("", id) == nil }

// vacant fails if id is somebody's.
func (c *Circle) vacant(name string, id uint64) error {
	if i := c.at(id); len(c.points) > 0 && c.points[i].id == id {
		return &CoincidenceError{ID: id, One: name, Other: c.owners[c.points[i].owner].Name}
	}
	return nil
}

// settle finds a place for a member without identifiers.
func (c *Circle) settle(h Holding) int32 {
	if n := len(c.free); n > 0 {
		o := c.free[n-1]
		c.free = c.free[:n-1]
		c.owners[o] = owner{Holding: h}
		return o
	}
	c.owners = append(c.owners, owner{Holding: h})
	return int32(len(c.owners) - 1)
}

// insert gives a vacant identifier to the member in place o, and returns the share that
// goes with it.
func (c *Circle) insert(id uint64, o int32) (taken float64) {
	i, _ := slices.BinarySearchFunc(c.points, id, func(p point, id uint64) int { return cmp.Compare(p.id, id) })
	c.points = slices.Insert(c.points, i, point{id: id, owner: o})
	taken = c.length(i)
	if len(c.points) > 1 {
		c.owners[c.points[c.next(i)].owner].share -= taken
	}
	c.owners[o].share += taken
	c.owners[o].weight++
	c.weight++
	return taken
}

// remove takes the i-th point away, and returns its share, which falls to the next.
func (c *Circle) remove(i int) (freed float64) {
	o := c.points[i].owner
	freed = c.length(i)
	c.points = slices.Delete(c.points, i, i+1)
	c.owners[o].weight--
	c.owners[o].share -= freed
	c.weight--
	if len(c.points) > 0 {
		c.owners[c.points[i%len(c.points)].owner].share += freed
	}
	return freed
}

// Remove takes a member off the circle, and returns the share that it owned.
func (c *Circle) Remove(name string) (moved float64, err error) {
	o := c.place(name)
	if o < 0 {
		return 0, fmt.Errorf("no member is named %q", plain.Text(name))
	}
	moved = c.owners[o].share
	for i := len(c.points) - 1; i >= 0; i-- {
		if c.points[i].owner == o {
			c.remove(i)
		}
	}
	c.owners[o] = owner{}
	c.free = append(c.free, o)
	return moved, nil
}

// Clone is a copy that shares nothing with c.
func (c *Circle) Clone() *Circle {
	out := *c
	out.points, out.owners, out.free = slices.Clone(c.points), slices.Clone(c.owners), slices.Clone(c.free)
	for i := range out.owners {
		out.owners[i].Stand = out.owners[i].Stand.Clone()
	}
	return &out
}
