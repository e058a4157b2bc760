package grpctransport

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// timeless is a context that gRPC ends a request with, but does not tell the peer
// the time of beforehand: that would be a header, and a timer there, in each request,
// and members of ours answer at once what they are asked.
type timeless struct{ context.Context }

func (timeless) Deadline() (time.Time, bool) { return time.Time{}, false }

// timed is ctx with the time that it may have been made timeless of.
func timed(ctx context.Context) context.Context {
	if t, ok := ctx.(timeless); ok {
		return t.Context
	}
	return ctx
}

// Maintain asks env.To; see transport.Transport.
func (t *Transport) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	ctx = bare(ctx)
	env.Origin = req.Origin
	self := ""
	if env.To.Anyone() {
		// All that this question takes is asked of one and the same member.
		to := t.pool.apart(t.endpoint(env))
		ctx = context.WithValue(ctx, apart{}, to)
		defer func() { t.pool.part(to, self == env.To.Addr) }()
	}
	reply, err := t.maintain(timeless{ctx}, env, req)
	if errors.Is(err, errBase) {
		reply, err = t.maintainLegacy(ctx, env, req)
	}
	if errors.Is(err, errBase) {
		err = changeable(env)
	}
	if err != nil {
		return protocol.Reply{}, err
	}
	self = reply.State.Self.Addr
	return reply, nil
}

// apart is the key of the endpoint, in a context, of a question to an address alone.
type apart struct{}

// endpoint is where env is sent.
func (t *Transport) endpoint(env transport.Envelope) endpoint {
	to := endpoint{addr: env.To.Addr}
	if c := t.cfg.Client; c != nil && c.ServerName == "" {
		to.host = env.Host
	}
	return to
}

// Route asks env.To for one step of a lookup; see transport.Transport.
func (t *Transport) Route(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
	if n := len(q.Avoid); n > routing.MaxAvoid {
		return routing.Answer{}, failure(protocol.Invalid, "avoid has %d entries (at most %d)", n, routing.MaxAvoid)
	}
	ctx = bare(ctx)
	r := routeCalls.Get().(*routeCall)
	defer r.release()
	r.t, r.ctx, r.env, r.query = t, ctx, env, q
	err := t.call(ctx, env, r.try)
	answer := r.answer
	if errors.Is(err, errBase) {
		answer, err = t.routeLegacy(ctx, env, q)
	}
	if errors.Is(err, errExtended) {
		err = t.call(ctx, env, r.try) // its connection has shown by now what it is
		answer = r.answer
	}
	if errors.Is(err, errBase) || errors.Is(err, errExtended) {
		err = changeable(env)
	}
	if err != nil {
		return routing.Answer{}, err
	}
	return answer, nil
}

// routeCall is a Route under way, and the messages of it.
type routeCall struct {
	t      *Transport
	ctx    context.Context
	env    transport.Envelope
	query  routing.Query
	answer routing.Answer
	req    pb.RouteReq
	resp   pb.RouteResp

	try, ask func(*link) error // onLink, and question if the peer knows the extension
}

// routeCalls are those that are over: there are many, and each is large.
var routeCalls = sync.Pool{New: func() any {
	r := new(routeCall)
	r.try, r.ask = r.onLink, r.question
	return r
}}

// release gives r back, of which nobody knows any longer.
func (r *routeCall) release() {
	r.t, r.ctx, r.env, r.query, r.answer = nil, nil, transport.Envelope{}, routing.Query{}, routing.Answer{}
	r.req.Reset()
	r.resp.Reset()
	routeCalls.Put(r)
}

func (r *routeCall) onLink(l *link) error { return r.t.inExtension(r.ctx, l, r.env, r.ask) }

// plainCall are the options of calls that have none of their own.
var plainCall = []grpc.CallOption{grpc.StaticMethod()}

