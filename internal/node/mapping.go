package node

import (
	"context"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file carries out what the map of the ring wants, as node.go does for the machine:
// under the node's lock events and the time go in, and effects come out. Lookups read
// its snapshot without the lock.

// maxMapCalls bounds the requests of the map under way.
const maxMapCalls = 256

// beginMap makes the map of a member.
func (n *Node) beginMap(self ring.Member) {
	n.charted = ringmap.New(self, ringmap.Config{Bits: n.cfg.Space.Bits, Interval: n.cfg.Interval, Near: n.near})
	n.mapTimer = time.NewTimer(time.Hour)
	n.mapTimer.Stop()
	n.tellMap = func(id uint64, owner ring.Instance) {
		n.onMap(func(m *ringmap.Map) { m.Named(n.now(), id, owner) })
	}
	n.promised.Store(int64(ringmap.Promised(n.cfg.Interval)))
	n.wg.Go(n.tickMap)
}

// near reports whether the member that stands at an identifier is a successor or a finger,
// to which there is a connection.
func (n *Node) near(id uint64) bool {
	s := n.snap.Load()
	return slices.ContainsFunc(s.View.Succ, func(x ring.Member) bool { return x.ID == id }) ||
		slices.ContainsFunc(s.Fingers, func(f routing.Finger) bool { return f.Member.ID == id })
}

// tickMap delivers the map's wake-ups.
func (n *Node) tickMap() {
	for {
		select {
		case <-n.mapTimer.C:
			n.onMap(func(m *ringmap.Map) { m.Tick(n.now()) })
		case <-n.ctx.Done():
			n.mapTimer.Stop()
			return
		}
	}
}

// onMap gives the map one event and carries out what it wants.
func (n *Node) onMap(f func(*ringmap.Map)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	f(n.charted)
	n.mapped()
}

// mapped carries out what the map wants, and publishes what it knows. It is called under
// the lock, and not while the machine steps.
func (n *Node) mapped() {
	for {
		e, ok := n.charted.Effect()
		if !ok {
			break
		}
		switch e.Do {
		case ringmap.Send:
			n.askMap(e)
		case ringmap.Defend, ringmap.Hear:
			n.stepLocked(protocol.Claimed{Epoch: e.Epoch, Contested: e.Do == ringmap.Defend})
		case ringmap.Consider:
			n.stepLocked(protocol.Learned{Members: []ring.Member{e.Member}})
		}
	}
	if s := n.charted.Snapshot(); s != n.chart.Load() {
		n.chart.Store(s)
		n.charts.wake()
	}
	if n.chart.Load().Len() > 1 {
		n.mapTimer.Reset(max(0, n.charted.Next()-n.now()))
	}
}

// askMap sends a request of the map. What became of it the map learns later.
func (n *Node) askMap(e ringmap.Effect) {
	if n.mapCalls >= maxMapCalls {
		n.wg.Go(func() {
			n.onMap(func(m *ringmap.Map) { m.Failed(n.now(), e.Call, false) })
		})
		return
	}
	n.mapCalls++
	env := n.envelope(e.To)
	n.wg.Go(func() {
		reply, f := n.mapRequest(env, &e.Request)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.mapCalls--
		if n.closed {
			return
		}
		if f == nil {
			n.charted.Answered(n.now(), e.Call, &reply)
		} else {
			n.charted.Failed(n.now(), e.Call, gone(f) || f.Kind == protocol.NotJoined)
		}
		n.mapped()
		if f != nil && f.Kind != protocol.TimedOut { // one time-out is no evidence
			n.noteOutcome(e.To, f)
		}
	})
}

// mapRequest makes one request of the map.
func (n *Node) mapRequest(env transport.Envelope, req *ringmap.Request) (ringmap.Reply, *protocol.Failure) {
	limit := n.peers.of(env.To.Addr).Timeout(0)
	ctx, cancel := context.WithTimeout(n.ctx, limit)
	defer cancel()
	n.counters.mapRequests.Add(1)
	ctx, done := observed(ctx, n.observer.Request, kindMap, env.To)
	sent := time.Now()
	reply, err := n.tr.Map(ctx, env, n.zonedParts(req))
	f := hasty(n.ctx, time.Since(sent), limit, n.checkFailure(ctx, failure(err)))
	if f == nil {
		if err := reply.On(n.space.Bits); err != nil {
			f = &protocol.Failure{Kind: protocol.Invalid, By: env.To, Detail: "answer: " + err.Error()}
		} else {
			f = n.checkClaims(answer, env.To, reply.Claims)
		}
	}
	if f == nil {
		n.peers.zones.hearClaims(reply.Claims)
	}
	done(f)
	n.measure(env.To, time.Since(sent), f, false)
	return reply, f
}

// checkClaims finds what keeps claims from being used: a member whose identifier is not
// the hash of its name, say.
func (fd *Finder) checkClaims(what string, by ring.Member, list []ringmap.Announcement) *protocol.Failure {
	var named []ring.Member
	for i := range list {
		if of := list[i].Of; of != nil && of.Incarnation != 0 {
			named = append(named, *of)
		}
	}
	return fd.check(what, by, several("claims", named))
}

// Map answers a request of another member's map.
func (h *handler) Map(ctx context.Context, env transport.Envelope, req *ringmap.Request) (ringmap.Reply, error) {
	h.counters.served.Add(1)
	_, done := observed(ctx, h.observer.Serve, kindMap, env.From)
	reply, f := h.charts(env, req)
	done(f)
	if f != nil {
		return ringmap.Reply{}, f
	}
	return reply, nil
}

func (h *handler) charts(env transport.Envelope, req *ringmap.Request) (reply ringmap.Reply, f *protocol.Failure) {
	n := (*Node)(h)
	if f := h.admit(env); f != nil {
		return reply, f
	}
	if v := n.Snapshot().View; !v.Phase.InRing() {
		return reply, &protocol.Failure{Kind: protocol.NotJoined, By: v.Self, Detail: v.Phase.String()}
	}
	if err := req.On(n.space.Bits); err != nil {
		return reply, h.turnAway(env, &protocol.Failure{Kind: protocol.Invalid, By: n.Snapshot().Self, Detail: err.Error()})
	}
	for i := range req.Parts {
		if f := n.checkClaims("request", env.From, req.Parts[i].Claims); f != nil {
			return reply, h.turnAway(env, f)
		}
	}
	allowed := true
	n.onMap(func(m *ringmap.Map) {
		if allowed = m.Allow(n.now(), env.From.ID, req); allowed {
			reply = m.Receive(n.now(), req)
		}
	})
	if !allowed {
		return reply, h.turnAway(env, &protocol.Failure{
			Kind: protocol.Overloaded, By: n.Snapshot().Self, Detail: "it pushes more claims than all members can make",
		})
	}
	for i := range req.Parts {
		n.peers.zones.hearClaims(req.Parts[i].Claims)
	}
	reply.Claims = n.zonedClaims(reply.Claims)
	return reply, nil
}

// ownMap tells the map what this member owns.
func (n *Node) ownMap(v *protocol.View) {
	n.charted.Own(n.now(), ringmap.Owning{
		Self: v.Self, Arc: v.Arc, Has: v.Claims(), Epoch: v.Epoch, Mute: v.Pred.Legacy(),
		Next: v.Head().Instance(),
	})
}

// headMap tells the map what the head has said of its own arc, when it was asked at that
// time.
func (n *Node) headMap(st *protocol.State, asked time.Duration) {
	after, ok := n.view.HeadClaim(st)
	if !ok {
		return
	}
	self := st.Self
	n.charted.Head(n.now(), asked, ringmap.Claim{ID: self.ID, After: after, Epoch: st.Epoch, Of: &self})
}

// brokenMap strikes whoever is at an address to which a connection broke. It is called
// under the lock.
func (n *Node) brokenMap(addr string) {
	for c := range n.charted.Snapshot().All() {
		if c.Of.Addr == addr {
			n.charted.Strike(n.now(), 0, c.Owner().Instance())
		}
	}
}

// useMap notes that somebody looks something up: a client keeps a map while its lookups use it.
func (fd *Finder) useMap() {
	if !fd.usedMap.Load() {
		fd.usedMap.Store(true)
		if fd.used != nil {
			fd.used()
		}
	}
}

// mapLookup returns the claim of the owner of an identifier, and the time as of which it
// is known to have claimed it, which is not longer than age ago if that is not 0; nil:
// the map does not say.
func (fd *Finder) mapLookup(id uint64, age time.Duration) (*ringmap.Claim, time.Duration) {
	s := fd.chart.Load()
	if s == nil {
		return nil, 0
	}
	most := time.Duration(fd.promised.Load())
	if age > 0 {
		most = min(most, age)
	}
	now := fd.now()
	c, as, ok := s.Lookup(id, now, most)
	if !ok || !fd.nameable(c, now) {
		return nil, 0
	}
	return c, as
}

// nameable reports whether the map may name the owner of a claim: it is known for who it is,
// and not suspected.
func (fd *Finder) nameable(c *ringmap.Claim, now time.Duration) bool {
	if c.Of.ID != c.ID {
		return false
	}
	all := fd.peers.suspicions()
	return len(all) == 0 || !all.Avoided(*c.Of, now) && !all.Rejected(*c.Of, now)
}

// mapAnswer is what the map answers by a claim that is as of a time.
func (fd *Finder) mapAnswer(c *ringmap.Claim, as time.Duration) routing.Answer {
	return routing.Answer{
		Verdict: routing.Owned, By: *c.Of, Owner: *c.Of, Arc: c.Arc(), HasArc: true, Epoch: c.Epoch, Age: fd.now() - as,
	}
}

// believed is whom the map has as the owner of an identifier, zero: nobody, and its arc.
func (fd *Finder) believed(id uint64) (ring.Member, ring.Arc) {
	if s := fd.chart.Load(); s != nil {
		if c := s.Known(id); c != nil && c.Of.ID == c.ID {
			return *c.Of, c.Arc()
		}
	}
	return ring.Member{}, ring.Arc{}
}

// named tells the map which owner was named for an identifier, if it has another.
func (fd *Finder) named(id uint64, a routing.Answer) {
	s := fd.chart.Load()
	if s == nil || fd.tellMap == nil || a.Verdict != routing.Mine && a.Verdict != routing.Owned {
		return
	}
	if c := s.Known(id); c != nil && c.Owner().Instance() != a.Owner.Instance() {
		fd.tellMap(id, a.Owner.Instance())
	}
}
