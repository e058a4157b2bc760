// Fuzz changes a live ring at random and checks that it heals. Members run in
// this process over real sockets; they join, one or several at once, are killed,
// neighbours too, leave and come back under their old names, while lookups run.
// After each step the members alive must within a bound be one right ring:
// every predecessor, every entry of every successor list, every range, and what
// every member says of keys.
//
//	go run -race ./test/fuzz/fuzz.go
//
// At most SuccessorCount−1 members go at once, and only from a settled ring of
// SuccessorCount+1 or more; from a smaller one any number may go as long as one
// stays. A failure prints the seed, the steps, the state of every member and the
// command that takes the same steps again. The steps follow from the seed and
// the flags; the timing does not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"go.uber.org/goleak"
)

const (
	lookers    = 2               // goroutines that look up all the time
	slowLookup = 2 * time.Second // what no lookup may take, unless this process was stalled
	slowCall   = 30 * time.Second

	// overloaded is how late this process may be at worst: a member of it that is as late can be
	// taken for dead.
	overloaded = 100 * time.Millisecond
	watchEvery = 10 * time.Millisecond
)

type options struct {
	seed       uint64
	time       time.Duration
	members    int
	successors int
	interval   time.Duration
	bound      int
	verbose    bool
}

func main() {
	o := defaults()
	flag.Uint64Var(&o.seed, "seed", o.seed, "`seed` of the steps (0: a new one)")
	flag.DurationVar(&o.time, "fuzztime", o.time, "how long to go on")
	flag.IntVar(&o.members, "members", o.members, "at most so many members")
	flag.IntVar(&o.successors, "successors", o.successors, "SuccessorCount of the members")
	flag.DurationVar(&o.interval, "interval", o.interval, "StabilizeInterval of the members")
	flag.IntVar(&o.bound, "bound", o.bound, "intervals within which a step must have healed")
	flag.BoolVar(&o.verbose, "v", o.verbose, "print every step")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "fuzz: no arguments are taken, only flags: %q\n", flag.Args())
		os.Exit(2)
	}
	if err := o.check(); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(2)
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func defaults() options {
	return options{
		time:       time.Minute,
		members:    16,
		successors: concord.DefaultSuccessorCount,
		interval:   100 * time.Millisecond,
		bound:      20,
	}
}

func (o options) check() error {
	switch {
	case o.members < 2:
		return fmt.Errorf("-members must be at least 2, is %d: nothing can happen to one", o.members)
	case o.successors < 2 || o.successors > concord.MaxSuccessorCount:
		return fmt.Errorf("-successors must be 2 … %d, is %d: with 1 nobody may go", concord.MaxSuccessorCount, o.successors)
	case o.interval < concord.MinStabilizeInterval:
		return fmt.Errorf("-interval must be at least %v, is %v", concord.MinStabilizeInterval, o.interval)
	case o.bound < 1:
		return fmt.Errorf("-bound must be at least 1, is %d", o.bound)
	}
	return nil
}

func (o options) command() string {
	return fmt.Sprintf("go run -race ./test/fuzz/fuzz.go -seed=%d -fuzztime=%v -members=%d -successors=%d -interval=%v -bound=%d -v",
		o.seed, o.time, o.members, o.successors, o.interval, o.bound)
}

// run takes steps until the time is up or ctx ends. The error is the report of a
// failure.
func run(ctx context.Context, o options, out io.Writer) error {
	before := goleak.IgnoreCurrent()
	fmt.Fprintf(out, "fuzz: seed %d, %v, up to %d members, SuccessorCount %d, interval %v\n",
		o.seed, o.time, o.members, o.successors, o.interval)
	f := newFuzzer(o, out)
	began := time.Now()
	err := f.steps(ctx, began.Add(o.time))
	if err != nil {
		err = f.report(err)
	}
	f.end()
	fmt.Fprintf(out, "fuzz: %v: %s\n", time.Since(began).Round(time.Millisecond), f.summary())
	if leak := goleak.Find(before); leak != nil {
		err = errors.Join(err, fmt.Errorf("fuzz: all members are stopped, goroutines are left: %w", leak))
	}
	return err
}