func (r *routeCall) question(l *link) error {
	t := r.t
	r.req.Id, r.req.Avoid, r.req.Request = r.query.ID, targets(r.query.Avoid), l.request(r.env)
	if err := l.Invoke(t.injected(timeless{r.ctx}), pb.ChordService_Route_FullMethodName, &r.req, &r.resp, plainCall...); err != nil {
		return err
	}
	l.notes(r.env.Origin)
	var err error
	r.answer, err = routeAnswer(r.env.To, &r.resp)
	says := []ring.Member{r.answer.By, r.answer.Owner}
	if r.answer.Verdict != routing.Mine {
		says = says[:1]
	}
	return t.vouch(l, r.env, err, says...)
}

// changeable is the failure of a peer that is now of one kind, now of the other.
func changeable(env transport.Envelope) *protocol.Failure {
	return failure(protocol.Invalid, "%s answers sometimes as a legacy member and sometimes as a current one", env.To.Addr)
}

// Meta asks env.To what its application says of it; see transport.Transport.
// Users name members without incarnations, so a peer counts as legacy only once it
// has shown that it is.
func (t *Transport) Meta(ctx context.Context, env transport.Envelope) (meta []byte, err error) {
	ctx = bare(ctx)
	err = t.call(ctx, env, func(l *link) error {
		var err error
		meta, err = t.metaOn(ctx, l, env)
		return err
	})
	if errors.Is(err, errBase) {
		return nil, nil
	}
	return meta, err
}

// metaOn is Meta on a link.
func (t *Transport) metaOn(ctx context.Context, l *link, env transport.Envelope) (meta []byte, err error) {
	r, err := l.stub.Meta(ctx, &pb.MetaReq{Request: l.request(env)})
	switch status.Code(err) {
	case codes.OK:
		l.speaks.Store(int32(extended))
		meta, err = metaOf(r)
		return meta, unusable(env, err)
	case codes.Unimplemented:
		return nil, t.unimplemented(ctx, l, env, err)
	}
	return nil, err
}

// Map sends a request of this member's map; see transport.Transport.
func (t *Transport) Map(ctx context.Context, env transport.Envelope, req *ringmap.Request) (reply ringmap.Reply, err error) {
	err = t.extended(ctx, env, func(l *link) error {
		r, err := l.stub.Map(timeless{ctx}, mapReq(l.request(env), req))
		if err != nil {
			return err
		}
		reply, err = mapReply(r)
		return unusable(env, err)
	})
	if errors.Is(err, errBase) {
		err = failure(protocol.Invalid, "%s is a legacy member, which keeps no map", env.To.Addr)
	}
	return reply, err
}

// maintain makes a request in our own terms; it fails with errBase if the peer
// does not know them.
func (t *Transport) maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (reply protocol.Reply, err error) {
	switch req.Kind {
	case protocol.AskRing:
		reply.State, _, err = t.askRing(ctx, env, &pb.RingReq{Lease: pbLeaseReq(req.Lease)})
	case protocol.Look:
		reply.State, _, err = t.askRing(ctx, env, &pb.RingReq{Looking: true, Founder: server(req.Subject)})
	case protocol.Notify:
		reply, err = t.notify(ctx, env, req)
	case protocol.Seek, protocol.Place:
		err = t.extended(ctx, env, func(l *link) error {
			r, err := l.stub.Place(ctx, &pb.PlaceReq{Subject: server(req.Subject), Seek: req.Kind == protocol.Seek, Request: l.request(env)})
			if err != nil {
				return err
			}
			reply, err = placeReply(r)
			return t.vouch(l, env, err, reply.State.Self)
		})
	case protocol.Introduce:
		err = t.extended(ctx, env, func(l *link) error {
			r, err := l.stub.Introduce(ctx, &pb.IntroduceReq{Subject: server(req.Subject), Request: l.request(env)})
			if err != nil {
				return err
			}
			reply, err = ringReply(r)
			return t.vouch(l, env, err, reply.State.Self)
		})
	case protocol.Changed:
		err = t.extended(ctx, env, func(l *link) error {
			_, err := l.stub.Changed(ctx, &pb.ChangedReq{Request: l.request(env)})
			return err
		})
	case protocol.Leave:
		err = t.extended(ctx, env, func(l *link) error {
			r, err := l.stub.Leave(ctx, &pb.LeaveReq{Predecessor: server(req.Pred), Successors: servers(req.Succ), Request: l.request(env), Clock: req.Clock})
			if err != nil {
				return err
			}
			reply, err = ringReply(r)
			return t.vouch(l, env, err, reply.State.Self)
		})
	default:
		err = failure(protocol.Invalid, "the kind %d of the request is unknown", req.Kind)
	}
	t.known.add(reply.State.Self)
	return reply, err
}

