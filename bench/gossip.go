package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/ollelogdahl/concord/internal/bench"
)

// gossiper is a member that tells all others of each.
type gossiper interface {
	join(addr string) error
	address() string
	end() // without saying good-bye
}

// gossipGroup is members that all know each other.
type gossipGroup struct {
	start func(name string, v *view, sent *atomic.Uint64) (gossiper, error)
	sent  atomic.Uint64

	mu      sync.Mutex
	seed    string // address of the first
	members map[string]gossiper
	views   map[string]*view
}

func newGossip(start func(name string, v *view, sent *atomic.Uint64) (gossiper, error)) group {
	return &gossipGroup{start: start, members: map[string]gossiper{}, views: map[string]*view{}}
}

func (g *gossipGroup) add(ctx context.Context, names ...string) error {
	var started []gossiper
	for _, name := range names {
		v := &view{}
		m, err := g.start(name, v, &g.sent)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		g.mu.Lock()
		g.members[name], g.views[name] = m, v
		first := g.seed == ""
		if first {
			g.seed = m.address()
		}
		g.mu.Unlock()
		if !first {
			started = append(started, m)
		}
	}
	errs := make([]error, len(started))
	var joining sync.WaitGroup
	for i, m := range started {
		joining.Go(func() {
			// A storm can make the first member refuse some.
			for {
				if errs[i] = m.join(g.seed); errs[i] == nil {
					return
				}
				if err := bench.Pause(ctx, 50*time.Millisecond); err != nil {
					return
				}
			}
		})
	}
	joining.Wait()
	return errors.Join(errs...)
}

func (g *gossipGroup) kill(name string) {
	g.mu.Lock()
	m := g.members[name]
	delete(g.members, name)
	delete(g.views, name)
	g.mu.Unlock()
	m.end()
}

func (g *gossipGroup) knows(_ context.Context, asker, name string, gone bool) bool {
	g.mu.Lock()
	v := g.views[asker]
	g.mu.Unlock()
	return v.has(name) != gone
}

func (g *gossipGroup) wrong() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return wrongViews(g.views)
}

func (g *gossipGroup) written() uint64 { return g.sent.Load() }

func (g *gossipGroup) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ending sync.WaitGroup
	for _, m := range g.members {
		ending.Go(m.end)
	}
	ending.Wait()
}

// counted is memberlist's own transport, with a count of what is written.
type counted struct {
	*memberlist.NetTransport
	sent    *atomic.Uint64
	streams chan net.Conn
	done    chan struct{}
	over    sync.Once
	passing sync.WaitGroup
}

// bindTries is how often a port is looked for that is free for TCP and UDP: the
// kernel picks it for one, and memberlist takes it for the other.
const bindTries = 10

func newCounted(sent *atomic.Uint64) (*counted, error) {
	var nt *memberlist.NetTransport
	var err error
	for range bindTries {
		nt, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{"127.0.0.1"}, Logger: log.New(io.Discard, "", 0),
		})
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	c := &counted{NetTransport: nt, sent: sent, streams: make(chan net.Conn), done: make(chan struct{})}
	c.passing.Go(func() {
		for {
			select {
			case conn := <-nt.StreamCh():
				select {
				case c.streams <- countedConn{conn, sent}:
				case <-c.done:
					_ = conn.Close()
					return
				}
			case <-c.done:
				return
			}
		}
	})
	return c, nil
}

func (c *counted) count(n int) { c.sent.Add(uint64(n)) }

func (c *counted) WriteTo(b []byte, addr string) (time.Time, error) {
	c.count(len(b))
	return c.NetTransport.WriteTo(b, addr)
}

func (c *counted) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	c.count(len(b))
	return c.NetTransport.WriteTo(b, addr.Addr)
}

func (c *counted) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return c.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (c *counted) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := c.NetTransport.DialAddressTimeout(addr, timeout)
	if err != nil {
		return nil, err
	}
	return countedConn{conn, c.sent}, nil
}

func (c *counted) StreamCh() <-chan net.Conn { return c.streams }

