package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/deadline"
)

// maintain sends one request of the ring's maintenance. The time allowed does not
// count what it takes to resolve a name.
func (fd *Finder) maintain(ctx context.Context, env transport.Envelope, req protocol.Request, limit time.Duration) (protocol.Reply, *protocol.Failure) {
	if env.To.Anyone() {
		return fd.inquire(ctx, env, req, limit)
	}
	return fd.send(ctx, env, req, limit)
}

// askRing asks x for its ring.
func (fd *Finder) askRing(ctx context.Context, x ring.Member) (protocol.Reply, *protocol.Failure) {
	env := transport.Envelope{From: fd.snap.Load().Self, To: x, Settings: fd.settings}
	return fd.maintain(ctx, env, protocol.Request{Kind: protocol.AskRing}, fd.peers.of(x.Addr).Timeout(0))
}

func (fd *Finder) send(ctx context.Context, env transport.Envelope, req protocol.Request, limit time.Duration) (protocol.Reply, *protocol.Failure) {
	taken, f := fd.mayAsk(ctx, env.Source, env.To)
	if f != nil {
		return protocol.Reply{}, f
	}
	env.Source = netip.Addr{}
	q := fd.question(ctx, req.Kind.String(), env.To, limit)
	fd.counters.asked[req.Kind].Add(1)
	reply, err := fd.tr.Maintain(q.ctx, env, req)
	f = q.maintained(&reply, err)
	fd.dialled(taken, env.To.Addr, f)
	return reply, f
}

// startMaintain is maintain without a goroutine that waits for the answer: done hears of that, on
// one that it must not hold up. It reports false if it has done nothing.
func (fd *Finder) startMaintain(env transport.Envelope, req protocol.Request, limit time.Duration, done func(protocol.Reply, *protocol.Failure)) bool {
	tr := fd.starter(env.To)
	if tr == nil {
		return false
	}
	env.Source = netip.Addr{}
	q := fd.question(fd.ctx, req.Kind.String(), env.To, limit)
	fd.wg.Add(1)
	begun := tr.StartMaintain(q.ctx, env, req, func(reply protocol.Reply, err error) {
		defer fd.wg.Done()
		f := q.maintained(&reply, err)
		done(reply, f)
	})
	if !begun {
		fd.wg.Done()
		return false
	}
	fd.counters.asked[req.Kind].Add(1)
	return true
}

// starter is a transport that may begin a question to a member for which no goroutine waits; nil:
// there is none. Where a member has answered, mayAsk would not have refused it.
func (fd *Finder) starter(to ring.Member) transport.Starter {
	if fd.observer.Request != nil || to.Anyone() || !fd.peers.answered(to.Addr) {
		return nil
	}
	tr, _ := fd.tr.(transport.Starter)
	return tr
}

// question is a request to a member under way.
type question struct {
	fd     *Finder
	to     ring.Member
	caller context.Context
	ctx    context.Context // with the time that it has
	end    *deadline.Context
	limit  time.Duration // that time
	sent   time.Time
	done   func(*protocol.Failure) // tells the observer
}

// question begins a request.
func (fd *Finder) question(ctx context.Context, kind string, to ring.Member, limit time.Duration) *question {
	q := &question{fd: fd, to: to, caller: ctx, limit: limit, end: deadline.New(ctx, time.Now().Add(limit))}
	q.ctx, q.done = observed(q.end, fd.observer.Request, kind, to)
	q.sent = time.Now()
	return q
}

// failed is the failure of a request that has come back with err.
func (q *question) failed(err error) *protocol.Failure {
	return hasty(q.caller, time.Since(q.sent), q.limit, q.fd.checkFailure(q.ctx, failure(err)))
}

// over ends a request, which has failed with f, if that is not nil.
func (q *question) over(f *protocol.Failure) {
	q.done(f)
	q.fd.measure(q.to, time.Since(q.sent), f, q.limit == peer.PatientTimeout)
	q.end.End(context.Canceled)
}

// maintained ends one of the ring's maintenance.
func (q *question) maintained(reply *protocol.Reply, err error) *protocol.Failure {
	f := q.failed(err)
	if f == nil {
		f = q.fd.checkReply(q.to, reply)
	}
	if f == nil {
		q.fd.leavers.note(q.to, reply.State, q.sent)
		q.fd.peers.zones.hearState(&reply.State)
	}
	q.over(f)
	return f
}

// measure notes how long x took to answer, or why there was no answer.
func (fd *Finder) measure(x ring.Member, took time.Duration, f *protocol.Failure, slow bool) {
	switch {
	case f == nil && !slow:
		fd.peers.observe(x, took)
	case f != nil:
		if f.Kind == protocol.TimedOut {
			fd.counters.timeouts.Add(1)
		}
		fd.failed(x, f, took)
	}
}

