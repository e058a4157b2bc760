package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// kinds are the options that lookups are tried with.
var kinds = map[string]routing.Options{
	"default": {}, "fresh": {Fresh: true}, "10 ms": {MaxAge: 10 * time.Millisecond}, "cold": {Cold: true}, "cold and fresh": {Cold: true, Fresh: true},
	"verified": {Cold: true, Fresh: true, Verified: true},
}

// after is the truth about the owner of an identifier and the n−1 members after it.
func (g *rig) after(id uint64, n int) []ring.Member {
	ms := g.live()
	first := slices.IndexFunc(ms, func(m *Node) bool { return m.Snapshot().View.Self == g.owner(id) })
	var out []ring.Member
	for k := range min(n, len(ms)) {
		out = append(out, ms[(first+k)%len(ms)].Snapshot().View.Self)
	}
	return out
}

// finders are those that lookups are tried at: some members, and a client.
func (g *rig) finders() map[string]*Finder {
	g.t.Helper()
	out := map[string]*Finder{"client": &g.dial().Finder}
	for _, n := range g.nodes[:min(len(g.nodes), 3)] {
		out[n.cfg.Self.Name] = &n.Finder
	}
	return out
}

func TestLookupNNamesTheOwnerAndThoseAfterIt(t *testing.T) {
	for _, count := range []int{1, 2, 3, 5, 12} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, 1)
			g.grow(count)
			time.Sleep(5 * g.interval)
			for who, fd := range g.finders() {
				for kind, opts := range kinds {
					if opts.Verified && who == "client" && count == 1 {
						continue // one member proves nothing to a client
					}
					for k, n := range []int{1, 2, 3, 7, 40} {
						for _, id := range []uint64{g.space.ID(fmt.Append(nil, who, kind, k)), g.nodes[k%count].cfg.Self.ID, 0, ^uint64(0)} {
							got, err := fd.LookupN(t.Context(), id, n, opts)
							if want := g.after(id, n); err != nil || !slices.Equal(got, want) {
								t.Errorf("%d members: %s: %s: %d from %d: %v, %v; want %v", count, who, kind, n, id, got, err, want)
							}
						}
					}
				}
			}
			g.close()
		})
	}
}

// One answer has up to SuccessorCount members.
func TestLookupNAsksOncePerList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(24)
		c := g.dial()
		before := c.Counters()
		got, err := c.LookupN(t.Context(), 0, 13, routing.Options{})
		if err != nil || !slices.Equal(got, g.after(0, 13)) {
			t.Fatalf("%v, %v", got, err)
		}
		if asked := c.Counters().RingRequests - before.RingRequests; asked != 4 {
			t.Errorf("asked %d for their lists; want 4 for 12 members", asked)
		}
		if asked := c.Counters().RouteRequests - before.RouteRequests; asked > 5 {
			t.Errorf("asked %d to find the owner", asked)
		}
	})
}

func TestLookupNGoesRoundTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Minute // nobody notices
		g.grow(12)
		ms := g.live()
		c := g.dial()
		if _, err := c.LookupN(t.Context(), ms[2].cfg.Self.ID, 6, routing.Options{}); err != nil {
			t.Fatal(err)
		}
		ms[2].Close()
		ms[3].Close()
		got, err := c.LookupN(t.Context(), ms[2].cfg.Self.ID, 6, routing.Options{Fresh: true})
		if want := g.after(ms[2].cfg.Self.ID, 6); err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	})
}

func TestLookupNGivesWhatItFoundWithItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Minute
		g.grow(3)
		ms := g.live()
		own := ms[0].cfg.Self.ID
		for _, n := range ms[1:] {
			g.net.Pause(n.Addr())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		got, err := ms[0].LookupN(ctx, own, 2, routing.Options{Fresh: true})
		var le *LookupError
		if len(got) != 1 || got[0].ID != own || !errors.As(err, &le) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v", got, err)
		}
		for _, n := range ms[1:] {
			g.net.Resume(n.Addr())
		}
	})
}

// randomIDs are identifiers of every kind: anywhere, on members, beside them,
// several times over, at the ends of the numbers.
func (g *rig) randomIDs(rng *rand.Rand, n int) []uint64 {
	ids := []uint64{0, g.space.Mask(), 0}
	for range n {
		id := rng.Uint64() & g.space.Mask()
		if m := g.nodes[rng.IntN(len(g.nodes))].cfg.Self.ID; rng.IntN(4) == 0 {
			id = g.space.Add(m, uint64(rng.IntN(3))-1)
		}
		ids = append(ids, id)
		if rng.IntN(4) == 0 {
			ids = append(ids, ids[rng.IntN(len(ids))])
		}
	}
	return ids
}

