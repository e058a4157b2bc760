package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// results is all that is measured in a run.
type results struct {
	When     string         `json:"when"` // the day, UTC
	Quick    bool           `json:"quick,omitempty"`
	Machine  bench.Machine  `json:"machine"`
	Versions []version      `json:"versions"`
	Groups   []groupResult  `json:"groups"`
	Lookups  []bench.Timing `json:"lookups"`

	// What concord bench prints of the ring by itself.
	Idle     []bench.Idle     `json:"idle"`
	IdleGRPC []bench.BareIdle `json:"idle_grpc"`
	Spans    []bench.Span     `json:"spans"`
	Churned  []bench.Churned  `json:"churn"`

	// Lookups of all members at once, and of a client that has subscribed.
	All        []bench.AllMembers `json:"all_members"`
	Subscribed []bench.Subscribed `json:"subscribed"`

	Failures  []failure     `json:"failures,omitempty"`
	TookTotal time.Duration `json:"took_ns"`
}

// failure is what could not be measured, and why.
type failure struct {
	Thing string `json:"thing"`
	Error string `json:"error"`
}

type version struct {
	Module  string `json:"module"`
	Version string `json:"version"`
}

// measured modules, in the order in which they are named.
var measured = []string{
	"google.golang.org/grpc", "github.com/hashicorp/memberlist", "github.com/hashicorp/serf",
	"github.com/serialx/hashring", "github.com/golang/groupcache",
}

// add takes a result that bench.Run or a process of ours has given.
func (r *results) add(result any) error {
	switch x := result.(type) {
	case bench.Machine:
	case bench.Idle:
		r.Idle = append(r.Idle, x)
	case bench.BareIdle:
		r.IdleGRPC = append(r.IdleGRPC, x)
	case bench.Span:
		r.Spans = append(r.Spans, x)
	case bench.Timing:
		r.Lookups = append(r.Lookups, x)
	case bench.Churned:
		r.Churned = append(r.Churned, x)
	case bench.AllMembers:
		r.All = append(r.All, x)
	case bench.Subscribed:
		r.Subscribed = append(r.Subscribed, x)
	case groupResult:
		r.Groups = append(r.Groups, x)
	default:
		return fmt.Errorf("a result of type %T", result)
	}
	return nil
}

func (r *results) merge(o results) {
	r.Groups = append(r.Groups, o.Groups...)
	r.Lookups = append(r.Lookups, o.Lookups...)
	r.Idle = append(r.Idle, o.Idle...)
	r.IdleGRPC = append(r.IdleGRPC, o.IdleGRPC...)
	r.Spans = append(r.Spans, o.Spans...)
	r.Churned = append(r.Churned, o.Churned...)
	r.All = append(r.All, o.All...)
	r.Subscribed = append(r.Subscribed, o.Subscribed...)
}

// plans say how much of everything is done.
type plans struct {
	sizes  []int
	group  groupPlan
	lookup lookupPlan
	ring   bench.Plan // of the ring by itself; Members and Parts are filled in
}

func thorough() plans {
	return plans{
		sizes: []int{8, 32, 64, 128, 256},
		// The connections of the joins, which are kept for 64 s, are still there.
		group:  groupPlan{Settle: 15 * time.Second, Watch: 30 * time.Second, Changes: 5, ChangeTime: 90 * time.Second, Limit: 3 * time.Minute},
		lookup: lookupPlan{Callers: []int{1, 16, 64}, Rounds: 7, Window: 400 * time.Millisecond},
		ring: bench.Plan{
			Interval: concord.DefaultStabilizeInterval, Settle: 45 * time.Second, Watch: 30 * time.Second,
			Changes: 20, ChangeTime: time.Minute, Builds: 3,
			Churn: bench.Churn{Members: 32, Interval: 200 * time.Millisecond, Every: 500 * time.Millisecond, Time: time.Minute, Rate: 50},
		},
	}
}

// quick is enough to see that everything works, and no figure to be shown.
func quick() plans {
	return plans{
		sizes:  []int{4, 8},
		group:  groupPlan{Settle: time.Second, Watch: time.Second, Changes: 1, ChangeTime: time.Minute, Limit: time.Minute},
		lookup: lookupPlan{Callers: []int{1, 16}, Rounds: 1, Window: 20 * time.Millisecond},
		ring: bench.Plan{
			Interval: 100 * time.Millisecond, Settle: time.Second, Watch: time.Second,
			Changes: 1, ChangeTime: time.Minute, Builds: 1,
			Churn: bench.Churn{Members: 8, Interval: 100 * time.Millisecond, Every: 500 * time.Millisecond, Time: 2 * time.Second, Rate: 20},
		},
	}
}

// limit bounds one process. The longest are many members that gossip: whoever
// misses the news waits for the next exchange of all that is known, which with 256
// members comes every two minutes.
const limit = 15 * time.Minute