// noteOutcome notes for lookups whether a member answers.
func (fd *Finder) noteOutcome(x ring.Member, f *protocol.Failure) {
	if f == nil {
		fd.peers.clear(x)
		return
	}
	switch f.Kind {
	case protocol.TimedOut, protocol.Unreachable, protocol.Refused, protocol.WrongMember, protocol.WrongRing, protocol.Denied:
		fd.suspect(x, f.Kind == protocol.WrongMember)
		fd.arcs.DoubtMember(x)
	}
}

// route asks a member for one step of a lookup. The time that it has is its own,
// by how fast it answers; ctx can end it before that, and nothing is found out then.
func (fd *Finder) route(ctx context.Context, to ring.Member, q routing.Query) (routing.Answer, error) {
	taken, f := fd.mayAsk(ctx, netip.Addr{}, to)
	if f != nil {
		return routing.Answer{}, f
	}
	defer func() { fd.dialled(taken, to.Addr, f) }()
	caller, limit := ctx, fd.peers.routeTimeout(to.Addr)
	bounded := deadline.New(ctx, time.Now().Add(limit))
	defer bounded.End(context.Canceled)
	fd.counters.routed.Add(1)
	ctx, done := observed(bounded, fd.observer.Request, kindRoute, to)
	sent, at := time.Now(), fd.now()
	a, err := fd.tr.Route(ctx, fd.asking(to), q)
	f = hasty(caller, time.Since(sent), limit, fd.checkFailure(ctx, failure(err)))
	if f == nil {
		f = fd.checkAnswer(to, &a)
	}
	done(f)
	fd.measure(to, time.Since(sent), f, false)
	if f != nil && f.Kind == protocol.TimedOut {
		fd.peers.late(to.Addr)
	}
	if to.Name != "" {
		fd.noteOutcome(to, f)
		if f != nil && (f.Kind == protocol.Refused || f.Kind == protocol.WrongMember) {
			lost := protocol.Lost{Addr: to.Addr, Gone: true}
			if f.Kind == protocol.WrongMember {
				lost.Who, lost.By = to, f.By
			}
			if fd.lost != nil {
				fd.lost(lost)
			}
		}
	}
	if f != nil {
		return routing.Answer{}, f
	}
	if fd.heard != nil {
		fd.heard(to)
	}
	fd.peers.zones.hearAnswer(to, &a)
	fd.learn(at, to, q.ID, a)
	return a, nil
}

// asking is the envelope of a question of a lookup or of the map: the same as that of the
// ring's own questions, so that a stream carries it once.
func (fd *Finder) asking(to ring.Member) transport.Envelope {
	s := fd.snap.Load()
	env := transport.Envelope{From: s.Self, To: to, Settings: fd.settings}
	if s.View != nil {
		env.Origin = s.View.Origin
	}
	return env
}

// hasty is the failure f of a question that took so long, of the time limit that
// the member asked has. If the caller's context ended it before that, nothing is
// known of the member: the caller gave up.
func hasty(caller context.Context, took, limit time.Duration, f *protocol.Failure) *protocol.Failure {
	if f == nil || f.Kind != protocol.TimedOut || took >= limit || !over(caller) {
		return f
	}
	return errGivenUp
}

// over reports whether ctx has ended, or its deadline has passed.
func over(ctx context.Context) bool {
	at, ok := ctx.Deadline()
	return ok && !time.Now().Before(at) || ctx.Err() != nil
}

// ended is the error of ctx, which is over.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return context.DeadlineExceeded
}

// failure is the one error type of a transport, whatever err is.
func failure(err error) *protocol.Failure {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*protocol.Failure](err); ok {
		return f
	}
	return &protocol.Failure{Kind: protocol.Unreachable, Detail: err.Error()}
}

// checkFailure leaves out of a failure what cannot be: a member whose identifier
// is not the hash of its name, and a giving up that was not on this side: neither
// that of who asked, whose context is ctx, nor the end of the finder.
func (fd *Finder) checkFailure(ctx context.Context, f *protocol.Failure) *protocol.Failure {
	if f == nil {
		return nil
	}
	if f.Kind == protocol.Cancelled && fd.ctx.Err() == nil && ctx.Err() == nil {
		f = &protocol.Failure{Kind: protocol.Unreachable, Detail: f.Error()}
	}
	if !f.By.IsZero() && (fd.space.Check(f.By) != nil || fd.check("failure", ring.Member{}, one("answerer", f.By)) != nil) {
		c := *f
		c.By = ring.Member{}
		f = &c
	}
	return f
}

