package node

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/balance"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/standing"
)

// addSeveral adds a process that is to stand at so many identifiers.
func (g *rig) addSeveral(name string, identifiers int) *Node {
	g.t.Helper()
	return g.addSeveralWith(name, identifiers, func(*Config) {})
}

// addSeveralWith is addSeveral of one with more in its configuration.
func (g *rig) addSeveralWith(name string, identifiers int, more func(*Config)) *Node {
	g.t.Helper()
	g.configure = func(cfg *Config) {
		more(cfg)
		if cfg.Identifiers = identifiers; identifiers > 1 {
			cfg.Self.Choice, cfg.Self.Home = ring.Chosen(0, 0), cfg.Self.ID
			cfg.Self.ID = g.space.At(name, cfg.Self.Choice)
		}
	}
	defer func() { g.configure = nil }()
	return g.add(name)
}

// growSeveral makes a ring of processes at so many identifiers each.
func (g *rig) growSeveral(identifiers ...int) {
	g.t.Helper()
	for i, k := range identifiers {
		n := g.addSeveral(fmt.Sprintf("n%d", i), k)
		if i == 0 {
			n.Create()
		} else if err := n.Join(g.t.Context(), []string{g.nodes[0].Addr()}); err != nil {
			g.t.Fatalf("n%d: %v", i, err)
		}
		ctx, cancel := context.WithTimeout(g.t.Context(), 20*g.interval)
		if err := n.Standing(ctx); err != nil {
			g.t.Fatalf("n%d: %v", i, err)
		}
		cancel()
	}
	g.idealSeveral(20 * g.interval)
}

// all are the nodes of all identifiers in the ring, clockwise.
func (g *rig) all() (out []*Node) {
	for _, n := range g.nodes {
		for _, x := range n.Nodes() {
			if x.ctx.Err() == nil && x.Snapshot().View.Phase == protocol.Joined {
				out = append(out, x)
			}
		}
	}
	slices.SortFunc(out, func(a, b *Node) int { return cmp.Compare(a.cfg.Self.ID, b.cfg.Self.ID) })
	return out
}

// wrongSeveral says which pointer, arc or map is wrong.
func (g *rig) wrongSeveral() string {
	all := g.all()
	k := len(all)
	for i, n := range all {
		v := n.Snapshot().View
		var following []ring.Member
		for j := 1; j < k; j++ {
			following = append(following, all[(i+j)%k].Snapshot().View.Self)
		}
		if want := protocol.Cut(v.Self, g.r, following); !slices.Equal(v.Succ, want) {
			return fmt.Sprintf("%v: successors %v, want %v", v.Self, v.Succ, want)
		}
		if pred := all[(i+k-1)%k].Snapshot().View.Self; k > 1 && v.Pred != pred {
			return fmt.Sprintf("%v: predecessor %v, want %v", v.Self, v.Pred, pred)
		}
		if w := wrongMap(n, all); w != "" {
			return w
		}
	}
	return ""
}

// idealSeveral waits until nothing is wrong, and returns how long that took.
func (g *rig) idealSeveral(within time.Duration) time.Duration {
	g.t.Helper()
	began := time.Now()
	for {
		w := g.wrongSeveral()
		took := time.Since(began)
		if w == "" {
			return took
		}
		if took > within {
			g.t.Fatalf("after %v: %s", took, w)
		}
		time.Sleep(g.interval / 20)
	}
}

// ownersAgree looks points up at every process and compares the answers with the truth.
func (g *rig) ownersAgree(rng *rand.Rand, opts routing.Options) {
	g.t.Helper()
	all := g.all()
	for range 200 {
		id := rng.Uint64()
		i, _ := slices.BinarySearchFunc(all, id, func(n *Node, id uint64) int { return cmp.Compare(n.cfg.Self.ID, id) })
		owner := all[i%len(all)]
		for _, n := range g.nodes {
			if n.ctx.Err() != nil {
				continue
			}
			r, err := n.Lookup(g.t.Context(), id, opts)
			if err != nil || r.Owner != owner.Snapshot().View.Self {
				g.t.Fatalf("%s: %d is owned by %v, %v; not by %v", n.cfg.Self.Name, id, r.Owner, err, owner.cfg.Self)
			}
			if _, owns := n.Owns(id); owns != (n.cfg.Self.Name == owner.cfg.Self.Name) {
				g.t.Fatalf("%s owns %d: %t", n.cfg.Self.Name, id, owns)
			}
		}
	}
}

func (g *rig) stop(n *Node) {
	n.Close()
	g.nodes = slices.DeleteFunc(g.nodes, func(x *Node) bool { return x == n })
}

func TestProcessesAtSeveralIdentifiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		rng := rand.New(rand.NewPCG(1, 1))
		g.growSeveral(4, 4)
		g.ownersAgree(rng, routing.Options{})
		for i, k := range []int{1, 16, 4, 16} {
			n := g.addSeveral(fmt.Sprintf("m%d", i), k)
			if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
				t.Fatal(err)
			}
			if err := n.Standing(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		g.idealSeveral(20 * g.interval)
		if n := len(g.all()); n != 45 {
			t.Errorf("%d identifiers, not 45", n)
		}
		g.ownersAgree(rng, routing.Options{})
		g.ownersAgree(rng, routing.Options{Fresh: true})
		g.ownersAgree(rng, routing.Options{Cold: true})

		// One of 16 dies.
		g.stop(g.nodes[3])
		took := g.idealSeveral(20 * g.interval)
		t.Logf("ideal again %v after the death of one of 16, interval %v", took, g.interval)
		g.ownersAgree(rng, routing.Options{})

		// One leaves.
		leaving := g.nodes[4]
		if err := leaving.Leave(t.Context(), 0); err != nil {
			t.Error(err)
		}
		g.nodes = slices.DeleteFunc(g.nodes, func(x *Node) bool { return x == leaving })
		took = g.idealSeveral(20 * g.interval)
		t.Logf("ideal again %v after the leave of one of 16", took)
		g.ownersAgree(rng, routing.Options{})
	})
}

func TestIdentifiersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 2)
		defer g.close()
		rng := rand.New(rand.NewPCG(2, 2))
		g.growSeveral(4, 8, 8)
		first := g.nodes[0]
		for _, k := range []int{12, 2, 7, 1, 3} {
			first.SetIdentifiers(k)
			if err := first.Standing(t.Context()); err != nil {
				t.Fatal(err)
			}
			g.idealSeveral(20 * g.interval)
			if n := len(first.Nodes()); n != k {
				t.Errorf("%d identifiers, not %d", n, k)
			}
			g.ownersAgree(rng, routing.Options{})
		}
	})
}

// A process that hangs is given up at all its identifiers, and takes them back.
func TestProcessAtSeveralIdentifiersHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3)
		defer g.close()
		g.growSeveral(4, 4, 4, 4, 4)
		hung := g.nodes[2]
		for _, n := range g.nodes {
			if n != hung {
				g.cut(n.Addr(), hung.Addr())
			}
		}
		g.nodes = slices.DeleteFunc(g.nodes, func(x *Node) bool { return x == hung })
		took := g.idealSeveral(60 * g.interval)
		t.Logf("ideal without it after %v", took)
		for _, n := range g.nodes {
			g.net.Heal(n.Addr(), hung.Addr())
			g.net.Heal(hung.Addr(), n.Addr())
		}
		g.nodes = append(g.nodes, hung)
		took = g.idealSeveral(200 * g.interval)
		t.Logf("ideal with it again after %v", took)
	})
}

// Size counts processes, exactly by the map, and as far as is known without one.
func TestSizeCountsProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 5)
		defer g.close()
		g.growSeveral(4, 4, 1, 8)
		time.Sleep(20 * g.interval)
		for _, n := range g.nodes {
			if got := n.Size(); got != 4 {
				t.Errorf("%s: %d processes by the map, not 4", n.cfg.Self.Name, got)
			}
		}
		n := g.nodes[0]
		n.chart.Store(nil)
		if got := n.Size(); got < 2 || got > 8 {
			t.Errorf("%d processes without a map, of 4", got)
		}
	})
}

// The shares of processes that choose are even.
func TestChosenSharesAreEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 4)
		defer g.close()
		g.growSeveral(16, 16, 16, 16, 16, 16, 16, 16)
		shares := map[string]float64{}
		for _, n := range g.all() {
			shares[n.cfg.Self.Name] += g.space.Share(n.Snapshot().View.Arc)
		}
		for name, share := range shares {
			if r := share * 8; r > 1.15 || r < 0.85 {
				t.Errorf("%s has %.3f times the fair share", name, r)
			}
		}
	})
}

