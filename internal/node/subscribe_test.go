package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// lookUpFor has a client look keys up for a while, all of them again and again. Each answer
// must be right at the end of a lookup, or, if late is not 0, have been within that time.
func (g *rig) lookUpFor(c *Client, d, late time.Duration) {
	g.t.Helper()
	wrong := map[uint64]time.Time{}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for k := range 12 {
			id := g.space.ID(fmt.Appendf(nil, "key %d", k))
			r, err := c.Lookup(g.t.Context(), id, routing.Options{})
			if err == nil && r.Owner == g.owner(id) {
				delete(wrong, id)
				continue
			}
			if since, ok := wrong[id]; !ok {
				wrong[id] = time.Now()
			} else if time.Since(since) > late {
				g.t.Fatalf("owner of %d is %v, %v; want %v", id, r.Owner, err, g.owner(id))
			}
			if late == 0 {
				g.t.Fatalf("owner of %d is %v, %v; want %v", id, r.Owner, err, g.owner(id))
			}
		}
	}
}

// host is the member at which the client has subscribed, nil if there is none.
func (g *rig) host() *Node {
	for _, n := range g.nodes {
		if n.Subscribers() > 0 {
			return n
		}
	}
	return nil
}

// subscribed is a client that has subscribed in a ring of count, and what it has sent.
func (g *rig) subscribed(count int) (*Client, func() memory.Requests) {
	g.t.Helper()
	g.grow(count)
	c := g.clientAt("client:1")
	if err := c.Dial(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	g.lookUpFor(c, 10*time.Second, 0)
	if g.host() == nil {
		g.t.Fatal("a client that looks keys up all the time has not subscribed")
	}
	return c, c.tr.(*memory.Transport).Requests
}

func TestClientThatLooksUpAllTheTimeAsksNobody(t *testing.T) {
	for _, count := range []int{1, 3, 12} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, uint64(count))
			defer g.close()
			g.interval = time.Second
			c, sent := g.subscribed(count)
			before, mapped := sent(), c.Counters().Mapped
			g.lookUpFor(c, time.Minute, 0)
			if n := sent().Total() - before.Total(); n != 0 {
				t.Errorf("%d members: %d requests in a minute: %+v", count, n, sent())
			}
			if n := c.Counters().Mapped - mapped; n < 12*500 {
				t.Errorf("%d members: %d lookups were answered by the map", count, n)
			}
			if n := sent().Subscribe; n != 1 {
				t.Errorf("%d members: %d subscriptions", count, n)
			}
		})
	}
}

// A client that has subscribed names the members after an owner by its map, too, once their owners
// have confirmed what it says, and counts each LookupN once.
func TestSubscribedClientNamesSeveralByItsMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 5)
		defer g.close()
		g.interval = time.Second
		g.configure = func(cfg *Config) { cfg.Zone = "only" } // so that all are looked at
		c, sent := g.subscribed(12)
		pass := func() (requests int) {
			before := sent()
			for k := range 4 {
				id := g.space.ID(fmt.Appendf(nil, "key %d", k))
				if list, err := c.LookupN(t.Context(), id, 3, routing.Options{}); err != nil || !slices.Equal(list, g.after(id, 3)) {
					t.Errorf("%v, %v, want %v", list, err, g.after(id, 3))
				}
			}
			return int(sent().Total() - before.Total())
		}
		if n := pass(); n > 12 {
			t.Errorf("the first time it takes %d requests", n)
		}
		before := c.Counters()
		if n := pass(); n != 0 {
			t.Errorf("the second time it takes %d requests", n)
		}
		if now := c.Counters(); now.Mapped-before.Mapped != 4 || now.Lookups-before.Lookups != 4 {
			t.Errorf("four are counted as %d lookups, %d of them answered by the map", now.Lookups-before.Lookups, now.Mapped-before.Mapped)
		}
	})
}

func TestClientSubscribesElsewhereInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3)
		defer g.close()
		g.interval = time.Second
		c, sent := g.subscribed(8)
		first, before := g.host(), sent()
		g.lookUpFor(c, ringmap.Renewed+time.Minute, 0)
		if g.host() == first {
			t.Error("the client stays at one member")
		}
		if n := sent().Total() - before.Total(); n > 2 {
			t.Errorf("it takes %d requests to subscribe elsewhere", n)
		}
	})
}