func TestLookupAllSaysWhatLookupSays(t *testing.T) {
	for seed := range uint64(2) {
		for _, count := range []int{1, 2, 5, 16} {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, seed)
				g.space.Bits = []uint{64, 16}[seed%2]
				rng := rand.New(rand.NewPCG(seed, uint64(count)))
				g.grow(count)
				time.Sleep(5 * g.interval)
				for who, fd := range g.finders() {
					for kind, opts := range kinds {
						if opts.Verified && who == "client" && count == 1 {
							continue
						}
						ids := g.randomIDs(rng, rng.IntN(60))
						got, errs := fd.LookupAll(t.Context(), ids, opts)
						if errs != nil || len(got) != len(ids) {
							t.Fatalf("%d of %d, %v", len(got), len(ids), errs)
						}
						for i, id := range ids {
							one, err := fd.Lookup(t.Context(), id, opts)
							if err != nil || got[i] != one.Owner || got[i] != g.owner(id) {
								t.Errorf("%d members: %s: %s: owner of %d is %v; one by one %v, %v; in truth %v",
									count, who, kind, id, got[i], one.Owner, err, g.owner(id))
							}
						}
					}
				}
				g.close()
			})
		}
	}
}

func TestLookupAllOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(2)
		if got, errs := g.nodes[0].LookupAll(t.Context(), nil, routing.Options{Fresh: true}); len(got) != 0 || errs != nil {
			t.Errorf("%v, %v", got, errs)
		}
	})
}

// What many identifiers cost does not depend on how many they are, but on how
// many own them.
func TestLookupAllAsksEachOwnerOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Second
		const members = 64
		g.grow(members)
		time.Sleep(5 * g.interval)
		ids := make([]uint64, 10_000)
		for i := range ids {
			ids[i] = g.space.ID(fmt.Appendf(nil, "key %d", i))
		}
		want := make([]ring.Member, len(ids))
		for i, id := range ids {
			want[i] = g.owner(id)
		}
		n, c := g.nodes[5], g.dial()
		for _, x := range []struct {
			what string
			fd   *Finder
			opts routing.Options
			most uint64 // requests: some to find the way, and what is confirmed in the background
		}{
			{"a member that has looked nothing up", &n.Finder, routing.Options{}, 2 * members}, // it has met few
			{"one that knows whom to ask", &n.Finder, routing.Options{}, members + 8},
			{"one that asks all the same", &n.Finder, routing.Options{Fresh: true}, members + 8},
			{"one that remembers", &n.Finder, routing.Options{}, 8},
			{"a client that knows one member and those after it", &c.Finder, routing.Options{}, 2 * members},
			{"one that knows whom to ask", &c.Finder, routing.Options{}, members + 8},
			{"one that asks all the same", &c.Finder, routing.Options{Fresh: true}, members + 8},
			{"one that remembers", &c.Finder, routing.Options{}, 8},
		} {
			before := x.fd.counters.routed.Load()
			began := time.Now()
			got, errs := x.fd.LookupAll(t.Context(), ids, x.opts)
			asked := x.fd.counters.routed.Load() - before
			t.Logf("%s: %d requests, %v", x.what, asked, time.Since(began))
			if errs != nil || asked > x.most {
				t.Errorf("%s: %d requests for %d owners, %v", x.what, asked, members, errs)
			}
			for i, id := range ids {
				if got[i] != want[i] {
					t.Fatalf("%s: owner of %d is %v, want %v", x.what, id, got[i], want[i])
				}
			}
		}
	})
}

func TestLookupAllNamesThoseItFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Minute
		g.grow(8)
		ms := g.live()
		var ids []uint64
		for _, m := range ms {
			ids = append(ids, m.cfg.Self.ID, m.cfg.Self.ID, m.cfg.Self.ID-1)
		}
		hung := ms[3]
		g.net.Pause(hung.Addr())
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		got, errs := ms[0].LookupAll(ctx, ids, routing.Options{Fresh: true})
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		if len(errs) != len(ids) {
			t.Fatalf("%d errors for %d", len(errs), len(ids))
		}
		for i, id := range ids {
			if g.owner(id) == hung.Snapshot().View.Self {
				if !errors.Is(errs[i], context.DeadlineExceeded) || !got[i].IsZero() {
					t.Errorf("%d, whose owner hangs: %v, %v", id, got[i], errs[i])
				}
			} else if errs[i] != nil || got[i] != g.owner(id) {
				t.Errorf("%d: %v, %v; want %v", id, got[i], errs[i], g.owner(id))
			}
		}
		g.net.Resume(hung.Addr())
	})
}

