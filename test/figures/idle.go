//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/bench"
)

// idle measures a ring in which nothing happens.
func idle(ctx context.Context) (result, error) {
	r := result{asked: "reported; connections grow with log N", reached: true}
	for _, n := range []int{8, 32, 64, 128} {
		line, ok, err := idleOf(ctx, n)
		if err != nil {
			return r, err
		}
		if r.measured != "" {
			r.measured += "<br>"
		}
		r.measured += line
		r.reached = r.reached && ok
	}
	return r, nil
}

func idleOf(ctx context.Context, n int) (string, bool, error) {
	const every, watch = time.Second, 20 * time.Second
	before := bench.Held().Spans
	goroutines := runtime.NumGoroutine()
	c := newCluster(every)
	defer c.Close()
	if _, err := c.AddMany(ctx, n); err != nil {
		return "", false, err
	}
	if err := idealWithin(ctx, c, 30*every); err != nil {
		return "", false, err
	}
	// Until the connections of the joins have been given up.
	pause(ctx, 45*every)
	ms := c.Members()
	requests := func() (total uint64) {
		for _, m := range ms {
			k := m.Status().Counters
			total += k.RouteRequests + k.RingRequests
		}
		return total
	}
	r0, b0, t0 := requests(), loopback(), time.Now()
	pause(ctx, watch)
	secs := time.Since(t0).Seconds()
	reqs := float64(requests()-r0) / secs / float64(n)
	traffic := float64(loopback()-b0) / secs / float64(n)
	most, conns := 0, 0
	for _, m := range ms {
		k := m.Status().Connections
		most = max(most, k)
		conns += k
	}
	limit := 2*bits.Len(uint(n-1)) + 3
	return fmt.Sprintf("N = %d: %.2f requests/s, %.0f B/s on the loopback device, headers and acknowledgements included; %.1f goroutines, %.0f KiB heap; connections %.1f on average, %d at most (bound %d)",
		n, reqs, traffic, float64(runtime.NumGoroutine()-goroutines)/float64(n),
		float64(bench.Held().Spans-before)/1024/float64(n), float64(conns)/float64(n), most, limit), most <= limit, nil
}

// loopback reads how many bytes the loopback device has carried. In a network
// namespace of its own (unshare -n) that is this process alone.
func loopback() uint64 {
	f, err := os.Open("/proc/net/dev")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "lo:"); ok {
			var bytes uint64
			fmt.Sscan(rest, &bytes)
			return bytes
		}
	}
	return 0
}
