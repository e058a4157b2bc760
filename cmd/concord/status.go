package main

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/remote"
)

func newStatus() *cobra.Command {
	var f adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of one member",
		Long: `Ask a member for its state at its admin listener: its range, its neighbours, its
fingers and acquaintances, the last failures of requests between it and others,
and its counters since it started. To see what a member reports to other
members, use "concord ring".`,
		Example: `  concord status --admin 127.0.0.1:7947
  concord status --admin 127.0.0.1:7947 --json`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(func(c *remote.Client) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
				defer cancel()
				s, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), s)
				}
				printStatus(cmd.OutOrStdout(), s)
				return nil
			})
		},
	}
	f.register(cmd, askTimeout)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the state as JSON")
	return cmd
}

func printStatus(out io.Writer, s concord.Status) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-14s "+format+"\n", append([]any{name}, args...)...)
	}
	people := func(name string, list []concord.Server) {
		if len(list) == 0 {
			row(name, "none")
		}
		for _, s := range list {
			row(name, "%s", person(s))
			name = ""
		}
	}
	row("member", "%s", person(s.Self))
	row("incarnation", "%d", s.Incarnation)
	if s.Zone != "" {
		row("zone", "%s", plain.Text(s.Zone))
	}
	phase := plain.Text(s.Phase.String())
	if s.Isolated {
		phase += ", isolated: serves no key"
	}
	row("phase", "%s", phase)
	row("weight", "%d", s.Weight)
	if s.Range != nil {
		if n := len(s.Ranges); n > 1 {
			row("ranges", "%d, at %s", n, plural(s.VirtualNodes, "identifier"))
		} else {
			row("range", "(%d, %d]", s.Range.Start, s.Range.End)
		}
		row("", "%.1f %% of the keys", 100*s.Share)
	} else {
		row("range", "none")
	}
	var pred []concord.Server
	if s.Predecessor != nil {
		pred = append(pred, *s.Predecessor)
	}
	if len(pred) > 0 && pred[0] == s.Self {
		row("predecessor", "itself: the one before its first identifier is another of its own")
	} else {
		people("predecessor", pred)
	}
	people("successors", s.Successors)
	if s.SuccessorAge != nil {
		format := "the first answered %v ago"
		if len(s.Ranges) > 1 {
			format = "the next of each identifier answered within %v"
		}
		row("", format, s.SuccessorAge.Round(time.Millisecond))
	}
	fingers := make([]concord.Server, len(s.Fingers))
	for i, f := range s.Fingers {
		fingers[i] = f.Server
	}
	people("fingers", fingers)
	people("acquaintances", s.Acquaintances)
	row("", "%d silent, %d pending", s.Silent, s.Pending)
	if s.Size > 0 {
		row("members", "about %d", s.Size)
	} else {
		row("members", "not known: it is in no ring")
	}
	row("connections", "%d", s.Connections)
	row("arcs", "%d remembered", s.Arcs)
	printFailures(out, s.Failures)
	fmt.Fprintln(out, "counters")
	counters := reflect.ValueOf(s.Counters)
	for i := range counters.NumField() {
		fmt.Fprintf(out, "  %-28s %12d\n", counters.Type().Field(i).Tag.Get("json"), counters.Field(i).Uint())
	}
}

// printFailures prints what went wrong with others last, the newest first.
func printFailures(out io.Writer, failures []concord.PeerFailure) {
	if len(failures) == 0 {
		fmt.Fprintf(out, "%-14s none\n", "failures")
		return
	}
	fmt.Fprintln(out, "failures")
	for _, f := range failures {
		who := plain.Text(f.Address)
		if f.Name != "" {
			who = cell(f.Name, 255) + " at " + who
		}
		if f.Incoming {
			who = "refused here: " + who
		}
		fmt.Fprintf(out, "  %s  %s: %s (%d since %s)\n",
			f.Last.Format(time.RFC3339), who, cell(f.Error, 200), f.Count, f.First.Format(time.RFC3339))
	}
}
