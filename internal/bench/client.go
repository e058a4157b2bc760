package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/transport"
	grpctransport "github.com/ollelogdahl/concord/internal/transport/grpc"
)

// Subscribed is what a client costs that has subscribed at a member of a ring.
type Subscribed struct {
	Name     string        `json:"name"` // lookup-subscribed
	Members  int           `json:"members"`
	Interval time.Duration `json:"interval_ns"`
	// Warm is how many requests it took until each owner had confirmed its range, Load how
	// many bytes, in both directions, with the connections.
	Warm uint64 `json:"warm_requests"`
	Load uint64 `json:"load_bytes"`
	// While the client looked up Rate random keys in a second:
	Rate    float64       `json:"rate_s"`
	Watched time.Duration `json:"watched_ns"`
	Lookups int           `json:"lookups"`
	Memory  float64       `json:"memory"`  // share of them that no request was made for
	Bytes   float64       `json:"bytes_s"` // in both directions
	// Rest is that of a client that looks nothing up and is still subscribed.
	Rest float64 `json:"rest_bytes_s"`
	// PerS is how many lookups it answered in a second, one after another.
	PerS float64 `json:"per_s"`
}

// counted is the network of a client, which counts bytes.
type counted struct {
	grpctransport.TCP

	bytes atomic.Uint64
}

// OpenClient implements transport.Network.
func (n *counted) OpenClient(o transport.Options) (transport.Transport, error) {
	cfg := grpctransport.ConfigOf(o)
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &countedConn{conn, &n.bytes}, nil
	}
	return grpctransport.NewClient(cfg), nil
}

type countedConn struct {
	net.Conn

	bytes *atomic.Uint64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(uint64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.bytes.Add(uint64(n))
	return n, err
}

// settleIntervals is how long the maps are given, in intervals, to become as young as they are
// kept for lookups.
const settleIntervals = 20

// subscribePatience is how long a client may take to subscribe and to ask every owner.
const subscribePatience = 30 * time.Second

// Subscribe has a client subscribe at a member of a ring, and look keys up for as long as watch.
func Subscribe(ctx context.Context, c *cluster.Cluster, interval, watch, window time.Duration) (Subscribed, error) {
	members := c.Members()
	out := Subscribed{Name: "lookup-subscribed", Members: len(members), Interval: interval, Rate: allRate, Watched: watch}
	keys, err := Keys(keyCount, 4, func([]byte) bool { return true })
	if err != nil {
		return out, err
	}
	network := new(counted)
	client, err := concord.Dial(ctx, concord.ClientConfig{Network: network}, members[0].Address())
	if err != nil {
		return out, err
	}
	defer client.Close()
	l := &clientLookups{client: client, keys: keys, rng: rand.New(rand.NewPCG(4, 5))}
	if err := l.warm(ctx); err != nil {
		return out, err
	}
	out.Warm, out.Load = l.asked(), network.bytes.Load()
	// The maps of a ring in which nobody has looked anything up become younger from now on.
	if _, err := l.forAWhile(ctx, max(watch/2, settleIntervals*interval)); err != nil {
		return out, err
	}
	memory0, b0, began := l.memory(), network.bytes.Load(), time.Now()
	if out.Lookups, err = l.forAWhile(ctx, watch); err != nil {
		return out, err
	}
	out.Bytes = rounded(float64(network.bytes.Load()-b0)/time.Since(began).Seconds(), 0.1)
	out.Memory = rounded(float64(l.memory()-memory0)/float64(max(1, out.Lookups)), 0.0001)
	b0, began = network.bytes.Load(), time.Now()
	if err := Pause(ctx, watch); err != nil {
		return out, err
	}
	out.Rest = rounded(float64(network.bytes.Load()-b0)/time.Since(began).Seconds(), 0.1)
	out.PerS, err = l.asFastAsItCan(ctx, window)
	return out, err
}

type clientLookups struct {
	client *concord.Client
	keys   [][]byte
	rng    *rand.Rand
}

func (l *clientLookups) asked() uint64 { return l.client.Status().Counters.RouteRequests }

func (l *clientLookups) memory() uint64 {
	k := l.client.Status().Counters
	return k.Mapped + k.Confirmed
}

// warm looks all keys up, again and again, until the map answers all of them.
func (l *clientLookups) warm(ctx context.Context) error {
	for end := time.Now().Add(subscribePatience); time.Now().Before(end); {
		before := l.client.Status().Counters
		for _, key := range l.keys {
			if _, err := l.client.LookupContext(ctx, key); err != nil {
				return err
			}
		}
		if n := l.client.Status().Counters.Mapped - before.Mapped; n == uint64(len(l.keys)) {
			return nil
		}
		if err := Pause(ctx, 10*allTick); err != nil {
			return err
		}
	}
	return errors.New("the client has not subscribed")
}

// forAWhile looks up a random key at each tick.
func (l *clientLookups) forAWhile(ctx context.Context, d time.Duration) (n int, err error) {
	tick := time.NewTicker(allTick)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n, ctx.Err()
		}
		if _, err := l.client.LookupContext(ctx, l.keys[l.rng.IntN(len(l.keys))]); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (l *clientLookups) asFastAsItCan(ctx context.Context, window time.Duration) (float64, error) {
	began, n := time.Now(), 0
	for time.Since(began) < window {
		for range Batch {
			if _, err := l.client.LookupContext(ctx, l.keys[l.rng.IntN(len(l.keys))]); err != nil {
				return 0, fmt.Errorf("lookup at a client: %w", err)
			}
		}
		n += Batch
	}
	return rounded(float64(n)/time.Since(began).Seconds(), 1), nil
}
