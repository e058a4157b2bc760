package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/explore"
)

type checkFlags struct {
	cfg                   explore.Config
	grain                 int
	start                 string
	assume                string
	memory                string
	joins, fails          string
	rules                 []string
	every                 bool
	json, progress        bool
	replay                string
	lost, doubled, flying bool // whether the flag was given
}

// errBroken ends the command after a violation has been told of.
var errBroken = errors.New("a rule is broken")

func newCheck() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Try every order of events in a small ring",
		Long: `Explore everything that can happen in a ring of a few members: joins, rounds,
failures, and every order of the requests and answers between them. It runs the
code that ships. Every state must keep the rules, and quiet rounds must lead
from every state to one ideal ring.

At grain 1, a request, its answer and the use of the answer are one step. At
grain 2 they are three steps. At grain 3 a message may also be lost or
duplicated.

A violation is printed step by step, with a command that prints it again. The
exit status is then 1.`,
		Example: `  concord check --members 5
  concord check --members 4 --grain 2 --start ring
  concord check --members 4 --assume nothing --joins 2 --fails 2
  concord check --members 4 --every`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set := cmd.Flags().Changed
			f.lost, f.doubled, f.flying = set("losses"), set("doubles"), set("in-flight")
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&f.cfg.Members, "members", 4, "number of identifiers, and so of members that can exist at the same time; 2 to 8")
	flags.IntVar(&f.cfg.Successors, "successors", 2, "length of a full successor list")
	flags.StringVar(&f.start, "start", "both", "ring (ideal, of successors+1), founder, or both; or every two rings: strangers (with nothing in common) or akin")
	flags.IntVar(&f.grain, "grain", 1, "what counts as one step: 1, 2 or 3")
	flags.StringVar(&f.assume, "assume", "zave", "when a member may fail: zave (all others keep a live successor, successors+1 principals remain), successor (the first only), or nothing")
	flags.StringVar(&f.memory, "memory", "abstract", "number of acquaintances of a member, or abstract for any")
	flags.StringVar(&f.joins, "joins", "any", "how many may join")
	flags.StringVar(&f.fails, "fails", "any", "how many may fail")
	flags.IntVar(&f.cfg.Restarts, "restarts", 0, "how many may restart under the same name; 0 to 3")
	flags.IntVar(&f.cfg.Leaves, "leaves", 0, "how many may leave")
	flags.BoolVar(&f.cfg.Drain, "drain", false, "those that leave stay unless another process acknowledges that it takes over")
	flags.IntVar(&f.cfg.Suspicions, "suspicions", 0, "how often a live member may be taken for dead")
	flags.IntVar(&f.cfg.Losses, "losses", 0, "number of messages that may be lost (at grain 3: 1)")
	flags.IntVar(&f.cfg.Doubles, "doubles", 0, "number of messages that may be duplicated (at grain 3: 1)")
	flags.IntVar(&f.cfg.InFlight, "in-flight", 0, "number of messages in flight at the same time; 0 for any (at grain 3: 4)")
	flags.BoolVar(&f.cfg.Pairs, "pairs", false, "each two opposite identifiers are those of one process, which fails at both at once")
	flags.BoolVar(&f.cfg.JoinsApart, "joins-apart", false, "at grain 1, divide a join into several steps")
	flags.BoolVar(&f.cfg.Takeover, "takeover", false, "joiners take over what they will own before they own it")
	flags.IntVar(&f.cfg.Quiet, "quiet", 30, "number of quiet rounds within which every state must become ideal; 0 to omit that")
	flags.StringSliceVar(&f.rules, "rules", nil, "rules to keep (default: those that hold)")
	flags.BoolVar(&f.every, "every", false, "begin with every weakly connected state instead, and run only quiet rounds")
	flags.IntVar(&f.cfg.MaxStates, "max-states", 0, "end after this many states; 0 for all states")
	flags.DurationVar(&f.cfg.Time, "time", 0, "end after this time; 0 for no limit")
	flags.StringVar(&f.replay, "replay", "", "print the steps of a trace again")
	flags.BoolVar(&f.json, "json", false, "end with one line of JSON")
	flags.BoolVar(&f.progress, "progress", false, "report progress even if standard error is not a terminal")
	return cmd
}