// getRing asks any peer for its ring; what kind it is, it thereby shows.
func (t *Transport) getRing(ctx context.Context, env transport.Envelope) (protocol.State, dialect, error) {
	return t.askRing(ctx, env, &pb.RingReq{})
}

// askRing does so with a request that says more; a legacy member does not read
// it.
func (t *Transport) askRing(ctx context.Context, env transport.Envelope, req *pb.RingReq) (s protocol.State, d dialect, err error) {
	err = t.call(ctx, env, func(l *link) error {
		seen := l.address(env, req)
		r, err := l.stub.GetRing(ctx, req)
		if err != nil {
			return err
		}
		if legacyAnswer(req, r) {
			if err := t.takeForLegacy(ctx, l, env); err != nil {
				return err
			}
			d = base
			s, err = legacyState(env.To, r)
			return t.vouch(l, env, err, s.Self)
		}
		d = extended
		s, err = t.ringAnswer(l, env, req, seen, r)
		return err
	})
	return s, d, err
}

// address makes req the question of env, whose answer may be that nothing has changed since the
// one that address returns.
func (l *link) address(env transport.Envelope, req *pb.RingReq) *protocol.State {
	req.Request, req.Version = l.request(env), 0
	seen := l.seen(env.To)
	if seen != nil && seen.Self.Incarnation != 0 && seen.Self.ID == env.To.ID && seen.Self.Incarnation == env.To.Incarnation {
		req.Version = seen.Version
	}
	return seen
}

// legacyAnswer reports whether r, the answer to req, is that of a legacy member. If nothing has
// changed it fills in what r leaves out.
func legacyAnswer(req *pb.RingReq, r *pb.Ring) bool {
	if r.GetUnchanged() && r.GetAnswer() == nil && req.Version != 0 {
		r.Answer, r.Phase, r.Version = &pb.Answer{}, pb.Phase_PHASE_JOINED, req.Version
	}
	return r.GetAnswer() == nil
}

// ringAnswer reads r, the answer to req, which is not that of a legacy member. Seen is what address
// has returned.
func (t *Transport) ringAnswer(l *link, env transport.Envelope, req *pb.RingReq, seen *protocol.State, r *pb.Ring) (protocol.State, error) {
	l.speaks.Store(int32(extended))
	s, err := state(r)
	if err = t.vouch(l, env, err, s.Self); err != nil {
		return s, err
	}
	if r.GetUnchanged() {
		if req.Version == 0 || s.Version != req.Version {
			return s, unusable(env, errors.New("the ring is unchanged, but the request named no version"))
		}
		s.Self, s.Pred, s.Succ, s.Replaced, s.Origin = seen.Self, seen.Pred, slices.Clone(seen.Succ), seen.Replaced, seen.Origin
		s.Epoch, s.Clock = seen.Epoch, seen.Clock
		s.Zone, s.Zones = seen.Zone, slices.Clone(seen.Zones)
		return s, nil
	}
	keep := s
	keep.Succ, keep.Zones = slices.Clone(s.Succ), slices.Clone(s.Zones)
	keep.Lease = protocol.Lease{} // comes anew in each answer
	l.saw(&keep)
	l.notes(s.Origin)
	t.known.add(s.Self)
	return s, nil
}

