package concord_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ollelogdahl/concord"
)

// fakeDNS is a DNS whose records tests change.
type fakeDNS struct {
	mu    sync.Mutex
	hosts map[string][]netip.Addr
	srv   map[string][]*net.SRV
	asked int
}

func (d *fakeDNS) set(host string, addrs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hosts == nil {
		d.hosts = map[string][]netip.Addr{}
	}
	var out []netip.Addr
	for _, a := range addrs {
		out = append(out, netip.MustParseAddr(a))
	}
	d.hosts[host] = out
}

func (d *fakeDNS) setSRV(name string, targets ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.srv == nil {
		d.srv = map[string][]*net.SRV{}
	}
	var out []*net.SRV
	for _, t := range targets {
		host, port, _ := net.SplitHostPort(t)
		p, _ := strconv.ParseUint(port, 10, 16)
		out = append(out, &net.SRV{Target: host + ".", Port: uint16(p)})
	}
	d.srv[name] = out
}

func (d *fakeDNS) questions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func (d *fakeDNS) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if len(d.hosts[host]) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return slices.Clone(d.hosts[host]), nil
}

func (d *fakeDNS) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if service != "" || proto != "" || len(d.srv[name]) == 0 {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, slices.Clone(d.srv[name]), nil
}

// startBy starts a member that resolves names by dns.
func startBy(t *testing.T, dns *fakeDNS, name string, edits ...func(*concord.Config)) *concord.Concord {
	t.Helper()
	c := concord.New(configure(name, edits...))
	concord.UseDNS(c, dns)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

// loopbacks are n addresses of this machine and a port that is free there, for
// members that listen at one port, as the pods of one service do.
func loopbacks(t *testing.T, n int) (port string, addrs []string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("only one address on loopback: %v", err)
	}
	defer lis.Close()
	_, port, _ = net.SplitHostPort(lis.Addr().String())
	for i := range n {
		addrs = append(addrs, fmt.Sprintf("127.0.0.%d", i+2))
	}
	return port, addrs
}

func TestJoinByANameOfSeveralAddresses(t *testing.T) {
	dns := &fakeDNS{}
	port, addrs := loopbacks(t, 3)
	a := create(t, "a", at(net.JoinHostPort(addrs[2], port)))
	b := startBy(t, dns, "b")
	dns.set("ring.example", addrs...) // two of them are nobody's
	join(t, b, "ring.example:"+port)
	awaitIdeal(t, []*concord.Concord{a, b})
}

func TestJoinBySRVRecords(t *testing.T) {
	dns := &fakeDNS{}
	ring := newRing(t, 2)
	dns.setSRV("_concord._tcp.example", nobody(t), ring[1].Address())
	c := startBy(t, dns, "c")
	join(t, c, "_concord._tcp.example")
	awaitIdeal(t, append(ring, c))
}

// A name is resolved at each try, and what is wrong with it is a cause like others.
func TestNameThatCannotBeResolvedYet(t *testing.T) {
	dns := &fakeDNS{}
	ring := newRing(t, 2)
	c := startBy(t, dns, "c")
	for _, name := range []string{"_concord._tcp.example", "ring.example:1"} {
		err := joinTries(t, c, name)
		wantErr(t, name, err, context.DeadlineExceeded, concord.ErrUnavailable)
		mentions(t, err, name, "no such host")
	}
	if n := dns.questions(); n < 6 {
		t.Errorf("the DNS was asked %d times", n)
	}
	joined := make(chan error, 1)
	go func() { joined <- c.Join(context.Background(), "_concord._tcp.example") }()
	before := dns.questions()
	eventually(t, func() error {
		if dns.questions() < before+2 {
			return errors.New("not asked twice yet")
		}
		return nil
	})
	dns.setSRV("_concord._tcp.example", ring[0].Address())
	if err := receive(t, joined, patience, "Join"); err != nil {
		t.Fatal(err)
	}
	awaitIdeal(t, append(ring, c))
}

func TestCausesOfANameThatStandsForSeveral(t *testing.T) {
	dns := &fakeDNS{}
	port, addrs := loopbacks(t, 2)
	dns.set("ring.example", addrs...)
	c := startBy(t, dns, "c")
	err := joinTries(t, c, "ring.example:"+port)
	var je *concord.JoinError
	if !errors.As(err, &je) || len(je.Attempts) != 2 {
		t.Fatalf("%v", err)
	}
	for _, a := range je.Attempts {
		if a.Given != "ring.example:"+port || !slices.Contains(addrs, strings.TrimSuffix(a.Address, ":"+port)) {
			t.Errorf("%+v", a)
		}
		mentions(t, err, a.Given+", "+a.Address)
	}
}

// A name that leads to this member alone may come to lead to others.
func TestJoinByANameThatListsOnlyTheMemberItself(t *testing.T) {
	dns := &fakeDNS{}
	port, addrs := loopbacks(t, 3)
	c := startBy(t, dns, "c", at(net.JoinHostPort(addrs[0], port)))
	dns.set("ring.example", addrs[0], addrs[1])
	joined := make(chan error, 1)
	go func() { joined <- c.Join(context.Background(), "ring.example:"+port) }()
	before := dns.questions()
	eventually(t, func() error {
		if dns.questions() < before+2 {
			return errors.New("not asked twice yet")
		}
		return nil
	})
	a := create(t, "a", at(net.JoinHostPort(addrs[2], port)))
	dns.set("ring.example", addrs...)
	if err := receive(t, joined, patience, "Join"); err != nil {
		t.Fatal(err)
	}
	awaitIdeal(t, []*concord.Concord{a, c})
}

