package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/remote"
)

// weightTimeout is how long drain and weight wait, unless --timeout says otherwise: programs
// may have data to hand over.
const weightTimeout = 30 * time.Second

func newDrain() *cobra.Command {
	cmd := newWeighing("drain", flagsOnly, func([]string) (int, error) { return 0, nil })
	cmd.Short = "Let a member hand on its ranges and run on"
	cmd.Long = `Let a member hand on all of its ranges and leave the ring. It runs on, finds the
owners of keys for its program, and comes back with "concord weight". The
command returns when the member owns nothing. If the time is over before, the
exit status is not 0, and the member goes on.

A member that alone holds the ring refuses. If all members of a ring drain at
once, one of them stays and refuses.`
	cmd.Example = `  concord drain --admin 127.0.0.1:7950`
	return cmd
}

func newWeight() *cobra.Command {
	one := func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("the weight: use one number from 0 to %d", concord.MaxVirtualNodes)
		}
		return nil
	}
	cmd := newWeighing("weight N", one, func(args []string) (int, error) {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 0 || n > concord.MaxVirtualNodes {
			return 0, fmt.Errorf("the weight %q: use a number from 0 to %d", args[0], concord.MaxVirtualNodes)
		}
		return n, nil
	})
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if e, ok := errors.AsType[*pflag.NotExistError](err); ok && len(e.GetSpecifiedName()) == 1 && strings.Contains("0123456789", e.GetSpecifiedName()) {
			return fmt.Errorf("the weight: use a number from 0 to %d", concord.MaxVirtualNodes) // a number below 0
		}
		return flagError(cmd, err)
	})
	cmd.Short = "Change at how many identifiers a member stands"
	cmd.Long = `Change at how many identifiers a member stands, until it is stopped. A member
with twice as many as another has about twice its share of the keys. With a
weight of 0 it drains; see "concord drain". The command returns when all
identifiers are in the ring, or out of it. If the time is over before, the exit
status is not 0, and the member goes on.

A member that was started with --virtual-nodes 1 can have a weight of 0 or 1.`
	cmd.Example = `  concord weight 32 --admin 127.0.0.1:7950`
	return cmd
}

// newWeighing is a command that gives a member the weight that its arguments say.
func newWeighing(use string, args cobra.PositionalArgs, weight func(args []string) (int, error)) *cobra.Command {
	var f adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:  use,
		Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := weight(args)
			if err != nil {
				return err
			}
			return f.with(func(c *remote.Client) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
				defer cancel()
				began := time.Now()
				if err := c.SetWeight(ctx, n); err != nil {
					return err
				}
				took := time.Since(began)
				switch {
				case asJSON:
					return printLine(cmd.OutOrStdout(), weighed{Weight: n, Took: took})
				case n == 0:
					fmt.Fprintf(cmd.OutOrStdout(), "drained after %s\n", short(took))
				default:
					fmt.Fprintf(cmd.OutOrStdout(), "at %s after %s\n", plural(n, "identifier"), short(took))
				}
				return nil
			})
		},
	}
	f.register(cmd, weightTimeout)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

// weighed is what becomes of a change of a weight.
type weighed struct {
	Weight int           `json:"weight"`
	Took   time.Duration `json:"took_ns"`
}
