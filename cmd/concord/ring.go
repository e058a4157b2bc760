package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/survey"
)

// ringAgain is the time between two walks while waiting for an ideal ring.
const ringAgain = 100 * time.Millisecond

// errNotIdeal ends the command after the findings have been told.
var errNotIdeal = errors.New("the ring is not ideal")

type ringFlags struct {
	dialFlags
	successors int
	wait       time.Duration
	byMap      bool
	json       bool
}

func newRing() *cobra.Command {
	var f ringFlags
	cmd := &cobra.Command{
		Use:   "ring",
		Short: "Walk the ring and show what is wrong with it",
		Long: `Ask every member for its neighbours, beginning at --addr, and check the answers.
If several --addr lead to different rings, all of them are walked. That is the
only way to find two rings that know nothing of each other. A member's map of
the ring, if one tells of it, says whom to ask, so that the walk need not wait
for each to be named by another. What is wrong is in no map: all are asked.

Members are shown with their share of the circle, their zone, and the number of
their identifiers if there are several. A member with a finding is marked with
"!". In a ring with members at several identifiers, only the ranges are checked:
each must begin where the one before it ends. The findings are:

  unreachable         a member that another names does not answer
  not-joined          a member that another names is in no ring
  wrong-predecessor   it is not the nearest member before that answered
  wrong-successor     an entry of the list is not the member it should be
  short-list          the list is shorter than --successors says
  at-most-one-ring    there are two rings or more
  ordered-ring        the ring winds around the circle more than once

The findings no-self, no-duplicates, ordered-lists, bounded-lists,
one-live-successor, sufficient-principals, at-least-one-ring and
connected-appendages are rules of Zave's proof. While members join or leave, a
finding that disappears a moment later is not a fault: --wait walks the ring
again until there are no findings.

With --map, one member is asked for its map of the ring, which has up to 16,384
members with their ranges and zones. That costs two requests, whatever the size
of the ring, and says nothing of what members have wrong: their neighbours are
not on the map. The finding is then

  no-owner            a part of the circle belongs to no member on the map

If no member tells of its map, the ring is walked.

The exit status is not 0 if there is a finding or if no member answers.`,
		Example: `  concord ring --addr node1.example.com:7946
  concord ring --wait 30s --json
  concord ring --map`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.register(cmd)
	cmd.Flags().Lookup("timeout").Usage = "time limit for one walk"
	cmd.Flags().IntVar(&f.successors, "successors", 0, "length of a full successor list; 0 for that of the longest one")
	cmd.Flags().DurationVar(&f.wait, "wait", 0, "walk again until nothing is wrong, for at most this long")
	cmd.Flags().BoolVar(&f.byMap, "map", false, "show the map of one member instead of asking all of them")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the members and findings as JSON")
	return cmd
}

func (f *ringFlags) run(ctx context.Context, out, logs io.Writer) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.successors < 0 || f.successors > concord.MaxSuccessorCount {
		return fmt.Errorf("--successors %d: use 1 to %d, or 0", f.successors, concord.MaxSuccessorCount)
	}
	if f.wait < 0 {
		return fmt.Errorf("--wait %v: use a time greater than zero", f.wait)
	}
	p := newProgress(logs)
	end := time.Now().Add(f.wait)
	var r survey.Report
	var took time.Duration
	for {
		began := time.Now()
		var err error
		r, err = f.look(ctx, p)
		took = time.Since(began)
		left := time.Until(end)
		if left <= 0 || err == nil && r.Ideal || err != nil && !errors.Is(err, concord.ErrUnavailable) && !errors.Is(err, concord.ErrNotJoined) {
			p.done()
			if err != nil {
				return err
			}
			break
		}
		p.tell("waiting for an ideal ring, for %s more", short(left))
		again := time.NewTimer(min(ringAgain, left))
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return ctx.Err()
		}
	}
	if f.json {
		if err := printJSON(out, r); err != nil {
			return err
		}
	} else {
		printRing(out, r, took)
	}
	if !r.Ideal {
		return fmt.Errorf("%w: %s", errNotIdeal, plural(len(r.Findings), "finding"))
	}
	return nil
}

