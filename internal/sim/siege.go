package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// The siege comes after the faults: only the hostile members go on. The honest ones must
// stand right among themselves within the bound, and stay so, and lookups of theirs are
// judged by what must hold all the same. Then the hostile processes end, and what is
// left must heal as after any fault.

// SiegeResult is what came of a siege.
type SiegeResult struct {
	// Rounds is after how many no honest member skipped another.
	Rounds float64 `json:"rounds"`
	// Looks is how often the honest members were looked at after that, and Skipping at
	// how many of these moments one of them skipped another.
	Looks    int `json:"looks"`
	Skipping int `json:"skipping"`
	// Lost is how many honest members were in the ring no longer at the end.
	Lost int `json:"lost"`
	// Lies and Refused are messages: those that hostile members sent of their own
	// accord, and those of theirs that were refused as in another's name, in the whole run.
	Lies    int `json:"lies"`
	Refused int `json:"refused"`
	// Lookups, by what they wanted.
	Plain    LookupCount `json:"plain"`
	Fresh    LookupCount `json:"fresh"`
	Verified LookupCount `json:"verified"`
}

// add adds what came of another siege.
func (s *SiegeResult) add(o *SiegeResult) {
	s.Rounds = max(s.Rounds, o.Rounds)
	s.Looks += o.Looks
	s.Skipping += o.Skipping
	s.Lost += o.Lost
	s.Lies += o.Lies
	s.Refused += o.Refused
	s.Plain.add(o.Plain)
	s.Fresh.add(o.Fresh)
	s.Verified.add(o.Verified)
}

// add adds other lookups.
func (n *LookupCount) add(o LookupCount) {
	n.Count += o.Count
	n.Errors += o.Errors
	n.Wrong += o.Wrong
	n.Hops += o.Hops
	n.Silent += o.Silent
	n.MostHops = max(n.MostHops, o.MostHops)
	n.Slowest = max(n.Slowest, o.Slowest)
}

// siege is where a run stands in it.
type siege struct {
	on      bool
	over    bool // the hostile processes have ended
	settled bool
	// since is, once it has settled, who skips another, and since when it was seen to.
	since map[ring.Instance]time.Duration
	// skippedAt is when one was last seen to skip another.
	skippedAt time.Duration
	result    SiegeResult
}

// besiege lets hostile members go on after the faults.
func (w *world) besiege() {
	if w.cfg.Hostile == 0 {
		return
	}
	s := &w.siege
	s.on, s.result.Rounds = true, -1
	stop := func() bool { return len(w.result.Violations) > 0 }
	for round := 0; !stop() && !s.settled; round++ {
		w.run(w.now+w.cfg.Interval, stop)
		skips := w.skips()
		switch {
		case len(skips) == 0 && round > w.lateRounds():
			s.settled, s.result.Rounds = true, float64(round)
		case round > w.cfg.Bound+w.lateRounds():
			if !w.cfg.Identity {
				s.settled = true // nothing is promised
				break
			}
			w.violate(invariant.HonestNeighbours, fmt.Sprintf("%d rounds after the faults: %s", round, skips[0].How))
		}
	}
	for range 10 {
		w.underSiege(stop)
	}
	for i := range 3 * w.cfg.Members {
		if h := w.honestAsker(); h != nil {
			w.lookUp(h, w.load.Uint64(), w.besiegedOptions(i))
		}
		if i%w.cfg.Members == 0 {
			w.underSiege(stop)
		}
	}
	for at := w.now + routing.LookupTimeout; w.now < at && !stop(); {
		w.underSiege(stop)
	}
	w.overdue()
	w.raise()
}

// lateRounds is in how many rounds the time-outs of the faults are over.
func (w *world) lateRounds() int {
	if w.result.Faults == 0 {
		return 0
	}
	return int(lateFaults / w.cfg.Interval)
}

// recovery is for how long an honest member may skip another in a siege: its head has
// emptied its list and then been in no ring, and it asks one member after the other,
// all round the circle, to find the one after it. Each further identifier of a hostile process
// may cost it a time-out.
func (w *world) recovery() time.Duration {
	further := 0
	for _, i := range w.liars {
		if h := w.hosts[i]; h != h.first() {
			further++
		}
	}
	return w.cfg.Interval + time.Duration(w.cfg.Members)*50*time.Millisecond + time.Duration(further)*peer.MinTimeout
}

