package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/transport"
)

// subscribed is what a client has of the maps of members. One goroutine, keepMap, has it
// told by one member after another, while there is a use for it.
type subscribed struct {
	lookedUp chan struct{} // holds a value if a lookup was made since usedMap was reset
	watched  chan struct{} // holds a value if a watcher has come

	mu       sync.Mutex // guards all below, and who writes Finder.chart
	copy     *ringmap.Copy
	running  bool          // keepMap
	watchers int           // loops of WatchRing
	last     time.Duration // when lookups were made last, as far as known
	current  bool          // the member subscribed at has told all, and goes on
	none     bool          // the members asked last tell clients nothing
}

// Why a client ends a subscription by itself.
var (
	errRenewed = errors.New("it is time for another member")
	errUnused  = errors.New("there is no use for the map")
)

// mostUnable is how many members in a row that tell clients nothing are asked before a pause.
const mostUnable = 3

// beginMap makes the client's map, which is empty.
func (c *Client) beginMap() {
	c.sub.copy = ringmap.NewCopy(c.space.Bits)
	c.sub.lookedUp, c.sub.watched = make(chan struct{}, 1), make(chan struct{}, 1)
	c.sub.last = -ringmap.Idle
	c.confirmed = func(owner ring.Member, arc ring.Arc) {
		c.onCopy(func(m *ringmap.Copy) { m.Confirm(owner, arc) })
	}
	c.struck = func(who func(ring.Member) bool) {
		c.onCopy(func(m *ringmap.Copy) { m.Strike(c.now(), who) })
	}
	c.tellMap = func(id uint64, owner ring.Instance) {
		c.onCopy(func(m *ringmap.Copy) { m.Named(c.now(), id, owner) })
	}
	if !c.cfg.NoSubscribe {
		c.used = func() { c.wantMap(c.sub.lookedUp, 0) }
	}
}

// onCopy changes the map.
func (c *Client) onCopy(f func(*ringmap.Copy)) {
	c.sub.mu.Lock()
	defer c.sub.mu.Unlock()
	f(c.sub.copy)
	c.publishCopy()
}

// publishCopy lets lookups use the map as it is. Callers hold sub.mu.
func (c *Client) publishCopy() {
	if !c.sub.copy.Complete() {
		return
	}
	if s := c.sub.copy.Snapshot(); s != c.chart.Load() {
		c.promised.Store(int64(c.sub.copy.Promised()))
		c.chart.Store(s)
		c.charts.wake()
	}
}

// watch notes that one more loop of WatchRing runs, and end that it runs no more.
func (c *Client) watch() (end func()) {
	c.wantMap(c.sub.watched, 1)
	return func() {
		c.sub.mu.Lock()
		defer c.sub.mu.Unlock()
		c.sub.watchers--
	}
}

// wantMap has keepMap run, and tells it by a channel who has a use for the map.
func (c *Client) wantMap(tell chan struct{}, watchers int) {
	c.sub.mu.Lock()
	defer c.sub.mu.Unlock()
	c.sub.watchers += watchers
	select {
	case tell <- struct{}{}:
	default:
	}
	c.boarding.Lock()
	defer c.boarding.Unlock()
	if c.sub.running || c.ended {
		return
	}
	c.sub.running = true
	c.wg.Go(c.keepMap)
}

// mapped reports whether the map is that of a member that still tells of it, and whether
// no member does.
func (c *Client) mapped() (current, none bool) {
	c.sub.mu.Lock()
	defer c.sub.mu.Unlock()
	return c.sub.current, c.sub.none
}

// keepMap subscribes at one member after another, while lookups are made regularly or
// somebody watches the ring.
func (c *Client) keepMap() {
	for !c.rest() {
		if c.regular() {
			c.subscribeOn()
		}
	}
}

// rest reports whether there is nothing to do, which ends keepMap.
func (c *Client) rest() bool {
	c.usedMap.Store(false)
	c.sub.mu.Lock()
	defer c.sub.mu.Unlock()
	if c.ctx.Err() == nil && len(c.sub.lookedUp)+len(c.sub.watched) > 0 {
		return false
	}
	c.sub.running = false
	return true
}

// regular waits until somebody watches the ring or it is plain that lookups are made
// regularly, and reports whether that is so.
func (c *Client) regular() bool {
	for _, wait := range []time.Duration{ringmap.Regular, ringmap.Idle} {
		select {
		case <-c.sub.lookedUp:
		default:
		}
		c.usedMap.Store(false)
		lookedUp := c.sub.lookedUp
		if wait == ringmap.Regular {
			lookedUp = nil // they may all be of one moment
		}
		timer := time.NewTimer(wait)
		select {
		case <-c.sub.watched:
			timer.Stop()
			return true
		case <-lookedUp:
			timer.Stop()
			c.usedMap.Store(true)
			return true
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			return false
		}
	}
	return false
}

// inUse reports whether there is a use for the map: lookups are made, or somebody watches.
func (c *Client) inUse() bool {
	used := c.usedMap.Swap(false)
	c.sub.mu.Lock()
	defer c.sub.mu.Unlock()
	if used {
		c.sub.last = c.now()
	}
	lookups := !c.cfg.NoSubscribe && c.now()-c.sub.last < ringmap.Idle
	return (lookups || c.sub.watchers > 0) && c.ctx.Err() == nil
}

