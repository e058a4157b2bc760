package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Bounds on what others may keep open here.
const (
	maxWaiting = 4096
	// maxSameLookup is how many lookups of one identifier for legacy members
	// are done at once. They forward lookups without a limit; when one comes
	// back to us again and again they have made a loop.
	maxSameLookup = 4
	maxLookups    = 1024
)

// handler answers other members.
type handler Node

var _ transport.Handler = (*handler)(nil)

// admit refuses what is meant for another member or comes from another kind
// of ring.
func (h *handler) admit(env transport.Envelope) *protocol.Failure {
	self := h.snap.Load().Self
	if env.Legacy {
		if h.cfg.Settings.Cluster != 0 {
			return h.turnAway(env, &protocol.Failure{Kind: protocol.WrongRing, By: self, Differing: []string{"Cluster"},
				Detail: "the caller names no cluster"})
		}
	} else if diff := h.cfg.Settings.Differing(env.Settings); len(diff) > 0 {
		return h.turnAway(env, &protocol.Failure{Kind: protocol.WrongRing, By: self, Differing: diff})
	}
	if horizon := (*Node)(h).horizon(); env.From.Incarnation > horizon {
		f := (*Node)(h).refuseIncarnation("request", "sender", env.From, env.From, horizon)
		f.By = self
		return f
	}
	if f := h.apart(env); f != nil {
		return h.turnAway(env, f)
	}
	to := env.To
	if to.ID == self.Process() && to.Incarnation == 0 {
		return nil // the process is meant
	}
	if (to.ID != 0 || to.Incarnation != 0) && (to.ID != self.ID || to.Incarnation != 0 && to.Incarnation != self.Incarnation) {
		return &protocol.Failure{Kind: protocol.WrongMember, By: self, Origin: h.snap.Load().View.Origin}
	}
	return nil
}

// tooWide is what is wrong with an identifier that is not on the circle.
func tooWide() *protocol.Failure {
	return &protocol.Failure{Kind: protocol.Invalid, Detail: "the identifier has more than HashBits bits"}
}

// turnAway notes that a request is refused: it comes from another kind of ring, or
// cannot be. A legacy member, or a client, does not say who it is.
func (h *handler) turnAway(env transport.Envelope, f *protocol.Failure) *protocol.Failure {
	h.noteFailure(PeerFailure{Name: env.From.Name, Addr: env.From.Addr, Kind: f.Kind, Incoming: true, Err: failureWords(f, "")})
	return f
}

// turnStranger is turnAway of a member of another ring. One that has left the marks of
// its ring out asks again with them, and they may show that the two are akin.
func (h *handler) turnStranger(env transport.Envelope, f *protocol.Failure) *protocol.Failure {
	if env.Origin != nil && len(env.Origin.Marks) == 0 {
		return f
	}
	return h.turnAway(env, f)
}

// Maintain gives the machine a request and waits until it answers.
func (h *handler) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	h.counters.served.Add(1)
	ctx, done := observed(ctx, h.observer.Serve, req.Kind.String(), env.From)
	reply, err := h.maintained(ctx, env, req)
	done(failure(err))
	return reply, err
}

func (h *handler) maintained(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	n := (*Node)(h)
	if f := h.admit(env); f != nil {
		return protocol.Reply{}, f
	}
	if !env.Legacy {
		if f := n.checkHash("request", env.From); f != nil {
			return protocol.Reply{}, h.turnAway(env, f)
		}
	}
	if f, told := n.examine("request", env.From, one("sender", env.From), one("subject", req.Subject), one("predecessor", req.Pred), several("successors", req.Succ)); told {
		return protocol.Reply{}, f
	} else if f != nil {
		return protocol.Reply{}, h.turnAway(env, f)
	}
	if env.From.IsZero() && req.Kind != protocol.AskRing {
		return protocol.Reply{}, h.turnAway(env, &protocol.Failure{Kind: protocol.Invalid, Detail: "request: sender is missing"})
	}
	n.blame(env.Source, env.From, req.Subject, req.Pred)
	n.blame(env.Source, req.Succ...)
	if req.Kind == protocol.Introduce && req.Subject == env.From && n.Snapshot().View.Origin.Kin(req.Origin) {
		n.offer(env.From)
	}
	ch := make(chan protocol.Respond, 1)
	n.mu.Lock()
	if n.stopped() || len(n.waiting) >= maxWaiting {
		n.mu.Unlock()
		return protocol.Reply{}, &protocol.Failure{Kind: protocol.Cancelled, Detail: "the member is stopping or overloaded"}
	}
	n.token++
	token := n.token
	if req.Kind == protocol.Notify && !n.callbacks.begin(token, env.Source) {
		busy := protocol.Reply{State: n.machine.State(), Refusal: protocol.Refusal{Reason: protocol.Busy}}
		n.mu.Unlock()
		n.zoned(&busy.State)
		h.noteFailure(PeerFailure{Addr: env.Source.String(), Kind: protocol.Overloaded, Incoming: true, Err: "too many notifications from one host are looked into"})
		return busy, nil
	}
	n.waiting[token] = ch
	n.stepFor(env.Source, protocol.Asked{Token: token, From: env.From, Request: req})
	n.mu.Unlock()
	select {
	case r := <-ch:
		if f := r.Failure; f != nil && f.Kind == protocol.WrongRing {
			return protocol.Reply{}, h.turnStranger(env, f)
		} else if f != nil {
			if reply, ok := n.leadOn(env, req, f); ok {
				return reply, nil
			}
			return protocol.Reply{}, f
		}
		n.refer(env, &r.Reply.State)
		n.zoned(&r.Reply.State)
		return r.Reply, nil
	case <-ctx.Done():
	case <-n.ctx.Done():
	}
	n.mu.Lock()
	delete(n.waiting, token)
	n.mu.Unlock()
	return protocol.Reply{}, &protocol.Failure{Kind: protocol.Cancelled, Detail: "no answer in time"}
}

