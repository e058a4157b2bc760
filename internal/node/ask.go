package node

import (
	"context"
	"errors"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Bounds on what is under way at once on the machine's account.
const (
	maxAsks  = 512
	maxTells = 128
)

// ask carries out a question of the machine. It is called under the lock and
// delivers exactly one answer, later.
func (n *Node) ask(e protocol.Ask) {
	if n.inflight >= maxAsks {
		n.wg.Go(func() {
			n.step(protocol.Answer{Call: e.Call, Failure: &protocol.Failure{Kind: protocol.Cancelled, Detail: "too many questions under way"}})
		})
		return
	}
	n.inflight++
	env := n.envelope(e.To)
	n.wg.Go(func() {
		limit := timeoutSlow
		if !e.Patient {
			limit = n.peers.timeout(e.To.Addr, e.Attempt)
		}
		reply, f := n.maintain(env, e.Request, limit)
		if f == nil {
			f = n.checkReply(&reply)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.inflight--
		if n.closed {
			return
		}
		n.stepLocked(protocol.Answer{Call: e.Call, Reply: reply, Failure: f})
		if e.To.Name != "" {
			n.heed(e.To.Life(), f)
		}
	})
}

// tell carries out a message whose fate is not wanted. It is called under the
// lock. One too many is dropped: what is told is found out in time anyway.
func (n *Node) tell(e protocol.Tell) {
	if n.tells >= maxTells {
		return
	}
	n.tells++
	env := n.envelope(e.To)
	n.wg.Go(func() {
		_, _ = n.maintain(env, e.Request, timeoutStart)
		n.mu.Lock()
		n.tells--
		n.mu.Unlock()
	})
}

func (n *Node) envelope(to ring.Member) transport.Envelope {
	return transport.Envelope{From: n.machine.Self(), To: to, Settings: n.cfg.Settings}
}

// maintain sends one request of the ring's maintenance.
func (n *Node) maintain(env transport.Envelope, req protocol.Request, limit time.Duration) (protocol.Reply, *protocol.Failure) {
	ctx, cancel := context.WithTimeout(n.ctx, limit)
	defer cancel()
	n.counters.asked[req.Kind].Add(1)
	sent := time.Now()
	reply, err := n.tr.Maintain(ctx, env, req)
	f := n.checkFailure(failure(err))
	n.measure(env.To.Addr, time.Since(sent), f, limit == timeoutSlow)
	return reply, f
}

// measure notes how long an answer took.
func (n *Node) measure(addr string, took time.Duration, f *protocol.Failure, slow bool) {
	switch {
	case f == nil && !slow:
		n.peers.observe(addr, took)
	case f != nil && f.Kind == protocol.TimedOut:
		n.counters.timeouts.Add(1)
	}
}

// heed notes for lookups whether a member answers.
func (n *Node) heed(life ring.Life, f *protocol.Failure) {
	if f == nil {
		n.peers.clear(life)
		return
	}
	switch f.Kind {
	case protocol.TimedOut, protocol.Unreachable, protocol.Refused, protocol.WrongMember:
		n.peers.suspect(life, n.now(), n.suspicion())
		n.arcs.Doubt(func(owner ring.Member) bool { return owner.Life() == life })
	}
}

// route asks a member for one step of a lookup.
func (n *Node) route(ctx context.Context, to ring.Member, q routing.Query) (routing.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, n.peers.routeTimeout(to.Addr))
	defer cancel()
	n.counters.routed.Add(1)
	sent, at := time.Now(), n.now()
	a, err := n.tr.Route(ctx, transport.Envelope{From: n.Snapshot().View.Self, To: to, Settings: n.cfg.Settings}, q)
	f := n.checkFailure(failure(err))
	if f == nil {
		f = n.checkAnswer(&a)
	}
	n.measure(to.Addr, time.Since(sent), f, false)
	if f != nil && f.Kind == protocol.TimedOut {
		n.peers.late(to.Addr)
	}
	if to.Name != "" {
		n.heed(to.Life(), f)
		if f != nil && (f.Kind == protocol.Refused || f.Kind == protocol.WrongMember) {
			lost := protocol.Lost{Addr: to.Addr, Gone: true}
			if f.Kind == protocol.WrongMember {
				lost.Who = to
			}
			n.step(lost)
		}
	}
	if f != nil {
		return routing.Answer{}, f
	}
	n.learn(at, to, q.ID, a)
	return a, nil
}

// failure is the one error type of a transport, whatever err is.
func failure(err error) *protocol.Failure {
	if err == nil {
		return nil
	}
	var f *protocol.Failure
	if errors.As(err, &f) {
		return f
	}
	return &protocol.Failure{Kind: protocol.Unreachable, Detail: err.Error()}
}

// checkFailure leaves out of a failure what cannot be: a member whose identifier
// is not the hash of its name, and a giving up that was not on this side.
func (n *Node) checkFailure(f *protocol.Failure) *protocol.Failure {
	if f == nil {
		return nil
	}
	if f.Kind == protocol.Cancelled && n.ctx.Err() == nil {
		f = &protocol.Failure{Kind: protocol.Unreachable, Detail: f.Error()}
	}
	if !f.By.IsZero() && n.cfg.Space.Check(f.By) != nil {
		c := *f
		c.By = ring.Member{}
		f = &c
	}
	return f
}

// checkReply finds what keeps a reply from being used: a member in it whose
// identifier is not the hash of its name, say.
func (n *Node) checkReply(r *protocol.Reply) *protocol.Failure {
	return n.check("answer", []ring.Member{r.State.Self, r.State.Pred, r.State.Founder, r.Refusal.Other}, r.State.Succ, r.Closer)
}

func (n *Node) checkAnswer(a *routing.Answer) *protocol.Failure {
	return n.check("answer", []ring.Member{a.Owner, a.By}, a.Closer)
}

// check refuses a message that names an impossible member.
func (n *Node) check(what string, lists ...[]ring.Member) *protocol.Failure {
	for i, list := range lists {
		for _, x := range list {
			if i == 0 && x.IsZero() {
				continue
			}
			if err := n.cfg.Space.Check(x); err != nil {
				return &protocol.Failure{Kind: protocol.Invalid, Detail: what + " names " + err.Error()}
			}
		}
	}
	return nil
}