// As pods of one service: all are given the same name, which lists them little by
// little, and each advertises a name of its own.
func TestFoundingByTheNameOfAService(t *testing.T) {
	dns := &fakeDNS{}
	port, addrs := loopbacks(t, 4)
	var members []*concord.Concord
	founded := make(chan error, len(addrs))
	began := time.Now()
	for i, addr := range addrs {
		dns.set("ring.example", addrs[:i+1]...)
		c := startBy(t, dns, fmt.Sprintf("member%d", i), at(net.JoinHostPort(addr, port)), func(c *concord.Config) {
			c.FoundAfter = 2 * time.Second
		})
		members = append(members, c)
		go func() { founded <- c.JoinOrCreate(context.Background(), "ring.example:"+port) }()
	}
	for range members {
		if err := receive(t, founded, patience, "JoinOrCreate"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("founded after %v, when others might have been to come", took)
	}
	awaitIdeal(t, members)
	for _, c := range members {
		if n := c.Status().Counters.RangeChanges; n > 8 {
			t.Errorf("%s: %d changes of its range: more than one ring was founded", c.Name(), n)
		}
	}
}

// Everybody that was known is gone, and others are behind the name: it is resolved
// again whenever somebody is asked there. They are of the same ring, as all were given
// the name.
func TestMemberThatIsAloneAsksAtItsNameAgain(t *testing.T) {
	dns := &fakeDNS{}
	port, addrs := loopbacks(t, 3)
	found := func(name, addr string) *concord.Concord {
		dns.set("ring.example", addr, addrs[2])
		m := startBy(t, dns, name, at(net.JoinHostPort(addr, port)), func(c *concord.Config) { c.FoundAfter = 200 * time.Millisecond })
		if err := m.JoinOrCreate(t.Context(), "ring.example:"+port); err != nil {
			t.Fatal(err)
		}
		return m
	}
	a := found("a", addrs[0])
	c := startBy(t, dns, "c")
	join(t, c, "ring.example:"+port)
	a.Stop()
	awaitIdeal(t, []*concord.Concord{c})
	b := found("b", addrs[1])
	awaitIdeal(t, []*concord.Concord{b, c})
}

// A process takes its other identifiers through itself, whether its name leads to it yet or not.
func TestFounderWhoseNameLeadsNowhereYet(t *testing.T) {
	dns := &fakeDNS{}
	c := startBy(t, dns, "a", func(cfg *concord.Config) {
		cfg.VirtualNodes, cfg.AdvAddr = 16, "a.example:1"
	})
	if err := c.Create(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Settled(ctx); err != nil {
		t.Error(err)
	}
	if n := len(c.Ranges()); n != 16 {
		t.Errorf("%d ranges", n)
	}
	if n := dns.questions(); n != 0 {
		t.Errorf("%d questions for its own name", n)
	}
}

func TestDialByName(t *testing.T) {
	dns := &fakeDNS{}
	ring := newRing(t, 2)
	dns.setSRV("_concord._tcp.example", nobody(t), ring[1].Address())
	c, err := concord.DialBy(t.Context(), dns, concord.ClientConfig{}, "_concord._tcp.example")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Lookup([]byte("key")); err != nil || got != ownerOf(ring, idOf("key")) {
		t.Errorf("%v, %v", got, err)
	}
}

// nameServer answers questions of the real resolver on UDP, by the records of d.
func nameServer(t *testing.T, d *fakeDNS) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-served
	})
	go func() {
		defer close(served)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply, err := d.reply(buf[:n]); err == nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (d *fakeDNS) reply(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name := strings.TrimSuffix(q.Name.String(), ".")
	var found []dnsmessage.ResourceBody
	for _, a := range d.hosts[name] {
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			found = append(found, &dnsmessage.AResource{A: a.As4()})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			found = append(found, &dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	if q.Type == dnsmessage.TypeSRV {
		for _, s := range d.srv[name] {
			found = append(found, &dnsmessage.SRVResource{Target: dnsmessage.MustNewName(s.Target), Port: s.Port})
		}
	}
	header := dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionAvailable: true}
	if d.hosts[name] == nil && d.srv[name] == nil {
		header.RCode = dnsmessage.RCodeNameError
	}
	m := dnsmessage.Message{Header: header, Questions: []dnsmessage.Question{q}}
	for _, body := range found {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 1}, Body: body,
		})
	}
	return m.Pack()
}

func TestNamesOfARealNameServer(t *testing.T) {
	dns := &fakeDNS{}
	port, addrs := loopbacks(t, 3)
	a := create(t, "a", at(net.JoinHostPort(addrs[1], port)))
	dns.set("ring.example", append(addrs, "::1", "fd00::1")...)
	resolver := nameServer(t, dns)
	members := []*concord.Concord{a}
	for i, name := range []string{"ring.example:" + port, "_concord._tcp.example"} {
		c := concord.New(configure(fmt.Sprintf("member%d", i), onLocalhost))
		concord.UseDNS(c, resolver)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Stop() })
		join(t, c, name)
		members = append(members, c)
		dns.setSRV("_concord._tcp.example", strings.Replace(c.Address(), "127.0.0.1", "localhost", 1))
	}
	awaitIdeal(t, members)
	c := concord.New(configure("lost"))
	concord.UseDNS(c, resolver)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	err := joinTries(t, c, "_other._tcp.example")
	wantErr(t, "Join", err, concord.ErrUnavailable)
	mentions(t, err, "no such host")
}
