//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/child"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

const (
	settling   = 5 * time.Second        // before a measurement
	probePause = 20 * time.Millisecond  // between two questions about the ring
	memoryTick = 500 * time.Millisecond // between two looks at the memory
)

// measure floods one member of a new ring with requests of the method.
func measure(ctx context.Context, method string, p plan) ([]row, error) {
	ps, end, err := processes(ctx, p.members)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := waitIdeal(ctx, ps, 30*time.Second); err != nil {
		return nil, err
	}
	pause(ctx, settling)
	victim := ps[p.members/2]
	flood := attacktest.Flood{Addr: victim.Self.Address, Method: method}
	capacity, how, err := calibrate(ctx, flood, p.calibration)
	if err != nil {
		return nil, err
	}
	pause(ctx, settling)
	calm := newWatch(victim)
	pause(ctx, p.calibration)
	calm.end()
	before, err := statuses(ctx, ps)
	if err != nil {
		return nil, err
	}
	flood.Conns, flood.Rate, flood.For = p.conns, times*capacity, p.length
	w := newWatch(victim)
	got, err := flooding(ctx, flood)
	w.end()
	if err != nil {
		return nil, err
	}
	after, err := statuses(ctx, ps)
	if err != nil {
		return nil, err
	}
	pause(ctx, settling)
	ideal := "ideal"
	if err := waitIdeal(ctx, ps, settling); err != nil {
		ideal = err.Error()
	}
	flood.Rate, flood.For = 0, p.calibration
	flood.Conns, flood.Depth = how.Conns, how.Depth
	again, err := flooding(ctx, flood)
	if err != nil {
		return nil, err
	}
	return rows(capacity, again, got, calm, w, changes(ps, before, after, victim), ideal), nil
}

// rows are the figures of one method.
func rows(capacity float64, again, got attacktest.Flooded, calm, w *watch, c change, ideal string) []row {
	late := again.PerSecond(again.Answered)
	served := got.PerSecond(got.Answered) / capacity
	return []row{
		{"capacity, before and after", "", fmt.Sprintf("%.0f and %.0f a second", capacity, late), true},
		{"offered; sent", "", fmt.Sprintf("%.2f; %.2f of the capacity", got.PerSecond(got.Offered)/capacity, got.PerSecond(got.Sent)/capacity), true},
		{"served", fmt.Sprintf("%.2f of the capacity", leastServed), fmt.Sprintf("%.2f; answers take %v, 99th percentile %v", served, brief(got.P50), brief(got.P99)), served >= leastServed},
		{"refused", "", fmt.Sprintf("%.2f of the capacity, the 99th percentile in %v; %d failed otherwise %s", got.PerSecond(got.Refused)/capacity, brief(got.RefusedIn), got.Failed, got.LastDifferent), true},
		{"questions about the ring before the flood", "", fmt.Sprintf("99th percentile %v", brief(calm.quantile(99))), true},
		{"questions about the ring at the member", fmt.Sprintf("99th percentile under %v", mostRing), fmt.Sprintf("%v, the slowest of %d %v; %d failed", brief(w.quantile(99)), len(w.took), brief(w.quantile(100)), w.failed), w.quantile(99) < mostRing && w.failed == 0},
		{"ring requests of the others that timed out", "0", strconv.FormatUint(c.timeouts, 10), c.timeouts == 0},
		{"members dropped by anyone", "none", fmt.Sprintf("%d changes of neighbours, %d members suspected; the ring is %s", c.neighbours, c.suspicions, ideal), c.neighbours == 0 && ideal == "ideal"},
		{"memory of the member", fmt.Sprintf("grows by %d MiB at most", mostMemory), fmt.Sprintf("from %d to %d MiB", w.first>>10, w.most>>10), (w.most-w.first)>>10 <= mostMemory},
	}
}

func brief(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// calibrate finds the highest rate at which the member answers.
func calibrate(ctx context.Context, f attacktest.Flood, length time.Duration) (best float64, how attacktest.Flood, err error) {
	f.For = length
	for _, conns := range []int{1, 4, 16} {
		f.Conns, f.Depth = conns, 16
		got, err := flooding(ctx, f)
		if err != nil {
			return 0, f, err
		}
		if rate := got.PerSecond(got.Answered); rate > best {
			best, how = rate, f
		}
		pause(ctx, time.Second)
	}
	if best == 0 {
		return 0, f, fmt.Errorf("%s answers no %s", f.Addr, f.Method)
	}
	return best, how, nil
}

// change is what has happened to the ring.
type change struct{ neighbours, suspicions, timeouts uint64 }

func changes(ps []*child.Child, before, after []concord.Status, victim *child.Child) (c change) {
	for i := range ps {
		b, a := before[i].Counters, after[i].Counters
		c.neighbours += a.SuccessorChanges - b.SuccessorChanges + a.PredecessorChanges - b.PredecessorChanges
		c.suspicions += a.Suspicions - b.Suspicions
		if ps[i] != victim {
			c.timeouts += a.Timeouts - b.Timeouts
		}
	}
	return c
}

// watch asks a member about its ring, and looks at its memory, until end.
type watch struct {
	stop        chan struct{}
	running     sync.WaitGroup
	took        []time.Duration
	failed      int
	first, most int // KiB
}

func newWatch(victim *child.Child) *watch {
	w := &watch{stop: make(chan struct{}), first: resident(victim.Pid())}
	w.most = w.first
	w.running.Go(func() { w.probe(victim.Self.Address) })
	w.running.Go(func() {
		w.each(memoryTick, func() { w.most = max(w.most, resident(victim.Pid())) })
	})
	return w
}

func (w *watch) each(d time.Duration, f func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-w.stop:
			return
		}
	}
}

// probe asks on a connection of its own.
func (w *watch) probe(addr string) {
	c, err := attacktest.Dial(addr, nil)
	if err != nil {
		w.failed++
		return
	}
	defer c.Close()
	w.each(probePause, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if c.AskRing(ctx) != nil {
			w.failed++
		}
		w.took = append(w.took, time.Since(began))
	})
}

func (w *watch) end() {
	close(w.stop)
	w.running.Wait()
	slices.Sort(w.took)
}

// quantile is a percentile, after end.
func (w *watch) quantile(p int) time.Duration {
	if len(w.took) == 0 {
		return 0
	}
	return w.took[(len(w.took)-1)*p/100]
}

// resident is what a process has in memory, in KiB; 0 if it is not known.
func resident(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			n, _ := strconv.Atoi(fields[1])
			return n
		}
	}
	return 0
}

// processes starts a ring of n processes, which end ends.
func processes(ctx context.Context, n int) (ps []*child.Child, end func(), err error) {
	dir, err := os.MkdirTemp("", "overload")
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

// statuses are those of all, in their order. A member that is flooded takes its time.
func statuses(ctx context.Context, ps []*child.Child) ([]concord.Status, error) {
	var out []concord.Status
	for _, p := range ps {
		s, err := p.Status(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func waitIdeal(ctx context.Context, ps []*child.Child, limit time.Duration) error {
	began := time.Now()
	for {
		all, err := statuses(ctx, ps)
		if err != nil {
			return err
		}
		wrong := child.NotIdeal(all, concord.DefaultSuccessorCount)
		if wrong == "" {
			return nil
		}
		if time.Since(began) > limit || ctx.Err() != nil {
			return fmt.Errorf("not ideal after %v: %s", limit, wrong)
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
