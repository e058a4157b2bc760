package sim

import (
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
)

// ref names a call or a lookup: a slot, and which of those that were ever in it.
type ref struct {
	slot int32
	gen  uint32
}

// noLookup is what an arc is confirmed for.
var noLookup = ref{slot: -1}

// call is a request under way, until its asker has an answer and nobody holds
// it any more.
type call struct {
	gen      uint32
	open     bool
	held     bool // the other has it and has not answered yet
	wanted   bool // the asker waits for what becomes of it
	patient  bool
	from     int32
	starts   uint32 // the asker's
	to       int32  // -1: no host has the address
	astray   bool   // to is another than the one whose name was asked
	posed    bool   // the sender is whom a hostile member says it is
	toStarts uint32 // the start of the process that holds it
	addr     string
	meant    ring.Member
	sender   ring.Member
	origin   *ring.Origin // of a lookup
	sent     time.Duration
	end      time.Duration // of the time allowed

	number  uint64           // the machine's, 0 for none
	request protocol.Request // for a machine
	reply   protocol.Reply

	route  bool
	look   ref // the lookup that asks; noLookup: an arc is being confirmed
	ask    int // the number of its question
	query  routing.Query
	answer routing.Answer

	ofMap      bool // of a map, whose number it is
	mapRequest ringmap.Request
	mapReply   ringmap.Reply

	failure *protocol.Failure
}

var (
	timedOut    = &protocol.Failure{Kind: protocol.TimedOut}
	refused     = &protocol.Failure{Kind: protocol.Refused}
	overloaded  = &protocol.Failure{Kind: protocol.Overloaded}
	unreachable = &protocol.Failure{Kind: protocol.Unreachable}
	tooMany     = &protocol.Failure{Kind: protocol.Cancelled, Detail: "too many requests in progress"}
)

// open takes a slot for a call.
func (w *world) openCall() (int32, *call) {
	var i int32
	if n := len(w.freeCalls); n > 0 {
		i = w.freeCalls[n-1]
		w.freeCalls = w.freeCalls[:n-1]
	} else {
		i = int32(len(w.calls))
		w.calls = append(w.calls, new(call))
	}
	c := w.calls[i]
	c.open = true
	return i, c
}

// closeCall gives a slot back. What was said stays in it until it is used
// again: to clear all of it costs more than to keep it.
func (w *world) closeCall(i int32) {
	c := w.calls[i]
	c.gen++
	c.open, c.held, c.wanted, c.patient, c.route, c.ofMap, c.astray, c.posed = false, false, false, false, false, false, false, false
	c.number, c.look, c.failure = 0, ref{}, nil
	w.freeCalls = append(w.freeCalls, i)
}

// live is the call that an event is about, nil if that is over.
func (w *world) live(i int32, gen uint32) *call {
	if c := w.calls[i]; c.open && c.gen == gen {
		return c
	}
	return nil
}

func (w *world) token(i int32) uint64 { return uint64(w.calls[i].gen)<<32 | uint64(i) + 1 }

// ask sends a machine's question.
func (w *world) ask(h *host, e protocol.Ask) {
	i, c := w.openCall()
	c.number, c.wanted = e.Call, true
	c.request, c.patient = e.Request, e.Patient
	c.from, c.starts = h.index, h.starts
	if h.asks++; h.asks > maxAsks {
		c.to, c.failure = -1, tooMany
		w.queue.Push(w.now, event{kind: evReply, host: h.index, slot: i, gen: c.gen})
		return
	}
	limit := peer.PatientTimeout
	if !e.Patient {
		limit = h.estimate(number(e.To.Addr)).Timeout(e.Attempt)
	}
	w.count.requests[e.Request.Kind]++
	h.commits(&c.request)
	w.send(h, i, e.To, limit)
}

// tell sends a machine's message whose fate is not wanted.
func (w *world) tell(h *host, e protocol.Tell) {
	i, c := w.openCall()
	c.request = e.Request
	c.from, c.starts = h.index, h.starts
	w.count.requests[e.Request.Kind]++
	w.send(h, i, e.To, peer.InitialTimeout)
}

// route sends a step of a lookup.
func (w *world) route(h *host, look ref, ask int, to ring.Member, q routing.Query) {
	i, c := w.openCall()
	c.route, c.wanted = true, true
	c.look, c.ask, c.query = look, ask, q
	if c.origin = nil; h.view != nil { // else it is a client's
		c.origin = h.view.Origin
	}
	c.from, c.starts = h.index, h.starts
	w.count.routes++
	w.send(h, i, to, h.estimate(number(to.Addr)).RouteTimeout(h.common))
}

