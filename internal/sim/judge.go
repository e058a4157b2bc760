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
)

// maxWatched is up to how many members at the start it is noted who has heard of
// whom: the notes of a million would not fit.
const maxWatched = 4096

// steps are the rules that every step of a member of this run is judged by.
// Unless messages can be late or lost, nobody is taken for dead by mistake.
func (c Config) steps() []invariant.ChangeRule {
	var rules []invariant.ChangeRule
	if c.Members <= maxWatched {
		rules = append(rules, invariant.AskedFirst)
	}
	if c.nobodyMistaken() {
		rules = append(rules, invariant.NoTakeover, invariant.HeadKept)
	}
	if c.Takeover > 0 && c.Hostile == 0 {
		rules = append(rules, invariant.ReleasedFirst, invariant.ServedMeanwhile)
	}
	return append(rules, invariant.NewEpoch, invariant.LeaverAsked)
}

// nobodyMistaken reports whether no member is taken for dead while it lives.
func (c Config) nobodyMistaken() bool {
	return (c.Hostile == 0 || c.Identity) && c.Faults&^(Crash|Vanish|Clock|Joins|Leaves|Returns|Duplicate|Busy) == 0 && c.Split == 0 && c.Latency == (Latency{})
}

// judgesClaims reports whether it is judged by which epochs members claim. A hostile member
// may keep them from the others. Where processes crash, those that have heard of a claim may all
// be gone, which is known with maps.
func (w *world) judgesClaims() bool {
	c := &w.cfg
	return w.liars == nil && c.nobodyMistaken() && (c.Maps || !c.crashes()) && c.Start == "ideal" && c.Members <= maxWatched
}

// crashes reports whether faults end several processes at once.
func (c Config) crashes() bool { return c.Faults&(Crash|Vanish|Clock) != 0 }

// judgeClaim holds what a member claims against what others have claimed before.
func (w *world) judgeClaim(h *host) {
	if !w.judgesClaims() || !h.view.HasArc || h.view.Isolated {
		return
	}
	if broken := w.epochs.Claim(h.view, w.isMember); broken != "" {
		w.violate(invariant.EpochsRise, broken)
	}
}

// isMember reports whether that incarnation is a member now, and owns an arc.
func (w *world) isMember(x ring.Instance) bool {
	for _, i := range w.ring {
		if g := w.hosts[i]; g.view.Self.Instance() == x {
			return g.up && g.view.HasArc
		}
	}
	return false
}

// unheard has claims forgotten that no member that is left has heard of, when one has ended: it
// has none of them on its map, and its clock is not as far. Where no processes crash, there is
// always one that has.
func (w *world) unheard() {
	if !w.judgesClaims() || len(w.ring) > 0 && !w.cfg.crashes() {
		return
	}
	var clock uint64
	claimed := map[uint64]uint64{} // on maps, the greatest epoch of each identifier
	seen := map[*chart]bool{}
	for _, i := range w.ring {
		h := w.hosts[i]
		if clock = max(clock, h.m.State().Clock); h.ringMap != nil && !seen[h.chart] {
			seen[h.chart] = true
			for c := range h.ringMap.Snapshot().All() {
				claimed[c.ID] = max(claimed[c.ID], c.Epoch)
			}
		}
	}
	w.epochs.Left(func(by ring.Instance, epoch uint64) bool { return epoch <= max(clock, claimed[by.ID]) })
}

// judgeStep holds what a member has changed against the rules of steps.
func (w *world) judgeStep(h *host, old *protocol.View) {
	if w.liars != nil {
		if broken := invariant.OneAddress.Broken(invariant.Change{After: h.view}); broken != "" {
			w.violate(invariant.OneAddress.Name, broken)
		}
	}
	if h.view.Pred == old.Pred && h.view.Head() == old.Head() {
		return // whatever it has lost, it has gained nobody and nothing
	}
	step := invariant.Change{Before: old, After: h.view, Bidden: w.bidden, Entered: w.entering, Prepares: w.prepares,
		Answered: func(x ring.Member) bool { return h.heard[x.Instance()] },
		Lives: func(x ring.Member) bool {
			i := number(x.Addr)
			if i < 0 || int(i) >= len(w.hosts) {
				return false
			}
			g := w.hosts[i]
			return g.up && g.view.Self == x && g.view.Phase == protocol.Joined && g.hostile == nil
		},
	}
	for i := range w.steps {
		if broken := w.steps[i].Broken(step); broken != "" {
			w.violate(w.steps[i].Name, broken)
		}
	}
}

