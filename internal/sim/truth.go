package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// at is where in w.ring an identifier belongs.
func (w *world) at(id uint64) int {
	i, _ := slices.BinarySearchFunc(w.ring, id, func(k int32, id uint64) int { return cmp.Compare(w.hosts[k].id, id) })
	return i
}

// enrol notes that h is a member, if it is.
func (w *world) enrol(h *host) {
	if h.inRing() {
		w.ring = slices.Insert(w.ring, w.at(h.id), h.index)
	}
}

// strike notes that h is one no longer.
func (w *world) strike(h *host) {
	for i := w.at(h.id); i < len(w.ring) && w.hosts[w.ring[i]].id == h.id; i++ {
		if w.ring[i] == h.index {
			w.ring = slices.Delete(w.ring, i, i+1)
			return
		}
	}
}

// owner is the first member that lives at or after an identifier.
func (w *world) owner(id uint64) *host {
	return w.hosts[w.ring[w.at(id)%len(w.ring)]]
}

// cost is how many members l has asked, and how many of them have not answered. Memory
// asks nobody.
func (l *lookup) cost() (hops, silent int) {
	if !l.asks {
		return 0, 0
	}
	for _, q := range l.search.Questions() {
		if hops++; q.State != routing.Answered {
			silent++
		}
	}
	return hops, silent
}

// judge compares what a lookup found with the truth of this moment.
func (w *world) judge(h *host, l *lookup, how outcome, a routing.Answer) {
	r := w.result
	n := &r.Lookups
	if w.afterIdeal {
		n = &r.After
	}
	n.Count++
	hops, silent := l.cost()
	n.Hops += hops
	n.Silent += silent
	n.MostHops = max(n.MostHops, hops)
	n.Slowest = max(n.Slowest, w.now-l.began)
	w.mix(l.id, uint64(how), uint64(hops))
	if w.now > max(l.end, h.wake) {
		w.violate("lookups-end", fmt.Sprintf("a lookup at %s took %v", h.name, w.now-l.began))
	}
	if hops > 256 {
		w.violate("lookups-end", fmt.Sprintf("a lookup at %s asked %d members", h.name, hops))
	}
	if w.liars != nil && !w.afterIdeal {
		if h.hostile == nil {
			w.testify(h, l, how, a)
		}
		return
	}
	if h.client == nil && l.view == h.view {
		w.judgeServing(h, invariant.Serving{By: l.view, Answers: how == found})
	}
	if how != found {
		n.Errors++
		if how == errOutside && w.tooFew(h) {
			return // nor may it name anybody
		}
		if how == errUnverified && len(w.cfg.Identifiers) > 0 {
			return // of few processes there may be none that was not asked on the first way
		}
		if w.afterIdeal && (h.client == nil || w.wayIn(h.client)) {
			w.violate("ideal-lookups", fmt.Sprintf("a lookup of %d at %s failed: %s", l.id, h.name, outcomeNames[how]))
		}
		return
	}
	if w.asked != nil {
		w.asked = append(w.asked, hops-silent)
	}
	if !w.lived(a.Owner) {
		w.violate("no-phantoms", fmt.Sprintf("a lookup at %s named %v, who never was", h.name, a.Owner))
		return
	}
	if g := w.hosts[number(a.Owner.Addr)]; h.client == nil && g.up && g.m.Self() == a.Owner && !w.akin(h, g) {
		w.violate(invariant.RingsApart.Name, fmt.Sprintf("a lookup at %s named %s, which is in another ring", h.name, a.Owner.Name))
	}
	right := w.rightful(l.id, a.Owner)
	w.judgeNaming(h, l, a, right)
	if right {
		return
	}
	n.Wrong++
	if w.afterIdeal {
		w.violate("ideal-lookups", fmt.Sprintf("a lookup of %d at %s named %s", l.id, h.name, a.Owner.Name))
	}
}

