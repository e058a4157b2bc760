package peer

// Recent is a map of what is known of others that keeps a bounded number of keys: those
// that were put into it last. The zero Recent is empty. It is not safe for concurrent use.
type Recent[K comparable, V any] struct {
	values map[K]V
	order  []K // the keys, a ring whose oldest is at next once it is full
	next   int
}

// Get returns the value of a key, and whether the map has it.
func (m *Recent[K, V]) Get(k K) (V, bool) {
	v, ok := m.values[k]
	return v, ok
}

// Put sets the value of a key. A new key takes the place of the oldest if the map has
// limit keys. The limit of a map is always the same.
func (m *Recent[K, V]) Put(k K, v V, limit int) {
	if _, ok := m.values[k]; !ok {
		m.keep(k, limit)
	}
	m.values[k] = v
}

// keep makes room for a new key.
func (m *Recent[K, V]) keep(k K, limit int) {
	if m.values == nil {
		m.values = make(map[K]V)
	}
	if len(m.order) < limit {
		m.order = append(m.order, k)
		return
	}
	delete(m.values, m.order[m.next])
	m.order[m.next] = k
	m.next = (m.next + 1) % limit
}

// Len is the number of keys.
func (m *Recent[K, V]) Len() int { return len(m.order) }