// underSiege lets a round pass.
func (w *world) underSiege(stop func() bool) {
	for range looks {
		if stop() {
			return
		}
		w.run(w.now+w.cfg.Interval/looks, stop)
		w.siege.look(w)
	}
}

// look looks at who skips another now. Each is judged by its own time: one may find its
// place again while another loses its own.
func (s *siege) look(w *world) {
	skips := w.skips()
	since := map[ring.Instance]time.Duration{}
	if s.result.Looks++; len(skips) > 0 {
		s.result.Skipping++
		s.skippedAt = w.now
	}
	for _, x := range skips {
		who := x.By.Instance()
		from, before := s.since[who]
		if !before {
			from = w.now
		}
		since[who] = from
		if w.now-from > w.recovery() && w.cfg.Identity {
			w.violate(invariant.HonestNeighbours, fmt.Sprintf("for %v in a siege that had settled: %s", w.now-from, x.How))
		}
	}
	s.since = since
}

// looks is how often in a round of the siege the honest members are looked at.
const looks = 10

// besiegedOptions are those of lookup i of the siege.
func (w *world) besiegedOptions(i int) routing.Options {
	switch i % 3 {
	case 0:
		return routing.Options{Fresh: true}
	case 1:
		return w.verified()
	}
	return routing.Options{}
}

// honestAsker draws an honest member or a client.
func (w *world) honestAsker() *host {
	for range 100 {
		if h := w.asker(); h.hostile == nil {
			return h
		}
	}
	return nil
}

// raise ends the hostile processes, and the siege.
func (w *world) raise() {
	s := &w.siege
	for _, h := range w.hosts[:w.cfg.Members] {
		if h.hostile == nil && h.up && h.view.Phase == protocol.Superseded {
			s.result.Lost++
		}
	}
	for _, f := range w.faults {
		w.end(f)
	}
	for _, i := range w.liars {
		w.stop(w.hosts[i], false)
	}
	s.on, s.over = false, true
	s.result.Lies, s.result.Refused = w.count.lies, w.count.refused
	w.result.Siege = &s.result
	w.disturbed = true
}

// skips are the honest members that skip another now.
func (w *world) skips() []invariant.Skip {
	s := invariant.Siege{Hostile: w.isHostile}
	for _, i := range w.ring {
		v := w.hosts[i].view
		s.Members = append(s.Members, protocol.State{Self: v.Self, Phase: v.Phase, Pred: v.Pred, Succ: v.Succ})
	}
	return s.Skips()
}

// judgePlace holds a change of an honest member against the rule that its place is its own.
func (w *world) judgePlace(h *host, old *protocol.View) {
	if w.liars == nil || !w.cfg.Identity {
		return
	}
	if slices.ContainsFunc(w.hosts, func(g *host) bool { return g != h && g.id == h.id }) {
		return
	}
	if broken := invariant.KeepsItsPlace.Broken(invariant.Change{Before: old, After: h.view}); broken != "" {
		w.violate(invariant.KeepsItsPlace.Name, broken)
	}
}

// testify judges a lookup of an honest process while there are hostile members.
func (w *world) testify(h *host, l *lookup, how outcome, a routing.Answer) {
	r := &w.siege.result
	n := &r.Plain
	switch {
	case l.opts.Verified:
		n = &r.Verified
	case l.opts.Fresh:
		n = &r.Fresh
	}
	t := invariant.Testimony{
		Failed: how != found, Fresh: l.opts.Fresh, Verified: l.opts.Verified, Settled: w.siege.settled && w.siege.on && l.settled && w.siege.skippedAt < l.began,
		Exists: true, Misled: w.misled(h, l, a),
	}
	t.AllWays, t.Alone = true, true
	for _, way := range l.search.Ways(a.Owner) {
		misled, byOther := w.misledWay(h, way, a.Owner)
		t.AllWays, t.Alone = t.AllWays && misled, t.Alone && !byOther
	}
	if how == found {
		x := a.Owner
		t.Exists, t.Hostile = w.lived(x), w.isHostile(x)
		if t.Exists {
			t.Right = w.rightful(l.id, x) || l.owner >= 0 && w.hosts[l.owner].addr == x.Addr
			t.Held = w.said(x, x, l.id, l.began)
			t.Right = t.Right || (t.Held || !t.Fresh && !t.Verified) && !t.Hostile && w.firstHonest(l.id, x)
		}
		t.Over = w.over(h, l, x)
	}
	if t.Settled {
		n.Count++
		if t.Failed {
			n.Errors++
		} else if !t.Right {
			n.Wrong++
		}
		hops := len(l.search.Questions())
		n.Hops += hops
		n.MostHops, n.Slowest = max(n.MostHops, hops), max(n.Slowest, w.now-l.began)
	}
	if !w.cfg.Identity || how != found && h.client != nil && !w.wayIn(h.client) {
		return
	}
	for i := range testimonies {
		broken := testimonies[i].Broken(t)
		if broken != "" && t.Settled && len(w.skips()) > 0 {
			t.Settled = false // none had been seen to, until now
			broken = testimonies[i].Broken(t)
		}
		if broken != "" {
			w.violate(testimonies[i].Name, fmt.Sprintf("a lookup of %d at %s (%s) named %q: %s", l.id, h.name, outcomeNames[how], a.Owner.Name, broken))
		}
	}
}