// Those that are left choose anew when half have gone.
func TestSharesAreEvenedOutAfterLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 6)
		defer g.close()
		g.growSeveral(4, 4, 4, 4, 4, 4, 4, 4, 4, 4)
		for range 5 {
			g.stop(g.nodes[1])
			g.idealSeveral(20 * g.interval)
		}
		most := func() (most float64) {
			shares := map[string]float64{}
			for _, n := range g.all() {
				shares[n.cfg.Self.Name] += g.space.Share(n.Snapshot().View.Arc)
			}
			for _, share := range shares {
				most = max(most, 5*share)
			}
			return most
		}
		before := most()
		time.Sleep(12 * standing.ChangeEvery * g.interval)
		g.idealSeveral(40 * g.interval)
		after := most()
		t.Logf("largest share by the mean: %.3f before, %.3f after", before, after)
		if before <= balance.Far || after > balance.Far {
			t.Errorf("largest share by the mean: %.3f before, %.3f after", before, after)
		}
		if n := len(g.all()); n != 20 {
			t.Errorf("%d identifiers, not 20", n)
		}
		g.ownersAgree(rand.New(rand.NewPCG(6, 6)), routing.Options{})
	})
}

// Twelve processes join at once and all find their places.
func TestProcessesAtSeveralIdentifiersJoinAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 5)
		defer g.close()
		g.growSeveral(4)
		joined, via := make(chan error), g.nodes[0].Addr()
		for i := range 12 {
			n := g.addSeveral(fmt.Sprintf("m%d", i), 4)
			go func() {
				err := n.Join(t.Context(), []string{via})
				if err == nil {
					err = n.Standing(t.Context())
				}
				joined <- err
			}()
		}
		for range 12 {
			if err := <-joined; err != nil {
				t.Error(err)
			}
		}
		g.idealSeveral(40 * g.interval)
		g.ownersAgree(rand.New(rand.NewPCG(5, 5)), routing.Options{})
	})
}

// A process gives up an identifier at which another of its name has taken its place, and those
// chosen later, and joins again. It wants as many as before.
func TestIdentifierThatIsSupersededIsChosenAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3)
		defer g.close()
		g.growSeveral(3, 4, 3)
		n := g.nodes[1]
		lost := n.others()[1]
		v := *lost.Snapshot().View
		v.Phase = protocol.Superseded
		lost.mu.Lock()
		lost.publish(&v)
		lost.mu.Unlock()
		g.idealSeveral(20 * g.interval)
		if n.Standing(t.Context()) != nil || len(n.Nodes()) != 4 || slices.Contains(n.Nodes(), lost) || lost.ctx.Err() == nil {
			t.Errorf("it stands at %d identifiers, what it has lost has ended: %t", len(n.Nodes()), lost.ctx.Err() != nil)
		}
	})
}

// unowned counts the points, of a thousand at random, that no process owns.
func (g *rig) unowned(rng *rand.Rand) (count int) {
	for range 1000 {
		id := rng.Uint64()
		if !slices.ContainsFunc(g.nodes, func(n *Node) bool { _, owns := n.Owns(id); return owns }) {
			count++
		}
	}
	return count
}

// Whenever a process stands as it is to, each of its identifiers has its range: after Create, after
// Join, and after its weight was changed, also after it has drained.
func TestProcessThatStandsHasAllItsRanges(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, seed)
			defer g.close()
			g.interval = time.Second
			rng := rand.New(rand.NewPCG(seed, 7))
			stands := func(n *Node, after string) {
				t.Helper()
				for len(n.Nodes()) < 16 {
					time.Sleep(time.Millisecond)
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 20*g.interval)
				defer cancel()
				if err := n.Standing(ctx); err != nil {
					t.Fatalf("seed %d, after %s: %v", seed, after, err)
				}
				if k := g.unowned(rng); k > 0 {
					t.Fatalf("seed %d, after %s: nobody owns %d of 1000 points", seed, after, k)
				}
				if took := time.Since(began); took > g.interval/10 {
					t.Errorf("seed %d, after %s: it has all its ranges %v after it has joined with the last", seed, after, took)
				}
			}
			for i := range 4 {
				n := g.addSeveral(fmt.Sprintf("n%d-%d", seed, i), 16)
				if i == 0 {
					n.Create()
					stands(n, "Create")
				} else if err := n.Join(t.Context(), []string{g.nodes[0].Addr()}); err != nil {
					t.Fatal(err)
				}
				stands(n, fmt.Sprintf("Join %d", i))
			}
			n := g.nodes[seed%4]
			for _, low := range []int{1, 0} {
				n.SetIdentifiers(low)
				ctx, cancel := context.WithTimeout(t.Context(), 20*g.interval)
				if err := n.Standing(ctx); err != nil {
					t.Fatal(err)
				}
				cancel()
				n.SetIdentifiers(16)
				stands(n, fmt.Sprintf("a weight of %d", low))
			}
		})
	}
}
