package protocol

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Encoder says how the things are written that a machine only knows by number:
// members, and the tokens of requests that it has not answered yet.
type Encoder struct {
	Member func(ring.Member) byte
	Token  func(uint64) byte
}

// Role tells what the machine asked a question for: equal questions of equal
// machines have equal roles, whatever their call numbers. 0: the answer is not
// waited for.
func (m *Machine) Role(call uint64) byte {
	switch {
	case m.approach.open && call == m.approach.call:
		return 1
	case m.placing.open && call == m.placing.call:
		return 2
	case m.join != nil && call == m.join.call:
		return 3
	}
	for i := range m.rects {
		if m.rects[i].call == call {
			return byte(16 + i)
		}
	}
	for i := range m.depart.calls {
		if m.depart.calls[i].call == call {
			return byte(64 + i)
		}
	}
	for i := range m.look.others {
		if m.look.others[i].call == call {
			return byte(128 + i%128)
		}
	}
	return 0
}

// Call is the inverse of Role: the number of the question that the machine has
// open in that role, 0 if it has none.
func (m *Machine) Call(role byte) uint64 {
	switch {
	case role == 1 && m.approach.open:
		return m.approach.call
	case role == 2 && m.placing.open:
		return m.placing.call
	case role == 3 && m.join != nil:
		return m.join.call
	case role >= 128:
		if int(role-128) < len(m.look.others) {
			return m.look.others[role-128].call
		}
	case role >= 64 && int(role-64) < len(m.depart.calls):
		return m.depart.calls[role-64].call
	case role >= 16 && int(role-16) < len(m.rects):
		return m.rects[role-16].call
	}
	return 0
}

// Encode appends the canonical form of the machine's state to b: two machines
// with equal forms do the same on equal events. What only bounds or reports
// (steps taken, causes, versions) is left out, and time is written relative to
// the round, so that rounds in which nothing changes lead back to the same form.
func (m *Machine) Encode(b []byte, e *Encoder) []byte {
	list := func(ms []ring.Member) {
		b = append(b, byte(len(ms)))
		for _, x := range ms {
			b = append(b, e.Member(x))
		}
	}
	tokens := func(ts []uint64) {
		b = append(b, byte(len(ts)))
		for _, t := range ts {
			b = append(b, e.Token(t))
		}
	}
	flags := func(bits ...bool) {
		var v byte
		for i, on := range bits {
			if on {
				v |= 1 << i
			}
		}
		b = append(b, v)
	}
	ahead := func(round uint64) {
		if round <= m.round {
			b = append(b, 0)
			return
		}
		b = append(b, byte(min(round-m.round, 255)))
	}

	b = append(b, byte(m.phase), e.Member(m.self), e.Member(m.pred))
	if m.phase == Superseded {
		b = append(b, e.Member(*m.later))
	}
	list(m.succ)
	if m.cfg.Recall == nil { // else it remembers nothing and counts no rounds
		acq := slices.Clone(m.acq.list)
		slices.SortFunc(acq, func(x, y acquaintance) int { return cmp.Compare(x.ID, y.ID) })
		b = append(b, byte(len(acq)))
		for i := range acq {
			a := &acq[i]
			b = append(b, e.Member(a.Member))
			flags(a.pending, a.verified, a.condition == outside)
			if a.pending {
				b = append(b, a.failures)
				ahead(m.acq.due(a)) // and with it next
			} else {
				b = append(b, min(a.failures, 3))
				ahead(a.next)
			}
		}
		flags(m.predSilent)
		b = append(b, byte(m.checks%4), byte(m.budget), byte(m.round%uint64(m.cfg.CheckEvery)), byte(len(m.seeds)))
		for i := range m.seeds {
			s := &m.seeds[i]
			b = append(b, e.Member(ring.Member{Addr: s.addr}), s.silent)
			flags(s.pending)
			if s.pending {
				ahead(s.next)
			}
		}
		ahead(m.rivalry)
		ahead(m.nudged)
	}
	flags(m.lone, m.again, m.approach.open, m.approach.recovering, m.placing.open, m.join != nil, m.depart.open)
	if op := &m.approach; op.open {
		// Whom the approach has heard of before matters only while that is
		// the head, and its predecessor only if it is this member.
		heard := !op.heard.IsZero() && op.heard == m.head()
		b = append(b, e.Member(op.asked), byte(op.attempt))
		flags(heard, heard && op.headPred == m.self)
		list(op.rest)
		tokens(op.waiters)
	}
	tokens(m.waiters)
	b = append(b, byte(len(m.rects)))
	for i := range m.rects {
		r := &m.rects[i]
		b = append(b, e.Member(r.n), e.Token(r.token), byte(r.attempt), e.Member(r.asked), e.Member(r.gone))
		flags(r.joining, r.rival, r.left, r.met, r.call == 0, r.refused)
	}
	if op := &m.placing; op.open {
		b = append(b, e.Member(op.subject), e.Member(op.via), e.Member(op.asked), byte(op.attempt))
		flags(op.from != "")
		if op.from != "" {
			b = append(b, e.Member(ring.Member{Addr: op.from}))
		}
		list(op.rest)
	}
	list(m.toPlace)
	if j := m.join; j != nil {
		b = append(b, byte(j.stage), byte(j.attempt), byte(len(j.via)))
		for _, addr := range j.via {
			b = append(b, e.Member(ring.Member{Addr: addr}))
		}
		b = append(b, e.Member(j.asked), e.Member(j.before), e.Member(j.nearer), e.Member(j.rival))
		list(j.rest)
		list(j.after)
		list(j.tried)
		list(j.failed)
	}
	if l := &m.look; m.phase == Looking {
		b = append(b, byte(min(l.round, l.patience, 255)), byte(min(l.named, lookStalled*l.patience, 255)), byte(len(l.others)))
		flags(l.listed, l.open, l.wanted, l.alone)
		for i := range l.others {
			o := &l.others[i]
			b = append(b, e.Member(ring.Member{Addr: o.addr}), e.Member(o.told), e.Member(o.who), e.Member(o.founder),
				byte(min(l.round-o.heard, 255)), byte(min(l.round-o.asked, 255)), byte(min(o.silent, 255)), byte(o.selves),
				byte(min((m.now-o.since)/l.every, 255)), byte(min((m.now-o.sent)/l.every, 255)))
			flags(o.given, o.recall, o.own, o.mine, o.anyone, o.met, o.enters, o.call != 0)
			flags(o.placed, o.agreed)
			b = append(b, e.Member(o.asks))
		}
	}
	if p := &m.probe; p.wait > 0 && m.cfg.Recall == nil && len(m.seeds) > 0 {
		ahead(p.next)
		b = append(b, byte(min(p.wait, 255)))
	}
	if d := &m.depart; d.open {
		b = append(b, byte(len(d.calls)))
		for _, n := range d.calls {
			b = append(b, e.Member(n.to))
		}
		list(d.again)
	}
	return b
}

