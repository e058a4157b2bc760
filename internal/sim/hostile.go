package sim

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// A hostile member runs the machine that ships, so that it stands in the ring as others
// do. What it says is changed on its way out, and it sends messages of its own besides. It
// knows the whole ring, and all others that are hostile.

// hostile is what the host of a hostile member keeps.
type hostile struct {
	acts  []*fault    // what it does now
	heard []overheard // of late, by it and from it
	next  int         // in heard, the one to be written over
	turns bool        // its next turn is in the queue
	beat  uint32      // of the sweep that its map has last told of
}

// overheard is a message that a hostile member has heard or sent.
type overheard struct {
	from    ring.Member
	request protocol.Request
}

const (
	maxOverheard = 32 // messages that a hostile member can send again
	maxFlood     = 50 // requests of a flood in one turn, four of which are in an interval
	farAddr      = "h1000000000:1"
)

// recruit makes some of the processes of the start hostile, at all of their identifiers.
func (w *world) recruit() {
	var order []int32 // of processes, by their first identifiers
	for _, h := range w.hosts[:w.cfg.Members] {
		if h == h.first() {
			order = append(order, h.index)
		}
	}
	n := len(order)
	if w.cfg.Hostile == 0 || n < 2 {
		return
	}
	draw := func(i int32) uint64 { return mix(w.seed ^ mix(uint64(i)+0x686f73)) }
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(draw(a), draw(b)) })
	for _, i := range order[:min(max(1, int(w.cfg.Hostile*float64(n))), n-1)] {
		for _, h := range w.hosts[i].chart.hosts {
			w.corrupt(h)
		}
	}
}

// corrupt makes a host hostile.
func (w *world) corrupt(h *host) {
	h.hostile = &hostile{}
	w.liars = append(w.liars, h.index)
}

// proves reports whether a host may say that it is x: where names and addresses are
// bound, only one whose they are, or another identifier of the same process. A client has none.
func (w *world) proves(h *host, x ring.Member) bool {
	return !w.cfg.Identity || x.IsZero() || h.standsAs(x)
}

// standsAs reports whether x is the member that h is, or another identifier of its process, of
// whatever incarnation.
func (h *host) standsAs(x ring.Member) bool {
	return x.Name == h.of && slices.ContainsFunc(h.chart.hosts, func(g *host) bool { return x.Addr == g.addr && x.ID == g.id })
}

// sibling is a host of the process of h, which may be h itself.
func (w *world) sibling(h *host) *host {
	of := h.chart.hosts
	if len(of) == 1 {
		return h
	}
	if g := of[w.mal.IntN(len(of))]; g.up {
		return g
	}
	return h
}

// isHostile reports whether the process at the address of x is, if x is its name.
func (w *world) isHostile(x ring.Member) bool {
	i := number(x.Addr)
	if i < 0 || int(i) >= len(w.hosts) {
		return false
	}
	h := w.hosts[i]
	return h.hostile != nil && h.of == x.Name && h.id == x.ID
}

// beginLie begins an act of a hostile member.
func (w *world) beginLie(f *fault) {
	if len(w.liars) == 0 {
		return
	}
	f.who = w.liars // all of them at once, or one
	if k := f.pick % uint64(2*len(w.liars)); k < uint64(len(w.liars)) {
		f.who = nil
		for _, h := range w.hosts[w.liars[k]].chart.hosts {
			f.who = append(f.who, h.index)
		}
	}
	for _, i := range f.who {
		h := w.hosts[i]
		h.hostile.acts = append(h.hostile.acts, f)
		w.nextTurn(h)
	}
}

// endLie ends one.
func (w *world) endLie(f *fault) {
	for _, i := range f.who {
		g := w.hosts[i].hostile
		g.acts = slices.DeleteFunc(g.acts, func(o *fault) bool { return o == f })
	}
}

// nextTurn sets the time of a hostile member's next turn, if it has anything to do.
func (w *world) nextTurn(h *host) {
	if g := h.hostile; !g.turns && len(g.acts) > 0 && h.up {
		g.turns = true
		pause := time.Duration((0.5 + w.mal.Float64()) * float64(w.cfg.Interval) / 4)
		w.queue.Push(w.now+pause, event{kind: evLie, host: h.index, gen: h.starts})
	}
}

