package balance

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/plain"
)

// maxPasses bounds how often a joiner looks over all its identifiers. Two or three times
// suffice: each makes the choice better, and it ends with the first that does not.
const maxPasses = 10

// starts is the number of beginnings. One alone is now and then left far from the best.
const starts = 2

// least is by how much a choice must cost less than another to count as better, so that
// errors of rounding decide nothing.
const least = 1e-9

// cost is how much it speaks against a choice that a member of the given weight has a
// share of the circle, if all weights together are total. The fourth power makes a member
// with much more than its fair share count most, and two with a little more than one.
func cost(share float64, weight, total int) float64 {
	r := share * float64(total) / float64(weight)
	return float64(float64(weight) * r * r * r * r) // the conversion keeps it from being fused into a sum
}

// A joiner that would take more than spare times its fair share pays greed for each part of
// its fair share beyond that, squared: what it takes moves.
const (
	spare = 1.05
	greed = 100
)

// joiner is the cost of a joiner's share.
func joiner(share float64, weight, total int) float64 {
	over := max(0, share*float64(total)/float64(weight)-spare)
	return cost(share, weight, total) + float64(float64(weight)*greed*over*over)
}

// Choose chooses where a member that is not on the circle should stand with the given
// weight. It begins with a free variant of each identifier. Then it looks at one identifier
// after the other, and changes its variant if that brings the member and those from which it
// takes nearer to what is fair, until no such change is left. It does that from two
// beginnings, and takes the better result. It fails if all variants of one identifier are
// other members' identifiers.
func (c *Circle) Choose(name string, weight int) (Stand, error) {
	return c.Complete(name, Stand{}, weight)
}

// Complete is Choose for a member whose first identifiers are chosen already: it keeps them.
func (c *Circle) Complete(name string, kept Stand, weight int) (Stand, error) {
	if weight < 1 || weight > MaxWeight {
		return Stand{}, fmt.Errorf("member %q: weight %d (1 to %d)", plain.Text(name), weight, MaxWeight)
	}
	if c.place(name) >= 0 {
		return Stand{}, fmt.Errorf("a member is named %q already", plain.Text(name))
	}
	ch := choosing{c: c, weight: weight, total: c.weight + weight, name: name, kept: kept.Choices}
	if err := ch.find(); err != nil {
		return Stand{}, err
	}
	ch.arrange()
	best, lowest := []int32(nil), 0.0
	for first := range starts {
		if err := ch.begin(first); err != nil {
			return Stand{}, err
		}
		for i := 0; i < maxPasses && ch.improve(); i++ {
		}
		if sum := ch.sum(); best == nil || sum < lowest {
			best, lowest = slices.Clone(ch.chosen), sum
		}
		ch.clear()
	}
	s := Stand{IDs: make([]uint64, weight), Choices: make([]uint8, weight)}
	for slot, k := range best {
		s.IDs[slot], s.Choices[slot] = ch.candidates[k].id, ch.candidates[k].variant
	}
	return s, nil
}

// candidate is a place that a joiner could take.
type candidate struct {
	id      uint64
	taken   float64 // the share from the start of the arc on which it is up to here
	slot    int32   // which of the joiner's identifiers it would be
	group   int32   // the candidates on the same arc
	variant uint8
}

// group is the candidates on one arc, which follow each other, and the arc's owner.
type group struct {
	owner    int32
	from, to int32
}

// choosing is one choice in the making.
type choosing struct {
	c          *Circle
	name       string
	candidates []candidate       // clockwise
	groups     []group           // none on an empty circle
	slots      [][Variants]int32 // the candidates of each slot, -1 for none
	chosen     []int32           // the candidate of each slot
	in         []bool            // whether a candidate is chosen
	share      []float64         // of each owner, as chosen so far
	own        float64           // of the joiner
	weight     int               // of the joiner
	total      int               // of all
	kept       []uint8           // the variants of the first slots that are chosen already
}

// find collects the candidates that are nobody's.
func (ch *choosing) find() error {
	ch.candidates = make([]candidate, 0, ch.weight*Variants)
	for slot := range ch.weight {
		before := len(ch.candidates)
		var taken error
		for v := range uint8(Variants) {
			if slot < len(ch.kept) && v != ch.kept[slot] {
				continue
			}
			id := Identifier(ch.c.space, ch.name, slot, v)
			if taken = ch.c.vacant(ch.name, id); taken == nil {
				ch.candidates = append(ch.candidates, candidate{id: id, slot: int32(slot), variant: v})
			}
		}
		if len(ch.candidates) == before {
			return fmt.Errorf("every variant of identifier %d is taken: %w", slot, taken)
		}
	}
	return nil
}

