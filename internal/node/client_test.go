package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// client makes a client that is closed with the rig and has yet to dial; of the
// first node's address if none is given.
func (g *rig) client(addrs ...string) *Client { return g.clientAt("", addrs...) }

// clientAt is client, which the network knows by from.
func (g *rig) clientAt(from string, addrs ...string) *Client {
	g.t.Helper()
	tr, err := g.net.Client(from)
	if err != nil {
		g.t.Fatal(err)
	}
	if addrs == nil {
		addrs = []string{g.nodes[0].Addr()}
	}
	c := NewClient(ClientConfig{Space: g.space, Settings: g.space.Settings(""), Addrs: addrs}, tr)
	g.clients = append(g.clients, c)
	return c
}

// dial is client, dialled.
func (g *rig) dial(addrs ...string) *Client {
	g.t.Helper()
	c := g.client(addrs...)
	if err := c.Dial(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	return c
}

func (g *rig) clientIsRight(c *Client) {
	g.t.Helper()
	for k := range 40 {
		id := g.space.ID(fmt.Appendf(nil, "key %d", k))
		if r, err := c.Lookup(g.t.Context(), id, routing.Options{}); err != nil || r.Owner != g.owner(id) {
			g.t.Errorf("owner of %d is %v, %v; want %v", id, r.Owner, err, g.owner(id))
		}
	}
}

func TestClientFindsOwners(t *testing.T) {
	for _, count := range []int{1, 2, 3, 32} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			defer g.close()
			g.grow(count)
			c := g.dial()
			g.clientIsRight(c)
			time.Sleep(10 * time.Second)
			g.clientIsRight(c)
			for _, n := range g.nodes {
				for _, x := range n.Snapshot().View.Known {
					if !slices.ContainsFunc(g.nodes, func(m *Node) bool { return m.cfg.Self.Name == x.Name && m.Addr() == x.Addr }) {
						t.Errorf("%s knows %v, which is no member", n.cfg.Self.Name, x)
					}
				}
			}
		})
	}
}

func TestIdleClientAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Second
		g.grow(4)
		c := g.dial()
		g.clientIsRight(c)
		time.Sleep(25 * time.Second) // arcs that were used are confirmed again once
		before := c.tr.(*memory.Transport).Requests().Total()
		time.Sleep(10 * time.Minute)
		if n := c.tr.(*memory.Transport).Requests().Total() - before; n != 0 {
			t.Errorf("%d requests in ten minutes without a lookup", n)
		}
		g.clientIsRight(c)
	})
}

// All that the client has met die, one after another, while it looks up and while
// it does not.
func TestClientOutlivesWhomItKnows(t *testing.T) {
	for _, lookups := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			defer g.close()
			g.grow(4)
			last := "last:1"
			c := g.dial(g.nodes[0].Addr(), last)
			g.clientIsRight(c)
			for i := range 8 {
				name, addr := fmt.Sprintf("later%d", i), ""
				if i == 7 {
					addr = last
				}
				n := g.addAt(name, addr)
				if err := n.Join(t.Context(), []string{g.nodes[i+3].Addr()}); err != nil {
					t.Fatal(err)
				}
				g.ideal(20 * g.interval)
				g.nodes[i].Close()
				g.ideal(20 * g.interval)
				time.Sleep(3 * time.Second)
				if lookups {
					g.clientIsRight(c)
				}
			}
			g.clientIsRight(c)
		})
	}
}

