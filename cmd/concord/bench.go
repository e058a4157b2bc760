package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/bench"
)

// Bounds of what bench is asked to do.
const (
	benchMaxMembers = 512
	benchMaxCallers = 1024
	benchMaxRounds  = 99
)

type benchFlags struct {
	members   int
	callers   []int
	rounds    int
	interval  time.Duration
	only      []string
	churnTime time.Duration
	quick     bool
	json      bool
}

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a ring on this machine",
		Long: `Measure in one process, over loopback, what a ring costs. There are six parts:

  idle      what a member costs while nothing happens
  members   lookups of all members at once: 50 a second each, and as fast as
            16 callers can
  client    a client that subscribes at a member, and what that costs
  lookups   lookups, beside a bare gRPC call and a bare hash and search
  changes   how long a ring takes to form, to be joined, and to heal
  churn     how often a lookup is wrong while members come and go

All parts take about six minutes. With --quick, which omits client and churn,
they take less than 50 seconds. Lookups and what they are compared with are
measured in turns, and every figure is the median of several rounds. Allocations
and CPU time are those of the whole process, with both ends of each request,
minus what the ring needs when it is idle. Operations of about a microsecond or
less are timed in batches of 1,000, and their quantiles are those of the means
of the batches.`,
		Example: `  concord bench --quick
  concord bench --members 256 --only idle,changes --json
  concord bench --only churn --churn-time 5m`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := f.plan(cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), plan, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.members, "members", 64, "members of the ring (churn: 32 unless given)")
	flags.IntSliceVar(&f.callers, "callers", []int{1, 16, 64}, "numbers of callers that look up at once")
	flags.IntVar(&f.rounds, "rounds", 7, "rounds of lookups, of which the median is taken")
	flags.DurationVar(&f.interval, "interval", concord.DefaultStabilizeInterval, "the members' StabilizeInterval (churn: 200ms unless given)")
	flags.StringSliceVar(&f.only, "only", nil, "measure only these parts, separated by commas")
	flags.DurationVar(&f.churnTime, "churn-time", time.Minute, "how long members come and go")
	flags.BoolVar(&f.quick, "quick", false, "fewer rounds, 1 and 16 callers, and neither client nor churn, unless asked for")
	flags.BoolVar(&f.json, "json", false, "print one JSON object a line; times are in nanoseconds")
	return cmd
}

// plan checks the flags and says what they mean. set tells which were given.
func (f *benchFlags) plan(set func(flag string) bool) (bench.Plan, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.members < 3 || f.members > benchMaxMembers {
		wrong("--members %d: use 3 to %d", f.members, benchMaxMembers)
	}
	if len(f.callers) == 0 {
		wrong("--callers: name at least one number")
	}
	for _, n := range f.callers {
		if n < 1 || n > benchMaxCallers {
			wrong("--callers %d: use 1 to %d", n, benchMaxCallers)
		}
	}
	if f.rounds < 1 || f.rounds > benchMaxRounds {
		wrong("--rounds %d: use 1 to %d", f.rounds, benchMaxRounds)
	}
	if f.interval < concord.MinStabilizeInterval {
		wrong("--interval %v: use at least %v", f.interval, concord.MinStabilizeInterval)
	}
	for _, part := range f.only {
		if !slices.Contains(bench.Parts, part) {
			wrong("--only %q: use %s", part, strings.Join(bench.Parts, ", "))
		}
	}
	if f.churnTime < time.Second || f.churnTime > time.Hour {
		wrong("--churn-time %v: use 1s to 1h", f.churnTime)
	}
	p := bench.Plan{
		Members: f.members, Interval: f.interval, Parts: bench.Parts,
		// Acquaintances are looked at every tenth round. The connections of the
		// joins, which are kept for 32 intervals, have been closed.
		Settle: max(15*time.Second, 45*f.interval), Watch: 30 * time.Second,
		Callers: f.callers, Rounds: f.rounds, Window: 500 * time.Millisecond,
		Changes: 20, ChangeTime: time.Minute, Builds: 3,
		Churn: bench.Churn{Members: 32, Interval: 200 * time.Millisecond, Every: 500 * time.Millisecond, Time: f.churnTime, Rate: 50},
	}
	if f.quick {
		p.Parts = []string{bench.PartIdle, bench.PartMembers, bench.PartLookups, bench.PartChanges}
		p.Settle, p.Watch = max(10*time.Second, 8*f.interval)+2*f.interval, 6*time.Second
		p.Window = 200 * time.Millisecond
		p.Changes, p.ChangeTime, p.Builds = 5, 5*time.Second, 1
		if !set("callers") {
			p.Callers = []int{1, 16}
		}
		if !set("rounds") {
			p.Rounds = 3
		}
	}
	if len(f.only) > 0 {
		p.Parts = f.only
	}
	if set("members") {
		p.Churn.Members = f.members
	}
	if set("interval") {
		p.Churn.Interval = f.interval
	}
	return p, errors.Join(errs...)
}

