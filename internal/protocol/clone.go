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
	if m.join != nil {
		j := *m.join
		j.after = slices.Clone(j.after) // changed in place, as the causes
		j.causes = slices.Clone(j.causes)
		c.join = &j
	}
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
	named := append([]ring.Member{c.approach.asked}, c.approach.rest...)
	if j := c.join; j != nil {
		named = slices.Concat(named, []ring.Member{j.asked, j.before}, j.rest, j.after)
	}
	for _, x := range named {
		c.hearsay(x)
	}
	c.dirty = dirty
	return c
}
