package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/plain"
	"github.com/ollelogdahl/concord/internal/remote"
)

func newWatch() *cobra.Command {
	var f adminFlags
	var d dialFlags
	var ring, asJSON bool
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show the changes of a member's range, or of the ring, as they come",
		Long: `Show the range that a member is responsible for, and then every change of it:
the new range, what was gained and lost, from and to which member, and why. The
command ends when the member is stopped, or at Ctrl-C.

With --ring, show all members with the share of the keys that each has, and then
every change of them, as a member tells of them that --addr leads to. Changes
that follow each other within 0.2 s are shown together, one entry for each
member, and of several ranges only their number; --json has each change of each
range as it comes. If the member goes, another tells. If the members tell
nobody, the ring is walked once a second. The command ends at Ctrl-C.`,
		Example: `  concord watch --admin 127.0.0.1:7947
  concord watch --admin 127.0.0.1:7947 --json | jq -c '.lost'
  concord watch --ring --addr node1.example.com:7946`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ring {
				if f.addr != "" {
					return errors.New("--ring asks at the members' port: give --addr, not --admin")
				}
				return d.watchRing(cmd, asJSON)
			}
			return f.with(func(c *remote.Client) error {
				watched := make(chan error, 1)
				go func() { watched <- watch(cmd, c, asJSON) }()
				select {
				case err := <-watched:
					return err
				case <-cmd.Context().Done():
					return nil // Ctrl-C is how one ends it, also if nobody reads what it prints
				}
			})
		},
	}
	f.register(cmd, 0)
	d.register(cmd)
	cmd.Flags().Lookup("admin").Usage = `host:port or unix:PATH of the member's admin listener, the --admin of "concord run" (required without --ring)`
	cmd.Flags().Lookup("addr").Usage = "with --ring: host:port of a member; may be repeated"
	cmd.Flags().Lookup("timeout").Usage = "with --ring: not used; there is no limit"
	_ = cmd.Flags().MarkHidden("timeout")
	cmd.Flags().BoolVar(&ring, "ring", false, "show the members of the whole ring and their changes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each change")
	return cmd
}

// watch prints the changes until the member has stopped.
func watch(cmd *cobra.Command, c *remote.Client, asJSON bool) error {
	has, err := held(cmd, c, asJSON)
	if err != nil {
		return err
	}
	first := len(has) < 2
	for e, err := range c.Watch(cmd.Context()) {
		switch {
		case err != nil && cmd.Context().Err() != nil:
			return nil
		case err != nil:
			return err
		case asJSON:
			err = printLine(cmd.OutOrStdout(), e)
		case !e.Had && has[e.New]: // it had it when the command began
			delete(has, e.New)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%12s has (%d, %d]\n", "", e.New.Start, e.New.End)
		default:
			err = printEvent(cmd.OutOrStdout(), time.Now(), e, first)
		}
		first = false
		if err != nil {
			return err
		}
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "the member has stopped")
	return nil
}

// held are the ranges that the member has, if they are several. It prints how many they are.
func held(cmd *cobra.Command, c *remote.Client, asJSON bool) (map[concord.Range]bool, error) {
	if asJSON {
		return nil, nil
	}
	s, err := c.Status(cmd.Context())
	if err != nil || len(s.Ranges) < 2 {
		return nil, err
	}
	has := map[concord.Range]bool{}
	for _, r := range s.Ranges {
		has[r] = true
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is responsible for %d ranges, %.1f %% of the keys\n",
		time.Now().Format("15:04:05.000"), len(has), 100*s.Share)
	return has, err
}

// printEvent prints one event, all of it at once. The first is no change: it has the range that
// the member has.
func printEvent(out io.Writer, at time.Time, e concord.Event, first bool) error {
	now := ""
	if e.Has {
		now = fmt.Sprintf(" (%d, %d]", e.New.Start, e.New.End)
	}
	if first {
		_, err := fmt.Fprintf(out, "%s is responsible for%s\n", at.Format("15:04:05.000"), cmp.Or(now, " nothing"))
		return err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s%s\n", at.Format("15:04:05.000"), plain.Text(e.Cause.String()), now)
	tell := func(what string, ranges []concord.Range, whom string, s concord.Server) {
		for _, r := range ranges {
			fmt.Fprintf(&text, "%12s %s (%d, %d]\n", "", what, r.Start, r.End)
		}
		if len(ranges) > 0 && s != (concord.Server{}) {
			fmt.Fprintf(&text, "%12s %s %s at %s\n", "", whom, cell(s.Name, 30), plain.Text(s.Address))
		}
	}
	tell("gained", e.Gained, "from", e.From)
	tell("lost", e.Lost, "to", e.To)
	_, err := out.Write(text.Bytes())
	return err
}