// fuzzer is one run.
type fuzzer struct {
	o    options
	out  io.Writer
	rng  *rand.Rand
	ring *cluster.Cluster
	dead []*concord.Concord // names that may come back

	journal journal
	history []string
	joins, kills, leaves, restarts,
	asked int // lookups after steps
	slowest     time.Duration
	slowestStep string

	// The lookups that run all the time.
	stop   context.CancelFunc
	done   sync.WaitGroup
	during atomic.Int64
	early  atomic.Int64 // of those, answered otherwise than the truth then was
	failed chan error

	late atomic.Int64 // how late this process was at worst since the step began, a duration
}

func newFuzzer(o options, out io.Writer) *fuzzer {
	f := &fuzzer{o: o, out: out, rng: rand.New(rand.NewPCG(o.seed, 0)), failed: make(chan error, 1)}
	f.ring = cluster.New(func(i int) concord.Config {
		return concord.Config{
			Name:              fmt.Sprintf("member-%d", i),
			SuccessorCount:    uint(o.successors),
			StabilizeInterval: o.interval,
			LogHandler:        slog.NewTextHandler(&f.journal, &slog.HandlerOptions{Level: slog.LevelDebug}),
		}
	})
	var ctx context.Context
	ctx, f.stop = context.WithCancel(context.Background())
	for w := range lookers {
		f.done.Go(func() { f.lookUp(ctx, rand.New(rand.NewPCG(o.seed, uint64(w)+1))) })
	}
	f.done.Go(func() { f.watchClock(ctx) })
	return f
}

// watchClock notes how late this process is.
func (f *fuzzer) watchClock(ctx context.Context) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		f.late.Store(max(f.late.Load(), int64(now.Sub(last)-watchEvery)))
		last = now
	}
}

// end stops the lookups and then all members.
func (f *fuzzer) end() {
	f.stop()
	f.done.Wait()
	f.ring.Close()
}

func (f *fuzzer) summary() string {
	return fmt.Sprintf("%d steps: %d joins, %d kills, %d leaves, %d restarts; %d lookups right after them, "+
		"%d during them (%d of those ahead of or behind a change); slowest healing %v (%.1f intervals)",
		len(f.history), f.joins, f.kills, f.leaves, f.restarts, f.asked, f.during.Load(), f.early.Load(),
		f.slowest.Round(time.Millisecond), float64(f.slowest)/float64(f.o.interval)) + f.where()
}

func (f *fuzzer) where() string {
	if f.slowestStep == "" {
		return ""
	}
	return " after " + f.slowestStep
}

// report makes a failure one that somebody else can understand and repeat.
func (f *fuzzer) report(err error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nfuzz: FAILED: %v\n\nseed %d, steps:\n", err, f.o.seed)
	for _, h := range f.history {
		fmt.Fprintf(&b, "  %s\n", h)
	}
	fmt.Fprintf(&b, "\nmembers alive:\n%s\ntheir log since the step began:\n%s\nto repeat:\n  %s",
		f.ring.Describe(), f.journal.text(), f.o.command())
	return errors.New(b.String())
}

// journal keeps what the members log during one step.
type journal struct {
	mu    sync.Mutex
	lines []string
}

const maxJournal = 400

// Write takes one line. The newest are dropped: how it began tells more.
func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) < maxJournal {
		j.lines = append(j.lines, string(line))
	}
	return len(line), nil
}

func (j *journal) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = j.lines[:0]
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "")
}

// steps changes the ring until the deadline, at least once.
func (f *fuzzer) steps(ctx context.Context, deadline time.Time) error {
	for n := 1; n == 1 || time.Now().Before(deadline); n++ {
		s := f.next()
		f.history = append(f.history, fmt.Sprintf("%d. %s", n, s.what))
		f.journal.begin()
		healed, err := f.take(s)
		select {
		case bad := <-f.failed:
			err = errors.Join(bad, err)
		default:
		}
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", n, s.what, err)
		}
		f.history[n-1] += fmt.Sprintf(": healed in %v", healed.Round(time.Millisecond))
		if healed > f.slowest {
			f.slowest, f.slowestStep = healed, fmt.Sprintf("step %d, %s", n, s.what)
		}
		if f.o.verbose {
			fmt.Fprintln(f.out, f.history[n-1])
		}
		select {
		case <-ctx.Done():
			fmt.Fprintln(f.out, "fuzz: interrupted")
			return nil
		default:
		}
	}
	return nil
}

