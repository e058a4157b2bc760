package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/sim"
	"github.com/ollelogdahl/concord/internal/sim/study"
)

func newSimHeal() *cobra.Command {
	var f simFlags
	var only string
	var sizes []int
	var with string
	cmd := &cobra.Command{
		Use:   "heal",
		Short: "Let members in bad states heal, and count the rounds",
		Long: `Put members into each bad state of concord sim --help, or into those of
--states, leave them alone, and count the rounds until they are one ideal ring.
With --faults, faults are injected during the first 20 rounds.`,
		Example: `  concord sim heal --seeds 1000 --sizes 64 --states random`,
		Args:    flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := f.config(cmd)
			if err != nil {
				return err
			}
			if base.Faults, err = sim.ParseFaults(with); err != nil {
				return err
			}
			if base.Faults != 0 {
				base.Duration = 20 * f.interval
			}
			names, err := statesNamed(only)
			if err != nil {
				return err
			}
			if err := someMembers(sizes); err != nil {
				return err
			}
			heal := study.Heal{Base: base, States: names, Sizes: sizes}
			all, err := heal.Run(func(c sim.Config) (*sim.Summary, error) { return f.runAll(cmd, c) }, f.output(cmd))
			if err != nil {
				return err
			}
			if err := f.draw(heal.Plot(all, f.seeds)); err != nil {
				return err
			}
			return f.finish(cmd, all.Violations, all)
		},
	}
	f.register(cmd, 64, 100)
	_ = cmd.Flags().MarkHidden("members")
	cmd.Flags().IntSliceVar(&sizes, "sizes", []int{2, 3, 5, 16, 64}, "numbers of members")
	cmd.Flags().StringVar(&only, "states", "", "only these states, separated by commas")
	cmd.Flags().StringVar(&with, "faults", "none", "faults injected while the members heal")
	return cmd
}

// statesNamed are the states of the list, all if it is empty.
func statesNamed(list string) ([]string, error) {
	var all []string
	for _, s := range sim.States {
		all = append(all, s.Name)
	}
	if list == "" {
		return all, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("--states %q: there is no such state", name)
		}
	}
	return names, nil
}

// someMembers says which of the sizes is that of no ring.
func someMembers(sizes []int) error {
	for _, n := range sizes {
		if n < 1 {
			return fmt.Errorf("--sizes %d: use at least 1", n)
		}
	}
	return nil
}

var mergeSizes = []int{16, 32, 64, 128, 256, 512, 1024, 2048, 4096}

func newSimMerge() *cobra.Command {
	var f simFlags
	var sizes []int
	var cut time.Duration
	cmd := &cobra.Command{
		Use:   "merge",
		Short: "Let two rings become one, and count the rounds",
		Long: `Put every second member into one ideal ring and the others into another. One
member of one ring knows a member of the other. Count the rounds until they are
one ideal ring. With --cut, one ring is cut into halves for that long instead,
and the rounds are counted from the end of the cut.`,
		Example: `  concord sim merge --latency constant:1ms --svg merge.svg
  concord sim merge --cut 5m --sizes 64 --seeds 1000`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := f.config(cmd)
			if err != nil {
				return err
			}
			if err := someMembers(sizes); err != nil {
				return err
			}
			merge := study.Merge{Base: base, Sizes: sizes, Cut: cut}
			all, err := merge.Run(func(c sim.Config) (*sim.Summary, error) { return f.runAll(cmd, c) }, f.output(cmd))
			if err != nil {
				return err
			}
			if err := f.draw(merge.Plot(all, f.seeds)); err != nil {
				return err
			}
			return f.finish(cmd, all.Violations, all)
		},
	}
	f.register(cmd, 64, 20)
	_ = cmd.Flags().MarkHidden("members")
	cmd.Flags().IntSliceVar(&sizes, "sizes", mergeSizes, "numbers of members, both rings together")
	cmd.Flags().DurationVar(&cut, "cut", 0, "cut one ring into halves for this long instead")
	return cmd
}

func newSimChurn() *cobra.Command {
	var f simFlags
	var session, duration time.Duration
	var shape, polite, lookups float64
	cmd := &cobra.Command{
		Use:   "churn",
		Short: "Let members come and go and count the lookups that are right",
		Long: `Let members come and go while lookups run. Each stays for a time drawn from a
Weibull distribution, then crashes or leaves, and a new one joins in its place.
At the end no member comes or goes any more, and the ring must become ideal.`,
		Example: `  concord sim churn --members 10000 --duration 1h --session 1h --progress`,
		Args:    flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.config(cmd)
			if err != nil {
				return err
			}
			c.Duration, c.Lookups = duration, lookups
			c.Sessions = sim.Sessions{Mean: session, Shape: shape, Polite: polite}
			return f.report(cmd, c)
		},
	}
	f.register(cmd, 10_000, 1)
	flags := cmd.Flags()
	flags.DurationVar(&session, "session", time.Hour, "how long members stay on average")
	flags.Float64Var(&shape, "shape", 0.6, "shape of the distribution of stays")
	flags.Float64Var(&polite, "polite", 0, "share of members that leave instead of crashing, from 0 to 1")
	flags.DurationVar(&duration, "duration", time.Hour, "how long members come and go")
	flags.Float64Var(&lookups, "lookups", 100, "lookups in a round, of all members")
	return cmd
}

// report runs all seeds and tells of them.
func (f *simFlags) report(cmd *cobra.Command, c sim.Config) error {
	sum, err := f.runAll(cmd, c)
	if err != nil {
		return err
	}
	printSummary(f.output(cmd), sum)
	if err := f.draw(study.Histogram(sum)); err != nil {
		return err
	}
	return f.finish(cmd, sum.Violations, sum)
}
