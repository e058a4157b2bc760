//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

// ringOf says what keeps the processes from being one ideal ring.
func ringOf(ctx context.Context, ps []*child.Child) string {
	var all []concord.Status
	for _, p := range ps {
		s, err := p.Status(ctx)
		if err != nil {
			return err.Error()
		}
		all = append(all, s)
	}
	return child.NotIdeal(all, concord.DefaultSuccessorCount)
}

func waitRing(ctx context.Context, ps []*child.Child, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	for {
		w := ringOf(ctx, ps)
		took := time.Since(began)
		if w == "" {
			return took, nil
		}
		if took > limit || ctx.Err() != nil {
			return took, fmt.Errorf("not ideal after %v: %s", took.Round(time.Millisecond), w)
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// processes starts a ring of n processes, which end ends.
func processes(ctx context.Context, n int) (ps []*child.Child, end func(), err error) {
	dir, err := os.MkdirTemp("", "figures")
	if err != nil {
		return nil, nil, err
	}
	end = func() {
		for _, p := range ps {
			p.Kill()
		}
		os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	binary := filepath.Join(dir, "concord")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/ollelogdahl/concord/cmd/concord").CombinedOutput(); err != nil {
		return ps, nil, fmt.Errorf("build: %w: %s", err, out)
	}
	for i := range n {
		o := child.Options{Binary: binary, Name: fmt.Sprintf("p%d", i)}
		if i > 0 {
			o.Join = []string{ps[0].Self.Address}
		}
		p, err := child.Start(ctx, o)
		if err != nil {
			return ps, nil, err
		}
		ps = append(ps, p)
	}
	return ps, end, nil
}

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
	ps, end, err := processes(ctx, 6)
	if err != nil {
		return r, err
	}
	defer end()
	if _, err := waitRing(ctx, ps, 20*time.Second); err != nil {
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
	without, err := waitRing(ctx, others, 20*time.Second)
	if err == nil {
		pause(ctx, 30*time.Second)
	}
	l.end()
	if err != nil {
		return r, err
	}
	stopped.Signal(syscall.SIGCONT)
	again, err := waitRing(ctx, ps, 20*time.Second)
	if err != nil {
		return r, err
	}
	slowest := time.Duration(l.slowest.Load())
	r.measured = fmt.Sprintf("%d lookups, %d errors, slowest %v; ideal without it after %v; ideal with it %v after SIGCONT", l.lookups.Load(), l.errs.Load(),
		slowest.Round(time.Millisecond), without.Round(time.Millisecond), again.Round(time.Millisecond))
	r.reached = l.errs.Load() == 0 && slowest <= 2*time.Second && without <= 5*time.Second && again <= 5*time.Second
	return r, nil
}