// Route answers one step of a lookup from the snapshot.
func (h *handler) Route(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
	h.counters.servedRoutes.Add(1)
	_, done := observed(ctx, h.observer.Serve, kindRoute, env.From)
	answer, err := h.routed(env, q)
	done(failure(err))
	return answer, err
}

func (h *handler) routed(env transport.Envelope, q routing.Query) (routing.Answer, error) {
	n := (*Node)(h)
	if f := h.admit(env); f != nil {
		return routing.Answer{}, f
	}
	s := n.Snapshot()
	if f := protocol.Unrelated(s.View.Self, s.View.Origin, env.From, env.Origin); f != nil {
		return routing.Answer{}, h.turnStranger(env, f)
	}
	if s.Table == nil {
		return routing.Answer{}, n.refusal()
	}
	if q.ID&^n.cfg.Space.Mask() != 0 {
		return routing.Answer{}, h.turnAway(env, tooWide())
	}
	a := s.Table.Answer(q, n.now())
	if a.Verdict != routing.Mine {
		a.By = s.View.Self
	}
	if !a.Owner.IsZero() {
		a.Zone, _ = n.zoneOf(a.Owner)
	}
	return a, nil
}

// FindSuccessor does a whole lookup for a legacy member.
func (h *handler) FindSuccessor(ctx context.Context, env transport.Envelope, id uint64) (ring.Member, error) {
	h.counters.served.Add(1)
	ctx, done := observed(ctx, h.observer.Serve, kindFindSuccessor, env.From)
	owner, err := h.found(ctx, env, id)
	done(failure(err))
	return owner, err
}

func (h *handler) found(ctx context.Context, env transport.Envelope, id uint64) (ring.Member, error) {
	n := (*Node)(h)
	if f := h.admit(env); f != nil {
		return ring.Member{}, f
	}
	if id&^n.cfg.Space.Mask() != 0 {
		return ring.Member{}, h.turnAway(env, tooWide())
	}
	if !n.loops.enter(id) {
		return ring.Member{}, &protocol.Failure{Kind: protocol.Cancelled, Detail: "the lookup goes in a loop"}
	}
	defer n.loops.leave(id)
	ctx, cancel := context.WithTimeout(ctx, peer.PatientTimeout) // the caller need not have a limit
	defer cancel()
	r, err := n.Lookup(ctx, id, routing.Options{})
	owner := r.Owner
	if err == nil && owner.ID == id && n.outOfRing(ctx, owner) {
		owner, err = n.beyond(ctx, id)
	}
	if err != nil {
		if n.Snapshot().Table == nil {
			return ring.Member{}, n.refusal()
		}
		// What others have answered, and where, is for the log here.
		return ring.Member{}, &protocol.Failure{Kind: protocol.Cancelled, Detail: "the owner was not found"}
	}
	return owner, nil
}

// beyond finds whom a legacy member joins before whose place, at id, the ring still takes
// for filled. That is the member after it. But those before it may be legacy members that
// know nobody else, and the joiner waits until whom it joins before has a predecessor, which
// that one has lost: then it is the next one that is known here and has one. From there the
// joiner finds those between.
func (n *Node) beyond(ctx context.Context, id uint64) (ring.Member, error) {
	limit := peer.PatientTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	half, cancel := context.WithTimeout(ctx, limit/2)
	defer cancel()
	r, err := n.Lookup(half, n.cfg.Space.Add(id, 1), routing.Options{})
	var others []ring.Member
	if t := n.Snapshot().Table; t != nil {
		others = t.After(id)
	}
	if err == nil {
		others = slices.Insert(others, 0, r.Owner)
	}
	self := n.Snapshot().View.Self.ID
	for _, x := range others {
		if x.ID == self {
			return x, err
		}
		if reply, f := n.askRing(ctx, x); f == nil && reply.State.Phase.InRing() && !reply.State.Pred.IsZero() {
			return x, nil
		}
	}
	return r.Owner, err
}

// outOfRing reports whether x, which the ring still names, says that it is in no ring,
// or is known not to be there. Legacy members look up their own identifier to join; one
// that was restarted a moment ago would be handed itself, for as long as others take it
// for alive, and wait for itself.
func (n *Node) outOfRing(ctx context.Context, x ring.Member) bool {
	if x.ID == n.Snapshot().View.Self.ID {
		return false
	}
	reply, f := n.askRing(ctx, x)
	if f != nil && f.Kind == protocol.WrongMember && f.By.ID == x.ID && f.By.Name == x.Name {
		reply, f = n.askRing(ctx, f.By) // another incarnation of it
	}
	if f != nil {
		return f.Kind == protocol.NotJoined || gone(f)
	}
	return !reply.State.Phase.InRing()
}

// Meta answers what the application says of this member.
func (h *handler) Meta(ctx context.Context, env transport.Envelope) ([]byte, error) {
	h.counters.served.Add(1)
	_, done := observed(ctx, h.observer.Serve, kindMeta, env.From)
	f := h.admit(env)
	done(f)
	if f != nil {
		return nil, f
	}
	return h.cfg.Meta, nil
}

// loopGuard bounds the lookups done for legacy members.
type loopGuard struct {
	mu    sync.Mutex
	open  map[uint64]int
	total int
}

func (g *loopGuard) enter(id uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[id] >= maxSameLookup || g.total >= maxLookups {
		return false
	}
	if g.open == nil {
		g.open = map[uint64]int{}
	}
	g.open[id]++
	g.total++
	return true
}

func (g *loopGuard) leave(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.open[id]--; g.open[id] == 0 {
		delete(g.open, id)
	}
}
