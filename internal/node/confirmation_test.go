package node

import (
	"context"
	"fmt"
	"slices"
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
		if avoided, _ := n.peers.suspicions().Avoid(n.now()); len(avoided) > 0 {
			t.Errorf("%d members are avoided since a caller had no time", len(avoided))
		}
		if got := len(n.Snapshot().Table.Near()); got < 10 {
			t.Errorf("%d members are left in the table", got)
		}
	})
}

// Whoever does not know its predecessor says "mine" of its own identifier, and of
// nothing else on the arc that it once had.
func TestAnswerWithoutArcConfirmsNothingElse(t *testing.T) {
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
func TestDisownedArcIsNotConfirmed(t *testing.T) {
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
			if o := p.Local(id, 0); o != nil && o.ID == x.cfg.Self.ID && since > p.lease {
				t.Fatalf("%v after the head had given the key up memory names it", since)
			}
			if a := p.Snapshot().Table.Answer(routing.Query{ID: id}, p.now()); a.HasArc && a.Owner.ID == x.cfg.Self.ID && since > a.Age+10*time.Millisecond {
				t.Fatalf("%v after the head had given the key up it is confirmed, %v old", since, a.Age)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if got := p.Snapshot().View.Head().ID; got != id {
			t.Errorf("the joiner is not the head")
		}
	})
}

func TestSharedAnswerIsNotOlderThanMaxAge(t *testing.T) {
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
		var dead *Node // remembered as an owner
		for k := range 200 {
			id = g.space.ID(fmt.Appendf(nil, "key %d", k))
			if _, err := c.Lookup(t.Context(), id, routing.Options{}); err != nil {
				t.Fatal(err)
			}
			if x := c.arcs.Known(id); x != nil {
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