// subscribeOn subscribes until there is no use for the map.
func (c *Client) subscribeOn() {
	var made protocol.Attempts
	var at ring.Member
	unable := 0
	for c.inUse() {
		began := c.now()
		var f *protocol.Failure
		if at = c.host(at, made.Failed); at.IsZero() {
			c.look()
			f = errStopping
		} else {
			f = c.subscribe(at)
		}
		if f != nil && f.Kind == protocol.Invalid {
			unable++
		} else {
			unable = 0
		}
		none := unable > 0 && unable >= min(mostUnable, len(c.everybody()))
		c.sub.mu.Lock()
		c.sub.current, c.sub.none = false, none
		c.sub.mu.Unlock()
		var wait time.Duration
		switch {
		case none:
			c.charts.wake()
			wait = ringmap.Idle
		case f == nil, unable == 0 && c.now()-began >= ringmap.Regular:
			made = protocol.Attempts{}
			continue
		default:
			made = made.Repeat()
			wait = made.Pause(rand.Float64())
		}
		if !pause(c.ctx, c.ctx, wait) {
			return
		}
	}
}

// host picks the member to subscribe at, after failed attempts in a row: any on the map,
// and by turns with these a contact. It is another than the last, if there is another. Zero:
// nobody is known.
func (c *Client) host(last ring.Member, failed int) ring.Member {
	c.mu.Lock()
	contacts := c.contacts.List()
	c.mu.Unlock()
	c.sub.mu.Lock()
	defer c.sub.mu.Unlock()
	n := c.sub.copy.Len()
	var second ring.Member
	for i := range len(contacts) + mostUnable {
		x := ring.Member{}
		if on, ok := c.sub.copy.At(rand.IntN(max(1, n))); ok && failed%2 == 0 {
			x = on
		} else if len(contacts) > 0 {
			x = contacts[(failed/2+i)%len(contacts)]
		}
		switch {
		case x.IsZero() || x.Legacy() && n > 0:
		case x == last || c.peers.suspicions().Avoided(x, c.now()):
			second = x
		default:
			return x
		}
	}
	return second
}

// subscribe has one member tell of its map. It returns why it has ended, nil if that was the
// client's own decision.
func (c *Client) subscribe(at ring.Member) *protocol.Failure {
	if at.Legacy() {
		return transport.ErrTellsNothing
	}
	taken, f := c.mayAsk(c.ctx, netip.Addr{}, at)
	if f != nil {
		return f
	}
	s := &subscription{c: c, at: at, asked: c.now()}
	defer func() { c.dialled(taken, at.Addr, s.failure) }()
	s.run()
	return s.failure
}

// subscription is one that is under way.
type subscription struct {
	c       *Client
	at      ring.Member
	asked   time.Duration
	begun   bool // a message has come
	silence *time.Timer
	told    func(*protocol.Failure) // the observer, how it has begun
	failure *protocol.Failure
}

func (s *subscription) run() {
	c := s.c
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	c.sub.mu.Lock()
	req := c.sub.copy.Subscribe(s.asked, s.at)
	c.sub.mu.Unlock()
	s.silence = time.AfterFunc(c.peers.of(s.at.Addr).Timeout(0), func() { cancel(context.DeadlineExceeded) })
	defer s.silence.Stop()
	c.counters.subscriptions.Add(1)
	_, s.told = observed(ctx, c.observer.Request, kindMap, s.at)
	err := c.tr.Subscribe(ctx, transport.Envelope{To: s.at, Settings: c.settings}, &req, s.receive)
	switch {
	case errors.Is(err, errRenewed), errors.Is(err, errUnused), errors.Is(err, transport.ErrMoved):
		return
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		s.failure = &protocol.Failure{Kind: protocol.TimedOut, Detail: "nothing has come for too long"}
	default:
		s.failure = c.checkFailure(ctx, failure(err))
	}
	if k := s.failure.Kind; s.failure != transport.ErrTellsNothing && (k == protocol.Invalid || k == protocol.Denied) {
		c.failed(s.at, s.failure, c.now()-s.asked)
	}
	if !s.begun {
		s.told(s.failure)
		c.measure(s.at, c.now()-s.asked, s.failure, false)
	}
	if s.failure.Kind != protocol.TimedOut { // of one time-out lookups conclude nothing
		c.noteOutcome(s.at, s.failure)
	}
}

// receive takes one message. Its error ends the subscription.
func (s *subscription) receive(u *ringmap.Update) error {
	c := s.c
	if f := c.checkClaims(answer, s.at, u.Claims); f != nil {
		f.Kind = protocol.Invalid
		return f
	}
	if !s.begun {
		s.begun = true
		s.told(nil)
		c.measure(s.at, c.now()-s.asked, nil, false)
		c.noteOutcome(s.at, nil)
	}
	c.peers.zones.hearClaims(u.Claims)
	c.sub.mu.Lock()
	err := c.sub.copy.Receive(c.now(), u)
	if err == nil {
		if c.sub.copy.Current() && !c.sub.current {
			c.sub.current, c.sub.none = true, false
			c.charts.wake()
		}
		c.publishCopy()
		s.silence.Reset(c.sub.copy.Silent() - c.now())
	}
	others := c.sub.copy.Len() > 1
	c.sub.mu.Unlock()
	if err != nil {
		return &protocol.Failure{Kind: protocol.Invalid, By: s.at, Detail: "what it tells of its map: " + err.Error()}
	}
	if u.More {
		return nil
	}
	switch {
	case !c.inUse():
		return errUnused
	case others && c.now()-s.asked >= ringmap.Renewed:
		return errRenewed
	}
	return nil
}