func (f *checkFlags) run(ctx context.Context, out, logs io.Writer) error {
	starts, err := f.parse()
	if err != nil {
		return err
	}
	if f.replay != "" {
		return f.retell(starts, out)
	}
	// The tables hold few pointers: collecting them often gains nothing.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	total := checkReport{Exhausted: true, Runs: []checkRun{}}
	var broken *explore.Violation
	for _, start := range starts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r := f.explore(ctx, start, logs)
		run := total.add(f.name(start), r)
		if !f.json {
			fmt.Fprintln(out, run.String(f.every))
		}
		if v := r.Violation; v != nil {
			broken = v
			fmt.Fprintf(out, "\nBroken: %s: %s\n\n%s", v.Rule, v.How, v.Story)
			if v.Trace != "" {
				fmt.Fprintf(out, "\nAgain:\n%s", f.command(start, v.Trace))
			}
		}
	}
	if f.json {
		line, err := json.Marshal(total)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", line)
	}
	switch {
	case broken != nil:
		return fmt.Errorf("%w: %s", errBroken, broken.Rule)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return nil
}

// explore explores all that can happen from one start.
func (f *checkFlags) explore(ctx context.Context, start explore.Start, logs io.Writer) explore.Result {
	cfg := f.from(start)
	if file, ok := logs.(*os.File); f.progress || ok && terminal(file) {
		began := time.Now()
		cfg.Progress = func(r explore.Result) {
			if time.Since(began) > 2*time.Second {
				fmt.Fprintf(logs, "%s states, %s waiting, %s transitions/s\n",
					grouped(r.States), grouped(r.Frontier), grouped(rate(r.Transitions, time.Since(began).Seconds())))
			}
		}
	}
	cfg.Stop = func() bool { return ctx.Err() != nil }
	if f.every {
		return explore.Every(cfg, 0, 1)
	}
	return explore.Run(cfg)
}

// from is the configuration with a start and, unless rules were named, those that hold.
func (f *checkFlags) from(start explore.Start) explore.Config {
	cfg := f.cfg
	cfg.Start = start
	if cfg.Rules == nil {
		cfg.Rules, cfg.Steps = explore.Holding(cfg), explore.HoldingSteps(cfg)
	}
	return cfg
}

// parse makes the flags a configuration, and says with what to start.
func (f *checkFlags) parse() ([]explore.Start, error) {
	cfg := &f.cfg
	cfg.Grain = explore.Grain(f.grain)
	var err error
	number := func(flag, s, word string, other int) int {
		if s == word {
			return other
		}
		n, e := strconv.Atoi(s)
		if e != nil || n < 0 || n > 254 {
			err = errors.Join(err, fmt.Errorf("--%s %s: use a number from 0 to 254, or %s", flag, s, word))
		}
		return n
	}
	cfg.Joins = number("joins", f.joins, "any", explore.Unlimited)
	cfg.Fails = number("fails", f.fails, "any", explore.Unlimited)
	cfg.Memory = number("memory", f.memory, "abstract", explore.Abstract)
	err = errors.Join(err, f.bounds())
	f.messageDefaults()
	starts := map[string][]explore.Start{"ring": {explore.Ring}, "founder": {explore.Founder}, "both": {explore.Ring, explore.Founder},
		"strangers": {explore.Strangers}, "akin": {explore.Akin}}[f.start]
	if starts == nil {
		err = errors.Join(err, fmt.Errorf("--start %s: use ring, founder, both, strangers or akin", f.start))
	}
	switch f.assume {
	case "zave":
		cfg.Assume = explore.Zave
	case "successor":
		cfg.Assume = explore.LiveSuccessor
	case "nothing":
		cfg.Assume = explore.Nothing
	default:
		err = errors.Join(err, fmt.Errorf("--assume %s: use zave, successor or nothing", f.assume))
	}
	if len(f.rules) > 0 {
		rules, e := explore.Named(f.rules)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("--rules: %w", e))
		}
		cfg.Rules = rules
	}
	if e := cfg.Validate(); e != nil {
		err = errors.Join(err, fmt.Errorf("--%w", e))
	}
	if f.every {
		starts = starts[:min(1, len(starts))]
	}
	if f.replay != "" && len(starts) > 1 {
		err = errors.Join(err, errors.New("--replay needs --start ring or --start founder"))
	}
	return starts, err
}

