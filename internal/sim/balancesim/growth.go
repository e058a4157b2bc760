package balancesim

import (
	"math"

	"github.com/ollelogdahl/concord/internal/balance"
)

// growth is one name set: a ring that grows, and rings of some of its sizes in which half of
// the members are replaced.
type growth struct {
	config *Config
	plain  bool // members do not choose
	name   func(i int) string

	circle *balance.Circle

	spreads  []spread // by size, from the smallest that is judged
	joins    []float64
	leaves   []float64
	replaced []float64
	off      float64 // by how much the members of one weight were off, in the largest ring

	changes, rechosen int     // joins and leaves, and identifiers chosen anew
	moved, again      float64 // by joins and leaves, and by choosing anew
}

type spread struct{ least, most float64 }

func grow(c *Config, seed uint64, plain bool) (*growth, error) {
	g := &growth{config: c, plain: plain, name: namer(seed)}
	var err error
	if g.circle, err = balance.NewCircle(space, nil); err != nil {
		return nil, err
	}
	for n := 1; n <= c.To; n++ {
		if err := g.join(n - 1); err != nil {
			return nil, err
		}
		if err := g.rechoose(); err != nil {
			return nil, err
		}
		g.changes++
		if n < c.From {
			g.joins = g.joins[:0]
			continue
		}
		least, most := g.circle.Spread()
		g.spreads = append(g.spreads, spread{least: least, most: most})
		if n&(n-1) == 0 || n == c.From || n == c.To {
			if err := g.replace(n); err != nil {
				return nil, err
			}
		}
	}
	g.off = g.classes()
	return g, nil
}

// join lets the i-th member of the name set join.
func (g *growth) join(i int) error {
	name, weight := g.name(i), g.config.Weight*g.config.Weights[i%len(g.config.Weights)]
	s, err := g.choose(name, weight)
	if err != nil {
		return err
	}
	moved, err := g.circle.Add(balance.Holding{Name: name, Stand: s})
	if err != nil {
		return err
	}
	_, fair := g.circle.Share(name)
	g.joins = append(g.joins, moved/fair)
	g.moved += moved
	return nil
}

// choose chooses where a joiner stands. A member of weight 1 has no choice.
func (g *growth) choose(name string, weight int) (balance.Stand, error) {
	if weight == 1 {
		return balance.Stand{IDs: []uint64{space.ID([]byte(name))}, Choices: []uint8{0}}, nil
	}
	if !g.plain {
		return g.circle.Choose(name, weight)
	}
	s := balance.Stand{Choices: make([]uint8, weight)}
	for i := range weight {
		s.IDs = append(s.IDs, balance.Identifier(space, name, i, 0))
	}
	return s, nil
}

// leave takes a member away.
func (g *growth) leave(i int) error {
	name := g.name(i)
	_, fair := g.circle.Share(name)
	moved, err := g.circle.Remove(name)
	g.leaves = append(g.leaves, moved/fair)
	g.moved += moved
	return err
}

// replace replaces half of the n members of a copy of the ring, the eldest first, one after
// another: each leaves and a new one joins.
func (g *growth) replace(n int) error {
	r := &growth{config: g.config, plain: g.plain, name: g.name, circle: g.circle.Clone()}
	for i := range n / 2 {
		for _, change := range []func() error{
			func() error { return r.leave(i) },
			func() error { return r.join(n*len(g.config.Weights)*2 + i) },
		} {
			if err := change(); err != nil {
				return err
			}
			if err := r.rechoose(); err != nil {
				return err
			}
			r.changes++
		}
	}
	_, most := r.circle.Spread()
	g.replaced = append(g.replaced, most)
	g.leaves = append(g.leaves, r.leaves...)
	g.joins = append(g.joins, r.joins...)
	g.changes, g.rechosen = g.changes+r.changes, g.rechosen+r.rechosen
	g.moved, g.again = g.moved+r.moved, g.again+r.again
	return nil
}

// rechoose lets members that have far too much choose identifiers anew, one at a time.
func (g *growth) rechoose() error {
	if g.plain || g.config.Weight == 1 {
		return nil
	}
	for range rechoices {
		change, ok := g.circle.Next()
		if !ok {
			break
		}
		moved, err := g.circle.Make(change)
		if err != nil {
			return err
		}
		g.again += moved
		g.rechosen++
	}
	return nil
}

// classes is by how much the members of one weight are off together, at most.
func (g *growth) classes() float64 {
	owns, fair := map[int]float64{}, map[int]float64{}
	for i := range g.config.To {
		o, f := g.circle.Share(g.name(i))
		class := i % len(g.config.Weights)
		owns[class], fair[class] = owns[class]+o, fair[class]+f
	}
	off := 0.0
	for class := range len(g.config.Weights) {
		if fair[class] > 0 {
			off = max(off, math.Abs(owns[class]/fair[class]-1))
		}
	}
	return off
}
