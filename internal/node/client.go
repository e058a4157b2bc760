package node

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// ClientConfig is what a client is made of. All fields but Resolver, Log,
// Inspect, Admit, Proven and Observer are required.
type ClientConfig struct {
	Space    ring.Space
	Settings ring.Settings
	// Addrs is where members are found: to begin with, and again when none of
	// those met since answers.
	Addrs []string
	// Resolver makes addresses of names among Addrs; nil: there are none.
	Resolver *bootstrap.Resolver
	// Log is told of members that do not answer; nil: nothing is logged.
	Log *slog.Logger
	// Inspect, Admit and Proven are as in Config.
	Inspect func(context.Context) []Remark
	Admit   func(transport.Claim) error
	Proven  bool
	// NoSubscribe: lookups do not make the client subscribe at a member.
	NoSubscribe bool
	// Observer is told of lookups, requests and suspicions.
	Observer Observer
}

// Client finds owners in a ring without being a member. It has no rounds: it asks
// when somebody wants to know, and has a member tell it of its map while that is often.
type Client struct {
	Finder
	cfg ClientConfig
	sub subscribed

	mu       sync.Mutex // guards all below, and who writes snap
	contacts routing.Contacts
	changed  chan struct{}                     // closed when the next snapshot is there
	looking  bool                              // for the ring, since lookups are stuck
	asking   map[ring.Member]bool              // asked for the ring and not heard of yet
	answered map[ring.Member]*protocol.Failure // what each said last, nil if it is in the ring
}

// NewClient makes a client that knows nobody yet; Dial is next. It asks over tr
// and closes it when it is closed itself.
func NewClient(cfg ClientConfig, tr transport.Transport) *Client {
	return newClient(cfg, newProcess(), tr)
}

// newClient is NewClient for one that has what its process knows in common with others.
func newClient(cfg ClientConfig, p *process, tr transport.Transport) *Client {
	c := &Client{cfg: cfg, changed: make(chan struct{}), asking: map[ring.Member]bool{}, answered: map[ring.Member]*protocol.Failure{}}
	c.begin(p, tr, cfg.Space, cfg.Settings, 0, routing.MaxLease, cfg.Log, cfg.Admit)
	c.resolver, c.proven = cfg.Resolver, cfg.Proven
	c.stuck, c.lost, c.heard, c.observer = c.look, c.forget, c.replenish, cfg.Observer
	c.beginMap()
	c.snap.Store(&Snapshot{Next: c.changed})
	tr.Broken(func(addr string) {
		c.counters.broken.Add(1)
		c.broken(addr)
	})
	c.wg.Go(c.confirmArcs)
	c.inspect(cfg.Inspect)
	return c
}

// broken hears from the transport that a connection ended.
func (c *Client) broken(addr string) {
	c.arcs.DoubtAddress(addr)
	c.struck(func(x ring.Member) bool { return x.Addr == addr })
}

// Close ends the client: every lookup and every goroutine. Calls after the first
// wait as well.
func (c *Client) Close() {
	c.cancel()
	c.mu.Lock()
	c.snap.Store(&Snapshot{Next: c.changed}) // nothing is remembered
	c.mu.Unlock()
	c.close()
	c.process.end()
}

// Dial asks the addresses until a member answers from within the ring. What can
// get better is tried again until ctx ends. The error is ErrClosed or a *JoinError.
func (c *Client) Dial(ctx context.Context) error {
	var made protocol.Attempts
	began := time.Now()
	told := began
	for {
		causes := c.ask(ctx, routing.Contacts{}.Everybody(nil, c.cfg.Addrs), made.Failed)
		switch {
		case causes == nil:
			return nil
		case c.ctx.Err() != nil:
			return ErrClosed
		case over(ctx):
			if made.Failed > 0 {
				// What it was told says more than that this attempt was cut short.
				causes = made.Causes
			}
			return newJoinError(causes, ring.Member{}, ended(ctx))
		}
		var hopeless bool
		if made, hopeless = made.Fail(causes, protocol.Newcomer{}, c.now()); hopeless {
			return newJoinError(causes, ring.Member{}, nil)
		}
		if time.Since(told) >= joinReportEvery {
			told = time.Now()
			c.logLooking(began, causes)
		}
		if !pause(ctx, c.ctx, made.Pause(rand.Float64())) && c.ctx.Err() == nil {
			return newJoinError(causes, ring.Member{}, ctx.Err())
		}
	}
}

