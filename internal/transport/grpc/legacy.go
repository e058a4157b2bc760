package grpctransport

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file asks legacy members. They are told apart by what they answer: an
// unknown method, or a ring without our fields. That holds for one connection,
// since the process at its other end cannot change. Requests to them carry our
// fields all the same, so that a member of ours that a legacy one named, and
// whose incarnation got lost on the way, shows what it is.

// errBase reports a peer that knows the base contract only, errExtended one that
// was taken for such a peer and is a member of ours.
var (
	errBase     = errors.New("the peer is a legacy member")
	errExtended = errors.New("the peer is a member of ours")
)

// takeForLegacy notes that the peer of l, which has just answered as a legacy member
// does, is one, and reports why none may be at env.To, if so.
func (t *Transport) takeForLegacy(ctx context.Context, l *link, env transport.Envelope) error {
	if dialect(l.speaks.Swap(int32(base))) == extended {
		// A process does not change, so something between passes for it.
		t.pool.retire(l)
		return notLegacy(env)
	}
	return t.mayBeLegacy(ctx, l, env)
}

// unimplemented finds out what a peer is that does not know a method of the extension, as
// err says: a legacy member answers for its ring, and anything else, a web server say, does
// not know that method either. It fails with errBase if it is a legacy member that may be
// at env.To.
func (t *Transport) unimplemented(ctx context.Context, l *link, env transport.Envelope, err error) error {
	if l.dialect() != base {
		r, ringErr := l.stub.GetRing(ctx, &pb.RingReq{Request: l.request(env)})
		switch {
		case ringErr != nil:
			return ringErr
		case r.GetAnswer() != nil:
			l.speaks.Store(int32(extended))
			return err
		}
	}
	if err := t.takeForLegacy(ctx, l, env); err != nil {
		return err
	}
	return errBase
}

// mayBeLegacy reports why the peer of l, a legacy member by its answers, may not be
// at env.To, if so: legacy ones are not admitted, or one of ours was seen there. In its
// place a legacy member stands only if it has taken over that one's name and address,
// as in a rollback; anything else that answers so is somebody else.
func (t *Transport) mayBeLegacy(ctx context.Context, l *link, env transport.Envelope) error {
	ours := env.To.Incarnation != 0 || t.known.has(env.To)
	switch {
	case !ours && env.Settings.Cluster == 0:
		return nil
	case !ours:
		f := failure(protocol.WrongRing, "%s is a legacy member, which has no cluster", env.To.Addr)
		f.Differing = []string{"Cluster"}
		return f
	case env.To.Name == "" || env.Settings.Cluster != 0 || !t.replaced(ctx, l, env):
		return notLegacy(env)
	}
	now := env.To
	now.Incarnation = 0
	t.known.lapse(now)
	if env.To == now {
		return nil
	}
	f := failure(protocol.WrongMember, "%s is now a legacy member of the same name", env.To.Addr)
	f.By = now
	return f
}

func notLegacy(env transport.Envelope) *protocol.Failure {
	return failure(protocol.WrongMember, "%s answers as a legacy member, but %q is none", env.To.Addr, env.To.Name)
}

// replaced reports whether the peer of l, a legacy member by its answers, bears the
// name and the address of env.To. Its answers do not say who it is, and addresses are
// used again by others. So it has to be in a ring, and to be named with that
// identifier at that address: by itself, in a ring of one or in a Notify to us, or by
// its successor, as the predecessor that has notified it.
func (t *Transport) replaced(ctx context.Context, l *link, env transport.Envelope) bool {
	r, err := l.stub.GetRing(ctx, &pb.RingReq{Request: pbRequest(env)})
	if err != nil || r.GetAnswer() != nil {
		return false
	}
	s, err := legacyState(ring.Member{Addr: env.To.Addr}, r)
	if err != nil || s.Phase != protocol.Joined {
		return false
	}
	isIt := func(m ring.Member) bool {
		return m.SameMember(env.To) && m.Incarnation == 0
	}
	if isIt(s.Self) || t.known.claimed(env.To) {
		return true
	}
	head := s.Head()
	if head.IsZero() || head.Addr == env.To.Addr {
		return false
	}
	pred, err := t.predecessorOf(ctx, env, head)
	return err == nil && isIt(pred)
}

// predecessorOf asks x, of either kind, whom it has for its predecessor.
func (t *Transport) predecessorOf(ctx context.Context, env transport.Envelope, x ring.Member) (pred ring.Member, err error) {
	env.To, env.Host = x, "" // the name asked for is that of another member
	err = t.call(ctx, env, func(l *link) error {
		r, err := l.stub.GetRing(ctx, &pb.RingReq{Request: pbRequest(env)})
		if err != nil {
			return err
		}
		pred, err = optional("ring.predecessor", r.GetPredecessor())
		return unusable(env, err)
	})
	return pred, err
}

