//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
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

// measured is what was found out about one method.
type measured struct {
	capacities []float64 // before, between and after the floods
	alone      cost      // of those
	flooded    cost      // of the floods
	floods     []attacktest.Flooded
	calm, busy *watch
	ring       change
	ideal      string // what the ring is at the end
}

// cost is the time of processors that answers have taken.
type cost struct {
	answers         uint64
	member, flooder time.Duration
}

func (c *cost) add(f attacktest.Flooded, member time.Duration) {
	c.answers += f.Answered
	c.member += member
	c.flooder += f.Processor
}

func (c *cost) String() string {
	each := func(d time.Duration) time.Duration {
		return (d / time.Duration(max(c.answers, 1))).Round(100 * time.Nanosecond)
	}
	return fmt.Sprintf("%v of the member and %v of the other", each(c.member), each(c.flooder))
}

// measure floods one member of a new ring with requests of the method.
func measure(ctx context.Context, method string, p plan) ([]row, error) {
	ps, end, err := child.BuildRing(ctx, p.members, 1)
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := child.WaitIdeal(ctx, ps, 30*time.Second); err != nil {
		return nil, err
	}
	pause(ctx, settling)
	victim := ps[p.members/2]
	best, err := calibrate(ctx, attacktest.Flood{Addr: victim.Self.Address, Method: method, For: p.calibration})
	if err != nil {
		return nil, err
	}
	m := &measured{calm: &watch{}, busy: &watch{}, ideal: "ideal"}
	m.calm.begin(victim)
	pause(ctx, settling)
	m.calm.end()
	if err := m.capacity(ctx, victim, best); err != nil {
		return nil, err
	}
	for range p.parts {
		if err := m.flood(ctx, ps, victim, best, p); err != nil {
			return nil, err
		}
	}
	pause(ctx, settling)
	if _, err := child.WaitIdeal(ctx, ps, settling); err != nil {
		m.ideal = err.Error()
	}
	return m.rows(), nil
}

// capacity measures at what rate the member answers a flood that waits for answers.
func (m *measured) capacity(ctx context.Context, victim *child.Child, f attacktest.Flood) error {
	pause(ctx, time.Second)
	used := processor(victim.Pid())
	got, err := flooding(ctx, f)
	if err != nil {
		return err
	}
	m.alone.add(got, processor(victim.Pid())-used)
	m.capacities = append(m.capacities, got.PerSecond(got.Answered))
	pause(ctx, time.Second)
	return nil
}

// flood asks for several times the capacity that was measured last, and measures it again.
func (m *measured) flood(ctx context.Context, ps []*child.Child, victim *child.Child, best attacktest.Flood, p plan) error {
	before, err := child.Statuses(ctx, ps)
	if err != nil {
		return err
	}
	f := best
	f.Conns, f.Depth, f.For = p.conns, 0, p.length
	f.Rate = times * m.capacities[len(m.capacities)-1]
	m.busy.begin(victim)
	used := processor(victim.Pid())
	got, err := flooding(ctx, f)
	m.busy.end()
	if err != nil {
		return err
	}
	m.flooded.add(got, processor(victim.Pid())-used)
	after, err := child.Statuses(ctx, ps)
	if err != nil {
		return err
	}
	m.floods = append(m.floods, got)
	m.ring.add(ps, before, after, victim)
	return m.capacity(ctx, victim, best)
}

// share is the mean of what of gives for each flood, of the capacity around it.
func (m *measured) share(of func(attacktest.Flooded) uint64) float64 {
	var sum float64
	for i, f := range m.floods {
		sum += f.PerSecond(of(f)) / ((m.capacities[i] + m.capacities[i+1]) / 2)
	}
	return sum / float64(len(m.floods))
}

