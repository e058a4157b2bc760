package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/voting"
)

// MapCount counts what the maps of members were asked.
type MapCount struct {
	Right int `json:"right"`
	Wrong int `json:"wrong"` // named another than the owner
	Asked int `json:"asked"` // did not know
}

// chart is the map of a process, and its members, of which each is a host.
type chart struct {
	hosts []*host          // the first first
	votes *voting.Votes    // of the process, which has run since; nil: without MinMembers or leases
	m     *ringmap.Map     // nil: none of them is up
	named map[uint64]named // by claims of the map, what was said against them
	tick  time.Duration    // when it is to be called, 0 for never

	leaves bool          // with all of its identifiers
	since  time.Duration // when it began to
	back   time.Duration // in which it is then to be back, as each of them says; 0: they do not
}

// up is a member of the process that lives, nil if there is none.
func (c *chart) up() *host {
	for _, h := range c.hosts {
		if h.ringMap != nil {
			return h
		}
	}
	return nil
}

// beginMap gives a member the map of its process, which the first that starts makes.
func (w *world) beginMap(h *host, self ring.Member) {
	c := h.chart
	if c.up() == nil {
		c.m = ringmap.New(self, ringmap.Config{Bits: bits, Interval: w.cfg.Interval})
		c.named, c.tick = nil, 0
	}
	h.ringMap = c.m
}

// endMap takes it. If others of the process live, they go on with it.
func (w *world) endMap(h *host) {
	if h.ringMap == nil {
		return
	}
	h.ringMap = nil
	g := h.chart.up()
	if g == nil {
		h.chart.m = nil
		return
	}
	g.ringMap.Left(h.id)
	for i, c := range w.calls {
		if c.open && c.ofMap && c.from == h.index && c.starts == h.starts { // what h has asked for the others
			number := c.number
			w.closeCall(int32(i))
			g.ringMap.Failed(w.now, number, false)
		}
	}
	h.chart.tick = 0
	w.mapped(g)
}

// owning tells the map of a member what that owns.
func (w *world) owning(h *host) {
	if h.ringMap == nil {
		return
	}
	v := h.view
	if v.Epoch != h.claimed {
		h.claimed, w.claimed = v.Epoch, w.now
	}
	h.ringMap.Own(w.now, ringmap.Owning{
		Self: v.Self, Arc: v.Arc, Has: v.Claims(), Leaves: v.Phase == protocol.Leaving, Epoch: v.Epoch, Mute: v.Pred.Legacy(),
		Next: v.Head().Instance(),
	})
	w.mapped(h)
}

// headHeard tells the map of a member what its head has said of itself.
func (w *world) headHeard(h *host, st *protocol.State, asked time.Duration) {
	if h.ringMap == nil {
		return
	}
	after, ok := h.view.HeadClaim(st)
	if !ok {
		return
	}
	self := st.Self
	if asked > h.chart.named[self.ID].at {
		delete(h.chart.named, self.ID) // it has said itself what it claims
	}
	h.ringMap.Head(w.now, asked, h.id, ringmap.Claim{ID: self.ID, After: after, Epoch: st.Epoch, Of: &self})
	w.mapped(h)
}

// mapOutcome tells the map of a member whether another has answered.
func (w *world) mapOutcome(h *host, x ring.Member, failed bool) {
	switch {
	case h.ringMap == nil:
	case failed:
		h.ringMap.Strike(w.now, 0, x.Instance())
	default:
		h.ringMap.Heard(x.Instance())
	}
}

// mapBroken tells it that a connection to another host broke.
func (w *world) mapBroken(h, to *host) {
	if n := len(to.incarnations); h.ringMap != nil && n > 0 {
		h.ringMap.Strike(w.now, 0, ring.Instance{ID: to.id, Incarnation: to.incarnations[n-1]})
	}
}

// mapped carries out what the map of a member wants.
func (w *world) mapped(h *host) {
	// What the machine does about one may change the effects of the map.
	for h.up && h.ringMap != nil {
		e, ok := h.ringMap.Effect()
		if !ok {
			break
		}
		switch e.Do {
		case ringmap.Send:
			w.askMap(h, e)
		default:
			w.tellFromMap(h, e)
		}
	}
	if !h.up || h.ringMap == nil {
		return
	}
	w.mapMoved(h.chart)
	if at := max(h.ringMap.Latest(), w.now); h.chart.tick == 0 || at < h.chart.tick {
		h.chart.tick = at
		w.queue.Push(at, event{kind: evMap, host: h.index, gen: h.starts})
	}
}

