package ringmap

import (
	"cmp"
	"slices"

	"github.com/ollelogdahl/concord/internal/ring"
)

// What one process claims at several identifiers is told, asked for and certified at once: a
// process has one map, and certificates go along the circle of processes, on which each
// stands at its home, ring.Member.Process. If all stand at one identifier, which is their
// home, that is the circle of the claims.

// home is where the process of a claim stands among the processes.
func (c *Claim) home() uint64 { return homeOf(c.ID, c.Of) }

func homeOf(id uint64, of *ring.Member) uint64 {
	if of.Choice.Several() {
		return of.Home
	}
	return id
}

// processes is the circle of the processes, of which some claim at several identifiers.
type processes struct {
	// t has one claim for each: its only one, or one that stands for all of them, of which
	// nothing counts but the hash and the member to be asked.
	t    Table
	held map[uint64]*holding // by home
}

// holding is the claims of one process.
type holding struct {
	ids     []uint64   // in their order
	sum     uint64     // of the hashes
	members []claimant // the one that is asked is the first
}

// claimant is who stands at an identifier of a process.
type claimant struct {
	id uint64
	of *ring.Member
}

// before orders the claimants of a process: who is asked for it is the first identifier of its
// latest incarnation, which does not move.
func (x claimant) before(o claimant) int {
	return cmp.Or(
		cmp.Compare(o.of.Incarnation, x.of.Incarnation),
		cmp.Compare(x.of.Choice, o.of.Choice),
		cmp.Compare(x.id, o.id),
	)
}

// homes is the table of processes, in the order of their homes.
func (m *Map) homes() *Table {
	if m.procs == nil {
		return &m.t
	}
	return &m.procs.t
}

// several reports whether a process on the map claims at several identifiers.
func (m *Map) several() bool { return m.procs != nil }

// put adds a claim, or replaces that of the same identifier.
func (m *Map) put(c Claim) {
	if m.procs == nil && c.Of.Choice.Several() {
		m.procs = newProcesses(&m.t)
	}
	old := m.t.get(c.ID)
	m.table().put(c, m.cfg.Pool)
	if m.procs != nil {
		m.procs.change(old, &c, &m.t)
	}
}

// remove takes out the claim of an identifier, which is there.
func (m *Map) remove(id uint64) {
	old := m.t.get(id)
	m.table().remove(id, m.cfg.Pool)
	if m.procs != nil {
		m.procs.change(old, nil, &m.t)
	}
}

// newProcesses is the circle of the processes of a table.
func newProcesses(t *Table) *processes {
	p := &processes{t: newTable(t.bits), held: map[uint64]*holding{}}
	for c := range t.all() {
		p.hold(&c)
	}
	all := make([]Claim, 0, len(p.held))
	for home, h := range p.held {
		all = append(all, h.stand(home, t))
	}
	slices.SortFunc(all, func(a, b Claim) int { return cmp.Compare(a.ID, b.ID) })
	p.t.fill(all, nil)
	return p
}

// change notes that a claim has been replaced by another of the same identifier. One of them
// may be nil. The table has been changed already.
func (p *processes) change(old, c *Claim, t *Table) {
	if old != nil {
		p.release(old)
	}
	if c != nil {
		p.hold(c)
		p.update(c.home(), t)
	}
	if old != nil && (c == nil || c.home() != old.home()) {
		p.update(old.home(), t)
	}
}

func (p *processes) hold(c *Claim) {
	h := p.held[c.home()]
	if h == nil {
		h = &holding{}
		p.held[c.home()] = h
	}
	i, _ := slices.BinarySearch(h.ids, c.ID)
	h.ids = slices.Insert(h.ids, i, c.ID)
	x := claimant{c.ID, c.Of}
	i, _ = slices.BinarySearchFunc(h.members, x, claimant.before)
	h.members = slices.Insert(h.members, i, x)
	h.sum += c.hash()
}

// release is the opposite of hold.
func (p *processes) release(c *Claim) {
	h := p.held[c.home()]
	i, _ := slices.BinarySearch(h.ids, c.ID)
	h.ids = slices.Delete(h.ids, i, i+1)
	i, _ = slices.BinarySearchFunc(h.members, claimant{c.ID, c.Of}, claimant.before)
	h.members = slices.Delete(h.members, i, i+1)
	h.sum -= c.hash()
}

// update brings the claim that stands for a process up to date.
func (p *processes) update(home uint64, t *Table) {
	h := p.held[home]
	if len(h.ids) > 0 {
		p.t.put(h.stand(home, t), nil)
		return
	}
	delete(p.held, home)
	if p.t.get(home) != nil {
		p.t.remove(home, nil)
	}
}

// stand is the claim that stands for all claims of a process.
func (h *holding) stand(home uint64, t *Table) Claim {
	if len(h.ids) == 1 && h.ids[0] == home {
		return *t.get(home)
	}
	return Claim{ID: home, After: h.sum, Epoch: uint64(len(h.ids)), Of: h.members[0].of}
}

// claims are those of the process at a home.
func (m *Map) claims(home uint64) (out []*Claim) {
	if m.procs == nil {
		if c := m.t.get(home); c != nil {
			out = append(out, c)
		}
		return out
	}
	if h := m.procs.held[home]; h != nil {
		for _, id := range h.ids {
			out = append(out, m.t.get(id))
		}
	}
	return out
}

// each yields the claims of the processes that have their homes in an arc, process by
// process.
func (m *Map) each(arc ring.Arc, yield func(*Claim) bool) {
	t := m.homes()
	first := t.upTo(arc.After)
	for i := range t.between(arc.After, arc.To) {
		p := t.at(first + i)
		if m.procs == nil {
			if !yield(p) {
				return
			}
			continue
		}
		for _, c := range m.claims(p.ID) {
			if !yield(c) {
				return
			}
		}
	}
}

// perProcess is about how many claims a process has.
func (m *Map) perProcess() int {
	n := max(1, m.homes().Len())
	return max(1, (m.t.Len()+n-1)/n)
}

// homeAt is where the process that claims at an identifier has its home, the identifier
// itself if it is not known.
func (m *Map) homeAt(id uint64) uint64 {
	if c := m.t.get(id); c != nil {
		return c.home()
	}
	return id
}