// logLooking logs what each of those asked for the ring has answered.
func (c *Client) logLooking(began time.Time, causes []protocol.JoinCause) {
	c.Note(slog.LevelWarn, "no member of a ring found yet", slog.Duration("for", time.Since(began).Truncate(time.Second)), slog.String("answers", answers(causes)))
}

// pause waits for a while, and reports whether both contexts lasted that long.
func pause(ctx, own context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-own.Done():
	}
	return false
}

// ask asks members for their ring, many at once, and takes the first that answers
// from within one as a contact. It returns nil then, else why none has.
func (c *Client) ask(ctx context.Context, whom []ring.Member, attempt int) []protocol.JoinCause {
	return c.askAll(ctx, whom, func(ctx context.Context, x ring.Member) *protocol.Failure { return c.askOne(ctx, x, attempt) })
}

// askAll is ask by a function that asks one of them.
func (c *Client) askAll(ctx context.Context, whom []ring.Member, one func(context.Context, ring.Member) *protocol.Failure) []protocol.JoinCause {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	causes := make([]protocol.JoinCause, len(whom))
	room := make(chan struct{}, routing.MaxAsking)
	var asking sync.WaitGroup
	for i, x := range whom {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			f := one(ctx, x)
			causes[i] = protocol.JoinCause{At: x, Failure: f}
			if f == nil {
				cancel()
			}
		})
	}
	asking.Wait()
	if slices.ContainsFunc(causes, func(x protocol.JoinCause) bool { return x.Failure == nil }) {
		return nil
	}
	return causes
}

// askOne asks one member for its ring. One that has drained may name others, who are asked
// in its place.
func (c *Client) askOne(ctx context.Context, x ring.Member, attempt int) *protocol.Failure {
	others, f := c.askState(ctx, x, attempt)
	if f == nil || len(others) == 0 {
		return f
	}
	if c.askAll(ctx, others, func(ctx context.Context, y ring.Member) *protocol.Failure {
		_, f := c.askState(ctx, y, attempt)
		return f
	}) == nil {
		return nil
	}
	return f
}

// askState asks one member for its ring, and returns whom it names if it is in none.
func (c *Client) askState(ctx context.Context, x ring.Member, attempt int) (others []ring.Member, f *protocol.Failure) {
	reply, f := c.maintain(ctx, transport.Envelope{To: x, Settings: c.settings},
		protocol.Request{Kind: protocol.AskRing}, c.peers.of(x.Addr).Timeout(attempt))
	if x.Name != "" {
		c.noteOutcome(x, f)
	}
	st := reply.State
	switch {
	case f != nil:
		return nil, f
	case !st.Phase.InRing():
		return st.Succ, &protocol.Failure{Kind: protocol.NotJoined, By: st.Self, Detail: st.Phase.String()}
	case !c.meet(st):
		return nil, &protocol.Failure{Kind: protocol.Invalid, Detail: "the answer names no member"}
	}
	return nil, nil
}

// Walk asks every member of the ring for its place, beginning at a contact that
// answers; see Finder.walk. The last error, which ends it, is that of ctx, ErrClosed
// or a *JoinError: nobody answers.
func (c *Client) Walk(ctx context.Context) iter.Seq2[Met, error] {
	return func(yield func(Met, error) bool) {
		everybody := c.everybody()
		var causes []protocol.JoinCause
		for _, some := range [][]ring.Member{everybody[:1], everybody} {
			if causes = c.ask(ctx, some, 0); causes == nil {
				break
			}
		}
		c.mu.Lock()
		contacts := c.contacts.List()
		c.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			yield(Met{}, ErrClosed)
		case ctx.Err() != nil:
			yield(Met{}, ctx.Err())
		case causes != nil || len(contacts) == 0:
			yield(Met{}, newJoinError(causes, ring.Member{}, nil))
		default:
			// The first has just answered; the others are only known.
			c.walk(ctx, contacts[0].ID, nil, contacts, clientWalked, yield)
		}
	}
}