// turn sends what a hostile member sends of its own.
func (w *world) turn(h *host) {
	h.hostile.turns = false
	if h.inRing() && len(w.ring) > 1 {
		for _, f := range h.hostile.acts {
			w.say(h, f)
		}
	}
	w.nextTurn(h)
}

// say sends a message, or several, by one act.
func (w *world) say(h *host, f *fault) {
	x := w.victim(h, f)
	self := h.self()
	switch f.lie {
	case Pointers:
		w.utter(h, self, x, protocol.Request{Kind: protocol.Changed})
	case Ghosts:
		ghost := w.ghost(h, x.ID+1+w.mal.Uint64()>>(1+w.mal.IntN(40)))
		kinds := []protocol.RequestKind{protocol.Introduce, protocol.Introduce, protocol.Place, protocol.Look}
		w.utter(h, self, x, protocol.Request{Kind: kinds[w.mal.IntN(len(kinds))], Subject: ghost})
	case Rivals:
		about := w.hosts[w.ringAt(x.ID, w.mal.IntN(3))].self()
		w.utter(h, self, x, protocol.Request{Kind: protocol.Introduce, Subject: w.other(h, about)})
	case Forgeries:
		from := w.hosts[w.ringAt(x.ID, []int{1, len(w.ring) - 1, w.mal.IntN(len(w.ring))}[w.mal.IntN(3)])].self()
		if w.mal.IntN(2) == 0 {
			from = w.other(h, from)
		}
		if len(h.chart.hosts) > 1 && w.mal.IntN(2) == 0 {
			from = w.sibling(h).self()
		}
		w.utter(h, from, x, w.anyRequest(h, x))
	case Departures:
		from := self
		if w.mal.IntN(2) == 0 {
			from = w.hosts[w.ringAt(x.ID, []int{1, len(w.ring) - 1}[w.mal.IntN(2)])].self()
		}
		w.utter(h, from, x, protocol.Request{Kind: protocol.Leave, Pred: w.anyone(h, x), Succ: w.list(h, x)})
	case FalseClaims, FalseMaps:
		w.sayOfMaps(h, f, x)
	case Replays:
		if n := len(h.hostile.heard); n > 0 {
			again := h.hostile.heard[w.mal.IntN(n)]
			w.utter(h, again.from, x, again.request)
		}
	case Floods:
		for range 1 + int(f.level*maxFlood) {
			w.utter(h, self, x, w.anyRequest(h, x))
		}
	}
}

// victim is whom an act concerns this time: a neighbour of the hostile member, one
// and the same member, or any.
func (w *world) victim(h *host, f *fault) ring.Member {
	n := len(w.ring)
	i := w.ringAt(mix(f.pick), 0)
	switch f.shape % 3 {
	case 0:
		i = w.ringAt(h.id, []int{1, n - 1, 2 % n}[w.mal.IntN(3)])
	case 1:
		i = w.ring[w.mal.IntN(n)]
	}
	return w.hosts[i].self()
}

// whoIs is the member that runs at a host, or would if a process ran there; the zero
// Member for a client.
func (w *world) whoIs(i int32) ring.Member {
	if h := w.hosts[i]; h.up || h.client != nil {
		return h.self()
	}
	return w.self(w.hosts[i])
}

// utter sends a request in the name of from, whose answer nobody wants.
func (w *world) utter(h *host, from, to ring.Member, req protocol.Request) {
	i, c := w.openCall()
	req.Origin = h.m.State().Origin
	c.request, c.sender, c.posed = req, from, true
	c.from, c.starts = h.index, h.starts
	w.count.lies++
	w.send(h, i, to, peer.InitialTimeout)
}

// anyRequest is a request of any kind and with anything in it.
func (w *world) anyRequest(h *host, to ring.Member) protocol.Request {
	return protocol.Request{
		Kind: protocol.RequestKind(1 + w.mal.IntN(int(protocol.Leave))), Subject: w.anyone(h, to),
		Joining: w.mal.IntN(2) == 0, Pred: w.anyone(h, to), Succ: w.list(h, to),
	}
}

