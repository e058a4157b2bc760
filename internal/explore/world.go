package explore

import (
	"slices"

	"github.com/ollelogdahl/concord/internal/protocol"
)

// world is one state: the local states, by place, and what is under way. It is
// copied by assignment.
type world struct {
	slots        [maxMembers]uint32 // local states
	incarnations [maxMembers]uint8  // the latest incarnation at each place, 0: none that anyone knows of
	budget
	grown    bool // there has been a ring of Successors+1 principals with full lists
	hears    bool // heard counts
	heard    heard
	wrong    int // the step to it breaks a rule: which of checker.wrongs, from 1
	n        int
	messages [maxMessages]message
}

const (
	empty = 0 // nobody is there
	dead  = 1 // somebody was, and is still named somewhere
)

const maxMessages = 28

// budget is how often each thing may yet happen; unlimited: any number of times.
type budget struct {
	joins, fails, restarts, leaves, suspicions, losses, doubles uint8
}

const unlimited = 255

func spend(n *uint8) {
	if *n != 0 && *n != unlimited {
		*n--
	}
}

// message is one question from asking to the use of its answer, in one number,
// so that worlds are quickly compared.
type message uint64 //nolint:recvcheck // a number is read by value and changed in place

type stage uint8

const (
	asked    stage = iota // on its way
	waiting               // arrived, not answered yet
	answered              // the answer is on its way
)

// Where each part of a message stands.
const (
	fromAt, toAt, stageAt, roleAt, tokenAt, incarnationAt, byAt, flagsAt, saidAt = 0, 3, 6, 8, 16, 24, 27, 30, 32
)

const (
	nowFlag  = 1 << flagsAt       // goes on in the same step
	tellFlag = 1 << (flagsAt + 1) // no answer is wanted
)

func (m message) from() int          { return int(m>>fromAt) & 7 }
func (m message) to() int            { return int(m>>toAt) & 7 }
func (m message) stage() stage       { return stage(m>>stageAt) & 3 }
func (m message) role() byte         { return byte(m >> roleAt) }
func (m message) token() byte        { return byte(m >> tokenAt) }
func (m message) incarnation() uint8 { return uint8(m>>incarnationAt) & 7 } // of the member asked
func (m message) by() uint8          { return uint8(m>>byAt) & 7 }          // incarnation of the asker
func (m message) now() bool          { return m&nowFlag != 0 }
func (m message) tell() bool         { return m&tellFlag != 0 }
func (m message) said() uint32       { return uint32(m >> saidAt) }

func (m *message) set(at, bits uint, v uint64) {
	mask := uint64(1)<<bits - 1
	*m = message(uint64(*m)&^(mask<<at) | (v&mask)<<at)
}
func (m *message) setStage(s stage)  { m.set(stageAt, 2, uint64(s)) }
func (m *message) setRole(r byte)    { m.set(roleAt, 8, uint64(r)) }
func (m *message) setToken(t byte)   { m.set(tokenAt, 8, uint64(t)) }
func (m *message) setSaid(id uint32) { m.set(saidAt, 32, uint64(id)) }
func (m *message) setNow(on bool) {
	if on {
		*m |= nowFlag
	} else {
		*m &^= nowFlag
	}
}

func (w *world) live(i int) bool { return w.slots[i] > dead }

func (w *world) remove(k int) {
	copy(w.messages[k:w.n], w.messages[k+1:w.n])
	w.n--
	w.messages[w.n] = 0
}

// doubled reports whether another message puts the question of m.
func (w *world) doubled(m message) bool {
	return slices.ContainsFunc(w.messages[:w.n], func(o message) bool { return o.from() == m.from() && o.role() == m.role() })
}

// words appends the canonical form of w, less the budgets that it never spends.
func (w *world) words(b []uint64, members int) []uint64 {
	for i := 0; i < members; i += 2 {
		b = append(b, uint64(w.slots[i])|uint64(w.slots[i+1])<<32)
	}
	var incarnations, grown uint64
	if w.grown {
		grown = 1
	}
	if w.hears {
		grown |= 2
	}
	for i := range members {
		incarnations |= uint64(w.incarnations[i]) << (8 * i)
	}
	u := &w.budget
	b = append(b, incarnations, uint64(u.joins)|uint64(u.fails)<<8|uint64(u.restarts)<<16|uint64(u.leaves)<<24|
		uint64(u.suspicions)<<32|uint64(u.losses)<<40|uint64(u.doubles)<<48|grown<<56)
	if w.hears {
		var all uint64
		for i, k := range w.heard {
			all |= uint64(k) << (8 * i)
		}
		b = append(b, all)
	}
	for _, m := range w.messages[:w.n] {
		b = append(b, uint64(m))
	}
	return b
}