func TestClientSubscribesOnlyWhileItLooksUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 4)
		defer g.close()
		g.interval = time.Second
		c, sent := g.subscribed(8)
		time.Sleep(3 * ringmap.Idle)
		if g.host() != nil {
			t.Error("a client that looks nothing up is still subscribed")
		}
		c.sub.mu.Lock()
		running := c.sub.running
		c.sub.mu.Unlock()
		if running {
			t.Error("its goroutine runs")
		}
		before := sent()
		time.Sleep(10 * time.Minute)
		if n := sent().Total() - before.Total(); n != 0 {
			t.Errorf("%d requests without a lookup", n)
		}
		g.clientIsRight(c)
		time.Sleep(3 * ringmap.Idle)
		if n := sent().Subscribe; n != 1 {
			t.Errorf("a few lookups at one moment make it subscribe: %d subscriptions", n)
		}
	})
}

// The member goes in every way that there is. No answer is wrong for longer than it takes
// the ring and the client to find out.
func TestClientMovesOnWhenItsMemberGoes(t *testing.T) {
	for name, gone := range map[string]func(g *rig, n *Node){
		"crash": func(_ *rig, n *Node) { n.Close() },
		"leave": func(g *rig, n *Node) {
			if err := n.Leave(g.t.Context(), 0); err != nil {
				g.t.Error(err)
			}
			n.Close()
		},
		"vanish": func(g *rig, n *Node) { g.net.Pause(n.Addr()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 5)
				defer g.close()
				c, _ := g.subscribed(8)
				for range 3 {
					n := g.host()
					if n == nil {
						t.Fatal("the client has not subscribed")
					}
					gone(g, n)
					g.nodes = slices.DeleteFunc(g.nodes, func(x *Node) bool { return x == n })
					defer n.Close()
					defer g.net.Resume(n.Addr())
					g.lookUpFor(c, 20*time.Second, 5*time.Second)
				}
			})
		})
	}
}

// Whatever joins and goes is known to the client as soon as to the member.
func TestSubscribedClientKnowsWhoJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 6)
		defer g.close()
		c, _ := g.subscribed(8)
		for i := range 8 {
			n := g.add(fmt.Sprintf("late%d", i))
			if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
				t.Fatal(err)
			}
			g.lookUpFor(c, 2*time.Second, 400*time.Millisecond)
		}
	})
}

// The age of what a client answers is that of the member's map and of the stream, and the
// options of a lookup bound it.
func TestClientKeepsThePromiseOfAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 7)
		defer g.close()
		c, sent := g.subscribed(16)
		id := g.space.ID([]byte("key 1"))
		age := func() time.Duration {
			r, err := c.Lookup(t.Context(), id, routing.Options{})
			if err != nil || r.Source != routing.RingMap {
				t.Fatalf("%+v, %v", r, err)
			}
			return r.Age
		}
		for range 100 {
			if a := age(); a <= 0 || a > ringmap.Promised(g.interval) {
				t.Errorf("the age is %v", a)
			}
			g.lookUpFor(c, 100*time.Millisecond, 0)
		}
		asked := func(opts routing.Options) uint64 {
			before := sent()
			if r, err := c.Lookup(t.Context(), id, opts); err != nil || r.Owner != g.owner(id) {
				t.Errorf("%+v, %v", r, err)
			}
			return sent().Route - before.Route
		}
		if n := asked(routing.Options{MaxAge: time.Hour}); n != 0 {
			t.Errorf("any age, and %d requests", n)
		}
		if n := asked(routing.Options{MaxAge: time.Nanosecond}); n != 1 {
			t.Errorf("hardly any age, and %d requests", n)
		}
		if n := asked(routing.Options{Fresh: true}); n != 1 {
			t.Errorf("a fresh lookup, and %d requests", n)
		}
		// What is on its way for long is as old.
		for _, n := range g.nodes {
			g.net.Cut(n.Addr(), "client:1")
		}
		time.Sleep(ringmap.Promised(g.interval))
		if _, _, ok := c.chart.Load().Lookup(id, c.now(), ringmap.Promised(g.interval)); ok {
			t.Error("the map answers although nothing has been heard for ten intervals")
		}
	})
}