// step is one change of the ring. Its parts happen all at once.
type step struct {
	what  string
	join  int                // new members
	via   []*concord.Concord // through which to join; none: found
	kill  []*concord.Concord
	leave []*concord.Concord
	again []*concord.Concord // names that come back, some of them killed in this step
	same  bool               // they come back at their old addresses
	rest  time.Duration      // after it has healed
}

// next draws a step.
func (f *fuzzer) next() step {
	live := f.ring.Members()
	n, room := len(live), f.o.members-len(live)
	s := step{rest: time.Duration(f.rng.Int64N(int64(f.o.interval)))}
	if n == 0 {
		s.join = 1
		s.what = "member-0 founds"
		return s
	}
	may := f.o.successors - 1
	if n <= f.o.successors {
		may = n - 1
	}
	var what []string
	for len(what) == 0 {
		switch p := f.rng.IntN(100); {
		case p < 35 && room > 0:
			s.join = f.some(min(room, 6))
		case p < 60 && may > 0:
			s.kill = f.pick(live, f.some(may))
		case p < 72 && may > 0:
			s.leave = f.pick(live, f.some(may))
		case p < 80 && may > 0: // killed and back at once
			s.kill = f.pick(live, f.some(may))
			s.again, s.same = s.kill, f.rng.IntN(2) == 0
		case p < 90 && room > 0 && len(f.dead) > 0: // back after a while
			k := f.some(min(room, len(f.dead), 4))
			s.again, s.same = slices.Clone(f.dead[:k]), false
		case p < 100 && may > 0 && room > 0: // killed while others join
			s.kill = f.pick(live, f.some(may))
			s.join = f.some(min(room, 4))
		}
		what = s.words()
	}
	var stay []*concord.Concord
	for _, m := range live {
		if !slices.Contains(s.kill, m) && !slices.Contains(s.leave, m) {
			stay = append(stay, m)
		}
	}
	if s.join > 0 || len(s.again) > 0 {
		s.via = []*concord.Concord{stay[f.rng.IntN(len(stay))]}
		what = append(what, "through "+s.via[0].Name())
	}
	s.what = fmt.Sprintf("of %d, %s", n, strings.Join(what, ", "))
	return s
}

func (s step) words() []string {
	var out []string
	add := func(verb string, ms []*concord.Concord) {
		if len(ms) == 0 {
			return
		}
		names := make([]string, len(ms))
		for i, m := range ms {
			names[i] = m.Name()
		}
		out = append(out, verb+" "+strings.Join(names, " "))
	}
	add("kill", s.kill)
	add("leave", s.leave)
	if s.same {
		add("restart at the same address", s.again)
	} else {
		add("restart", s.again)
	}
	if s.join > 0 {
		out = append(out, fmt.Sprintf("join %d", s.join))
	}
	return out
}

// some draws from 1 … most, small ones more often.
func (f *fuzzer) some(most int) int { return 1 + min(f.rng.IntN(most), f.rng.IntN(most)) }

// pick draws k members, every second time neighbours.
func (f *fuzzer) pick(live []*concord.Concord, k int) []*concord.Concord {
	order := f.rng.Perm(len(live))
	if f.rng.IntN(2) == 0 {
		first := order[0]
		for i := range order {
			order[i] = (first + i) % len(live)
		}
	}
	out := make([]*concord.Concord, k)
	for i := range out {
		out[i] = live[order[i]]
	}
	return out
}

// take takes a step and waits until the ring has healed. It returns how long
// that took after the last of the step's calls had returned.
func (f *fuzzer) take(s step) (time.Duration, error) {
	f.late.Store(0)
	ctx, cancel := context.WithTimeout(context.Background(), slowCall)
	defer cancel()
	added, err := f.ring.Start(s.join)
	if err != nil {
		return 0, err
	}
	var parts sync.WaitGroup
	var joined, back, left error
	if s.join > 0 {
		parts.Go(func() { joined = f.ring.Join(ctx, added, s.via...) })
	}
	if len(s.leave) > 0 {
		parts.Go(func() { left = f.ring.Leave(ctx, s.leave...) })
	}
	parts.Go(func() {
		f.ring.Kill(s.kill...)
		if len(s.again) == 0 {
			return
		}
		var again []*concord.Concord
		if again, back = f.ring.Again(s.again, s.same); back == nil {
			back = f.ring.Join(ctx, again, s.via...)
		}
	})
	parts.Wait()
	if err := errors.Join(joined, back, left); err != nil {
		return 0, err
	}
	f.count(s)
	return f.heal(s)
}

