package protocol

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Clone returns a machine that goes on as m would and shares nothing with it
// that either changes.
func (m *Machine) Clone() *Machine {
	c := *m
	c.acq = m.acq.clone()
	c.seeds = slices.Clone(m.seeds)
	c.rects = slices.Clone(m.rects)
	c.farewells = slices.Clone(m.farewells)
	if m.join != nil {
		j := *m.join
		j.after = slices.Clone(j.after) // changed in place, as the causes
		j.causes = slices.Clone(j.causes)
		c.join = &j
	}
	c.bootstrap.others = slices.Clone(m.bootstrap.others)
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
	c.acq, c.seeds, c.probe = c.noAcquaintances(), nil, probing{}
	c.round, c.checks, c.budget, c.rivalry, c.outgrew, c.nudged, c.headSince, c.predSince = 0, 0, 0, 0, 0, 0, 0, 0
	c.rest = resting{}
	dirty := c.dirty
	var known []ring.Member
	for _, r := range c.rects {
		known = append(known, r.n, r.asked, r.gone)
	}
	known = append(known, c.contest.rival, c.contest.asked)
	for _, f := range c.farewells {
		known = append(known, f.who, f.pred)
	}
	known = append(append(known, c.stabilization.asked), c.stabilization.rest...)
	if j := c.join; j != nil {
		known = slices.Concat(known, []ring.Member{j.asked, j.before}, j.rest, j.after)
	}
	for _, x := range known {
		c.record(fact{kind: wasNamed, who: x})
	}
	c.dirty = dirty
	return c
}