// Knows lists everybody that the machine has a record of, and the addresses
// that it was given.
func (m *Machine) Knows() []ring.Member {
	out := slices.Clone(m.succ)
	if !m.pred.IsZero() {
		out = append(out, m.pred)
	}
	for i := range m.acq.list {
		out = append(out, m.acq.list[i].Member)
	}
	for i := range m.seeds {
		out = append(out, ring.Member{Addr: m.seeds[i].addr})
	}
	return out
}

// Describe tells of the machine's acquaintances and open operations, for
// people who read the trace of a failure.
func (m *Machine) Describe() string {
	var b strings.Builder
	b.WriteString("knows")
	for i := range m.acq.list {
		a := &m.acq.list[i]
		fmt.Fprintf(&b, " %s", a.Name)
		if a.pending {
			b.WriteString("?")
		}
		if !a.responsive() {
			fmt.Fprintf(&b, "!%d", a.failures)
		}
	}
	if m.approach.open {
		fmt.Fprintf(&b, ", approaches %s%s", m.approach.asked.Name, m.approach.asked.Addr)
	}
	if m.placing.open {
		fmt.Fprintf(&b, ", places %s at %s", m.placing.subject.Name, m.placing.asked.Name)
	}
	for i := range m.rects {
		fmt.Fprintf(&b, ", rectifies %s by %s", m.rects[i].n.Name, m.rects[i].asked.Name)
	}
	return b.String()
}

// Lone reports whether the list is empty because nobody else is known to live.
func (m *Machine) Lone() bool { return m.lone }

// Owns is the arc that the member answers for, if it knows it.
func (m *Machine) Owns() (ring.Arc, bool) { return m.ownArc() }
