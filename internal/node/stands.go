package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/balance"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/standing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/shared"
)

// This file has what a process at several identifiers does besides its members: it enters
// the ring at the first, learns who stands where, chooses the others, and joins with each of
// them through itself. Package balance chooses.

// maxPages bounds the questions for who stands where.
const maxPages = 1024

// identities is what a process has besides the Node of each of its identifiers. Package
// standing decides when these come and go.
type identities struct {
	hub      *shared.Hub   // nil: it can stand at one only
	wake     chan struct{} // holds a value if there may be something to do
	mu       sync.Mutex    // guards all below, and who writes stands
	standing *standing.Standing
	runs     bool          // stand does
	moved    chan struct{} // closed at the next change of stands or of what is below
	err      error         // why it does not stand as wanted, as of the last attempt
	refused  bool          // it was to drain, and nobody else holds the ring
	ended    bool          // no identifier comes any more
	// former are the variants of where the process stood last, by slots, before a restart
	// or a change of its weight: it stands there again if it can.
	former []uint8
}

// stands is where a process stands: the first, and those of the others that are in the ring.
// It is never modified.
type stands struct {
	first *Node
	nodes []*Node // in the order of their identifiers, which are ids
	ids   []uint64
}

func newStands(first *Node, nodes []*Node) *stands {
	s := &stands{first: first, nodes: slices.Clone(nodes)}
	slices.SortFunc(s.nodes, func(a, b *Node) int { return cmp.Compare(a.cfg.Self.ID, b.cfg.Self.ID) })
	for _, n := range s.nodes {
		s.ids = append(s.ids, n.cfg.Self.ID)
	}
	return s
}

// at is the Node whose arc has the point, if that of any has.
func (s *stands) at(id uint64) *Node {
	i, _ := slices.BinarySearch(s.ids, id)
	if i == len(s.ids) {
		i = 0
	}
	return s.nodes[i]
}

// newIdentities returns what a process has, and the transport of its first Node.
func newIdentities(cfg Config, tr transport.Transport) (*identities, transport.Transport) {
	s := &identities{
		wake: make(chan struct{}, 1), moved: make(chan struct{}), former: slices.Clone(cfg.Variants),
		standing: standing.New(cfg.Identifiers, cfg.Interval, cfg.Self.Home, 0),
	}
	if cfg.Identifiers <= 1 {
		return s, tr
	}
	s.hub = shared.New(tr, cfg.Self.Addr)
	own, err := s.hub.Member(cfg.Self.ID)
	if err != nil {
		panic("node: a new transport has a member") // it has none
	}
	return s, own
}

// begin has the process stand where it wants to, from now on.
func (s *identities) begin(first *Node) {
	if s.hub != nil {
		first.stands.Store(newStands(first, []*Node{first}))
		s.run(first)
	}
}

// At is the Node of the process whose arc has the point, if that of any has.
func (n *Node) At(id uint64) *Node {
	if s := n.stands.Load(); s != nil {
		return s.at(id)
	}
	return n
}

// ownTable is the table of the identifier of the process whose arc has the point, if that of
// any has, nil if that is in no ring. T is that of the finder.
func (fd *Finder) ownTable(t *routing.Table, id uint64) *routing.Table {
	s := fd.stands.Load()
	if s == nil {
		return t
	}
	return s.at(id).snap.Load().Table
}

// Nodes are the Nodes of the process, one for each of its identifiers, the first first.
func (n *Node) Nodes() []*Node {
	s := n.stands.Load()
	if s == nil {
		return []*Node{n}
	}
	out := []*Node{n}
	for _, x := range s.nodes {
		if x != n {
			out = append(out, x)
		}
	}
	return out
}

// nodesUntil is Nodes, and a channel that is closed when there may be others.
func (n *Node) nodesUntil() ([]*Node, <-chan struct{}) {
	n.identities.mu.Lock()
	defer n.identities.mu.Unlock()
	return n.Nodes(), n.identities.moved
}

// tellOthers gives the machines of the other members of the process an event.
func (n *Node) tellOthers(ev protocol.Event) {
	for _, x := range n.lead().Nodes() {
		if x != n {
			x.step(ev)
		}
	}
}

// others are the Nodes of the process but the first.
func (n *Node) others() []*Node { return n.Nodes()[1:] }

