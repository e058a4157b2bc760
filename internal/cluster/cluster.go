// Package cluster runs a ring of live members inside one process and knows the
// truth about it: who is alive, and so what every pointer and every lookup must
// say. Members are on real sockets unless their configuration has another
// Network. Package concordtest, tests, figures and the fuzzer are built on it; it
// does not depend on package testing.
//
//	c := cluster.New(func(i int) concord.Config {
//		return concord.Config{StabilizeInterval: 200 * time.Millisecond}
//	})
//	defer c.Close()
//	if _, err := c.AddMany(ctx, 8); err != nil { ... }
//	took, err := c.WaitIdeal(ctx)
//
// A member counts as alive from the moment its Create or Join has returned nil, or
// Enter is called for it, until Kill, Leave or Exit is called for it.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Cluster is a ring of live members. Its methods may be called concurrently.
type Cluster struct {
	config func(i int) concord.Config

	mu      sync.Mutex
	made    int // configurations taken
	starts  int
	members map[*concord.Concord]*member // all that are started, in the ring or not
}

// member is what the cluster knows of one that it has started.
type member struct {
	node  *concord.Concord
	cfg   concord.Config
	born  int  // by which the eldest is found
	alive bool // it is in the ring, as far as the truth is concerned
}

// New makes a cluster without members. config gives the configuration of the
// i-th member, counted from 0; an empty Name becomes "member-i", an empty
// BindAddr an Address. The configurations must agree in HashFunc,
// HashBits and Cluster.
func New(config func(i int) concord.Config) *Cluster {
	return &Cluster{config: config, members: map[*concord.Concord]*member{}}
}