// legacyState is the state that the ring of a legacy member shows. Its Self is
// to, unless to is anyone; then it is known in a ring of one only.
func legacyState(to ring.Member, r *pb.Ring) (protocol.State, error) {
	pred, err := optional("ring.predecessor", r.GetPredecessor())
	if err != nil {
		return protocol.State{}, err
	}
	list, err := members("ring.successors", r.GetSuccessors(), maxMembers)
	if err != nil {
		return protocol.State{}, err
	}
	s := protocol.State{Phase: protocol.Joined}
	if !to.Anyone() {
		s.Self = to
	}
	if pred.IsZero() && len(list) == 0 {
		s.Phase = protocol.Outside
		return s, nil
	}
	if to.Anyone() && pred.Addr == to.Addr && !slices.ContainsFunc(list, func(m ring.Member) bool { return m.ID != pred.ID }) {
		s.Self = pred
	}
	if s.Self.IsZero() || pred.ID != s.Self.ID {
		s.Pred = pred
	}
	s.Succ = cut(s.Self, list)
	return s, nil
}

// cut ends a list at the first copy of a member already named, or of self.
func cut(self ring.Member, list []ring.Member) []ring.Member {
	var out []ring.Member
	for _, m := range list {
		if !self.IsZero() && m.ID == self.ID || slices.ContainsFunc(out, func(o ring.Member) bool { return o.ID == m.ID }) {
			break
		}
		out = append(out, m)
	}
	return out
}

// maintainLegacy makes a request in terms of the base contract.
func (t *Transport) maintainLegacy(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	switch req.Kind {
	case protocol.Notify:
		return t.afterNotify(ctx, env)
	case protocol.Seek, protocol.Place:
		return t.placeLegacy(ctx, env, req)
	default:
		// Introduce, Changed and Leave: a legacy member finds out by itself,
		// when it next stabilizes.
		return protocol.Reply{}, nil
	}
}

// afterNotify tells from its ring what a legacy member made of a Notify.
func (t *Transport) afterNotify(ctx context.Context, env transport.Envelope) (protocol.Reply, error) {
	s, _, err := t.getRing(ctx, env)
	if err != nil {
		return protocol.Reply{}, err
	}
	reply := protocol.Reply{State: s}
	if p := s.Pred; !p.IsZero() && (p.ID != env.From.ID || p.Addr != env.From.Addr) {
		reply.Refusal.Reason = protocol.Nearer
	}
	return reply, nil
}

// routeLegacy has a legacy member do the whole lookup.
func (t *Transport) routeLegacy(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
	owner, err := t.findSuccessor(ctx, env, q.ID)
	if err != nil {
		return routing.Answer{}, err
	}
	return routing.Answer{Verdict: routing.Owned, Owner: owner}, nil
}

// findSuccessor asks a peer, taken for a legacy member, for the owner of id. It
// fails with errExtended if the peer is one of ours.
//
// A legacy member asks others in turn, and what one of those fails with it hands on
// as it came: code, words and details. So nothing in such a failure is its own word,
// and least of all what it seems to say of who has answered. Its own word is its
// ring, which is asked for then.
func (t *Transport) findSuccessor(ctx context.Context, env transport.Envelope, id uint64) (owner ring.Member, err error) {
	var relayed *protocol.Failure
	err = t.call(ctx, env, func(l *link) error {
		r, err := l.stub.FindSuccessor(ctx, &pb.FindReq{Id: id, Request: pbRequest(env)})
		switch {
		case err == nil:
			owner, err = member("server", r.GetServer())
			return unusable(env, err)
		case ctx.Err() != nil || l.over.Load():
			return err // it has not answered
		}
		st := status.Convert(err)
		relayed = failure(protocol.Relayed, "%s (%s)", detail(st.Message()), st.Code())
		return relayed
	})
	if relayed == nil {
		return owner, err
	}
	switch s, d, err := t.getRing(ctx, env); {
	case err != nil && ctx.Err() == nil:
		return owner, err
	case err == nil && d == extended:
		return owner, errExtended
	case err == nil && s.Phase == protocol.Outside:
		return owner, &protocol.Failure{Kind: protocol.NotJoined, By: s.Self, Detail: relayed.Detail}
	}
	return owner, relayed
}

