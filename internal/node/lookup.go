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
	ErrSuperseded = errors.New("superseded by a later member of the same name")
	ErrClosed     = errors.New("closed")
	ErrIsolated   = errors.New("isolated: the member knows fewer live members than MinMembers")
)

// Hop is one member asked during a lookup.
type Hop struct {
	Member ring.Member
	Why    routing.Why    // it was asked
	Answer routing.Answer // Verdict is 0 if it did not answer
	Took   time.Duration
	Err    error
}

// Result is the answer of a lookup. Its Age, if it has an arc, counts from the
// instant that the certainty is of.
type Result struct {
	routing.Answer
	Source routing.Source
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

// outside is why a finder without a table answers no lookups.
func (fd *Finder) outside() error {
	if fd.ctx.Err() != nil {
		return ErrClosed
	}
	if err := fd.snap.Load().Absent; err != nil {
		return err
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

// Lookup finds the owner of an identifier. It answers from memory if it can, asks
// the owner believed in otherwise, and searches if that is not it. When nobody is
// left to be asked it waits for the ring to mend, until ctx ends, or for 5 s if
// ctx has no deadline.
func (fd *Finder) Lookup(ctx context.Context, id uint64, opts routing.Options) (Result, error) {
	return fd.somebodys(ctx, id, opts, manner{wait: true, hops: true})
}

// Owner is Lookup for those who want to know no more.
func (fd *Finder) Owner(ctx context.Context, id uint64, opts routing.Options) (ring.Member, error) {
	r, err := fd.somebodys(ctx, id, opts, manner{wait: true})
	return r.Owner, err
}

// manner is how a lookup is made.
type manner struct {
	// wait: it does not end when nobody is left to be asked, as the member's own lookups do.
	wait bool
	hops bool // its result, too, says who was asked
}

// somebodys is a lookup that is not the member's own.
func (fd *Finder) somebodys(ctx context.Context, id uint64, opts routing.Options, how manner) (Result, error) {
	other := fd.acting()
	if other == fd {
		fd.useMap()
		r, err := fd.lookup(ctx, id, opts, how)
		if other = fd.acting(); other == fd || !errors.Is(err, ErrNotInRing) {
			return r, err
		}
	}
	other.useMap()
	return other.lookup(ctx, id, opts, how)
}

// lookup is Lookup in a manner.
func (fd *Finder) lookup(ctx context.Context, id uint64, opts routing.Options, how manner) (Result, error) {
	if !opts.Fresh && !opts.Cold && fd.ctx.Err() == nil && ctx.Err() == nil {
		if r, ok := fd.remembered(id, opts.MaxAge); ok {
			return r, nil
		}
	}
	if fd.observer.Lookup == nil {
		return fd.search(ctx, id, opts, how)
	}
	how.hops = true
	ctx, done := fd.observeLookup(ctx, id, !how.wait)
	r, err := fd.search(ctx, id, opts, how)
	done(r, err)
	return r, err
}

// search is a lookup that memory does not answer.
func (fd *Finder) search(ctx context.Context, id uint64, opts routing.Options, how manner) (Result, error) {
	snap := fd.snap.Load()
	if snap.Table == nil || fd.ctx.Err() != nil {
		fd.counters.lookupsFailed.Add(1)
		return Result{}, fd.outside()
	}
	if err := ctx.Err(); err != nil {
		fd.counters.lookupsFailed.Add(1)
		return Result{}, &LookupError{ID: id, Err: err}
	}
	fd.counters.searched.add(id)
	q := inquiries.Get().(*inquiry)
	defer q.release()
	q.fd, q.ctx, q.tells = fd, ctx, how.hops
	var ok bool
	if q.deadline, ok = ctx.Deadline(); !ok {
		q.deadline = time.Now().Add(routing.LookupTimeout)
	}
	opts.Proven = fd.proven
	q.lookup.Reset(id, opts, fd.lease, how.wait)
	r, err := q.run()
	if err != nil {
		fd.counters.lookupsFailed.Add(1)
	}
	return r, err
}

// Reject notes that a member named as an owner did not serve.
func (fd *Finder) Reject(x ring.Member) {
	if other := fd.acting(); other != fd {
		other.Reject(x)
		return
	}
	now := fd.now()
	fd.peers.reject(x.ID, x.Addr, now, now+fd.suspicion)
	same := func(owner ring.Member) bool { return owner.Process() == x.ID && owner.Addr == x.Addr }
	fd.arcs.Drop(same)
	if fd.struck != nil {
		fd.struck(same)
	}
	if fd.lost != nil {
		fd.lost(protocol.Lost{Addr: x.Addr})
	}
}

// gone reports whether a failure shows that the member is not there any longer.
func gone(f *protocol.Failure) bool {
	return f.Kind == protocol.Refused || f.Kind == protocol.WrongMember
}
