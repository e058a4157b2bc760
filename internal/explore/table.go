package explore

import "math/bits"

// key is what a state is known by: a hash of 128 bits of its canonical form.
// Of 10^9 states two share a key with a probability below 10^-20.
type key [2]uint64

// hasher computes keys, word by word.
type hasher struct{ a, b uint64 }

func newHasher() hasher { return hasher{0x9e3779b97f4a7c15, 0xd1b54a32d192ed03} }

func (h *hasher) add(w uint64) {
	hi, lo := bits.Mul64(h.a^w, 0xa0761d6478bd642f)
	h.a = hi ^ lo ^ bits.RotateLeft64(h.b, 23)
	hi, lo = bits.Mul64(h.b^w, 0xe7037ed1a0b428db)
	h.b = hi ^ lo ^ bits.RotateLeft64(w, 41)
}

func (h *hasher) sum() key {
	x, y := *h, *h
	x.add(0x8ebc6af09c88c6e3)
	y.add(0x589965cc75374cc3)
	if k := (key{x.a, y.b}); k != (key{}) {
		return k
	}
	return key{1, 0}
}

// set is a set of keys, and table a map from keys to numbers: open addressing,
// no pointers, so that the garbage collector has nothing to do with them.
type set struct {
	slots []key
	len   int
}

// add reports whether k is new.
func (s *set) add(k key) bool {
	if 8*(s.len+1) > 7*len(s.slots) {
		s.grow()
	}
	i, ok := find(s.slots, k)
	if ok {
		return false
	}
	s.slots[i] = k
	s.len++
	return true
}

func (s *set) grow() {
	old := s.slots
	s.slots = make([]key, max(1024, 2*len(old)))
	for _, k := range old {
		if k != (key{}) {
			i, _ := find(s.slots, k)
			s.slots[i] = k
		}
	}
}

// find is where k is, or belongs.
func find(slots []key, k key) (int, bool) {
	mask := len(slots) - 1
	h := k[0]*0x9e3779b97f4a7c15 ^ k[1]*0xd1b54a32d192ed03
	for i := int(h>>20) & mask; ; i = (i + 1) & mask {
		switch slots[i] {
		case k:
			return i, true
		case key{}:
			return i, false
		}
	}
}

type table struct {
	slots  []key
	values []uint32
	len    int
}

func (t *table) get(k key) (uint32, bool) {
	if len(t.slots) == 0 {
		return 0, false
	}
	i, ok := find(t.slots, k)
	return t.values[i], ok
}

func (t *table) put(k key, v uint32) {
	if 4*(t.len+1) > 3*len(t.slots) {
		keys, values := t.slots, t.values
		n := max(1024, 2*len(keys))
		t.slots, t.values = make([]key, n), make([]uint32, n)
		for i, k := range keys {
			if k != (key{}) {
				j, _ := find(t.slots, k)
				t.slots[j], t.values[j] = k, values[i]
			}
		}
	}
	i, ok := find(t.slots, k)
	if !ok {
		t.len++
	}
	t.slots[i], t.values[i] = k, v
}

// queue holds the states that wait to be expanded, first in first out.
type queue struct {
	chunks [][]uint64
	spare  []uint64
	at     int // in the first chunk
	len    int
}

const chunkWords = 1 << 16

func (q *queue) push(words []uint64) {
	last := len(q.chunks) - 1
	if last < 0 || len(q.chunks[last])+len(words)+1 > cap(q.chunks[last]) {
		c := q.spare
		if q.spare = nil; c == nil {
			c = make([]uint64, 0, chunkWords)
		}
		q.chunks = append(q.chunks, c[:0])
		last++
	}
	q.chunks[last] = append(append(q.chunks[last], uint64(len(words))), words...)
	q.len++
}

// pop returns the first state's words, which are valid until the next push.
func (q *queue) pop() []uint64 {
	if q.at == len(q.chunks[0]) {
		q.spare = q.chunks[0]
		q.chunks = q.chunks[1:]
		q.at = 0
	}
	c := q.chunks[0]
	n := int(c[q.at])
	words := c[q.at+1 : q.at+1+n]
	q.at += 1 + n
	q.len--
	return words
}