// Start starts n members that are in no ring yet.
func (c *Cluster) Start(n int) ([]*concord.Concord, error) {
	out := make([]*concord.Concord, 0, n)
	for range n {
		c.mu.Lock()
		i := c.made
		c.made++
		c.mu.Unlock()
		cfg := c.config(i)
		if cfg.Name == "" {
			cfg.Name = fmt.Sprintf("member-%d", i)
		}
		if cfg.BindAddr == "" {
			cfg.BindAddr = Address()
		}
		m, err := c.start(cfg)
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
	return out, nil
}

func (c *Cluster) start(cfg concord.Config) (*concord.Concord, error) {
	node := concord.New(cfg)
	if err := node.Start(); err != nil {
		return nil, fmt.Errorf("start of %s: %w", cfg.Name, err)
	}
	c.Know(node, cfg)
	return node, nil
}

// Know makes a member of the cluster of one that was made with cfg elsewhere. It
// is not alive before Enter. Close stops it, as those that the cluster started.
func (c *Cluster) Know(node *concord.Concord, cfg concord.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starts++
	c.members[node] = &member{node: node, cfg: cfg, born: c.starts}
}

// Join lets members that Start returned join, all at once, through the members
// via or, if there are none, the eldest alive. If nobody is alive, the first of
// them founds the ring. Members that could not join are stopped; the error joins
// theirs.
func (c *Cluster) Join(ctx context.Context, members []*concord.Concord, via ...*concord.Concord) error {
	if len(via) == 0 {
		via = c.eldest()
	}
	if len(via) == 0 && len(members) > 0 {
		founder := members[0]
		if err := founder.Create(); err != nil {
			return fmt.Errorf("%s founds: %w", founder.Name(), err)
		}
		c.Enter(founder)
		via, members = members[:1], members[1:]
	}
	addrs := make([]string, len(via))
	for i, v := range via {
		addrs[i] = v.Address()
	}
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			if err := m.Join(ctx, addrs...); err != nil {
				errs[i] = fmt.Errorf("%s: %w", m.Name(), err)
				c.forget(m)
				m.Stop()
				return
			}
			c.Enter(m)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Add starts one member and lets it join, as Join does.
func (c *Cluster) Add(ctx context.Context, via ...*concord.Concord) (*concord.Concord, error) {
	added, err := c.AddMany(ctx, 1, via...)
	if err != nil {
		return nil, err
	}
	return added[0], nil
}

// AddMany starts n members and then lets them join all at once, as Join does.
func (c *Cluster) AddMany(ctx context.Context, n int, via ...*concord.Concord) ([]*concord.Concord, error) {
	added, err := c.Start(n)
	if err != nil {
		return added, err
	}
	return added, c.Join(ctx, added, via...)
}

// Again starts a new incarnation of each of the members, which were killed or have
// left: the same name and, if sameAddress, the same address. They are in no ring
// yet, see Join.
func (c *Cluster) Again(former []*concord.Concord, sameAddress bool) ([]*concord.Concord, error) {
	var out []*concord.Concord
	for _, f := range former {
		c.mu.Lock()
		old := c.members[f]
		c.mu.Unlock()
		if old == nil {
			return out, fmt.Errorf("%s is not of this cluster", f.Name())
		}
		cfg := old.cfg
		if sameAddress {
			cfg.BindAddr = f.Address()
		}
		m, err := c.start(cfg)
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
	return out, nil
}

// Kill stops the members, all at once; to the others that is a failure. It
// returns when they have stopped.
func (c *Cluster) Kill(members ...*concord.Concord) {
	c.Exit(members...)
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() { m.Stop() })
	}
	wg.Wait()
}

// Leave lets the members leave politely, all at once, and returns when they
// have. They are stopped even if that failed.
func (c *Cluster) Leave(ctx context.Context, members ...*concord.Concord) error {
	c.Exit(members...)
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			if err := m.Leave(ctx); err != nil {
				errs[i] = fmt.Errorf("%s leaves: %w", m.Name(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close stops all members, also those that never joined, and forgets them.
func (c *Cluster) Close() {
	c.mu.Lock()
	all := c.members
	c.members = map[*concord.Concord]*member{}
	c.mu.Unlock()
	var wg sync.WaitGroup
	for m := range all {
		wg.Go(func() { m.Stop() })
	}
	wg.Wait()
}

// Members returns the members alive, clockwise by identifier.
func (c *Cluster) Members() []*concord.Concord {
	live := c.live()
	out := make([]*concord.Concord, len(live))
	for i, m := range live {
		out[i] = m.node
	}
	return out
}

// Alive reports whether m is one of Members.
func (c *Cluster) Alive(m *concord.Concord) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.members[m]
	return e != nil && e.alive
}

// Has reports whether m is of this cluster, alive or not.
func (c *Cluster) Has(m *concord.Concord) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[m] != nil
}

// live is the truth of this moment: the members alive, clockwise.
func (c *Cluster) live() []*member {
	var out []*member
	c.mu.Lock()
	for _, m := range c.members {
		if m.alive {
			out = append(out, m)
		}
	}
	c.mu.Unlock()
	out = slices.DeleteFunc(out, func(m *member) bool {
		return !m.node.Joined() && m.node.Status().Phase == concord.PhaseDrained
	})
	slices.SortFunc(out, func(a, b *member) int { return cmp.Compare(a.node.Id(), b.node.Id()) })
	return out
}

func (c *Cluster) eldest() []*concord.Concord {
	live := c.live()
	if len(live) == 0 {
		return nil
	}
	m := slices.MinFunc(live, func(a, b *member) int { return cmp.Compare(a.born, b.born) })
	return []*concord.Concord{m.node}
}

// Enter has members of the cluster count as alive.
func (c *Cluster) Enter(members ...*concord.Concord) { c.count(members, true) }

// Exit has members of the cluster count as alive no longer. Nothing is done to
// them.
func (c *Cluster) Exit(members ...*concord.Concord) { c.count(members, false) }

func (c *Cluster) count(members []*concord.Concord, alive bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range members {
		if e := c.members[m]; e != nil {
			e.alive = alive
		}
	}
}

func (c *Cluster) forget(m *concord.Concord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m)
}

// space is the circle of a configuration, with Config's defaults.
func space(cfg concord.Config) ring.Space {
	s := ring.Space{Bits: cfg.HashBits, Hash: cfg.HashFunc}
	if s.Bits == 0 {
		s.Bits = concord.DefaultHashBits
	}
	if s.Hash == nil {
		s.Hash = ring.SHA256
	}
	return s
}
