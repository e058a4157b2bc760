package protocol

import "slices"

// Clone returns a machine that goes on as m would and shares nothing with it
// that either changes.
func (m *Machine) Clone() *Machine {
	c := *m
	c.acq = slices.Clone(m.acq)
	c.rects = slices.Clone(m.rects)
	c.join.after = slices.Clone(m.join.after)
	c.join.causes = slices.Clone(m.join.causes)
	c.look.others = slices.Clone(m.look.others)
	c.out, c.last = nil, nil
	// Lists of members are replaced and never written to.
	return &c
}

// CloneForgetful returns a machine that goes on as m would with another
// configuration and a memory in which there is nothing yet: no acquaintance, no
// address. The model checker gives a memory so to a machine that had none.
func (m *Machine) CloneForgetful(cfg Config) *Machine {
	c := m.Clone()
	c.cfg = cfg.withDefaults()
	c.acq, c.seeds = nil, nil
	c.round, c.checks, c.budget, c.rivalry, c.nudged = 0, 0, 0, 0, 0
	return c
}
