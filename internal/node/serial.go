package node

import "sync"

// serial makes calls into the application, one at a time and in order, on a
// goroutine that lives only as long as there is something to call.
type serial struct {
	most int // calls that may wait; further ones are dropped

	mu      sync.Mutex
	queue   []func()
	calling bool
	stopped bool
	ended   chan struct{} // of the goroutine that runs, nil if none does
}

// put hands over a call. It does not block.
func (c *serial) put(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || len(c.queue) >= c.most {
		return
	}
	c.queue = append(c.queue, f)
	if c.ended == nil {
		c.ended = make(chan struct{})
		go c.run(c.ended)
	}
}

func (c *serial) run(ended chan struct{}) {
	defer close(ended)
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 && !c.stopped {
		f := c.queue[0]
		c.queue = c.queue[1:]
		c.calling = true
		c.mu.Unlock()
		f()
		c.mu.Lock()
		c.calling = false
	}
	c.queue, c.ended = nil, nil
}

// stop lets no further call begin, and returns when the goroutine has ended or
// is inside a call. That call is not waited for: it may be the one that stops.
func (c *serial) stop() {
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