var testimonies = invariant.Testimonies()

// firstHonest reports whether only hostile members stand at an identifier or between it and x:
// the honest ones may not take these for members yet, or may just have begun to.
func (w *world) firstHonest(id uint64, x ring.Member) bool {
	return !slices.ContainsFunc(w.ring, func(i int32) bool {
		h := w.hosts[i]
		return h.hostile == nil && h.inRing() && h.id-id < x.ID-id
	})
}

// over reports whether an honest member stands at the key of a lookup, or between it and
// the owner found, that the process knew when it began to search.
func (w *world) over(h *host, l *lookup, owner ring.Member) bool {
	t := l.search.Table()
	if t == nil {
		return false
	}
	failed := func(x ring.Member) bool {
		return slices.ContainsFunc(l.search.Questions(), func(q routing.Question) bool { return q.Whom == x && q.State != routing.Answered })
	}
	for _, x := range slices.Concat(t.Succ, []ring.Member{t.Pred}, t.Others) {
		i := number(x.Addr)
		if x.IsZero() || i < 0 || x.ID-l.id >= owner.ID-l.id || h.suspects.Avoided(x, w.now) || failed(x) {
			continue
		}
		if y := w.hosts[i]; y.hostile == nil && y.inRing() && y.self() == x {
			return true
		}
	}
	return false
}

// misled reports whether a hostile member has answered a lookup, or stands between the
// member by whose list the owner was named and the owner.
func (w *world) misled(h *host, l *lookup, a routing.Answer) bool {
	for _, q := range l.search.Questions() {
		if w.isAt(q.Whom) {
			return true
		}
	}
	by := a.By
	if by.IsZero() {
		by = h.self()
	}
	return w.isAt(by) || w.isAt(a.Owner) || w.liarBetween(by, a.Owner)
}

// misledWay is misled of one way of a verified lookup. ByOther says that another than the
// owner that is named has misled it.
func (w *world) misledWay(h *host, way []routing.Question, owner ring.Member) (misled, byOther bool) {
	by := h.self()
	for _, q := range way {
		if w.isAt(q.Whom) {
			misled, byOther = true, byOther || !w.oneProcess(q.Whom, owner)
		}
		if q.State == routing.Answered {
			by = q.Whom
		}
	}
	if w.liarBetween(by, owner) { // perhaps another identifier of the owner's own process
		return true, byOther || !w.oneProcess(by, owner)
	}
	return misled, byOther
}

// liarBetween reports whether a hostile member stands between the one by whom an owner was
// named and the owner.
func (w *world) liarBetween(by, owner ring.Member) bool {
	return by.ID != owner.ID && slices.ContainsFunc(w.liars, func(i int32) bool { return ring.Between(by.ID, w.hosts[i].id, owner.ID) })
}

// oneProcess reports whether the hosts at the addresses of two members are of one process.
func (w *world) oneProcess(x, y ring.Member) bool {
	i, j := number(x.Addr), number(y.Addr)
	return i >= 0 && j >= 0 && int(i) < len(w.hosts) && int(j) < len(w.hosts) && w.hosts[i].chart == w.hosts[j].chart
}

// isAt reports whether a hostile process is at the address of x, whoever x is.
func (w *world) isAt(x ring.Member) bool {
	i := number(x.Addr)
	return i >= 0 && int(i) < len(w.hosts) && w.hosts[i].hostile != nil
}