// send puts call i on its way. What becomes of it is decided message by
// message; its time-out is an event only if it turns out that it will be needed.
func (w *world) send(h *host, i int32, to ring.Member, limit time.Duration) {
	c := w.calls[i]
	c.meant, c.addr = to, to.Addr
	if !c.posed {
		c.sender = h.self()
		if h.hostile != nil {
			w.poses(h, c)
		}
	}
	c.sent, c.end = w.now, w.now+limit
	c.to = number(to.Addr)
	if to.Addr == vip {
		c.to = w.balance()
	}
	if c.to >= int32(len(w.hosts)) {
		c.to = -1
	}
	if c.to < 0 {
		c.failure = refused
		w.queue.Push(w.now+time.Millisecond, event{kind: evReply, host: c.from, slot: i, gen: c.gen})
		return
	}
	p := h.linkMade(c.to)
	connected := w.connected(p) && to.Addr != vip
	if named := c.to; to.Addr != vip && (!connected || to.Anyone()) {
		c.to = w.net.led(named)
		c.astray = c.to != named
		connected = connected && !c.astray
	}
	d, ok := w.transit(h, w.hosts[c.to])
	if ok && !connected {
		// There and back again to make a connection first.
		back, ok1 := w.transit(w.hosts[c.to], h)
		again, ok2 := w.transit(h, w.hosts[c.to])
		d += back + again
		ok = ok1 && ok2
	}
	if ok && !c.astray {
		if !p.open {
			w.hosts[c.to].called(h)
		}
		p.open, p.last = true, w.now
	}
	if !ok {
		w.expire(i)
		return
	}
	if w.net.doubled() {
		k := w.copyOf(i)
		if d, ok := w.transit(h, w.hosts[c.to]); ok {
			w.queue.Push(w.now+d, event{kind: evRequest, host: c.to, slot: k, gen: w.calls[k].gen})
		} else {
			w.closeCall(k)
		}
	}
	if w.now+d >= c.end {
		// It will arrive when nobody waits for the answer any more.
		k := w.copyOf(i)
		w.expire(i)
		i, c = k, w.calls[k]
	}
	w.queue.Push(w.now+d, event{kind: evRequest, host: c.to, slot: i, gen: c.gen})
}

// copyOf is the same request, whose answer nobody wants.
func (w *world) copyOf(i int32) int32 {
	k, c := w.openCall()
	gen := c.gen
	*c = *w.calls[i]
	c.gen, c.wanted, c.number, c.look = gen, false, 0, noLookup
	return k
}

// expire lets call i end by its time, or at once if nobody wants to know.
func (w *world) expire(i int32) {
	c := w.calls[i]
	if !c.wanted {
		w.closeCall(i)
		return
	}
	w.queue.Push(max(w.now, c.end), event{kind: evTimeout, host: c.from, slot: i, gen: c.gen})
}

// connected reports whether there is a connection on a link.
func (w *world) connected(p *link) bool {
	return p.open && w.now-p.last <= max(10*time.Second, 8*w.cfg.Interval)
}

// arrived gives a request to the process that it is addressed to.
func (w *world) arrived(i int32) {
	c := w.calls[i]
	h := w.hosts[c.to]
	switch {
	case !h.up && h.silent:
		w.expire(i)
		return
	case !h.up:
		w.back(i, refused)
		return
	}
	if w.net.overloaded(h) {
		w.back(i, overloaded)
		return
	}
	if w.liars != nil && w.intercepted(h, i) {
		return
	}
	self := h.m.Self()
	if to := c.meant; (to.ID != 0 || to.Incarnation != 0) && (to.ID != self.ID || to.Incarnation != 0 && to.Incarnation != self.Incarnation) {
		w.back(i, &protocol.Failure{Kind: protocol.WrongMember, By: self, Origin: h.m.State().Origin})
		return
	}
	if c.ofMap {
		w.arrivedAtMap(h, i)
		return
	}
	if c.route {
		if f := protocol.Unrelated(self, h.m.State().Origin, c.sender, c.origin); f != nil {
			w.back(i, f)
			return
		}
		t := w.tableOf(h)
		if t == nil {
			w.back(i, &protocol.Failure{Kind: protocol.NotJoined, By: self, Detail: h.view.Phase.String()})
			return
		}
		c.answer = t.Answer(c.query, w.now)
		w.judgeAnswer(h, c.query.ID, &c.answer)
		w.judgeServing(h, invariant.Serving{By: h.view, Answers: true})
		if c.answer.Verdict != routing.Mine {
			c.answer.By = self
		}
		w.back(i, nil)
		return
	}
	if c.request.Kind == protocol.Introduce && c.request.Subject == c.sender && h.view.Origin.Kin(c.request.Origin) {
		w.offer(h, c.sender)
	}
	c.held, c.toStarts = true, h.starts
	gen := c.gen
	w.step(h, protocol.Asked{Token: w.token(i), From: c.sender, Request: c.request})
	if c := w.live(i, gen); c != nil && c.held && c.wanted {
		w.queue.Push(c.end, event{kind: evTimeout, host: c.from, slot: i, gen: gen})
	}
}

