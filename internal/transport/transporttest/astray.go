package transporttest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Paths is a network on which an address may lead elsewhere.
type Paths interface {
	Listen(t *testing.T, addr string, h transport.Handler) transport.Transport
	// Lead makes new connections to addr lead to who listens at to.
	Lead(addr, to string)
	// Made is how many connections were made.
	Made() int
}

// RunAstray tests transports on paths that lead to another member than the one asked for.
// Each case runs in a bubble, on a network of its own that mk makes.
func RunAstray(t *testing.T, mk func() Paths) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, p *astray)
	}{
		{"a connection that leads to another is replaced within a second", testReplacedWithinASecond},
		{"a connection from before is not the last word", testNotTheLastWord},
		{"an address that leads elsewhere costs a connection a second", testOneASecond},
		{"a connection serves the member that it leads to", testServesWhoIsThere},
		{"a connection to a later incarnation is kept", testLaterIncarnation},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &astray{Paths: mk(), t: t, members: map[string]ring.Member{}}
				p.asker = p.listen("m1")
				p.listen("m2")
				p.listen("m3")
				c.test(t, p)
				for _, tr := range p.all {
					tr.Close()
				}
			})
		})
	}
}

// astray is three members, m1 to m3, each at the address of its name. m1 asks.
type astray struct {
	Paths
	t       *testing.T
	asker   transport.Transport
	all     []transport.Transport
	members map[string]ring.Member
}

func (p *astray) listen(name string) transport.Transport {
	self := Member(name, name+":1", 7)
	tr := p.Listen(p.t, self.Addr, &Handler{Self: self, OnMaintain: func(_ context.Context, env transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
		if to := env.To; to.ID != 0 && (to.ID != self.ID || to.Incarnation != self.Incarnation) {
			return protocol.Reply{}, &protocol.Failure{Kind: protocol.WrongMember, By: self}
		}
		return protocol.Reply{State: protocol.State{Self: self, Phase: protocol.Joined, Version: 1}}, nil
	}})
	p.all = append(p.all, tr)
	p.members[name] = self
	return tr
}

// ask asks a member for its ring. The name of who answers is returned, with whether that
// is the one asked.
func (p *astray) ask(to ring.Member) (name string, right bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	reply, err := p.asker.Maintain(ctx, transport.Envelope{From: p.members["m1"], To: to, Settings: Settings}, protocol.Request{Kind: protocol.AskRing})
	if err == nil {
		return reply.State.Self.Name, true
	}
	f, ok := errors.AsType[*protocol.Failure](err)
	if !ok || f.Kind != protocol.WrongMember {
		p.t.Fatalf("asked %s: %v", to, err)
	}
	return f.By.Name, false
}

// want asks a member and fails the test unless that one answers, or other does in its place.
func (p *astray) want(to ring.Member, name string) {
	p.t.Helper()
	if got, right := p.ask(to); got != name || right != (to.Name == name && to.Incarnation == 7) {
		p.t.Errorf("%s was asked and %q answered; want %q", to, got, name)
	}
}

func testReplacedWithinASecond(_ *testing.T, p *astray) {
	m2, m3 := p.members["m2"], p.members["m3"]
	p.Lead(m2.Addr, m3.Addr)
	p.want(m2, "m3")
	p.Lead(m2.Addr, m2.Addr)
	p.want(m2, "m3") // too soon for another connection
	time.Sleep(time.Second)
	p.want(m2, "m2")
	p.want(m3, "m3")
}

func testNotTheLastWord(t *testing.T, p *astray) {
	m2, m3 := p.members["m2"], p.members["m3"]
	p.Lead(m2.Addr, m3.Addr)
	p.want(ring.Member{ID: m3.ID, Name: m3.Name, Addr: m2.Addr, Incarnation: 7}, "m3")
	time.Sleep(3 * time.Second)
	p.Lead(m2.Addr, m2.Addr)
	p.want(m2, "m2")
	if n := p.Made(); n != 2 {
		t.Errorf("%d connections; want 2", n)
	}
}

func testOneASecond(t *testing.T, p *astray) {
	m2, m3 := p.members["m2"], p.members["m3"]
	p.Lead(m2.Addr, m3.Addr)
	for range 1000 {
		p.want(m2, "m3")
		time.Sleep(10 * time.Millisecond)
	}
	if n := p.Made(); n < 5 || n > 11 {
		t.Errorf("%d connections in ten seconds; want one a second", n)
	}
}

func testServesWhoIsThere(t *testing.T, p *astray) {
	m2, m3 := p.members["m2"], p.members["m3"]
	p.Lead(m2.Addr, m3.Addr)
	p.want(m2, "m3")
	time.Sleep(2 * time.Second)
	for range 10 {
		p.want(ring.Member{ID: m3.ID, Name: m3.Name, Addr: m2.Addr, Incarnation: 7}, "m3")
	}
	if n := p.Made(); n != 1 {
		t.Errorf("%d connections; want that to m3 to be kept", n)
	}
}

func testLaterIncarnation(t *testing.T, p *astray) {
	past := p.members["m2"]
	past.Incarnation--
	for range 10 {
		p.want(past, "m2")
		time.Sleep(2 * time.Second)
	}
	if n := p.Made(); n != 1 {
		t.Errorf("%d connections; want one", n)
	}
}
