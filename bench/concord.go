package main

import (
	"context"
	"sync"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
)

// concordGroup is a ring. Its members do not know all of each other and need not:
// one knows of a change when its lookups go by it.
type concordGroup struct {
	c *cluster.Cluster

	mu      sync.Mutex
	waiting []string // names of those to be started
	members map[string]*concord.Concord
	former  uint64 // bytes written by those that are gone
}

func newConcord() group {
	g := &concordGroup{members: map[string]*concord.Concord{}}
	g.c = cluster.New(func(int) concord.Config {
		g.mu.Lock()
		defer g.mu.Unlock()
		name := g.waiting[0]
		g.waiting = g.waiting[1:]
		return concord.Config{Name: name}
	})
	return g
}

func (g *concordGroup) add(ctx context.Context, names ...string) error {
	g.mu.Lock()
	g.waiting = append(g.waiting, names...)
	g.mu.Unlock()
	started, err := g.c.Start(len(names))
	if err != nil {
		return err
	}
	g.mu.Lock()
	for _, m := range started {
		g.members[m.Name()] = m
	}
	g.mu.Unlock()
	return g.c.Join(ctx, started)
}

func (g *concordGroup) kill(name string) {
	g.mu.Lock()
	m := g.members[name]
	delete(g.members, name)
	g.mu.Unlock()
	g.c.Kill(m)
	written := m.Status().Counters.BytesWritten
	g.mu.Lock()
	g.former += written
	g.mu.Unlock()
}

// knows looks up the key that is the member's name: its owner is the member itself
// while it is there, since that is where its identifier comes from.
func (g *concordGroup) knows(ctx context.Context, asker, name string, gone bool) bool {
	g.mu.Lock()
	m := g.members[asker]
	g.mu.Unlock()
	s, err := m.LookupContext(ctx, []byte(name))
	return err == nil && (s.Name == name) != gone
}

func (g *concordGroup) wrong() string { return g.c.Wrong() }

func (g *concordGroup) written() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	bytes := g.former
	for _, m := range g.members {
		bytes += m.Status().Counters.BytesWritten
	}
	return bytes
}

func (g *concordGroup) close() { g.c.Close() }
