package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Clone returns a machine that goes on as m would and shares nothing with it
// that either changes.
func (m *Machine) Clone() *Machine {
	c := *m
	c.acq = slices.Clone(m.acq)
	c.seeds = slices.Clone(m.seeds)
	c.rects = slices.Clone(m.rects)
	c.join.after = slices.Clone(m.join.after) // changed in place, as the causes
	c.join.causes = slices.Clone(m.join.causes)
	c.look.others = slices.Clone(m.look.others)
	c.out, c.last = nil, nil
	// Lists of members are replaced and never written to.
	return &c
}

// CloneForgetful returns a machine that goes on as m would with another
// configuration and the least memory: no address, and no acquaintance but those
// that open operations name, whom a machine with a memory would have there. The
// model checker gives a memory so to a machine that had none.
func (m *Machine) CloneForgetful(cfg Config) *Machine {
	c := m.Clone()
	c.cfg = cfg.withDefaults()
	c.acq, c.seeds, c.probe = nil, nil, probing{}
	c.round, c.checks, c.budget, c.rivalry, c.nudged = 0, 0, 0, 0, 0
	dirty := c.dirty
	for _, r := range c.rects {
		c.hearsay(r.n)
		c.hearsay(r.asked)
		c.hearsay(r.gone)
	}
	for _, x := range slices.Concat([]ring.Member{c.approach.asked, c.join.asked, c.join.before}, c.approach.rest, c.join.rest, c.join.after) {
		c.hearsay(x)
	}
	c.dirty = dirty
	return c
}
