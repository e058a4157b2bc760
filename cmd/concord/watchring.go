package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/survey"
)

// walkAgain is the time between two walks of a ring that tells nobody of its changes.
const walkAgain = time.Second

// Changes of a ring that follow each other are told together, since one member that joins or
// leaves makes a change for each of its identifiers, one after another: those of one burst, which
// has ended when nothing has come for changesApart, or after burstMost.
const (
	changesApart = 200 * time.Millisecond
	burstMost    = time.Second
)

// ringElement is one element of a loop over the changes of a ring.
type ringElement struct {
	list []concord.RingChange
	err  error
}

// watchRing prints the members of a ring and then each change, until Ctrl-C.
func (f *dialFlags) watchRing(cmd *cobra.Command, asJSON bool) error {
	if err := f.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	client, err := f.dial(ctx, f.addr...)
	if err != nil {
		return err
	}
	defer client.Close()
	elements := make(chan ringElement)
	defer func() {
		cancel()
		for range elements { // until the loop has ended
		}
	}()
	go func() {
		defer close(elements)
		for list, err := range ringChanges(ctx, client, cmd.ErrOrStderr()) {
			select {
			case elements <- ringElement{list, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	if asJSON {
		err = printElements(cmd.OutOrStdout(), elements)
	} else {
		err = tellChanges(cmd.OutOrStdout(), elements, f.hashBits)
	}
	if cmd.Context().Err() != nil {
		return nil // Ctrl-C is how one ends it
	}
	return err
}

// printElements prints each element as a line of JSON until there are no more, or one is an error.
func printElements(out io.Writer, elements <-chan ringElement) error {
	for e := range elements {
		if e.err != nil {
			return e.err
		}
		if err := printLine(out, e.list); err != nil {
			return err
		}
	}
	return nil
}

// tellChanges prints the elements until there are no more, or one is an error: the first as
// it is, and the changes after it burst by burst.
func tellChanges(out io.Writer, elements <-chan ringElement, bits uint) error {
	p := picture{bits: bits, members: map[concord.Server]holding{}}
	var began time.Time // of the burst; zero: there is none
	told := false
	tell := func() error {
		first := !told
		told = true
		text := p.text(began, first)
		began = time.Time{}
		if text == "" {
			return nil
		}
		_, err := io.WriteString(out, text)
		return err
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-elements:
			if !ok || e.err != nil {
				return cmp.Or(e.err, tell())
			}
			p.apply(e.list)
			now := time.Now()
			if began.IsZero() {
				began = now
			}
			if told {
				timer.Reset(min(changesApart, burstMost-now.Sub(began)))
				continue
			}
		case <-timer.C:
			if began.IsZero() {
				continue
			}
		}
		if err := tell(); err != nil {
			return err
		}
	}
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
	for m, err := range client.Members(ctx, concord.Fresh()) {
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

// holding is what a member has of the ring.
type holding struct {
	incarnation uint64
	ranges      map[uint64]concord.Range // by where they end
}

// equal reports whether two are of one incarnation and have the same ranges.
func (h holding) equal(o holding) bool {
	return h.incarnation == o.incarnation && maps.Equal(h.ranges, o.ranges)
}

// picture is a ring, and how it was before the changes that have not been told of.
type picture struct {
	bits    uint
	members map[concord.Server]holding
	before  map[concord.Server]holding // of those that may have changed
}

// apply takes what has changed.
func (p *picture) apply(list []concord.RingChange) {
	for _, x := range list {
		h := p.members[x.Server]
		if p.before == nil {
			p.before = map[concord.Server]holding{}
		}
		if _, noted := p.before[x.Server]; !noted {
			p.before[x.Server] = holding{h.incarnation, maps.Clone(h.ranges)}
		}
		if x.Had {
			delete(h.ranges, x.Old.End)
		}
		if x.Has {
			if h.ranges == nil {
				h.ranges = map[uint64]concord.Range{}
			}
			h.ranges[x.New.End] = x.New
			h.incarnation = max(h.incarnation, x.Incarnation)
		}
		if p.members[x.Server] = h; len(h.ranges) == 0 {
			delete(p.members, x.Server)
		}
	}
}

// text tells of all members, or of those that have changed since it was asked last: who has come
// or gone before whose ranges are others. It is empty if nobody has.
func (p *picture) text(at time.Time, all bool) string {
	var b strings.Builder
	clock := at.Format("15:04:05.000")
	if all {
		fmt.Fprintf(&b, "%s the ring has %s\n", clock, plural(len(p.members), "member"))
		clock = ""
	}
	servers := slices.SortedFunc(maps.Keys(p.before), func(x, y concord.Server) int {
		return cmp.Or(cmp.Compare(p.rank(x), p.rank(y)), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Address, y.Address))
	})
	for _, s := range servers {
		old, now := p.before[s], p.members[s]
		if now.equal(old) || len(now.ranges)+len(old.ranges) == 0 {
			continue
		}
		what := ""
		if !all {
			what = []string{"new: ", "gone: ", "back: ", "changed: "}[p.rank(s)]
		}
		fmt.Fprintf(&b, "%12s %s%s at %s\n", clock, what, cell(s.Name, 24), cell(s.Address, 27))
		clock = ""
		if len(old.ranges) > 0 {
			fmt.Fprintf(&b, "%12s   had %s\n", "", p.says(old))
		}
		if len(now.ranges) > 0 {
			fmt.Fprintf(&b, "%12s   has %s\n", "", p.says(now))
		}
	}
	p.before = nil
	return b.String()
}

// rank is what has happened to a member: 0 it has come, 1 gone, 2 come back in another run, 3 its
// ranges are others.
func (p *picture) rank(s concord.Server) int {
	old, now := p.before[s], p.members[s]
	switch {
	case len(old.ranges) == 0:
		return 0
	case len(now.ranges) == 0:
		return 1
	case old.incarnation != now.incarnation:
		return 2
	}
	return 3
}

// says is what a member has, in words.
func (p *picture) says(h holding) string {
	share, what := 0.0, plural(len(h.ranges), "range")
	for _, r := range h.ranges {
		share += survey.Share(r, p.bits)
		if len(h.ranges) == 1 {
			what = fmt.Sprintf("(%d, %d]", r.Start, r.End)
		}
	}
	return fmt.Sprintf("%s, %.1f %%", what, 100*share)
}