// Nobody is there for longer than any suspicion; lookups wait, and go on when
// somebody is.
func TestClientWaitsForTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		c := g.dial()
		g.clientIsRight(c)
		for _, n := range g.nodes {
			n.Close()
		}
		time.Sleep(2 * routing.MaxLease) // what it remembers is no longer good
		const away = 20 * time.Second
		found := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r, err := c.Lookup(ctx, 7, routing.Options{})
			if err == nil && r.Owner.Name != "again" {
				err = fmt.Errorf("owner %v", r.Owner)
			}
			found <- err
		}()
		time.Sleep(away)
		asked := c.tr.(*memory.Transport).Requests().Total()
		if asked > 400 {
			t.Errorf("%d requests while nobody was there", asked)
		}
		select {
		case err := <-found:
			t.Fatalf("ended with %v while nobody was there", err)
		default:
		}
		g.addAt("again", g.nodes[0].Addr()).Create()
		began := time.Now()
		if err := <-found; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("found %v after somebody was there", took)
		}
	})
}

func TestClientCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(2)
		c := g.dial()
		for _, n := range g.nodes {
			g.net.Pause(n.Addr())
		}
		ended := make(chan error)
		for range 2 {
			go func() {
				_, err := c.Lookup(t.Context(), 7, routing.Options{})
				ended <- err
			}()
		}
		time.Sleep(1500 * time.Millisecond) // one is stuck
		c.Close()
		c.Close()
		for range 2 {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Errorf("%v, want %v", err, ErrClosed)
			}
		}
		if _, err := c.Lookup(t.Context(), 7, routing.Options{}); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want %v", err, ErrClosed)
		}
		for _, n := range g.nodes {
			g.net.Resume(n.Addr())
		}
	})
}

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		outside := g.addAt("outside", "outside:1")
		g.addAt("hung", "hung:1").Create()
		g.net.Pause("hung:1")
		other := newRig(t, 2)
		other.net, other.space.Bits = g.net, 32
		defer other.close()
		other.addAt("other", "other:1").Create()
		ring := g.nodes[0].Addr()
		const patience = 3 * time.Second
		for name, x := range map[string]struct {
			addrs []string
			kinds []protocol.FailureKind // nil: it succeeds
			took  time.Duration          // at most
		}{
			"one":                  {addrs: []string{ring}, took: 10 * time.Millisecond},
			"one of many":          {addrs: []string{"hung:1", "nobody:1", "outside:1", "other:1", ring}, took: 10 * time.Millisecond},
			"more than at once":    {addrs: append(numbered(40), ring), took: 20 * time.Millisecond},
			"nobody":               {addrs: []string{"nobody:1"}, kinds: []protocol.FailureKind{protocol.Refused}, took: patience},
			"not joined":           {addrs: []string{"outside:1"}, kinds: []protocol.FailureKind{protocol.NotJoined}, took: patience},
			"hung":                 {addrs: []string{"hung:1"}, kinds: []protocol.FailureKind{protocol.TimedOut}, took: patience},
			"another kind of ring": {addrs: []string{"other:1"}, kinds: []protocol.FailureKind{protocol.WrongRing}, took: 10 * time.Millisecond},
			"that, and nobody": {addrs: []string{"other:1", "nobody:1"},
				kinds: []protocol.FailureKind{protocol.WrongRing, protocol.Refused}, took: patience},
		} {
			c := g.client(x.addrs...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			began := time.Now()
			err := c.Dial(ctx)
			cancel()
			if took := time.Since(began); took > x.took {
				t.Errorf("%s: took %v", name, took)
			}
			if x.kinds == nil {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				g.clientIsRightAbout(c, outside, x.addrs)
				continue
			}
			var je *JoinError
			if !errors.As(err, &je) || len(je.Causes) != len(x.kinds) {
				t.Fatalf("%s: %v", name, err)
			}
			for i, kind := range x.kinds {
				if cause := je.Causes[i]; cause.At.Addr != x.addrs[i] || cause.Failure == nil || cause.Failure.Kind != kind {
					t.Errorf("%s: %+v, want %v from %s", name, cause, kind, x.addrs[i])
				}
			}
			if late := x.took == patience; late != errors.Is(je.Ctx, context.DeadlineExceeded) {
				t.Errorf("%s: ended by %v", name, je.Ctx)
			}
		}
		g.net.Resume("hung:1")
	})
}

