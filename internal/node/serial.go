package node

import (
	"sync"
	"time"
)

// callGrace is how long the end of a node waits for a call into the application
// that is being made. So none is seen to begin after the end; one that takes
// longer, or that ends the node itself, is not waited for.
const callGrace = 100 * time.Millisecond

// serial makes calls into the application, one at a time and in order, on a
// goroutine that lives only as long as there is something to call.
type serial struct {
	most  int  // calls that may wait; further ones are dropped
	drain bool // calls that wait when it is stopped are made yet

	mu      sync.Mutex
	queue   []func()
	calling bool
	stopped bool
	ended   chan struct{} // of the goroutine that runs, nil if none does
}

// put hands over a call. It does not block. It reports false if it has dropped the call
// because too many wait; one that comes after the end is not missed.
func (c *serial) put(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return true
	}
	if len(c.queue) >= c.most {
		return false
	}
	c.queue = append(c.queue, f)
	if c.ended == nil {
		c.ended = make(chan struct{})
		go c.run(c.ended)
	}
	return true
}

func (c *serial) run(ended chan struct{}) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended == ended { // the call has ended the goroutine
			c.ended, c.calling = nil, false
		}
		close(ended)
	}()
	for f := c.next(); f != nil; f = c.next() {
		f()
	}
}

// next ends the call that was made and returns the one to be made, nil if the
// goroutine is to end.
func (c *serial) next() func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calling = false
	if len(c.queue) == 0 || c.stopped && !c.drain {
		c.queue, c.ended = nil, nil // a call put from now on gets a goroutine of its own
		return nil
	}
	f := c.queue[0]
	c.queue = c.queue[1:]
	c.calling = true
	return f
}

// stop takes no further calls, lets none begin but those that are to be drained,
// and returns when the goroutine has ended. A call that is being made is waited
// for only for a moment: it may be the one that stops.
func (c *serial) stop() {
	c.mu.Lock()
	c.stopped = true
	ended, calling := c.ended, c.calling
	c.mu.Unlock()
	if ended == nil {
		return
	}
	if !calling && !c.drain {
		<-ended
		return
	}
	select {
	case <-ended:
	case <-time.After(callGrace):
		c.mu.Lock()
		c.queue = nil // a handler that slow gets no more
		c.mu.Unlock()
	}
}
