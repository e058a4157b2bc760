package node

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Bounds on a walk.
const (
	// minWalked is how many members are asked at least, and walkedPerMember how many for
	// each that the ring is estimated to have: lists could name new ones for ever.
	minWalked       = 1 << 12
	walkedPerMember = 16
	// clientWalked is how many a client asks, which cannot estimate the size.
	clientWalked = 1 << 16
	// maxAhead is how many are asked at once.
	maxAhead = 16
	// walkAttempts is how often a member that does not answer in time is asked.
	walkAttempts = 2
)

// Met is what a walk has found out about one member.
type Met struct {
	Who ring.Member // as it calls itself, or as it was named if it has not answered
	By  ring.Member // who named it first; zero: the walk began with it
	// State is what it answered, if Failure is nil or NotJoined.
	State   protocol.State
	Failure *protocol.Failure
}

// Members is Walk, or the same from the map of the ring if that is certain of all of it.
func (n *Node) Members(ctx context.Context, opts routing.Options) iter.Seq2[Met, error] {
	return func(yield func(Met, error) bool) {
		if g := n.aside(); g != nil {
			g.Members(ctx, opts)(yield)
		} else if all, ok := n.charted(opts); ok {
			yieldAll(ctx, all, yield)
		} else {
			n.Walk(ctx)(yield)
		}
	}
}

// Members is Walk, or the same from the map of the ring if what the client has of that is
// certain of all of it.
func (c *Client) Members(ctx context.Context, opts routing.Options) iter.Seq2[Met, error] {
	return func(yield func(Met, error) bool) {
		if all, ok := c.charted(ctx, opts); ok {
			yieldAll(ctx, all, yield)
		} else {
			c.Walk(ctx)(yield)
		}
	}
}

// yieldAll yields what the map says until ctx ends.
func yieldAll(ctx context.Context, all []Met, yield func(Met, error) bool) {
	for _, m := range all {
		if err := ctx.Err(); err != nil {
			yield(Met{}, err)
			return
		}
		if !yield(m, nil) {
			return
		}
	}
}

// aside is the client of a process that has drained, nil if the Node is asked itself.
func (n *Node) aside() *Client {
	if n.Snapshot().View.Phase.InRing() || n.ctx.Err() != nil {
		return nil
	}
	return n.guest.Load()
}

// Walk yields this member and asks every other that it or they name for its place;
// see Finder.walk. The last error, which ends it, says why the node is in no ring,
// or is that of ctx, or ErrClosed.
func (n *Node) Walk(ctx context.Context) iter.Seq2[Met, error] {
	return func(yield func(Met, error) bool) {
		v := n.Snapshot().View
		if n.ctx.Err() != nil {
			yield(Met{}, ErrClosed)
			return
		}
		if !v.Phase.InRing() {
			yield(Met{}, n.outside())
			return
		}
		self := Met{Who: v.Self, State: protocol.State{Self: v.Self, Phase: v.Phase, Pred: v.Pred, Succ: v.Succ, Zone: n.inZone, Zones: n.peers.zones.ofAll(v.Succ)}}
		most := minWalked
		if t := n.Snapshot().Table; t != nil {
			most = max(most, walkedPerMember*t.Size())
		}
		n.walk(ctx, v.Self.ID, &self, nil, most, yield)
	}
}

// Meta asks a member what its application says of it. Its incarnation need not be
// known, nor, with an address alone, who it is. The error is that of ctx, ErrClosed
// or a *protocol.Failure.
func (fd *Finder) Meta(ctx context.Context, x ring.Member) ([]byte, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var meta []byte
	f := fd.again(ctx, kindMeta, x, func(ctx context.Context, env transport.Envelope) (err error) {
		meta, err = fd.tr.Meta(ctx, env)
		return err
	})
	if err := fd.ending(ctx, f); err != nil {
		return nil, err
	}
	return meta, nil
}