func (f *fuzzer) count(s step) {
	f.joins += s.join
	f.kills += len(s.kill)
	f.leaves += len(s.leave)
	f.restarts += len(s.again)
	f.dead = append(f.dead, s.kill...)
	f.dead = append(f.dead, s.leave...)
	f.dead = slices.DeleteFunc(f.dead, func(m *concord.Concord) bool { return slices.Contains(s.again, m) })
}

// heal waits for one right ring, and looks again after a rest.
func (f *fuzzer) heal(s step) (time.Duration, error) {
	ideal, err := f.bounded(f.ring.WaitIdeal)
	if err != nil {
		return 0, err
	}
	keys := f.keys()
	right, err := f.bounded(func(ctx context.Context) (time.Duration, error) { return f.ring.WaitLookups(ctx, keys...) })
	if err != nil {
		return 0, err
	}
	f.asked += len(keys) * len(f.ring.Members())
	<-time.After(s.rest)
	w := f.ring.Wrong()
	switch {
	case w == "":
	case f.stalled():
		fmt.Fprintf(f.out, "the ring is not ideal for now:\n%s\n", w)
		_, err = f.bounded(f.ring.WaitIdeal)
	default:
		err = fmt.Errorf("the ring was ideal and is not %v later:\n%s", s.rest, w)
	}
	return ideal + right, err
}

// bounded calls wait with the time that a ring may take, and for slowCall if this process was
// stalled meanwhile.
func (f *fuzzer) bounded(wait func(context.Context) (time.Duration, error)) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(f.o.bound)*f.o.interval)
	defer cancel()
	took, err := wait(ctx)
	if err != nil && f.stalled() {
		fmt.Fprintln(f.out, err)
		ctx, cancel := context.WithTimeout(context.Background(), slowCall)
		defer cancel()
		return wait(ctx)
	}
	return took, err
}

// stalled reports whether this process was so late in this step that what its members do proves
// nothing, and says so.
func (f *fuzzer) stalled() bool {
	if !f.isLate() {
		return false
	}
	fmt.Fprintf(f.out, "overloaded: this process was late by %v\n", time.Duration(f.late.Load()))
	return true
}

// isLate is stalled without a word.
func (f *fuzzer) isLate() bool { return time.Duration(f.late.Load()) > overloaded }

// keys draws keys, one of them exactly at a member's identifier.
func (f *fuzzer) keys() [][]byte {
	live := f.ring.Members()
	keys := [][]byte{[]byte(live[f.rng.IntN(len(live))].Name())}
	for range 7 {
		keys = append(keys, fmt.Appendf(nil, "key-%d", f.rng.Uint64()))
	}
	return keys
}

// lookUp looks keys up at random members until ctx ends. While the ring changes
// an answer may be a little old or new, but it must come, and name a member.
func (f *fuzzer) lookUp(ctx context.Context, rng *rand.Rand) {
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		live := f.ring.Members()
		if len(live) == 0 {
			continue
		}
		m := live[rng.IntN(len(live))]
		key := fmt.Appendf(nil, "key-%d", rng.Uint64())
		before, began := f.ring.Truth(key), time.Now()
		got, err := m.LookupContext(ctx, key)
		took := time.Since(began)
		if ctx.Err() != nil || !f.ring.Alive(m) {
			continue
		}
		f.during.Add(1)
		switch {
		case err != nil:
			f.fail(fmt.Errorf("%s, alive: lookup of %q after %v: %w", m.Name(), key, took.Round(time.Millisecond), err))
		case took > slowCall, took > slowLookup && !f.isLate():
			f.fail(fmt.Errorf("%s, alive: lookup of %q took %v, at most %v is allowed", m.Name(), key,
				took.Round(time.Millisecond), slowLookup))
		case got != before && got != f.ring.Truth(key):
			f.early.Add(1)
		}
	}
}

// fail keeps the first failure of the lookups that run all the time.
func (f *fuzzer) fail(err error) {
	select {
	case f.failed <- err:
	default:
	}
}
