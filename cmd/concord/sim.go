package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/sim"
	"github.com/ollelogdahl/concord/internal/svg"
)

// shrinkRuns bounds the runs made to find a smaller one that fails.
const shrinkRuns = 300

// simFlags are those that every simulation has.
type simFlags struct {
	members    int
	successors int
	interval   time.Duration
	latency    string
	seeds      int
	seed       uint64
	bound      int
	noFingers  bool
	json       bool
	svg        string
	progress   bool
	atOnce     int
}

func (f *simFlags) register(cmd *cobra.Command, members, seeds int) {
	flags := cmd.Flags()
	flags.IntVar(&f.members, "members", members, "members at the start")
	flags.IntVar(&f.successors, "successors", 3, "length of a full successor list")
	flags.DurationVar(&f.interval, "interval", time.Second, "length of a round")
	flags.StringVar(&f.latency, "latency", "", "one way: uniform:1ms-20ms (the default), constant:1ms, lognormal:20ms-60ms, pareto:10ms-2s, distance:1ms-150ms")
	flags.IntVar(&f.seeds, "seeds", seeds, "number of seeds, beginning with --seed or 0")
	flags.Uint64Var(&f.seed, "seed", 0, "the first seed; without --seeds the only one")
	flags.IntVar(&f.bound, "bound", sim.DefaultBound, "number of rounds within which a ring must be ideal")
	flags.BoolVar(&f.noFingers, "no-fingers", false, "use no fingers")
	flags.BoolVar(&f.json, "json", false, "end with a line of JSON; report on standard error")
	flags.StringVar(&f.svg, "svg", "", "draw a plot to this file")
	flags.BoolVar(&f.progress, "progress", false, "report progress on standard error even if it is not a terminal")
	flags.IntVar(&f.atOnce, "parallel", runtime.GOMAXPROCS(0), "number of seeds that run at the same time")
	flags.Lookup("parallel").DefValue = "one a processor"
}

// config is what the flags say. Whether one seed is wanted depends on which
// were given.
func (f *simFlags) config(cmd *cobra.Command) (sim.Config, error) {
	c := sim.Config{
		Members: f.members, Successors: f.successors, Interval: f.interval,
		Bound: f.bound, NoFingers: f.noFingers,
	}
	if cmd.Flags().Changed("seed") && !cmd.Flags().Changed("seeds") {
		f.seeds = 1
	}
	var errs []error
	for _, o := range []struct {
		flag string
		n    int
	}{{"members", f.members}, {"successors", f.successors}, {"seeds", f.seeds}, {"bound", f.bound}, {"parallel", f.atOnce}} {
		if o.n < 1 {
			errs = append(errs, fmt.Errorf("--%s %d: use at least 1", o.flag, o.n))
		}
	}
	if f.interval <= 0 {
		errs = append(errs, fmt.Errorf("--interval %v: use at least 10ms", f.interval))
	}
	if len(errs) > 0 {
		return c, errors.Join(errs...)
	}
	if f.latency != "" {
		var err error
		if c.Latency, err = sim.ParseLatency(f.latency); err != nil {
			return c, err
		}
	}
	return c, nil
}

// output is where the story goes: not where the JSON does.
func (f *simFlags) output(cmd *cobra.Command) io.Writer {
	if f.json {
		return cmd.ErrOrStderr()
	}
	return cmd.OutOrStdout()
}

