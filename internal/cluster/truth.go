package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ollelogdahl/concord"
)

// poll is the time between two looks at the members while waiting.
const poll = 2 * time.Millisecond

// Truth returns the owner of key among the members alive: the first whose
// identifier is at or after the key's. It is the zero Server if nobody is.
func (c *Cluster) Truth(key []byte) concord.Server {
	live := c.live()
	if len(live) == 0 {
		return concord.Server{}
	}
	id := space(live[0].cfg).ID(key)
	if several(live) {
		all := arcs(live)
		i, _ := slices.BinarySearchFunc(all, id, func(a arc, id uint64) int { return cmp.Compare(a.End, id) })
		if len(all) == 0 {
			return concord.Server{}
		}
		return server(all[i%len(all)].of)
	}
	return server(live[owner(live, id)])
}

// owner is the index of the first member at or after id.
func owner(live []*member, id uint64) int {
	for i, m := range live {
		if m.node.Id() >= id { // live is sorted, and starts again after its end
			return i
		}
	}
	return 0
}

func server(m *member) concord.Server {
	return concord.Server{Name: m.node.Name(), Id: m.node.Id(), Address: m.node.Address()}
}

// Wrong says what keeps the ring from being ideal, one pointer a line: every
// successor list, predecessor and range that is not exactly what the members
// alive make it, and if there is none, what every member's map of the ring has
// otherwise. Empty: the ring is ideal, and every member knows it.
func (c *Cluster) Wrong() string {
	live := c.live()
	var b strings.Builder
	if several(live) {
		wrongArcs(&b, live)
		return b.String()
	}
	for i, m := range live {
		wrong(&b, live, i, m)
	}
	if b.Len() > 0 {
		return b.String()
	}
	for _, m := range live {
		wrongMap(&b, live, m)
	}
	return b.String()
}

// wrongMap says in what the map of a member is not the ring. A legacy member is on no map.
func wrongMap(b *strings.Builder, live []*member, m *member) {
	known := map[concord.Server]concord.Range{}
	for list := range m.node.WatchRing(context.Background()) {
		for _, x := range list {
			known[x.Server] = x.New
		}
		break
	}
	for i, x := range live {
		want := concord.Range{Start: live[(i+len(live)-1)%len(live)].node.Id(), End: x.node.Id()}
		if got, ok := known[server(x)]; !ok || got != want {
			fmt.Fprintf(b, "%s: on its map %s has (%d, %d], should have (%d, %d]\n", m.node.Name(),
				x.node.Name(), got.Start, got.End, want.Start, want.End)
		}
		delete(known, server(x))
	}
	for s := range known {
		fmt.Fprintf(b, "%s: has %s on its map, which is not in the ring\n", m.node.Name(), names([]concord.Server{s}))
	}
}

func wrong(b *strings.Builder, live []*member, i int, m *member) {
	node, n := m.node, len(live)
	if !node.Joined() {
		fmt.Fprintf(b, "%s: is %s, not in the ring\n", node.Name(), node.Status().Phase)
		return
	}
	count := int(m.cfg.SuccessorCount)
	if count == 0 {
		count = concord.DefaultSuccessorCount
	}
	var want []concord.Server
	for k := 1; k <= min(count, max(n-1, 1)); k++ {
		want = append(want, server(live[(i+k)%n]))
	}
	if got := node.Successors(); !slices.Equal(got, want) {
		fmt.Fprintf(b, "%s: successors are %s, should be %s\n", node.Name(), names(got), names(want))
	}
	pred := server(live[(i+n-1)%n])
	switch got, ok := node.Predecessor(); {
	case !ok:
		fmt.Fprintf(b, "%s: predecessor is unknown, should be %s\n", node.Name(), names([]concord.Server{pred}))
	case got != pred:
		fmt.Fprintf(b, "%s: predecessor is %s, should be %s\n", node.Name(),
			names([]concord.Server{got}), names([]concord.Server{pred}))
	}
	if got, want := node.Range(), (concord.Range{Start: pred.Id, End: node.Id()}); got != want {
		fmt.Fprintf(b, "%s: range is (%d, %d], should be (%d, %d]\n", node.Name(),
			got.Start, got.End, want.Start, want.End)
	}
}

