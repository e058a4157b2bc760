package node

import (
	"context"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// maxNews bounds how many calls of an Observer's functions without a context wait.
const maxNews = 1024

// Observer is told what a node or a client does. A nil function is not called.
//
// Those that take a context are called where the thing happens, under no lock. The
// context that they return is that of what follows; done, if not nil, is called
// when it is over. The others are called one at a time, in order, on a goroutine of
// their own.
type Observer struct {
	// Lookup: memory does not answer.
	Lookup func(ctx context.Context, l Begun) (_ context.Context, done func(Ended))
	// Request: a member is about to be asked.
	Request func(ctx context.Context, r Request) (_ context.Context, done func(*protocol.Failure, time.Duration))
	// Serve: a member asks this one.
	Serve func(ctx context.Context, r Request) (_ context.Context, done func(*protocol.Failure, time.Duration))

	Range       func(old, now Holding)
	Successor   func(old, now ring.Member) // the head of the list; zero: none
	Predecessor func(old, now ring.Member)
	Suspicion   func(x ring.Member) // lookups go round it for a while
	RingMet     func(by ring.Member)
}

// Begun is a lookup that begins to search. Background: it is the node's own, for
// its fingers.
type Begun struct {
	ID         uint64
	Background bool
}

// Ended is what became of it. With an error Result has no owner, and the hops of
// what was asked are in the error.
type Ended struct {
	Result
	Err  error
	Took time.Duration
}

// Kinds of requests that are none of the ring's maintenance.
const (
	kindRoute         = "route"
	kindFindSuccessor = "find_successor"
	kindMeta          = "meta"
	kindMap           = "map"
)

// Request is one member asking another. Member is the other side: zero where an
// legacy member or a client asks, an address alone where nobody in particular is
// asked.
type Request struct {
	Kind   string
	Member ring.Member
}

// observeLookup tells an observer of a lookup and returns its context and what is to be called
// with its end.
func (fd *Finder) observeLookup(ctx context.Context, id uint64, background bool) (context.Context, func(Result, error)) {
	began := time.Now()
	ctx, done := fd.observer.Lookup(ctx, Begun{ID: id, Background: background})
	return ctx, func(r Result, err error) {
		if done != nil {
			done(Ended{Result: r, Err: err, Took: time.Since(began)})
		}
	}
}

// observed is the part of Request and Serve.
func observed(ctx context.Context, f func(context.Context, Request) (context.Context, func(*protocol.Failure, time.Duration)),
	kind string, other ring.Member) (context.Context, func(*protocol.Failure),
) {
	if f == nil {
		return ctx, func(*protocol.Failure) {}
	}
	began := time.Now()
	ctx, done := f(ctx, Request{Kind: kind, Member: other})
	return ctx, func(f *protocol.Failure) {
		if done != nil {
			done(f, time.Since(began))
		}
	}
}

// suspect has lookups go round x for a while: at all of its identifiers, unless it only does not
// stand at this one.
func (fd *Finder) suspect(x ring.Member, astray bool) {
	now := fd.now()
	if !fd.peers.suspect(x, astray, now, now+fd.suspicion) {
		return // it was suspected already
	}
	fd.counters.suspicions.Add(1)
	if f := fd.observer.Suspicion; f != nil {
		fd.news.put(func() { f(x) })
	}
}

// observeView counts and tells how the neighbours of a member changed.
func (n *Node) observeView(old, now *protocol.View) {
	if before, after := old.Head(), now.Head(); before != after {
		n.counters.successors.Add(1)
		if f := n.observer.Successor; f != nil {
			n.news.put(func() { f(before, after) })
		}
	}
	if old.Pred != now.Pred {
		n.counters.predecessors.Add(1)
		if f := n.observer.Predecessor; f != nil {
			n.news.put(func() { f(old.Pred, now.Pred) })
		}
	}
}

// observeMeeting counts and tells that another ring was met.
func (n *Node) observeMeeting(by ring.Member) {
	n.counters.ringsMet.Add(1)
	if f := n.observer.RingMet; f != nil {
		n.news.put(func() { f(by) })
	}
}

// asking is the life of a question that several lookups share: that of the finder.
// Its values are those of the lookup that asked first.
type asking struct {
	context.Context
	first context.Context
}

// Value implements context.Context.
func (a asking) Value(key any) any {
	if v := a.Context.Value(key); v != nil {
		return v
	}
	return a.first.Value(key)
}