// runAll runs the seeds of one configuration. A run that fails is made smaller
// and told.
func (f *simFlags) runAll(cmd *cobra.Command, cfg sim.Config) (*sim.Summary, error) {
	sum, err := sim.Summarize(cfg)
	if err != nil {
		return nil, err
	}
	if os.Getenv("GOGC") == "" {
		// Much is made and dropped, and a small ring is little to keep.
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(8 << 30) // from here on, care
	}
	began := time.Now()
	var bar *benchProgress
	if file, ok := cmd.ErrOrStderr().(*os.File); ok && terminal(file) {
		bar = newBenchProgress(file)
		bar.set(0, plural(f.seeds, "seed"))
	}
	var failed *sim.Result
	var traces []uint64
	err = sim.RunMany(cfg, f.seed, f.seeds, f.atOnce, func(r sim.Result) {
		sum.Add(r)
		traces = append(traces, r.Trace)
		if len(r.Violations) > 0 && failed == nil {
			failed = &r
		}
		if bar != nil {
			bar.set(float64(sum.Seeds)/float64(f.seeds), fmt.Sprintf("%d of %s, %d with a violation", sum.Seeds, plural(f.seeds, "seed"), sum.Violations))
		} else if f.progress {
			fmt.Fprintf(cmd.ErrOrStderr(), "\r%d of %d seeds, %d with a violation, %v ", sum.Seeds, f.seeds, sum.Violations, time.Since(began).Round(time.Second))
		}
	})
	if bar != nil {
		bar.end()
	} else if f.progress {
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	if err != nil {
		return nil, err
	}
	sum.Seconds = time.Since(began).Seconds()
	if len(traces) == 1 {
		sum.Trace = fmt.Sprintf("%016x", traces[0])
	}
	if failed != nil {
		return sum, f.explain(f.output(cmd), cfg, failed)
	}
	return sum, nil
}

// explain makes a failing run smaller and tells its story.
func (f *simFlags) explain(out io.Writer, cfg sim.Config, failed *sim.Result) error {
	fmt.Fprintf(out, "Seed %d: %v\n", failed.Seed, failed.Violations[0])
	small, r, err := sim.Shrink(cfg, failed.Seed, shrinkRuns)
	if err != nil {
		return err
	}
	if len(r.Violations) == 0 {
		return nil
	}
	fmt.Fprintf(out, "\nThe smallest run found that breaks the same rule: %v\nIts last moments:\n\n", r.Violations[0])
	for _, line := range r.Story[max(0, len(r.Story)-40):] {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "\nTo run it again:\n\n  concord sim %s --tell\n\n", strings.Join(f.arguments(small, failed.Seed), " "))
	return nil
}

// arguments are the command line of one run.
func (f *simFlags) arguments(c sim.Config, seed uint64) []string {
	out := []string{
		"--seed", strconv.FormatUint(seed, 10), "--members", strconv.Itoa(c.Members), "--successors", strconv.Itoa(c.Successors),
		"--interval", c.Interval.String(), "--start", c.Start, "--warmup", c.Warmup.String(), "--duration", c.Duration.String(),
		"--faults", c.Faults.String(), "--lookups", strconv.FormatFloat(c.Lookups, 'g', -1, 64), "--bound", strconv.Itoa(c.Bound),
	}
	if len(c.Actions) > 0 || c.Actions != nil && c.Faults != 0 {
		var list []string
		for _, a := range c.Actions {
			list = append(list, strconv.Itoa(a))
		}
		out = append(out, "--actions", `"`+strings.Join(list, ",")+`"`)
	}
	if c.Split > 0 {
		out = append(out, "--split", c.Split.String())
	}
	if c.Sessions.Mean > 0 {
		out = append(out, "--session", c.Sessions.Mean.String(), "--shape", strconv.FormatFloat(c.Sessions.Shape, 'g', -1, 64),
			"--polite", strconv.FormatFloat(c.Sessions.Polite, 'g', -1, 64))
	}
	if f.latency != "" {
		out = append(out, "--latency", f.latency)
	}
	if c.Clients != 0 {
		out = append(out, "--clients", strconv.Itoa(c.Clients))
	}
	if c.MinMembers > 0 {
		out = append(out, "--min-members", strconv.Itoa(c.MinMembers))
	}
	if c.Takeover > 0 {
		out = append(out, "--takeover", c.Takeover.String())
	}
	if c.Hostile > 0 {
		out = append(out, "--hostile", strconv.FormatFloat(c.Hostile, 'g', -1, 64), "--lies", c.Lies.String())
	}
	if len(c.Identifiers) > 0 {
		out = append(out, "--identifiers", strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Identifiers), " ", ","), "[]"))
	}
	if c.Identity {
		out = append(out, "--identity")
	}
	if c.NoFingers {
		out = append(out, "--no-fingers")
	}
	if c.Maps {
		out = append(out, "--maps")
	}
	return out
}

