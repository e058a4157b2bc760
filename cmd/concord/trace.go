package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/plain"
)

type traceFlags struct {
	dialFlags
	fresh, verified bool
	json            bool
}

func newTrace() *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use:   "trace KEY",
		Short: "Show the path of a lookup, hop by hop",
		Long: `Look up a key as a client of the ring of --addr, and show which members were
asked, why, what each answered, and how long it took. The lookup is cold: it
ignores what earlier lookups have taught, so it shows the whole path. The
times include those of new connections.

With --json the output is one object, in which the key is base64 and times are
in nanoseconds. The exit status is not 0 if the lookup failed.`,
		Example: `  concord trace apple --addr node1.example.com:7946`,
		Args:    keys(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(ctx context.Context, c *concord.Client) error {
				opts := []concord.LookupOption{concord.Cold()}
				if f.fresh {
					opts = append(opts, concord.Fresh())
				}
				if f.verified {
					opts = append(opts, concord.Verified())
				}
				tr, err := c.Trace(ctx, []byte(args[0]), opts...)
				if f.json {
					if err := printJSON(cmd.OutOrStdout(), tr); err != nil {
						return err
					}
				} else {
					printTrace(cmd.OutOrStdout(), tr)
				}
				if err != nil {
					return f.advise(err)
				}
				return nil
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.fresh, "fresh", false, "accept only what the owner itself confirms")
	cmd.Flags().BoolVar(&f.verified, "verified", false, "accept only an owner that two searches agree on, too")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the trace as JSON")
	return cmd
}

func printTrace(out io.Writer, tr concord.Trace) {
	fmt.Fprintf(out, "%s has identifier %d\n", cell(string(tr.Key), 40), tr.Id)
	for i, h := range tr.Hops {
		fmt.Fprintf(out, "%3d  %-20s %-32s %8s\n", i+1, cell(h.Server.Name, 20), cell(h.Server.Address, 32), short(h.Took))
		said := h.Said.String()
		switch {
		case h.Err != nil:
			said = plain.Text(h.Err.Error())
		case len(h.Named) > 0 && h.Said != concord.VerdictMine:
			var names []string
			for _, s := range h.Named {
				names = append(names, cell(s.Name, 18))
			}
			said += ": " + strings.Join(names, ", ")
		}
		fmt.Fprintf(out, "     why: %s\n     said: %s\n", h.Why, said)
	}
	if tr.Source == "" {
		return
	}
	fmt.Fprintf(out, "Owner: %s\n", person(tr.Owner))
	if tr.Range != nil {
		fmt.Fprintf(out, "Range: (%d, %d]\n", tr.Range.Start, tr.Range.End)
	}
	if tr.Epoch > 0 {
		fmt.Fprintf(out, "Epoch: %d\n", tr.Epoch)
	}
	fmt.Fprintf(out, "%s, %s\n", plural(len(tr.Hops), "hop"), short(tr.Took))
}