// bounds says which numbers are out of their bounds.
func (f *checkFlags) bounds() (err error) {
	cfg := &f.cfg
	for _, o := range []struct {
		flag string
		n    int
	}{
		{"leaves", cfg.Leaves}, {"suspicions", cfg.Suspicions}, {"losses", cfg.Losses}, {"doubles", cfg.Doubles},
		{"in-flight", cfg.InFlight},
	} {
		if o.n < 0 || o.n > 254 {
			err = errors.Join(err, fmt.Errorf("--%s %d: use a number from 0 to 254", o.flag, o.n))
		}
	}
	if cfg.MaxStates < 0 {
		err = errors.Join(err, fmt.Errorf("--max-states %d: use 0 or more", cfg.MaxStates))
	}
	if cfg.Time < 0 {
		err = errors.Join(err, fmt.Errorf("--time %v: use 0 or more", cfg.Time))
	}
	return err
}

// messageDefaults are those of grain 3, where messages are lost and doubled.
func (f *checkFlags) messageDefaults() {
	if f.cfg.Grain != explore.Messages {
		return
	}
	if !f.lost {
		f.cfg.Losses = 1
	}
	if !f.doubled {
		f.cfg.Doubles = 1
	}
	if !f.flying {
		f.cfg.InFlight = 4
	}
}

func (f *checkFlags) retell(starts []explore.Start, out io.Writer) error {
	told, broken, err := explore.Replay(f.from(starts[0]), f.replay)
	fmt.Fprint(out, told)
	switch {
	case err != nil:
		return fmt.Errorf("--replay: %w", err)
	case broken != nil:
		fmt.Fprintf(out, "\nBroken: %s: %s\n", broken.Rule, broken.How)
		return fmt.Errorf("%w: %s", errBroken, broken.Rule)
	}
	return nil
}

func (f *checkFlags) name(s explore.Start) string {
	if f.every {
		return "every"
	}
	return map[explore.Start]string{explore.Ring: "ring", explore.Founder: "founder", explore.Strangers: "strangers", explore.Akin: "akin"}[s]
}

// command is what tells a story again, in lines that fit.
func (f *checkFlags) command(start explore.Start, trace string) string {
	c := &f.cfg
	args := []string{
		fmt.Sprintf("--members %d", c.Members), fmt.Sprintf("--successors %d", c.Successors), "--start " + f.name(start),
		fmt.Sprintf("--grain %d", c.Grain), "--assume " + f.assume, "--memory " + f.memory,
		"--joins " + f.joins, "--fails " + f.fails,
	}
	for _, o := range []struct {
		flag string
		n    int
	}{
		{"restarts", c.Restarts}, {"leaves", c.Leaves}, {"suspicions", c.Suspicions},
		{"losses", c.Losses}, {"doubles", c.Doubles}, {"in-flight", c.InFlight}, {"quiet", c.Quiet},
	} {
		args = append(args, fmt.Sprintf("--%s %d", o.flag, o.n))
	}
	if c.Pairs {
		args = append(args, "--pairs")
	}
	if c.Drain {
		args = append(args, "--drain")
	}
	if c.Takeover {
		args = append(args, "--takeover")
	}
	if c.JoinsApart {
		args = append(args, "--joins-apart")
	}
	if len(f.rules) > 0 {
		args = append(args, "--rules "+strings.Join(f.rules, ","))
	}
	var b strings.Builder
	line := "  concord check"
	for _, a := range args {
		if len(line)+len(a)+3 > 78 {
			b.WriteString(line + " \\\n")
			line = "     "
		}
		line += " " + a
	}
	b.WriteString(line + " \\\n      --replay '")
	for i, step := range strings.SplitAfter(trace, ".") {
		if i > 0 && i%8 == 0 {
			b.WriteString("'\\\n'")
		}
		b.WriteString(step)
	}
	b.WriteString("'\n")
	return b.String()
}
