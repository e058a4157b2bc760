package budget

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// gate lets the connections whose requests are refused again and again be read in turn,
// one at a time and only while few requests are at work. So they neither are refused
// much more nor wait while there is nothing to do.
type gate struct {
	work *atomic.Int32 // requests at work
	low  int32         // up to so many are few

	waiting atomic.Int32 // of queue, or about to be
	mu      sync.Mutex
	taken   bool // a connection has its turn
	queue   []chan struct{}
}

// wait waits for a turn. It reports false if there is none in time, or gone is closed.
func (g *gate) wait(gone <-chan struct{}, limit time.Duration) bool {
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	g.mu.Lock()
	if !g.taken && len(g.queue) == 0 && g.work.Load() <= g.low {
		g.taken = true
		g.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	g.queue = append(g.queue, turn)
	g.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-turn:
		return true
	case <-gone:
	case <-timer.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, turn); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
		return false
	}
	return true // it had its turn a moment ago
}

// next gives the turn to the connection that has waited for longest, if there is one and
// few requests are at work.
func (g *gate) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taken || len(g.queue) == 0 || g.work.Load() > g.low {
		return
	}
	g.taken = true
	close(g.queue[0])
	g.queue = slices.Delete(g.queue, 0, 1)
}

// release ends a turn.
func (g *gate) release() {
	g.mu.Lock()
	g.taken = false
	g.mu.Unlock()
	if g.waiting.Load() > 0 {
		g.next()
	}
}
