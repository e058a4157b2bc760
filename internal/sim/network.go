package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// network is how messages travel: the latency, and the faults of this moment.
type network struct {
	rng     *rand.Rand
	latency Latency
	// now are the actions under way that concern messages, in the order in
	// which they began.
	now []*fault
}

// fault is an action and whom it turned out to concern.
type fault struct {
	action
	number int
	one    int32   // the member that is cut off alone
	who    []int32 // hosts that were paused or ended, or whose names lead elsewhere
	leads  []int32 // where these lead
	active bool
}

// transit draws how long a message from a to b takes; it reports false if the
// message gets lost.
func (w *world) transit(a, b *host) (time.Duration, bool) {
	n := &w.net
	d := n.latency.draw(n.rng, a, b)
	for _, f := range n.now {
		switch f.fault {
		case Loss:
			if n.rng.Float64() < 0.01+0.19*f.level {
				return 0, false
			}
		case Reorder:
			if n.rng.IntN(5) == 0 {
				d += time.Duration(n.rng.Float64() * float64(w.cfg.Interval))
			}
		case Slow:
			if f.concerns(a) || f.concerns(b) {
				d += time.Duration(f.level * n.rng.Float64() * 1.5 * float64(time.Second))
			}
		case Cut:
			if f.apart(a) != f.apart(b) {
				return 0, false
			}
		case OneWay:
			if f.apart(a) && !f.apart(b) {
				return 0, false
			}
		case Links:
			p, q := a.first().index, b.first().index
			lo, hi := uint64(min(p, q)), uint64(max(p, q))
			if lo != hi && chance(f.pick+lo<<32+hi) < 0.02+0.28*f.level {
				return 0, false
			}
		}
	}
	return d, true
}

// led is the host to which a new connection to the name of another leads now.
func (n *network) led(to int32) int32 {
	for _, f := range n.now {
		for k, i := range f.who {
			if f.fault == Astray && i == to {
				return f.leads[k]
			}
		}
	}
	return to
}

// overloaded reports whether a member has too much to do now.
func (n *network) overloaded(h *host) bool {
	return slices.ContainsFunc(n.now, func(f *fault) bool { return f.fault == Busy && f.concerns(h) })
}

// doubled reports whether a message arrives twice.
func (n *network) doubled() bool {
	for _, f := range n.now {
		if f.fault == Duplicate && n.rng.Float64() < 0.01+0.19*f.level {
			return true
		}
	}
	return false
}

// What a fault of the network concerns, it concerns at all identifiers of its process, which
// the first stands for.

// concerns reports whether a host is one of up to a quarter.
func (f *fault) concerns(h *host) bool {
	return chance(f.pick+uint64(h.first().index)*0x9e3779b97f4a7c15) < 0.25*f.level
}

// apart reports whether a host stands on the smaller side of a split.
func (f *fault) apart(h *host) bool {
	h = h.first()
	switch f.shape % 4 {
	case 0, 1: // any split
		return chance(f.pick+uint64(h.index)*0x9e3779b97f4a7c15) < 0.05+0.45*f.level
	case 2: // an arc
		return float64(h.id-f.pick)/(1<<64) < 0.05+0.45*f.level
	}
	return h.index == f.one
}
