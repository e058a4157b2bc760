package budget

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// rig is a Budget and the connections that it has closed.
type rig struct {
	*Budget
	t      *testing.T
	closed []string // names and why, in their order
}

func newRig(t *testing.T, l Limits) *rig { return &rig{Budget: New(l), t: t} }

// connect makes a connection, nil if it is refused.
func (r *rig) connect(name, from string) (*Conn, error) {
	r.t.Helper()
	var addr netip.Addr
	if from != "" {
		addr = netip.MustParseAddr(from)
	}
	var c *Conn
	c, err := r.Admit(addr, func(why string) {
		r.closed = append(r.closed, name+": "+why)
		c.Close()
	})
	return c, err
}

func (r *rig) must(name, from string) *Conn {
	r.t.Helper()
	c, err := r.connect(name, from)
	if err != nil {
		r.t.Fatalf("%s from %q is refused: %v", name, from, err)
	}
	return c
}

func (r *rig) begin(c *Conn, k Kind) *Request {
	r.t.Helper()
	x, err := c.Begin(k)
	if err != nil {
		r.t.Fatalf("a request is refused: %v", err)
	}
	return x
}

func (r *rig) wantClosed(want ...string) {
	r.t.Helper()
	if fmt.Sprint(r.closed) != fmt.Sprint(want) {
		r.t.Errorf("closed are %q; want %q", r.closed, want)
	}
	r.closed = nil
}

func TestOneHostHasAShareOfTheConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Limits{Connections: 10, PerHost: 2})
		r.must("a1", "192.0.2.1")
		r.must("a2", "192.0.2.1")
		if _, err := r.connect("a3", "192.0.2.1"); err == nil || err.Error() != "too many connections from one host: 2, and none at rest" {
			t.Errorf("the third connection of a host: %v", err)
		}
		r.must("b1", "192.0.2.2")
		r.must("v1", "2001:db8::1")
		r.must("v2", "2001:db8::2")
		if _, err := r.connect("v3", "2001:db8::3"); err == nil {
			t.Error("a third connection of one network of IPv6 is accepted")
		}
		r.must("w1", "2001:db8:0:1::1")
		r.wantClosed()
		if c := r.Counts(); c.Connections != 2 || r.Connections() != 6 {
			t.Errorf("%d refused, %d there; want 2 and 6", c.Connections, r.Connections())
		}
	})
}

func TestConnectionAtRestMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Limits{PerHost: 2})
		works := r.must("works", "192.0.2.1")
		r.must("rests", "192.0.2.1")
		request := r.begin(works, Lookup)
		time.Sleep(restBeforeClosed - time.Millisecond)
		if _, err := r.connect("early", "192.0.2.1"); err == nil {
			t.Error("a connection that has rested for a moment makes room")
		}
		time.Sleep(time.Millisecond)
		r.must("new", "192.0.2.1")
		r.wantClosed("rests: it was at rest, and another needs its place")
		time.Sleep(time.Minute)
		request.End()
		r.must("newer", "192.0.2.1")
		r.wantClosed("new: it was at rest, and another needs its place")
		if r.Connections() != 2 || r.Counts().Closed != 2 {
			t.Errorf("%d there, %d closed; want 2 and 2", r.Connections(), r.Counts().Closed)
		}
	})
}

func TestTheLongestAtRestOfAllMakesRoomForAnotherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Limits{Connections: 2})
		member := r.must("member", "192.0.2.1")
		if !member.Claim(7) {
			t.Fatal("a member's connection is a stranger's")
		}
		time.Sleep(time.Second)
		r.must("silent", "192.0.2.2")
		if _, err := r.connect("early", "192.0.2.3"); err == nil {
			t.Error("there is room beyond the bound")
		}
		time.Sleep(time.Second)
		r.must("new", "192.0.2.3")
		r.wantClosed("silent: it was at rest, and another needs its place")
	})
}

func TestLoopbackHasAShareOnlyIfOneIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, from := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", ""} {
			r := newRig(t, Limits{})
			var conns []*Conn
			for range 4 * DefaultPerHost {
				conns = append(conns, r.must("x", from))
			}
			for i := range shares[Change].strangers {
				r.begin(conns[i], Change)
			}
			if _, err := conns[0].Begin(Change); err == nil {
				t.Errorf("from %q any number of changes may be at work", from)
			}
		}
		r := newRig(t, Limits{PerHost: 1})
		r.must("a", "127.0.0.1")
		if _, err := r.connect("b", "127.0.0.1"); err == nil {
			t.Error("a loopback address has no share, though one is set")
		}
	})
}

