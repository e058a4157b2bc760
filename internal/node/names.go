package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/transport"
)

// maxTried is at how many of the places of one name one question is put.
const maxTried = 3

// origin is what an address was resolved from.
type origin struct {
	given string // as it was given
	host  string // whose certificate is expected; empty: that of the address
}

// inquire sends a request to whoever answers at an address given. A name is
// resolved now, and some of the places that it stands for are tried in turn.
func (fd *Finder) inquire(ctx context.Context, env transport.Envelope, req protocol.Request, limit time.Duration) (protocol.Reply, *protocol.Failure) {
	given := env.To.Addr
	if from, ok := fd.origin(given); ok {
		env.Host = from.host
		return fd.send(ctx, env, req, limit)
	}
	if fd.resolver == nil || !bootstrap.IsName(given) {
		return fd.send(ctx, env, req, limit)
	}
	answer, err := fd.resolver.Resolve(ctx, given)
	if err != nil {
		kind := protocol.Unreachable
		if ctx.Err() != nil {
			kind = protocol.Cancelled
		}
		f := &protocol.Failure{Kind: kind, Detail: err.Error()}
		fd.failed(env.To, f, 0)
		return protocol.Reply{}, f
	}
	var reply protocol.Reply
	var f *protocol.Failure
	for _, p := range answer.Places[:min(len(answer.Places), maxTried)] {
		env.To.Addr, env.Host = p.Addr, p.Host
		if reply, f = fd.send(ctx, env, req, limit); f == nil || f.Kind == protocol.Cancelled {
			break
		}
	}
	return reply, f
}

func (fd *Finder) origin(addr string) (origin, bool) {
	if m := fd.origins.Load(); m != nil {
		from, ok := (*m)[addr]
		return from, ok
	}
	return origin{}, false
}

// places are the addresses that those given stand for now, in their order; open:
// there may be others. What cannot be resolved stays as it is: whoever asks
// there is told why.
func (fd *Finder) places(ctx context.Context, given []string) (via []string, open bool) {
	if fd.resolver == nil {
		return given, false
	}
	answers := make([]bootstrap.Answer, len(given))
	var resolving sync.WaitGroup
	room := make(chan struct{}, maxTried)
	for i, name := range given {
		if !bootstrap.IsName(name) {
			continue
		}
		resolving.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			answers[i], _ = fd.resolver.Resolve(ctx, name)
		})
	}
	resolving.Wait()
	origins := map[string]origin{}
	for i, name := range given {
		if len(answers[i].Places) == 0 {
			answers[i].Places = []bootstrap.Place{{Addr: name}}
		}
		open = open || answers[i].Open
		for _, p := range answers[i].Places {
			if p.Addr != name {
				origins[p.Addr] = origin{given: name, host: p.Host}
			}
			if !slices.Contains(via, p.Addr) {
				via = append(via, p.Addr)
			}
		}
	}
	fd.origins.Store(&origins)
	return via, open
}

// redirect resolves the names given anew, until ctx ends, for the open join.
func (n *Node) redirect(ctx context.Context, given []string) {
	tick := time.NewTicker(bootstrap.ResolveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		via, open := n.places(ctx, given)
		if ctx.Err() != nil {
			return
		}
		n.step(protocol.Redirect{Via: via, Open: open || n.mayBeMore(given)})
	}
}

// mayBeMore reports whether the only thing given is a name other than this
// member's own. Though it stands for one address now, it may be the name of a
// whole cluster that begins to start.
func (n *Node) mayBeMore(given []string) bool {
	return n.resolver != nil && len(given) == 1 && given[0] != n.cfg.Self.Addr && bootstrap.IsName(given[0])
}
