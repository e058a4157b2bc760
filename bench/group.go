package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/bench"
)

// group is members of one system in this process.
type group interface {
	// add starts members and lets them join, all at once, through the first that
	// there ever was. It returns when the system says that they have joined.
	add(ctx context.Context, names ...string) error
	// kill ends a member as the end of its process would: it says good-bye to
	// nobody.
	kill(name string)
	// knows reports whether the member asker would send the keys of the member
	// called name there, or if it is to be gone, elsewhere.
	knows(ctx context.Context, asker, name string, gone bool) bool
	// wrong says what keeps some member from knowing all that it has to know.
	wrong() string
	// written is how many bytes all members have written so far, to TCP
	// connections and as UDP packets, without the headers of either.
	written() uint64
	close()
}

// system is something to be measured.
type system struct {
	name     string
	settings string // how it is tuned
	start    func() group
}

var systems = []system{
	{"concord", "Config's defaults: StabilizeInterval 1 s, SuccessorCount 3", newConcord},
	{"memberlist-lan", "memberlist.DefaultLANConfig: ProbeInterval 1 s, ProbeTimeout 500 ms, SuspicionMult 4, GossipInterval 200 ms, PushPullInterval 30 s", newMemberlistLAN},
	{"memberlist-local", "memberlist.DefaultLocalConfig, for loopback: ProbeInterval 1 s, ProbeTimeout 200 ms, SuspicionMult 3, GossipInterval 100 ms, PushPullInterval 15 s", newMemberlistLocal},
	{"serf-lan", "serf.DefaultConfig, with memberlist.DefaultLANConfig", newSerfLAN},
	{"serf-local", "serf.DefaultConfig, with memberlist.DefaultLocalConfig", newSerfLocal},
}

// groupPlan says how a group is measured.
type groupPlan struct {
	Settle, Watch time.Duration // waited after the members know each other; watched
	Changes       int           // joins and kills
	ChangeTime    time.Duration // none is begun after so long, but the first
	Limit         time.Duration // for all to know of one
}

// groupResult is what was measured of one system with one number of members.
type groupResult struct {
	System  string        `json:"system"`
	Members int           `json:"members"`
	Build   time.Duration `json:"build_ns"` // from the first join until all knew all they have to
	// Join and Fail are until every member knew of one that joined, and of one
	// that was killed.
	Join       []time.Duration `json:"join_ns"`
	Fail       []time.Duration `json:"fail_ns"`
	Bytes      float64         `json:"bytes_s"`  // written by each in a second
	CPU        float64         `json:"cpu_ns_s"` // processor time of each in a second
	Heap       uint64          `json:"heap_bytes"`
	Stacks     uint64          `json:"stack_bytes"`
	Goroutines float64         `json:"goroutines"`
}

func memberName(i int) string { return fmt.Sprintf("member-%d", i) }

