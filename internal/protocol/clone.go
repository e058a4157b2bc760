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
	c.out, c.last = nil, nil
	// Lists of members are replaced and never written to.
	return &c
}

// CloneWith returns a machine that goes on as m would with another
// configuration. The model checker gives a memory to a machine that had none.
func (m *Machine) CloneWith(cfg Config) *Machine {
	c := m.Clone()
	c.cfg = cfg.withDefaults()
	return c
}
