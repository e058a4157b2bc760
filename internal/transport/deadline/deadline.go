// Package deadline has contexts that cost little as long as nobody waits for their end.
package deadline

import (
	"context"
	"sync"
	"time"
)

// Context is a context that ends at a time, with its parent, or by End. Its timer, and what
// follows its parent, are made when Done is called first. It is made by New or begun by Init.
// Its methods may be called concurrently.
type Context struct {
	parent context.Context
	at     time.Time // zero: never

	mu    sync.Mutex
	err   error
	done  chan struct{} // nil until Done is called
	timer *time.Timer   // nil until Done is called, and without a time
	stop  func() bool   // nil until Done is called
}

// New makes a context that ends at a time; the zero time never comes. The caller calls End
// when the context is not wanted any more.
func New(parent context.Context, at time.Time) *Context {
	c := new(Context)
	c.Init(parent, at)
	return c
}

// Init is New of a context that is part of something else, before it is used.
func (c *Context) Init(parent context.Context, at time.Time) {
	if t, ok := parent.Deadline(); ok && (at.IsZero() || t.Before(at)) {
		at = t
	}
	c.parent, c.at = parent, at
}

// Parent is the context that c was made of.
func (c *Context) Parent() context.Context { return c.parent }

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.at, !c.at.IsZero() }

// Value implements context.Context.
func (c *Context) Value(key any) any { return c.parent.Value(key) }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil {
		return c.done
	}
	c.done = make(chan struct{})
	if c.err != nil {
		close(c.done)
		return c.done
	}
	c.stop = context.AfterFunc(c.parent, func() { c.End(c.parent.Err()) })
	if !c.at.IsZero() {
		c.timer = time.AfterFunc(time.Until(c.at), func() { c.End(context.DeadlineExceeded) })
	}
	return c.done
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err = c.parent.Err(); err == nil && !c.at.IsZero() && !time.Now().Before(c.at) {
		err = context.DeadlineExceeded
	}
	if err == nil {
		return nil
	}
	c.End(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// End ends the context for the reason err, unless it has ended.
func (c *Context) End(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.done == nil {
		return
	}
	close(c.done)
	c.stop()
	if c.timer != nil {
		c.timer.Stop()
	}
}
