package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/sim/balancesim"
)

func newSimBalance() *cobra.Command {
	var c balancesim.Config
	var members string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "balance",
		Short: "Let members choose their identifiers, and compare shares",
		Long: `Let members with several identifiers each join one after another, each choosing
where to stand by the rule of internal/balance. Their shares of the circle are
compared with those of members at the hashes of their names (plain).

Each seed is a set of everyday names: node-N, pod-N, host-N.example.com or UUIDs.
Rings of every size in --members are judged: by the largest share of a member
divided by what its weight makes fair. In rings of 2^k members, and of the
smallest and the largest size, half of the members are then replaced, one after
another. After each join and leave, members that have much more than is fair
choose up to four identifiers anew. The keys that a join or a leave moves are
those of that member, divided by what is fair for it.`,
		Example: `  concord sim balance --members 3..256 --virtual-nodes 16 --seeds 1000 --json
  concord sim balance --weights 1,2,4 --seeds 100`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if c.From, c.To, err = parseSizes(members); err != nil {
				return err
			}
			if c.Seeds < 1 {
				return fmt.Errorf("--seeds %d: use at least 1", c.Seeds)
			}
			out := cmd.OutOrStdout()
			if asJSON {
				out = cmd.ErrOrStderr()
			}
			var bar *benchProgress
			if file, ok := cmd.ErrOrStderr().(*os.File); ok && terminal(file) {
				bar = newBenchProgress(file)
			}
			r, err := balancesim.Run(c, func(done int) {
				if bar != nil {
					bar.set(float64(done)/float64(c.Seeds), fmt.Sprintf("%d of %s", done, plural(c.Seeds, "seed")))
				}
			})
			if bar != nil {
				bar.end()
			}
			if err != nil {
				return err
			}
			printBalance(out, r)
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&members, "members", "3..256", "sizes of rings that are judged, the smallest and the largest")
	flags.IntVar(&c.Weight, "virtual-nodes", 16, "identifiers of each member")
	flags.IntSliceVar(&c.Weights, "weights", []int{1}, "by how much members multiply --virtual-nodes, in turn")
	flags.IntVar(&c.Seeds, "seeds", 20, "number of name sets, beginning with --seed")
	flags.Uint64Var(&c.Seed, "seed", 0, "the first name set")
	flags.IntVar(&c.AtOnce, "parallel", 0, "number of name sets under way at the same time (default: one a processor)")
	flags.BoolVar(&asJSON, "json", false, "end with a line of JSON; report on standard error")
	return cmd
}

// parseSizes reads the smallest and the largest size, or one that is both.
func parseSizes(s string) (from, to int, err error) {
	a, b, several := strings.Cut(s, "..")
	if !several {
		b = a
	}
	from, err1 := strconv.Atoi(a)
	to, err2 := strconv.Atoi(b)
	if err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("--members %q: use two numbers, as in 3..256", s)
	}
	return from, to, nil
}

func printBalance(out io.Writer, r *balancesim.Result) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-22s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("rings", "%d name sets, %d to %d members with %d identifiers each, times %s in turn",
		r.Seeds, r.From, r.To, r.Weight, strings.Trim(fmt.Sprint(r.Weights), "[]"))
	fmt.Fprintf(out, "\nLargest share of a member, by what is fair for it: median / 99 %%\n\n")
	fmt.Fprintf(out, "%-22s %-15s %s\n", "members", "chosen", "plain")
	for _, s := range r.Sizes {
		line(strconv.Itoa(s.Members), "%.3f / %.3f   %.3f / %.3f", s.P50, s.P99, s.Plain50, s.Plain99)
	}
	fmt.Fprintln(out)
	for _, of := range []struct {
		name string
		f    *balancesim.Figures
	}{{"chosen", &r.Figures}, {"plain", &r.Plain}} {
		f := of.f
		fmt.Fprintf(out, "%s\n", of.name)
		line("  all sizes", "median %.3f, 99 %% %.3f, largest %.3f; of one size 99 %% at most %.3f (%d members)",
			f.MaxMeanP50, f.MaxMeanP99, f.MaxMeanMax, f.WorstP99, f.WorstSize)
		line("  half replaced", "median %.3f, 99 %% %.3f, largest %.3f", f.ReplacedP50, f.ReplacedP99, f.ReplacedMax)
		line("  moved by a join", "at most %.3f of the fair share", f.MovedJoinMax)
		line("  moved by a leave", "median %.3f, 99 %% %.3f, at most %.3f", f.MovedLeaveP50, f.MovedLeaveP99, f.MovedLeaveMax)
		if f.ClassP99 > 0 {
			line("  all of one weight", "at most %.1f %% off, 99 %% of the name sets", 100*f.ClassP99)
		}
	}
	line("\nchosen anew", "%.2f identifiers for each join and leave; %.1f %% more keys moved", r.Rechosen, 100*r.MovedRechosen)
	line("time", "%.0f s", r.Seconds)
}
