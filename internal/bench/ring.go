package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
)

// patience is how long members may take to join, and a ring to become ideal, before
// measuring is given up.
const patience = 3 * time.Minute

// Span is how long something took that was done several times.
type Span struct {
	Name     string        `json:"name"` // build, join, heal
	Members  int           `json:"members"`
	Interval time.Duration `json:"interval_ns"`
	Times    int           `json:"times"`
	P50      time.Duration `json:"p50_ns"`
	Max      time.Duration `json:"max_ns"`
}

func span(name string, members int, interval time.Duration, took []time.Duration) Span {
	return Span{Name: name, Members: members, Interval: interval, Times: len(took), P50: Median(took), Max: slices.Max(took)}
}

// Build makes a ring of n: one member founds it, and the others join through it,
// all at once. It returns the time from the first Join until the ring was ideal.
// The caller closes the cluster.
func Build(ctx context.Context, n int, interval time.Duration) (*cluster.Cluster, time.Duration, error) {
	c := cluster.New(func(int) concord.Config { return concord.Config{StabilizeInterval: interval} })
	took, err := build(ctx, c, n)
	if err != nil {
		c.Close()
		return nil, 0, fmt.Errorf("build of %d: %w", n, err)
	}
	return c, took, nil
}

func build(ctx context.Context, c *cluster.Cluster, n int) (time.Duration, error) {
	if _, err := c.Add(ctx); err != nil {
		return 0, err
	}
	rest, err := c.Start(n - 1)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	if err := c.Join(ctx, rest); err != nil {
		return 0, err
	}
	err = ideal(ctx, c)
	return time.Since(began), err
}

func ideal(ctx context.Context, c *cluster.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := c.WaitIdeal(ctx)
	return err
}

// Change lets one member join and then kills one, times over, but begins no more
// after limit: the ring keeps its size. joins are the times that Join took, heals those from the kill until the
// ring was ideal without the member.
func Change(ctx context.Context, c *cluster.Cluster, times int, limit time.Duration) (joins, heals []time.Duration, err error) {
	rng := rand.New(rand.NewPCG(1, 1))
	for first := time.Now(); len(heals) < times && (len(heals) == 0 || time.Since(first) < limit); {
		members := c.Members()
		via, gone := members[rng.IntN(len(members))], members[rng.IntN(len(members))]
		fresh, err := c.Start(1)
		if err != nil {
			return nil, nil, err
		}
		began := time.Now()
		if err := c.Join(ctx, fresh, via); err != nil {
			return nil, nil, err
		}
		joins = append(joins, time.Since(began))
		if err := ideal(ctx, c); err != nil {
			return nil, nil, err
		}
		began = time.Now()
		c.Kill(gone)
		if err := ideal(ctx, c); err != nil {
			return nil, nil, err
		}
		heals = append(heals, time.Since(began))
	}
	return joins, heals, nil
}

// Idle is what one member costs in a ring in which nothing happens.
type Idle struct {
	Name     string        `json:"name"` // idle
	Members  int           `json:"members"`
	Interval time.Duration `json:"interval_ns"`
	Settled  time.Duration `json:"settled_ns"` // from the build until the watch began
	Watched  time.Duration `json:"watched_ns"`
	// Bytes is what each writes to its connections in a second, as asker and as
	// answerer, without TCP's headers. Calls is how many requests each makes.
	Bytes float64 `json:"bytes_s"`
	Calls float64 `json:"calls_s"`
	CPU   float64 `json:"cpu_ns_s"` // processor time of each in a second
	// Heap, Spans and Stacks are bytes of each: objects reachable on the heap, the
	// heap's spans in which they are, and the spans of the goroutines' stacks; with
	// both ends of its share of the connections.
	Heap        uint64  `json:"heap_bytes"`
	Spans       uint64  `json:"heap_spans_bytes"`
	Stacks      uint64  `json:"stack_bytes"`
	Goroutines  float64 `json:"goroutines"`
	Connections float64 `json:"connections"` // outgoing ones of each
	Ideal       bool    `json:"ideal"`       // so it was in the end; if not, something did happen

	open []int // connections of each member
}

// Rest waits until a ring that was just built has settled and then watches it.
// before is what the process held, and with how many goroutines, without the ring.
func Rest(ctx context.Context, c *cluster.Cluster, interval, settle, watch time.Duration, before Memory, goroutines int) (Idle, error) {
	members := c.Members()
	n := float64(len(members))
	if err := Pause(ctx, settle); err != nil {
		return Idle{}, err
	}
	b0, c0, u0 := traffic(members)
	if err := Pause(ctx, watch); err != nil {
		return Idle{}, err
	}
	b1, c1, u1 := traffic(members)
	secs := u1.At.Sub(u0.At).Seconds()
	held := Held().each(before, len(members))
	open, conns := make([]int, len(members)), 0
	for i, m := range members {
		open[i] = m.Status().Connections
		conns += open[i]
	}
	return Idle{
		Name: "idle", Members: len(members), Interval: interval, Settled: settle, Watched: watch,
		Bytes: rounded(float64(b1-b0)/secs/n, 0.1), Calls: rounded(float64(c1-c0)/secs/n, 0.01),
		CPU:  rounded(u1.Since(u0).Processor/n, 1),
		Heap: held.Heap, Spans: held.Spans, Stacks: held.Stacks,
		Goroutines:  rounded(float64(runtime.NumGoroutine()-goroutines)/n, 0.1),
		Connections: rounded(float64(conns)/n, 0.01),
		Ideal:       c.Wrong() == "",
		open:        open,
	}, nil
}

// traffic is the bytes written and the requests made by all members so far.
func traffic(members []*concord.Concord) (bytes, calls uint64, used Usage) {
	for _, m := range members {
		k := m.Status().Counters
		bytes += k.BytesWritten
		calls += k.RouteRequests + k.RingRequests + k.MapRequests
	}
	return bytes, calls, Used()
}

// BareIdle is what bare gRPC servers with idle connections hold, as many of each
// as a ring has: the share of it that is gRPC's.
type BareIdle struct {
	Name        string  `json:"name"` // idle-grpc
	Members     int     `json:"members"`
	Connections float64 `json:"connections"` // of each
	Heap        uint64  `json:"heap_bytes"`
	Spans       uint64  `json:"heap_spans_bytes"`
	Stacks      uint64  `json:"stack_bytes"`
	Goroutines  float64 `json:"goroutines"`
}

// RestBare holds what a ring had, without a ring: a server for each member, and the
// connections of each that Rest has counted, each to another server.
func RestBare(ctx context.Context, ring Idle, size Sizes) (BareIdle, error) {
	n := ring.Members
	before, goroutines := Held(), runtime.NumGoroutine()
	b, err := NewBare(n, size)
	if err != nil {
		return BareIdle{}, err
	}
	defer b.Close()
	for i := range ring.open {
		for k := range ring.open[i] {
			if err := b.Connect(ctx, (i+1+k)%n); err != nil {
				return BareIdle{}, err
			}
		}
	}
	held := Held().each(before, n)
	return BareIdle{
		Name: "idle-grpc", Members: n, Connections: ring.Connections,
		Heap: held.Heap, Spans: held.Spans, Stacks: held.Stacks,
		Goroutines: rounded(float64(runtime.NumGoroutine()-goroutines)/float64(n), 0.1),
	}, nil
}
