package workers

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// here is the goroutine that runs it, as the head of its stack names it.
func here() string {
	b := make([]byte, 64)
	b = b[:runtime.Stack(b, false)]
	for i, c := range b {
		if c == '[' {
			return string(b[:i])
		}
	}
	return string(b)
}

func TestGoroutinesAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		seen := map[string]int{}
		for range 10 {
			p.Go(func() { seen[here()]++ })
			synctest.Wait()
		}
		if len(seen) != 1 {
			t.Errorf("10 functions, one after another, ran on %d goroutines", len(seen))
		}
		p.Close()
	})
}

func TestNoFunctionWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2)
		hold := make(chan struct{})
		var begun, ended atomic.Int32
		run := func() {
			begun.Add(1)
			<-hold
			ended.Add(1)
		}
		for range 20 {
			p.Go(run)
		}
		synctest.Wait()
		if n := begun.Load(); n != 20 {
			t.Errorf("%d of 20 functions that block have begun", n)
		}
		close(hold)
		synctest.Wait()
		p.mu.Lock()
		waiting := p.wait
		p.mu.Unlock()
		if n := ended.Load(); n != 20 || waiting != 2 {
			t.Errorf("%d of 20 functions have ended, and %d goroutines wait, want 2", n, waiting)
		}
		p.Close()
	})
}

func TestCloseWaitsForFunctionsAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1)
		hold := make(chan struct{})
		var ended, closed atomic.Bool
		p.Go(func() {
			<-hold
			ended.Store(true)
		})
		go func() {
			p.Close()
			closed.Store(true)
		}()
		synctest.Wait()
		if closed.Load() {
			t.Error("Close has returned while a function is at work")
		}
		close(hold)
		synctest.Wait()
		if !ended.Load() || !closed.Load() {
			t.Errorf("the function has ended: %v, Close has returned: %v", ended.Load(), closed.Load())
		}
		late := make(chan bool, 1)
		p.Go(func() { late <- true })
		if !<-late {
			t.Error("a function given after Close did not run")
		}
		p.Close()
	})
}

// Whoever closes the pool need not know who else uses it at that time.
func TestFunctionsAreGivenWhileClosing(t *testing.T) {
	for range 2000 {
		p := New(1)
		var ran atomic.Int32
		var all sync.WaitGroup
		all.Go(func() {
			for range 20 {
				p.Go(func() { ran.Add(1) })
			}
		})
		all.Go(p.Close)
		all.Go(p.Close)
		all.Wait()
		p.Close()
		if n := ran.Load(); n != 20 {
			t.Fatalf("%d of 20 functions ran", n)
		}
	}
}