// names lists servers by name and, since a name may have been started several times, port.
func names(servers []concord.Server) string {
	out := make([]string, len(servers))
	for i, s := range servers {
		out[i] = s.Name
		if _, port, err := net.SplitHostPort(s.Address); err == nil {
			out[i] += ":" + port
		}
	}
	return "[" + strings.Join(out, " ") + "]"
}

// WaitIdeal waits until the ring is ideal and returns how long that took. The
// error matches ctx's and says what is still wrong.
func (c *Cluster) WaitIdeal(ctx context.Context) (time.Duration, error) {
	return wait(ctx, "the ring is not ideal", c.Wrong)
}

// WrongLookups looks every key up at every member, all members at once, and says
// which answers were not the truth, one a line, and how many lookups were made.
// Each lookup is bounded by ctx.
func (c *Cluster) WrongLookups(ctx context.Context, keys ...[]byte) (wrong string, lookups int) {
	members := c.Members()
	found := make([]strings.Builder, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			for _, key := range keys {
				got, err := m.LookupContext(ctx, key)
				want := c.Truth(key)
				switch {
				case err != nil:
					fmt.Fprintf(&found[i], "%s: lookup of %q: %v\n", m.Name(), key, err)
				case got != want:
					fmt.Fprintf(&found[i], "%s: lookup of %q gives %s, should be %s\n", m.Name(), key,
						names([]concord.Server{got}), names([]concord.Server{want}))
				}
			}
		})
	}
	wg.Wait()
	var b strings.Builder
	for i := range found {
		b.WriteString(found[i].String())
	}
	return b.String(), len(members) * len(keys)
}

// WaitLookups waits until every member answers every key with the truth, and
// returns how long that took. The error matches ctx's and says what is wrong.
func (c *Cluster) WaitLookups(ctx context.Context, keys ...[]byte) (time.Duration, error) {
	return wait(ctx, "lookups are not right", func() string {
		// Not ctx: what the last round found is what the error says. Without a deadline each
		// lookup has the time of one, however many there are.
		w, _ := c.WrongLookups(context.WithoutCancel(ctx), keys...)
		return w
	})
}

// wait polls until wrong returns nothing, and returns when that look began.
func wait(ctx context.Context, what string, wrong func() string) (time.Duration, error) {
	began := time.Now()
	again := time.NewTicker(poll)
	defer again.Stop()
	for {
		looked := time.Since(began)
		w := wrong()
		if w == "" {
			return looked, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return time.Since(began), fmt.Errorf("%s after %v: %w\n%s", what,
				time.Since(began).Round(time.Millisecond), ctx.Err(), w)
		}
	}
}

// Describe gives the state of every member alive, clockwise, two lines each.
func (c *Cluster) Describe() string {
	var b strings.Builder
	for _, m := range c.live() {
		s := m.node.Status()
		pred, arc := "unknown", "none"
		if s.Predecessor != nil {
			pred = names([]concord.Server{*s.Predecessor})
		}
		if s.Range != nil {
			arc = fmt.Sprintf("(%d, %d]", s.Range.Start, s.Range.End)
		}
		var fingers []concord.Server
		for _, f := range s.Fingers {
			fingers = append(fingers, f.Server)
		}
		fmt.Fprintf(&b, "%s %d %s %s: range %s, predecessor %s, successors %s\n", s.Self.Name, s.Self.Id,
			s.Self.Address, s.Phase, arc, pred, names(s.Successors))
		fmt.Fprintf(&b, "    fingers %s, acquaintances %s (%d silent, %d pending)\n", names(fingers),
			names(s.Acquaintances), s.Silent, s.Pending)
	}
	return b.String()
}
