package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

func TestZonesAreBelievedOfTheMemberItselfFirst(t *testing.T) {
	var z zones
	x := ring.Member{ID: 7, Name: "x", Addr: "h:1", Incarnation: 3}
	want := func(step, zone string, heard bool) {
		t.Helper()
		if got, ok := z.of(x); got != zone || ok != heard {
			t.Errorf("%s: zone %q, heard %v; want %q, %v", step, got, ok, zone, heard)
		}
	}
	want("to begin with", "", false)
	z.hear(x.Instance(), "", false)
	want("nobody knows of one", "", true)
	z.hear(x.Instance(), "a", false)
	want("another knows", "a", true)
	z.hear(x.Instance(), "", false)
	want("a third does not", "a", true)
	z.hear(x.Instance(), "b", false)
	want("a third differs", "a", true)
	z.hear(x.Instance(), "c", true)
	want("the member says", "c", true)
	z.hear(x.Instance(), "d", false)
	want("another differs from the member", "c", true)
	if all := z.ofAll([]ring.Member{{ID: 1}, x}); !slices.Equal(all, []string{"", "c"}) {
		t.Errorf("of a list: %q", all)
	}
	if all := z.ofAll([]ring.Member{{ID: 1}}); all != nil {
		t.Errorf("of a list without zones: %q", all)
	}
	again := x
	again.Incarnation++
	if _, heard := z.of(again); heard {
		t.Error("another incarnation is taken for the same")
	}
	if zone, heard := z.of(ring.Member{ID: 1, Name: "legacy", Addr: "h:1"}); zone != "" || !heard {
		t.Errorf("a legacy member is in zone %q, heard %v", zone, heard)
	}
}

func TestZonesAreBounded(t *testing.T) {
	var z zones
	for i := range 3 * maxZones {
		z.hear(ring.Instance{ID: uint64(i), Incarnation: 1}, fmt.Sprint(i), true)
	}
	if got := z.known.Len(); got != maxZones {
		t.Errorf("%d known", got)
	}
	if zone, heard := z.of(ring.Member{ID: 2*maxZones - 1, Name: "x", Incarnation: 1}); heard {
		t.Errorf("one that is older than the newest %d is in %q", maxZones, zone)
	}
	if zone, _ := z.of(ring.Member{ID: 3*maxZones - 1, Name: "x", Incarnation: 1}); zone != fmt.Sprint(3*maxZones-1) {
		t.Errorf("the newest is in %q", zone)
	}
}

// zonedRig is a ring of members that are in zones in turn; every fourth is in none.
func zonedRig(t *testing.T, count int) (g *rig, zone map[uint64]string) {
	g = newRig(t, 1)
	zone = map[uint64]string{}
	g.configure = func(c *Config) {
		if i := len(zone); i%4 < 3 {
			c.Zone = string(rune('a' + i%4))
		}
		zone[c.Self.ID] = c.Zone
	}
	g.grow(count)
	time.Sleep(5 * g.interval)
	return g, zone
}

func TestLookupNTakesMembersOfDistinctZones(t *testing.T) {
	for _, count := range []int{1, 3, 8, 20} {
		synctest.Test(t, func(t *testing.T) {
			g, zone := zonedRig(t, count)
			defer g.close()
			for who, fd := range g.finders() {
				for kind, opts := range kinds {
					if opts.Verified && who == "client" && count == 1 {
						continue // one member proves nothing to a client
					}
					for k, n := range []int{1, 2, 3, 7} {
						id := g.space.ID(fmt.Append(nil, who, kind, k))
						chosen := routing.NewReplicas(n)
						for _, x := range g.after(id, count) {
							if chosen.Add(x, zone[x.ID]) {
								break
							}
						}
						got, err := fd.LookupN(t.Context(), id, n, opts)
						if want := chosen.Members(); err != nil || !slices.Equal(got, want) {
							t.Errorf("%d members: %s: %s: %d from %d: %v, %v; want %v", count, who, kind, n, id, got, err, want)
						}
					}
				}
			}
		})
	}
}

// A member that hears of others only from lookups asks each for its zone once.
func TestZonesAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := zonedRig(t, 8)
		defer g.close()
		fd := &g.dial().Finder
		if _, err := fd.LookupN(t.Context(), 0, 8, routing.Options{}); err != nil {
			t.Fatal(err)
		}
		before := fd.counters.asked[protocol.AskRing].Load()
		if before == 0 || before > 8 {
			t.Errorf("8 members of 3 zones took %d questions for lists", before)
		}
		for _, x := range g.after(0, 8) {
			if _, heard := fd.zoneOf(x); !heard {
				t.Errorf("the zone of %v is not known", x)
			}
		}
		if _, err := fd.LookupN(t.Context(), 0, 8, routing.Options{Fresh: true}); err != nil {
			t.Fatal(err)
		}
		if after := fd.counters.asked[protocol.AskRing].Load(); after != before {
			t.Errorf("%d more questions for zones that are known", after-before)
		}
	})
}

// A member that knows all others from its map only has heard of their zones with it.
func TestZonesComeWithTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, zone := zonedRig(t, 20)
		defer g.close()
		time.Sleep(20 * g.interval)
		for _, n := range g.nodes {
			before := n.counters.asked[protocol.AskRing].Load()
			for _, x := range g.after(0, 20) {
				if got, heard := n.zoneOf(x); !heard || got != zone[x.ID] {
					t.Errorf("%s has heard %v of the zone of %s: %q, not %q", n.cfg.Self.Name, heard, x.Name, got, zone[x.ID])
				}
			}
			got, err := n.LookupN(t.Context(), 0, 3, routing.Options{})
			if err != nil || len(got) != 3 {
				t.Errorf("%v, %v", got, err)
			}
			if after := n.counters.asked[protocol.AskRing].Load(); after != before {
				t.Errorf("%s has asked %d members", n.cfg.Self.Name, after-before)
			}
		}
	})
}

func TestZonesOfClaimsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		n := g.add("a")
		var list []ringmap.Announcement
		for i := range 1000 {
			x := ring.Member{ID: uint64(i), Name: "x", Addr: "x:1", Incarnation: 1}
			n.peers.zones.hear(x.Run(), strings.Repeat("z", ring.MaxZoneLength), true)
			list = append(list, ringmap.Announcement{ID: x.ID, Incarnation: 1, Of: &x})
		}
		sum := 0
		out := n.zonedClaims(list)
		for i := range out {
			sum += out[i].ZoneBytes()
		}
		if sum > ringmap.MaxZoneBytes || sum < ringmap.MaxZoneBytes-100 {
			t.Errorf("%d bytes of zones", sum)
		}
		if last := out[999]; last.Zoned || last.Zone != "" || list[0].Zoned {
			t.Errorf("the last: %+v, the first that was given: %+v", last, list[0])
		}
	})
}