func newSim() *cobra.Command {
	var f simFlags
	var faults, start, actions, lies string
	var warmup, duration, split, session, takeover time.Duration
	var lookups, shape, polite, hostile float64
	var clients, minMembers int
	var identifiers []int
	var tell, identity, maps bool
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run rings on virtual time, with faults, and see that they heal",
		Long: `Run the protocol and the lookups that ship on a simulated network in simulated
time. A seed determines a run, bit for bit. Each run injects faults for
--duration while lookups run. Then the faults end, and the ring must become
ideal (every pointer exactly right) within --bound rounds and stay so, and every
lookup must be right. A run that fails is shrunk and printed as a command. The
exit status is not 0 if a run failed. All times are in simulated time.

Faults (--faults: a list separated by commas, or all, or none):
` + faultHelp() + `
What hostile members do (--hostile, --lies: as --faults):
` + lieHelp() + `
After the faults hostile members go on for a while. With --identity the honest
ones must stand right among themselves meanwhile. Then the hostile members end.

States in which a run begins (--start; the default is ideal):
` + stateHelp(),
		Example: `  concord sim --members 64 --seeds 100 --faults all
  concord sim --members 64 --seed 7 --faults loss,crash --duration 30s --json`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.config(cmd)
			if err != nil {
				return err
			}
			if c.Faults, err = sim.ParseFaults(faults); err != nil {
				return err
			}
			c.Start, c.Warmup, c.Duration, c.Split, c.Lookups, c.Tell = start, warmup, duration, split, lookups, tell
			c.Identifiers = identifiers
			c.Clients, c.MinMembers, c.Hostile, c.Identity, c.Maps, c.Takeover = clients, minMembers, hostile, identity, maps, takeover
			if c.Lies, err = sim.ParseLies(lies); err != nil {
				return err
			}
			c.Sessions = sim.Sessions{Mean: session, Shape: shape, Polite: polite}
			if cmd.Flags().Changed("actions") {
				c.Actions = []int{}
				for s := range strings.SplitSeq(actions, ",") {
					if s = strings.TrimSpace(s); s == "" {
						continue
					}
					n, err := strconv.Atoi(s)
					if err != nil {
						return fmt.Errorf("--actions %q: use numbers and commas", actions)
					}
					c.Actions = append(c.Actions, n)
				}
			}
			if tell {
				return f.tell(cmd, c)
			}
			return f.report(cmd, c)
		},
	}
	f.register(cmd, 64, 20)
	flags := cmd.Flags()
	flags.StringVar(&faults, "faults", "all", "which faults are made")
	flags.StringVar(&start, "start", "ideal", "state in which a run begins")
	flags.DurationVar(&warmup, "warmup", 0, "how long the ring is left alone before the faults")
	flags.DurationVar(&duration, "duration", time.Minute, "how long the faults last")
	flags.DurationVar(&split, "split", 0, "also cut the ring into halves for this long, at the beginning")
	flags.DurationVar(&session, "session", 0, "also let members come and go: mean stay")
	flags.Float64Var(&lookups, "lookups", 0, "lookups in a round, all members together (default: one for four members; below 0: none)")
	flags.IntVar(&clients, "clients", 0, "processes that do an eighth of the lookups and are no members (default: one for 16 members, at most 64, if there are faults; below 0: none)")
	flags.IntVar(&minMembers, "min-members", 0, "members that must be known to live for a member to serve, at most one more than --successors")
	flags.IntSliceVar(&identifiers, "identifiers", nil, "at how many identifiers the processes stand, in turn, such as 1,4,16; each counts in --members")
	flags.DurationVar(&takeover, "takeover", 0, "let joiners take over before they own, for at most so long")
	flags.Float64Var(&hostile, "hostile", 0, "share of the processes that lie, replay and flood, from 0 to 0.5")
	flags.StringVar(&lies, "lies", "all", "what hostile members do")
	flags.BoolVar(&identity, "identity", false, "bind names and addresses to who sends, as certificates do")
	flags.Float64Var(&shape, "shape", 0.6, "shape of the distribution of stays")
	flags.Float64Var(&polite, "polite", 0, "share of members that leave instead of crashing, from 0 to 1")
	flags.StringVar(&actions, "actions", "", "inject only these faults, by their numbers in --tell")
	flags.BoolVar(&maps, "maps", false, "let every member keep a map of the ring, and judge what it says")
	flags.BoolVar(&tell, "tell", false, "run one seed and print everything that happens in it")
	cmd.AddCommand(newSimHeal(), newSimMerge(), newSimChurn(), newSimPaper(), newSimMap(), newSimBalance(), newSimLeases())
	for _, c := range append(cmd.Commands(), cmd) {
		c.RunE = interruptible(c.RunE)
	}
	return cmd
}

// interruptible lets a command end at once when its context does: a run, which
// may take minutes, does not look at it. It is left behind.
func interruptible(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ended := make(chan error, 1)
		go func() { ended <- run(cmd, args) }()
		select {
		case err := <-ended:
			return err
		case <-cmd.Context().Done():
			return errors.New("interrupted")
		}
	}
}

func lieHelp() string {
	var b strings.Builder
	for _, k := range sim.LieKinds {
		fmt.Fprintf(&b, "  %-13s %s\n", k.Name, strings.ReplaceAll(wrap(k.Does, 63), "\n", "\n                "))
	}
	return b.String()
}

