//go:build unix

package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord/internal/child"
)

// ask has process p, which is number i, look keys up until stopped.
func (l *load) ask(ctx context.Context, p *child.Child, i int) {
	for k := 0; ; k++ {
		select {
		case <-l.stop:
			return
		default:
		}
		began := time.Now()
		_, err := p.Ask(ctx, fmt.Sprintf("lookup key %d %d", i, k))
		l.took(time.Since(began))
		if err != nil {
			l.errs.Add(1)
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// sigstop stops one of six processes, as a debugger or a swap storm would, and
// lets it go on half a minute later.
func sigstop(ctx context.Context) (result, error) {
	r := result{asked: "default interval; no lookup of the others over 2 s; they are ideal within 5 s; a member again within 5 s"}
	ps, end, err := child.BuildRing(ctx, 6, 1)
	if err != nil {
		return r, err
	}
	defer end()
	if _, err := child.WaitIdeal(ctx, ps, 20*time.Second); err != nil {
		return r, err
	}
	pause(ctx, 6*time.Second)

	stopped := ps[2]
	others := slices.DeleteFunc(slices.Clone(ps), func(p *child.Child) bool { return p == stopped })
	l := &load{stop: make(chan struct{})}
	for i, p := range others {
		l.wg.Go(func() { l.ask(ctx, p, i) })
	}
	stopped.Signal(syscall.SIGSTOP)
	without, err := child.WaitIdeal(ctx, others, 20*time.Second)
	if err == nil {
		pause(ctx, 30*time.Second)
	}
	l.end()
	if err != nil {
		return r, err
	}
	stopped.Signal(syscall.SIGCONT)
	again, err := child.WaitIdeal(ctx, ps, 20*time.Second)
	if err != nil {
		return r, err
	}
	slowest := time.Duration(l.slowest.Load())
	r.measured = fmt.Sprintf("%d lookups, %d errors, slowest %v; ideal without it after %v; ideal with it %v after SIGCONT", l.lookups.Load(), l.errs.Load(),
		slowest.Round(time.Millisecond), without.Round(time.Millisecond), again.Round(time.Millisecond))
	r.reached = l.errs.Load() == 0 && slowest <= 2*time.Second && without <= 5*time.Second && again <= 5*time.Second
	return r, nil
}
