package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/balance"
	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/shared"
)

// This file has what a process at several identifiers does besides its members: it enters
// the ring at the first, learns who stands where, chooses the others, and joins with each of
// them through itself. Package balance chooses.

const (
	// maxJoining is how many identifiers join at once.
	maxJoining = 8
	// maxPages bounds the questions for who stands where.
	maxPages = 1024
)

// identities is what a process at several identifiers has besides the Node of each.
type identities struct {
	hub   *shared.Hub
	wake  chan struct{} // holds a value if there may be something to do
	due   time.Duration // when an identifier may be chosen anew; of stand alone
	want  atomic.Int32  // identifiers
	mu    sync.Mutex    // guards all below, and who writes stands
	moved chan struct{} // closed at the next change of stands
	err   error         // why there are fewer than wanted, as of the last attempt
	ended bool          // no identifier comes any more
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

// newIdentities returns what a process at several identifiers has, and the transport of the
// first.
func newIdentities(cfg Config, tr transport.Transport) (*identities, transport.Transport) {
	s := &identities{hub: shared.New(tr, cfg.Self.Addr), wake: make(chan struct{}, 1), moved: make(chan struct{})}
	s.want.Store(int32(cfg.Identifiers))
	own, err := s.hub.Member(cfg.Self.ID)
	if err != nil {
		panic("node: a new transport has a member") // it has none
	}
	return s, own
}

// begin has the process stand where it wants to, from now on.
func (s *identities) begin(first *Node) {
	first.identities = s
	first.stands.Store(newStands(first, []*Node{first}))
	s.due = first.now() + first.rechooseAfter()
	first.wg.Go(first.stand)
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

// nodesUntil is Nodes, and a channel that is closed when there are others; nil: never.
func (n *Node) nodesUntil() ([]*Node, <-chan struct{}) {
	if n.identities == nil {
		return []*Node{n}, nil
	}
	n.identities.mu.Lock()
	defer n.identities.mu.Unlock()
	return n.Nodes(), n.identities.moved
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

// SetIdentifiers sets at how many identifiers a process is to stand that stands at several.
// They come and go one after another.
func (n *Node) SetIdentifiers(k int) {
	n.identities.want.Store(int32(k))
	n.identities.poke()
}

func (s *identities) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Standing waits until the process stands at as many identifiers as it wants. It returns
// why it does not yet, with the error of ctx, if that ends before.
func (n *Node) Standing(ctx context.Context) error {
	s := n.identities
	if s == nil {
		return nil
	}
	for {
		s.mu.Lock()
		has, want, why, moved := len(n.stands.Load().nodes), int(s.want.Load()), s.err, s.moved
		s.mu.Unlock()
		if has == want {
			return nil
		}
		select {
		case <-moved:
		case <-n.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			err := fmt.Errorf("%w: the member stands at %d of %d identifiers", ctx.Err(), has, want)
			if why != nil {
				err = fmt.Errorf("%w: %w", err, why)
			}
			return err
		}
	}
}

// stand has the process stand at as many identifiers as it wants, while it is in a ring.
func (n *Node) stand() {
	s := n.identities
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	var failed time.Duration // the pause after a failure
	for {
		snap := n.Snapshot()
		pause := time.Hour
		if snap.View.Phase == protocol.Joined {
			has, want := len(n.stands.Load().nodes), int(s.want.Load())
			var err error
			switch {
			case has < want:
				err = n.grow(n.ctx, want)
			case has > want:
				n.shrink(n.ctx)
				continue
			}
			n.noteStanding(err, has < want)
			if wait := n.identities.due - n.now(); err == nil && wait <= 0 {
				err = n.rechoose(n.ctx)
				n.identities.due = n.now() + n.rechooseAfter()
			}
			if failed *= 2; err != nil {
				failed = min(max(failed, n.cfg.Interval/10), 4*n.cfg.Interval)
				pause = failed
			} else {
				failed, pause = 0, n.identities.due-n.now()
			}
		} else if snap.View.Phase == protocol.Superseded {
			n.dropOthers()
		}
		timer.Reset(pause)
		select {
		case <-snap.Next:
			if failed > 0 {
				select {
				case <-timer.C:
				case <-s.wake:
				case <-n.ctx.Done():
				}
			}
		case <-timer.C:
		case <-s.wake:
		case <-n.ctx.Done():
		}
		if n.ctx.Err() != nil {
			timer.Stop()
			return
		}
	}
}

// change makes the stands of the process those that f makes of the nodes that it has. F is
// called with identities.mu held.
func (n *Node) change(f func(nodes []*Node) []*Node) {
	s := n.identities
	s.mu.Lock()
	n.stands.Store(newStands(n, f(slices.Clone(n.stands.Load().nodes))))
	close(s.moved)
	s.moved = make(chan struct{})
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
	circle, err := n.circle(ctx, false)
	if err != nil {
		return fmt.Errorf("the ring could not be learned: %w", err)
	}
	var kept balance.Stand
	for _, c := range n.chosen() {
		_, variant := c.Slot()
		kept.IDs, kept.Choices = append(kept.IDs, n.space.At(n.cfg.Self.Name, c)), append(kept.Choices, variant)
	}
	chosen, err := circle.Complete(n.cfg.Self.Name, kept, want)
	if err != nil {
		return err
	}
	room := make(chan struct{}, maxJoining)
	failures := make([]error, want)
	var joins sync.WaitGroup
	for i := len(kept.IDs); i < want; i++ {
		joins.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			failures[i] = n.joinAt(ctx, ring.Chosen(i, chosen.Choices[i]))
		})
	}
	joins.Wait()
	for i, err := range failures {
		if err != nil {
			n.dropFrom(i) // those after it would be of the wrong number
			return err
		}
	}
	return nil
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
	x := newNode(cfg, n.process, n, tr)
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

// rechooseAfter is the time until an identifier may be chosen anew: members do not march in
// step.
func (n *Node) rechooseAfter() time.Duration {
	every := balance.ChangeEvery * n.cfg.Interval
	return every + time.Duration(n.cfg.Self.Home%uint64(every/4+1))
}

// rechoose moves one identifier of the process, if balance has it do that: it joins with
// another variant, and then leaves with the one that it had.
func (n *Node) rechoose(ctx context.Context) error {
	circle, err := n.circle(ctx, true)
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
	n.Note(slog.LevelInfo, "identifier moved", identifier("old", old.cfg.Self.ID),
		identifier("new", n.space.At(n.cfg.Self.Name, ring.Chosen(change.Slot, change.Variant))))
	ctx, cancel := context.WithTimeout(ctx, 2*peer.PatientTimeout)
	defer cancel()
	_ = old.depart(ctx, 0)
	n.remove(old)
	return nil
}

// last is the Node of the last identifier, nil if there is only the first.
func (n *Node) last() *Node {
	nodes := n.others()
	if len(nodes) == 0 {
		return nil
	}
	return slices.MaxFunc(nodes, func(a, b *Node) int { return cmp.Compare(a.cfg.Self.Choice, b.cfg.Self.Choice) })
}

// shrink leaves with the last identifier.
func (n *Node) shrink(ctx context.Context) {
	x := n.last()
	if x == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*peer.PatientTimeout)
	defer cancel()
	_ = x.depart(ctx, 0) // or is gone, to its neighbours
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

// end has no identifier come any more.
func (s *identities) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
}

// leaveOthers leaves with all identifiers but the first, one after another.
func (n *Node) leaveOthers(ctx context.Context, returning time.Duration) {
	if n.identities == nil {
		return
	}
	n.identities.want.Store(1)
	n.identities.end()
	for x := n.last(); x != nil && ctx.Err() == nil && n.ctx.Err() == nil; x = n.last() {
		_ = x.depart(ctx, returning)
		n.remove(x)
	}
}

// closeOthers ends all but the first at once.
func (n *Node) closeOthers() {
	if n.identities == nil {
		return
	}
	n.identities.end()
	n.cancel()
	var all sync.WaitGroup
	for _, x := range n.others() {
		all.Go(x.closeThis)
	}
	all.Wait()
}

// circle learns who stands where, from the head. This process is on it if it is to be: then
// with the identifiers that others know.
func (n *Node) circle(ctx context.Context, whole bool) (*balance.Circle, error) {
	claims := map[string][]ring.Member{}
	var names []string
	if head := n.Snapshot().View.Head(); !head.IsZero() {
		if err := n.pages(ctx, head, func(a *ringmap.Announcement) {
			if a.Of == nil || a.Of.Name == n.cfg.Self.Name && !whole {
				return
			}
			if claims[a.Of.Name] == nil {
				names = append(names, a.Of.Name)
			}
			claims[a.Of.Name] = append(claims[a.Of.Name], *a.Of)
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

// pages asks a member for all claims of its map.
func (n *Node) pages(ctx context.Context, of ring.Member, claim func(*ringmap.Announcement)) error {
	for from, page := n.cfg.Self.ID, 0; page < maxPages; page++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		env := transport.Envelope{From: n.Snapshot().View.Self, To: of, Settings: n.settings}
		reply, f := n.mapRequest(env, &ringmap.Request{Kind: ringmap.Compare, From: from, To: n.cfg.Self.ID})
		if f != nil {
			return f
		}
		for i := range reply.Claims {
			claim(&reply.Claims[i])
		}
		if reply.Through == n.cfg.Self.ID || reply.Through == from {
			return nil
		}
		from = reply.Through
	}
	return nil
}

// noteStanding keeps why there are fewer identifiers than wanted, and logs it if it is news.
func (n *Node) noteStanding(err error, tried bool) {
	s := n.identities
	s.mu.Lock()
	news := err != nil && (s.err == nil || s.err.Error() != err.Error())
	s.err = err
	s.mu.Unlock()
	switch {
	case n.ctx.Err() != nil:
	case news:
		n.Note(slog.LevelWarn, "identifiers missing", slog.Any("err", err))
	case tried && err == nil:
		n.Note(slog.LevelInfo, "identifiers taken", slog.Int("count", len(n.stands.Load().nodes)))
	}
}
