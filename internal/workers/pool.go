// Package workers runs functions on goroutines that are used again.
//
// A goroutine begins with a small stack, which is copied to a larger one each time it is too
// small. Where many short functions run one after another, that copying costs more than what
// they do. A goroutine that waits for the next function keeps the stack that it has.
package workers

import "sync"

// Pool runs functions. Its methods may be called concurrently.
type Pool struct {
	jobs  chan func()
	ended chan struct{}
	ends  sync.Once
	all   sync.WaitGroup

	mu   sync.Mutex
	wait int // goroutines that wait for a function
	most int
}

// New makes a pool of which at most so many goroutines wait for functions. Whoever uses it
// closes it.
func New(most int) *Pool {
	return &Pool{jobs: make(chan func()), ended: make(chan struct{}), most: most}
}

// Go runs f on a goroutine that waits, or else on a new one. It does not block.
func (p *Pool) Go(f func()) {
	select {
	case p.jobs <- f:
	default:
		p.all.Go(func() { p.work(f) })
	}
}

// work runs f, and then what comes, until enough others wait or the pool is closed.
func (p *Pool) work(f func()) {
	for f != nil {
		f()
		f = p.next()
	}
}

// next waits for the next function. It is nil if there is none.
func (p *Pool) next() func() {
	if !p.waits(1) {
		return nil
	}
	defer p.waits(-1)
	select {
	case f := <-p.jobs:
		return f
	case <-p.ended:
		return nil
	}
}

// waits counts a goroutine that begins or ends to wait, unless too many do.
func (p *Pool) waits(by int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wait+by > p.most {
		return false
	}
	p.wait += by
	return true
}

// Close ends the goroutines that wait, and returns when those at work have ended. Functions that
// Go is given afterwards run as well.
func (p *Pool) Close() {
	p.ends.Do(func() { close(p.ended) })
	p.all.Wait()
}
