package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Errors of lookups that could not begin.
var (
	ErrNotInRing  = errors.New("not in a ring")
	ErrSuperseded = errors.New("superseded by a later life of the same name")
	ErrClosed     = errors.New("closed")
	ErrIsolated   = errors.New("isolated: fewer members are known to live than MinMembers")
)

// Errors of lookups that could not be brought to an end.
var (
	ErrHopLimit = errors.New("hop limit reached")
	errStuck    = errors.New("nobody left to ask")
)

// Hop is one member asked during a lookup.
type Hop struct {
	Member ring.Member
	Why    routing.Why    // it was asked
	Answer routing.Answer // Verdict is 0 if it did not answer
	Took   time.Duration
	Err    error
}

// Source is where the owner that a lookup names comes from.
type Source uint8

const (
	OwnRange      Source = iota + 1 // the member's own arc
	ConfirmedArc                    // an arc confirmed of late
	SuccessorList                   // the member's own list, whose word suffices
	Asked                           // another member, asked during the lookup
)

// Result is the answer of a lookup. Its Age, if it has an arc, counts from the
// instant that the certainty is of.
type Result struct {
	routing.Answer
	Source Source
	Hops   []Hop
}

// LookupError says who was asked in a lookup that failed, and what each said.
type LookupError struct {
	ID   uint64
	Hops []Hop
	Err  error
}

func (e *LookupError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lookup of identifier %d: %v", e.ID, e.Err)
	for i, h := range e.Hops {
		if i == 8 {
			fmt.Fprintf(&b, "; and %d more", len(e.Hops)-i)
			break
		}
		fmt.Fprintf(&b, "; %s at %s ", h.Member.Name, h.Member.Addr)
		if h.Err != nil {
			fmt.Fprintf(&b, "failed: %v", h.Err)
		} else {
			fmt.Fprintf(&b, "said %s", h.Answer.Verdict)
		}
	}
	return b.String()
}

func (e *LookupError) Unwrap() error { return e.Err }

// outside is why a node without a table answers no lookups.
func (fd *Finder) outside() error {
	switch {
	case fd.ctx.Err() != nil:
		return ErrClosed
	case fd.snap.Load().View.Phase == protocol.Superseded:
		return ErrSuperseded
	case fd.snap.Load().View.Isolated:
		return ErrIsolated
	}
	return ErrNotInRing
}

// refusal is what a node without a table answers to who asks it for an owner.
func (n *Node) refusal() *protocol.Failure {
	v := n.Snapshot().View
	if v.Isolated {
		return &protocol.Failure{Kind: protocol.Isolated, By: v.Self, Detail: ErrIsolated.Error()}
	}
	return &protocol.Failure{Kind: protocol.NotJoined, By: v.Self, Detail: v.Phase.String()}
}

// lookupTimeout bounds a lookup whose context has no deadline.
const lookupTimeout = 5 * time.Second

// Lookup finds the owner of an identifier. It answers from memory if it can, asks
// the owner believed in otherwise, and searches if that is not it. When nobody is
// left to be asked it waits for the ring to mend, until ctx ends, or for 5 s if
// ctx has no deadline.
func (fd *Finder) Lookup(ctx context.Context, id uint64, opts routing.Options) (Result, error) {
	return fd.lookup(ctx, id, opts, true)
}

// askBelieved asks the owner of the arc that the identifier is on, as far as
// known. Lookups that want to hear the same share one request, unless the answer
// has to be fresh. It reports whether that one owns the identifier.
func (q *inquiry) askBelieved(opts routing.Options) (r Result, ok bool) {
	fd := q.fd
	c := fd.arcs.Find(q.id)
	if c == nil || fd.peers.suspicions().Avoided(c.Owner, fd.now()) {
		return Result{}, false
	}
	var h int
	if opts.Fresh {
		h, _ = q.ask(c.Owner, routing.Query{ID: q.id}, routing.Remembered, nil)
	} else {
		h = q.askShared(c, opts.MaxAge)
	}
	if hop := q.hops[h]; hop.Err != nil || !q.owns(hop.Member, hop.Answer) {
		return Result{}, false
	}
	return q.result(h), true
}

// lookup is Lookup, but without wait, as the member's own lookups are, it ends when
// nobody is left to be asked.
func (fd *Finder) lookup(ctx context.Context, id uint64, opts routing.Options, wait bool) (Result, error) {
	if !opts.Fresh && !opts.Cold && fd.ctx.Err() == nil && ctx.Err() == nil {
		if r, ok := fd.remembered(id, opts.MaxAge); ok {
			return r, nil
		}
	}
	ctx, done := fd.observeLookup(ctx, id, !wait)
	r, err := fd.search(ctx, id, opts, wait)
	done(r, err)
	return r, err
}