// read is the inverse of words.
func (w *world) read(b []uint64, members int) {
	*w = world{}
	for i := 0; i < members; i += 2 {
		w.slots[i], w.slots[i+1] = uint32(b[0]), uint32(b[0]>>32)
		b = b[1:]
	}
	for i := range members {
		w.incarnations[i] = uint8(b[0] >> (8 * i))
	}
	u := b[1]
	w.budget = budget{uint8(u), uint8(u >> 8), uint8(u >> 16), uint8(u >> 24), uint8(u >> 32), uint8(u >> 40), uint8(u >> 48)}
	w.grown, w.hears = u>>56&1 != 0, u>>57 != 0
	b = b[2:]
	if w.hears {
		for i := range w.heard {
			w.heard[i] = uint8(b[0] >> (8 * i))
		}
		b = b[1:]
	}
	for _, m := range b {
		w.messages[w.n] = message(m)
		w.n++
	}
}

func (k key) of(words []uint64) key {
	h := newHasher()
	for _, w := range words {
		h.add(w)
	}
	return h.sum()
}

// mentioned are the places that anybody alive, or anything under way, names.
func (c *checker) mentioned(w *world) uint8 {
	var out uint8
	for i := range c.cfg.Members {
		if w.live(i) {
			out |= c.turned(c.all[w.slots[i]].mentions, i)
		}
	}
	for _, m := range w.messages[:w.n] {
		out |= 1<<m.from() | 1<<m.to()
		by := m.from()
		if m.stage() == answered {
			by = m.to()
		}
		out |= c.turned(c.saids[m.said()].mentions, by)
	}
	return out
}

// turned makes a set of members as the one at place i numbers them one of places.
func (l *locals) turned(set uint8, i int) uint8 {
	if !l.turn || i == 0 {
		return set
	}
	wide := uint16(set) << i
	return uint8(wide&(1<<l.members-1)) | uint8(wide>>l.members)
}

// canonical brings w into the form in which equal states are equal: those dead
// whom nobody names are gone, messages are sorted, and of all turns of the
// circle the least is taken. It returns by how many places it has turned w.
func (c *checker) canonical(w *world) int {
	n := c.cfg.Members
	gone := false
	for i := range n {
		gone = gone || w.slots[i] == dead
	}
	if gone {
		named := c.mentioned(w)
		for i := range n {
			if w.slots[i] == dead && named&(1<<i) == 0 {
				w.slots[i], w.incarnations[i] = empty, 0
				w.heard.forget(i)
			}
		}
	}
	sortMessages(w.messages[:w.n])
	if !c.turn {
		return 0
	}
	best := 0
	var least, other world
	for by := 1; by < n; by++ {
		d := 0
		for i := 0; i < n && d == 0; i++ {
			d = int(int64(w.slots[(i+by)%n]) - int64(w.slots[(i+best)%n]))
		}
		switch {
		case d > 0:
			continue
		case d < 0:
			best = by
			continue
		}
		// The same local states from here as from there: the messages decide.
		least.turn(w, best, n)
		other.turn(w, by, n)
		if slices.Compare(other.incarnations[:n], least.incarnations[:n]) < 0 ||
			slices.Equal(other.incarnations[:n], least.incarnations[:n]) && slices.Compare(other.messages[:w.n], least.messages[:w.n]) < 0 {
			best = by
		}
	}
	if best != 0 {
		least.turn(w, best, n)
		*w = least
	}
	return best
}

// turn makes w what o is seen from the place by.
func (w *world) turn(o *world, by, n int) {
	*w = *o
	for i := range n {
		w.slots[i], w.incarnations[i] = o.slots[(i+by)%n], o.incarnations[(i+by)%n]
		k := o.heard[(i+by)%n]
		w.heard[i] = (k>>by | k<<(n-by)) & (1<<n - 1)
	}
	for k := range w.messages[:w.n] {
		m := &w.messages[k]
		m.set(fromAt, 3, uint64((m.from()+n-by)%n))
		m.set(toAt, 3, uint64((m.to()+n-by)%n))
	}
	sortMessages(w.messages[:w.n])
}

// sortMessages sorts, by insertion: they are few.
func sortMessages(ms []message) {
	for i := 1; i < len(ms); i++ {
		for j := i; j > 0 && ms[j] < ms[j-1]; j-- {
			ms[j], ms[j-1] = ms[j-1], ms[j]
		}
	}
}

// phase of the member at place i, 0 if nobody is there.
func (c *checker) phase(w *world, i int) protocol.Phase { return c.all[w.slots[i]].phase }

func (c *checker) joined(w *world, i int) bool { return c.phase(w, i) == protocol.Joined }

func (c *checker) inRing(w *world, i int) bool { return c.phase(w, i).InRing() }
