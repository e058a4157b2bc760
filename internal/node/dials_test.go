package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

var stranger = netip.MustParseAddr("192.0.2.7")

// notify has n told by a stranger that a member of that name is at addr, and says how it is
// refused.
func (g *rig) notify(n *Node, source netip.Addr, name, addr string) protocol.Refusal {
	g.t.Helper()
	by := ring.Member{ID: g.space.ID([]byte(name)), Name: name, Addr: addr, Incarnation: unixMilli(0)}
	env := transport.Envelope{From: by, Settings: g.space.Settings(""), Source: source}
	r, err := (*handler)(n).Maintain(g.t.Context(), env, protocol.Request{Kind: protocol.Notify})
	if err != nil {
		g.t.Fatal(err)
	}
	return r.Refusal
}

// A port scanner is what members must not be: whoever notifies them of addresses has them
// ask there.
func TestStrangersCauseFewQuestions(t *testing.T) {
	for _, c := range []struct {
		name, host string
		most       uint64 // at once
		pace       time.Duration
	}{
		{"at their own host", "192.0.2.7", peer.SourceBurst, peer.SourcePace},
		{"at another host", "198.51.100.9", peer.ForeignBurst, peer.ForeignPace},
		{"at a name of their own host", "own.example", peer.SourceBurst, peer.SourcePace},
		{"at a name of another host", "other.example", peer.ForeignBurst, peer.ForeignPace},
		{"at a name of nobody", "nobody.example", peer.ForeignBurst, peer.ForeignPace},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 1)
				defer g.close()
				var log journal
				n := g.logged("victim", &log)
				n.hosts = func(_ context.Context, _, host string) ([]netip.Addr, error) {
					switch host {
					case "own.example":
						return []netip.Addr{netip.MustParseAddr("2001:db8::1"), stranger}, nil
					case "other.example":
						return []netip.Addr{netip.MustParseAddr("198.51.100.9")}, nil
					}
					return nil, errors.New("no such host")
				}
				n.Create()
				const spread = 10 * time.Second
				began := time.Now()
				const messages = 1000
				for i := range messages {
					r := g.notify(n, stranger, fmt.Sprintf("s%d", i), fmt.Sprintf("%s:%d", c.host, 1000+i))
					if r.Reason != protocol.NotReached && r.Reason != protocol.Busy {
						t.Fatalf("notification %d: %+v", i, r)
					}
					time.Sleep(spread / messages)
				}
				asked, refused := n.Counters().RingRequests, n.Counters().DialsRefused
				if most := c.most + uint64(time.Since(began)/c.pace) + 1; asked > most || asked < c.most {
					t.Errorf("%d questions, want %d to %d", asked, c.most, most)
				}
				if refused < messages-asked {
					t.Errorf("%d questions and %d refused, want %d at least", asked, refused, messages)
				}
				if got := log.lines("too many addresses"); len(got) != 1 || !strings.Contains(got[0], "addr=192.0.2.7") {
					t.Errorf("log: %q", got)
				}
				// Others are not held up, and what the stranger named holds up nobody.
				if r := g.notify(n, netip.MustParseAddr("203.0.113.1"), "other", "203.0.113.1:1"); r.Reason != protocol.NotReached {
					t.Errorf("another host after that: %+v", r)
				}
				x := g.add("joiner")
				if err := x.Join(t.Context(), []string{n.Addr()}); err != nil {
					t.Error(err)
				}
				g.ideal(20 * g.interval)
			})
		})
	}
}

func TestStrangersFromManyHostsCauseFewQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		n := g.add("victim")
		n.Create()
		for i := range 2 * peer.CausedBurst {
			host := fmt.Sprintf("10.0.%d.%d", i/200, i%200)
			g.notify(n, netip.MustParseAddr(host), fmt.Sprintf("s%d", i), host+":1")
		}
		if asked := n.Counters().RingRequests; asked < peer.CausedBurst || asked > peer.CausedBurst+16 {
			t.Errorf("%d questions, want some %d", asked, peer.CausedBurst)
		}
	})
}

// What the stranger is told must not differ between addresses at which there is no member.
func TestStrangersAreToldCategoriesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 1)
		defer g.close()
		n, other := g.add("victim"), g.add("other")
		n.Create()
		other.Create()
		var told []string
		for i, f := range []*protocol.Failure{
			{Kind: protocol.Refused, Detail: "nobody listens at SECRET"},
			{Kind: protocol.Unreachable, Detail: "lookup SECRET: no such host"},
			{Kind: protocol.Unreachable, Detail: "SECRET: HTTP/1.1 400 Bad Request"},
			{Kind: protocol.TimedOut, Detail: "no answer from SECRET in time"},
			{Kind: protocol.Invalid, Detail: "SECRET: the answer cannot be read"},
		} {
			n.tr = failing{n.tr, f}
			r := g.notify(n, stranger, fmt.Sprintf("s%d", i), "secret:1")
			if r.Reason != protocol.NotReached || strings.Contains(r.Detail, "SECRET") {
				t.Errorf("%v: %+v", f, r)
			}
			told = append(told, strings.ReplaceAll(r.Detail, fmt.Sprintf("s%d", i), "s"))
		}
		if slices.Sort(told); len(slices.Compact(told)) != 1 {
			t.Errorf("told apart: %q", told)
		}
	})
}

// failing is a transport whose questions all fail alike.
type failing struct {
	transport.Transport
	failure *protocol.Failure
}

func (f failing) Maintain(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
	return protocol.Reply{}, f.failure
}

func TestHostsCountByTheirNetwork(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.7":            "192.0.2.7",
		"::ffff:192.0.2.7":     "192.0.2.7",
		"2001:db8:0:1::1":      "2001:db8:0:1::/64",
		"2001:db8:0:1:ffff::2": "2001:db8:0:1::/64",
		"fe80::1%eth0":         "fe80::/64",
		"127.0.0.1":            "127.0.0.1",
	} {
		if got := network(netip.MustParseAddr(host)); got != want {
			t.Errorf("%s counts as %q, want %q", host, got, want)
		}
	}
	if got := network(netip.Addr{}); got != "" {
		t.Errorf("an unknown host counts as %q", got)
	}
}
