package explore

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// verdict is what is to be said of the pointers of all members, which many
// states share.
type verdict struct {
	rule, how  string
	late       *Violation // of a rule for rings that have grown
	principals int
	full       bool  // every list is full
	may        uint8 // members of the ring that may fail, by what the pointers say
}

// judge tests a state by all rules.
func (c *checker) judge(w *world) *Violation {
	if w.wrong != 0 {
		v := c.wrongs[w.wrong-1]
		return &v
	}
	v := c.verdict(w)
	if v.rule != "" {
		return &Violation{Rule: v.rule, How: v.how}
	}
	if w.grown && v.late != nil {
		broken := *v.late
		return &broken
	}
	if c.cfg.Quiet > 0 {
		if how := c.heals(w); how != "" {
			return &Violation{Rule: "heals", How: how}
		}
	}
	return nil
}

func (c *checker) verdict(w *world) *verdict {
	h := newHasher()
	for i := range c.cfg.Members {
		h.add(uint64(c.all[w.slots[i]].pointers))
	}
	k := h.sum()
	n, ok := c.verdicts.get(k)
	if !ok {
		n = uint32(len(c.judged))
		c.judged = append(c.judged, c.newVerdict(w))
		c.verdicts.put(k, n)
	}
	return &c.judged[n]
}

func (c *checker) newVerdict(w *world) verdict {
	v := verdict{}
	r := c.ring(w, nil)
	v.principals, v.full = r.PrincipalProcesses(), true
	for _, m := range r.Members {
		v.full = v.full && r.Full(m)
	}
	for _, rule := range c.cfg.Rules {
		how := rule.Broken(r)
		if how == "" {
			continue
		}
		if slices.ContainsFunc(invariant.Grown(), func(g invariant.Rule) bool { return g.Name == rule.Name }) {
			v.late = &Violation{Rule: rule.Name, How: how}
			continue
		}
		v.rule, v.how = rule.Name, how
		break
	}
	for i := range c.cfg.Members {
		if c.inRing(w, i) && (c.cfg.Assume == Nothing || !c.joined(w, i) || c.sparable(w, i)) {
			v.may |= 1 << i
		}
	}
	return v
}

// sparable reports whether the failure of the process at place i leaves every
// other a live entry in its list, and enough principals.
func (c *checker) sparable(w *world, i int) bool {
	others := 0
	for k := range c.cfg.Members {
		if c.together(k, i) || !c.joined(w, k) {
			continue
		}
		others++
		p := &c.pointers[c.all[w.slots[k]].pointers]
		if len(p.succ) > 0 && !c.alive(w, i, k, p.state.Succ) {
			return false
		}
	}
	if others == 0 {
		return false
	}
	if c.cfg.Assume == LiveSuccessor {
		return true
	}
	return c.ring(w, func(k int) bool { return !c.together(k, i) }).PrincipalProcesses() > c.cfg.Successors
}

// alive reports whether one of the members that the one at place by names lives
// and is not of the process at place i.
func (c *checker) alive(w *world, i, by int, named []ring.Member) bool {
	for _, x := range named {
		k := c.place(by, index(x))
		if !c.together(k, i) && c.phase(w, k) == protocol.Joined && c.all[w.slots[k]].incarnation == uint8(x.Incarnation) {
			return true
		}
	}
	return false
}

// mayFail are the members whose failure the assumption allows.
func (c *checker) mayFail(w *world) (may uint8) {
	may = c.verdict(w).may
	if c.cfg.Assume == Zave && !w.grown {
		may = 0
	}
	// Whoever is on its way in may fail at any time: no list has it yet.
	for i := range c.cfg.Members {
		if w.live(i) && !c.inRing(w, i) {
			may |= 1 << i
		}
	}
	if c.cfg.Assume == Nothing {
		return may
	}
	defer func() { may = c.wholeProcesses(w, may) }()
	// Answers under way count as the list that they may become.
	for _, m := range w.messages[:w.n] {
		if m.stage() != answered || m.role() != roleStabilize && m.role() != roleJoin {
			continue
		}
		r := &c.saids[m.said()].reply
		st := &r.State
		if st.Phase != protocol.Joined || r.Verdict != 0 {
			continue // no list is made of it
		}
		for i := range c.cfg.Members {
			if may&(1<<i) != 0 && !c.together(m.from(), i) && (c.together(m.to(), i) || !c.joined(w, m.to())) && !c.alive(w, i, m.to(), st.Succ) {
				may &^= 1 << i
			}
		}
	}
	return may
}

// wholeProcesses leaves those of the places whose process may fail at all that it has.
func (c *checker) wholeProcesses(w *world, may uint8) uint8 {
	out := may
	for i := range c.cfg.Members {
		for k := range c.cfg.Members {
			if c.together(i, k) && w.live(k) && may&(1<<k) == 0 {
				out &^= 1 << i
			}
		}
	}
	return out
}

// ring is the state as the rules see it: all members, or those that are asked
// for. A member that leaves counts as gone from then on.
func (c *checker) ring(w *world, of func(i int) bool) invariant.Ring {
	var states []protocol.State
	for i := range c.cfg.Members {
		if c.joined(w, i) && (of == nil || of(i)) {
			states = append(states, c.stateOf(w, i))
		}
	}
	r := invariant.NewRing(c.cfg.Successors, states)
	for i := range c.cfg.Members {
		if !c.joined(w, i) || of != nil && !of(i) {
			continue
		}
		if p := &c.pointers[c.all[w.slots[i]].pointers]; p.hasArc {
			after := c.place(i, placeOf(p.arc.After))
			by := c.place(i, placeOf(p.arc.To))
			r.Claims = append(r.Claims, invariant.Claim{
				By:  c.names[c.all[w.slots[i]].incarnation][by],
				Arc: ring.Arc{After: c.names[1][after].ID, To: c.names[1][by].ID}, Alone: p.alone,
			})
		}
	}
	return r
}

// placeOf is where the identifier id stands in the list of names.
func placeOf(id uint64) int { return int(id>>56) - 1 }

// stateOf is what the member at place i says of itself, with members by their
// places.
func (c *checker) stateOf(w *world, i int) protocol.State {
	st := c.all[w.slots[i]].machine.State()
	st.Self = c.seenFrom(c.places(i), st.Self)
	st.Pred = c.seenFrom(c.places(i), st.Pred)
	st.Succ = c.allSeenFrom(c.places(i), st.Succ)
	return st
}

// places is the number by which what the member at place i names is turned into
// places.
func (l *locals) places(i int) int {
	if l.turn {
		return i
	}
	return 0
}
