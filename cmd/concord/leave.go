package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord/internal/remote"
)

func newLeave() *cobra.Command {
	var f adminFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "leave",
		Short: "Make a member leave its ring and exit",
		Long: `Make a member leave its ring and exit. It tells its neighbours and waits until
they no longer rely on it. The exit status is not 0 if the member has left
before all of them acknowledged; they then notice it as they notice a failure.`,
		Example: `  concord leave --admin 127.0.0.1:7947`,
		Args:    flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(func(c *remote.Client) error {
				ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
				defer cancel()
				began := time.Now()
				err := c.Leave(ctx)
				if err != nil && !errors.Is(err, remote.ErrUnacknowledged) {
					return err
				}
				took := time.Since(began)
				if asJSON {
					return errors.Join(printLine(cmd.OutOrStdout(), left{Acknowledged: err == nil, Took: took}), err)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "left after %s\n", short(took))
				return err
			})
		},
	}
	// More than a member allows its neighbours.
	f.register(cmd, leaveTimeout+askTimeout)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON")
	return cmd
}

// left is what becomes of a leave.
type left struct {
	Acknowledged bool          `json:"acknowledged"` // by all neighbours
	Took         time.Duration `json:"took_ns"`
}