// arrange puts the candidates into clockwise order and finds the arcs on which they are.
func (ch *choosing) arrange() {
	c := ch.c
	slices.SortFunc(ch.candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.slot, b.slot), cmp.Compare(a.variant, b.variant))
	})
	if n := len(c.points); n > 0 {
		// Those behind the last point are on the arc over zero, with those before the first.
		i, _ := slices.BinarySearchFunc(ch.candidates, c.points[n-1].id, func(k candidate, id uint64) int {
			return cmp.Compare(k.id, id)
		})
		ch.candidates = slices.Concat(ch.candidates[i:], ch.candidates[:i])
	}
	ch.in = make([]bool, len(ch.candidates))
	ch.slots = make([][Variants]int32, ch.weight)
	for i := range ch.slots {
		ch.slots[i] = [Variants]int32{-1, -1, -1, -1, -1, -1, -1, -1}
	}
	for i, k := range ch.candidates {
		ch.slots[k.slot][k.variant] = int32(i)
	}
	ch.share = make([]float64, len(c.owners))
	for i := range c.owners {
		ch.share[i] = c.owners[i].share
	}
	if len(c.points) > 0 {
		ch.group()
	}
}

// group finds the arc of each candidate.
func (ch *choosing) group() {
	c, last := ch.c, -1
	for i := range ch.candidates {
		k := &ch.candidates[i]
		at := c.at(k.id)
		if at != last {
			ch.groups = append(ch.groups, group{owner: c.points[at].owner, from: int32(i)})
			last = at
		}
		k.group = int32(len(ch.groups) - 1)
		k.taken = c.between(c.points[c.before(at)].id, k.id)
		ch.groups[k.group].to = int32(i + 1)
	}
}

// sum is what the shares of all cost.
func (ch *choosing) sum() float64 {
	sum := joiner(ch.own, ch.weight, ch.total)
	for i := range ch.share {
		if w := ch.c.owners[i].weight; w > 0 {
			sum += cost(ch.share[i], w, ch.total)
		}
	}
	return sum
}

// clear drops all that is chosen.
func (ch *choosing) clear() {
	for _, k := range ch.chosen {
		ch.set(k, false)
	}
}

// begin chooses for each slot the first free variant, from the given one on.
func (ch *choosing) begin(first int) error {
	ch.chosen = make([]int32, ch.weight)
	for slot, all := range ch.slots {
		variants := slices.Concat(all[first:], all[:first])
		i := slices.IndexFunc(variants, func(k int32) bool { return k >= 0 && ch.single(k) })
		if i < 0 {
			id := Identifier(ch.c.space, ch.name, slot, 0)
			return fmt.Errorf("every variant of identifier %d is taken: %w", slot, &CoincidenceError{ID: id, One: ch.name, Other: ch.name})
		}
		ch.chosen[slot] = variants[i]
		ch.set(variants[i], true)
	}
	return nil
}

// single reports that no candidate with the identifier of candidate k is chosen.
func (ch *choosing) single(k int32) bool {
	id := ch.candidates[k].id
	for i := k; i >= 0 && ch.candidates[i].id == id; i-- {
		if ch.in[i] {
			return false
		}
	}
	for i := k + 1; int(i) < len(ch.candidates) && ch.candidates[i].id == id; i++ {
		if ch.in[i] {
			return false
		}
	}
	return true
}

// taken is the share that the joiner takes of the arc of a group: all up to its last
// identifier there.
func (ch *choosing) taken(g group) float64 {
	for i := g.to - 1; i >= g.from; i-- {
		if ch.in[i] {
			return ch.candidates[i].taken
		}
	}
	return 0
}

// set chooses candidate k, or drops it, and brings the shares up to date.
func (ch *choosing) set(k int32, in bool) {
	if len(ch.groups) == 0 {
		ch.in[k] = in
		return
	}
	g := ch.groups[ch.candidates[k].group]
	before := ch.taken(g)
	ch.in[k] = in
	d := ch.taken(g) - before
	ch.share[g.owner] -= d
	ch.own += d
}

// swap chooses one candidate instead of another.
func (ch *choosing) swap(drop, choose int32) {
	ch.set(drop, false)
	ch.set(choose, true)
}

// improve tries the other variants of every slot and keeps the best. It reports whether
// anything has changed.
func (ch *choosing) improve() (changed bool) {
	if len(ch.groups) == 0 {
		return false
	}
	for slot, now := range ch.chosen {
		best, saved := now, least
		for _, k := range ch.slots[slot] {
			if k < 0 || !ch.single(k) {
				continue
			}
			before := ch.costs(now, k)
			ch.swap(now, k)
			if d := before - ch.costs(now, k); d > saved {
				best, saved = k, d
			}
			ch.swap(k, now)
		}
		if best != now {
			ch.swap(now, best)
			ch.chosen[slot] = best
			changed = true
		}
	}
	return changed
}

// costs is what the shares of the joiner and of the owners of two candidates' arcs cost.
func (ch *choosing) costs(j, k int32) float64 {
	a, b := ch.groups[ch.candidates[j].group].owner, ch.groups[ch.candidates[k].group].owner
	sum := joiner(ch.own, ch.weight, ch.total) + cost(ch.share[a], ch.c.owners[a].weight, ch.total)
	if a != b {
		sum += cost(ch.share[b], ch.c.owners[b].weight, ch.total)
	}
	return sum
}