// rightful reports whether x may be named as the owner now.
func (w *world) rightful(id uint64, x ring.Member) bool {
	h := w.hosts[number(x.Addr)]
	if w.afterIdeal {
		g := w.groupOwner(h, id)
		return g == h && h.view.Self == x
	}
	if !h.inRing() || h.view.Self != x {
		return false
	}
	return w.owner(id).id == h.id || h.view.HasArc && h.view.Arc.Contains(id)
}

// groupOwner is the owner of an identifier in the ring of h.
func (w *world) groupOwner(h *host, id uint64) *host {
	if h.home < 0 {
		return nil
	}
	g := w.groups[h.home]
	i, _ := slices.BinarySearchFunc(g, id, func(k int32, id uint64) int { return cmp.Compare(w.hosts[k].id, id) })
	return w.hosts[g[i%len(g)]]
}

// acquainted is that a process knew of another at some time since the faults
// ended: hosts, and which of their starts.
type acquainted struct {
	who, of      int32
	whose, which uint32
}

// reachable reports whether a process runs at h from which a way may lead to
// others: one that is superseded is out for good.
func (h *host) reachable() bool {
	return h.up && h.client == nil && h.view.Phase != protocol.Superseded
}

// group finds out which members should be one ring: those that know, or are
// known by, each other, directly or through others, or did so at an earlier time
// since the faults ended: to forget each other does not excuse them. Who knows
// an address knows whoever is there.
func (w *world) group() {
	w.regroup = false
	w.groupsAt = w.now
	leaders := w.acquaint()
	// Members in the order of the circle, so that groups are, too.
	order := make([]int32, 0, len(w.ring))
	for _, h := range w.hosts {
		if h.reachable() {
			order = append(order, h.index)
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(w.hosts[a].id, w.hosts[b].id), cmp.Compare(b, a))
	})
	home := make([]int32, len(w.hosts)) // of a leader, from 1
	w.groups = nil
	for _, i := range order {
		l := leaders.of(i)
		if home[l] == 0 {
			w.groups = append(w.groups, nil)
			home[l] = int32(len(w.groups))
		}
		w.enter(home[l]-1, w.hosts[i])
	}
	w.off = 0
	for _, i := range order {
		h := w.hosts[i]
		if h.right = w.stood(h); !h.right {
			w.off++
		}
	}
}

// leaders are groups of hosts, as the sets of union-find: the leader of each is its own.
type leaders []int32

func (l leaders) of(i int32) int32 {
	for l[i] != i {
		l[i] = l[l[i]]
		i = l[i]
	}
	return i
}

// acquaint finds out who knows, or knew, whom.
func (w *world) acquaint() leaders {
	l := make(leaders, len(w.hosts))
	for i := range l {
		l[i] = int32(i)
	}
	w.known = slices.DeleteFunc(w.known, func(a acquainted) bool {
		g, h := w.hosts[a.who], w.hosts[a.of]
		return g.starts != a.whose || h.starts != a.which || !g.reachable() || !h.reachable() || !w.akin(g, h)
	})
	for _, a := range w.known {
		l[l.of(a.who)] = l.of(a.of)
	}
	for _, h := range w.hosts {
		h.home, h.right = -1, true
		if !h.reachable() {
			continue
		}
		for _, x := range h.m.Knows() {
			w.knows(l, h, x.Addr)
		}
		for _, addr := range h.join.via {
			w.knows(l, h, addr)
		}
	}
	return l
}

// knows notes that h knows an address.
func (w *world) knows(l leaders, h *host, addr string) {
	if k := number(addr); k >= 0 && int(k) < len(w.hosts) && w.hosts[k].up {
		w.meets(l, h, w.hosts[k])
	}
	if addr == vip { // it leads to everybody in time
		for _, g := range w.hosts {
			if g.reachable() {
				w.meets(l, h, g)
			}
		}
	}
}

