package ringmap

import (
	"slices"
	"time"
)

// Whoever is in the ring can push claims, and each that is new goes to all members. So
// what one sender may push is bounded by the size of the map: a few times all claims at
// once, as after a cut, and each of them once in an interval in the long run.
const (
	// burst is how many times its claims may be pushed at once.
	burst = 4
	// fewClaims is what a map counts as at least, those of 16 processes at 16 identifiers: it
	// may be loaded only later.
	fewClaims = 256
	// maxSenders bounds the senders that are told apart.
	maxSenders = 1 << 10
)

// allowance is what a sender may push.
type allowance struct {
	used float64 // of burst times the claims of a map
	at   time.Duration
}

// Passes reports whether a request is to be received, as far as it depends on whether this process
// is still there to pass on what is pushed to it: one that leaves may not be. Who hears that
// gives the parts of this process to the next.
func (m *Map) Passes(r *Request) bool {
	return r.Kind != Push || !m.leaving() || !slices.ContainsFunc(r.Parts, func(p Part) bool { return p.To != m.home })
}

// Allow reports whether a request of the process with that home is to be received. It
// is called once for each. One that has pushed too much is not to be answered.
func (m *Map) Allow(now time.Duration, from uint64, r *Request) bool {
	if r.Kind != Push {
		return true
	}
	claims := 0
	for i := range r.Parts {
		claims += len(r.Parts[i].Claims)
	}
	size := float64(m.t.Len() + fewClaims)
	a, _ := m.pushed.Get(from)
	a.used = max(0, a.used-size*float64(now-a.at)/float64(m.cfg.Interval))
	a.at = now
	ok := a.used+float64(claims) <= burst*size
	if ok {
		a.used += float64(claims)
	}
	m.pushed.Put(from, a, maxSenders)
	return ok
}