func faultHelp() string {
	var b strings.Builder
	for _, k := range sim.FaultKinds {
		fmt.Fprintf(&b, "  %-10s %s\n", k.Name, strings.ReplaceAll(wrap(k.Does, 66), "\n", "\n             "))
	}
	return b.String()
}

func stateHelp() string {
	var b strings.Builder
	for _, s := range sim.States {
		fmt.Fprintf(&b, "  %-13s %s\n", s.Name, strings.ReplaceAll(wrap(s.Says, 63), "\n", "\n                "))
	}
	return b.String()
}

// wrap breaks a text into lines of at most width.
func wrap(s string, width int) string {
	var b strings.Builder
	n := 0
	for word := range strings.FieldsSeq(s) {
		if n > 0 && n+1+len(word) > width {
			b.WriteByte('\n')
			n = 0
		} else if n > 0 {
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}

// tell runs one seed and prints all of it.
func (f *simFlags) tell(cmd *cobra.Command, c sim.Config) error {
	r, err := sim.Run(c, f.seed)
	if err != nil {
		return err
	}
	out := f.output(cmd)
	for _, line := range r.Story {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "\nrounds to ideal %.2f, trace %016x\n", r.Rounds, r.Trace)
	return f.finish(cmd, min(len(r.Violations), 1), r)
}

// finish prints the JSON and says whether anything was wrong.
func (f *simFlags) finish(cmd *cobra.Command, violations int, result any) error {
	if f.json {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(result); err != nil {
			return err
		}
	}
	if violations > 0 {
		return fmt.Errorf("sim: %d of the runs failed", violations)
	}
	return nil
}

// draw writes a plot to the file of --svg.
func (f *simFlags) draw(p *svg.Plot) error {
	if f.svg == "" {
		return nil
	}
	return drawTo(f.svg, p)
}

// drawTo writes a plot to a file, whose directory it makes.
func drawTo(name string, p *svg.Plot) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // a plot is for all to read
		return err
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(p.Write(file), file.Close())
}

func printSummary(out io.Writer, s *sim.Summary) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("runs", "%d of %d members, start %s, %v of virtual time", s.Seeds, s.Members, s.Start, s.Virtual.Round(time.Second))
	line("faults made", "%d", s.FaultsMade)
	if s.Lookups > 0 {
		line("lookups in faults", "%d: %.2f %% failed, %.2f %% named another than the owner", s.Lookups,
			100*float64(s.Errors)/float64(s.Lookups), 100*float64(s.Wrong)/float64(s.Lookups))
	}
	line("rounds to ideal", "median %.1f, 99 %% %.1f, worst %.1f (seed %d)", s.RoundsMedian, s.Rounds99, s.RoundsMax, s.WorstSeed)
	if s.Apart > 0 {
		line("apart", "%d runs ended in rings that know nothing of each other", s.Apart)
	}
	if m := s.Maps; m != (sim.MapCount{}) {
		line("lookups in maps", "%d: %.2f %% not known, %.2f %% named another than the owner", m.Right+m.Wrong+m.Asked,
			100*float64(m.Asked)/float64(m.Right+m.Wrong+m.Asked), 100*float64(m.Wrong)/float64(m.Right+m.Wrong+m.Asked))
	}
	if s.After > 0 {
		line("lookups then", "%d, all judged: %.2f members asked on average, at most %d", s.After, s.HopsTo, s.Most)
		line("idle", "%.2f messages per member and round, and %.2f for fingers", s.Idle, s.IdleFinger)
	}
	if g := s.Siege; g != nil {
		line("siege", "%d messages of hostile members and their lies, %d refused as in another's name; %d honest members lost", g.Lies, g.Refused, g.Lost)
		line("", "honest members stood right after %.0f rounds at most, and then at %.2f %% of %d looks", g.Rounds, 100-100*float64(g.Skipping)/float64(max(1, g.Looks)), g.Looks)
		for _, n := range []struct {
			name string
			of   sim.LookupCount
		}{{"plain", g.Plain}, {"fresh", g.Fresh}, {"verified", g.Verified}} {
			if k := float64(n.of.Count); k > 0 {
				line("lookups, "+n.name, "%d: %.2f %% failed, %.2f %% named another than the owner; %.2f members asked on average", n.of.Count,
					100*float64(n.of.Errors)/k, 100*float64(n.of.Wrong)/k, float64(n.of.Hops)/k)
			}
		}
	}
	if s.Trace != "" {
		line("trace", "%s", s.Trace)
	}
	line("violations", "%d", s.Violations)
	line("time", "%.1f s, %.0f events/s", s.Seconds, float64(s.Events)/max(s.Seconds, 1e-9))
}
