package ringmap

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// Snapshot is what a map knew at an instant. It is never changed, and may be used
// concurrently. The zero Snapshot knows nothing.
type Snapshot struct {
	t      Table
	copied bool     // it is of a Copy
	single bool     // each process stands at one identifier
	procs  int      // processes
	sure   *Table   // of a Copy: the claims that answer lookups
	self   uint64   // the home of the process
	last   uint64   // of the process before it on the circle of processes
	owns   []uint64 // identifiers of the process that claim what the map says of them, or more
	mask   uint64
	levels []level // by how far they reach, each as of the latest that reaches as far
	doubts []uint64
}

// Snapshot returns what the map knows now.
func (m *Map) Snapshot() *Snapshot {
	if m.latest != nil && !m.changed {
		return m.latest
	}
	s := &Snapshot{t: m.t, self: m.home, mask: m.mask, single: !m.several(), procs: m.homes().Len()}
	if !m.has() {
		s.t = newTable(m.cfg.Bits)
	}
	if s.t.Len() > 0 {
		s.last = m.last()
	}
	m.shared, m.changed = true, false
	for _, d := range m.doubts {
		s.doubts = append(s.doubts, d.id)
	}
	s.owns = m.agreed()
	if mine := m.claims(m.home); m.has() && len(mine) > len(s.owns) {
		// Nobody vouches for what else its own process is said to claim.
		for _, c := range mine {
			if !slices.Contains(s.owns, c.ID) && !slices.Contains(s.doubts, c.ID) {
				s.doubts = append(s.doubts, c.ID)
			}
		}
	}
	s.levels = make([]level, 0, len(m.levels)+1)
	for _, l := range m.levels {
		if l.span > 0 {
			s.levels = append(s.levels, l)
		}
	}
	if m.whole.span > 0 {
		s.levels = append(s.levels, m.whole)
	}
	slices.SortFunc(s.levels, func(a, b level) int { return cmp.Compare(a.span, b.span) })
	for i := len(s.levels) - 2; i >= 0; i-- {
		s.levels[i].as = max(s.levels[i].as, s.levels[i+1].as)
	}
	s.levels = farthest(s.levels)
	m.latest = s
	return s
}

// farthest leaves out of levels, which are by how far they reach, those that are no younger than
// the next.
func farthest(levels []level) []level {
	out := levels[:0]
	for i, l := range levels {
		if i+1 == len(levels) || l.as > levels[i+1].as {
			out = append(out, l)
		}
	}
	return out
}

// Single reports whether each process on the map stands at one identifier. Of another, all claims
// are told together, also if some of its identifiers are in another ring.
func (s *Snapshot) Single() bool { return s.single }

// Processes is how many processes are on the map.
func (s *Snapshot) Processes() int { return s.procs }

// Lookup returns the claim of the owner of an identifier, and the time as of which the
// owner is known to have claimed it, or a later one. It is not ok if the map does not know,
// doubts it, or is not certain of it at the age given, for which the owner is to be asked.
// Lookup allocates nothing.
func (s *Snapshot) Lookup(id uint64, now, age time.Duration) (c *Claim, as time.Duration, ok bool) {
	if len(s.levels) == 0 {
		return nil, 0, false
	}
	if c = s.find(s.answering(), id); c == nil {
		return nil, 0, false
	}
	home := c.home()
	if home == s.self && !s.copied {
		return c, now, slices.Contains(s.owns, c.ID)
	}
	as, ok = s.asOf(home)
	return c, as, ok && now-as <= age
}

// answering is the table by which owners are named.
func (s *Snapshot) answering() *Table {
	t := &s.t
	if s.copied {
		t = s.sure
	}
	return t
}

// find is the claim to an identifier in a table, nil if there is none or it is in doubt.
func (s *Snapshot) find(t *Table, id uint64) *Claim {
	c := t.next(id)
	if c == nil || id != c.ID && !c.covers(id) || c.Of.Incarnation == 0 {
		return nil
	}
	if len(s.doubts) > 0 && slices.Contains(s.doubts, c.ID) {
		return nil
	}
	return c
}

// asOf is the time as of which the map is certain up to a home.
func (s *Snapshot) asOf(home uint64) (time.Duration, bool) {
	d := (home - s.self) & s.mask
	for i := range s.levels {
		if s.levels[i].span >= d {
			return s.levels[i].as, true
		}
	}
	return 0, false
}

// Known returns the claim to an identifier whatever its age, nil if there is none or it
// is in doubt.
func (s *Snapshot) Known(id uint64) *Claim {
	if s.t.blocks == nil {
		return nil
	}
	return s.find(&s.t, id)
}