// Reject, and a connection that breaks, strike the map at once.
func TestWhatProvesWrongIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 8)
		defer g.close()
		c, sent := g.subscribed(8)
		var id uint64
		for k := 0; ; k++ {
			if id = g.space.ID(fmt.Appendf(nil, "key %d", k)); g.owner(id).Addr != g.host().Addr() {
				break
			}
		}
		costs := func() uint64 {
			before := sent()
			if r, err := c.Lookup(t.Context(), id, routing.Options{}); err != nil || r.Owner != g.owner(id) {
				t.Errorf("%+v, %v", r, err)
			}
			return sent().Route - before.Route
		}
		if n := costs(); n != 0 {
			t.Fatalf("%d requests", n)
		}
		c.Reject(g.owner(id))
		if n := costs(); n == 0 {
			t.Error("an owner that was rejected is named without being asked")
		}
		g.lookUpFor(c, 5*time.Second, 0)
		if n := costs(); n != 0 {
			t.Errorf("%d requests after the owner has confirmed that it is", n)
		}
		if _, err := c.Lookup(t.Context(), id, routing.Options{Fresh: true}); err != nil {
			t.Fatal(err) // so that there is a connection
		}
		g.net.Break(g.owner(id).Addr)
		time.Sleep(10 * time.Millisecond)
		if n := costs(); n != 1 {
			t.Errorf("%d requests after the connection broke", n)
		}
	})
}

// without is a transport to members that tell clients nothing.
type without struct {
	*memory.Transport
	asked int
}

func (w *without) Subscribe(context.Context, transport.Envelope, *ringmap.Subscription, func(*ringmap.Update) error) error {
	w.asked++
	return &protocol.Failure{Kind: protocol.Invalid, Detail: "unknown"}
}

func TestClientOfMembersThatTellNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 9)
		defer g.close()
		g.interval = time.Second
		g.grow(8)
		tr, err := g.net.Client("")
		if err != nil {
			t.Fatal(err)
		}
		w := &without{Transport: tr}
		c := NewClient(ClientConfig{Space: g.space, Settings: g.space.Settings(""), Addrs: []string{g.nodes[0].Addr()}}, w)
		g.clients = append(g.clients, c)
		if err := c.Dial(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.lookUpFor(c, 10*time.Minute, 0)
		if w.asked == 0 || w.asked > 40 {
			t.Errorf("it has tried %d times in ten minutes", w.asked)
		}
		for _, err := range c.WatchRing(t.Context()) {
			if !errors.Is(err, ErrNoMap) {
				t.Errorf("%v", err)
			}
		}
	})
}

// lying is a transport to members that lie to clients that subscribe.
type lying struct {
	*memory.Transport
	tell func(ctx context.Context, sub *ringmap.Subscription, f func(*ringmap.Update) error) error
	told int
}

func (l *lying) Subscribe(ctx context.Context, _ transport.Envelope, sub *ringmap.Subscription, f func(*ringmap.Update) error) error {
	l.told++
	return l.tell(ctx, sub, f)
}