// tellFromMap tells the members of a process what its map says to them.
func (w *world) tellFromMap(h *host, e ringmap.Effect) {
	for _, g := range h.chart.hosts {
		if g.ringMap == nil || !e.Concerns(g.id) {
			continue
		}
		switch e.Do {
		case ringmap.Defend, ringmap.Hear:
			w.step(g, protocol.Claimed{Epoch: e.Epoch, Contested: e.Do == ringmap.Defend})
		case ringmap.Consider:
			w.step(g, protocol.Learned{Members: []ring.Member{e.Member}})
		case ringmap.Gone:
			w.step(g, protocol.Silent{Name: e.Member.Name})
		}
	}
}

// tickMap is the time of a map.
func (w *world) tickMap(h *host) {
	if h.ringMap == nil || w.now < h.chart.tick {
		return
	}
	h.chart.tick = 0
	h.ringMap.Tick(w.now)
	w.mapped(h)
}

// askMap sends a request of a map.
func (w *world) askMap(h *host, e ringmap.Effect) {
	i, c := w.openCall()
	c.ofMap, c.wanted = true, true
	c.number, c.mapRequest = e.Call, e.Request
	c.from, c.starts = h.index, h.starts
	w.count.maps++
	w.count.mapBytes += e.Request.Size()
	w.send(h, i, e.To, h.estimate(number(e.To.Addr)).Timeout(0))
}

// arrivedAtMap answers one.
func (w *world) arrivedAtMap(h *host, i int32) {
	c := w.calls[i]
	if !h.view.Phase.InRing() || !h.ringMap.Passes(&c.mapRequest) {
		w.back(i, &protocol.Failure{Kind: protocol.NotJoined, By: h.m.Self(), Detail: h.view.Phase.String()})
		return
	}
	if from := w.hosts[c.from]; !h.ringMap.Allow(w.now, w.self(from).Process(), &c.mapRequest) {
		if w.besieged() { // what others pass on of a hostile member's may be too much, too
			w.back(i, &protocol.Failure{Kind: protocol.Overloaded, By: h.m.Self()})
			return
		}
		w.violate(invariant.MapRefused, fmt.Sprintf("%s has pushed so much to %s that it is not answered", from.name, h.name))
	}
	c.mapReply = h.ringMap.Receive(w.now, &c.mapRequest)
	w.count.mapBytes += c.mapReply.Size()
	w.back(i, nil)
	w.mapped(h)
}

// answeredMap takes what became of one.
func (w *world) answeredMap(h *host, i int32, f *protocol.Failure) {
	c := w.calls[i]
	number, reply, meant := c.number, c.mapReply, c.meant
	w.closeCall(i)
	if f == nil {
		for _, g := range h.chart.hosts { // of which each may have wanted the question
			if g.heard != nil {
				g.heard[meant.Instance()] = true
			}
		}
		h.ringMap.Answered(w.now, number, &reply)
	} else {
		h.ringMap.Failed(w.now, number, f.Kind == protocol.Refused || f.Kind == protocol.WrongMember || f.Kind == protocol.NotJoined)
	}
	w.mapped(h)
	if h.up {
		w.noteOutcome(h, meant, f)
	}
	if h.up && f != nil && f.Kind == protocol.Refused {
		for _, g := range slices.Clone(h.chart.hosts) { // that member may be the head of one
			if !g.up {
				continue
			}
			w.stray(g, meant.Addr)
			w.step(g, protocol.Lost{Addr: meant.Addr, Gone: true})
		}
	}
}

// named is what another was named as the owner of an identifier against.
type named struct {
	claim ringmap.Claim
	at    time.Duration
}

// mapNamed tells the map of a member what it was answered about an identifier.
func (w *world) mapNamed(h *host, id uint64, a *routing.Answer) {
	if h.ringMap == nil || a.Verdict != routing.Mine && a.Verdict != routing.Owned {
		return
	}
	owner := a.Owner.Instance()
	if c := h.ringMap.Snapshot().Known(id); c != nil && c.Of.Name != h.of && c.Owner().Instance() != owner {
		if h.chart.named == nil {
			h.chart.named = map[uint64]named{}
		}
		h.chart.named[c.ID] = named{*c, w.now}
	}
	h.ringMap.Named(w.now, id, owner)
	w.mapped(h)
}