// holding is an arc that a member has held, and whom it had for its head, since a time.
type holding struct {
	since time.Duration
	arc   ring.Arc
	has   bool
	self  ring.Member
	head  ring.Member
}

// remembered is for how long it is known what a member has held: longer than any
// lookup takes and any confirmation answers lookups.
func (w *world) remembered() time.Duration {
	if w.cfg.Maps {
		return 2 * ringmap.Promised(w.cfg.Interval)
	}
	return routing.LookupTimeout + routing.MaxLease
}

// holds notes what a member holds now.
func (w *world) holds(h *host) {
	v := h.view
	now := holding{since: w.now, arc: v.Arc, has: v.HasArc && v.Serves(), self: v.Self, head: v.Head()}
	if n := len(h.held); n > 0 {
		last := h.held[n-1]
		if last.arc == now.arc && last.has == now.has && last.self == now.self && last.head == now.head {
			return
		}
		if n >= 8 && h.held[1].since < w.now-w.remembered() {
			h.held = h.held[:copy(h.held, h.held[1:])]
		}
	}
	h.held = append(h.held, now)
}

// said reports whether by said that the owner has the identifier at an instant from
// since on: of itself, or as the member before it.
func (w *world) said(by, owner ring.Member, id uint64, since time.Duration) bool {
	h := w.hosts[number(by.Addr)]
	if !h.up || h.view.Self != by {
		return true // what a process held that has ended is not known any more
	}
	for _, c := range slices.Backward(h.held) {
		switch {
		case c.self != by:
		case by == owner && (c.has && c.arc.Contains(id) || id == by.ID),
			by != owner && c.head == owner && (ring.Arc{After: by.ID, To: owner.ID}).Contains(id):
			return true
		}
		if c.since <= since {
			return false
		}
	}
	return false
}

// judgeNaming holds the owner that a lookup has named against what its program was
// promised. Right says that it is the owner now.
func (w *world) judgeNaming(h *host, l *lookup, a routing.Answer, right bool) {
	age := l.opts.MaxAge
	if age == 0 {
		age = w.lease(h)
	}
	naming := invariant.Naming{
		Fresh: l.opts.Fresh, Dated: a.HasArc, Age: a.Age, Promised: min(age, w.lease(h)),
		Strict: l.opts.MaxAge > 0, Took: w.now - l.began,
		Client: h.client != nil, Told: l.told,
		Rightful: right || l.owner >= 0 && w.hosts[l.owner].addr == a.Owner.Addr,
	}
	since := l.began
	if !l.opts.Fresh {
		since -= naming.Promised
	}
	naming.Claimed = w.said(a.Owner, a.Owner, l.id, since)
	if a.By.IsZero() {
		if a.By = h.self(); l.told || h.client != nil { // else by its own list
			a.By = a.Owner
		}
	}
	if !naming.Claimed && !l.opts.Fresh {
		naming.Claimed = w.said(a.By, a.Owner, l.id, since)
	}
	for i := range namings {
		if broken := namings[i].Broken(naming); broken != "" {
			w.violate(namings[i].Name, fmt.Sprintf("a lookup of %d at %s named %s, by %s, %v old, after %v: %s",
				l.id, h.name, a.Owner.Name, a.By.Name, a.Age, w.now-l.began, broken))
		}
	}
}

var namings = invariant.Namings()

// judgeAnswer holds a member's answer to a lookup against what its program was
// told that it holds.
func (w *world) judgeAnswer(h *host, id uint64, a *routing.Answer) {
	if h.client != nil {
		return // what it names, judgeNaming judges
	}
	v := h.view
	if a.Verdict == routing.Mine && id != h.id && !(v.HasArc && ring.Between(v.Arc.After, id, v.Arc.To)) {
		w.violate(invariant.AnswersForItsArc.Name, fmt.Sprintf("%s says that %d is its own, which is not on its arc", h.name, id))
	}
}

// judgeServing holds what a member does for lookups against the number of members that
// there have to be.
func (w *world) judgeServing(h *host, s invariant.Serving) {
	if s.MinMembers = w.cfg.MinMembers; s.MinMembers == 0 {
		return
	}
	for i := range servings {
		if broken := servings[i].Broken(s); broken != "" {
			w.violate(servings[i].Name, h.name+": "+broken)
		}
	}
}

var servings = invariant.Servings()

// judgeIsolated holds the members of ideal rings against the same rules.
func (w *world) judgeIsolated() {
	for _, i := range w.ring {
		if h := w.hosts[i]; h.home >= 0 {
			w.judgeServing(h, invariant.Serving{By: h.view, Members: w.processes(w.groups[h.home])})
		}
	}
}

