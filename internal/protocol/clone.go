package protocol

import "slices"

// Clone returns a machine that goes on as m would and shares nothing with it
// that either changes.
func (m *Machine) Clone() *Machine {
	c := *m
	c.acq = slices.Clone(m.acq)
	c.out, c.last = nil, nil
	// The other slices are replaced and never written to.
	return &c
}
