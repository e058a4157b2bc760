package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
)

// walkAgain is the time between two walks of a ring that tells nobody of its changes.
const walkAgain = time.Second

// watchRing prints the members of a ring and then each change, until Ctrl-C.
func (f *dialFlags) watchRing(cmd *cobra.Command, asJSON bool) error {
	if err := f.check(); err != nil {
		return err
	}
	ctx := cmd.Context()
	client, err := f.dial(ctx, f.addr...)
	if err != nil {
		return err
	}
	defer client.Close()
	first := true
	for list, err := range ringChanges(ctx, client, cmd.ErrOrStderr()) {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case asJSON:
			err = printLine(cmd.OutOrStdout(), list)
		default:
			err = printChanges(cmd.OutOrStdout(), time.Now(), list, first)
		}
		if err != nil {
			return err
		}
		first = false
	}
	return nil
}

// ringChanges are the changes of a ring, as a member tells of them, or by walking the ring
// again and again if none does.
func ringChanges(ctx context.Context, client *concord.Client, notes io.Writer) iter.Seq2[[]concord.RingChange, error] {
	return func(yield func([]concord.RingChange, error) bool) {
		for list, err := range client.WatchRing(ctx) {
			if errors.Is(err, concord.ErrNoMap) {
				fmt.Fprintf(notes, "the members tell nobody of changes: the ring is walked every %v\n", walkAgain)
				walkedChanges(ctx, client, yield)
				return
			}
			if !yield(list, err) {
				return
			}
		}
	}
}

// walkedChanges yields what is different from one walk to the next.
func walkedChanges(ctx context.Context, client *concord.Client, yield func([]concord.RingChange, error) bool) {
	again := time.NewTicker(walkAgain)
	defer again.Stop()
	var last map[concord.Server]concord.Range
	for {
		now, err := walkedRanges(ctx, client)
		if err != nil {
			yield(nil, err)
			return
		}
		if list := different(last, now); (last == nil || len(list) > 0) && !yield(list, nil) {
			return
		}
		last = now
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// walkedRanges are the members that answer, with the ranges between them.
func walkedRanges(ctx context.Context, client *concord.Client) (map[concord.Server]concord.Range, error) {
	var met []concord.Server
	for m, err := range client.Members(ctx) {
		switch {
		case err == nil:
			met = append(met, m.Server)
		case m.Server == (concord.Server{}):
			return nil, err
		}
	}
	slices.SortFunc(met, func(a, b concord.Server) int { return cmp.Compare(a.Id, b.Id) })
	out := make(map[concord.Server]concord.Range, len(met))
	for i, s := range met {
		out[s] = concord.Range{Start: met[(i+len(met)-1)%len(met)].Id, End: s.Id}
	}
	return out, nil
}

// different are the changes from one picture of a ring to the next.
func different(old, now map[concord.Server]concord.Range) (out []concord.RingChange) {
	for s, r := range old {
		if n, has := now[s]; !has || n != r {
			out = append(out, concord.RingChange{Server: s, Old: r, New: n, Had: true, Has: has})
		}
	}
	for s, r := range now {
		if _, had := old[s]; !had {
			out = append(out, concord.RingChange{Server: s, New: r, Has: true})
		}
	}
	slices.SortFunc(out, func(a, b concord.RingChange) int {
		return cmp.Or(cmp.Compare(a.Server.Id, b.Server.Id), cmp.Compare(a.Server.Address, b.Server.Address))
	})
	return out
}

// printChanges prints one element of WatchRing, all of it at once. The first has all members.
func printChanges(out io.Writer, at time.Time, list []concord.RingChange, first bool) error {
	var text bytes.Buffer
	clock := at.Format("15:04:05.000")
	if first {
		fmt.Fprintf(&text, "%s the ring has %s\n", clock, plural(len(list), "member"))
		clock = ""
	}
	for _, x := range list {
		what := ""
		switch {
		case first:
		case !x.Has:
			what = "gone: "
		case x.Had:
			what = "changed: "
		default:
			what = "new: "
		}
		fmt.Fprintf(&text, "%12s %s%s at %s\n", clock, what, cell(x.Server.Name, 24), cell(x.Server.Address, 27))
		if x.Had {
			fmt.Fprintf(&text, "%12s   had (%d, %d]\n", "", x.Old.Start, x.Old.End)
		}
		if x.Has {
			fmt.Fprintf(&text, "%12s   has (%d, %d]\n", "", x.New.Start, x.New.End)
		}
	}
	_, err := out.Write(text.Bytes())
	return err
}
