package concord

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Member is a member of the ring as it answers when it is asked for its place.
type Member struct {
	// Server is the member as the others know it.
	Server Server `json:"server"`
	// Incarnation is greater in a later life of the same name; zero with members
	// of the existing library.
	Incarnation uint64 `json:"incarnation,string"`
	// Phase is PhaseJoined or PhaseLeaving.
	Phase Phase `json:"phase"`
	// Predecessor is nil while it does not know one, and in a ring of one.
	Predecessor *Server `json:"predecessor,omitempty"`
	// Successors are the next members clockwise, as far as it knows; none in a
	// ring of one.
	Successors []Server `json:"successors"`
	// NamedBy is the member that named it first, nil if the loop began with it.
	NamedBy *Server `json:"named_by,omitempty"`
}

// Members yields the members of the ring as they answer now, clockwise from this
// one: this member, and everyone whom a member yielded names as its predecessor or
// as one of its successors. So members beside the ring are among them too, as one
// is that has just joined. Who is named only after its place was passed comes at the
// end. Each is asked once, up to 16 at a time, so a ring of N costs N−1 requests.
//
// One that is named and does not answer as a member comes with an error, which
// matches ErrUnavailable, ErrNotJoined or ErrDifferentRing; of the Member, Server
// and NamedBy are then set. The loop goes on after it. Until the others have noticed
// a failure, that is what members that have just died look like.
//
// The loop ends when everybody has been asked, by break, or with an error of its
// own and a zero Member: that of ctx, ErrNotStarted, ErrNotJoined, ErrStopped,
// ErrSuperseded, or ErrHopLimit after 2^20 members. A member that is silent is
// waited for twice, at most 4 s each time; ctx bounds the whole. What is yielded was
// true of each member at another instant: a ring that is changing meanwhile may look
// worse than it ever was. The loop body may call any method of the member.
func (c *Concord) Members(ctx context.Context) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		n, err := c.started()
		if err != nil {
			yield(Member{}, err)
			return
		}
		members(n.Walk(ctx), yield)
	}
}

// Members yields the members of the ring as they answer now, clockwise from one that
// this Client has met; see [Concord.Members]. If nobody answers, the error is a
// *DialError; after Close it is ErrStopped.
func (c *Client) Members(ctx context.Context) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) { members(c.node.Walk(ctx), yield) }
}

// members yields in public terms what a walk finds.
func members(walk iter.Seq2[node.Met, error], yield func(Member, error) bool) {
	for m, err := range walk {
		if err != nil {
			var je *node.JoinError
			if errors.As(err, &je) {
				err = dialError(je, nil)
			}
			yield(Member{}, publicError(err))
			return
		}
		out := Member{Server: server(m.Who), NamedBy: known(m.By)}
		if m.Failure != nil {
			err = failureError(m.Failure, ring.Member{})
		} else {
			out.Incarnation = m.State.Self.Incarnation
			out.Phase = Phase(m.State.Phase.String())
			out.Predecessor = known(m.State.Pred)
			out.Successors = servers(m.State.Succ)
		}
		if !yield(out, err) {
			return
		}
	}
}

// known is m, nil if there is none.
func known(m ring.Member) *Server {
	if m.IsZero() {
		return nil
	}
	s := server(m)
	return &s
}

// Meta asks s what its application says of it: its Config.Meta, nil if that is
// empty, as it is with members of the existing library. Of s, the address suffices:
// then whoever answers there is meant. The caller owns the result.
//
// It waits no longer than ctx allows, or 5 s if ctx has no deadline. The error is
// that of ctx, ErrNotStarted or ErrStopped, or matches ErrUnavailable (also when
// another member than s answers), ErrDifferentRing or ErrAddress.
func (c *Concord) Meta(ctx context.Context, s Server) ([]byte, error) {
	n, err := c.started()
	if err != nil {
		return nil, err
	}
	if s == c.self() {
		return slices.Clone(c.cfg.Meta), nil
	}
	return meta(ctx, &n.Finder, s)
}

// Meta asks s what its application says of it; see [Concord.Meta].
func (c *Client) Meta(ctx context.Context, s Server) ([]byte, error) {
	return meta(ctx, &c.node.Finder, s)
}

func meta(ctx context.Context, f *node.Finder, s Server) ([]byte, error) {
	if err := checkAddress(s.Address); err != nil {
		return nil, err
	}
	out, err := f.Meta(ctx, ring.Member{ID: s.Id, Name: s.Name, Addr: s.Address})
	var failure *protocol.Failure
	if errors.As(err, &failure) {
		return nil, failureError(failure, ring.Member{})
	}
	return out, publicError(err)
}