// beside are the members of the process besides n that are in the ring.
func (n *Node) beside() (out []ring.Member) {
	first := cmp.Or(n.first, n)
	s := first.stands.Load()
	if s == nil {
		return nil
	}
	if n != first {
		for _, f := range first.snap.Load().Fingers {
			out = append(out, f.Member)
		}
	}
	for _, x := range s.nodes {
		if v := x.snap.Load().View; x != n && v.Phase == protocol.Joined {
			out = append(out, v.Self)
		}
	}
	return out
}

// apart is why the member has nothing to do with who asks: that is a legacy member, and there
// are members with several identifiers, as far as this one knows.
func (h *handler) apart(env transport.Envelope) *protocol.Failure {
	if !env.Legacy {
		return nil
	}
	s := h.snap.Load()
	v := s.View
	severalOf := func(x ring.Member) bool { return x.Choice.Several() }
	if severalOf(s.Self) || severalOf(v.Pred) || slices.ContainsFunc(v.Succ, severalOf) || slices.ContainsFunc(v.Known, severalOf) {
		return protocol.Mixing(s.Self, ring.Member{})
	}
	return nil
}

// change makes the stands of the process those that f makes of the nodes that it has. F is
// called with identities.mu held.
func (n *Node) change(f func(nodes []*Node) []*Node) {
	s := n.identities
	s.mu.Lock()
	n.stands.Store(newStands(n, f(slices.Clone(n.stands.Load().nodes))))
	for slot, c := range n.chosen() {
		i, variant := c.Slot()
		if i != slot {
			break // one is on the move, or comes yet
		}
		if slot == len(s.former) {
			s.former = append(s.former, variant)
		}
		s.former[slot] = variant
	}
	s.changed()
	s.mu.Unlock()
	for _, x := range n.Nodes() { // each names all others to those who ask
		x.mu.Lock()
		if !x.closed {
			x.rebuild()
		}
		x.mu.Unlock()
	}
}

// chosen is where the process stands as it has chosen: the slots from 0 on.
func (n *Node) chosen() (out []ring.Choice) {
	for _, x := range n.stands.Load().nodes {
		out = append(out, x.cfg.Self.Choice)
	}
	slices.Sort(out)
	return out
}

// grow chooses the identifiers that are missing and joins with them.
func (n *Node) grow(ctx context.Context, want int) error {
	circle, err := n.circle(ctx, false, want)
	if err != nil {
		return fmt.Errorf("the ring could not be learned: %w", err)
	}
	var kept balance.Stand
	for _, c := range n.chosen() {
		_, variant := c.Slot()
		kept.IDs, kept.Choices = append(kept.IDs, n.space.At(n.cfg.Self.Name, c)), append(kept.Choices, variant)
	}
	stood := len(kept.IDs)
	n.stoodAt(circle, &kept, want)
	chosen, err := circle.Complete(n.cfg.Self.Name, kept, want)
	if err != nil {
		return err
	}
	room := make(chan struct{}, standing.MaxJoining)
	failures := make([]error, want)
	var joins sync.WaitGroup
	for i := stood; i < want; i++ {
		joins.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			failures[i] = n.joinAt(ctx, ring.Chosen(i, chosen.Choices[i]))
		})
	}
	joins.Wait()
	for i, err := range failures {
		if err != nil {
			n.forgetFrom(i) // it is chosen anew
			n.dropFrom(i)   // those after it would be of the wrong number
			return err
		}
	}
	return nil
}

// stoodAt adds to what is kept where the process stood before, as far as nobody stands
// there.
func (n *Node) stoodAt(circle *balance.Circle, kept *balance.Stand, want int) {
	s := n.identities
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(kept.IDs); i < min(want, len(s.former)); i++ {
		id := n.space.At(n.cfg.Self.Name, ring.Chosen(i, s.former[i]))
		if !circle.Free(id) || slices.Contains(kept.IDs, id) {
			return
		}
		kept.IDs, kept.Choices = append(kept.IDs, id), append(kept.Choices, s.former[i])
	}
}

// forgetFrom forgets where the process stood, from a slot on.
func (n *Node) forgetFrom(slot int) {
	s := n.identities
	s.mu.Lock()
	defer s.mu.Unlock()
	s.former = s.former[:min(slot, len(s.former))]
}

