//go:build unix

// Command chaos runs rings of real processes and does to them what networks and
// machines do: kill -9, SIGSTOP, cuts of every kind, restarts. Lookups run all
// the time and are held against the truth. The members of a ring are hosts of a
// network of their own, made of network namespaces, with real addresses.
//
//	go run ./test/chaos                   # everything at full size: 20 minutes
//	go run ./test/chaos -ci               # what CI runs: some two minutes
//	go run ./test/chaos -only halves,pair -runs 3
//	go run ./test/chaos -soak 30m         # faults by chance, and hostile requests
//
// It prints a table: of each phase of each scenario how many lookups were made,
// how many named another than the rightful owner or failed, how long the slowest
// took, until when after the change an answer was bad, and when all pointers of
// all members were right. A violation, and an exit status of 1, is a lookup that
// does not end, one that is wrong or fails in a ring that has been ideal for an
// interval, or a ring that is not ideal in the time allowed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ollelogdahl/concord/internal/child"
)

// bench is what scenarios are run with.
type bench struct {
	binary string // of the command concord
	logs   string // directory for the logs of all members; "": they are not kept
	lab    bool
	// strangers are hosts of the network beside those of the members.
	strangers int
	// args are further flags of the member of that name; nil: none.
	args func(name string) []string
}

type options struct {
	ci       bool
	only     string
	runs     int
	parallel int
	logs     string
	list     bool
	binary   string
	soak     time.Duration
	seed     uint64
}

func main() {
	var o options
	flag.BoolVar(&o.ci, "ci", false, "shorter cuts, and several scenarios at once")
	flag.StringVar(&o.only, "only", "", "run only the scenarios whose names are given, separated by commas")
	flag.IntVar(&o.runs, "runs", 0, "how often each scenario is run, with members of other names (default 3, with -ci 1)")
	flag.IntVar(&o.parallel, "parallel", 0, "scenarios at once (default 2, with -ci 4)")
	flag.StringVar(&o.logs, "logs", "", "directory for the logs of all members")
	flag.StringVar(&o.binary, "binary", "", "command concord to be run (default: built from here)")
	flag.DurationVar(&o.soak, "soak", 0, "instead of scenarios, faults by chance for so long, with hostile requests among all others")
	flag.Uint64Var(&o.seed, "seed", 1, "of the faults of -soak")
	flag.BoolVar(&o.list, "list", false, "list the names of the scenarios")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "chaos: %q is no flag; scenarios are named by -only\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	all := scenarios(o.ci)
	if o.list {
		for _, s := range all {
			fmt.Fprintf(out, "%-8s %s\n", s.name, s.title)
		}
		return nil
	}
	if o.runs < 0 || o.parallel < 0 {
		return errors.New("-runs and -parallel: use 1 or more")
	}
	if o.only != "" {
		names := strings.Split(o.only, ",")
		for _, name := range names {
			if !slices.ContainsFunc(all, func(s scenario) bool { return s.name == name }) {
				return fmt.Errorf("-only %s: there is no scenario %q: see -list", o.only, name)
			}
		}
		all = slices.DeleteFunc(all, func(s scenario) bool { return !slices.Contains(names, s.name) })
	}
	b := &bench{binary: o.binary, logs: o.logs, lab: true}
	if b.binary == "" {
		dir, err := os.MkdirTemp("", "concord-chaos")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if b.binary, err = child.Build(ctx, dir); err != nil {
			return err
		}
	}
	if o.soak > 0 {
		return soakHere(ctx, b, o, out)
	}
	fmt.Fprintf(out, "chaos: %s, %d CPUs, StabilizeInterval 1 s\n\n", runtime.Version(), runtime.NumCPU())
	return (&player{bench: b, options: o, out: out}).play(ctx, all)
}

// soakHere runs a soak, in a network of its own if this machine lets us have one.
func soakHere(ctx context.Context, b *bench, o options, out io.Writer) error {
	if l, err := newLab(ctx, 2); err == nil {
		l.close()
	} else if advice := unavailable(err); advice != "" {
		b.lab = false
		skipped := fmt.Sprintf("SKIPPED cuts: %v: %s\n", err, advice)
		fmt.Fprint(out, skipped)
		if err := note(skipped); err != nil {
			return err
		}
	} else {
		return err
	}
	_, err := soakFor(ctx, b, o.soak, o.seed, out)
	return err
}

// player runs scenarios and prints what came of them.
type player struct {
	bench *bench
	options
	out io.Writer

	mu      sync.Mutex
	skipped []string
	failed  int
	ran     int
}