// judgeNamed holds a claim that a map names against what the member was told since.
func (w *world) judgeNamed(h *host, c *ringmap.Claim, as time.Duration) {
	if x, ok := h.chart.named[c.ID]; ok && x.claim == *c && as < x.at {
		w.violate(invariant.MapContradicted, fmt.Sprintf("the map of %s names %s by a claim %v old, and %v ago another was named for a point of its arc",
			h.name, c.Of.Name, w.now-as, w.now-x.at))
	}
}

// mapLookup is the claim by which the map of a member answers a lookup by default.
func (w *world) mapLookup(h *host, id uint64) (c *ringmap.Claim, as time.Duration, ok bool) {
	return h.ringMap.Snapshot().Lookup(id, w.now, ringmap.Promised(w.cfg.Interval))
}

// lookUpInMap looks an identifier up in the map of a member, and judges the answer by
// what it promises: that the owner has claimed it at the time that it names, or later.
func (w *world) lookUpInMap(h *host, id uint64) {
	if h.ringMap == nil || !h.view.Serves() || !h.view.HasArc || h.view.Arc.Contains(id) {
		return
	}
	c, as, ok := w.mapLookup(h, id)
	count := &w.result.Maps
	if !ok {
		count.Asked++
		return
	}
	besieged := w.besieged()
	if !besieged {
		w.judgeNamed(h, c, as)
	}
	owner := c.Owner()
	if w.owner(id).view.Self == owner {
		count.Right++
	} else {
		count.Wrong++
	}
	if !besieged && !w.said(owner, owner, id, as) {
		w.violate(invariant.MapAge, fmt.Sprintf("the map of %s says that %s owned %d %v ago or later, and it did not", h.name, owner.Name, id, w.now-as))
	}
}

// mapAnswer is what the map of a member answers by default.
func (w *world) mapAnswer(h *host, id uint64) (a routing.Answer, ok bool) {
	if h.ringMap == nil {
		return a, false
	}
	c, as, ok := w.mapLookup(h, id)
	if !ok || h.suspects.Avoided(*c.Of, w.now) {
		return a, false
	}
	return routing.Answer{
		Verdict: routing.Owned, By: *c.Of, Owner: *c.Of, Arc: c.Arc(), HasArc: true, Epoch: c.Epoch, Age: w.now - as,
	}, true
}

// charts is what a machine asks the map of its member, nil without maps.
func (w *world) charts(h *host) func(ring.Member) bool {
	if !w.cfg.Maps {
		return nil
	}
	return func(x ring.Member) bool {
		if h.ringMap == nil {
			return false
		}
		c, _, ok := w.mapLookup(h, x.ID)
		return ok && c.Owner() == x
	}
}

// calmRounds is for how many rounds no member may have claimed its arc anew before maps
// are judged.
const calmRounds = 10

// awaitClaims waits until all members have claimed their arcs for the last time. Those
// that were replaced together learn of it one after another, each when it has asked the one behind
// it, which is once a round or more rarely, and claim their arcs anew.
func (w *world) awaitClaims() {
	if !w.cfg.Maps {
		return
	}
	rounds := calmRounds
	for _, i := range w.ring {
		rounds += protocol.Pace(w.hosts[i].view.Head())
	}
	end := w.now + time.Duration(rounds)*w.cfg.Interval
	for w.now < min(end, w.claimed+calmRounds*w.cfg.Interval) && len(w.result.Violations) == 0 {
		w.watch(w.cfg.Interval)
	}
}

// judgeMaps holds the maps of an ideal ring against it.
func (w *world) judgeMaps() {
	if !w.cfg.Maps || len(w.groups) != 1 {
		return
	}
	want := make([]invariant.Owned, len(w.ring))
	for k, i := range w.ring {
		v := w.hosts[i].view
		want[k] = invariant.Owned{By: v.Self, After: v.Arc.After, Epoch: v.Epoch}
	}
	for _, i := range w.ring {
		h := w.hosts[i]
		if h.ringMap == nil || h.view.Isolated {
			continue
		}
		var got []invariant.Owned
		for c := range h.ringMap.Snapshot().All() {
			got = append(got, invariant.Owned{By: c.Owner(), After: c.After, Epoch: c.Epoch})
		}
		if broken := invariant.MapOfTheRing(h.name, got, want); broken != "" {
			w.violate(invariant.MapIsTheRing, broken)
		}
	}
}

// mapProcesses is what a machine asks the map of its member, too.
func (w *world) mapProcesses(h *host) func() (int, bool) {
	if !w.cfg.Maps {
		return nil
	}
	return func() (int, bool) {
		if h.ringMap == nil {
			return 0, false
		}
		s := h.ringMap.Snapshot()
		return s.Processes(), s.Single()
	}
}