// variants are those of where the process stands, and where it would stand again.
func (n *Node) variants() []uint8 {
	n.identities.mu.Lock()
	defer n.identities.mu.Unlock()
	return slices.Clone(n.identities.former)
}

// joinAt has the process join at one more identifier.
func (n *Node) joinAt(ctx context.Context, c ring.Choice) error {
	cfg := n.cfg
	cfg.Self = n.Snapshot().View.Self
	cfg.Self.ID, cfg.Self.Choice = n.space.At(cfg.Self.Name, c), c
	cfg.Former = cfg.Self.Incarnation - 1
	cfg.Remember, cfg.Inspect, cfg.Ended = nil, nil, nil
	tr, err := n.identities.hub.Member(cfg.Self.ID)
	if err != nil {
		return err
	}
	x := newNode(cfg, n.process, n, nil, tr)
	ctx, cancel := context.WithTimeout(ctx, 2*peer.PatientTimeout)
	defer cancel()
	if err := x.JoinOrFound(ctx, []string{cfg.Self.Addr}, nil, 0); err != nil {
		x.closeThis()
		return err
	}
	ended := false
	n.change(func(nodes []*Node) []*Node {
		if ended = n.identities.ended; ended {
			return nodes
		}
		return append(nodes, x)
	})
	if ended {
		x.closeThis()
		return ErrClosed
	}
	return nil
}

// rechoose moves one identifier of the process, if balance has it do that: it joins with
// another variant, and then leaves with the one that it had.
func (n *Node) rechoose(ctx context.Context) error {
	circle, err := n.circle(ctx, true, 0)
	if err != nil {
		return err
	}
	change, ok := circle.Next()
	if !ok || change.Name != n.cfg.Self.Name {
		return nil
	}
	i := slices.IndexFunc(n.others(), func(x *Node) bool { slot, _ := x.cfg.Self.Choice.Slot(); return slot == change.Slot })
	if i < 0 {
		return nil
	}
	old := n.others()[i]
	if err := n.joinAt(ctx, ring.Chosen(change.Slot, change.Variant)); err != nil {
		return err
	}
	n.Note(slog.LevelInfo, "identifier moved", Identifier("old", old.cfg.Self.ID),
		Identifier("new", n.space.At(n.cfg.Self.Name, ring.Chosen(change.Slot, change.Variant))))
	n.giveUp(ctx, old)
	return nil
}

// last is the Node of the identifier that the process leaves with next, nil if there is only
// the first.
func (n *Node) last() *Node {
	nodes := n.Nodes()
	slots := make([]int, len(nodes))
	for i, x := range nodes {
		if x != n {
			slots[i], _ = x.cfg.Self.Choice.Slot()
		}
	}
	if i := standing.Last(slots); i >= 0 {
		return nodes[i]
	}
	return nil
}

// shrink leaves with the last identifier.
func (n *Node) shrink(ctx context.Context) {
	if x := n.last(); x != nil {
		n.giveUp(ctx, x)
	}
}

// giveUp leaves with one identifier, which is not the first, once the program has released what it
// has there.
func (n *Node) giveUp(ctx context.Context, x *Node) {
	if n.cfg.GivesUp != nil {
		n.cfg.GivesUp(ctx, x)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*peer.PatientTimeout)
	defer cancel()
	_, _ = x.depart(ctx, protocol.Depart{}) // or is gone, to its neighbours
	n.remove(x)
}

// remove ends the Node of an identifier that has left, or cannot stay.
func (n *Node) remove(x *Node) {
	n.change(func(nodes []*Node) []*Node { return slices.DeleteFunc(nodes, func(y *Node) bool { return y == x }) })
	x.closeThis()
}

// dropFrom leaves with the identifiers from the i-th on, the last first.
func (n *Node) dropFrom(i int) {
	for x := n.last(); x != nil; x = n.last() {
		if slot, _ := x.cfg.Self.Choice.Slot(); slot < i {
			return
		}
		n.shrink(n.ctx)
	}
}

// dropOthers ends all but the first, which is in the ring no longer.
func (n *Node) dropOthers() {
	for _, x := range n.others() {
		n.remove(x)
	}
}