func (f *benchFlags) run(ctx context.Context, plan bench.Plan, out, errs io.Writer) error {
	show := (&benchText{out: out}).show
	if f.json {
		lines := json.NewEncoder(out)
		show = lines.Encode
	}
	var progress func(float64, string)
	if file, ok := errs.(*os.File); ok && terminal(file) {
		p := newBenchProgress(errs)
		defer p.end()
		progress = p.set
		under := show
		show = func(result any) error {
			p.clear()
			return under(result)
		}
	}
	err := bench.Run(ctx, plan, show, progress)
	if ctx.Err() != nil {
		return errors.New("bench: interrupted")
	}
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// benchText writes results for people, at most 80 columns wide.
type benchText struct {
	out    io.Writer
	headed bool // the table of timings has its head
}

func (t *benchText) show(result any) error {
	var text string
	switch r := result.(type) {
	case bench.Machine:
		text = fmt.Sprintf("%s %s/%s, gRPC %s, %d CPUs", r.Go, r.OS, r.Arch, r.GRPC, r.CPUs)
		if r.CPU != "" {
			text += "\n" + r.CPU
		}
		if r.Load != nil {
			text += fmt.Sprintf("\nload %.1f: that many threads wanted a CPU in the last minute", *r.Load)
		}
		text += "\n"
	case bench.Idle:
		text = fmt.Sprintf(`
idle       %d members, interval %v, watched for %v; each:
           %.0f B/s written, %.2f requests/s, %s of CPU a second
           heap %s (in spans of %s), stacks %s
           %.1f goroutines, %.1f outgoing connections
`, r.Members, r.Interval, r.Watched, r.Bytes, r.Calls, bench.Brief(r.CPU),
			bench.KiB(r.Heap), bench.KiB(r.Spans), bench.KiB(r.Stacks), r.Goroutines, r.Connections)
		if !r.Ideal {
			text += "           the ring was not ideal in the end: this was no rest\n"
		}
	case bench.AllMembers:
		text = fmt.Sprintf(`
members    all %d look up %.0f keys a second each, for %v:
           %.2f %% of %d lookups answered without a request, %d failed
           %.0f B/s written, %.2f requests/s, %s of CPU a second, each
           %.0f lookups a second of all by %d callers, as fast as they can
`, r.Members, r.Rate, r.Watched, 100*r.Memory, r.Lookups, r.Failed, r.Bytes, r.Calls, bench.Brief(1e6*r.CPU), r.PerS, r.Callers)
	case bench.Subscribed:
		text = fmt.Sprintf(`
client     subscribed at one of %d, after %d requests and %.1f KiB
           %.2f %% of %d lookups, %.0f a second, answered without a request
           %.0f B/s in both directions meanwhile, %.0f B/s at rest
           %.0f lookups a second, one after another
`, r.Members, r.Warm, float64(r.Load)/1024, 100*r.Memory, r.Lookups, r.Rate, r.Bytes, r.Rest, r.PerS)
	case bench.BareIdle:
		text = fmt.Sprintf(`
idle-grpc  %d bare gRPC servers, as many connections; each:
           heap %s (in spans of %s), stacks %s
           %.1f goroutines, %.1f outgoing connections
`, r.Members, bench.KiB(r.Heap), bench.KiB(r.Spans), bench.KiB(r.Stacks), r.Goroutines, r.Connections)
	case bench.Timing:
		const row = "%-17s %7v %9s %9s %10s %6s %9s %5s\n"
		if !t.headed {
			t.headed = true
			text = "\n" + fmt.Sprintf(row, fmt.Sprintf("%d members", r.Members), "callers", "p50", "p99", "per second", "allocs", "CPU", "RPCs")
		}
		text += fmt.Sprintf(row, r.Name, r.Callers, bench.Brief(r.P50), bench.Brief(r.P99), fmt.Sprintf("%.0f", r.PerS),
			fmt.Sprintf("%.1f", r.Allocs), bench.Brief(r.CPU), fmt.Sprintf("%.2f", r.RPCs))
	case bench.Span:
		did := map[string]string{
			"build": "%d members join at once, until ideal",
			"join":  "one member joins %d others",
			"heal":  "one of %d is killed, until ideal",
		}[r.Name]
		n := r.Members
		if r.Name == "heal" {
			n++
		}
		if r.Name == "build" {
			text = "\n"
		}
		text += fmt.Sprintf("%-10s %s: %s\n           (median of %d, slowest %s, interval %v)\n", r.Name,
			fmt.Sprintf(did, n), bench.Brief(float64(r.P50)), r.Times, bench.Brief(float64(r.Max)), r.Interval)
	case bench.Churned:
		how := "default lookups"
		if r.Name == "churn-plain" {
			how = "plain Chord: what earlier lookups taught is left out"
		}
		text = fmt.Sprintf(`
churn      %s
           %d members, interval %v, for %v
           one killed and one joining each %v: %d joins, %d failed
           %d lookups, %d failed, median %s, slowest %s
           %.1f %% of them answered without a request
           %d named a wrong owner: %.4f %%
           at most %s after it had ceased to be one (median %s);
           %d named one that never was
           ideal %s after the last change
`, how, r.Members, r.Interval, r.Time, r.Every, r.Joins, r.JoinsFailed, r.Lookups, r.Failed, bench.Brief(float64(r.P50)), bench.Brief(float64(r.Max)),
			100*r.Memory, r.Wrong, 100*r.WrongShare, bench.Brief(float64(r.LateMax)), bench.Brief(float64(r.LateP50)), r.Strangers, bench.Brief(float64(r.Ideal)))
		if r.FirstError != "" {
			text += wrapped("the first error: "+r.FirstError, "           ", 80, 5)
		}
	default:
		return fmt.Errorf("a result of type %T", result)
	}
	_, err := io.WriteString(t.out, text)
	return err
}

// wrapped breaks text between words into at most so many lines of a width, each
// indented. A word that is too long for a line is cut.
func wrapped(text, indent string, width, lines int) string {
	var b strings.Builder
	line := ""
	room := width - utf8.RuneCountInString(indent)
	for word := range strings.FieldsSeq(text) {
		if r := []rune(word); len(r) > room {
			word = string(r[:room-1]) + "…"
		}
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > room {
			b.WriteString(indent + line + "\n")
			if lines--; lines == 0 {
				return b.String()
			}
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}

// Progress is shown once this much time has passed, and then anew this often.
const (
	benchPatience = 2 * time.Second
	benchRefresh  = 500 * time.Millisecond
)

// benchProgress is a line at the bottom of the terminal.
type benchProgress struct {
	out   io.Writer
	began time.Time
	stop  chan struct{}
	gone  sync.WaitGroup

	mu    sync.Mutex
	share float64
	doing string
	shown bool
}

func newBenchProgress(out io.Writer) *benchProgress {
	p := &benchProgress{out: out, began: time.Now(), stop: make(chan struct{})}
	p.gone.Go(func() {
		again := time.NewTicker(benchRefresh)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				p.draw()
			case <-p.stop:
				p.clear()
				return
			}
		}
	})
	return p
}

func (p *benchProgress) set(share float64, doing string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.share, p.doing = share, doing
}

func (p *benchProgress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := time.Since(p.began)
	if took < benchPatience {
		return
	}
	p.shown = true
	fmt.Fprintf(p.out, "\r\x1b[K%4.0f s  about %2.0f %%  %s", took.Seconds(), 100*p.share, p.doing)
}

func (p *benchProgress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

func (p *benchProgress) end() {
	close(p.stop)
	p.gone.Wait()
}
