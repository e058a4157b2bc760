// Package fault models the faults of a network between processes: latency, loss, cuts in one
// direction, and stopped processes. It decides what happens to a packet from one address to another.
// The networks that use it carry the packets: package transport/memory carries whole requests,
// package transport/loopback the bytes of TCP connections.
//
// It knows time by timers and waits on channels only, so that Faults made inside a testing/synctest
// bubble run on the bubble's clock.
package fault

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"
)

// Faults are the faults of one network. The zero Faults are of no use; New makes them. All methods
// may be called concurrently; a fault takes effect for what is sent from then on.
type Faults struct {
	mu      sync.Mutex // guards all below; held only briefly
	rng     *rand.Rand
	delay   span
	delays  map[pair]span
	loss    float64
	cuts    map[pair]bool
	paused  map[string]chan struct{} // closed at Resume
	changed chan struct{}            // closed, and replaced, when a cut is healed
}

// pair is one direction between two addresses.
type pair struct{ from, to string }

// span is a latency drawn evenly from least to most.
type span struct{ least, most time.Duration }

// New makes Faults that do nothing yet. The seed decides what they draw; the order of the draws is
// up to the scheduler.
func New(seed uint64) *Faults {
	return &Faults{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		delays:  make(map[pair]span),
		cuts:    make(map[pair]bool),
		paused:  make(map[string]chan struct{}),
		changed: make(chan struct{}),
	}
}

// Delay makes every packet take between least and most, evenly drawn, where DelayBetween says
// nothing else. A most below least counts as least.
func (f *Faults) Delay(least, most time.Duration) { f.set(func() { f.delay = span{least, most} }) }

// DelayBetween is Delay for packets that from sends to to; the way back keeps its own.
func (f *Faults) DelayBetween(from, to string, least, most time.Duration) {
	f.set(func() { f.delays[pair{from, to}] = span{least, most} })
}

// Lose makes each packet vanish with probability p. Each network defines what one packet is.
func (f *Faults) Lose(p float64) { f.set(func() { f.loss = p }) }

// Cut makes every packet from from to to vanish, those on their way included. The way back stays.
func (f *Faults) Cut(from, to string) { f.set(func() { f.cuts[pair{from, to}] = true }) }

// Heal undoes Cut for one direction, whoever cut it.
func (f *Faults) Heal(from, to string) {
	f.set(func() {
		delete(f.cuts, pair{from, to})
		f.announce()
	})
}

// HealAll undoes every Cut and Partition, and nothing else.
func (f *Faults) HealAll() {
	f.set(func() {
		clear(f.cuts)
		f.announce()
	})
}

// Partition cuts both directions between any two addresses of different groups. It adds to the cuts
// that there are; an address in no group is not affected.
func (f *Faults) Partition(groups ...[]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, group := range groups {
		for j, other := range groups {
			if i == j {
				continue
			}
			for _, from := range group {
				for _, to := range other {
					f.cuts[pair{from, to}] = true
				}
			}
		}
	}
}

// Pause does to the process at addr what SIGSTOP does, as far as the network shows it: what is sent
// to it waits, and it sends nothing, until Resume. The pause is the address's: a process that
// listens there later finds it.
func (f *Faults) Pause(addr string) {
	f.set(func() {
		if f.paused[addr] == nil {
			f.paused[addr] = make(chan struct{})
		}
	})
}

// Resume undoes Pause.
func (f *Faults) Resume(addr string) {
	f.set(func() {
		if wake := f.paused[addr]; wake != nil {
			close(wake)
			delete(f.paused, addr)
		}
	})
}

// Seed derives the seed of a member from that of its network. It is never zero.
func Seed(network uint64, name string) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, network)
	_, _ = h.Write([]byte(name))
	return max(1, h.Sum64())
}

// set changes a fault.
func (f *Faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// announce wakes every Open, to look again. Callers hold mu.
func (f *Faults) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Travel takes one packet from from to to and reports whether it arrived before ctx ended. What a
// kernel would send again is not lost: lossy is false for it.
func (f *Faults) Travel(ctx context.Context, from, to string, lossy bool) bool {
	wait, lost := f.Draw(from, to)
	if lost && lossy || f.Severed(from, to) {
		return false
	}
	return Wait(ctx, wait) && !f.Severed(from, to)
}

// Draw draws how long a packet from from to to takes, and whether it is lost.
func (f *Faults) Draw(from, to string) (wait time.Duration, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lost = f.loss > 0 && f.rng.Float64() < f.loss
	between, ok := f.delays[pair{from, to}]
	if !ok {
		between = f.delay
	}
	wait = between.least
	if extra := between.most - between.least; extra > 0 {
		wait += time.Duration(f.rng.Int64N(int64(extra) + 1))
	}
	return wait, lost
}

// Severed reports whether packets from from to to vanish.
func (f *Faults) Severed(from, to string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cuts[pair{from, to}]
}

// Passes reports whether what from sends now reaches to: neither is paused, and the way is not cut.
func (f *Faults) Passes(from, to string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.cuts[pair{from, to}] && f.paused[from] == nil && f.paused[to] == nil
}

// Awake waits until addr is not paused and reports whether that came before ctx ended.
func (f *Faults) Awake(ctx context.Context, addr string) bool {
	for {
		f.mu.Lock()
		wake := f.paused[addr]
		f.mu.Unlock()
		if wake == nil {
			return true
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return false
		}
	}
}

// Open waits until the way from from to to is not cut and reports whether that came before ctx
// ended.
func (f *Faults) Open(ctx context.Context, from, to string) bool {
	for {
		f.mu.Lock()
		cut, changed := f.cuts[pair{from, to}], f.changed
		f.mu.Unlock()
		if !cut {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Wait waits for d and reports whether that came before ctx ended. It does not look at ctx if d is
// zero or less.
func Wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