func (t *Transport) notify(ctx context.Context, env transport.Envelope, req protocol.Request) (reply protocol.Reply, err error) {
	if env.Settings.Cluster != 0 && env.To.Incarnation == 0 {
		// A legacy member takes whoever notifies it for its predecessor, so
		// find out first whether this is one.
		if _, _, err := t.getRing(ctx, env); err != nil {
			return reply, err
		}
	}
	err = t.call(ctx, env, func(l *link) error {
		who := pbRequest(env)
		who.Sender = nil // the message itself names it
		if l.brief(env) {
			who.Marks = nil
		}
		r, err := l.stub.Notify(ctx, &pb.NotifyReq{
			Id:          env.From.ID,
			Name:        env.From.Name,
			Address:     env.From.Addr,
			Incarnation: env.From.Incarnation,
			Request:     who,
			Joining:     req.Joining,
			Preparing:   req.Preparing,
			Clock:       req.Clock,
			Choice:      uint32(env.From.Choice),
			Home:        env.From.Home,
		})
		if err != nil {
			return err
		}
		if r.GetRing() == nil {
			if err := t.takeForLegacy(ctx, l, env); err != nil {
				return err
			}
			return errBase
		}
		l.speaks.Store(int32(extended))
		reply, err = notifyReply(r)
		return t.vouch(l, env, err, reply.State.Self)
	})
	return reply, err
}

// extended makes a request that only the extension has; it fails with errBase
// if the peer does not know it.
func (t *Transport) extended(ctx context.Context, env transport.Envelope, f func(l *link) error) error {
	return t.call(ctx, env, func(l *link) error { return t.inExtension(ctx, l, env, f) })
}

// inExtension is extended on a link.
func (t *Transport) inExtension(ctx context.Context, l *link, env transport.Envelope, f func(l *link) error) error {
	d := l.dialect()
	if d == base || d == unknown && env.To.Legacy() && !t.known.has(env.To) {
		if err := t.mayBeLegacy(ctx, l, env); err != nil {
			return err
		}
		return errBase
	}
	err := f(l)
	switch status.Code(err) {
	case codes.OK:
		l.speaks.Store(int32(extended))
	case codes.Unimplemented:
		return t.unimplemented(ctx, l, env, err)
	}
	return err
}

// call makes one request on a link to env.To.Addr. If the peer has too much to do, it is
// made again, with pauses, while there is time. The error is errBase or a
// *protocol.Failure.
func (t *Transport) call(ctx context.Context, env transport.Envelope, f func(l *link) error) error {
	for refusals := 0; ; refusals++ {
		err := t.callOnce(ctx, env, f)
		known, ok := err.(*protocol.Failure) //nolint:errorlint // callOnce wraps none
		if !ok || known.Kind != protocol.Overloaded || !backOff(ctx, peer.BusyPause(refusals, rand.Float64())) {
			return err
		}
	}
}

