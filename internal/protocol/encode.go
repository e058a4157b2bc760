package protocol

import (
	"cmp"
	"encoding/binary"
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

// Encode appends the canonical form of the machine's state to b: two machines
// with equal forms do the same on equal events. What only bounds or reports
// (steps taken, causes, versions, what the program was told) is left out, and time
// is written relative to the round, so that rounds in which nothing changes lead
// back to the same form.
func (m *Machine) Encode(b []byte, e *Encoder) []byte {
	f := form{Encoder: e, out: b, round: m.round}
	f.bytes(byte(m.phase))
	f.members(m.self, m.pred)
	if m.phase == Superseded {
		f.members(*m.later)
	}
	f.list(m.succ)
	f.origin(m.origin)
	if m.cfg.Recall == nil { // else it remembers nothing and counts no rounds
		m.encodeMemory(&f)
	}
	f.bytes(byte(m.restsFor()))
	f.flags(m.alone, m.again, m.stabilization.open, m.stabilization.recovering, m.placing.open, m.join != nil, m.depart.open)
	for _, op := range m.operations() {
		op.encode(m, &f)
	}
	return f.out
}

// encodeMemory writes whom the machine remembers, and where it is in its rounds.
func (m *Machine) encodeMemory(f *form) {
	m.acq.encode(f)
	f.flags(m.predSilent)
	f.bytes(byte(m.checks%4), byte(m.budget), byte(m.round%uint64(m.cfg.CheckEvery)), byte(len(m.seeds)))
	for i := range m.seeds {
		s := &m.seeds[i]
		f.address(s.addr)
		f.bytes(s.silent)
		f.flags(s.pending)
		if s.pending {
			f.ahead(s.next)
		}
	}
	f.ahead(m.rivalry)
	f.ahead(m.outgrew)
	f.ahead(m.nudged)
}

func (q *acquaintances) encode(f *form) {
	list := slices.Clone(q.list)
	slices.SortFunc(list, func(x, y acquaintance) int { return cmp.Compare(x.ID, y.ID) })
	f.bytes(byte(len(list)))
	for i := range list {
		a := &list[i]
		f.members(a.Member)
		f.flags(a.pending, a.verified, a.condition == outside)
		if a.pending {
			f.bytes(a.failures)
			f.ahead(q.due(a)) // and with it next
		} else {
			f.bytes(min(a.failures, 3))
			f.ahead(a.next)
		}
	}
	f.bytes(byte(len(q.own)))
	for _, s := range q.own {
		f.members(s.Member)
		f.ahead(s.next)
	}
}

// form is a canonical form that is being written.
type form struct {
	*Encoder
	out   []byte
	round uint64 // that of the machine
}

func (f *form) bytes(b ...byte) { f.out = append(f.out, b...) }

func (f *form) members(ms ...ring.Member) {
	for _, x := range ms {
		f.out = append(f.out, f.Member(x))
	}
}

func (f *form) origin(o *ring.Origin) {
	if o == nil {
		f.bytes(0)
		return
	}
	f.bytes(byte(1 + len(o.Marks)))
	f.out = binary.LittleEndian.AppendUint64(f.out, o.ID)
	for _, x := range o.Marks {
		f.out = binary.LittleEndian.AppendUint64(f.out, x)
	}
}

func (f *form) address(addr string) { f.members(ring.Member{Addr: addr}) }

func (f *form) token(t uint64) { f.out = append(f.out, f.Token(t)) }

// list writes how many members there are, and each of them.
func (f *form) list(ms []ring.Member) {
	f.bytes(byte(len(ms)))
	f.members(ms...)
}

func (f *form) tokens(ts []uint64) {
	f.bytes(byte(len(ts)))
	for _, t := range ts {
		f.token(t)
	}
}

// flags writes up to eight bits.
func (f *form) flags(bits ...bool) {
	var v byte
	for i, on := range bits {
		if on {
			v |= 1 << i
		}
	}
	f.bytes(v)
}

// ahead writes how many rounds from now a round is.
func (f *form) ahead(round uint64) {
	if round <= f.round {
		f.bytes(0)
		return
	}
	f.bytes(byte(min(round-f.round, 255)))
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
	if m.stabilization.open {
		fmt.Fprintf(&b, ", stabilizes by %s%s", m.stabilization.asked.Name, m.stabilization.asked.Addr)
	}
	if m.placing.open {
		fmt.Fprintf(&b, ", places %s at %s", m.placing.subject.Name, m.placing.asked.Name)
	}
	for i := range m.rects {
		fmt.Fprintf(&b, ", rectifies %s by %s", m.rects[i].n.Name, m.rects[i].asked.Name)
	}
	return b.String()
}

// Alone reports whether the list is empty because nobody else is known to live.
func (m *Machine) Alone() bool { return m.alone }

// Replaced is View.Replaced.
func (m *Machine) Replaced() bool { return m.replaced.known }

// Owns is the arc that the member answers for, if it knows it.
func (m *Machine) Owns() (ring.Arc, bool) { return m.ownArc() }