func (c *counted) Shutdown() error {
	// It waits until the streams it has accepted are taken off it.
	err := c.NetTransport.Shutdown()
	c.over.Do(func() { close(c.done) })
	c.passing.Wait()
	return err
}

type countedConn struct {
	net.Conn
	sent *atomic.Uint64
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(uint64(n))
	return n, err
}

// on makes conf one of a member at loopback that speaks over t.
func on(conf *memberlist.Config, t *counted) *memberlist.Config {
	conf.Transport = t
	conf.BindAddr, conf.BindPort = "127.0.0.1", t.GetAutoBindPort()
	conf.AdvertiseAddr, conf.AdvertisePort = conf.BindAddr, conf.BindPort
	conf.LogOutput = io.Discard
	return conf
}

func newMemberlistLAN() group   { return newMemberlist(memberlist.DefaultLANConfig) }
func newMemberlistLocal() group { return newMemberlist(memberlist.DefaultLocalConfig) }

func newMemberlist(config func() *memberlist.Config) group {
	return newGossip(func(name string, v *view, sent *atomic.Uint64) (gossiper, error) {
		t, err := newCounted(sent)
		if err != nil {
			return nil, err
		}
		conf := on(config(), t)
		conf.Name = name
		conf.Events = memberlistEvents{v}
		list, err := memberlist.Create(conf)
		if err != nil {
			_ = t.Shutdown()
			return nil, err
		}
		return memberlistMember{list, t}, nil
	})
}

type memberlistMember struct {
	list *memberlist.Memberlist
	t    *counted
}

func (m memberlistMember) join(addr string) error {
	_, err := m.list.Join([]string{addr})
	return err
}

func (m memberlistMember) address() string { return m.list.LocalNode().Address() }

func (m memberlistMember) end() { _ = m.list.Shutdown() }

type memberlistEvents struct{ v *view }

func (e memberlistEvents) NotifyJoin(n *memberlist.Node)   { e.v.set(n.Name, true) }
func (e memberlistEvents) NotifyLeave(n *memberlist.Node)  { e.v.set(n.Name, false) }
func (e memberlistEvents) NotifyUpdate(n *memberlist.Node) {}

func newSerfLAN() group   { return newSerf(memberlist.DefaultLANConfig) }
func newSerfLocal() group { return newSerf(memberlist.DefaultLocalConfig) }

func newSerf(config func() *memberlist.Config) group {
	return newGossip(func(name string, v *view, sent *atomic.Uint64) (gossiper, error) {
		t, err := newCounted(sent)
		if err != nil {
			return nil, err
		}
		conf := serf.DefaultConfig()
		conf.Init()
		conf.NodeName = name
		conf.MemberlistConfig = on(config(), t)
		conf.LogOutput = io.Discard
		events := make(chan serf.Event, 1024)
		conf.EventCh = events
		s, err := serf.Create(conf)
		if err != nil {
			_ = t.Shutdown()
			return nil, err
		}
		m := &serfMember{s: s, addr: fmt.Sprintf("127.0.0.1:%d", t.GetAutoBindPort())}
		m.following.Go(func() { follow(events, s.ShutdownCh(), v) })
		return m, nil
	})
}

type serfMember struct {
	s         *serf.Serf
	addr      string
	following sync.WaitGroup
}

// follow keeps the view by the events until the member ends.
func follow(events <-chan serf.Event, done <-chan struct{}, v *view) {
	for {
		select {
		case e := <-events:
			change, ok := e.(serf.MemberEvent)
			if !ok {
				continue
			}
			for _, m := range change.Members {
				switch change.Type {
				case serf.EventMemberJoin:
					v.set(m.Name, true)
				case serf.EventMemberFailed, serf.EventMemberLeave, serf.EventMemberReap:
					v.set(m.Name, false)
				}
			}
		case <-done:
			return
		}
	}
}

func (m *serfMember) join(addr string) error {
	_, err := m.s.Join([]string{addr}, false)
	return err
}

func (m *serfMember) address() string { return m.addr }

func (m *serfMember) end() {
	_ = m.s.Shutdown()
	m.following.Wait()
}