// measure measures a system in this process, which has done nothing else yet.
func (p groupPlan) measure(ctx context.Context, s system, n int) (groupResult, error) {
	r := groupResult{System: s.name, Members: n}
	before, goroutines := bench.Held(), runtime.NumGoroutine()
	g := s.start()
	defer g.close()
	var names []string
	for i := range n {
		names = append(names, memberName(i))
	}
	if err := g.add(ctx, names[0]); err != nil {
		return r, err
	}
	joining, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	began := time.Now()
	if err := g.add(joining, names[1:]...); err != nil {
		return r, err
	}
	if err := p.until(ctx, g.wrong); err != nil {
		return r, err
	}
	r.Build = time.Since(began)

	if err := bench.Pause(ctx, p.Settle); err != nil {
		return r, err
	}
	b0, u0 := g.written(), bench.Used()
	if err := bench.Pause(ctx, p.Watch); err != nil {
		return r, err
	}
	b1, u1 := g.written(), bench.Used()
	held := bench.Held()
	each := func(now, before uint64) uint64 { return max(now, before) - before }
	r.Bytes = float64(b1-b0) / u1.At.Sub(u0.At).Seconds() / float64(n)
	r.CPU = u1.Since(u0).Processor / float64(n)
	r.Heap = each(held.Heap, before.Heap) / uint64(n)
	r.Stacks = each(held.Stacks, before.Stacks) / uint64(n)
	r.Goroutines = float64(runtime.NumGoroutine()-goroutines) / float64(n)

	rng := rand.New(rand.NewPCG(1, uint64(n)))
	changing := time.Now()
	for i := range p.Changes {
		if i > 0 && time.Since(changing) > p.ChangeTime {
			break
		}
		fresh := memberName(n + i)
		took, err := p.change(ctx, g, names, fresh, false)
		if err != nil {
			return r, fmt.Errorf("join: %w", err)
		}
		r.Join = append(r.Join, took)
		names = append(names, fresh)
		if err := p.until(ctx, g.wrong); err != nil {
			return r, err
		}
		k := 1 + rng.IntN(len(names)-1) // the first one is joined through
		gone := names[k]
		names = slices.Delete(names, k, k+1)
		if took, err = p.change(ctx, g, names, gone, true); err != nil {
			return r, fmt.Errorf("failure: %w", err)
		}
		r.Fail = append(r.Fail, took)
		if err := p.until(ctx, g.wrong); err != nil {
			return r, err
		}
	}
	return r, nil
}

// change lets a member join or kills it, and returns how long it took until all
// the others knew.
func (p groupPlan) change(ctx context.Context, g group, others []string, name string, gone bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	for _, asker := range others {
		// It knows the state before: what it keeps of that is no excuse later.
		if !g.knows(ctx, asker, name, !gone) {
			return 0, fmt.Errorf("%s does not know the truth about %s, and nothing has happened yet", asker, name)
		}
	}
	began := time.Now()
	var err error
	var doing sync.WaitGroup
	doing.Go(func() {
		if gone {
			g.kill(name)
		} else {
			err = g.add(ctx, name)
		}
	})
	var unaware error
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	// Whoever knows goes on knowing, so they are awaited one after another.
	for _, asker := range others {
		for unaware == nil && !g.knows(ctx, asker, name, gone) {
			select {
			case <-again.C:
			case <-ctx.Done():
				unaware = fmt.Errorf("%s does not know of %s: %w", asker, name, ctx.Err())
			}
		}
	}
	took := time.Since(began)
	doing.Wait()
	return took, errors.Join(err, unaware)
}

// until waits until nothing is wrong.
func (p groupPlan) until(ctx context.Context, wrong func() string) error {
	ctx, cancel := context.WithTimeout(ctx, p.Limit)
	defer cancel()
	for {
		w := wrong()
		if w == "" {
			return nil
		}
		if err := bench.Pause(ctx, 2*time.Millisecond); err != nil {
			return fmt.Errorf("%w: %s", err, w)
		}
	}
}

// view is the members that one of a gossiping group takes for alive.
type view struct {
	mu    sync.Mutex
	alive map[string]bool
}

func (v *view) set(name string, alive bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.alive == nil {
		v.alive = map[string]bool{}
	}
	if alive {
		v.alive[name] = true
	} else {
		delete(v.alive, name)
	}
}

func (v *view) has(name string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.alive[name]
}

// wrongViews says who knows whom wrongly, of the first that is found.
func wrongViews(views map[string]*view) string {
	names := make([]string, 0, len(views))
	for name := range views {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	for _, asker := range names {
		v := views[asker]
		v.mu.Lock()
		size := len(v.alive)
		v.mu.Unlock()
		if size != len(names) {
			return fmt.Sprintf("%s knows %d of %d", asker, size, len(names))
		}
		for _, name := range names {
			if !v.has(name) {
				return fmt.Sprintf("%s does not know %s", asker, name)
			}
		}
	}
	return ""
}