// meet makes a member that has answered a contact, and some of those that it
// names. It reports false if nobody was named.
func (c *Client) meet(st protocol.State) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publish(c.contacts.Meet(st.Self, st.Pred, st.Succ, c.peers.suspicions(), c.now()))
	return len(c.contacts.List()) > 0
}

// replenish makes a member that has answered a lookup a contact, if few are left.
func (c *Client) replenish(x ring.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if contacts, added := c.contacts.Replenish(x); added {
		c.publish(contacts)
	}
}

// forget makes one that is gone a contact no longer.
func (c *Client) forget(l protocol.Lost) {
	if !l.Gone {
		return
	}
	c.struck(func(x ring.Member) bool { return x.Addr == l.Addr && (l.Who.IsZero() || x == l.Who) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if contacts, forgotten := c.contacts.Forget(l.Addr, l.Who); forgotten {
		c.publish(contacts)
	}
}

// publish lets lookups begin at these contacts, unless the client is closed. Callers
// hold mu.
func (c *Client) publish(contacts routing.Contacts) {
	if c.ctx.Err() != nil {
		return
	}
	c.contacts = contacts
	next := make(chan struct{})
	c.snap.Store(&Snapshot{Table: contacts.Table(c.space.Bits, c.peers.suspicions(), c.now()), Next: next})
	close(c.changed)
	c.changed = next
}

// look begins to look for the ring, unless that is being done.
func (c *Client) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boarding.Lock()
	defer c.boarding.Unlock()
	if c.looking || c.ended {
		return
	}
	c.looking = true
	c.wg.Go(c.lookForRing)
}

// lookForRing asks everybody known for a way into the ring, as long as lookups
// wait for one.
func (c *Client) lookForRing() {
	var made protocol.Attempts
	from := 0
	var asking sync.WaitGroup
	defer asking.Wait()
	began := time.Now()
	told := began
	c.mu.Lock()
	clear(c.answered)
	c.mu.Unlock()
	for {
		from = c.askEverybody(&asking, from, made.Failed)
		if time.Since(told) >= joinReportEvery {
			told = time.Now()
			c.logLooking(began, c.lastAnswers())
		}
		made = made.Repeat()
		more := pause(c.ctx, c.ctx, made.Pause(rand.Float64()))
		c.mu.Lock()
		if !more || c.waits.Load() == 0 {
			c.looking = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}

// askEverybody asks all for the ring whose turn it is, see routing.Turn, and returns
// where the next turn begins.
func (c *Client) askEverybody(asking *sync.WaitGroup, from, attempt int) int {
	all := c.everybody()
	c.mu.Lock()
	defer c.mu.Unlock()
	ask, next := routing.Turn(all, from, len(c.asking), func(x ring.Member) bool { return c.asking[x] })
	for _, x := range ask {
		c.asking[x] = true
		asking.Go(func() {
			f := c.askOne(c.ctx, x, attempt)
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.asking, x)
			if c.log != nil && len(c.answered) < maxFailures {
				c.answered[x] = f
			}
		})
	}
	return next
}

// lastAnswers are the failures of those asked since the client began to look for the
// ring, one for each.
func (c *Client) lastAnswers() []protocol.JoinCause {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []protocol.JoinCause
	for x, f := range c.answered {
		if f != nil {
			out = append(out, protocol.JoinCause{At: x, Failure: f})
		}
	}
	slices.SortFunc(out, func(a, b protocol.JoinCause) int { return cmp.Compare(a.At.Addr, b.At.Addr) })
	return out
}

// everybody lists whom to ask for the ring.
func (c *Client) everybody() []ring.Member {
	c.mu.Lock()
	contacts := c.contacts
	c.mu.Unlock()
	return contacts.Everybody(c.arcs, c.cfg.Addrs)
}