// maxSaid is how much is repeated of what a process had to say before it failed:
// each of 256 members may have failed with words of its own.
const maxSaid = 2000

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	isQuick := flags.Bool("quick", false, "with little time: to see that it works, not for figures")
	sizes := flags.String("sizes", "", "numbers of members, separated by commas; the ring by itself is of the middle one\n(8,32,64,128,256)")
	only := flags.String("systems", "", "of the systems beside each other measure only these, separated by commas")
	from := flags.String("from", "", "measure nothing: read the results from this file")
	to := flags.String("json", "", "write the results to this file")
	docs := flags.String("docs", "", "write the page PERFORMANCE.md and plots/ in this folder")
	one := flags.String("one", "", "measure one thing and print it: what the command runs itself for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	p := thorough()
	if *isQuick {
		p = quick()
	}
	if *sizes != "" {
		var err error
		if p.sizes, err = sizesOf(*sizes); err != nil {
			return err
		}
	}
	chosen, err := systemsOf(*only)
	if err != nil {
		return err
	}
	if *one != "" {
		return p.one(ctx, *one, out)
	}
	var r results
	if *from != "" {
		r, err = readResults(*from)
	} else {
		r, err = p.all(ctx, chosen, *isQuick, progress)
	}
	if err != nil {
		return err
	}
	if *to != "" {
		if err := r.write(*to); err != nil {
			return err
		}
	}
	if *docs == "" {
		_, err := io.WriteString(out, page(r))
		return err
	}
	if *from == "" && len(r.Failures) > 0 {
		defer fmt.Fprintf(progress, "%d things could not be measured; the page says which\n", len(r.Failures))
	}
	if err := drawAll(r, filepath.Join(*docs, "plots")); err != nil {
		return err
	}
	return rewrite(filepath.Join(*docs, "PERFORMANCE.md"), page(r))
}

// sizesOf reads a list of numbers of members.
func sizesOf(list string) (sizes []int, err error) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 3 || n > 512 {
			return nil, fmt.Errorf("-sizes %q: use numbers from 3 to 512", s)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// systemsOf are the systems of a list of names, all if it is empty.
func systemsOf(list string) (chosen []system, err error) {
	if list == "" {
		return systems, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(systems, func(s system) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-systems %q: there is no such system", name)
		}
		chosen = append(chosen, systems[i])
	}
	return chosen, nil
}

// readResults reads what write wrote.
func readResults(name string) (r results, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// write writes the results to a file, whose directory it makes.
func (r *results) write(name string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // results are for all to read
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644) //nolint:gosec // as the directory
}

// all measures everything, one process after the other.
func (p plans) all(ctx context.Context, chosen []system, isQuick bool, progress io.Writer) (results, error) {
	began := time.Now()
	r := results{When: began.UTC().Format(time.DateOnly), Quick: isQuick, Machine: bench.ThisMachine(), Versions: versions()}
	largest := slices.Max(p.sizes)
	middle := p.sizes[len(p.sizes)/2]
	var things []string
	for _, n := range p.sizes {
		things = append(things, fmt.Sprintf("lookups:%d", n))
	}
	// The ring by itself, of the middle and the largest size.
	things = append(things, fmt.Sprintf("ring:%d", middle))
	if largest != middle {
		things = append(things, fmt.Sprintf("idle:%d", largest))
	}
	things = append(things, fmt.Sprintf("churn:%d", p.ring.Churn.Members))
	for _, n := range p.sizes {
		for _, s := range chosen {
			things = append(things, fmt.Sprintf("%s:%d", s.name, n))
		}
	}
	for i, thing := range things {
		fmt.Fprintf(progress, "%5.0f s  %d of %d: %s\n", time.Since(began).Seconds(), i+1, len(things), thing)
		o, err := inProcess(ctx, thing, isQuick)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err != nil { // an hour's figures are not thrown away for it
			fmt.Fprintf(progress, "         %v\n", err)
			r.Failures = append(r.Failures, failure{thing, err.Error()})
		}
		r.merge(o)
	}
	r.TookTotal = time.Since(began)
	return r, nil
}

// inProcess measures one thing in a process of its own.
func inProcess(ctx context.Context, thing string, isQuick bool) (results, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	exe, err := os.Executable()
	if err != nil {
		return results{}, err
	}
	args := []string{"-one", thing}
	if isQuick {
		args = append(args, "-quick")
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		said := strings.TrimSpace(errs.String())
		if len(said) > maxSaid {
			said = said[:maxSaid] + " …"
		}
		return results{}, fmt.Errorf("%w: %s", errors.Join(err, ctx.Err()), said)
	}
	var r results
	return r, json.Unmarshal(out, &r)
}

// one measures one thing and prints it as results.
func (p plans) one(ctx context.Context, thing string, out io.Writer) error {
	name, size, _ := strings.Cut(thing, ":")
	n, err := strconv.Atoi(size)
	if err != nil {
		return fmt.Errorf("-one %q: use WHAT:MEMBERS", thing)
	}
	var r results
	ring := p.ring
	ring.Members = n
	switch name {
	case "lookups":
		r.Lookups, err = p.lookup.measure(ctx, n)
	case "ring":
		ring.Parts = []string{bench.PartIdle, bench.PartMembers, bench.PartClient, bench.PartChanges}
		err = bench.Run(ctx, ring, r.add, nil)
	case bench.PartIdle:
		ring.Parts = []string{bench.PartIdle, bench.PartMembers}
		err = bench.Run(ctx, ring, r.add, nil)
	case bench.PartChurn:
		ring.Parts = []string{name}
		ring.Churn.Members = n
		err = bench.Run(ctx, ring, r.add, nil)
	default:
		i := slices.IndexFunc(systems, func(s system) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("-one %q: there is no such thing", thing)
		}
		var g groupResult
		g, err = p.group.measure(ctx, systems[i], n)
		r.Groups = []groupResult{g}
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// versions are those of the modules that are measured.
func versions() []version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	var out []version
	for _, path := range measured {
		for _, m := range info.Deps {
			if m.Path == path {
				out = append(out, version{m.Path, m.Version})
			}
		}
	}
	return out
}
