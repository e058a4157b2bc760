package concord

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
)

// Handler is what a program does when the range of a member changes. See [Concord.Serve].
//
// Calls for ranges that have keys in common are made one after another, in the order of the
// changes. Other calls are made concurrently. The functions may call any method of the member. A
// panic in one is not recovered.
//
// Config.Lease changes nothing of when Take and Release are called when a range changes hands: Take
// is called as soon as the member is responsible for a range, which can be up to a Lease before it
// owns it. While it does not own it, Service.Serves is false. If a lease has run out and another
// begins, others may have owned the range meanwhile: Release and Take are called for all of it.
type Handler struct {
	// Take gets the data of a range that the member has gained, so that the program can serve
	// it. The range is served once Take has returned nil. If Take returns an error, it is called
	// again after a pause of 100 ms, which doubles up to 5 s, until the member has lost the range.
	// A nil Take serves each range at once.
	//
	// When the member joins a ring, Take is called before the member owns the range, while the
	// first of From still serves it; see Config.TakeoverTimeout. Epoch is then that of the owner.
	// Unless the member stands at another identifier already, it is in no ring yet, and its lookups
	// fail with ErrNotJoined. A Take that looks keys up, or that fences the former owner by the
	// epoch, must wait until the member owns the range: while no range of Ranges contains
	// gained.End, it returns an error that matches ErrNotJoined, and it is called again when the
	// member owns the range. If the join ends at another place, Take is called for another range,
	// and what was taken is not gained. Release is not called for that.
	//
	// From are the members that may have the data, the most likely first: the one that held the
	// range, if it is known and alive, and the successors, which hold the copies of a program that
	// replicates to LookupN servers. Each is there once. If the member itself has held the range,
	// at another of its identifiers (see Config.VirtualNodes), it is the first; otherwise it is not
	// among them. From is empty if no such member is known, as in a ring of one. Once the member
	// owns the range, Epoch is the epoch of its claim; see [Concord.OwnsEpoch].
	//
	// Ctx ends when the member loses a part of the range; what is left of it is then taken by
	// another call. Ctx also ends when the member or the Service ends.
	Take func(ctx context.Context, gained Range, from []Server, epoch uint64) error

	// CatchUp gets what has changed in a range since Take was called for it, if that was before the
	// member owned the range. It is called like Take when the member owns the range and nobody else
	// serves it. Gained can be a part of what Take was called for, and from is as of now: it can
	// name others, or be empty. The range is served once CatchUp has returned nil. If it returns an
	// error, Take is called for the range. A nil CatchUp serves such a range at once: then what was
	// written at the old owner during the Take has to come by other ways, such as quorums or writes
	// to several members.
	CatchUp func(ctx context.Context, gained Range, from []Server, epoch uint64) error

	// StandIn says that the program can serve the range of a predecessor that has left and is
	// to return soon (see [Returning]) by the copies that it has. Then the range is served at
	// once, and Take is called only if the predecessor is not back in time.
	StandIn bool

	// LeaseEnding, if not nil, is called when the member's lease could not be renewed of late.
	// Until is when the lease ends; see Event.LeaseEnds. With VirtualNodes each identifier has a
	// lease of its own, and it is called for each; an Event tells whose it is. It must not block.
	LeaseEnding func(until time.Time)

	// Release is called when the member has lost a range that it served. It is also called for each
	// range that is served when Leave or Drain begins, and when SetWeight lowers the weight, for
	// those of the identifiers that go, while lookups still lead to the member. Leave and Drain
	// wait for it until their context ends, and SetWeight for Config.TakeoverTimeout. The range is
	// no longer served when the call begins. Take is not called for its keys again before Release
	// has returned. A nil Release does nothing. Release is not called for what passes from one
	// identifier of the member to another; Take is.
	//
	// To are the members that the data belongs to now, or next, the most likely first. It is empty
	// if none is known. Epoch is the epoch by which the range was served. Ctx ends when the service
	// ends or, during Leave, with the context of Leave.
	Release func(ctx context.Context, lost Range, to []Server, epoch uint64)
}

const (
	leastTakePause = 100 * time.Millisecond // after the first failure of a Take
	maxTakePause   = 5 * time.Second
	takeLogPause   = time.Minute // between two records of a Take that fails
)