// superseded are the Nodes but the first that another process of the name has taken the place of.
func (n *Node) superseded() (out []*Node) {
	for _, x := range n.others() {
		if x.Snapshot().View.Phase == protocol.Superseded {
			out = append(out, x)
		}
	}
	return out
}

// dropLost ends what is lost, and leaves with all identifiers chosen later.
func (n *Node) dropLost() {
	from := ring.MaxIdentifiers
	for _, x := range n.superseded() {
		slot, _ := x.cfg.Self.Choice.Slot()
		from = min(from, slot)
		n.remove(x)
	}
	n.dropFrom(from)
}

// end has no identifier come any more.
func (s *identities) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.poke()
}

// leaveOthers leaves with all identifiers but the first, one after another.
func (n *Node) leaveOthers(ctx context.Context, returning time.Duration) {
	n.identities.end()
	for x := n.last(); x != nil && ctx.Err() == nil && n.ctx.Err() == nil; x = n.last() {
		_, _ = x.depart(ctx, protocol.Depart{Returning: returning})
		n.remove(x)
	}
}

// closeOthers ends all but the first at once.
func (n *Node) closeOthers() {
	n.identities.end()
	n.process.ends.Store(true) // before any has gone, or those left would take over from it
	n.cancel()
	var all sync.WaitGroup
	for _, x := range n.others() {
		all.Go(x.closeThis)
	}
	all.Wait()
}

// circle learns who stands where, from the head. This process is on it if it is to be: then
// with the identifiers that others know. Others that stand at fewer identifiers than want may be
// about to take more, which it waits for a little.
func (n *Node) circle(ctx context.Context, whole bool, want int) (*balance.Circle, error) {
	claims := map[string][]ring.Member{}
	var names []string
	if head := n.Snapshot().View.Head(); !head.IsZero() {
		if err := n.claimants(ctx, head, want, func(of *ring.Member) {
			if of.Name == n.cfg.Self.Name && !whole {
				return
			}
			if claims[of.Name] == nil {
				names = append(names, of.Name)
			}
			claims[of.Name] = append(claims[of.Name], *of)
		}); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	var members []balance.Holding
	for _, name := range names {
		list := claims[name]
		slices.SortFunc(list, func(a, b ring.Member) int { return cmp.Compare(a.Choice, b.Choice) })
		h := balance.Holding{Name: name, Fixed: 1}
		for i, x := range list {
			slot, variant := x.Choice.Slot()
			if !x.Choice.Several() {
				slot, variant = 0, 0
			}
			if whole && slot != i { // one is on the move
				return balance.NewCircle(n.space, nil)
			}
			h.IDs, h.Choices = append(h.IDs, x.ID), append(h.Choices, variant)
		}
		members = append(members, h)
	}
	return balance.NewCircle(n.space, members)
}

// claimants yields who claims all over the circle, when package ringmap says by what.
func (n *Node) claimants(ctx context.Context, head ring.Member, want int, yield func(of *ring.Member)) error {
	wake := n.charts.add()
	defer n.charts.remove(wake)
	growth := ringmap.NewGrowth(n.now(), n.cfg.Interval, n.cfg.Self.ID, want)
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		now := n.now()
		by, claims, at := growth.Next(now, n.chart.Load())
		switch by {
		case ringmap.ByMap:
			for _, c := range claims {
				yield(c.Of)
			}
			return nil
		case ringmap.ByHead:
			return n.pages(ctx, head, func(a *ringmap.Announcement) {
				if a.Of != nil {
					yield(a.Of)
				}
			})
		case ringmap.Wait:
			again.Reset(at - now)
		}
		select {
		case <-wake:
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pages asks a member for all claims of its map.
func (n *Node) pages(ctx context.Context, of ring.Member, claim func(*ringmap.Announcement)) error {
	from, to, skip := n.cfg.Self.ID, n.cfg.Self.ID, uint32(0)
	for range maxPages {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		reply, f := n.mapRequest(n.asking(of), &ringmap.Request{Kind: ringmap.Compare, From: from, To: to, Skip: skip})
		if f != nil {
			return f
		}
		for i := range reply.Claims {
			claim(&reply.Claims[i])
		}
		if reply.Skip == 0 && reply.Through == to || reply.Through == from && reply.Skip <= skip {
			return nil
		}
		from, skip = reply.Through, reply.Skip
	}
	return nil
}
