package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// nameIn makes a name whose identifier lies on the arc.
func (g *rig) nameIn(arc ring.Arc) (string, uint64) {
	for k := 0; ; k++ {
		name := fmt.Sprintf("y%d", k)
		if id := g.space.ID([]byte(name)); arc.Contains(id) {
			return name, id
		}
	}
}

// at is the node at an address.
func (g *rig) at(addr string) *Node {
	return g.nodes[slices.IndexFunc(g.nodes, func(n *Node) bool { return n.Addr() == addr })]
}

// apart cuts x off from all others.
func (g *rig) apart(x *Node) {
	for _, n := range g.nodes {
		if n != x {
			g.cut(n.Addr(), x.Addr())
		}
	}
}

func TestHastyCallersCondemnNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(16)
		time.Sleep(20 * g.interval)
		n := g.nodes[0]
		for _, m := range g.nodes[1:] {
			g.net.DelayBetween(n.Addr(), m.Addr(), 5*time.Millisecond, 6*time.Millisecond)
		}
		time.Sleep(10 * g.interval)
		for k := range 60 {
			id := g.space.ID(fmt.Appendf(nil, "key %d", k))
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
			_, err := n.Lookup(ctx, id, routing.Options{Fresh: true})
			cancel()
			if err == nil && !n.Snapshot().Table.Arc.Contains(id) {
				t.Fatalf("key %d was answered in 3ms, the test tests nothing", k)
			}
		}
		if lives, _ := n.peers.suspicions().Avoid(n.now()); len(lives) > 0 {
			t.Errorf("%d members are avoided since a caller had no time", len(lives))
		}
		if got := len(n.Snapshot().Table.Near()); got < 10 {
			t.Errorf("%d members are left in the table", got)
		}
	})
}

// Whoever does not know its predecessor says "mine" of its own identifier, and of
// nothing else on the arc that it once had.
func TestWordWithoutArcIsOfNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(12)
		time.Sleep(50 * g.interval)
		ms := g.live()
		x := ms[6]
		name, id := g.nameIn(x.Snapshot().View.Arc)
		var clients []*Client
		for range 20 {
			c := g.dial(ms[0].Addr())
			if r, err := c.Lookup(t.Context(), id, routing.Options{Fresh: true}); err != nil || r.Owner.ID != x.cfg.Self.ID {
				t.Fatal(r.Owner, err)
			}
			clients = append(clients, c)
		}
		g.apart(x)
		time.Sleep(10 * time.Second)
		y := g.add(name)
		if err := y.Join(t.Context(), []string{ms[3].Addr()}); err != nil {
			t.Fatal(err)
		}
		g.apart(x)
		time.Sleep(10 * time.Second)
		g.net.HealAll()
		asked := 0
		for began := time.Now(); time.Since(began) < 10*time.Second && asked < len(clients); time.Sleep(500 * time.Microsecond) {
			if v := x.Snapshot().View; v.HasArc || len(v.Succ) == 0 {
				continue
			}
			r, err := clients[asked].Lookup(t.Context(), id, routing.Options{MaxAge: time.Millisecond})
			if asked++; err == nil && r.Owner.ID == x.cfg.Self.ID {
				t.Fatalf("%v was named %v after it had come back, without an arc", r.Owner.Name, time.Since(began))
			}
		}
		if asked == 0 {
			t.Error("the member always knew its predecessor: nothing was tested")
		}
	})
}

// The head says that somebody is before it: what lies before that one is not the
// head's any more.
func TestDisownedArcIsNotVouchedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(12)
		time.Sleep(50 * g.interval)
		ms := g.live()
		p, x := ms[3], ms[4]
		name, id := g.nameIn(x.Snapshot().View.Arc)
		y := g.add(name)
		g.net.DelayBetween(y.Addr(), p.Addr(), 450*time.Millisecond, 450*time.Millisecond)
		go y.Join(t.Context(), []string{x.Addr()})
		for x.Snapshot().View.Arc.Contains(id) {
			time.Sleep(100 * time.Microsecond)
		}
		gave := time.Now()
		for since := time.Duration(0); since < 1400*time.Millisecond; since = time.Since(gave) {
			if o := p.Local(id, 0); o != nil && o.ID == x.cfg.Self.ID && since > p.life {
				t.Fatalf("%v after the head had given the key up memory names it", since)
			}
			if a := p.Snapshot().Table.Answer(routing.Query{ID: id}, p.now()); a.HasArc && a.Owner.ID == x.cfg.Self.ID && since > a.Age+10*time.Millisecond {
				t.Fatalf("%v after the head had given the key up it is vouched for, %v old", since, a.Age)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if got := p.Snapshot().View.Head().ID; got != id {
			t.Errorf("the joiner is not the head")
		}
	})
}

func TestSharedWordIsNotOlderThanMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = 50 * time.Millisecond
		g.grow(12)
		time.Sleep(50 * g.interval)
		ms := g.live()
		n, x := ms[0], ms[6]
		name, id := g.nameIn(x.Snapshot().View.Arc)
		if _, err := n.Lookup(t.Context(), id, routing.Options{Fresh: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * g.interval)
		g.net.DelayBetween(x.Addr(), n.Addr(), 280*time.Millisecond, 280*time.Millisecond)
		go n.Lookup(t.Context(), id, routing.Options{})
		time.Sleep(5 * time.Millisecond)
		y, began := g.add(name), time.Now()
		if err := y.Join(t.Context(), []string{ms[3].Addr()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(230*time.Millisecond - time.Since(began))
		r, err := n.Lookup(t.Context(), id, routing.Options{MaxAge: 10 * time.Millisecond})
		if want := g.owner(id); err != nil || r.Owner != want {
			t.Errorf("%v, said to be %v old, %v; want %v, which has owned it for 200ms", r.Owner.Name, r.Age, err, want.Name)
		}
	})
}

func TestSharedQuestionLeavesTimeForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(16)
		time.Sleep(50 * g.interval)
		c := g.dial()
		var id uint64
		var dead *Node // known by its predecessor's word only
		for k := range 200 {
			id = g.space.ID(fmt.Appendf(nil, "key %d", k))
			r, err := c.Lookup(t.Context(), id, routing.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if x := c.arcs.Known(id); x != nil && r.Verdict == routing.Owned && !c.peers.of(x.Owner.Addr).Known() {
				dead = g.at(x.Owner.Addr)
				break
			}
		}
		g.net.Pause(dead.Addr())
		g.ideal(time.Minute, dead)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r, err := c.Lookup(ctx, id, routing.Options{}); err != nil || r.Owner != g.owner(id, dead) {
			t.Errorf("%v, %v", r.Owner, err)
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

// A change elsewhere does not bring back what is doubted.
func TestDoubtedHeadStaysDoubted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Second
		g.grow(12)
		time.Sleep(20 * g.interval)
		n := g.nodes[0]
		v := n.Snapshot().View
		x := v.Head()
		for n.now()-n.Snapshot().View.Certain > 20*time.Millisecond {
			time.Sleep(5 * time.Millisecond)
		}
		if n.Local(x.ID, 0) == nil {
			t.Fatal("the head is not remembered")
		}
		g.cut(n.Addr(), x.Addr)
		n.broken(x.Addr)
		name, _ := g.nameIn(v.Arc)
		y := g.add(name)
		go y.Join(t.Context(), []string{g.live()[6].Addr()})
		for began := time.Now(); time.Since(began) < 900*time.Millisecond; time.Sleep(time.Millisecond) {
			if n.Local(x.ID, 0) != nil {
				t.Fatalf("%v after the connection broke memory names %v", time.Since(began), x.Name)
			}
		}
		if n.Snapshot().View.Pred.Name != name {
			t.Error("nothing was published meanwhile")
		}
	})
}

func TestWhatWasNotSavedIsSavedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		tr, err := g.net.Listen("")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // guards these
		var saved []ring.Member
		calls, full := 0, false
		n := New(Config{
			Self:  ring.Member{ID: g.space.ID([]byte("z")), Name: "z", Addr: tr.Addr()},
			Space: g.space, Settings: g.space.Settings(""), Successors: g.r, Interval: g.interval, Seed: 9,
			Remember: func(_ uint64, m []ring.Member) error {
				mu.Lock()
				defer mu.Unlock()
				if calls++; full {
					return errors.New("no space left on device")
				}
				saved = m
				return nil
			},
		}, tr)
		g.nodes = append(g.nodes, n)
		time.Sleep(time.Second)
		set := func(on bool) int {
			mu.Lock()
			defer mu.Unlock()
			full = on
			return calls
		}
		before := set(true)
		if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if tries := set(false) - before; tries < 2 || tries > 6 {
			t.Errorf("%d tries in ten seconds", tries)
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(saved) < 4 {
			t.Errorf("saved %v", saved)
		}
	})
}

func TestSilentContactDoesNotDelayTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
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
	})
}

// Every finger to which the connection breaks is looked up at once, not only the last.
func TestFingersLostTogetherAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Second
		g.grow(64)
		time.Sleep(20 * g.interval) // all fingers have been looked up
		n := g.nodes[0]
		v := n.Snapshot().View
		var dead []string
		for _, f := range n.Snapshot().Fingers {
			if len(dead) < 6 && !slices.Contains(v.Succ, f.Member) && f.Member != v.Pred {
				// Connections that nobody uses are closed. To this one there is one.
				if _, err := n.route(t.Context(), f.Member, routing.Query{ID: f.Member.ID}); err != nil {
					t.Fatal(err)
				}
				dead = append(dead, f.Member.Addr)
			}
		}
		for _, addr := range dead {
			g.at(addr).Close()
		}
		time.Sleep(g.interval)
		for _, f := range n.Snapshot().Fingers {
			if slices.Contains(dead, f.Member.Addr) {
				t.Errorf("%v, one of %d that died, is a finger after an interval", f.Member.Name, len(dead))
			}
		}
	})
}