// anyone is somebody that a hostile member names to another: itself, one of its own, an
// honest member, another incarnation of one, of that other too, one that never was, nobody.
func (w *world) anyone(h *host, to ring.Member) ring.Member {
	switch w.mal.IntN(7) {
	case 0:
		return h.self()
	case 1:
		if x := w.hosts[w.liars[w.mal.IntN(len(w.liars))]]; x.inRing() {
			return x.self()
		}
	case 2:
		return w.hosts[w.ring[w.mal.IntN(len(w.ring))]].self()
	case 3:
		return w.other(h, w.hosts[w.ring[w.mal.IntN(len(w.ring))]].self())
	case 4:
		if !to.IsZero() {
			return w.other(h, to)
		}
	case 5:
		return w.ghost(h, to.ID+w.mal.Uint64()>>w.mal.IntN(40))
	}
	return ring.Member{}
}

// list is a successor list with anything in it, in any order, and too long at times.
func (w *world) list(h *host, to ring.Member) []ring.Member {
	var out []ring.Member
	for range w.mal.IntN(2 * w.cfg.Successors) {
		if x := w.anyone(h, to); !x.IsZero() {
			out = append(out, x)
		}
	}
	if w.mal.IntN(2) == 0 { // which passes for one
		slices.SortFunc(out, func(a, b ring.Member) int { return cmp.Compare(a.ID-h.id, b.ID-h.id) })
	}
	return out
}

// ghost is a member that never was: at the address of the hostile member, of an honest one,
// or of nobody. Names can be tried until one has the identifier that is wanted.
func (w *world) ghost(h *host, id uint64) ring.Member {
	x := ring.Member{ID: id, Name: "x" + strconv.FormatUint(id, 36), Addr: h.addr, Incarnation: h.self().Incarnation}
	switch w.mal.IntN(3) {
	case 0:
		x.Addr = farAddr
	case 1:
		x.Addr = w.hosts[w.ring[w.mal.IntN(len(w.ring))]].addr
	}
	return x
}

// alias is a hostile member by another name, at its own address. Its own identifier is that
// of its own name only.
func alias(h *host, id uint64) ring.Member {
	if id == h.id {
		id++
	}
	return ring.Member{ID: id, Name: "x" + strconv.FormatUint(id, 36), Addr: h.addr, Incarnation: h.self().Incarnation}
}

// other is another incarnation of x: mostly a later one, up to a day; at its address, or
// at that of the hostile member.
func (w *world) other(h *host, x ring.Member) ring.Member {
	x.Incarnation = w.otherIncarnation(x.Incarnation)
	if w.mal.IntN(2) == 0 {
		x.Addr = h.addr
	}
	return x
}

// otherOrigin is another than o: of a ring that has nothing in common with that of o, or
// of one that was founded before and has.
func (w *world) otherOrigin(o *ring.Origin) *ring.Origin {
	var marks []uint64 // as many as there is room for, which are smaller than any that were drawn
	for range 1 + w.mal.IntN(ring.MaxMarks-1) {
		marks = append(marks, w.mal.Uint64()>>20)
	}
	if o == nil || len(o.Marks) == 0 || w.mal.IntN(2) == 0 {
		return ring.NewOrigin(1+w.mal.Uint64()>>1, marks)
	}
	return ring.NewOrigin(1+w.mal.Uint64()>>20, append(marks, o.Marks[w.mal.IntN(len(o.Marks))]))
}

func (w *world) otherIncarnation(n uint64) uint64 {
	const day = uint64(24 * time.Hour / time.Millisecond)
	switch w.mal.IntN(4) {
	case 0:
		return n - 1
	case 1:
		return n + day
	}
	return n + 1 + w.mal.Uint64()%(day-1)
}

// poses changes what a hostile member's own machine sends, and keeps it.
func (w *world) poses(h *host, c *call) {
	g := h.hostile
	if c.ofMap {
		w.posesMap(h, c)
		return
	}
	if !c.route {
		g.overhear(overheard{c.sender, c.request})
	}
	for _, f := range g.acts {
		switch {
		case w.mal.Float64() > f.level || c.sender.Name != h.of:
		case f.lie == Incarnations:
			c.sender.Incarnation = w.otherIncarnation(c.sender.Incarnation)
		case f.lie == Origins:
			c.request.Origin = w.otherOrigin(c.request.Origin)
		}
	}
}

