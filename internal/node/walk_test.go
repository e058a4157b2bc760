package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

// A walk that has met as many as it may says so, having yielded them.
func TestWalkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(12)
		self := g.nodes[0].Snapshot().View
		first := Met{Who: self.Self}
		first.State.Pred, first.State.Succ = self.Pred, self.Succ
		var yielded int
		var last error
		g.nodes[0].walk(t.Context(), self.Self.ID, &first, nil, 7, func(m Met, err error) bool {
			if err == nil {
				yielded++
			}
			last = err
			return true
		})
		if yielded != 7 || !errors.Is(last, routing.ErrHopLimit) {
			t.Errorf("%d, then %v", yielded, last)
		}
	})
}

// Who is named for an identifier with which its process has left is no member there.
func TestWalkMeetsAnIdentifierThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		n, x := g.nodes[0], g.nodes[1].Snapshot().Self
		left, other := x, x
		left.ID++
		other.ID, other.Name = left.ID, "another"
		for _, c := range []struct {
			who  ring.Member
			want protocol.FailureKind
		}{{left, protocol.NotJoined}, {other, protocol.WrongMember}} {
			m := Met{Who: c.who}
			(&walk{fd: &n.Finder, ctx: t.Context()}).ask(&m)
			if m.Failure == nil || m.Failure.Kind != c.want || m.Failure.By != x {
				t.Errorf("%v: %v", c.who, m.Failure)
			}
		}
	})
}

// chartOf is what a client has of the map of one who says that these own the circle, and has
// been told so by all of them.
func chartOf(space ring.Space, members []ring.Member, now time.Duration) *ringmap.Snapshot {
	slices.SortFunc(members, func(a, b ring.Member) int { return cmp.Compare(a.ID, b.ID) })
	u := ringmap.Update{Interval: time.Second, Aged: true}
	for i, x := range members {
		before := members[(i+len(members)-1)%len(members)]
		u.Claims = append(u.Claims, ringmap.Announcement{ID: x.ID, After: before.ID, Epoch: 1, Incarnation: x.Incarnation, Of: &x})
	}
	m := ringmap.NewCopy(space.Bits)
	m.Subscribe(now, members[0])
	if err := m.Receive(now, &u); err != nil {
		panic(err)
	}
	return m.Snapshot()
}

// Those on the map are asked ahead of being named. It says who is a member no more than before:
// who does not answer is told of if a member names it.
func TestWalkAsksAheadByTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(64)
		const trip = 40 * time.Millisecond
		g.net.Delay(trip/2, trip/2)
		gone := g.nodes[20].Snapshot().Self
		ghost := ring.Member{ID: gone.ID + 1, Name: "ghost", Addr: "nobody:1", Incarnation: 1}
		g.nodes[20].Close()
		var members []ring.Member
		for _, n := range g.nodes {
			members = append(members, n.cfg.Self)
		}
		members = append(members, ghost)
		walk := func(c *Client) (met map[ring.Member]Met, took time.Duration) {
			met = map[ring.Member]Met{}
			began := time.Now()
			for m, err := range c.Walk(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				m.State.Succ, m.State.Zones = nil, nil
				met[m.Who] = m
			}
			return met, time.Since(began)
		}
		without := g.dial()
		walk(without) // it has met all of them
		by := g.dial()
		walk(by)
		c := by
		c.promised.Store(int64(ringmap.Promised(time.Second)))
		c.chart.Store(chartOf(g.space, members, c.now()))
		named, ahead := walk(c)
		all, long := walk(without)
		if _, ok := named[ghost]; ok || len(named) < 63 {
			t.Errorf("%d met, of whom one is only on the map: %v", len(named), named[ghost])
		}
		for x, m := range all {
			if named[x].Who != m.Who || (named[x].Failure == nil) != (m.Failure == nil) || named[x].By != m.By {
				t.Errorf("%v is told of as %+v, and with the map as %+v", x, m, named[x])
			}
		}
		t.Logf("%v, and %v with the map", long, ahead)
		if ahead > long/2 {
			t.Errorf("%v, and %v with the map", long, ahead)
		}
		// The map may come while a walk is on its way.
		late := g.dial()
		walk(late)
		ctx, cancel := context.WithCancel(t.Context())
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			for range late.WatchRing(ctx) {
			}
		}()
		if met, took := walk(late); len(met) != len(all) || took > long*3/4 {
			t.Errorf("%d met of %d, in %v; %v without the map", len(met), len(all), took, long)
		} else {
			t.Logf("%v with a map that comes meanwhile", took)
		}
		cancel()
		<-watching
	})
}