// search is a lookup that memory does not answer.
func (fd *Finder) search(ctx context.Context, id uint64, opts routing.Options, wait bool) (Result, error) {
	snap := fd.snap.Load()
	if snap.Table == nil || fd.ctx.Err() != nil {
		fd.counters.lookupsFailed.Add(1)
		return Result{}, fd.outside()
	}
	if err := ctx.Err(); err != nil {
		fd.counters.lookupsFailed.Add(1)
		return Result{}, &LookupError{ID: id, Err: err}
	}
	if !opts.Fresh {
		opts.Lenient = opts.MaxAge == 0
		if opts.Lenient || opts.MaxAge > fd.life {
			opts.MaxAge = fd.life
		}
	}
	fd.counters.searched.add(id)
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
	}
	q := &inquiry{fd: fd, ctx: ctx, id: id}
	if !opts.Cold {
		if believed, ok := q.askBelieved(opts); ok {
			return believed, nil
		}
	}
	opts.Arcs = fd.arcs
	opts.RoundTrip = func(x ring.Member) time.Duration { return fd.peers.of(x.Addr).RoundTrip() }
	avoid, rejected := fd.peers.suspicions().Avoid(fd.now())
	opts.Confirm = rejected
	s := routing.NewSearch(snap.Table, id, opts, avoid, fd.now())
	if len(q.hops) > 0 && q.hops[0].Err != nil {
		s.Failed(q.hops[0].Member, gone(failure(q.hops[0].Err)))
	}
	failed := 0
	fail := func(err error) (Result, error) {
		fd.counters.lookupsFailed.Add(1)
		return Result{}, &LookupError{ID: id, Hops: q.hops, Err: err}
	}
	last := -1 // the hop whose answer was used last; none: the member's own
	source := ownSource(s)
	late := func(o overtaken) {
		if q.arrive(o, s) {
			last = o.hop
		}
	}
	for {
		switch step, x := s.Next(); step {
		case routing.Done:
			if last < 0 {
				return Result{Answer: s.Result(), Source: source, Hops: q.hops}, nil
			}
			r := q.result(last)
			r.Answer, r.Age = s.Result(), s.Result().Age+q.hops[last].Took
			return r, nil
		case routing.AskNext:
			h, done := q.ask(x, s.Query(), s.Why(), s)
			switch err := q.hops[h].Err; {
			case done:
				last = h
			case err == nil:
				last = h
				s.Answered(q.hops[h].Answer)
			case ctx.Err() != nil:
				return fail(ctx.Err())
			default:
				// An older member does a whole lookup when it is asked: that it
				// did not answer in time is no reason to make it do another.
				s.Silent(gone(failure(err)) || x.Older())
			}
		case routing.Exceeded:
			return fail(ErrHopLimit)
		case routing.Stuck:
			if d, ok := s.Retry(); ok && wait {
				o, err := q.pause(d)
				if err != nil {
					return fail(err)
				}
				late(o)
				continue
			}
			// Nobody left to ask. If the member's own picture has changed
			// since, or someone was found silent, begin again at what is known
			// now; otherwise wait until the ring has mended here.
			now := fd.snap.Load()
			if now == snap && failed == s.Unanswered() {
				if !wait && q.open == 0 {
					return fail(errStuck)
				}
				o, err := q.awaitNews(snap)
				if err != nil {
					return fail(err)
				}
				if late(o); o.flight != nil {
					continue
				}
			}
			if now = fd.snap.Load(); now.Table == nil {
				return fail(fd.outside())
			}
			s.Restart(now.Table, now != snap, fd.now())
			last, source = -1, ownSource(s)
			snap, failed = now, s.Unanswered()
		}
	}
}

// ownSource is the source of an answer that a search which has just begun has at
// once.
func ownSource(s *routing.Search) Source {
	if s.Result().Verdict == routing.Mine {
		return OwnRange
	}
	return SuccessorList
}

// Reject notes that a member named as an owner did not serve.
func (fd *Finder) Reject(x ring.Member) {
	now := fd.now()
	fd.peers.reject(x.ID, x.Addr, now, now+fd.suspicion)
	fd.arcs.Drop(func(owner ring.Member) bool { return owner.ID == x.ID && owner.Addr == x.Addr })
	if fd.lost != nil {
		fd.lost(protocol.Lost{Addr: x.Addr})
	}
}

// gone reports whether a failure shows that the member is not there any longer.
func gone(f *protocol.Failure) bool {
	return f.Kind == protocol.Refused || f.Kind == protocol.WrongMember
}
