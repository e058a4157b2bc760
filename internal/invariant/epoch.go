package invariant

import (
	"fmt"
	"slices"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// NewEpoch is about one member. EpochsRise is about all of them.
var NewEpoch = ChangeRule{"new-epoch", "Who gains a part of its arc claims it by a greater epoch, and no epoch falls.", "docs/PROTOCOL.md, Epochs", func(c Change) string {
	was, is := c.Before, c.After
	switch {
	case is.Epoch < was.Epoch:
		return fmt.Sprintf("the epoch of %s has fallen from %d to %d", is.Self.Name, was.Epoch, is.Epoch)
	case is.HasArc && !is.Isolated && is.Epoch == was.Epoch && (!was.HasArc || was.Isolated || len(is.Arc.Minus(was.Arc)) > 0):
		return fmt.Sprintf("%s has gained %v and claims it by the epoch %d that it had", is.Self.Name, is.Arc, is.Epoch)
	}
	return ""
}}

// EpochsRise is the rule that Epochs holds claims against.
const EpochsRise = "epochs-rise"

// Epochs knows who has claimed which point of the circle last. The points are the
// identifiers of all members that have claimed anything. The zero Epochs knows nobody.
//
// The rule is that who takes a point over from a member that is gone claims it by a
// greater epoch. It holds as long as nobody is taken for dead by mistake, and of claims that
// a member has heard of that is left.
type Epochs struct {
	points []point // by identifier
}

type point struct {
	id    uint64
	epoch uint64
	by    ring.Instance
}

// Claim notes what a member claims, and says how that breaks the rule; empty if it does
// not. Lives reports whether that incarnation is a member now.
func (e *Epochs) Claim(v *protocol.View, lives func(ring.Instance) bool) (broken string) {
	by := v.Self.Instance()
	k, there := e.find(v.Self.ID)
	if !there {
		// Whoever owned it until now has claimed the next point by that epoch.
		next := point{id: v.Self.ID}
		if n := len(e.points); n > 0 {
			o := e.points[k%n]
			next.epoch, next.by = o.epoch, o.by
		}
		e.points = slices.Insert(e.points, k, next)
	}
	for i := range e.points {
		p := &e.points[i]
		if !v.Arc.Contains(p.id) {
			continue
		}
		if p.by != by && p.epoch >= v.Epoch && !lives(p.by) && broken == "" {
			broken = fmt.Sprintf("%s has taken %d over by the epoch %d, and it was claimed by %d", v.Self.Name, p.id, v.Epoch, p.epoch)
		}
		if p.by == by || v.Epoch > p.epoch {
			p.epoch, p.by = v.Epoch, by
		}
	}
	return broken
}

// Left notes that some are no members any more. Heard reports whether one that is left has
// heard that this incarnation has claimed by this epoch, or by a greater one. If nobody has, the
// claim is forgotten: whoever takes over cannot know of it, nor can who founds a ring anew.
func (e *Epochs) Left(heard func(by ring.Instance, epoch uint64) bool) {
	for i := range e.points {
		if p := &e.points[i]; p.epoch > 0 && !heard(p.by, p.epoch) {
			p.epoch, p.by = 0, ring.Instance{}
		}
	}
}

func (e *Epochs) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(e.points, id, func(p point, id uint64) int {
		switch {
		case p.id < id:
			return -1
		case p.id > id:
			return 1
		}
		return 0
	})
}