func TestLookupsOutsideARing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		n := g.add("n0")
		check := func(want error) {
			t.Helper()
			if _, err := n.LookupN(t.Context(), 1, 2, routing.Options{}); !errors.Is(err, want) {
				t.Errorf("LookupN: %v, want %v", err, want)
			}
			if _, errs := n.LookupAll(t.Context(), []uint64{1, 2}, routing.Options{}); len(errs) != 2 || !errors.Is(errs[1], want) {
				t.Errorf("LookupAll: %v, want %v", errs, want)
			}
		}
		check(ErrNotInRing)
		n.Close()
		check(ErrClosed)
	})
}

// Sources and ages: what a Result says of where its owner comes from.
func TestResultSaysWhereItComesFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(24)
		time.Sleep(10 * g.interval)
		ms := g.live()
		n := ms[0]
		look := func(id uint64, opts routing.Options) Result {
			t.Helper()
			r, err := n.Lookup(t.Context(), id, opts)
			if err != nil || r.Owner != g.owner(id) {
				t.Fatalf("%v, %v", r.Owner, err)
			}
			if (r.Source == routing.Asked) != (len(r.Hops) > 0) {
				t.Errorf("source %d with %d hops", r.Source, len(r.Hops))
			}
			return r
		}
		for kind, opts := range kinds {
			if r := look(n.cfg.Self.ID, opts); r.Source != routing.OwnRange || !r.HasArc || r.Age != 0 {
				t.Errorf("own, %s: %+v", kind, r)
			}
		}
		far := ms[12].cfg.Self.ID
		arc := ring.Arc{After: ms[11].cfg.Self.ID, To: far}
		if r := look(far, routing.Options{}); r.Source != routing.RingMap || r.Arc != arc || r.Age <= 0 || r.Age > time.Duration(n.promised.Load()) {
			t.Errorf("from the map: %+v", r)
		}
		n.tellMap(far, ms[13].cfg.Self.Instance()) // so that arcs answer
		if r := look(far, routing.Options{}); r.Source != routing.Asked || r.Arc != arc || r.Age <= 0 {
			t.Errorf("first: %+v", r)
		}
		time.Sleep(50 * time.Millisecond)
		if r := look(far, routing.Options{}); r.Source != routing.ConfirmedArc || r.Arc != arc || r.Age < 50*time.Millisecond || r.Age > n.lease {
			t.Errorf("again: %+v", r)
		}
		r := look(far, routing.Options{Fresh: true})
		if r.Source != routing.Asked || len(r.Hops) != 1 || r.Hops[0].Why != routing.Remembered || r.Hops[0].Answer.Verdict != routing.Mine {
			t.Errorf("fresh: %+v", r)
		}
		r = look(far, routing.Options{Cold: true})
		if r.Source != routing.Asked || r.Hops[0].Why == routing.Remembered {
			t.Errorf("cold: %+v", r)
		}
	})
}

// That a caller gives up says nothing about whom it had asked.
func TestLookupGivenUpLeavesNoSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(2)
		a, b := g.nodes[0], g.nodes[1]
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(100 * time.Microsecond)
			cancel()
		}()
		if _, err := a.Lookup(ctx, b.cfg.Self.ID, routing.Options{Fresh: true}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if self := b.Snapshot().View.Self; a.peers.suspicions().Avoided(self, a.now()) {
			t.Error("the member asked is under suspicion")
		}
	})
}

// A rejected member has to confirm its arc in each lookup, not in one.
func TestRejectedOwnerIsNotNamedFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(8)
		time.Sleep(5 * g.interval)
		n := g.live()[0]
		for _, m := range g.live()[1:] {
			owner := m.Snapshot().View.Self
			n.Reject(ring.Member{ID: owner.ID, Name: owner.Name, Addr: owner.Addr})
			for range 4 {
				r, err := n.Lookup(t.Context(), owner.ID, routing.Options{})
				if err != nil || r.Owner != owner || len(r.Hops) == 0 || r.Hops[len(r.Hops)-1].Answer.Verdict != routing.Mine {
					t.Fatalf("%v by %+v, %v", r.Owner, r.Hops, err)
				}
				time.Sleep(g.interval)
			}
			time.Sleep(n.suspicion)
			if r, err := n.Lookup(t.Context(), owner.ID, routing.Options{Fresh: true}); err != nil || r.Owner != owner {
				t.Fatalf("%v, %v", r.Owner, err)
			}
			if n.Local(owner.ID, 0) == nil {
				t.Errorf("%s: not remembered after its time is over", owner.Name)
			}
		}
	})
}

func TestLookupsFromMemoryAllocateNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(4)
		n, id := g.nodes[0], g.nodes[2].cfg.Self.ID
		if _, err := n.Lookup(t.Context(), id, routing.Options{Fresh: true}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []uint64{n.cfg.Self.ID, id} {
			ok := true
			if allocs := testing.AllocsPerRun(100, func() {
				ok = ok && n.Local(id, 0) != nil
			}); allocs != 0 || !ok {
				t.Errorf("%v allocations, found %v", allocs, ok)
			}
		}
	})
}
