package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/sim"
	"github.com/ollelogdahl/concord/internal/sim/mapsim"
)

func newSimMap() *cobra.Command {
	var c mapsim.Config
	var latency string
	var seed uint64
	var seeds int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "map",
		Short: "Keep maps of a ring in every member, and judge what they answer",
		Long: `Let every member keep a map of the whole ring while members come and go, messages
are lost and the ring is cut. Random members look random keys up in their maps,
and the answers are compared with the truth at that instant. Below the maps is
an abstract ring: who owns what is given, and neighbours notice changes after a
while. In the end nobody comes or goes, and all maps must be those of the ring.

A run of 10,000 members takes 1.5 s or more for each second that it simulates:
five minutes at least for the default of three, and about 3 GB. About every ten
seconds it tells on standard error how far it is.`,
		Example: `  concord sim map --members 10000 --session 1h --loss 0.01
  concord sim map --members 64 --identifiers 16 --session 10m --duration 10m
  concord sim map --members 64 --session 10m --duration 1h --json`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if latency != "" {
				var err error
				if c.Latency, err = sim.ParseLatency(latency); err != nil {
					return err
				}
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(200)
			}
			out := cmd.OutOrStdout()
			if asJSON {
				out = cmd.ErrOrStderr()
			}
			violations := 0
			for i := range seeds {
				c.Progress = mapProgress(cmd.ErrOrStderr(), &c, seed+uint64(i), time.Now)
				var bar *benchProgress
				if file, ok := cmd.ErrOrStderr().(*os.File); ok && terminal(file) {
					bar = newBenchProgress(file)
					c.Progress = func(share float64) {
						bar.set(share, fmt.Sprintf("seed %d, the %d. of %d", seed+uint64(i), i+1, seeds))
					}
				}
				r, err := mapsim.Run(c, seed+uint64(i))
				if bar != nil {
					bar.end()
				}
				if err != nil {
					return err
				}
				printMap(out, &r)
				if violations += len(r.Violations); !asJSON {
					continue
				}
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(r); err != nil {
					return err
				}
			}
			if violations > 0 {
				return errors.New("sim: the maps are not those of the ring")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&c.Members, "members", 10_000, "members at the start")
	flags.IntVar(&c.Identifiers, "identifiers", 1, "identifiers of each member")
	flags.DurationVar(&c.Interval, "interval", time.Second, "length of a round")
	flags.DurationVar(&c.Duration, "duration", 3*time.Minute, "how long members come and go")
	flags.DurationVar(&c.Session, "session", time.Hour, "how long members stay on average; 0: none comes or goes")
	flags.Float64Var(&c.Loss, "loss", 0, "share of messages that are lost")
	flags.Float64Var(&c.Silent, "silent", 0, "share of crashes that break no connection")
	flags.StringVar(&latency, "latency", "", "one way: uniform:200us-1ms (the default), or as in concord sim")
	flags.Float64Var(&c.Lookups, "lookups", 1000, "lookups a second, all members together")
	flags.DurationVar(&c.Cut, "cut", 0, "cut the ring into halves for this long")
	flags.IntVar(&c.Clients, "clients", 0, "clients that subscribe at members and move from one to another")
	flags.Float64Var(&c.Drops, "drops", 0, "share of messages to clients that are left out")
	flags.IntVar(&c.Hasty, "hasty", 0, "members that have a tenth of the interval")
	flags.IntVar(&c.Limit, "limit", 0, "members that a map keeps (default: 16384)")
	flags.IntVar(&seeds, "seeds", 1, "number of seeds, beginning with --seed")
	flags.Uint64Var(&seed, "seed", 0, "the first seed")
	flags.BoolVar(&asJSON, "json", false, "print lines of JSON; report on standard error")
	return cmd
}

// mapProgressEvery is how often a run tells how far it is, where no line can be drawn anew.
const mapProgressEvery = 10 * time.Second

// mapProgress tells on out how much of a run has been simulated.
func mapProgress(out io.Writer, c *mapsim.Config, seed uint64, clock func() time.Time) func(share float64) {
	began := clock()
	last := began
	return func(share float64) {
		now := clock()
		if now.Sub(last) < mapProgressEvery {
			return
		}
		last = now
		if share >= 1 {
			fmt.Fprintf(out, "seed %d: all is simulated, maps settle, after %s\n", seed, short(now.Sub(began)))
			return
		}
		whole := c.Duration + mapsim.Warmup*c.Interval
		fmt.Fprintf(out, "seed %d: %v of %v simulated after %s\n", seed,
			time.Duration(share*float64(whole)).Round(100*time.Millisecond), whole, short(now.Sub(began)))
	}
}

func printMap(out io.Writer, r *mapsim.Result) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("run", "%d members at %d identifiers for %v, seed %d: %d joined, %d crashed",
		r.Members, r.Identifiers, r.Duration, r.Seed, r.Joins, r.Deaths)
	if n := r.Right + r.Wrong + r.Asked; n > 0 {
		line("lookups", "%d: %.3f %% from memory, %.4f %% of these wrong", n,
			100*float64(r.Right+r.Wrong)/float64(n), 100*float64(r.Wrong)/float64(max(1, r.Right+r.Wrong)))
		line("the others", "%.3f %% not known or in doubt, %.3f %% known from too long ago",
			100*float64(r.Unknown)/float64(n), 100*float64(r.Old)/float64(n))
		line("age of answers", "median %.1f intervals, 99 %% %.1f", r.AgeMedian, r.Age99)
	}
	line("whole circle", "certain as of %.1f intervals ago, median; 99 %% %.1f", r.CircleMedian, r.Circle99)
	if r.JoinMost > 0 {
		line("known to all", "joins: median %v, most %v; crashes: %v, %v", r.JoinMedian, r.JoinMost, r.DeathMedian, r.DeathMost)
	}
	line("each member sends", "%.2f messages and %.0f bytes a second: %.0f to push, %.0f to ask, %.0f to compare, %.0f in answers",
		r.Messages, r.Bytes, r.Of["push"], r.Of["ask"], r.Of["compare"], r.Of["reply"])
	if n := r.ClientMemory + r.ClientAsked; n > 0 {
		line("clients", "%d lookups: %.2f %% from memory; %d subscriptions begun anew", n, 100*float64(r.ClientMemory)/float64(n), r.Restarts)
	}
	line("settled", "%.0f intervals after the last change", r.Settled)
	for _, v := range r.Violations {
		line("violation", "%s", v)
	}
	line("time", "%.1f s, %d events", r.Seconds, r.Events)
}
