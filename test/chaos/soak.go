//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

const (
	soakMembers = 16
	soakOfCI    = 75 * time.Second
	// soakVeterans are the members on the first hosts. Nothing is done to them, and what they
	// use at the end is compared with what they used at the beginning.
	soakVeterans = 4
	// soakHealed is the time allowed until the ring is ideal after a fault.
	soakHealed = 15 * time.Second
	// hostileEvery is between two hostile requests: about a tenth of what the members
	// serve. The share is measured.
	hostileEvery = 60 * time.Millisecond
	// soakCalm is how long nothing happens before what members use is read.
	soakCalm = 15 * time.Second
)

// What a veteran may use more of at the end than at the beginning.
const (
	moreGoroutines  = 40
	moreDescriptors = 24
	moreMemory      = 24 << 20 // bytes resident
)

// soak is one run: faults by chance, one after the other, and hostile requests all the time.
type soak struct {
	r       *ring
	rng     *rand.Rand
	out     io.Writer
	sockets string // where members have their admin sockets

	hostile atomic.Int64
	slowest map[string]time.Duration // until ideal, by fault
	times   map[string]int
	counts  counts
	failed  int
}

// soaked is a soak as a scenario.
func soaked(d time.Duration) func(context.Context, *bench, string) (*report, error) {
	return func(ctx context.Context, b *bench, _ string) (*report, error) {
		mine := *b
		var out strings.Builder
		s, err := soakFor(ctx, &mine, d, 1, &out)
		if s == nil {
			return nil, err
		}
		sum := &phase{name: "until ideal, at worst", counts: s.counts, allowed: soakHealed, nfaults: s.failed}
		for _, took := range s.slowest {
			sum.ideal = max(sum.ideal, took)
		}
		for line := range strings.Lines(out.String()) {
			if what, ok := strings.CutPrefix(line, violation); ok && len(sum.faults) < maxFaults {
				sum.faults = append(sum.faults, strings.TrimSpace(what))
			}
		}
		if s.failed > 0 {
			err = nil // the phase says so
		}
		return &report{phases: []*phase{sum}}, err
	}
}

// violation begins the lines that tell of one.
const violation = "VIOLATION "

// soakFor runs the ring of sixteen for that time. The error says what was violated.
func soakFor(ctx context.Context, b *bench, d time.Duration, seed uint64, out io.Writer) (*soak, error) {
	sockets, err := os.MkdirTemp("", "soak")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(sockets)
	s := &soak{
		rng: rand.New(rand.NewPCG(seed, 0)), out: out, sockets: sockets,
		slowest: map[string]time.Duration{}, times: map[string]int{},
	}
	b.strangers = 1
	b.args = func(name string) []string { return []string{"--admin", "unix:" + s.socket(name)} }
	r, err := newRing(ctx, b, "soak", soakMembers, r3)
	if err != nil {
		return nil, err
	}
	defer r.close()
	s.r = r
	fmt.Fprintf(out, "soak: %d members, %v, seed %d, network of its own: %v\n", soakMembers, d, seed, r.lab != nil)
	storm := s.storm()
	defer storm.Close()
	attacking, calm := context.WithCancel(ctx)
	var attackers sync.WaitGroup
	attackers.Go(func() { s.attack(attacking, storm) })
	pause(ctx, soakCalm)
	before, err := s.used(ctx)
	if err == nil {
		for end := time.Now().Add(d); err == nil && time.Now().Before(end); {
			err = s.fault(ctx)
		}
	}
	calm()
	attackers.Wait()
	if err != nil {
		return nil, err
	}
	pause(ctx, soakCalm)
	after, err := s.used(ctx)
	if err != nil {
		return nil, err
	}
	return s, s.report(ctx, before, after)
}

// socket is where the member of that name is asked what it uses.
func (s *soak) socket(name string) string { return filepath.Join(s.sockets, name) }

// storm is the attacker, at a host of its own if there are hosts.
func (s *soak) storm() *attacktest.Storm {
	storm := &attacktest.Storm{World: attacktest.Default}
	if s.r.lab != nil {
		host := s.r.lab.hosts[soakMembers]
		storm.Dial = func(ctx context.Context, addr string) (conn net.Conn, err error) {
			err = host.on(func() (err error) {
				conn, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
				return err
			})
			return conn, err
		}
	}
	return storm
}

