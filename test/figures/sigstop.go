//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
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

// sigstop stops one of six processes, as a debugger or a swap storm would, and
// lets it go on half a minute later.
func sigstop(ctx context.Context) (result, error) {
	r := result{asked: "default interval; no lookup of the others over 2 s; they are ideal within 5 s; a member again within 5 s"}
	dir, err := os.MkdirTemp("", "figures")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "concord")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/ollelogdahl/concord/cmd/concord").CombinedOutput(); err != nil {
		return r, fmt.Errorf("build: %w: %s", err, out)
	}
	var ps []*child.Child
	defer func() {
		for _, p := range ps {
			p.Kill()
		}
	}()
	for i := range 6 {
		o := child.Options{Binary: binary, Name: fmt.Sprintf("p%d", i)}
		if i > 0 {
			o.Join = []string{ps[0].Self.Address}
		}
		p, err := child.Start(ctx, o)
		if err != nil {
			return r, err
		}
		ps = append(ps, p)
	}
	if _, err := waitRing(ctx, ps, 20*time.Second); err != nil {
		return r, err
	}
	pause(ctx, 6*time.Second)

	stopped := ps[2]
	others := slices.DeleteFunc(slices.Clone(ps), func(p *child.Child) bool { return p == stopped })
	var slowest, lookups, errs atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, p := range others {
		wg.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				_, err := p.Ask(ctx, fmt.Sprintf("lookup key %d %d", i, k))
				took := int64(time.Since(began))
				lookups.Add(1)
				if err != nil {
					errs.Add(1)
				}
				for old := slowest.Load(); took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
				}
				pause(ctx, 2*time.Millisecond)
			}
		})
	}
	stopped.Signal(syscall.SIGSTOP)
	without, err := waitRing(ctx, others, 20*time.Second)
	if err == nil {
		pause(ctx, 30*time.Second)
	}
	close(stop)
	wg.Wait()
	if err != nil {
		return r, err
	}
	stopped.Signal(syscall.SIGCONT)
	again, err := waitRing(ctx, ps, 20*time.Second)
	if err != nil {
		return r, err
	}
	r.measured = fmt.Sprintf("%d lookups, %d errors, slowest %v; ideal without it after %v; ideal with it %v after SIGCONT", lookups.Load(), errs.Load(),
		time.Duration(slowest.Load()).Round(time.Millisecond), without.Round(time.Millisecond), again.Round(time.Millisecond))
	r.reached = errs.Load() == 0 && time.Duration(slowest.Load()) <= 2*time.Second && without <= 5*time.Second && again <= 5*time.Second
	return r, nil
}