func TestRequestsOverABudgetAreRefusedAndCounted(t *testing.T) {
	for k := range kinds {
		t.Run(k.String(), func(t *testing.T) {
			r := newRig(t, Limits{})
			a, b := r.must("a", "192.0.2.1"), r.must("b", "192.0.2.1")
			var open []*Request
			for i := range shares[k].host {
				open = append(open, r.begin([]*Conn{a, b}[i%2], k))
			}
			_, err := a.Begin(k)
			if over, ok := err.(*Over); !ok || over.Kind != k || over.Error() != "too many "+k.String()+" at work from one host" {
				t.Errorf("the request beyond the share of a host: %v", err)
			}
			for i := range shares[k].strangers - shares[k].host {
				open = append(open, r.begin(r.must("x", fmt.Sprintf("198.51.100.%d", i%250)), k))
			}
			if _, err := r.must("y", "203.0.113.1").Begin(k); err == nil || err.Error() != "too many "+k.String()+" at work" {
				t.Errorf("the request beyond that of all strangers: %v", err)
			}
			if got := r.Counts().Requests[k]; got != 2 {
				t.Errorf("%d are counted, of 2", got)
			}
			for _, x := range open {
				x.End()
				x.End()
			}
			if n := r.Working(k); n != 0 {
				t.Errorf("%d are at work when all have ended", n)
			}
			r.begin(a, k).End()
		})
	}
}

func TestStrangersDoNotUseUpWhatMembersHave(t *testing.T) {
	for k := range kinds {
		r := newRig(t, Limits{})
		stranger, member := r.must("s", ""), r.must("m", "")
		member.Claim(1)
		for range shares[k].strangers {
			r.begin(stranger, k)
		}
		if _, err := stranger.Begin(k); err == nil {
			t.Errorf("%v: no bound for strangers", k)
		}
		for range shares[k].members {
			r.begin(member, k)
		}
		if _, err := member.Begin(k); err == nil {
			t.Errorf("%v: no bound for members", k)
		}
	}
}

func TestLookupsDoNotUseUpWhatTheRingHas(t *testing.T) {
	r := newRig(t, Limits{})
	c := r.must("c", "192.0.2.1")
	for _, k := range []Kind{Lookup, Forwarded} {
		for {
			if _, err := c.Begin(k); err != nil {
				break
			}
		}
	}
	r.begin(c, Ring)
	r.begin(c, Change)
}

func TestAMemberHasFewConnections(t *testing.T) {
	r := newRig(t, Limits{PerHost: 3})
	var last *Conn
	for i := range perMember {
		last = r.must(fmt.Sprint(i), "192.0.2.1")
		for range 2 {
			if !last.Claim(9) || !last.Member() {
				t.Errorf("connection %d is not the member's", i)
			}
		}
	}
	more := r.must("more", "192.0.2.1") // they are no strangers of that host
	if more.Claim(9) || more.Member() {
		t.Error("a member has any number of connections")
	}
	last.Close()
	last.Close()
	if !more.Claim(9) {
		t.Error("the place of a connection that has ended is not given back")
	}
	last.Claim(9)
	if r.members[9] != perMember {
		t.Errorf("%d connections count as the member's", r.members[9])
	}
}

// crowd is a Budget whose share of lookups strangers have used up, and connections of which
// more were refused than can be.
func crowd(t *testing.T, conns int) (r *rig, open []*Request, ignorant []*Conn) {
	r = newRig(t, Limits{})
	other := r.must("o", "")
	for range shares[Lookup].strangers {
		open = append(open, r.begin(other, Lookup))
	}
	for range conns {
		c := r.must("c", "")
		for range refusalBurst + 20 {
			if _, err := c.Begin(Lookup); err == nil {
				t.Fatal("no request is refused")
			}
		}
		ignorant = append(ignorant, c)
	}
	return r, open, ignorant
}

func TestWhoIgnoresRefusalsIsReadInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, open, ignorant := crowd(t, 3)
		gone := make(chan struct{})
		patient := r.must("p", "")
		for range refusalBurst {
			_, _ = patient.Begin(Lookup)
		}
		patient.Await(gone) // it has not ignored them for long
		var turns []int
		for i, c := range ignorant {
			go func() {
				c.Await(gone)
				turns = append(turns, i)
			}()
			synctest.Wait()
		}
		low := int(shares[Lookup].host / fewOf)
		for _, x := range open[low+1:] {
			x.End()
		}
		synctest.Wait()
		if len(turns) != 0 {
			t.Errorf("%v are read while many requests are at work", turns)
		}
		open[0].End()
		synctest.Wait()
		if fmt.Sprint(turns) != "[0]" {
			t.Errorf("%v are read when few are at work; want the first alone", turns)
		}
		for i := range ignorant {
			ignorant[i].Read()
			ignorant[i].Read()
			synctest.Wait()
		}
		if fmt.Sprint(turns) != "[0 1 2]" {
			t.Errorf("%v were read; want all in turn", turns)
		}
		time.Sleep(20 * refusalPace)
		ignorant[0].Await(nil)
		if ignorant[0].has != nil {
			t.Error("refusals are never forgotten")
		}
	})
}

func TestNobodyWaitsForATurnForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, open, ignorant := crowd(t, 2)
		began := time.Now()
		ignorant[0].Await(nil)
		if took := time.Since(began); took != longestPause {
			t.Errorf("it has waited for %v; want %v", took, longestPause)
		}
		ignorant[0].Read()
		gone := make(chan struct{})
		close(gone)
		ignorant[1].Await(gone)
		if took := time.Since(began); took != longestPause {
			t.Errorf("a connection that has ended waits until %v", took)
		}
		for _, x := range open {
			x.End()
		}
		ignorant[1].Await(nil)
		if took := time.Since(began); took != longestPause {
			t.Errorf("it waits with nothing at work, until %v", took)
		}
	})
}

func TestConnectionsThatSayNothingAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10 * time.Second
		r := newRig(t, Limits{})
		r.must("mute", "192.0.2.1")
		asked := r.must("asked", "192.0.2.1")
		r.begin(asked, Ring).End()
		works := r.must("works", "192.0.2.1")
		r.begin(works, Change).Came()
		half := r.must("half", "192.0.2.1")
		r.begin(half, Lookup)
		turn := func() {
			time.Sleep(limit)
			r.Silent(limit)
		}
		turn()
		r.wantClosed("mute: it has asked nothing")
		fresh := r.begin(asked, Lookup)
		turn()
		r.wantClosed("half: the message of a request has not come")
		fresh.Came()
		for range 3 {
			turn()
		}
		r.wantClosed()
		if n := r.Connections(); n != 2 {
			t.Errorf("%d connections are left; want those that have asked", n)
		}
	})
}

func TestConnectionsThatNobodyUsesAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Minute
		r := newRig(t, Limits{})
		r.must("new", "192.0.2.1")
		used, working := r.must("used", "192.0.2.1"), r.must("working", "192.0.2.1")
		r.begin(used, Ring).End()
		r.begin(working, Ring)
		time.Sleep(limit / 2)
		again := r.begin(used, Ring)
		time.Sleep(limit / 2)
		again.End()
		time.Sleep(limit - 1)
		r.Idle(limit)
		r.wantClosed()
		time.Sleep(time.Nanosecond)
		r.Idle(limit)
		r.wantClosed("used: nobody uses it")
		if n := r.Connections(); n != 2 {
			t.Errorf("%d connections are left; want that with a request, and that which has asked nothing", n)
		}
	})
}

func TestEveryHostIsForgotten(t *testing.T) {
	r := newRig(t, Limits{})
	var all []*Conn
	for i := range 100 {
		c := r.must("x", fmt.Sprintf("192.0.2.%d", i%50))
		c.Claim(uint64(i % 7))
		all = append(all, c)
	}
	for _, c := range all {
		c.Close()
	}
	if len(r.hosts)+len(r.conns)+len(r.members) != 0 {
		t.Errorf("%d hosts, %d connections and %d members are remembered when all have gone", len(r.hosts), len(r.conns), len(r.members))
	}
}