// backOff waits for d, and reports whether ctx has lasted that long. If it will not, it
// does not wait.
func backOff(ctx context.Context, d time.Duration) bool {
	if deadline, ok := timed(ctx).Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// callOnce is call without a second attempt at a peer that has too much to do.
func (t *Transport) callOnce(ctx context.Context, env transport.Envelope, f func(l *link) error) error {
	addr := env.To.Addr
	if err := ring.CheckAddress(addr); err != nil {
		return failure(protocol.Invalid, "%v", err)
	}
	to, own := t.toward(ctx, env)
	if own {
		defer t.pool.part(to, false)
	}
	for again := false; ; again = true {
		l, reused, err := t.pool.acquire(ctx, to, env.To)
		if err != nil {
			return dialFailure(ctx, addr, err)
		}
		u := useOf(l, reused)
		err, stale := t.concluded(ctx, env, u, f(l))
		if err == nil || !stale || again || ctx.Err() != nil {
			return err
		}
	}
}

// use is a request on a link.
type use struct {
	link   *link
	reused bool      // it was there before the request
	before uint64    // what had been received on it by then
	sent   time.Time // the request
}

// useOf is a request that is made now.
func useOf(l *link, reused bool) use { return use{l, reused, l.received.Load(), time.Now()} }

// concluded ends a request, whose error is err; its own is what that means, errBase or a
// *protocol.Failure. Stale: the link may have been why, and the request is to be made on another.
func (t *Transport) concluded(ctx context.Context, env transport.Envelope, u use, err error) (_ error, stale bool) {
	l, to := u.link, env.To
	if err = t.asked(l, to, err); err == nil {
		l.trip.Store(int64(time.Since(u.sent)))
		t.pool.found(l)
		t.pool.release(l)
		return nil, false
	}
	known, code, final := t.judged(ctx, l, to, err)
	if code == codes.DeadlineExceeded && l.silent(u.before, u.sent) {
		// If the path was cut for a while, TCP may take minutes to try again; a new
		// connection finds out at once.
		t.pool.retire(l)
	}
	stale = code == codes.Unavailable && u.reused && l.over.Load()
	if otherRing(known) && l.brief(env) {
		l.notes(nil) // it has changed, and needs the marks to tell whether they are akin
		stale = true
	}
	if elsewhere(to, known, code) {
		t.pool.astray(l, known.By)
		stale = stale || u.reused && l.old()
	}
	t.pool.release(l)
	switch {
	case final && known != nil:
		return known, false
	case final:
		return err, false
	case t.pool.isClosed() && (code == codes.Canceled || code == codes.Unavailable):
		return dialFailure(ctx, to.Addr, errClosed), stale
	}
	return known, stale
}

// judged is what the error of a question to the member to on l means: the failure, which
// is nil for errBase alone, the code of the status that it came as, and whether it came as
// none, so that it is final.
func (t *Transport) judged(ctx context.Context, l *link, to ring.Member, err error) (known *protocol.Failure, code codes.Code, final bool) {
	final = errors.Is(err, errBase) || errors.As(err, &known)
	if !final {
		code = status.Code(err)
		known = failureOf(ctx, to.Addr, err, l)
	}
	if known != nil {
		known = t.proven(l, to, known)
	}
	return known, code, final
}

// toward is where a request goes, and whether that is a connection of this request only:
// one that asks whoever is there shares none, unless ctx has one for it.
func (t *Transport) toward(ctx context.Context, env transport.Envelope) (to endpoint, own bool) {
	to = t.endpoint(env)
	if !env.To.Anyone() {
		return to, false
	}
	if shared, ok := ctx.Value(apart{}).(endpoint); ok {
		return shared, false
	}
	return t.pool.apart(to), true
}

// silent reports whether nothing has come on the link since a request was sent, in more
// time than an answer takes. Before is what had been received by then.
func (l *link) silent(before uint64, sent time.Time) bool {
	return l.received.Load() == before && time.Since(sent) >= l.enough()
}

// elsewhere reports whether a failure shows that the connection does not lead to the
// member to: another answered, or what did is no member at all. Code is that of the
// status it came as, OK if it came as none. A later incarnation of the member is where it
// should be.
func elsewhere(to ring.Member, f *protocol.Failure, code codes.Code) bool {
	switch {
	case f == nil:
		return false
	case f.Kind == protocol.WrongMember:
		return f.By.IsZero() || f.By.ID != to.ID || f.By.Incarnation < to.Incarnation
	case f.Kind == protocol.Unreachable:
		return code != codes.OK
	case f.Kind == protocol.Denied:
		return true // another certificate, of either side, may be accepted
	}
	return false
}

// otherRing reports whether the peer is in a ring whose origin has nothing in common
// with the caller's, as far as that was named.
func otherRing(f *protocol.Failure) bool {
	return f != nil && f.Kind == protocol.WrongRing && len(f.Differing) == 0
}

// unusable is the failure of an answer that breaks the contract.
func unusable(env transport.Envelope, err error) error {
	if err == nil {
		return nil
	}
	return failure(protocol.Invalid, "the answer of %s: %v", env.To.Addr, err)
}
