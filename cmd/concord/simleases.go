package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/sim"
)

// leasesReport is the last line of concord sim leases with --json.
type leasesReport struct {
	Seeds      int           `json:"seeds"`
	Violations int           `json:"violations"` // runs that break a rule
	Failed     []uint64      `json:"failed,omitempty"`
	TwoOwners  time.Duration `json:"two_owner_ns_max"`
	Lease      time.Duration `json:"lease_ns"`
	Faults     int           `json:"faults"`
	Torn       int           `json:"torn"` // runs in which a ring fell into two, see sim.LeaseResult
	// NoOwner are by the kind of the fault.
	NoOwner50  map[string]float64 `json:"no_owner_ms_p50"`
	NoOwner99  map[string]float64 `json:"no_owner_ms_p99"`
	NoOwnerMax map[string]float64 `json:"no_owner_ms_max"`
	noOwner    map[string][]time.Duration
}

func newSimLeases() *cobra.Command {
	f := simFlags{}
	var c sim.Config
	var faults string
	cmd := &cobra.Command{
		Use:   "leases",
		Short: "Own by leases, and judge that no two members own a point",
		Long: `Let members own their ranges by leases (Config.Lease) while faults are made. The
monotonic clocks of the members drift by up to 5 %, and leap ahead. No two members
may own a point of the circle at any instant.

Each seed is run twice: with as many faults as fit into --duration, and with one
fault only. In the second run it is measured for how long points have no owner,
by the kind of the fault. Without --min-members, which is how many members have to
live, only faults are possible that cut nobody off. If a member then loses its whole
list, the ring can fall into two. What members have taken over then past others that
live is not judged until the ring has stood right for two leases: such runs are
counted as torn.`,
		Example: `  concord sim leases --seeds 1000 --faults all --json
  concord sim leases --members 5 --lease 10s --faults crash --min-members 0`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config(cmd)
			if err != nil {
				return err
			}
			cfg.Lease, cfg.Duration, cfg.MinMembers, cfg.NoFingers, cfg.Lookups = c.Lease, c.Duration, c.MinMembers, true, -1
			cfg.Identifiers = c.Identifiers
			if cfg.Faults, err = sim.ParseFaults(faults); err != nil {
				return err
			}
			if cfg.Faults == sim.All {
				cfg.Faults |= sim.Jump
			}
			return f.leases(cmd, cfg)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&f.members, "members", 7, "members at the start")
	flags.IntVar(&f.successors, "successors", 3, "length of a full successor list")
	flags.DurationVar(&f.interval, "interval", time.Second, "length of a round")
	flags.DurationVar(&c.Lease, "lease", 9*time.Second, "length of a lease")
	flags.IntVar(&c.MinMembers, "min-members", 4, "number of live members that a member must know to serve")
	flags.DurationVar(&c.Duration, "duration", time.Minute, "how long faults are made")
	flags.StringVar(&faults, "faults", "all", "kinds of faults, separated by commas, as in concord sim; all has clocks that leap, too")
	flags.IntSliceVar(&c.Identifiers, "identifiers", nil, "at how many identifiers the processes stand, in turn, such as 1,4; each counts in --members")
	flags.IntVar(&f.seeds, "seeds", 100, "number of seeds, beginning with --seed or 0")
	flags.Uint64Var(&f.seed, "seed", 0, "the first seed; without --seeds the only one")
	flags.IntVar(&f.bound, "bound", sim.DefaultBound, "number of rounds within which a ring must be ideal")
	flags.IntVar(&f.atOnce, "parallel", 1, "number of seeds that run at the same time")
	flags.BoolVar(&f.json, "json", false, "end with a line of JSON; report on standard error")
	return cmd
}

// leases runs the seeds and reports.
func (f *simFlags) leases(cmd *cobra.Command, cfg sim.Config) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	out := leasesReport{Lease: cfg.Lease, noOwner: map[string][]time.Duration{}}
	alone := cfg
	alone.Actions = []int{0}
	var first *sim.Result
	add := func(r sim.Result) {
		out.Faults += r.Faults
		if len(r.Violations) > 0 {
			out.Violations++
			out.Failed = append(out.Failed, r.Seed)
			if first == nil {
				first = &r
			}
		}
		if r.Leases != nil {
			out.TwoOwners = max(out.TwoOwners, r.Leases.TwoOwners)
			if r.Leases.Torn {
				out.Torn++
			}
		}
	}
	err := sim.RunMany(cfg, f.seed, f.seeds, f.atOnce, func(r sim.Result) { out.Seeds++; add(r) })
	if err != nil {
		return err
	}
	err = sim.RunMany(alone, f.seed, f.seeds, f.atOnce, func(r sim.Result) {
		add(r)
		for cause, times := range r.Leases.NoOwner {
			out.noOwner[cause] = append(out.noOwner[cause], times...)
		}
	})
	if err != nil {
		return err
	}
	out.percentiles()
	out.print(f.output(cmd))
	if f.json {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(out); err != nil {
			return err
		}
	}
	if first != nil {
		fmt.Fprintf(f.output(cmd), "Seed %d: %v\n", first.Seed, first.Violations[0])
		return errors.New("sim: a rule was broken")
	}
	return nil
}

func (r *leasesReport) percentiles() {
	r.NoOwner50, r.NoOwner99, r.NoOwnerMax = map[string]float64{}, map[string]float64{}, map[string]float64{}
	ms := func(d time.Duration) float64 { return float64(d.Milliseconds()) }
	for cause, times := range r.noOwner {
		r.NoOwner50[cause], r.NoOwner99[cause] = ms(sim.Percentile(times, 0.5)), ms(sim.Percentile(times, 0.99))
		r.NoOwnerMax[cause] = ms(slices.Max(times))
	}
}

func (r *leasesReport) print(out io.Writer) {
	fmt.Fprintf(out, "runs          %d with many faults each and as many with one, leases of %v\n", r.Seeds, r.Lease)
	fmt.Fprintf(out, "faults made   %d\n", r.Faults)
	if r.Torn > 0 {
		fmt.Fprintf(out, "torn          in %d runs a list was lost, and members took over past others that live;\n              these ranges are not judged without --min-members until the ring stands right\n", r.Torn)
	}
	fmt.Fprintf(out, "two owners    %v at most\n", r.TwoOwners)
	for _, cause := range slices.Sorted(maps.Keys(r.noOwner)) {
		fmt.Fprintf(out, "no owner      after %s: median %.0f ms, 99 %% %.0f ms, longest %.0f ms, of %d times\n", cause, r.NoOwner50[cause], r.NoOwner99[cause], r.NoOwnerMax[cause], len(r.noOwner[cause]))
	}
	fmt.Fprintf(out, "violations    %d\n", r.Violations)
}