// rows are the figures.
func (m *measured) rows() []row {
	served := m.share(func(f attacktest.Flooded) uint64 { return f.Answered })
	var slowest, refused time.Duration
	var failed uint64
	for _, f := range m.floods {
		slowest, refused, failed = max(slowest, f.P99), max(refused, f.RefusedIn), failed+f.Failed
	}
	var capacities []string
	for _, c := range m.capacities {
		capacities = append(capacities, fmt.Sprintf("%.0f", c))
	}
	w, grown := m.busy, (m.busy.most-m.busy.first)>>10
	return []row{
		{"capacity, before and after each flood", "", strings.Join(capacities, ", ") + " a second", true},
		{"processor time of an answer", "", fmt.Sprintf("%v; in the flood %v", &m.alone, &m.flooded), true},
		{"offered; sent", "", fmt.Sprintf("%.2f; %.2f of the capacity", m.share(func(f attacktest.Flooded) uint64 { return f.Offered }),
			m.share(func(f attacktest.Flooded) uint64 { return f.Sent })), true},
		{"served", fmt.Sprintf("%.2f of the capacity", leastServed), fmt.Sprintf("%.2f; 99 of 100 within %v", served, brief(slowest)), served >= leastServed},
		{"refused", "", fmt.Sprintf("%.2f of the capacity, 99 of 100 within %v; %d failed otherwise",
			m.share(func(f attacktest.Flooded) uint64 { return f.Refused }), brief(refused), failed), true},
		{"questions about the ring at the member, before the flood", "", fmt.Sprintf("99 of 100 within %v", brief(m.calm.quantile(99))), true},
		{"the same during the flood", fmt.Sprintf("99 of 100 within %v", mostRing), fmt.Sprintf("99 of 100 within %v, the slowest of %d in %v; %d failed",
			brief(w.quantile(99)), len(w.took), brief(w.quantile(100)), w.failed), w.quantile(99) < mostRing && w.failed == 0},
		{"requests of the others that timed out", "0", strconv.FormatUint(m.ring.timeouts, 10), m.ring.timeouts == 0},
		{"members dropped by anyone", "none", fmt.Sprintf("%d changes of neighbours, %d members suspected; the ring is %s",
			m.ring.neighbours, m.ring.suspicions, m.ideal), m.ring.neighbours == 0 && m.ideal == "ideal"},
		{"memory of the member", fmt.Sprintf("grows by %d MiB at most", mostMemory), fmt.Sprintf("from %d to %d MiB", w.first>>10, w.most>>10), grown <= mostMemory},
	}
}

func brief(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// calibrate finds the highest rate at which the member answers.
func calibrate(ctx context.Context, f attacktest.Flood) (how attacktest.Flood, err error) {
	var best float64
	for _, conns := range []int{1, 4, 16} {
		f.Conns, f.Depth = conns, 16
		got, err := flooding(ctx, f)
		if err != nil {
			return f, err
		}
		if rate := got.PerSecond(got.Answered); rate > best {
			best, how = rate, f
		}
		pause(ctx, time.Second)
	}
	if best == 0 {
		return f, fmt.Errorf("%s answers no %s", f.Addr, f.Method)
	}
	return how, nil
}

// change is what has happened to the ring.
type change struct{ neighbours, suspicions, timeouts uint64 }

func (c *change) add(ps []*child.Child, before, after []concord.Status, victim *child.Child) {
	for i := range ps {
		b, a := before[i].Counters, after[i].Counters
		c.neighbours += a.SuccessorChanges - b.SuccessorChanges + a.PredecessorChanges - b.PredecessorChanges
		c.suspicions += a.Suspicions - b.Suspicions
		if ps[i] != victim {
			c.timeouts += a.Timeouts - b.Timeouts
		}
	}
}

// watch asks a member about its ring, and looks at its memory, until end.
type watch struct {
	stop        chan struct{}
	running     sync.WaitGroup
	took        []time.Duration
	failed      int
	first, most int // KiB
}

// begin may be called again after end.
func (w *watch) begin(victim *child.Child) {
	w.stop = make(chan struct{})
	if w.first == 0 {
		w.first = resident(victim.Pid())
		w.most = w.first
	}
	w.running.Go(func() { w.probe(victim.Self.Address) })
	w.running.Go(func() {
		w.each(memoryTick, func() { w.most = max(w.most, resident(victim.Pid())) })
	})
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

// processor is what a process has used of the processors; 0 if it is not known.
func processor(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