func (g *hostile) overhear(x overheard) {
	if len(g.heard) < maxOverheard {
		g.heard = append(g.heard, x)
		return
	}
	g.heard[g.next] = x
	g.next = (g.next + 1) % maxOverheard
}

// intercepted reports whether a request that has arrived goes no further: it is not from
// whom it says, which the receiver can tell; or the receiver is hostile and has done
// with it.
func (w *world) intercepted(h *host, i int32) bool {
	c := w.calls[i]
	if by := w.hosts[c.from]; by.hostile != nil && !w.proves(by, c.sender) {
		w.count.refused++
		w.back(i, &protocol.Failure{Kind: protocol.Denied, By: h.self(), Detail: "the sender is not who it says it is"})
		return true
	}
	g := h.hostile
	if g == nil || len(g.acts) == 0 {
		return false
	}
	if !c.route && !c.ofMap {
		g.overhear(overheard{c.sender, c.request})
	}
	for _, f := range g.acts {
		if f.lie == Silence && chance(f.shape^uint64(c.request.Kind)<<1^uint64(c.from)<<8) < f.level {
			w.expire(i)
			return true
		}
	}
	if self := h.m.Self(); c.meant.Name == "" || c.meant == self {
		return false
	}
	// It is taken for somebody else, or for another incarnation, and says that it is.
	c.answer = routing.Answer{Verdict: routing.Closer, By: c.meant, Closer: []ring.Member{}}
	c.reply = protocol.Reply{State: h.m.State()}
	c.reply.State.Self = c.meant
	c.reply.Verdict = protocol.Taken
	w.back(i, nil)
	return true
}

// lie changes what a hostile member answers.
func (w *world) lie(h *host, c *call, failure *protocol.Failure) *protocol.Failure {
	for _, f := range h.hostile.acts {
		if w.mal.Float64() > 0.25+0.75*f.level {
			continue
		}
		switch {
		case f.lie == FalseFailures:
			failure = w.falseFailure(h, c)
		case c.route:
			failure = w.falseAnswer(h, f, c, failure)
		case failure == nil && c.ofMap:
			w.falseMap(h, f, c)
		case failure == nil:
			w.falseReply(h, f, c)
		}
	}
	return failure
}

// falseFailure is a failure that a hostile member answers with.
func (w *world) falseFailure(h *host, c *call) *protocol.Failure {
	asker := w.whoIs(c.from)
	switch w.mal.IntN(6) {
	case 0:
		return refused
	case 1:
		return unreachable
	case 2:
		return &protocol.Failure{Kind: protocol.NotJoined, By: h.self()}
	case 3:
		return &protocol.Failure{Kind: protocol.Invalid, Detail: "no"}
	case 4:
		x := h.self()
		x.Incarnation = w.otherIncarnation(x.Incarnation)
		return &protocol.Failure{Kind: protocol.WrongMember, By: x}
	}
	return &protocol.Failure{Kind: protocol.WrongMember, By: w.anyone(h, asker)}
}