// attack sends hostile requests until ctx ends.
func (s *soak) attack(ctx context.Context, storm *attacktest.Storm) {
	rng := rand.New(rand.NewPCG(1, 1))
	again := time.NewTicker(hostileEvery)
	defer again.Stop()
	var victims []attacktest.Victim
	var hits sync.WaitGroup
	defer hits.Wait()
	room := make(chan struct{}, 64)
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if n%64 == 0 {
			victims = s.victims(ctx)
		}
		if len(victims) == 0 {
			continue
		}
		v := victims[rng.IntN(len(victims))]
		mine := rand.New(rand.NewPCG(rng.Uint64(), 0))
		others := victims
		select {
		case room <- struct{}{}:
		default:
			continue // those under way are enough
		}
		hits.Go(func() {
			defer func() { <-room }()
			storm.Hit(ctx, mine, v, others)
			s.hostile.Add(1)
		})
	}
}

// victims are the members that are up, as anybody may know them.
func (s *soak) victims(ctx context.Context) (out []attacktest.Victim) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for _, seats := range s.r.sides() {
		for _, x := range seats {
			if st, err := x.process.Status(ctx); err == nil {
				out = append(out, attacktest.Victim{Name: x.name, Addr: st.Self.Address, Incarnation: st.Incarnation})
			}
		}
	}
	return out
}

// fault makes one fault by chance, undoes it, and waits each time until the ring is ideal.
func (s *soak) fault(ctx context.Context) error {
	mortal := slices.DeleteFunc(slices.Clone(s.r.seats), func(x *seat) bool { return x.host < soakVeterans })
	s.rng.Shuffle(len(mortal), func(i, k int) { mortal[i], mortal[k] = mortal[k], mortal[i] })
	victims := mortal[:1+s.rng.IntN(r3-1)]
	lasts := time.Duration(2+s.rng.IntN(7)) * time.Second
	kinds := 4
	if s.r.lab != nil {
		kinds = 6
	}
	switch s.rng.IntN(kinds) {
	case 0:
		if err := s.phase(ctx, &phase{name: "killed", allowed: soakHealed}, func() error { return s.r.kill(victims...) }); err != nil {
			return err
		}
		return s.phase(ctx, &phase{name: "started again", allowed: soakHealed}, func() error { return s.back(ctx, victims) })
	case 1:
		return s.phase(ctx, &phase{name: "killed, and started at once", allowed: soakHealed}, func() error {
			if err := s.r.kill(victims...); err != nil {
				return err
			}
			return s.back(ctx, victims)
		})
	case 2:
		if err := s.phase(ctx, &phase{name: "stopped", allowed: soakHealed, hold: lasts}, func() error { return s.r.suspend(victims...) }); err != nil {
			return err
		}
		return s.phase(ctx, &phase{name: "going on", allowed: soakHealed}, func() error { return s.r.resume(victims...) })
	case 3:
		if err := s.phase(ctx, &phase{name: "left", allowed: soakHealed}, func() error { return s.r.leave(ctx, victims[0]) }); err != nil {
			return err
		}
		return s.phase(ctx, &phase{name: "joined again", allowed: soakHealed}, func() error { return s.back(ctx, victims[:1]) })
	case 4:
		return s.cut(ctx, victims, lasts, false)
	}
	return s.cut(ctx, victims, lasts, true)
}

// cut cuts members off for a while. What becomes of them meanwhile is not judged.
func (s *soak) cut(ctx context.Context, victims []*seat, lasts time.Duration, oneWay bool) error {
	name := "mended"
	if oneWay {
		name = "mended, after a cut in one direction"
	}
	if err := s.phase(ctx, &phase{name: "cut off", hold: lasts, imperfect: true}, func() error { return s.r.part(ctx, victims, oneWay) }); err != nil {
		return err
	}
	return s.phase(ctx, &phase{name: name, allowed: soakHealed}, func() error { return s.r.mend(ctx) })
}

