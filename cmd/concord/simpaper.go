package main

import (
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/sim/study"
)

func newSimPaper() *cobra.Command {
	var f simFlags
	var o study.PaperOptions
	cmd := &cobra.Command{
		Use:   "paper",
		Short: "Repeat experiments of the paper on Chord, beside its figures",
		Long: `Repeat experiments of the paper on Chord (IEEE/ACM Transactions on Networking
11(1), 2003) with the code that ships:

  path lengths   figure 10: members asked in a lookup by a member that has not
                 looked up anything before, in rings of 8 to --largest members
  half fail      table II: of 1,000 members with 20 successors a share fails at
                 once, and 10,000 lookups follow
  churn          table III: 1,000 members come and go while lookups run, rounds
                 of 30 s

"textbook" is routing as described in the paper, with successors and the owners
of self + 2^i. It is static: failures are found by time-outs, and nothing is
repaired. "concord" is the code that ships. In tables II and III it runs in
simulated time, so it repairs the ring while the lookups run. The member that
looks up a key is not counted as asked.

A ring of a million takes 11 GiB and some minutes.`,
		Example: `  concord sim paper
  concord sim paper --largest 1048576 --lookups 1000000 --grown 65536`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Largest < 8 || o.Largest > 1<<22 || o.Lookups < 100 || o.Grown < 0 || o.Grown > 1<<20 {
				return errors.New("--largest 8 to 4194304, --lookups at least 100, --grown 0 to 1048576")
			}
			o.Successors, o.Seed = f.successors, f.seed
			all, err := study.RunPaper(o, f.output(cmd))
			if err != nil {
				return err
			}
			if f.svg != "" {
				for name, plot := range all.Plots(o) {
					if err := drawTo(filepath.Join(f.svg, name), plot); err != nil {
						return err
					}
				}
			}
			return f.finish(cmd, 0, all)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.successors, "successors", 3, "length of a full successor list in figure 10")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of everything that is random")
	flags.BoolVar(&f.json, "json", false, "end with a line of JSON; report on standard error")
	flags.StringVar(&f.svg, "svg", "", "draw the plots into this directory")
	flags.IntVar(&o.Largest, "largest", 1<<14, "members of the largest ring of figure 10")
	flags.IntVar(&o.Grown, "grown", 1<<12, "also let a ring grow by joins to this many members; 0 to omit that")
	flags.IntVar(&o.Lookups, "lookups", 20_000, "lookups in each ring of figure 10")
	return cmd
}