// Circle is the claims of the whole circle, clockwise from that of an identifier: nil if the
// map is not certain of all of it at the age given, or doubts any, or is a Copy of which an owner
// has not confirmed all that it claims.
func (s *Snapshot) Circle(from uint64, now, age time.Duration) []*Claim {
	if !s.certain(now, age) {
		return nil
	}
	return s.circle(s.answering(), from)
}

// certain reports whether the map is certain of the whole circle at an age, and doubts nobody.
func (s *Snapshot) certain(now, age time.Duration) bool {
	old, ok := s.Age(now)
	return ok && old <= age && len(s.doubts) == 0
}

// circle is the claims in a table, clockwise from that of an identifier: nil if there are gaps, or
// other claims than the map has.
func (s *Snapshot) circle(t *Table, from uint64) []*Claim {
	n := t.Len()
	if n != s.t.Len() {
		return nil
	}
	first := t.rank(from)
	out := make([]*Claim, n)
	for i := range out {
		c := t.at(first + i)
		if c.Of.Incarnation == 0 || c.After != t.at(first+i-1).ID {
			return nil
		}
		out[i] = c
	}
	return out
}

// Unconfirmed is the identifiers whose owners have to confirm what they claim before Circle has
// the whole circle: none if that would not suffice.
func (s *Snapshot) Unconfirmed(now, age time.Duration) (ids []uint64) {
	if !s.copied || !s.certain(now, age) {
		return nil
	}
	for _, c := range s.circle(&s.t, 0) {
		if x := s.sure.get(c.ID); x == nil || x.After != c.After {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// UnconfirmedFrom is those of the k claims clockwise from that of an identifier whose owners have to
// confirm them before Lookup names them: none if that would not suffice for the first of them.
func (s *Snapshot) UnconfirmedFrom(id uint64, k int, now, age time.Duration) (out []*Claim) {
	for range min(k, s.Len()) {
		c := s.find(&s.t, id)
		if !s.copied || c == nil {
			break
		}
		if as, ok := s.asOf(c.home()); !ok || now-as > age {
			break
		}
		if x := s.sure.get(c.ID); x == nil || x.After != c.After {
			out = append(out, c)
		}
		id = (c.ID + 1) & s.mask
	}
	return out
}

// Growing reports whether another process stands at several identifiers and at fewer than k: it may
// be about to take more.
func (s *Snapshot) Growing(k int) bool {
	at := map[uint64]int{}
	for c := range s.All() {
		if c.Of.Choice.Several() && c.home() != s.self {
			at[c.home()]++
		}
	}
	for _, n := range at {
		if n < k {
			return true
		}
	}
	return false
}

// Len is the number of claims.
func (s *Snapshot) Len() int {
	if s.t.blocks == nil {
		return 0
	}
	return s.t.Len()
}

// Age is how old the oldest certainty of the whole circle is. It is not ok if the map is
// not certain of all of it.
func (s *Snapshot) Age(now time.Duration) (age time.Duration, ok bool) {
	if s.Len() == 0 {
		return 0, false
	}
	if s.last == s.self && !s.copied {
		return 0, true
	}
	as, ok := s.asOf(s.last)
	return now - as, ok
}

// All yields the claims in the order of their identifiers.
func (s *Snapshot) All() iter.Seq[Claim] {
	if s.t.blocks == nil {
		return func(func(Claim) bool) {}
	}
	return s.t.all()
}

// Change is how the claim of one identifier has changed. Old is nil for a new one, New
// for one that is gone.
type Change struct {
	Old, New *Claim
}

// Changes yields what is different in now, in the order of the identifiers. What has
// changed more than once in between is yielded once, and what has changed back is not.
func Changes(before, now *Snapshot) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		if before.t.blocks == nil {
			before = &Snapshot{t: newTable(now.t.bits)}
		}
		if before.t.shift != now.t.shift || now.t.blocks == nil {
			between(slices.Collect(before.All()), slices.Collect(now.All()), yield)
			return
		}
		for i, b := range now.t.blocks {
			if a := before.t.blocks[i]; a != b && !between(a.claims, b.claims, yield) {
				return
			}
		}
	}
}

// between yields the changes from one list of claims to another.
func between(old, now []Claim, yield func(Change) bool) bool {
	for len(old) > 0 || len(now) > 0 {
		var c Change
		if len(now) == 0 || len(old) > 0 && old[0].ID <= now[0].ID {
			c.Old = &old[0]
		}
		if len(old) == 0 || len(now) > 0 && now[0].ID <= old[0].ID {
			c.New = &now[0]
		}
		if c.Old != nil {
			old = old[1:]
		}
		if c.New != nil {
			now = now[1:]
		}
		if c.Old != nil && c.New != nil && same(c.Old, c.New) {
			continue
		}
		if !yield(c) {
			return false
		}
	}
	return true
}
