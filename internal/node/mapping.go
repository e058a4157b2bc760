package node

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file carries out what the map of the ring wants, as node.go does for the machine:
// events and the time go in, and effects come out. A process has one map, which its first
// Node keeps for all. It has a lock of its own, which is taken inside of that of a Node and
// never around it: what the map says to the machines is delivered later. Lookups read its
// snapshot without a lock.

// maxMapCalls bounds the requests of the map under way.
const maxMapCalls = 256

// charting is the map of a process and what carries it out.
type charting struct {
	timer *time.Timer
	tell  chan struct{} // holds a value if there may be something in told

	mu    sync.Mutex
	m     *ringmap.Map
	calls int              // under way
	told  []ringmap.Effect // for the machines
	nodes []*Node          // of the process, also those that have not joined yet
	made  int              // maps, so far
	ended bool
}

// lead is the first Node of the process, which keeps its map.
func (n *Node) lead() *Node { return cmp.Or(n.first, n) }

// beginMap makes the map of the process.
func (n *Node) beginMap(self ring.Member) {
	c := &n.charting
	c.m, c.nodes = n.newMap(self), []*Node{n}
	c.timer, c.tell = time.NewTimer(time.Hour), make(chan struct{}, 1)
	c.timer.Stop()
	n.tellMap = func(id uint64, owner ring.Instance) {
		n.onMap(func(m *ringmap.Map) { m.Named(n.now(), id, owner) })
	}
	n.promised.Store(int64(ringmap.Promised(n.cfg.Interval)))
	n.wg.Go(n.tickMap)
}

func (n *Node) newMap(self ring.Member) *ringmap.Map {
	return ringmap.New(self, ringmap.Config{Bits: n.cfg.Space.Bits, Interval: n.cfg.Interval})
}

// shareMap has the machine of one more Node of the process hear what the map says.
func (n *Node) shareMap(with *Node) {
	n.charting.mu.Lock()
	defer n.charting.mu.Unlock()
	n.charting.nodes = append(n.charting.nodes, with)
}

// renewMap has a process that has left its ring begin with an empty map.
func (n *Node) renewMap() {
	c := &n.charting
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.timer.Stop()
	c.m, c.told = n.newMap(n.Snapshot().View.Self), nil
	c.made++
	n.mapped()
}

// endMap ends what the Node has to do with the map: of the first all, of another, that the
// process stands at its identifier.
func (n *Node) endMap() {
	if n.first != nil {
		c := &n.first.charting
		n.onMap(func(m *ringmap.Map) {
			m.Left(n.cfg.Self.ID)
			c.nodes = slices.DeleteFunc(c.nodes, func(x *Node) bool { return x == n })
		})
		return
	}
	n.charting.mu.Lock()
	n.charting.ended = true
	n.charting.mu.Unlock()
}

// tickMap delivers the map's wake-ups, and to the machines what the map says to them.
func (n *Node) tickMap() {
	for {
		select {
		case <-n.charting.timer.C:
			n.onMap(func(m *ringmap.Map) { m.Tick(n.now()) })
		case <-n.charting.tell:
			n.tellMachines()
		case <-n.ctx.Done():
			n.charting.timer.Stop()
			return
		}
	}
}

// paceMap gives the map, in a round of the member, the time to begin one of its own.
func (n *Node) paceMap() {
	if s := n.chart.Load(); s != nil && s.Len() > 1 {
		n.onMap(func(m *ringmap.Map) { m.Tick(n.now()) })
	}
}

// onMap gives the map of the process one event and carries out what it wants.
func (n *Node) onMap(f func(*ringmap.Map)) {
	n = n.lead()
	c := &n.charting
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	f(c.m)
	n.mapped()
}

// mapped carries out what the map wants, and publishes what it knows. It is called with
// charting.mu held.
func (n *Node) mapped() {
	c := &n.charting
	for {
		e, ok := c.m.Effect()
		if !ok {
			break
		}
		if e.Do == ringmap.Send {
			n.askMap(e)
			continue
		}
		c.told = append(c.told, e)
		select {
		case c.tell <- struct{}{}:
		default:
		}
	}
	if s := c.m.Snapshot(); s != n.chart.Load() {
		n.chart.Store(s)
		n.charts.wake()
	}
	if n.chart.Load().Len() > 1 {
		c.timer.Reset(max(0, c.m.Latest()-n.now()))
	}
}

// tellMachines delivers what the map says to the machines of the process.
func (n *Node) tellMachines() {
	n.charting.mu.Lock()
	told, nodes := n.charting.told, slices.Clone(n.charting.nodes)
	n.charting.told = nil
	n.charting.mu.Unlock()
	for _, e := range told {
		for _, x := range nodes {
			if !e.Concerns(x.cfg.Self.ID) {
				continue
			}
			switch e.Do {
			case ringmap.Defend, ringmap.Hear:
				x.step(protocol.Claimed{Epoch: e.Epoch, Contested: e.Do == ringmap.Defend})
			case ringmap.Consider:
				x.step(protocol.Learned{Members: []ring.Member{e.Member}})
			case ringmap.Gone:
				x.step(protocol.Silent{Name: e.Member.Name})
			}
		}
	}
}

// askMap sends a request of the map. What became of it the map learns later.
func (n *Node) askMap(e ringmap.Effect) {
	c := &n.charting
	if c.calls >= maxMapCalls {
		n.wg.Go(func() {
			n.onMap(func(m *ringmap.Map) { m.Failed(n.now(), e.Call, false) })
		})
		return
	}
	c.calls++
	made := c.made
	env := n.asking(e.To)
	done := func(reply ringmap.Reply, f *protocol.Failure) { n.mapAnswered(e, made, reply, f) }
	if n.startMap(env, &e.Request, done) {
		return
	}
	n.carry(func() { done(n.mapRequest(env, &e.Request)) })
}

