package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/demo"
)

type demoFlags struct {
	members  int
	interval time.Duration
	json     bool
	stay     bool
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch processes form a ring, lose one to kill -9, and heal",
		Long: `Start members as separate processes on 127.0.0.1 and print what they do: they
join, answer lookups, lose a member to kill -9, heal, and one of them leaves.
The page of the first member shows it live; its address is printed. At a
terminal the ring then remains, and you can type keys. With --stay it always
remains until SIGINT, or until its terminal is gone. The exit status is not 0 if
anything went wrong: a lookup failed, or its answer did not become right in
time.`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.members < 3 || f.members > demo.MaxMembers {
				return fmt.Errorf("--members %d: use 3 to %d, since one is killed and one leaves", f.members, demo.MaxMembers)
			}
			if f.interval < concord.MinStabilizeInterval {
				return fmt.Errorf("--interval %v: use at least %v", f.interval, concord.MinStabilizeInterval)
			}
			return f.run(cmd)
		},
	}
	cmd.Flags().IntVar(&f.members, "members", 5, "number of processes")
	cmd.Flags().DurationVar(&f.interval, "interval", concord.DefaultStabilizeInterval, "the members' --interval")
	cmd.Flags().BoolVar(&f.json, "json", false, "print a summary as JSON; the report goes to standard error")
	cmd.Flags().BoolVar(&f.stay, "stay", false, "keep the ring until SIGINT or SIGTERM, also without a terminal")
	return cmd
}

// hangUpEvery is how often it is looked whether the terminal is still there.
const hangUpEvery = time.Second

// openTerminal reports whether this process has a terminal.
func openTerminal() error {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY, 0)
	if err == nil {
		err = tty.Close()
	}
	return err
}

// untilHangUp is ctx until the terminal is gone, which open finds out; ctx itself if there
// is none. Under make nobody is told by a signal: make alone gets it, and waits.
func untilHangUp(ctx context.Context, open func() error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if open() != nil {
		return ctx, cancel
	}
	go func() {
		tick := time.NewTicker(hangUpEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if open() != nil {
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

func (f *demoFlags) run(cmd *cobra.Command) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if f.json {
		out = cmd.ErrOrStderr()
	}
	d := demo.New(demo.Options{Members: f.members, Interval: f.interval, Binary: exe, Out: out})
	err = d.Tell(cmd.Context())
	if in, ok := cmd.InOrStdin().(*os.File); ok && err == nil && len(d.Summary().Wrong) == 0 && !f.json && terminal(in) && !f.stay {
		d.Stay(cmd.Context(), in)
	}
	if err == nil && f.stay {
		d.Say("\nThe ring stays, and its page at %s, until SIGINT or SIGTERM.", d.Page())
		stayed, end := untilHangUp(cmd.Context(), openTerminal)
		<-stayed.Done()
		end()
	}
	d.End()
	if err != nil {
		d.Wrong("%v", err)
	}
	sum := d.Summary()
	if f.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		if err := enc.Encode(sum); err != nil {
			return err
		}
	}
	if n := len(sum.Wrong); n > 0 {
		if n == 1 {
			return fmt.Errorf("demo: %s", sum.Wrong[0])
		}
		return fmt.Errorf("demo: %d things went wrong; the first: %s", n, sum.Wrong[0])
	}
	return nil
}