// ending is the error of an undertaking that failed with f: that of ctx, if that
// ended it, or ErrClosed, or f.
func (fd *Finder) ending(ctx context.Context, f *protocol.Failure) error {
	switch {
	case f == nil:
		return nil
	case fd.ctx.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return f
}

// again asks a member, and once more if it does not answer in time: one time-out
// says little.
func (fd *Finder) again(ctx context.Context, kind string, x ring.Member, ask func(context.Context, transport.Envelope) error) (f *protocol.Failure) {
	env := transport.Envelope{From: fd.snap.Load().Self, To: x, Settings: fd.settings}
	for attempt := range walkAttempts {
		limit := fd.peers.of(x.Addr).Timeout(attempt)
		limited, cancel := context.WithTimeout(ctx, limit)
		limited, done := observed(limited, fd.observer.Request, kind, x)
		sent := time.Now()
		f = fd.checkFailure(ctx, failure(ask(limited, env)))
		f = hasty(ctx, time.Since(sent), limit, f)
		cancel()
		done(f)
		fd.measure(x, time.Since(sent), f, false)
		if f == nil || f.Kind != protocol.TimedOut || ctx.Err() != nil {
			break
		}
	}
	return f
}

// walk goes round the circle once, clockwise from the identifier from, and asks
// everyone who is named by somebody for its place: those in from's list, those in
// their lists, all predecessors. So it finds whoever a member of the ring knows as
// a neighbour, in the ring or beside it. It yields them clockwise; one that is
// named only after its place was passed comes at the end. Each is asked once, up to
// maxAhead at a time. It begins with what first said, or with the first of others. The other
// others, and those on the map, it asks ahead of their being named; of one that no member names
// it tells only if that answers.
//
// The error that ends it is that of ctx, ErrClosed, or routing.ErrHopLimit when more than
// most are named.
func (fd *Finder) walk(ctx context.Context, from uint64, first *Met, others []ring.Member, most int, yield func(Met, error) bool) {
	asking, cancel := context.WithCancel(ctx)
	w := &walk{fd: fd, ctx: asking, at: from, seen: map[place]*stop{}, most: most}
	defer w.asks.Wait()
	defer cancel()
	if first != nil {
		w.seen[placeOf(first.Who)] = &stop{}
		if !yield(*first, nil) {
			return
		}
		w.addNamed(*first)
	}
	for i, x := range others {
		if i == 0 && first == nil {
			w.add(x, ring.Member{})
		} else {
			w.addKnown(x)
		}
	}
	for {
		m, ok := w.next()
		switch {
		case fd.ctx.Err() != nil:
			yield(Met{}, ErrClosed)
			return
		case ctx.Err() != nil:
			yield(Met{}, ctx.Err())
			return
		case !ok && w.full:
			yield(Met{}, routing.ErrHopLimit)
			return
		case !ok || !yield(m, nil):
			return
		}
	}
}

// place is where a member is asked for: one that has moved is named at two.
type place struct {
	id   uint64
	addr string
}

func placeOf(x ring.Member) place { return place{x.ID, x.Addr} }

// stop is a member that a walk has yet to yield.
type stop struct {
	who      ring.Member // as named
	met      Met
	asked    bool
	answered chan struct{} // closed when met is complete
	followed bool          // whom it named is on the way
	unnamed  bool          // no member has named it so far
}

type walk struct {
	fd   *Finder
	ctx  context.Context
	asks sync.WaitGroup

	at    uint64  // the last that was yielded
	ahead []*stop // by their distance from at
	seen  map[place]*stop
	most  int // of seen
	full  bool
	chart bool // those on the map are on the way
}

// add puts a member on the way, unless it has been.
func (w *walk) add(x, by ring.Member) {
	old := w.seen[placeOf(x)]
	switch {
	case x.IsZero():
	case old != nil && old.unnamed:
		old.met.By, old.unnamed = by, false
	case old != nil:
	case len(w.seen) >= w.most:
		w.full = true
	default:
		w.insert(&stop{who: x, met: Met{Who: x, By: by}, answered: make(chan struct{})})
	}
}

// addCharted puts those whom the map has on the way, as soon as it is certain of the whole ring:
// they are asked at once, and not only when the members before them have named them. It leaves
// half of the room to those whom members name.
func (w *walk) addCharted() {
	s := w.fd.chart.Load()
	if w.chart || s == nil {
		return
	}
	if age, ok := s.Age(w.fd.now()); !ok || age > w.fd.oldest(0) {
		return
	}
	w.chart = true
	for _, here := range []bool{true, false} { // clockwise
		for c := range s.All() {
			if (c.ID >= w.at) == here && c.Of.ID == c.ID && len(w.seen) < w.most/2 {
				w.addKnown(*c.Of)
			}
		}
	}
}

// addKnown puts one on the way that no member has named so far, unless it has been.
func (w *walk) addKnown(x ring.Member) {
	if w.seen[placeOf(x)] == nil {
		w.insert(&stop{who: x, met: Met{Who: x}, answered: make(chan struct{}), unnamed: true})
	}
}

func (w *walk) insert(s *stop) {
	w.seen[placeOf(s.who)] = s
	distance := func(s *stop) uint64 { return w.fd.space.Distance(w.at, s.who.ID) }
	i := len(w.ahead)
	for i > 0 && distance(w.ahead[i-1]) > distance(s) {
		i--
	}
	w.ahead = slices.Insert(w.ahead, i, s)
}

// addNamed adds whom a member has named.
func (w *walk) addNamed(m Met) {
	if m.Failure != nil {
		return
	}
	w.add(m.State.Pred, m.Who)
	for _, x := range m.State.Succ {
		w.add(x, m.Who)
	}
}

// next is the next member on the way, when it has answered and named nobody who
// comes before it. It reports false at the end, and when ctx is over.
func (w *walk) next() (Met, bool) {
	for len(w.ahead) > 0 {
		w.addCharted()
		for _, s := range w.ahead[:min(len(w.ahead), maxAhead)] {
			if !s.asked {
				s.asked = true
				w.asks.Go(func() {
					defer close(s.answered)
					w.ask(&s.met)
				})
			}
		}
		s := w.ahead[0]
		if s.followed {
			w.ahead = w.ahead[1:]
			w.at = s.who.ID
			if s.unnamed && s.met.Failure != nil {
				continue // it is known from before: no member has it as a neighbour
			}
			return s.met, true
		}
		<-s.answered // which it soon is when ctx is over
		if w.ctx.Err() != nil {
			return Met{}, false
		}
		s.followed = true
		w.addNamed(s.met)
	}
	return Met{}, false
}

// ask asks a member, in whichever incarnation, for its pointers.
func (w *walk) ask(m *Met) {
	anyIncarnation := m.Who
	anyIncarnation.Incarnation = 0
	var reply protocol.Reply
	f := w.fd.again(w.ctx, protocol.AskRing.String(), anyIncarnation, func(ctx context.Context, env transport.Envelope) (err error) {
		w.fd.counters.asked[protocol.AskRing].Add(1)
		reply, err = w.fd.tr.Maintain(ctx, env, protocol.Request{Kind: protocol.AskRing})
		return err
	})
	if f == nil {
		f = w.fd.checkReply(anyIncarnation, &reply)
	}
	switch st := reply.State; {
	case w.ctx.Err() != nil:
	case f != nil:
		w.fd.noteOutcome(m.Who, f)
		if f.Kind == protocol.WrongMember && f.By.GaveUp(m.Who) {
			f = &protocol.Failure{Kind: protocol.NotJoined, By: f.By, Detail: "it has left with this identifier"}
		}
	default:
		m.State = st
		w.fd.peers.zones.hearState(&st)
		if !st.Self.IsZero() {
			m.Who = st.Self
		}
		w.fd.noteOutcome(m.Who, nil)
		if !st.Phase.InRing() {
			f = &protocol.Failure{Kind: protocol.NotJoined, By: st.Self, Detail: st.Phase.String()}
		}
	}
	m.Failure = f
}