// respond takes a machine's answer to a request that it holds.
func (w *world) respond(e protocol.Respond) {
	i := int32(uint32(e.Token) - 1)
	c := w.live(i, uint32(e.Token>>32))
	if c == nil || !c.held {
		return
	}
	c.held = false
	c.reply = e.Reply
	w.released(c)
	w.back(i, e.Failure)
}

// back sends the answer to call i.
func (w *world) back(i int32, f *protocol.Failure) {
	c := w.calls[i]
	if h := w.hosts[c.to]; h.hostile != nil && h.up {
		f = w.lie(h, c, f)
	}
	c.failure = f
	if !c.wanted {
		w.closeCall(i)
		return
	}
	d, ok := w.transit(w.hosts[c.to], w.hosts[c.from])
	if !ok || w.now+d >= c.end {
		w.expire(i)
		return
	}
	w.queue.Push(w.now+d, event{kind: evReply, host: c.from, slot: i, gen: c.gen})
}

// answered gives the asker what became of call i. failure is nil for an answer.
func (w *world) answered(i int32, failure *protocol.Failure) {
	c := w.calls[i]
	h := w.hosts[c.from]
	if !h.up || h.starts != c.starts || !c.wanted {
		w.closeCall(i)
		return
	}
	c.wanted = false // nothing else becomes of it
	if c.to >= 0 && w.hosts[c.to].hostile != nil && failure != timedOut {
		failure = w.checked(c, failure)
	}
	if c.to >= 0 && !c.astray {
		p := h.linkMade(c.to)
		switch {
		case failure == nil:
			p.last = w.now
			if !c.patient {
				p.estimate.Observe(w.now - c.sent)
				if c.meant.Name != "" {
					p.estimate.Meet(c.meant.Instance())
				}
				h.common.Observe(w.now - c.sent)
			}
		case failure.Kind == protocol.TimedOut:
			w.count.timeouts++
			p.open = false
			if c.route {
				p.estimate.Late()
			}
		case failure.Kind == protocol.Refused || failure.Kind == protocol.Unreachable:
			p.open = false
		}
	}
	if c.route {
		w.answeredRoute(h, c, failure)
		w.closeCall(i)
		return
	}
	if c.ofMap {
		w.answeredMap(h, i, failure)
		return
	}
	h.asks--
	a := protocol.Answer{Call: c.number, Failure: failure}
	if failure == nil {
		a.Reply = c.reply
		w.looked(h, c)
		if h.heard != nil {
			h.heard[c.reply.State.Self.Instance()] = true
		}
	}
	meant, sent := c.meant, c.sent
	w.closeCall(i)
	if h.client != nil {
		w.askedForRing(h, meant, a.Reply.State, failure)
		return
	}
	if failure == nil {
		w.named(h, &a.Reply.State, sent)
	}
	w.step(h, a)
	if failure == nil {
		w.headHeard(h, &a.Reply.State, sent)
	}
	if meant.Name != "" {
		w.noteOutcome(h, meant, failure)
	}
}

// noteOutcome notes for lookups whether a member answers.
func (w *world) noteOutcome(h *host, x ring.Member, f *protocol.Failure) {
	if f == nil {
		h.suspects = h.suspects.Clear(x)
		w.mapOutcome(h, x, false)
		return
	}
	switch f.Kind {
	case protocol.TimedOut, protocol.Unreachable, protocol.Refused, protocol.WrongMember, protocol.WrongRing:
		w.mapOutcome(h, x, true)
		h.suspect(x, f.Kind == protocol.WrongMember, w.now, w.interval(h))
		if h.arcs != nil {
			h.arcs.DoubtMember(x)
		}
	}
}

// answeredRoute takes what became of a step of a lookup.
func (w *world) answeredRoute(h *host, c *call, f *protocol.Failure) {
	if c.meant.Name != "" {
		w.noteOutcome(h, c.meant, f)
		if f != nil && (f.Kind == protocol.Refused || f.Kind == protocol.WrongMember) {
			lost := protocol.Lost{Addr: c.addr, Gone: true}
			if f.Kind == protocol.WrongMember {
				lost.Who = c.meant
			}
			if h.client != nil {
				w.goneFrom(h, c.addr, lost.Who)
			} else {
				w.stray(h, c.addr)
				w.step(h, lost)
			}
		}
	}
	if f == nil {
		w.learn(h, c)
		if h.heard != nil {
			h.heard[c.meant.Instance()] = true
		}
	}
	if c.look != noLookup {
		w.routed(h, c.look, c.ask, c.answer, c.sent, f)
	}
}
