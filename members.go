package concord

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Member is the state of one member of the ring, as the member itself reports it.
type Member struct {
	// Server identifies the member.
	Server Server `json:"server"`
	// Incarnation is greater after each restart of the member. It is zero for legacy members, which
	// are those of the existing Concord library.
	Incarnation uint64 `json:"incarnation,string"`
	// Zone is the Config.Zone of the member. It is empty if the member is in no zone.
	Zone string `json:"zone,omitempty"`
	// Phase is PhaseJoined or PhaseLeaving.
	Phase Phase `json:"phase"`
	// Predecessor is the nearest member counterclockwise. It is nil while the member does not know
	// one, and in a ring of one.
	Predecessor *Server `json:"predecessor,omitempty"`
	// Successors are the next members clockwise, as far as the member knows. It is empty in a ring
	// of one.
	Successors []Server `json:"successors"`
	// Ranges are those that the member is responsible for: one, or one for each of its VirtualNodes
	// that the loop has met, in the order in which they end. The zero Range stands for an
	// identifier of which the member does not know the predecessor.
	Ranges []Range `json:"ranges,omitempty"`
	// NamedBy is the member that named it first. It is nil for the member that the loop began with,
	// and for one that no other has named: the map of the ring has it.
	NamedBy *Server `json:"named_by,omitempty"`
}

// Members returns an iterator over the members of the ring, clockwise from this one. It yields this
// member and every member that a yielded one names as its predecessor or as one of its successors.
// So it also yields members beside the ring, such as one that has just joined and that no member
// has as its successor yet. A member that is named only after the loop has passed its place is
// yielded at the end. Members with VirtualNodes are yielded at the end, too, each once and with all
// its ranges. Members asks each member once, up to 16 at a time, so a ring of N members costs N−1
// requests. Those on the map of the ring it asks before others name them. One that only the map has
// is yielded if it answers.
//
// If the member's map of the ring is certain of the whole ring, Members asks nobody, but yields
// what the map says, which is at most ten StabilizeIntervals old: NamedBy is nil then, and Phase is
// PhaseJoined. Successors are then told as if all members had the SuccessorCount of this one.
// MaxAge sets a smaller bound. With Fresh, Cold or Verified, every member is asked.
//
// A member that is named but does not answer as a member is yielded with an error that matches
// ErrUnavailable, ErrNotJoined, ErrBusy, ErrDifferentRing or ErrDenied. Only the fields Server and
// NamedBy of the Member are set then, and the loop continues. A member that has just died is
// yielded like that until the others have noticed.
//
// The loop ends when all members have been asked. If it cannot go on, it ends with a zero Member
// and an error: that of ctx, ErrNotStarted, ErrNotJoined, ErrStopped, ErrSuperseded, or ErrHopLimit
// after 2^20 members. It waits twice for a member that does not answer, at most 4 s each time; ctx
// bounds the whole loop.
//
// Each member reports its state at a different instant. A ring that changes during the loop may
// therefore look worse than it ever was. The loop body may call any method of the member.
func (c *Concord) Members(ctx context.Context, opts ...LookupOption) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		n, err := c.started()
		if err != nil {
			yield(Member{}, err)
			return
		}
		members(n.Members(ctx, options(opts)), yield)
	}
}

// Members returns an iterator over the members of the ring, clockwise from one that the Client has
// met. See [Concord.Members]. It asks nobody if the Client has subscribed, what it has of the map
// is certain of the whole ring, and each member has confirmed its range to the Client. Before,
// Members costs a request for each range that is not confirmed. Successors are then told as if all
// members had the SuccessorCount of the one at which the Client has subscribed. Calling Members
// regularly makes the Client subscribe, as lookups do, unless it is with Fresh, Cold or Verified.
// If no member answers, the error is a *DialError. After Close it is ErrStopped.
func (c *Client) Members(ctx context.Context, opts ...LookupOption) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) { members(c.node.Members(ctx, options(opts)), yield) }
}

// members yields in public terms what a walk finds.
func members(walk iter.Seq2[node.Met, error], yield func(Member, error) bool) {
	var several gathered
	for m, err := range walk {
		if several.add(&m, err) {
			continue
		}
		if err != nil {
			if !several.yield(yield) {
				return
			}
			if je, ok := errors.AsType[*node.JoinError](err); ok {
				err = dialError(je, seeking{}, nil)
			}
			yield(Member{}, publicError(err))
			return
		}
		if !yield(met(&m)) {
			return
		}
	}
	several.yield(yield)
}

