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
	most  int

	mu   sync.Mutex // guards all below
	all  int        // goroutines
	wait int        // those of them that wait for a function
	none sync.Cond  // all is 0. A WaitGroup would not let Go be called while Close waits
}

// New makes a pool of which at most so many goroutines wait for functions. Whoever uses it
// closes it.
func New(most int) *Pool {
	p := &Pool{jobs: make(chan func()), ended: make(chan struct{}), most: most}
	p.none.L = &p.mu
	return p
}

// Go runs f on a goroutine that waits, or else on a new one. It does not block.
func (p *Pool) Go(f func()) {
	select {
	case p.jobs <- f:
	default:
		p.mu.Lock()
		p.all++
		p.mu.Unlock()
		go p.work(f)
	}
}

// work runs f, and then what comes, until enough others wait or the pool is closed.
func (p *Pool) work(f func()) {
	defer p.left()
	for f != nil {
		f()
		f = p.next()
	}
}

// left notes that a goroutine ends.
func (p *Pool) left() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all--; p.all == 0 {
		p.none.Broadcast()
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
// Go is given meanwhile or afterwards run as well. No function that runs on p may call it.
func (p *Pool) Close() {
	p.ends.Do(func() { close(p.ended) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.all > 0 {
		p.none.Wait()
	}
}
