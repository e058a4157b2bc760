package sim

import (
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/voting"
)

// LeaseResult is what became of the leases of a run.
type LeaseResult struct {
	// TwoOwners is the longest time for which two members may have owned one point, as
	// far as their leases go.
	TwoOwners time.Duration `json:"two_owner_ns_max"`
	// NoOwner are the times for which a point had no owner, by the kind of the fault that
	// was made last before. There are points of the circle that are looked at, every
	// hundredth of an interval.
	NoOwner map[string][]time.Duration `json:"-"`
	// Torn: without MinMembers, more members have failed at once than a list names. After
	// one has lost its whole list, a member has taken another for its predecessor, though
	// members between live, or thinks that it is alone. What it has for its arc may have two
	// owners then, until the ring has stood right for two leases.
	Torn bool `json:"torn"`
}

// probes is how many points of the circle are looked at for an owner.
const probes = 8

// owners are the leases of the members of a run, as times of the run.
type owners struct {
	invariant.Owners
	since [probes]time.Duration // when the point was without an owner first, -1 if it has one
	why   [probes]string
	last  string        // the kind of the fault made last
	crowd time.Duration // when there were more processes last than MinMembers is for, 0 for never
	lost  bool          // a member has lost its whole list, and the ring has not stood right since
	right time.Duration // since when the ring stands right, if a list was lost; -1: it does not
	found LeaseResult
}

// drop notes that a process has ended.
func (o *owners) drop(host int32) { o.Owners.Drop(int(host)) }

// inTime is what h shows, with times of the run.
func (w *world) inTime(h *host, v *protocol.View) *protocol.View {
	if h.ticks == (monotonic{}) {
		return v
	}
	out := *v
	if v.Certain >= 0 {
		out.Certain = min(w.now, h.ticks.when(v.Certain))
	}
	if v.Answered >= 0 {
		out.Answered = min(w.now, h.ticks.when(v.Answered))
	}
	return &out
}

// beginVotes begins the votes of the process of h, if h is the first of it to start. If it
// stands in a ring from the start, it has run for long.
func (w *world) beginVotes(h *host, stands bool) {
	if slices.ContainsFunc(h.chart.hosts, func(g *host) bool { return g != h && g.up }) {
		return
	}
	now := h.ticks.shows(w.now)
	since := now
	if stands {
		since -= w.cfg.Lease
	}
	h.chart.votes = w.machine(h).NewVotes(h.of, since, now)
}

// judgeVotes holds the votes of the process of h, which has just cast some, against their rule.
func (w *world) judgeVotes(h *host, cast []voting.Vote) {
	if len(cast) == 0 {
		return
	}
	if broken := invariant.OneVoteEach(h.chart.votes.Cast(h.ticks.shows(w.now))); broken != "" {
		w.violate(invariant.OneVote, h.name+" "+broken)
	}
}

// leaseAtStart shows what a member owns that stands in a ring from the start.
func (w *world) leaseAtStart(h *host) {
	if w.cfg.Lease > 0 && h.chart.votes == nil && h.view.HasArc && !h.view.Isolated {
		h.view.Leased, h.view.Holds, h.view.Held = true, true, h.view.Arc
		h.view.Until = h.ticks.shows(w.now) + w.cfg.Lease*9/10
		w.judgeOwning(h)
	}
}

// judgeOwning holds what h owns from now on against the rule of leases.
func (w *world) judgeOwning(h *host) {
	if w.cfg.Lease == 0 || !h.up || w.quiet && len(w.result.Violations) > 0 {
		return
	}
	v := h.view
	lease := invariant.Leasehold{By: v.Self, Until: w.whenUntil(h, v.Until)}
	if v.Holds && v.Claims() && !v.Doubts {
		lease.Arc, lease.Has = v.Held, true
	}
	if was := w.owners.Of(int(h.index)); was.Has != lease.Has || was.Arc != lease.Arc {
		w.story.add(w, "%s owns %v by its lease", h.name, lease)
	}
	w.tears(h)
	two, broken := w.owners.Own(int(h.index), lease, w.now)
	if w.promised(h) && broken != "" {
		w.owners.found.TwoOwners = max(w.owners.found.TwoOwners, two)
		w.violate(invariant.OneOwnerAtATime, broken)
	}
}