// Whatever a member tells, every lookup of its client is right: an owner that has not said
// itself that it is one is asked.
func TestMemberThatLiesToItsSubscribers(t *testing.T) {
	for name, tell := range map[string]func(g *rig, u *ringmap.Update){
		"one member owns the whole circle": func(g *rig, u *ringmap.Update) {
			x := g.nodes[2].Snapshot().View.Self
			u.Claims = []ringmap.Announcement{{ID: x.ID, After: x.ID, Epoch: protocol.MaxEpoch, Incarnation: x.Incarnation, Of: &x}}
		},
		"a stranger owns the whole circle": func(g *rig, u *ringmap.Update) {
			x := ring.Member{ID: g.space.ID([]byte("stranger")), Name: "stranger", Addr: "nobody:1", Incarnation: 1}
			u.Claims = []ringmap.Announcement{{ID: x.ID, After: x.ID, Epoch: 1, Incarnation: 1, Of: &x}}
		},
		"each owns the arc of the next": func(g *rig, u *ringmap.Update) {
			for _, n := range g.nodes {
				v := n.Snapshot().View
				u.Claims = append(u.Claims, ringmap.Announcement{ID: v.Self.ID, After: v.Succ[0].ID, Epoch: 9, Incarnation: v.Self.Incarnation, Of: &v.Self})
			}
		},
		"nobody owns anything": func(*rig, *ringmap.Update) {},
		"a member with another's place": func(g *rig, u *ringmap.Update) {
			x := g.nodes[2].Snapshot().View.Self
			x.ID++
			u.Claims = []ringmap.Announcement{{ID: x.ID, After: x.ID, Epoch: 1, Incarnation: x.Incarnation, Of: &x}}
		},
		"it never ends": func(_ *rig, u *ringmap.Update) { u.More = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 10)
				defer g.close()
				g.grow(8)
				tr, err := g.net.Client("")
				if err != nil {
					t.Fatal(err)
				}
				l := &lying{Transport: tr, tell: func(ctx context.Context, _ *ringmap.Subscription, f func(*ringmap.Update) error) error {
					began := time.Now()
					for first := true; ; first = false {
						u := ringmap.Update{Aged: true, Clock: time.Since(began)}
						if first {
							u.Interval = time.Hour
							tell(g, &u)
						}
						if err := f(&u); err != nil {
							return err
						}
						select {
						case <-time.After(100 * time.Millisecond):
						case <-ctx.Done():
							return &protocol.Failure{Kind: protocol.Cancelled}
						}
					}
				}}
				c := NewClient(ClientConfig{Space: g.space, Settings: g.space.Settings(""), Addrs: []string{g.nodes[0].Addr()}}, l)
				g.clients = append(g.clients, c)
				if err := c.Dial(t.Context()); err != nil {
					t.Fatal(err)
				}
				g.lookUpFor(c, 20*time.Second, 0)
				if l.told == 0 {
					t.Error("the client has not subscribed")
				}
			})
		})
	}
}

// Applied in order, what a client is told of the ring gives the ring.
func TestClientWatchesTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 11)
		defer g.close()
		g.grow(8)
		c := g.dial()
		known := map[ring.Member]ring.Arc{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		var elements atomic.Int64
		go func() {
			var last error
			defer func() { ended <- last }()
			for list, err := range c.WatchRing(ctx) {
				if last = err; err != nil {
					continue
				}
				if elements.Add(1) == 1 && len(list) != 8 {
					t.Errorf("the first element has %d members", len(list))
				}
				for _, x := range list {
					if old, had := known[x.Who]; had != x.Had || old != x.Old {
						t.Errorf("%+v after %v (%v)", x, old, had)
					}
					if known[x.Who] = x.Now; !x.Has {
						delete(known, x.Who)
					}
				}
			}
		}()
		time.Sleep(time.Second)
		if n := elements.Load(); n != 1 {
			t.Errorf("%d elements after a second", n)
		}
		g.nodes[3].Close()
		g.nodes = slices.Delete(g.nodes, 3, 4)
		n := g.host()
		n.Close()
		g.nodes = slices.DeleteFunc(g.nodes, func(x *Node) bool { return x == n })
		late := g.add("late")
		if err := late.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		g.ideal(20 * g.interval)
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ends with %v", err)
		}
		if len(known) != len(g.nodes) {
			t.Errorf("it knows %v", known)
		}
		for _, n := range g.nodes {
			v := n.Snapshot().View
			if known[v.Self] != v.Arc {
				t.Errorf("%v has %v, should have %v", v.Self, known[v.Self], v.Arc)
			}
		}
		time.Sleep(2 * time.Second)
		if g.host() != nil {
			t.Error("it is subscribed although nobody watches")
		}
	})
}

// A member that cannot tell, since it is in no ring or about to leave, says so.
func TestMemberOutsideTellsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 12)
		defer g.close()
		n := g.add("alone")
		tr, err := g.net.Client("")
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		env := transport.Envelope{To: n.Snapshot().View.Self, Settings: g.space.Settings("")}
		messages := 0
		subscribe := func() protocol.FailureKind {
			return failure(tr.Subscribe(t.Context(), env, &ringmap.Subscription{}, func(*ringmap.Update) error {
				messages++
				return nil
			})).Kind
		}
		if kind := subscribe(); kind != protocol.NotJoined || messages > 0 {
			t.Errorf("%v after %d messages", kind, messages)
		}
		n.Create()
		time.AfterFunc(10*time.Second, func() { n.Close() })
		if kind := subscribe(); kind != protocol.NotJoined && kind != protocol.Unreachable || messages < 10 {
			t.Errorf("%v after %d messages", kind, messages)
		}
	})
}
