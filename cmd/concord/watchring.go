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
	var last map[rangeKey]concord.Range
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

// rangeKey tells ranges of a ring apart: a member has one for each of its identifiers.
type rangeKey struct {
	of  concord.Server
	end uint64
}

// walkedRanges are the ranges of the members that answer.
func walkedRanges(ctx context.Context, client *concord.Client) (map[rangeKey]concord.Range, error) {
	out := map[rangeKey]concord.Range{}
	for m, err := range client.Members(ctx) {
		switch {
		case err != nil && m.Server == (concord.Server{}):
			return nil, err
		case err != nil:
			continue
		}
		for _, r := range m.Ranges {
			if r != (concord.Range{}) {
				out[rangeKey{m.Server, r.End}] = r
			}
		}
	}
	return out, nil
}

// different are the changes from one picture of a ring to the next.
func different(old, now map[rangeKey]concord.Range) (out []concord.RingChange) {
	for k, r := range old {
		if n, has := now[k]; !has || n != r {
			out = append(out, concord.RingChange{Server: k.of, Old: r, New: n, Had: true, Has: has})
		}
	}
	for k, r := range now {
		if _, had := old[k]; !had {
			out = append(out, concord.RingChange{Server: k.of, New: r, Has: true})
		}
	}
	end := func(x concord.RingChange) uint64 {
		if x.Has {
			return x.New.End
		}
		return x.Old.End
	}
	slices.SortFunc(out, func(a, b concord.RingChange) int {
		return cmp.Or(cmp.Compare(end(a), end(b)), cmp.Compare(a.Server.Address, b.Server.Address))
	})
	return out
}

// population is how many members and ranges an element of WatchRing has.
func population(list []concord.RingChange) string {
	members := map[concord.Server]bool{}
	for _, x := range list {
		members[x.Server] = true
	}
	if len(members) == len(list) {
		return plural(len(members), "member")
	}
	return plural(len(members), "member") + ", " + plural(len(list), "range")
}

// printChanges prints one element of WatchRing, all of it at once. The first has all ranges.
func printChanges(out io.Writer, at time.Time, list []concord.RingChange, first bool) error {
	var text bytes.Buffer
	clock := at.Format("15:04:05.000")
	if first {
		fmt.Fprintf(&text, "%s the ring has %s\n", clock, population(list))
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
