package node

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// A join is on every map at once, without any round.
func TestJoinsAreOnEveryMapAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Hour
		for i := range 12 {
			g.enter(i)
			began := time.Now()
			for {
				w := ""
				for _, m := range g.live() {
					if w = wrongMap(m, g.live()); w != "" {
						break
					}
				}
				if w == "" {
					break
				}
				if time.Since(began) > 50*time.Millisecond {
					t.Fatalf("%d members, after %v: %s", i+1, time.Since(began), w)
				}
				time.Sleep(time.Millisecond)
			}
			t.Log(time.Since(began))
		}
	})
}

// A member that nobody has a connection to, and that has gone, is dropped as the head of a member as
// soon as that one's map is refused there, without any round.
func TestRefusedPushShowsThatTheHeadIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Hour
		for i := range 8 {
			g.enter(i)
			time.Sleep(time.Second)
		}
		ms := g.live()
		before, gone, after := ms[3], ms[4], ms[5]
		for _, n := range ms {
			n.tr.Limit(0) // so that no broken connection says that one has gone
		}
		gone.Close()
		time.Sleep(time.Second)
		head := func() uint64 { return before.Snapshot().View.Succ[0].ID }
		if head() != gone.cfg.Self.ID {
			t.Fatal("it has been noticed without a push")
		}
		// A claim goes to the fourth place, and from there to the fifth.
		name := ""
		for i := 0; name == "" || !ring.Between(ms[7].cfg.Self.ID, g.space.ID([]byte(name)), ms[0].cfg.Self.ID); i++ {
			name = fmt.Sprintf("joiner %d", i)
		}
		if err := g.add(name).Join(t.Context(), []string{ms[0].Addr()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if head() != after.cfg.Self.ID {
			t.Errorf("its head is still %016x", head())
		}
		if p := after.Snapshot().View.Pred.ID; p != before.cfg.Self.ID {
			t.Errorf("the predecessor of the next is still %016x", p)
		}
	})
}

// A claim that is not of a member that can be is refused, also if it is said to be one of a
// legacy member, and changes nothing.
func TestClaimsOfMembersThatCannotBeAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.space.Bits = 16
		n := g.add("a")
		n.Create()
		several := func(incarnation, home uint64) *ring.Member {
			x := &ring.Member{Name: "b", Addr: "b:1", Incarnation: incarnation, Choice: ring.Chosen(0, 0), Home: home}
			x.ID = g.space.At(x.Name, x.Choice)
			return x
		}
		home := g.space.ID([]byte("b"))
		stranger := ring.Member{ID: home, Name: "b", Addr: "b:1", Incarnation: unixMilli(0)}
		env := transport.Envelope{From: stranger, Settings: g.space.Settings("")}
		for _, c := range []struct {
			name string
			of   *ring.Member
			ok   bool
		}{
			{"as it should be", several(unixMilli(0), home), true},
			{"a home that is not the hash of the name", several(unixMilli(0), home+1), false},
			{"a home beyond the circle", several(unixMilli(0), home+1<<16), false},
			{"a legacy member with several identifiers", several(0, home), false},
			{"the same, and its home beyond the circle", several(0, 1<<63), false},
			{"a legacy member with a home", &ring.Member{ID: home, Name: "b", Addr: "b:1", Home: 7}, false},
		} {
			before := n.chart.Load()
			a := ringmap.Announcement{ID: c.of.ID, After: c.of.ID - 1, Epoch: 99, Incarnation: c.of.Incarnation, Of: c.of}
			_, err := (*handler)(n).Map(t.Context(), env, &ringmap.Request{
				Kind: ringmap.Push, Parts: []ringmap.Part{{To: n.cfg.Self.ID, Claims: []ringmap.Announcement{a}}},
			})
			if (err == nil) != c.ok || (n.chart.Load() == before) == c.ok {
				t.Errorf("%s: error %v, map changed %t", c.name, err, n.chart.Load() != before)
			}
		}
	})
}

// What the map says to an identifier that is about to join is not lost: the map says it once.
func TestJoiningIdentifierHearsOfItsMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		n := g.addSeveral("a", 3)
		n.Create()
		if err := n.Standing(t.Context()); err != nil {
			t.Fatal(err)
		}
		x := n.others()[0]
		n.change(func(nodes []*Node) []*Node { // as before it is in the ring
			return slices.DeleteFunc(nodes, func(y *Node) bool { return y == x })
		})
		v := x.Snapshot().View
		former := v.Self
		former.Incarnation--
		claim := ringmap.Claim{ID: former.ID, After: v.Arc.After, Epoch: v.Epoch + 9, Of: &former}
		n.onMap(func(m *ringmap.Map) {
			a := ringmap.Announcement{ID: claim.ID, After: claim.After, Epoch: claim.Epoch, Incarnation: former.Incarnation, Of: &former}
			m.Receive(n.now(), &ringmap.Request{Kind: ringmap.Push, Parts: []ringmap.Part{{To: former.Home, Claims: []ringmap.Announcement{a}}}})
		})
		synctest.Wait()
		if got := x.Snapshot().View.Epoch; got <= claim.Epoch {
			t.Errorf("it claims its arc by the epoch %d, and another by %d", got, claim.Epoch)
		}
		x.closeThis()
	})
}

// Whoever asks for all claims of a map that do not fit in one message is told each of them once.
func TestPagesOfAMapHaveEachClaimOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.interval = time.Hour
		n := g.add("a")
		n.Create()
		want := 1 // its own
		for i, k := range []int{1, 7, 900, 16, 16, 500} {
			name := fmt.Sprintf("p%d", i)
			var list []ringmap.Announcement
			for slot := range k {
				x := &ring.Member{Name: name, Addr: name + ":1", Incarnation: unixMilli(0), Choice: ring.Chosen(slot, 0), Home: g.space.ID([]byte(name))}
				x.ID = g.space.At(name, x.Choice)
				list = append(list, ringmap.Announcement{ID: x.ID, After: x.ID - 1, Epoch: uint64(99 + 99*i), Incarnation: x.Incarnation, Of: x})
			}
			n.onMap(func(m *ringmap.Map) {
				m.Receive(n.now(), &ringmap.Request{Kind: ringmap.Push, Parts: []ringmap.Part{{To: n.cfg.Self.ID, Claims: list}}})
			})
			if i > 0 {
				want += k
			} else {
				time.Sleep(time.Minute) // it finds out that the first is not there
			}
		}
		by := g.add("b")
		got := map[uint64]int{}
		if err := by.pages(t.Context(), n.Snapshot().View.Self, func(a *ringmap.Announcement) { got[a.ID]++ }); err != nil {
			t.Fatal(err)
		}
		for id, times := range got {
			if times != 1 {
				t.Fatalf("the claim of %d was told %d times", id, times)
			}
		}
		if len(got) != want {
			t.Errorf("%d claims were told, of %d", len(got), want)
		}
	})
}

// Of two that close a Node at once, one may come to wait for its goroutines when the other has only
// begun. A lookup that goes on meanwhile can tell the map nothing any more, which would ask others.
func TestWhoeverHasClosedANodeHasEndedItsMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		g.grow(3)
		n := g.nodes[0]
		n.mu.Lock()
		n.closed = true // the other has come to here
		n.mu.Unlock()
		n.Close()
		n.onMap(func(*ringmap.Map) { t.Error("the map is told of what a lookup was answered") })
	})
}