// Service knows which keys a program is ready to serve. Its methods may be called concurrently.
type Service struct {
	member  *Concord
	node    *node.Node
	handler Handler
	ctx     context.Context // ends with the service
	state   atomic.Pointer[served]
	ending  chan struct{} // closed when it serves nothing any more
	ended   chan struct{} // closed when all calls have returned, too
	why     error         // what Wait returns once the service ends

	mu       sync.Mutex
	now      served
	standIns map[*node.Node]*protocol.StandIns // of what is served, by the time since it began
	began    time.Time
	prepared map[*node.Node]*preparation
	moved    chan struct{} // closed at the next change of now
	passing  []servedRange // was served at an identifier; another has not taken it yet
	calls    []*handling   // in the order of the changes
	leaving  bool
	drained  bool                 // suspended
	held     map[*node.Node]Range // what the member has
	givingUp map[*node.Node]bool  // where nothing is taken any more
	failures uint64
	failed   error     // of the last failure
	logged   time.Time // when a failure was logged last
}

// served is what is served after so many changes of the member's ranges.
type served struct {
	changes []changes
	ranges  []servedRange
}

// changes is how many changes there were of what a member has at one identifier.
type changes struct {
	of    *node.Node
	count uint64
}

type servedRange struct {
	Range
	at    *node.Node // whose it is
	epoch uint64
}

// handling is a call of the Handler that waits or is being made.
type handling struct {
	of     Range
	at     *node.Node // whose it is, or was
	take   bool
	from   Server // who held what is taken, as far as it is known
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
}

// taking reports whether it is a Take of a range that has not been lost.
func (t *handling) taking() bool { return t.take && t.ctx.Err() == nil }

// Serve calls the functions of h when the range of the member changes, until ctx ends or the member
// is stopped or has left. The Service that it returns tells which keys the program is ready to
// serve. That is less than Owns tells, which is true of a key before the program has its data.
//
// If the member has a range, h.Take is called for all of it first. The member must have been
// started. If it has not been, the Service has ended from the beginning. Several Services may run
// at the same time.
//
// Do not pass the context whose end makes the program leave, such as that of signal.NotifyContext:
// the Service ends with it, and Leave then calls no Release. A Service ends by itself when the
// member has left or is stopped.
//
// Call Serve after Start and before Join. Then a joiner takes its range while the old owner serves
// it, and takes it over within a round trip. In other cases, such as a crash, nobody serves a range
// while the new owner takes it. Serve does not make the new owner wait for h.Release of the old
// one, which may be dead. Programs that need one writer at most compare epochs where they write.
func (c *Concord) Serve(ctx context.Context, h Handler) *Service {
	s := &Service{member: c, handler: h, why: ErrStopped, began: time.Now(), standIns: map[*node.Node]*protocol.StandIns{}, ending: make(chan struct{}), ended: make(chan struct{}), moved: make(chan struct{}), prepared: map[*node.Node]*preparation{}, held: map[*node.Node]Range{}, givingUp: map[*node.Node]bool{}}
	s.state.Store(&served{})
	n, err := c.started()
	if err != nil {
		s.why = err
		close(s.ending)
		close(s.ended)
		return s
	}
	s.node = n
	ctx, cancel := context.WithCancel(ctx)
	s.ctx = ctx
	c.mu.Lock()
	c.services = append(c.services, s)
	c.mu.Unlock()
	changes := n.Watch(ctx)
	go func() {
		defer close(s.ended)
		defer cancel()
		last := map[*node.Node]node.Holding{}
		for x, holding := range changes {
			e := event(last[x], holding)
			s.apply(ctx, x, e, holding)
			if h.LeaseEnding != nil && !e.LeaseEnds.IsZero() {
				h.LeaseEnding(e.LeaseEnds)
			}
			if last[x] = holding; holding.GivenUp() {
				delete(last, x)
			}
		}
		cancel()
		s.end()
		c.mu.Lock()
		c.services = slices.DeleteFunc(c.services, func(x *Service) bool { return x == s })
		c.mu.Unlock()
	}()
	return s
}

// Serves reports whether the program is ready to serve the key, and by which epoch: the member owns
// the key, and Take has returned nil for a range with the key since the member has owned it without
// a break. It returns false for a moment after each change of the member's range. The epoch is that
// of [Concord.OwnsEpoch]. Serves sends no request and allocates nothing.
func (s *Service) Serves(key []byte) (epoch uint64, ok bool) {
	now := s.state.Load()
	if len(now.ranges) == 0 || s.member.live.Load() != s.node {
		return 0, false
	}
	id := s.member.space.ID(key)
	at := s.node.At(id)
	epoch, count, ok := at.OwnsAfter(id)
	if !ok || !slices.Contains(now.changes, changes{at, count}) || !slices.ContainsFunc(now.ranges, func(r servedRange) bool { return r.at == at && r.Contains(id) }) {
		return 0, false
	}
	return epoch, true
}