// akin reports whether g and h may be in one ring. All may, unless the rings of the start
// have nothing in common.
func (w *world) akin(g, h *host) bool {
	return w.cfg.Start != strangers || g.view == nil || h.view == nil || g.view.Origin.Kin(h.view.Origin)
}

// meets notes that h and g are of one group, if that is new.
func (w *world) meets(l leaders, h, g *host) {
	if !w.akin(g, h) {
		return
	}
	if a, b := l.of(h.index), l.of(g.index); a != b {
		l[a] = b
		w.known = append(w.known, acquainted{h.index, g.index, h.starts, g.starts})
	}
}

// enter adds h to a group, to which it comes in the order of the circle.
func (w *world) enter(group int32, h *host) {
	g := &w.groups[group]
	if n := len(*g); n > 0 && w.hosts[(*g)[n-1]].id == h.id {
		// Two of one name: the later incarnation stays, the other has to yield.
		last := w.hosts[(*g)[n-1]]
		if !h.m.Self().Supersedes(last.m.Self()) {
			return
		}
		last.home = -1
		(*g)[n-1] = h.index
	} else {
		*g = append(*g, h.index)
	}
	h.home, h.place = group, int32(len(*g)-1)
}

// stands notes whether h stands as it should by now.
func (w *world) stands(h *host) {
	if w.regroup || h.home < 0 {
		return
	}
	now := w.stood(h)
	switch {
	case now && !h.right:
		w.off--
	case !now && h.right:
		w.off++
	}
	h.right = now
}

// stood reports whether every pointer of h is exactly right.
func (w *world) stood(h *host) bool {
	if h.home < 0 || h.view.Phase != protocol.Joined {
		return false
	}
	g := w.groups[h.home]
	n := len(g)
	at := int(h.place)
	v := h.view
	if len(w.cfg.Identifiers) > 0 {
		if !slices.Equal(v.Succ, w.following(g, at)) {
			return false
		}
	} else if len(v.Succ) != min(w.cfg.Successors, n-1) {
		return false
	}
	for i, s := range v.Succ {
		if s != w.hosts[g[(at+1+i)%n]].view.Self {
			return false
		}
	}
	if n == 1 {
		return v.Pred.IsZero()
	}
	return v.Pred == w.hosts[g[(at+n-1)%n]].view.Self
}

// following is the right list of the member at a place of a group, of processes that may
// stand at several identifiers.
func (w *world) following(g []int32, at int) []ring.Member {
	n := len(g)
	list := make([]ring.Member, 0, n-1)
	for i := 1; i < n; i++ {
		list = append(list, w.hosts[g[(at+i)%n]].view.Self)
	}
	return protocol.Cut(w.hosts[g[at]].view.Self, w.cfg.Successors, list)
}

// isIdeal reports whether every member stands as it should.
func (w *world) isIdeal() bool {
	if w.regroup || w.off > 0 && len(w.groups) > 1 && w.now-w.groupsAt > 5*w.cfg.Interval {
		w.group()
	}
	return w.off == 0 && !w.comes()
}

// wrong says what is not right yet, of a few members.
func (w *world) wrong() string {
	var out []string
	for _, h := range w.hosts {
		if !h.up || h.right {
			continue
		}
		if len(out) == 3 {
			out = append(out, fmt.Sprintf("and %d more", w.off-3))
			break
		}
		out = append(out, fmt.Sprintf("%s (%v) %s", h.name, h.view.Phase, pointers(h.view)))
	}
	return strings.Join(out, "; ")
}

func pointers(v *protocol.View) string {
	var b strings.Builder
	b.WriteString("predecessor ")
	if v.Pred.IsZero() {
		b.WriteString("none")
	} else {
		b.WriteString(v.Pred.Name)
	}
	b.WriteString(", successors")
	for _, s := range v.Succ {
		b.WriteString(" " + s.Name)
	}
	if len(v.Succ) == 0 {
		b.WriteString(" none")
	}
	return b.String()
}