// judgeOwned waits until the members of an ideal ring have to own all of it: processes that have
// started vote after a lease, by which time all other votes have run out, and waits are over.
func (w *world) judgeOwned() {
	if w.cfg.Lease == 0 || w.liars != nil {
		return
	}
	w.watch(max(0, w.quietAt+3*w.cfg.Lease+lateFaults-w.now))
	for _, i := range w.ring {
		h := w.hosts[i]
		if what := invariant.Unowned(h.view, h.ticks.shows(w.now)); what != "" && !w.tooFew(h) {
			w.violate(invariant.OwnedInTheEnd, h.name+" "+what)
		}
	}
}

// promised reports whether leases promise one owner now, when h has changed.
func (w *world) promised(h *host) bool {
	o := &w.owners
	if w.cfg.MinMembers < 2 {
		return true
	}
	if w.lives() > 2*w.cfg.MinMembers-1 {
		o.crowd = w.now // there may be enough members on both sides of a cut
	}
	return o.crowd == 0 || w.now-o.crowd > 2*w.cfg.Lease
}

// lives is how many processes live. Two of one name are two: those on the two sides of a cut
// may each know one of them.
func (w *world) lives() int {
	of := map[*chart]bool{}
	for _, i := range w.ring {
		of[w.hosts[i].chart] = true
	}
	return len(of)
}

// whenUntil is the time of the run at which a lease of h ends.
func (w *world) whenUntil(h *host, until time.Duration) time.Duration {
	if until > w.now+1000*time.Hour {
		return until
	}
	return h.ticks.when(until)
}

// tears notes what may have two owners from now on, because h takes a member for its
// predecessor that has come past others which live, or thinks that it is alone. It does so
// only after some member has lost its whole list.
func (w *world) tears(h *host) {
	v, o := h.view, &w.owners
	if w.cfg.MinMembers > 1 || v.Phase != protocol.Joined {
		return
	}
	if len(v.Succ) == 0 {
		o.lost, o.right = true, -1
	}
	was := h.before
	h.before = v.Pred
	if o.lost && v.HasArc && (v.Alone || v.Pred != was) && w.passes(v.Arc) {
		o.Tear(v.Arc)
		o.found.Torn = true
	}
}

// passes reports whether a member lives within an arc, and not at its end.
func (w *world) passes(a ring.Arc) bool {
	return slices.ContainsFunc(w.ring, func(i int32) bool {
		x := w.hosts[i]
		return x.id != a.To && a.Contains(x.id) && x.inRing() && w.now >= x.wake
	})
}

// mends notes for how long a ring stands right in which a list was lost.
func (w *world) mends() {
	o := &w.owners
	switch {
	case !o.lost:
	case !w.standsRight():
		o.right = -1
	case o.right < 0:
		o.right = w.now
	case w.now-o.right > 2*w.cfg.Lease:
		o.lost = false
		o.Mend()
	}
}

// standsRight reports whether all members that live point at their neighbours, and none
// hangs.
func (w *world) standsRight() bool {
	for i, at := range w.ring {
		h, next := w.hosts[at], w.hosts[w.ring[(i+1)%len(w.ring)]]
		if w.now < h.wake || h.view.Phase != protocol.Joined || h != next && (h.view.Head() != next.view.Self || next.view.Pred != h.view.Self) {
			return false
		}
	}
	return true
}

// look looks which of the points have an owner.
func (w *world) look() {
	w.mends()
	o := &w.owners
	for i := range o.since {
		id := mix(w.seed + uint64(i)<<32)
		owned := o.At(id, w.now)
		switch {
		case owned && o.since[i] >= 0:
			if o.found.NoOwner == nil {
				o.found.NoOwner = map[string][]time.Duration{}
			}
			o.found.NoOwner[o.why[i]] = append(o.found.NoOwner[o.why[i]], w.now-o.since[i])
			o.since[i] = -1
		case !owned && o.since[i] < 0:
			o.since[i], o.why[i] = w.now, o.last
		}
	}
	w.queue.Push(w.now+w.cfg.Interval/100, event{kind: evLook, host: -1})
}

// watchLeases begins to look.
func (w *world) watchLeases() {
	for i := range w.owners.since {
		w.owners.since[i] = -1
	}
	w.owners.last = "start"
	if w.cfg.Lease > 0 {
		w.look()
	}
}

// Percentile is the value below which that share of the values lies; 0 if there are none.
func Percentile[T float64 | time.Duration](values []T, share float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}