// clientIsRightAbout looks one identifier up, whose owner must be a member that is
// in the ring.
func (g *rig) clientIsRightAbout(c *Client, outside *Node, addrs []string) {
	g.t.Helper()
	r, err := c.Lookup(g.t.Context(), 7, routing.Options{Fresh: true})
	if err != nil || r.Owner.Name == outside.cfg.Self.Name || r.Owner.Name == "other" {
		g.t.Errorf("through %v: %v, %v", addrs, r.Owner, err)
	}
}

func numbered(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("nobody%d:1", i))
	}
	return out
}

func TestDialOutlastsAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		go func() {
			time.Sleep(2 * time.Second)
			n := g.addAt("late", "late:1")
			time.Sleep(2 * time.Second)
			n.Create()
		}()
		c := g.client("late:1")
		began := time.Now()
		if err := c.Dial(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("took %v", took)
		}
		if n := c.tr.(*memory.Transport).Requests().Total(); n > 20 {
			t.Errorf("%d requests in 4 s", n)
		}
	})
}

func TestDialOfAClosedClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		c := g.client("nobody:1")
		done := make(chan error)
		go func() { done <- c.Dial(t.Context()) }()
		time.Sleep(time.Second)
		c.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	})
}

// A contact that is gone is none; one that a client knows nothing better than is
// kept until then.
func TestContacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(6)
		c := g.dial()
		known := len(c.contacts.List())
		if known != 1+g.r {
			t.Errorf("contacts %v; want the one dialled and its list", c.contacts.List())
		}
		for i, x := range c.contacts.List()[:known-1] {
			c.forget(protocol.Lost{Addr: x.Addr, Gone: true})
			if len(c.contacts.List()) != known-1-i {
				t.Errorf("%d contacts after %d were gone", len(c.contacts.List()), i+1)
			}
		}
		c.forget(protocol.Lost{Addr: c.contacts.List()[0].Addr})
		c.forget(protocol.Lost{Addr: c.contacts.List()[0].Addr, Gone: true, Who: ring.Member{ID: 1, Name: "who was there"}})
		if len(c.contacts.List()) != 1 {
			t.Errorf("contacts %v", c.contacts.List())
		}
		g.clientIsRight(c)
		for i := range 10 {
			st := g.nodes[i%6].Snapshot().View
			c.meet(protocol.State{Self: st.Self, Succ: st.Succ})
		}
		if len(c.contacts.List()) != 6 {
			t.Errorf("%d contacts in a ring of 6: %v", len(c.contacts.List()), c.contacts.List())
		}
		if c.meet(protocol.State{}); len(c.contacts.List()) != 6 {
			t.Errorf("%d contacts after an empty answer", len(c.contacts.List()))
		}
	})
}

func TestClientFindsMemberAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.space.Bits = 8
		name, _ := g.nameIn(ring.Arc{After: 255, To: 0})
		g.add(name).Create()
		time.Sleep(time.Second)
		if r, err := g.dial().Lookup(t.Context(), 5, routing.Options{}); err != nil || r.Owner.Name != name {
			t.Errorf("%v, %v", r.Owner, err)
		}
	})
}

func TestSilentContactDoesNotDelayTheOthers(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) { silentContact(t, seed) })
	}
}

func silentContact(t *testing.T, seed uint64) {
	g := newRig(t, seed)
	defer g.close()
	g.grow(4)
	c := g.dial(g.nodes[0].Addr(), g.nodes[1].Addr())
	if _, err := c.Lookup(t.Context(), 5, routing.Options{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	addr := g.nodes[0].Addr()
	g.net.Pause(g.nodes[1].Addr())
	for _, i := range []int{0, 2, 3} {
		g.nodes[i].Close()
	}
	began := time.Now()
	go func() {
		time.Sleep(3200 * time.Millisecond)
		g.addAt("n0", addr).Create()
	}()
	if _, err := c.Lookup(t.Context(), 5, routing.Options{}); err != nil || time.Since(began) > 4900*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
