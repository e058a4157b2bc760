package concord_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
)

// zoned is a ring of n members in the zones a, b and c in turn, and a client.
func zoned(t *testing.T, opts concordtest.Options, n int) (ring *concordtest.Ring, members []*concord.Concord, client *concord.Client) {
	ring = concordtest.New(t, opts)
	members = ring.Start(n, func(i int, c *concord.Config) { c.Zone = string(rune('a' + i%3)) })
	ring.Settle(t.Context())
	return ring, members, ring.Client()
}

// chosen is the rule for the servers of a key, from the truth: of the members clockwise from
// its owner the nearest of each zone, then the rest.
func chosen(members []*concord.Concord, zone map[concord.Server]string, key []byte, n int) (out []concord.Server) {
	clockwise := slices.Clone(members)
	distance := func(c *concord.Concord) uint64 { return c.Id() - idOf(string(key)) }
	slices.SortFunc(clockwise, func(a, b *concord.Concord) int {
		if distance(a) < distance(b) {
			return -1
		}
		return 1
	})
	var rest []concord.Server
	seen := map[string]bool{}
	for _, c := range clockwise {
		if s := serverOf(c); seen[zone[s]] {
			rest = append(rest, s)
		} else {
			seen[zone[s]] = true
			out = append(out, s)
		}
	}
	out = append(out, rest...)
	return out[:min(n, len(out))]
}

// A whole zone of three dies. Every key has two of its three servers left, and they are among
// those that all survivors name for it within two intervals.
func TestCopiesOutliveAZone(t *testing.T) {
	const interval = time.Second // the default
	for _, n := range []int{6, 12} {
		synctest.Test(t, func(t *testing.T) {
			ring, members, client := zoned(t, concordtest.Options{}, n)
			killed := 0
			zone := map[concord.Server]string{}
			var dead, left []*concord.Concord
			for _, m := range members {
				zone[serverOf(m)] = m.Status().Zone
				if m.Status().Zone == "b" {
					dead = append(dead, m)
					killed++
				} else {
					left = append(left, m)
				}
			}
			if killed != n/3 {
				t.Fatalf("%d of %d members are in zone b", killed, n)
			}
			all := keys(50)
			before := make([][]concord.Server, len(all))
			for i, key := range all {
				for who, f := range map[string]finder{"member": members[i%n], "client": client} {
					got, err := f.LookupN(t.Context(), key, 3)
					if want := chosen(members, zone, key, 3); err != nil || !slices.Equal(got, want) {
						t.Fatalf("%d members: %s: %s: %v, %v; want %v", n, who, key, got, err, want)
					}
					before[i] = got
				}
			}
			ring.Kill(dead...)
			time.Sleep(2 * interval)
			for i, key := range all {
				for who, f := range map[string]finder{"member": left[i%len(left)], "client": client} {
					after, err := f.LookupN(t.Context(), key, 3)
					if want := chosen(left, zone, key, 3); err != nil || !slices.Equal(after, want) {
						t.Errorf("%d members without zone b: %s: %s: %v, %v; want %v", n, who, key, after, err, want)
					}
					holders := 0
					for _, s := range before[i] {
						if zone[s] != "b" && slices.Contains(after, s) {
							holders++
						}
					}
					if holders != 2 {
						t.Errorf("%d members without zone b: %s: %s: %d of %v are among %v", n, who, key, holders, before[i], after)
					}
				}
			}
		})
	}
}

func TestZonesAreSeenByAll(t *testing.T) {
	for _, sockets := range []bool{false, true} {
		see := func(t *testing.T) {
			_, members, client := zoned(t, concordtest.Options{Sockets: sockets}, 4)
			want := map[string]string{}
			for _, m := range members {
				want[m.Name()] = m.Status().Zone
			}
			if len(want) != 4 {
				t.Fatalf("%v", want)
			}
			for _, from := range []interface {
				finder
				Members(ctx context.Context, opts ...concord.LookupOption) iter.Seq2[concord.Member, error]
			}{members[0], client} {
				seen := map[string]string{}
				for m, err := range from.Members(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					seen[m.Server.Name] = m.Zone
				}
				if fmt.Sprint(seen) != fmt.Sprint(want) {
					t.Errorf("sockets %v: members are in %v, seen in %v", sockets, want, seen)
				}
				servers, err := from.LookupN(t.Context(), []byte("apple"), 3)
				zones := map[string]bool{}
				for _, s := range servers {
					zones[want[s.Name]] = true
				}
				if err != nil || len(zones) != 3 {
					t.Errorf("sockets %v: three servers are in the zones %v: %v, %v", sockets, zones, servers, err)
				}
			}
		}
		if sockets {
			see(t)
		} else {
			synctest.Test(t, see)
		}
	}
}

// Maps tell in which zone each member is.
func TestRingChangesHaveZones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, members, client := zoned(t, concordtest.Options{}, 6)
		time.Sleep(20 * time.Second) // in which every map has heard of every zone
		want := map[concord.Server]string{}
		for _, m := range members {
			want[serverOf(m)] = m.Status().Zone
		}
		check := func(who string, list []concord.RingChange) {
			got := map[concord.Server]string{}
			for _, x := range list {
				got[x.Server] = x.Zone
			}
			if !maps.Equal(got, want) {
				t.Errorf("the map of %s has the zones %v, want %v", who, got, want)
			}
		}
		for _, m := range members {
			for list := range m.WatchRing(t.Context()) {
				check(m.Name(), list)
				break
			}
		}
		for list, err := range client.WatchRing(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			check("the client", list)
			break
		}
	})
}