// mapAnswered gives the map the answer to a request of it, or its failure. Made is the number of
// the map that has asked.
func (n *Node) mapAnswered(e ringmap.Effect, made int, reply ringmap.Reply, f *protocol.Failure) {
	c := &n.charting
	n.onMap(func(m *ringmap.Map) {
		switch c.calls--; {
		case c.made != made: // asked by the map before
		case f == nil:
			m.Answered(n.now(), e.Call, &reply)
		default:
			m.Failed(n.now(), e.Call, gone(f) || f.Kind == protocol.NotJoined)
		}
	})
	if f == nil || f.Kind == protocol.TimedOut { // one time-out is no evidence
		return
	}
	n.mu.Lock()
	if !n.stopped() {
		n.noteOutcome(e.To, f)
	}
	n.mu.Unlock()
	if f.Kind != protocol.Refused {
		return
	}
	c.mu.Lock()
	nodes := slices.Clone(c.nodes)
	c.mu.Unlock()
	for _, x := range nodes { // that member may be the head of one
		x.lost(protocol.Lost{Addr: e.To.Addr, Gone: true})
	}
}

// mapRequest makes one request of the map.
func (n *Node) mapRequest(env transport.Envelope, req *ringmap.Request) (ringmap.Reply, *protocol.Failure) {
	q := n.question(n.ctx, kindMap, env.To, n.peers.of(env.To.Addr).Timeout(0))
	n.counters.mapRequests.Add(1)
	reply, err := n.tr.Map(q.ctx, env, n.zonedParts(req))
	return reply, q.mapped(&reply, err)
}

// startMap is mapRequest without a goroutine that waits for the answer; see startMaintain.
func (n *Node) startMap(env transport.Envelope, req *ringmap.Request, done func(ringmap.Reply, *protocol.Failure)) bool {
	tr := n.starter(env.To)
	if tr == nil {
		return false
	}
	q := n.question(n.ctx, kindMap, env.To, n.peers.of(env.To.Addr).Timeout(0))
	n.wg.Add(1)
	begun := tr.StartMap(q.ctx, env, n.zonedParts(req), func(reply ringmap.Reply, err error) {
		defer n.wg.Done()
		f := q.mapped(&reply, err)
		done(reply, f)
	})
	if !begun {
		n.wg.Done()
		return false
	}
	n.counters.mapRequests.Add(1)
	return true
}

// mapped ends a request of the map.
func (q *question) mapped(reply *ringmap.Reply, err error) *protocol.Failure {
	f := q.failed(err)
	if f == nil {
		if err := reply.On(q.fd.space.Bits); err != nil {
			f = &protocol.Failure{Kind: protocol.Invalid, By: q.to, Detail: "answer: " + err.Error()}
		} else {
			f = q.fd.checkClaims(answer, q.to, reply.Claims)
		}
	}
	if f == nil {
		q.fd.peers.zones.hearClaims(reply.Claims)
	}
	q.over(f)
	return f
}

// checkClaims finds what keeps claims from being used: a member whose identifier is not
// the hash of its name, say. Of a legacy member others speak: it is looked at only if it is said
// to stand at several identifiers, which none does.
func (fd *Finder) checkClaims(what string, by ring.Member, list []ringmap.Announcement) *protocol.Failure {
	var named []ring.Member
	for i := range list {
		if of := list[i].Of; of != nil && (!of.Legacy() || of.Choice.Several() || of.Home != 0) {
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
	allowed, passes := true, true
	n.onMap(func(m *ringmap.Map) {
		if passes = m.Passes(req); !passes {
			return
		}
		if allowed = m.Allow(n.now(), env.From.Process(), req); allowed {
			reply = m.Receive(n.now(), req)
		}
	})
	if !passes {
		return reply, &protocol.Failure{Kind: protocol.NotJoined, By: n.Snapshot().Self, Detail: protocol.Leaving.String()}
	}
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
	n.onMap(func(m *ringmap.Map) {
		m.Own(n.now(), ringmap.Owning{
			Self: v.Self, Arc: v.Arc, Has: v.Claims(), Leaves: v.Phase == protocol.Leaving, Epoch: v.Epoch, Mute: v.Pred.Legacy(),
			Next: v.Head().Instance(),
		})
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
	n.onMap(func(m *ringmap.Map) {
		m.Head(n.now(), asked, n.cfg.Self.ID, ringmap.Claim{ID: self.ID, After: after, Epoch: st.Epoch, Of: &self})
	})
}

// brokenMap strikes whoever is at an address to which a connection broke.
func (n *Node) brokenMap(addr string) {
	if n.first != nil {
		return // the first hears of it as well
	}
	n.onMap(func(m *ringmap.Map) {
		for c := range m.Snapshot().All() {
			if c.Of.Addr == addr {
				m.Strike(n.now(), 0, c.Owner().Instance())
			}
		}
	})
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
	now := fd.now()
	c, as, ok := s.Lookup(id, now, fd.oldest(age))
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

// chartedMember reports whether the map is certain that a member is in the ring. It takes
// no lock.
func (n *Node) chartedMember(x ring.Member) bool {
	c, _ := n.lead().mapLookup(x.ID, 0)
	return c != nil && c.Owner() == x
}

// chartProcesses is how many processes are on the map, and whether each stands at one identifier.
// It takes no lock.
func (n *Node) chartProcesses() (processes int, single bool) {
	s := n.lead().chart.Load()
	if s == nil {
		return 0, false
	}
	return s.Processes(), s.Single()
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