// back starts the processes of seats again, at their addresses.
func (s *soak) back(ctx context.Context, seats []*seat) error {
	var via []string
	for _, x := range s.r.seats {
		if x.host < soakVeterans {
			via = append(via, x.addr)
		}
	}
	return each(seats, len(seats), func(x *seat) error { return s.r.start(ctx, via, x, s.r.args(x.name)...) })
}

// phase runs a phase of the ring and adds up what came of it.
func (s *soak) phase(ctx context.Context, p *phase, do func() error) error {
	if err := s.r.run(ctx, p, do); err != nil {
		return err
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.counts.add(p.counts)
	s.failed += p.nfaults
	for _, f := range p.faults {
		fmt.Fprintf(s.out, violation+"%s: %s\n", p.name, f)
	}
	if !p.imperfect {
		s.times[p.name]++
		s.slowest[p.name] = max(s.slowest[p.name], p.ideal)
	}
	return nil
}

// usage is what a process uses.
type usage struct{ goroutines, descriptors, memory float64 }

// used asks the veterans what they use, by their metrics.
func (s *soak) used(ctx context.Context) (map[string]usage, error) {
	out := map[string]usage{}
	for _, x := range s.r.seats {
		if x.host >= soakVeterans {
			continue
		}
		u, err := s.metrics(ctx, x.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		out[x.name] = u
	}
	return out, nil
}

func (s *soak) metrics(ctx context.Context, name string) (u usage, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.socket(name))
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/metrics", nil)
	if err != nil {
		return u, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return u, err
	}
	defer resp.Body.Close()
	wanted := map[string]*float64{
		"go_goroutines": &u.goroutines, "process_open_fds": &u.descriptors, "process_resident_memory_bytes": &u.memory,
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if to := wanted[key]; to != nil {
			if *to, err = strconv.ParseFloat(value, 64); err != nil {
				return u, err
			}
		}
	}
	if u.goroutines == 0 {
		err = errors.Join(lines.Err(), errors.New("the metrics lack what it uses"))
	}
	return u, err
}

// report prints what came of the run, and judges it.
func (s *soak) report(ctx context.Context, before, after map[string]usage) error {
	fmt.Fprintf(s.out, "\n%-40s %6s %12s\n", "fault", "times", "ideal after")
	for _, name := range slices.Sorted(maps.Keys(s.times)) {
		fmt.Fprintf(s.out, "%-40s %6d %12s\n", name, s.times[name], seconds(s.slowest[name]))
	}
	var served uint64
	for _, x := range s.r.seats {
		if x.host < soakVeterans {
			st, err := x.process.Status(ctx)
			if err != nil {
				return err
			}
			served += st.Counters.Served
		}
	}
	fmt.Fprintf(s.out, "\n%d lookups: %d wrong, %d failed while the ring changed; slowest %s\n", s.counts.lookups, s.counts.wrong, s.counts.errs, seconds(s.counts.slowest))
	fmt.Fprintf(s.out, "%d hostile requests at %d members; the %d to which nothing is done have served %d requests\n\n",
		s.hostile.Load(), soakMembers, soakVeterans, served)
	fmt.Fprintf(s.out, "%-10s %22s %22s %26s\n", "member", "goroutines", "descriptors", "resident, MiB")
	for _, name := range slices.Sorted(maps.Keys(before)) {
		b, a := before[name], after[name]
		fmt.Fprintf(s.out, "%-10s %10.0f -> %8.0f %10.0f -> %8.0f %12.1f -> %10.1f\n", name, b.goroutines, a.goroutines,
			b.descriptors, a.descriptors, b.memory/(1<<20), a.memory/(1<<20))
		if a.goroutines > b.goroutines+moreGoroutines || a.descriptors > b.descriptors+moreDescriptors || a.memory > b.memory+moreMemory {
			s.failed++
			fmt.Fprintf(s.out, violation+"%s uses more at the end than at the beginning\n", name)
		}
	}
	if s.failed > 0 {
		return fmt.Errorf("%d violations", s.failed)
	}
	return nil
}