// met is in public terms what a walk has found of a member at one identifier.
func met(m *node.Met) (Member, error) {
	out := Member{Server: server(m.Who), NamedBy: known(m.By)}
	if m.Failure != nil {
		return out, failureError(m.Failure, ring.Member{})
	}
	out.Incarnation = m.State.Self.Incarnation
	out.Zone = m.State.Zone
	out.Phase = Phase(m.State.Phase.String())
	out.Predecessor = known(m.State.Pred)
	out.Successors = servers(m.State.Succ)
	if arc, ok := m.State.Arc(); ok {
		out.Ranges = []Range{rangeOf(arc)}
	} else if m.Who.Choice.Several() {
		out.Ranges = []Range{{}}
	}
	return out, nil
}

// gathered are members with VirtualNodes that a walk has met, in the order in which it has.
type gathered struct {
	list   []Member
	errs   []error
	places map[Server]int
}

// add adds what a walk has met, and reports whether it is of a member with VirtualNodes. One
// that answers at one of its identifiers is there.
func (g *gathered) add(m *node.Met, err error) bool {
	if err != nil || !m.Who.Choice.Several() {
		return false
	}
	x, err := met(m)
	i, ok := g.places[x.Server]
	switch {
	case !ok:
		if g.places == nil {
			g.places = map[Server]int{}
		}
		g.places[x.Server] = len(g.list)
		g.list, g.errs = append(g.list, x), append(g.errs, err)
	case err == nil && g.errs[i] != nil:
		g.list[i], g.errs[i] = x, nil
	case err == nil:
		g.list[i].Ranges = append(g.list[i].Ranges, x.Ranges...)
	}
	return true
}

func (g *gathered) yield(yield func(Member, error) bool) bool {
	for i, m := range g.list {
		slices.SortFunc(m.Ranges, func(a, b Range) int { return cmp.Compare(a.End, b.End) })
		if !yield(m, g.errs[i]) {
			return false
		}
	}
	return true
}

// known is m, nil if there is none.
func known(m ring.Member) *Server {
	if m.IsZero() {
		return nil
	}
	s := server(m)
	return &s
}

// Meta asks the member s for its Config.Meta, which is what its application says about it. It
// returns nil if that is empty or s is a legacy member. If only the address of s is set, Meta asks
// whichever member answers there. The caller owns the result.
//
// Meta returns when ctx ends, or after 5 s if ctx has no deadline. The error is that of ctx,
// ErrNotStarted or ErrStopped, or it matches ErrUnavailable, ErrBusy, ErrDifferentRing, ErrDenied
// or ErrAddress. It matches ErrUnavailable also if another member than s answers.
func (c *Concord) Meta(ctx context.Context, s Server) ([]byte, error) {
	n, err := c.started()
	if err != nil {
		return nil, err
	}
	to := member(c.space, s)
	if server(to) == c.self() {
		return slices.Clone(c.cfg.Meta), nil
	}
	return meta(ctx, &n.Finder, to)
}

// Meta asks the member s for its Config.Meta. See [Concord.Meta].
func (c *Client) Meta(ctx context.Context, s Server) ([]byte, error) {
	return meta(ctx, &c.node.Finder, member(c.space, s))
}

// Incarnation returns the incarnation of the member s that this member has heard of last. It is
// greater after each restart of s. A program that keeps something about a member, such as its
// [Concord.Meta] or what it has stored there, keeps it by the Server and the incarnation, and gets
// it again when the incarnation is another: the Server is the same after a restart at the same
// address.
//
// Incarnation returns false if this member knows no such member, even if there is one in the ring.
// It also returns false for legacy members, which have no incarnation. It knows the members of the
// ring by the map, the neighbours, and the members that this one remembers. It sends no request. It
// can miss a restart for as long as a lookup can.
func (c *Concord) Incarnation(s Server) (incarnation uint64, ok bool) {
	n := c.live.Load()
	if n == nil {
		return 0, false
	}
	s = server(member(c.space, s))
	return n.Incarnation(func(x ring.Member) bool { return server(x) == s })
}

// Incarnation returns the incarnation of the member s that the map of the Client has. See
// [Concord.Incarnation]. It returns false if the Client has no map.
func (c *Client) Incarnation(s Server) (incarnation uint64, ok bool) {
	s = server(member(c.space, s))
	return c.node.Incarnation(func(x ring.Member) bool { return server(x) == s })
}

func meta(ctx context.Context, f *node.Finder, to ring.Member) ([]byte, error) {
	if err := checkAddress(to.Addr); err != nil {
		return nil, err
	}
	out, err := f.Meta(ctx, to)
	if failure, ok := errors.AsType[*protocol.Failure](err); ok {
		return nil, failureError(failure, ring.Member{})
	}
	return out, publicError(err)
}
