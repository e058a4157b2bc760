package node

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// asker is where clients ask from that are far from the ring.
const asker = "client:1"

// between makes a round trip between one address and all members last so long.
func (g *rig) between(addr string, trip time.Duration) {
	for _, n := range g.nodes {
		if n.Addr() != addr {
			g.net.DelayBetween(addr, n.Addr(), trip/2, trip/2)
			g.net.DelayBetween(n.Addr(), addr, trip/2, trip/2)
		}
	}
}

// hasty looks up the keys of all other members with little more time than one
// answer takes, and checks that all are found and nobody is under suspicion for it.
func (g *rig) hasty(fd *Finder, trip time.Duration, opts routing.Options) {
	g.t.Helper()
	for round := range 3 {
		for _, m := range g.live() {
			self := m.Snapshot().Self
			if self == fd.snap.Load().Self {
				continue
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(g.t.Context(), trip*12/10)
			r, err := fd.Lookup(ctx, self.ID, opts)
			cancel()
			if took := time.Since(began); err != nil || r.Owner != self || took < trip || took > trip*11/10 {
				g.t.Errorf("round %d: owner of %s's identifier is %s, %v, after %v", round, self.Name, r.Owner.Name, err, took)
			}
		}
	}
	if avoided, _ := fd.peers.suspicions().Avoid(fd.now()); len(avoided) > 0 {
		g.t.Errorf("%d members that live are under suspicion", len(avoided))
	}
}

var trips = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, time.Second, 2 * time.Second}

// kindsOfHaste are lookups that ask the owner itself.
var kindsOfHaste = map[string]routing.Options{"fresh": {Fresh: true}, "by memory": {MaxAge: time.Nanosecond}}

func TestClientNeedsLittleMoreThanOneRoundTrip(t *testing.T) {
	for _, trip := range trips {
		for kind, opts := range kindsOfHaste {
			synctest.Test(t, func(t *testing.T) {
				t.Logf("%s, round trip %v", kind, trip)
				g := newRig(t, 1)
				defer g.close()
				g.interval = time.Second
				g.grow(7)
				time.Sleep(20 * g.interval)
				c := g.clientAt(asker)
				g.between(asker, trip)
				if err := c.Dial(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, m := range g.nodes { // the owners are known from now on
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					if r, err := c.Lookup(ctx, m.cfg.Self.ID, routing.Options{Fresh: true}); err != nil {
						t.Errorf("%v, %v", r.Owner, err)
					}
					cancel()
				}
				g.hasty(&c.Finder, trip, opts)
				if n := c.counters.timeouts.Load(); trip < time.Second && n > 0 {
					t.Errorf("%d time-outs of members that live", n)
				}
			})
		}
	}
}

func TestMemberNeedsLittleMoreThanOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Second
		g.grow(7)
		time.Sleep(20 * g.interval)
		n := g.nodes[0]
		asked := func() {
			for range 4 {
				for _, m := range g.nodes[1:] {
					if _, err := n.Lookup(t.Context(), m.cfg.Self.ID, routing.Options{Fresh: true}); err != nil {
						t.Error(err)
					}
				}
			}
		}
		// It becomes slower step by step, so that the ring gets used to it.
		now := 10 * time.Millisecond
		for _, trip := range trips {
			for ; now < trip; now = now * 5 / 4 {
				g.between(n.Addr(), now)
				asked()
				time.Sleep(4 * g.interval)
			}
			g.between(n.Addr(), trip)
			asked()
			for kind, opts := range kindsOfHaste {
				t.Logf("%s, round trip %v", kind, trip)
				g.hasty(&n.Finder, trip, opts)
			}
		}
	})
}

// Whom a lookup asks first is not known yet: neither how far it is, nor whether it
// lives. Either way the lookup succeeds if the deadline allows that.
func TestHasteLeavesTimeForTheNext(t *testing.T) {
	for _, x := range []struct {
		dead           bool
		trip, deadline time.Duration
	}{
		{false, 400 * time.Millisecond, 480 * time.Millisecond},
		{false, 600 * time.Millisecond, 720 * time.Millisecond},
		{true, 100 * time.Millisecond, 480 * time.Millisecond},
		{true, 10 * time.Millisecond, 400 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			defer g.close()
			g.grow(7)
			time.Sleep(20 * g.interval)
			c := g.clientAt(asker)
			g.between(asker, x.trip)
			if err := c.Dial(t.Context()); err != nil {
				t.Fatal(err)
			}
			m := g.nodes[3]
			self := m.Snapshot().Self
			id := g.space.Add(self.ID, ^uint64(0)) // before it
			c.arcs.Confirm(ring.Arc{After: m.Snapshot().View.Pred.ID, To: self.ID}, self,
				routing.Confirmation{By: self, At: c.now() - time.Hour, Until: c.now() - time.Hour})
			if x.dead {
				g.net.Pause(m.Addr())
				g.ideal(time.Minute, m)
				c.peers = newPeers()
				for _, n := range g.live() {
					if n != m {
						c.peers.observe(n.Snapshot().Self, x.trip)
					}
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), x.deadline)
			defer cancel()
			want := self
			if x.dead {
				want = g.owner(id, m)
			}
			r, err := c.Lookup(ctx, id, routing.Options{Fresh: !x.dead})
			if err != nil || r.Owner != want {
				t.Errorf("%+v: %v, %v; want %v", x, r.Owner, err, want)
			}
			if len(r.Hops) == 0 || r.Hops[0].Member != self {
				t.Errorf("%+v: the test tests nothing: %v", x, fmt.Sprint(r.Hops))
			}
			time.Sleep(5 * time.Second)
			if avoided, _ := c.peers.suspicions().Avoid(c.now()); !x.dead && len(avoided) > 0 {
				t.Errorf("%+v: %d members that live are under suspicion", x, len(avoided))
			}
		})
	}
}

// A caller whose time is below one round trip gets no answer. That says nothing of the
// members asked.
func TestNobodyIsJudgedByACallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(5)
		c := g.clientAt(asker)
		g.between(asker, 250*time.Millisecond)
		if err := c.Dial(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, m := range g.nodes {
			if _, err := c.Lookup(t.Context(), m.cfg.Self.ID, routing.Options{Fresh: true}); err != nil {
				t.Fatal(err)
			}
		}
		before := c.Counters()
		for kind, opts := range kindsOfHaste {
			for _, deadline := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 240 * time.Millisecond} {
				for _, m := range g.nodes {
					ctx, cancel := context.WithTimeout(t.Context(), deadline)
					if r, err := c.Lookup(ctx, m.cfg.Self.ID, opts); err == nil {
						t.Errorf("%s in %v: the test tests nothing: %v", kind, deadline, r)
					}
					cancel()
					if avoided, _ := c.peers.suspicions().Avoid(c.now()); len(avoided) > 0 {
						t.Fatalf("%s in %v: %v is under suspicion", kind, deadline, avoided)
					}
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := c.Dial(ctx); err == nil {
			t.Error("dialled")
		}
		time.Sleep(5 * time.Second)
		if avoided, _ := c.peers.suspicions().Avoid(c.now()); len(avoided) > 0 {
			t.Errorf("%v is under suspicion", avoided)
		}
		if after := c.Counters(); after.Timeouts != before.Timeouts || after.PeerFailures != before.PeerFailures {
			t.Errorf("%d time-outs and %d failures of members that live", after.Timeouts-before.Timeouts, after.PeerFailures-before.PeerFailures)
		}
	})
}