// tooFew reports whether a member of an ideal ring has to be isolated. No client finds
// an owner in such a ring either.
func (w *world) tooFew(h *host) bool {
	return h.client == nil && h.home >= 0 && w.processes(w.groups[h.home]) < w.cfg.MinMembers
}

// processes is how many processes the members of a group are of.
func (w *world) processes(group []int32) int {
	if len(w.cfg.Identifiers) == 0 {
		return len(group)
	}
	names := map[string]bool{}
	for _, i := range group {
		names[w.hosts[i].of] = true
	}
	return len(names)
}

// heardHead is what the answer to a question about its head tells a member; nil if ev
// is no such answer, or says of the member what it has heard before.
func heardHead(h *host, ev protocol.Event) *protocol.State {
	a, ok := ev.(protocol.Answer)
	if !ok || a.Failure != nil {
		return nil
	}
	st := &a.Reply.State
	again := false
	if r := st.Replaced; r.Number != 0 && r.Who == h.view.Self.Instance() {
		n := note{st.Self.Instance(), r.Number}
		again, h.note = n == h.note, n
	}
	if again || h.m.Role(a.Call) != protocol.RoleStabilize {
		return nil
	}
	return st
}

// judgeHeard holds the use of such an answer against the rule of members that were
// replaced.
func (w *world) judgeHeard(h *host, old *protocol.View, heard *protocol.State, told bool) {
	if w.liars != nil && (!w.cfg.Identity || w.isHostile(heard.Self)) {
		return
	}
	if broken := invariant.Told.Broken(invariant.Change{Before: old, After: h.view, Heard: heard, Told: told}); broken != "" {
		w.violate(invariant.Told.Name, broken)
	}
}

// rangeChanged notes whose arc h has taken over, for judgeReplaced: of members that
// take h for the nearest after them. What a member is told of all of its range makes
// up for it. One that takes itself for a ring of one is left out.
func (w *world) rangeChanged(h *host, e protocol.RangeChanged) {
	w.standsIn(h, e)
	w.story.add(w, "%s: range %v, %v", h.name, e.New, e.Cause)
	if e.Again || !e.HadOld {
		h.replaced = ring.Member{}
	}
	if !e.HasNew || !e.HadOld || e.New.Whole() {
		return
	}
	for _, a := range e.New.Minus(e.Old) {
		for k := range w.ring {
			g := w.hosts[w.ring[(w.at(a.After+1)+k)%len(w.ring)]]
			if !a.Contains(g.id) || k > 0 && g.id == a.After {
				break
			}
			// One that knows already was told. H tells its own program later if it was
			// isolated.
			if g != h && g.view.HasArc && !g.view.Replaced && g.view.Head() == h.view.Self {
				w.story.add(w, "%s has taken over the arc of %s", h.name, g.name)
				g.replaced = h.view.Self
			}
		}
	}
}

// judgeReplaced holds the members of an ideal ring against the same rule: whoever
// was replaced knows by now, whichever answer has told it. That is not so if the one
// that has taken over is gone, or joiners stand between; and a lost answer of a
// member that took over twice may have been the only one to say so.
func (w *world) judgeReplaced() {
	if w.liars != nil || w.cfg.Lease > 0 || w.cfg.Faults&^(Pause|Cut|OneWay|Slow|Links|Reorder|Duplicate) != 0 || w.cfg.Sessions.Mean > 0 || w.cfg.Start != "ideal" {
		return
	}
	for _, i := range w.ring {
		if h := w.hosts[i]; !h.replaced.IsZero() {
			w.violate(invariant.Told.Name, fmt.Sprintf("%s has taken over the arc of %s, whose program was never told", h.replaced.Name, h.name))
		}
	}
}

// hung notes that the step of h that begins is the first after it has hung.
func (w *world) hung(h *host) {
	if now := h.ticks.shows(w.now); h.view.Phase == protocol.Joined && protocol.Overdue(h.due, now, w.cfg.Interval) {
		h.due = 0
		h.wakes.Woken(w.now)
	}
}

// named notes that another has answered h, which has asked it at that time. A head
// that h takes by this answer has not been its head before.
func (w *world) named(h *host, st *protocol.State, asked time.Duration) {
	w.hung(h)
	h.saidBy, h.saidAt = st, asked
}

// judgeDoubt holds a step of h against the rule of members that have hung.
func (w *world) judgeDoubt(h *host) {
	if h.saidBy != nil {
		h.wakes.Named(h.view, h.saidBy, h.saidAt)
		h.saidBy = nil
	}
	if broken := h.wakes.Step(h.view); broken != "" && h.hostile == nil {
		w.violate(invariant.DoubtsAfterHang, broken)
	}
}