// falseAnswer changes the answer to a lookup.
func (w *world) falseAnswer(h *host, f *fault, c *call, failure *protocol.Failure) *protocol.Failure {
	id := c.query.ID
	before := func() uint64 { return id - 1 - (id-h.id)>>(1+w.mal.IntN(40)) } // between itself and the key
	switch f.lie {
	case WideArcs:
		arc := ring.Arc{After: id - 1, To: h.id}
		switch w.mal.IntN(3) {
		case 0:
			arc.After = h.id
		case 1:
			arc.After = id - 1 - (id-h.id)/2
		}
		c.answer = routing.Answer{Verdict: routing.Mine, Owner: h.self(), Arc: arc, HasArc: true, Lease: routing.MaxLease}
	case WrongOwners:
		x := w.anyone(h, w.whoIs(c.from))
		switch {
		case f.shape%2 == 0:
			x = w.whoIs(w.nearestLiar(id))
		case f.shape%3 == 0:
			x = alias(h, id)
		}
		if x.IsZero() {
			return failure
		}
		after := h.id
		if f.shape%5 == 0 {
			after = id - 1
		}
		c.answer = routing.Answer{Verdict: routing.Owned, By: h.self(), Owner: x, Arc: ring.Arc{After: after, To: x.ID}, HasArc: true, Lease: routing.MaxLease}
		if x == h.self() && len(h.chart.hosts) > 1 { // which its other identifiers name
			c.answer.Verdict, c.answer.By, c.answer.Arc.After = routing.Mine, ring.Member{}, id-1
		}
	case NearerNames:
		a := routing.Answer{Verdict: routing.Closer, By: h.self()}
		for range routing.MaxCloser {
			a.Closer = append(a.Closer, w.ghost(h, before()))
		}
		if f.shape%2 == 0 {
			a.Closer[0].Addr = h.addr // who answers again
		}
		c.answer = a
	case Incarnations:
		c.answer.By.Incarnation = w.otherIncarnation(h.self().Incarnation)
		return failure
	default:
		return failure
	}
	return nil
}

// nearestLiar is the hostile member that lives next at or after an identifier, the first
// of all if none does.
func (w *world) nearestLiar(id uint64) int32 {
	best := w.liars[0]
	for _, i := range w.liars {
		if h := w.hosts[i]; h.inRing() && h.id-id < w.hosts[best].id-id {
			best = i
		}
	}
	return best
}

// falseReply changes the answer to a request of the ring's maintenance.
func (w *world) falseReply(h *host, f *fault, c *call) {
	asker := w.whoIs(c.from)
	st := &c.reply.State
	switch f.lie {
	case Pointers:
		switch w.mal.IntN(6) {
		case 0:
			st.Pred = w.anyone(h, asker)
		case 1:
			st.Pred = w.ghost(h, asker.ID+(h.id-asker.ID)>>(1+w.mal.IntN(30))) // between the two
		case 2:
			st.Succ = w.list(h, asker)
		case 3:
			st.Succ = nil
		case 4:
			st.Phase = protocol.Phase(1 + w.mal.IntN(int(protocol.Bootstrapping)))
		case 5:
			st.Replaced = protocol.Replaced{Who: asker.Instance(), By: w.anyone(h, asker), After: w.mal.Uint64(), Number: 1 + w.mal.Uint64()>>8}
		}
		st.Version = w.mal.Uint64() >> 8
	case Incarnations:
		st.Self.Incarnation = w.otherIncarnation(st.Self.Incarnation)
	case Forgeries:
		if len(h.chart.hosts) > 1 {
			st.Self = w.sibling(h).self()
		}
	case Origins:
		st.Origin = w.otherOrigin(st.Origin)
	case FalseClaims:
		st.Epoch = w.falseEpoch(st.Epoch)
		st.Clock = w.falseEpoch(st.Clock)
	case Placements:
		c.reply.Verdict = protocol.Verdict(1 + w.mal.IntN(3))
		c.reply.Closer = nil
		for range 3 {
			id := c.request.Subject.ID
			c.reply.Closer = append(c.reply.Closer, w.ghost(h, id-1-(id-h.id)>>(1+w.mal.IntN(40))))
		}
		c.reply.Refusal = protocol.Refusal{Reason: protocol.Reason(w.mal.IntN(int(protocol.NotInRing) + 1)), Other: w.anyone(h, asker)}
	}
}

// checked is what the transport makes of an answer of a hostile member, where names
// and addresses are bound: nothing, if the answer is not in the answerer's own name, or
// somebody else was asked.
func (w *world) checked(c *call, failure *protocol.Failure) *protocol.Failure {
	if !w.cfg.Identity {
		return failure
	}
	h := w.hosts[c.to]
	by := c.reply.State.Self
	switch {
	case failure != nil:
		by = failure.By
	case c.route:
		by = c.answer.By
	}
	if w.proves(h, by) && (c.meant.Name == "" || h.standsAs(c.meant)) {
		return failure
	}
	w.count.refused++
	return &protocol.Failure{Kind: protocol.Denied, Detail: "the answer is not from who it says it is"}
}