func (p *player) play(ctx context.Context, all []scenario) error {
	began := time.Now()
	reason := ""
	if l, err := newLab(ctx, 2); err == nil {
		l.close()
	} else if advice := unavailable(err); advice != "" {
		p.bench.lab = false
		reason = fmt.Sprintf("%v: %s", err, advice)
	} else {
		return err
	}
	parallel := p.parallel
	if parallel == 0 {
		parallel = 2
		if p.ci {
			parallel = 4
		}
	}
	fmt.Fprint(p.out, heading)
	room := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for _, s := range all {
		if s.lab && !p.bench.lab {
			p.skipped = append(p.skipped, s.name)
			continue
		}
		room <- struct{}{} // in their order: the longest is the first
		wg.Go(func() {
			defer func() { <-room }()
			p.scenario(ctx, s)
		})
	}
	wg.Wait()
	fmt.Fprintf(p.out, "\n%d runs in %s, %d with violations\n", p.ran, seconds(time.Since(began)), p.failed)
	if len(p.skipped) > 0 {
		skipped := fmt.Sprintf("SKIPPED %s: %s\n", strings.Join(p.skipped, ", "), reason)
		fmt.Fprint(p.out, skipped)
		if err := note(skipped); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if p.failed > 0 {
		return fmt.Errorf("%d of %d runs with violations", p.failed, p.ran)
	}
	return nil
}

// note adds a line to the summary of tools/sections.sh, if that runs this.
func note(line string) error {
	path := os.Getenv("SECTION_NOTES")
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

// times is how often each scenario is run.
func (p *player) times() int {
	switch {
	case p.runs > 0:
		return p.runs
	case p.ci:
		return 1
	}
	return 3
}

// scenario runs one scenario as often as asked and prints each run.
func (p *player) scenario(ctx context.Context, s scenario) {
	times := map[string][]time.Duration{}
	var names []string
	runs := p.times()
	for i := range runs {
		if ctx.Err() != nil {
			return
		}
		rep, err := s.run(ctx, p.bench, fmt.Sprintf("%s%d", s.name, i))
		p.mu.Lock()
		p.ran++
		fmt.Fprintf(p.out, "%s\n", s.title)
		bad := err != nil && ctx.Err() == nil
		if rep != nil {
			for _, ph := range rep.phases {
				fmt.Fprint(p.out, ph.text())
				bad = bad || ph.nfaults > 0
				if !slices.Contains(names, ph.name) {
					names = append(names, ph.name)
				}
				if ph.ideal > 0 {
					times[ph.name] = append(times[ph.name], ph.ideal)
				}
			}
		}
		if err != nil {
			fmt.Fprintf(p.out, "  ERROR %v\n", err)
		}
		if bad {
			p.failed++
		}
		p.mu.Unlock()
	}
	if runs > 1 {
		p.summarize(names, times)
	}
}

// summarize prints how long the phases of a scenario took that was run several times.
func (p *player) summarize(names []string, times map[string][]time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		if t := times[name]; len(t) > 0 {
			median, worst := spread(t)
			fmt.Fprintf(p.out, "  %s: ideal after %s in the median of %d, %s at worst\n", name, seconds(median), len(t), seconds(worst))
		}
	}
}

// overloaded is how late the judge may be at worst: a member that is as late is
// taken for dead.
const overloaded = 300 * time.Millisecond

const heading = "  phase                    lookups  wrong errors slowest  until  ideal allowed\n"

// text is the phase as lines of the table.
func (p *phase) text() string {
	var b strings.Builder
	line := func(name string, c counts, ideal, allowed string) {
		until := "-"
		if c.wrong+c.errs > 0 {
			until = seconds(c.until)
		}
		fmt.Fprintf(&b, "  %-24s %7d %6d %6d %7s %6s %6s %7s\n", name, c.lookups, c.wrong, c.errs, seconds(c.slowest), until, ideal, allowed)
	}
	ideal := seconds(p.ideal)
	allowed := seconds(p.allowed)
	if p.imperfect {
		ideal, allowed = "-", "-"
	}
	line(p.name, p.counts, ideal, allowed)
	if p.holes.lookups > 0 {
		line("  keys between the two", p.holes, "", "")
	}
	if p.lag > overloaded {
		fmt.Fprintf(&b, "  NOTE this machine was overloaded: the judge itself was late by %s\n", seconds(p.lag))
	}
	for _, f := range p.faults {
		fmt.Fprintf(&b, "  VIOLATION %s\n", f)
	}
	if more := p.nfaults - len(p.faults); more > 0 {
		fmt.Fprintf(&b, "  VIOLATION and %d more\n", more)
	}
	return b.String()
}

// seconds is a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
