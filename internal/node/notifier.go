package node

import (
	"sync"

	"github.com/ollelogdahl/concord/internal/ring"
)

// notifier calls the range callback, on one goroutine, with the newest range.
// Ranges that come while a call runs are merged into one call after it. The
// goroutine lives only as long as there is something to tell.
type notifier struct {
	f func(ring.Arc)

	mu      sync.Mutex
	newest  ring.Arc
	fresh   bool
	calling bool
	stopped bool
	ended   chan struct{} // of the goroutine that runs, nil if none does
}

func newNotifier(f func(ring.Arc)) *notifier { return &notifier{f: f} }

// put hands over a range. It does not block.
func (c *notifier) put(r ring.Arc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f == nil || c.stopped {
		return
	}
	c.newest, c.fresh = r, true
	if c.ended == nil {
		c.ended = make(chan struct{})
		go c.run(c.ended)
	}
}

func (c *notifier) run(ended chan struct{}) {
	defer close(ended)
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.fresh && !c.stopped {
		c.fresh, c.calling = false, true
		r := c.newest
		c.mu.Unlock()
		c.f(r)
		c.mu.Lock()
		c.calling = false
	}
	c.ended = nil
}

// stop lets no further call begin, and returns when the goroutine has ended or
// is inside a call. That call is not waited for: it may be the one that stops.
func (c *notifier) stop() {
	c.mu.Lock()
	c.stopped = true
	ended := c.ended
	if c.calling {
		ended = nil
	}
	c.mu.Unlock()
	if ended != nil {
		<-ended
	}
}