// placeLegacy works out where a member belongs as seen by a legacy one, which
// does not consider it.
func (t *Transport) placeLegacy(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	s, d, err := t.getRing(ctx, env)
	switch {
	case err != nil:
		return protocol.Reply{}, err
	case d == extended:
		// It was taken for a legacy one because a legacy one had named it.
		return t.maintain(ctx, env, req)
	case s.Phase == protocol.Outside:
		return protocol.Reply{}, &protocol.Failure{Kind: protocol.NotJoined, By: s.Self, Detail: "a legacy member with an empty ring"}
	}
	self, head, subject := s.Self, s.Head(), req.Subject
	reply := protocol.Reply{State: s, Verdict: protocol.Next}
	if !self.IsZero() {
		switch {
		case self.ID == subject.ID, !head.IsZero() && head.ID == subject.ID:
			reply.Verdict = protocol.Found
			return reply, nil
		case head.IsZero(), ring.Between(self.ID, subject.ID, head.ID):
			reply.Verdict = protocol.Taken
			return reply, nil
		}
	}
	owner, pred := ring.Member{}, s.Pred
	switch found, err := t.hint(ctx, env, subject.ID); {
	case errors.Is(err, errExtended):
		return t.maintain(ctx, env, req)
	case err == nil && !self.IsZero() && found.Addr == self.Addr:
		owner = found
	case err == nil:
		owner, pred = t.neighbours(ctx, env, found)
	}
	// Without a hint its own neighbours lead on, one member at a time.
	if self.IsZero() {
		// Nothing to measure from: let the two that were found be asked. If that
		// is the subject, in an incarnation that the ring has not missed yet, its own
		// neighbours must do.
		for _, m := range append([]ring.Member{pred, owner, s.Pred}, s.Succ...) {
			if !m.IsZero() && m.Addr != subject.Addr && len(reply.Closer) < routing.MaxCloser && !slices.Contains(reply.Closer, m) {
				reply.Closer = append(reply.Closer, m)
			}
		}
		reply.State = protocol.State{Phase: s.Phase}
		return reply, nil
	}
	// The owner itself may lie on the way, because a legacy member that is
	// asked for a member's own identifier names the one before it.
	for _, m := range []ring.Member{owner, pred, head} {
		if !m.IsZero() && ring.Between(self.ID, m.ID, subject.ID) && !slices.ContainsFunc(reply.Closer, func(o ring.Member) bool { return o.ID == m.ID }) {
			reply.Closer = append(reply.Closer, m)
		}
	}
	slices.SortFunc(reply.Closer, func(a, b ring.Member) int {
		if ring.Between(self.ID, a.ID, b.ID) {
			return 1
		}
		return -1
	})
	return reply, nil
}

// hint is findSuccessor in most of the time that is left: the peer may wait for
// members that are dead, and what else is known must still reach the caller.
func (t *Transport) hint(ctx context.Context, env transport.Envelope, id uint64) (ring.Member, error) {
	ctx, cancel := mostOf(ctx)
	defer cancel()
	return t.findSuccessor(ctx, env, id)
}

// mostOf is ctx with nine tenths of the time that it has left.
func mostOf(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, time.Until(deadline)*9/10)
	}
	return context.WithCancel(ctx)
}

// neighbours asks owner for its predecessor, zero if it does not tell in most of
// the time that is left.
func (t *Transport) neighbours(ctx context.Context, env transport.Envelope, owner ring.Member) (self, pred ring.Member) {
	ctx, cancel := mostOf(ctx)
	defer cancel()
	env.To, env.Host = owner, "" // the name asked for is that of another member
	s, _, err := t.getRing(ctx, env)
	if err != nil {
		return owner, ring.Member{}
	}
	if !s.Self.IsZero() {
		owner = s.Self
	}
	return owner, s.Pred
}

// maxKnown bounds how many members are remembered as seen with an incarnation.
const maxKnown = 4096

// place is an identifier at an address. A member of ours that claims the name of
// a legacy one, elsewhere, does not make that one of ours.
type place struct {
	id   uint64
	addr string
}

// standing is what is known of who stands at a place.
type standing uint8

const (
	ours    standing = iota + 1 // a member of ours was seen there
	claimed                     // the same, and since then a legacy member has said that it stands there
	lapsed                      // the same, and since then a legacy member was found there
)

// known is a bounded set of places where members were seen with an incarnation:
// whoever is named there without one later is still not a legacy member, unless an
// legacy member has been found there since.
// The zero value is empty; it may be used concurrently.
type known struct {
	mu  sync.Mutex
	ids peer.Recent[place, standing]
}

// add notes that m has shown itself, with an incarnation.
func (k *known) add(m ring.Member) {
	if m.Incarnation == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids.Put(place{m.ID, m.Addr}, ours, maxKnown)
}

// claim notes that m says of itself, as legacy members do, that it stands at its place.
func (k *known) claim(m ring.Member) { k.turn(m, claimed, ours) }

// lapse notes that a legacy member was found at the place of m.
func (k *known) lapse(m ring.Member) { k.turn(m, lapsed, ours, claimed) }

func (k *known) turn(m ring.Member, to standing, from ...standing) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := place{m.ID, m.Addr}
	if was, _ := k.ids.Get(at); slices.Contains(from, was) {
		k.ids.Put(at, to, maxKnown)
	}
}

// has reports whether, as far as known, one of ours stands at the place of m.
func (k *known) has(m ring.Member) bool {
	s := k.at(m)
	return s == ours || s == claimed
}

// claimed reports whether a legacy member has said, since one of ours was seen at the
// place of m, that it stands there.
func (k *known) claimed(m ring.Member) bool {
	s := k.at(m)
	return s == claimed || s == lapsed
}

func (k *known) at(m ring.Member) standing {
	if m.Name == "" {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s, _ := k.ids.Get(place{m.ID, m.Addr})
	return s
}