// look has the map of a member judged, or the ring walked.
func (f *ringFlags) look(ctx context.Context, p *progress) (survey.Report, error) {
	if !f.byMap {
		return f.walk(ctx, p)
	}
	timed, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	client, err := f.dial(timed, f.addr...)
	if err != nil {
		return survey.Report{}, err
	}
	defer client.Close()
	for list, err := range client.WatchRing(timed) {
		switch {
		case errors.Is(err, concord.ErrNoMap):
			return f.walk(ctx, p)
		case errors.Is(err, context.DeadlineExceeded):
			return survey.Report{}, fmt.Errorf("no member has told its map within %v; give it a longer --timeout", f.timeout)
		case err != nil:
			return survey.Report{}, err
		}
		return survey.OfMap(list, f.hashBits), nil
	}
	return survey.Report{}, ctx.Err()
}

// walk walks the rings that the addresses lead to, and judges them as one.
func (f *ringFlags) walk(ctx context.Context, p *progress) (survey.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	var members []concord.Member
	var absent []survey.Absent
	for _, addr := range f.addr {
		if slices.ContainsFunc(members, func(m concord.Member) bool { return m.Server.Address == addr }) {
			continue
		}
		client, err := f.dial(ctx, addr)
		if err != nil {
			return survey.Report{}, err
		}
		stop := tellMap(ctx, client)
		for m, err := range client.Members(ctx, concord.Fresh()) {
			known := func(o concord.Member) bool { return o.Server == m.Server }
			switch {
			case err != nil && m.Server == (concord.Server{}):
				stop()
				client.Close()
				if errors.Is(err, context.DeadlineExceeded) {
					return survey.Report{}, fmt.Errorf("after %s: the walk did not end within %v; give it a longer --timeout", plural(len(members), "member"), f.timeout)
				}
				return survey.Report{}, err
			case err == nil && !slices.ContainsFunc(members, known):
				members = append(members, m)
			case err != nil && !slices.ContainsFunc(absent, func(a survey.Absent) bool { return a.Server == m.Server }):
				a := survey.Absent{Server: m.Server, Error: strings.TrimPrefix(err.Error(), "concord: "), Name: survey.Unreachable}
				if m.NamedBy != nil {
					a.NamedBy = m.NamedBy.Name
				}
				if errors.Is(err, concord.ErrNotJoined) {
					a.Name = survey.NotJoined
				}
				absent = append(absent, a)
			}
			p.tell("%s met", plural(len(members), "member"))
		}
		stop()
		client.Close()
	}
	return survey.Of(members, absent, f.successors, f.hashBits), nil
}

// tellMap has a member tell the client of its map, if one does, so that a walk asks those on it
// without waiting for others to name them. stop ends that.
func tellMap(ctx context.Context, client *concord.Client) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range client.WatchRing(ctx) {
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func printRing(out io.Writer, r survey.Report, took time.Duration) {
	for _, m := range r.Members {
		mark, zone := " ", ""
		if m.Wrong {
			mark = "!"
		}
		if m.Zone != "" {
			zone = " " + cell(m.Zone, 20)
		}
		if n := len(m.Ranges); n > 1 {
			zone += fmt.Sprintf(" at %d", n)
		}
		fmt.Fprintf(out, "%s %20d %-18s %-22s %6.2f %%%s\n", mark, m.Server.Id, cell(m.Server.Name, 18), cell(m.Server.Address, 26), 100*m.Share, zone)
	}
	for _, find := range r.Findings {
		says := find.Says
		if find.Member != "" {
			says = cell(find.Member, 40) + " " + says
		}
		fmt.Fprintf(out, "%s: %s\n", find.Name, cell(says, 1<<12))
	}
	verdict := "the ring is ideal"
	if !r.Ideal {
		verdict = plural(len(r.Findings), "finding")
	}
	fmt.Fprintf(out, "%s in %s: %s\n", plural(len(r.Members), "member"), short(took), verdict)
}
