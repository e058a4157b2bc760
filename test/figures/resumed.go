//go:build unix

package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
)

var (
	runs = flag.Int("runs", 20, "how often the member of the figure resumed hangs")
	hung = flag.Duration("hung", 8*time.Second, "for how long it hangs")
)

// untilTold is how long it takes until p has told its program of more changes of its
// range than before; 0 if that takes more than ten seconds.
func untilTold(ctx context.Context, p *child.Child, before uint64) (time.Duration, error) {
	began := time.Now()
	for time.Since(began) < 10*time.Second && ctx.Err() == nil {
		s, err := p.Status(ctx)
		if err != nil {
			return 0, err
		}
		if s.Counters.RangeChanges > before {
			return time.Since(began), nil
		}
		pause(ctx, 5*time.Millisecond)
	}
	return 0, nil
}

// resumed stops one of four processes for so long that its successor takes over its
// range, lets it go on, and measures how long it takes until that process tells its
// program so.
func resumed(ctx context.Context) (result, error) {
	r := result{asked: "default interval; every time, within one interval of its first answer"}
	ps, end, err := child.BuildRing(ctx, 4, 1)
	if err != nil {
		return r, err
	}
	defer end()
	var took []time.Duration
	missed, again := 0, 0
	for i := range *runs {
		if _, err := child.WaitIdeal(ctx, ps, 20*time.Second); err != nil {
			return r, err
		}
		pause(ctx, 2*concord.DefaultStabilizeInterval)
		p := ps[i%len(ps)]
		before, err := p.Status(ctx)
		if err != nil {
			return r, err
		}
		p.Signal(syscall.SIGSTOP)
		pause(ctx, *hung)
		p.Signal(syscall.SIGCONT)
		told, err := untilTold(ctx, p, before.Counters.RangeChanges)
		if err != nil {
			return r, err
		}
		if told == 0 {
			missed++
			continue
		}
		took = append(took, told)
		pause(ctx, 2*concord.DefaultStabilizeInterval)
		s, err := p.Status(ctx)
		if err != nil {
			return r, err
		}
		if s.Counters.RangeChanges != before.Counters.RangeChanges+1 {
			again++
		}
	}
	if len(took) == 0 {
		r.measured = fmt.Sprintf("hung for %v, %d times: never told", *hung, *runs)
		return r, nil
	}
	slices.Sort(took)
	round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	r.measured = fmt.Sprintf("hung for %v, %d times: told %d times, %d of them more than once; median %v after SIGCONT, slowest %v",
		*hung, *runs, len(took), again, round(took[len(took)/2]), round(took[len(took)-1]))
	r.reached = missed == 0 && took[len(took)-1] <= concord.DefaultStabilizeInterval+time.Second
	return r, nil
}