// ServiceStatus is the state of a Service.
type ServiceStatus struct {
	// Served are the ranges that are served while the member owns them: Take has returned nil.
	// With Config.Lease, Serves is false for their keys until the member has a lease.
	Served []Range `json:"served"`
	// Taking are the ranges for which Take has not returned nil yet.
	Taking []Range `json:"taking"`
	// Failures is how often Take has returned an error, other than because its context ended.
	Failures uint64 `json:"failures"`
	// Err is the last such error. It is nil if there was none.
	Err error `json:"-"`
}

// Status returns the state of the Service.
func (s *Service) Status() ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := ServiceStatus{Failures: s.failures, Err: s.failed}
	for _, r := range s.now.ranges {
		st.Served = append(st.Served, r.Range)
	}
	for _, t := range s.calls {
		if t.taking() {
			st.Taking = append(st.Taking, t.of)
		}
	}
	return st
}

// Wait waits until all of the member's range is served: Serves is true for every key of it. With
// Config.Lease that includes the wait for the lease. Then it returns nil, also if the range has
// changed again by then. It returns the error of ctx if that ends before, ErrNotStarted if the
// member had not been started when Serve was called, and ErrStopped if the Service has ended, or
// is about to: it does not wait for a Take that goes on after its context has ended.
func (s *Service) Wait(ctx context.Context) error {
	for {
		moved, owned, done := s.all()
		if done {
			return nil
		}
		select {
		case <-moved:
		case <-owned:
		case <-time.After(s.member.cfg.interval()): // a member that hung may own again
		case <-s.ending:
			return s.why
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// all reports whether all of the member's range is served. That may be different once moved or
// owned is closed.
func (s *Service) all() (moved, owned <-chan struct{}, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.now.ranges) == 0 || slices.ContainsFunc(s.calls, (*handling).taking) {
		return s.moved, nil, false
	}
	for _, r := range s.now.ranges {
		count, next, ok := r.at.OwnsAll(r.arc())
		if !ok || !slices.Contains(s.now.changes, changes{r.at, count}) {
			return s.moved, next, false
		}
	}
	return s.moved, nil, true
}

// Done returns a channel that is closed when the Service has ended and every call of the Handler
// has returned.
func (s *Service) Done() <-chan struct{} { return s.ended }

// apply carries out a change of the member's range.
func (s *Service) apply(ctx context.Context, at *node.Node, e Event, h node.Holding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.changes = slices.DeleteFunc(slices.Clone(s.now.changes), func(c changes) bool { return c.of == at })
	if h.GivenUp() {
		delete(s.standIns, at)
		delete(s.givingUp, at)
	} else {
		s.now.changes = append(s.now.changes, changes{at, h.Changes})
	}
	if h.Has {
		s.held[at] = rangeOf(h.Arc)
	} else {
		delete(s.held, at)
	}
	for _, lost := range e.Lost {
		if in := s.standIns[at]; in != nil {
			in.Lose(lost.arc())
		}
		s.loseTo(ctx, at, lost, e.To, h)
	}
	for _, gained := range e.Gained {
		if p := s.prepared[at]; p == nil && !e.Returns.IsZero() && s.handler.StandIn {
			s.standIn(ctx, at, gained, e.Returns)
		} else {
			s.gain(ctx, at, p, gained, e.From)
		}
	}
	if len(e.Gained) > 0 {
		delete(s.prepared, at)
	}
	s.publish()
}

// listed is a list of x, empty if x is zero.
func listed(x Server) []Server {
	if x == (Server{}) {
		return nil
	}
	return []Server{x}
}

// take has a range taken over. From is who held it, if that is known. Callers hold mu.
func (s *Service) take(ctx context.Context, at *node.Node, gained Range, from Server) {
	if s.stopped(at) {
		return
	}
	t := s.call(ctx, at, gained, true, func(ctx context.Context) {
		s.untilTaken(ctx, at, gained, byClaim(ctx, gained, func(epoch uint64) error {
			return s.taken(ctx, at, gained, from, epoch)
		}), s.serve)
	})
	t.from = from
}

// byClaim calls take with the epoch of a claim that has all of a range. If the member does not
// claim that any more, ctx is about to end, and the epoch of what it claims now is not one of that.
func byClaim(ctx context.Context, r Range, take func(epoch uint64) error) func(*protocol.View) error {
	return func(v *protocol.View) error {
		if v.HasArc && len(r.arc().Minus(v.Arc)) == 0 {
			return take(v.Epoch)
		}
		select {
		case <-ctx.Done():
		case <-time.After(maxTakePause):
		}
		return ErrNotJoined
	}
}

// untilTaken calls take until it has returned nil, or ctx has ended, and then done.
func (s *Service) untilTaken(ctx context.Context, at *node.Node, r Range, take func(*protocol.View) error, done func(servedRange)) {
	logged := false
	for pause := leastTakePause; ; pause = min(2*pause, maxTakePause) {
		v := at.Snapshot().View
		err := take(v)
		if ctx.Err() != nil || s.settled(ctx, servedRange{Range: r, at: at, epoch: v.Epoch}, err, &logged, done) {
			return
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return
		}
	}
}

func (s *Service) taken(ctx context.Context, at *node.Node, gained Range, from Server, epoch uint64) error {
	if s.handler.Take == nil {
		return nil
	}
	return s.handler.Take(ctx, gained, s.holders(at, from), epoch)
}

// serve serves a range from now on. Callers hold mu.
func (s *Service) serve(r servedRange) {
	s.passed(r.at, r.Range)
	s.now.ranges = append(s.now.ranges, r)
}

// holders are the members that may have the data of a range which from held.
func (s *Service) holders(at *node.Node, from Server) []Server {
	return s.member.holders(from, at.Snapshot().View.Succ)
}

// settled notes what became of a Take, and reports whether that was the last. Done is called, with
// mu held, if it has returned nil.
func (s *Service) settled(ctx context.Context, r servedRange, err error, logged *bool, done func(servedRange)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil { // lost meanwhile
		return true
	}
	if err == nil {
		done(r)
		s.publish()
		if *logged {
			s.node.Note(slog.LevelInfo, "range taken over", node.Identifier("start", r.Start), node.Identifier("end", r.End))
		}
		return true
	}
	s.failures++
	s.failed = err
	if now := time.Now(); now.Sub(s.logged) >= takeLogPause {
		s.logged, *logged = now, true
		s.node.Note(slog.LevelWarn, "range not taken over", node.Identifier("start", r.Start), node.Identifier("end", r.End),
			slog.Any("err", err), slog.Uint64("failures", s.failures))
	}
	return false
}

// call calls f once every earlier call for a part of the range has returned, or, if it is a Take,
// not at all if its context has ended by then. Callers hold mu.
func (s *Service) call(ctx context.Context, at *node.Node, of Range, take bool, f func(context.Context)) *handling {
	t := &handling{of: of, at: at, take: take, done: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(ctx)
	var before []*handling
	for _, x := range s.calls {
		if len(x.of.Intersect(of)) > 0 {
			before = append(before, x)
		}
	}
	s.calls = append(s.calls, t)
	go func() {
		defer close(t.done)
		defer t.cancel()
		for _, x := range before {
			<-x.done
		}
		if !take || t.ctx.Err() == nil {
			f(t.ctx)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls = slices.DeleteFunc(s.calls, func(x *handling) bool { return x == t })
		s.publish()
	}()
	return t
}

// publish lets Serves see what is served. Callers hold mu.
func (s *Service) publish() {
	now := s.now
	now.ranges = slices.Clone(now.ranges)
	s.state.Store(&now)
	close(s.moved)
	s.moved = make(chan struct{})
}

// end stops serving, and waits for the calls that are being made.
func (s *Service) end() {
	s.mu.Lock()
	s.leaving = true
	s.serveNone()
	calls := slices.Clone(s.calls)
	s.mu.Unlock()
	close(s.ending)
	for _, t := range calls {
		<-t.done
	}
}

// serving are the Services that have not ended.
func (c *Concord) serving() []*Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.services)
}

// eachService calls f for every Service at once, and waits for all.
func (c *Concord) eachService(f func(*Service)) {
	var all sync.WaitGroup
	for _, s := range c.serving() {
		all.Go(func() { f(s) })
	}
	all.Wait()
}
