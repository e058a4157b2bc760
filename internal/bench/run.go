package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/cluster"
)

// Parts of a Run, in the order in which they are measured.
const (
	PartIdle    = "idle"    // a ring at rest
	PartMembers = "members" // lookups of all members at once
	PartClient  = "client"  // a client that has subscribed
	PartLookups = "lookups" // lookups, beside a bare call and a bare search
	PartChanges = "changes" // building a ring, joining it, healing it
	PartChurn   = "churn"   // lookups while members come and go
)

// Parts lists all of them.
var Parts = []string{PartIdle, PartMembers, PartClient, PartLookups, PartChanges, PartChurn}

// Plan says what a Run measures. Every field must be set.
type Plan struct {
	Members  int           // of the ring
	Interval time.Duration // its StabilizeInterval
	Parts    []string

	Settle, Watch time.Duration // idle: waited after the build; watched

	Callers []int // lookups: how many at once; each number is measured
	Rounds  int   // lookups: of which the figures are the median
	Window  time.Duration

	Changes    int           // changes: joins and kills
	ChangeTime time.Duration // changes: none is begun after so long, but the first
	Builds     int           // changes: rings built, the one of the other parts included

	Churn Churn
}

// Run measures what the plan says and hands each result, a Machine, Idle, AllMembers,
// Subscribed, BareIdle, Timing, Span or Churned, to emit when it is there. An error of emit ends it.
// Progress, if not nil, hears how far it is: a share of 1, estimated by time, and what
// is being done.
func Run(ctx context.Context, p Plan, emit func(any) error, progress func(share float64, doing string)) error {
	if progress == nil {
		progress = func(float64, string) {}
	}
	if err := emit(ThisMachine()); err != nil {
		return err
	}
	r := &running{Plan: p, emit: emit, progress: progress}
	if err := r.ring(ctx); err != nil {
		return err
	}
	if !slices.Contains(p.Parts, PartChurn) {
		return nil
	}
	for i, plain := range []bool{false, true} {
		churn := p.Churn
		churn.Plain = plain
		churn.Progress = func(done, of time.Duration) {
			progress(r.done+(1-r.done)*(float64(i)+float64(done)/float64(of))/2, "members come and go")
		}
		churned, err := churn.Run(ctx)
		if err != nil {
			return err
		}
		if err := emit(churned); err != nil {
			return err
		}
	}
	return nil
}

// running is a Run under way.
type running struct {
	Plan
	emit     func(any) error
	progress func(float64, string)
	done     float64 // share of the whole
}

// estimate is about how long a part takes.
func (r *running) estimate(part string) time.Duration {
	if !slices.Contains(r.Parts, part) {
		return 0
	}
	switch part {
	case PartIdle:
		return r.Settle + r.Watch
	case PartMembers:
		return r.Watch*3/2 + r.Window
	case PartClient:
		return 2*r.Watch + max(r.Watch/2, settleIntervals*r.Interval) + 5*time.Second
	case PartLookups:
		windows := r.Rounds * (1 + len(r.Callers)*caseCount)
		return time.Duration(windows) * r.Window * 4 / 3
	case PartChanges:
		return time.Duration(r.Changes+r.Builds) * time.Second / 2
	case PartChurn:
		return 2 * r.Churn.Time
	}
	return 0
}

// begin says that a part begins; the function returned says how far it is.
func (r *running) begin(part string) func(share float64, doing string) {
	var before, all time.Duration
	for _, x := range Parts {
		if x == part {
			before = all
		}
		all += r.estimate(x)
	}
	from, width := float64(before)/float64(all), float64(r.estimate(part))/float64(all)
	r.done = from + width
	return func(share float64, doing string) { r.progress(from+width*share, doing) }
}

// ring measures the parts that share one ring, which lasts through all of them.
func (r *running) ring(ctx context.Context) error {
	if !slices.ContainsFunc(r.Parts, func(part string) bool { return part != PartChurn }) {
		return nil
	}
	before, goroutines := Held(), runtime.NumGoroutine()
	r.progress(0, fmt.Sprintf("%d members join at once", r.Members))
	c, took, err := Build(ctx, r.Members, r.Interval)
	if err != nil {
		return err
	}
	defer c.Close()
	members := c.Members()
	size := routeSizes(members[0].Status(), members[len(members)-1].Status())
	var idle Idle
	if slices.Contains(r.Parts, PartIdle) {
		r.begin(PartIdle)(0, "the ring is watched at rest")
		if idle, err = Rest(ctx, c, r.Interval, r.Settle, r.Watch, before, goroutines); err != nil {
			return err
		}
		if err := r.emit(idle); err != nil {
			return err
		}
	}
	if slices.Contains(r.Parts, PartMembers) {
		r.begin(PartMembers)(0, "all members look keys up")
		all, err := EveryoneLooks(ctx, c, r.Interval, r.Watch, r.Window)
		if err == nil {
			err = r.emit(all)
		}
		if err != nil {
			return err
		}
	}
	if slices.Contains(r.Parts, PartClient) {
		r.begin(PartClient)(0, "a client looks keys up")
		subscribed, err := Subscribe(ctx, c, r.Interval, r.Watch, r.Window)
		if err == nil {
			err = r.emit(subscribed)
		}
		if err != nil {
			return err
		}
	}
	if slices.Contains(r.Parts, PartLookups) {
		if err := r.lookups(ctx, c, r.begin(PartLookups)); err != nil {
			return err
		}
	}
	if slices.Contains(r.Parts, PartChanges) {
		if err := r.changes(ctx, c, took, r.begin(PartChanges)); err != nil {
			return err
		}
	}
	if idle.Members == 0 {
		return nil
	}
	// Only now: beside the ring they would be in what it has left free.
	c.Close()
	bare, err := RestBare(ctx, idle, size)
	if err != nil {
		return err
	}
	return r.emit(bare)
}

func (r *running) lookups(ctx context.Context, c *cluster.Cluster, far func(float64, string)) error {
	far(0, "routes are warmed")
	l, err := NewLookups(ctx, c)
	if err != nil {
		return err
	}
	defer l.Close()
	race := Race{Cases: l.Cases(), Callers: r.Callers, Rounds: r.Rounds, Window: r.Window,
		Progress: func(done, of int, doing string) { far(float64(done)/float64(of), doing) }}
	timings, err := race.Run(ctx)
	if err != nil {
		return err
	}
	for _, t := range timings {
		t.Members = r.Members
		if err := r.emit(t); err != nil {
			return err
		}
	}
	return nil
}

// changes ends with c closed.
func (r *running) changes(ctx context.Context, c *cluster.Cluster, built time.Duration, far func(float64, string)) error {
	far(0, "members join and are killed")
	joins, heals, err := Change(ctx, c, r.Changes, r.ChangeTime)
	if err != nil {
		return err
	}
	c.Close()
	builds := []time.Duration{built}
	for i := 1; i < r.Builds; i++ {
		far(0.5+float64(i)/float64(r.Builds)/2, fmt.Sprintf("%d members join at once", r.Members))
		c, took, err := Build(ctx, r.Members, r.Interval)
		if err != nil {
			return err
		}
		c.Close()
		builds = append(builds, took)
	}
	for _, s := range []Span{
		span("build", r.Members, r.Interval, builds),
		span("join", r.Members, r.Interval, joins),
		span("heal", r.Members, r.Interval, heals),
	} {
		if err := r.emit(s); err != nil {
			return err
		}
	}
	return nil
}