// checked are members that Space.Check has found to be possible, by their identifiers: the same
// few are named again and again, and a hash costs more than to compare.
type checked [32]atomic.Pointer[ring.Member]

// possible is Space.Check of x.
func (fd *Finder) possible(x ring.Member) error {
	slot := &fd.checked[x.ID%uint64(len(fd.checked))]
	if known := slot.Load(); known != nil && *known == x {
		return nil
	}
	err := fd.space.Check(x)
	if err == nil {
		found := x
		slot.Store(&found)
	}
	return err
}

// checkHash refuses a member that answers or asks under an identifier that is not
// the hash of its name here: HashFunc is another one there, though it may agree on
// some names, such as the one that the settings are compared by.
func (fd *Finder) checkHash(what string, x ring.Member) *protocol.Failure {
	if x.IsZero() {
		return nil
	}
	var differs *ring.HashError
	if err := fd.possible(x); errors.As(err, &differs) {
		return &protocol.Failure{Kind: protocol.WrongRing, By: fd.snap.Load().Self, Differing: []string{"HashFunc"}, Detail: what + " names " + err.Error()}
	}
	return nil
}

// field is what a message names in one field: a member, if there is one, or several.
// It is kept by value, as every answer to a lookup is checked.
type field struct {
	name string
	one  ring.Member
	list []ring.Member
}

func one(name string, x ring.Member) field { return field{name: name, one: x} }

func several(name string, list []ring.Member) field { return field{name: name, list: list} }

// find is the first member for whom f holds, the field's name with its place if it is
// in a list, and whether there is one.
func (in field) find(f func(ring.Member) bool) (x ring.Member, name string, ok bool) {
	if !in.one.IsZero() && f(in.one) {
		return in.one, in.name, true
	}
	if i := slices.IndexFunc(in.list, f); i >= 0 {
		return in.list[i], fmt.Sprintf("%s[%d]", in.name, i), true
	}
	return ring.Member{}, "", false
}

// checkReply finds what keeps a reply of a member from being used: a member in it
// whose identifier is not the hash of its name, say.
func (fd *Finder) checkReply(of ring.Member, r *protocol.Reply) *protocol.Failure {
	if f := fd.checkHash("answer", r.State.Self); f != nil {
		f.By = ring.Member{} // it is this side that refuses
		return f
	}
	return fd.check(answer, of, one("answerer", r.State.Self), one("predecessor", r.State.Pred), one("founder", r.State.Founder), one("replaced.by", r.State.Replaced.By),
		one("refusal.other", r.Refusal.Other), several("successors", r.State.Succ), several("closer", r.Closer))
}

func (fd *Finder) checkAnswer(of ring.Member, a *routing.Answer) *protocol.Failure {
	owner := a.Owner
	if owner == of {
		owner = ring.Member{} // it was checked before it was asked
	}
	return fd.check(answer, of, one("owner", owner), one("answerer", a.By), several("closer", a.Closer))
}

// answer is what a message is called that this side has asked for.
const answer = "answer"

// check refuses a message of a member that names an impossible one.
func (fd *Finder) check(what string, by ring.Member, fields ...field) *protocol.Failure {
	f, _ := fd.examine(what, by, fields...)
	return f
}

// examine is check. told: the refusal is counted and logged already.
func (fd *Finder) examine(what string, by ring.Member, fields ...field) (f *protocol.Failure, told bool) {
	horizon := fd.horizon()
	if what == answer && horizon < ring.MaxIncarnation && fd.reckon(fields, horizon) {
		horizon = fd.horizon()
	}
	wrong := func(x ring.Member) bool { return x.Incarnation > horizon || fd.possible(x) != nil }
	for _, in := range fields {
		if x, name, ok := in.find(wrong); ok {
			if f := fd.checkMember(what, x); f != nil {
				return f, false
			}
			return fd.refuseIncarnation(what, name, x, by, horizon), true
		}
	}
	return nil, false
}

func (fd *Finder) checkMember(what string, x ring.Member) *protocol.Failure {
	err := fd.space.Check(x)
	if err == nil {
		return nil
	}
	f := &protocol.Failure{Kind: protocol.Invalid, Detail: what + " names " + err.Error()}
	var differs *ring.HashError
	if errors.As(err, &differs) && !fd.snap.Load().InRing {
		// Whoever is in no ring has none to lose: it would not be in the same as the
		// member named.
		f.Kind, f.Differing = protocol.WrongRing, []string{"HashFunc"}
	}
	return f
}
