package grpctransport

import (
	"container/list"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/ollelogdahl/concord/internal/ring"
)

// redialAfter is how old a link that leads to another than the member asked for must be
// before a question for that member replaces it. So an address that always leads to
// somebody else costs at most one connection in this time.
const redialAfter = time.Second

// errClosed is the error of requests after close.
var errClosed = errors.New("the transport is closed")

// endpoint is an address to be reached, and the host name that its certificate must
// be good for; empty: the host of the address.
type endpoint struct {
	addr, host string
	// question numbers the questions to an address alone. Each has a connection of
	// its own, since the next connection to the address may lead to another member.
	// Zero: the connection is shared by all questions to a member.
	question uint64
	// member is the identifier of the member that calls are for; zero for the ring's own
	// questions.
	member uint64
}

// pool is the outgoing connections: at most one link and one attempt to make
// one for each endpoint.
type pool struct {
	dial    func(ctx context.Context, addr string) (net.Conn, error)
	creds   credentials.TransportCredentials
	timeout time.Duration
	maxAge  time.Duration  // of connections, see ageOf
	written *atomic.Uint64 // bytes, to all links
	streams streamPolicy
	options []grpc.DialOption // of every link
	// made, if set, is called by each attempt, with a link or why there is none. Its error
	// is that of the attempt.
	made func(ctx context.Context, to endpoint, who ring.Member, l *link, err error) error

	mu         sync.Mutex // guards all below; held briefly, and never while calling out
	byEndpoint map[endpoint]*link
	attempts   map[endpoint]*attempt
	links      map[*link]struct{} // all that are open, retired ones too
	idle       list.List          // of *link, most recently used first
	questions  uint64             // to addresses alone, so far
	max        int                // of idle
	sweeper    *time.Timer        // nil unless armed
	sweepAt    time.Time          // when it is armed for
	broken     func(addr string)
	closed     bool

	running sync.WaitGroup // every goroutine, and the sweeper while armed
}

// attempt is a connection being made.
type attempt struct {
	cancel  context.CancelFunc
	waiters int           // guarded by pool.mu
	done    chan struct{} // closed once link and err are set
	link    *link         // each waiter holds one use of it
	err     error
}

func newPool(dial func(context.Context, string) (net.Conn, error), creds credentials.TransportCredentials, timeout, maxAge time.Duration, written *atomic.Uint64) *pool {
	return &pool{
		dial:       dial,
		creds:      creds,
		timeout:    timeout,
		maxAge:     maxAge,
		written:    written,
		byEndpoint: make(map[endpoint]*link),
		attempts:   make(map[endpoint]*attempt),
		links:      make(map[*link]struct{}),
		max:        defaultIdleLimit,
		options:    ringOptions(),
	}
}

// acquire is a link to an endpoint for a question to who, to be given back by release,
// and whether it was there already. A link that does not serve who is replaced: an
// address is not a member, and a new connection may lead elsewhere. Any error but those
// of ctx and errClosed is that of an attempt begun after the call.
func (p *pool) acquire(ctx context.Context, to endpoint, who ring.Member) (l *link, reused bool, err error) {
	for fresh := false; ; fresh = true {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, false, errClosed
		}
		if err := ctx.Err(); err != nil {
			p.mu.Unlock()
			return nil, false, err
		}
		if l := p.byEndpoint[to]; l != nil {
			if fresh || l.serves(who) {
				p.use(l)
				p.mu.Unlock()
				return l, !fresh, nil
			}
			p.retireLocked(l)
		}
		a := p.attempts[to]
		if a == nil {
			a, fresh = p.begin(to, who), true
		}
		a.waiters++
		p.mu.Unlock()

		select {
		case <-a.done:
			switch {
			case a.link != nil:
				return a.link, !fresh, nil
			case fresh:
				return nil, false, a.err
			}
		case <-ctx.Done():
			p.giveUp(a)
			return nil, false, ctx.Err()
		}
	}
}

// begin starts an attempt to reach who at an endpoint. Callers hold mu.
func (p *pool) begin(to endpoint, who ring.Member) *attempt {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	a := &attempt{cancel: cancel, done: make(chan struct{})}
	p.attempts[to] = a
	p.running.Go(func() {
		defer cancel()
		var l *link
		began := time.Now()
		conn, err := p.dial(ctx, to.addr)
		took := time.Since(began)
		if err == nil {
			l, err = newLink(p, to, conn, p.creds)
		}
		if err == nil {
			l.trip.Store(int64(took))
		}
		if p.made != nil {
			if err = p.made(ctx, to, who, l, err); err != nil && l != nil {
				l.close()
				l = nil
			}
		}
		p.finish(to, a, l, err)
	})
	return a
}

// finish hands what became of an attempt to those who wait for it.
func (p *pool) finish(to endpoint, a *attempt, l *link, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(a.done)
	delete(p.attempts, to)
	if err == nil && (p.closed || a.waiters == 0) {
		err = errClosed
		p.running.Go(l.close)
		l.ours = true
	}
	if err != nil {
		a.err = err
		return
	}
	a.link = l
	l.uses = a.waiters
	p.links[l] = struct{}{}
	if !l.retired { // else its handshake has failed already
		p.byEndpoint[to] = l
	}
}

// start runs f, which ends with its link. It reports false, and does nothing, if the
// pool is closed.
func (p *pool) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.running.Go(f)
	return true
}

// giveUp is for a waiter that no longer waits. The last one ends the attempt.
func (p *pool) giveUp(a *attempt) {
	p.mu.Lock()
	a.waiters--
	l := a.link
	if a.waiters == 0 {
		a.cancel()
	}
	p.mu.Unlock()
	if l != nil {
		p.release(l)
	}
}

// use counts one more request on l. Callers hold mu.
func (p *pool) use(l *link) {
	l.uses++
	if l.idle != nil {
		p.idle.Remove(l.idle)
		l.idle = nil
	}
}

// release ends one use of l.
func (p *pool) release(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.uses--
	if l.uses > 0 || p.closed {
		return
	}
	switch {
	case l.retired:
		p.discard(l)
	case l.question == 0:
		p.rest(l)
	}
}

// rest makes l idle, as no request is at work on it. Callers hold mu.
func (p *pool) rest(l *link) {
	l.since = time.Now()
	l.idle = p.idle.PushFront(l)
	p.trim()
	if l.idle != nil {
		p.arm(min(p.timeout, l.left()))
	}
}

// apart is the endpoint of a new question to whoever is at the address of to. The
// caller gives its connection back by part.
func (p *pool) apart(to endpoint) endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.questions++
	to.question = p.questions
	return to
}

// part ends the use of a question's own connection, if one was made. With keep it is
// that of the member at the address from now on, unless that has one already; else
// it is closed.
func (p *pool) part(to endpoint, keep bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byEndpoint[to]
	if l == nil || p.closed {
		return
	}
	shared := to
	shared.question = 0
	if !keep || p.byEndpoint[shared] != nil || p.attempts[shared] != nil {
		p.retireLocked(l)
		return
	}
	delete(p.byEndpoint, to)
	l.endpoint, p.byEndpoint[shared] = shared, l
	if l.uses == 0 {
		p.rest(l)
	}
}

// astray notes that l does not lead to the member that it was asked for, but to by; zero:
// to nobody who says who it is.
func (p *pool) astray(l *link, by ring.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.by = by
	l.astray.Store(true)
}

// found notes that a member asked for has answered on l.
func (p *pool) found(l *link) {
	if !l.astray.Load() || l.dialect() != extended {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.by.IsZero() {
		l.astray.Store(false)
	}
}

// reaches reports whether the last request to the address of x was meant for x, and x is
// there as far as known.
func (p *pool) reaches(x ring.Member) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.byEndpoint[endpoint{addr: x.Addr}]
	if l == nil || l.astray.Load() || l.over.Load() || l.dialect() != extended {
		return false
	}
	a := l.asking.Load()
	return a != nil && a.env.To.ID == x.ID && a.env.To.Incarnation == x.Incarnation
}

// retire keeps new requests from l; it is closed once none is at work on it.
func (p *pool) retire(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retireLocked(l)
}

func (p *pool) retireLocked(l *link) {
	if l.retired || p.closed {
		return
	}
	l.retired = true
	if p.byEndpoint[l.endpoint] == l {
		delete(p.byEndpoint, l.endpoint)
	}
	if l.idle != nil {
		p.idle.Remove(l.idle)
		l.idle = nil
	}
	if _, open := p.links[l]; open && l.uses == 0 {
		p.discard(l)
	}
}

// discard closes l, in a goroutine of its own: gRPC may take a while over
// saying good-bye, and this may be one of its goroutines. Callers hold mu.
func (p *pool) discard(l *link) {
	l.ours = true
	delete(p.links, l)
	p.running.Go(l.close)
}

// ended is told once of every link's end, by whichever side.
func (p *pool) ended(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	broken := l.up() && !l.ours
	p.retireLocked(l)
	if f := p.broken; broken && f != nil {
		p.running.Go(func() { f(l.addr) })
	}
}

// trim closes idle links beyond the limit. Callers hold mu.
func (p *pool) trim() {
	for p.idle.Len() > p.max {
		p.retireLocked(p.idle.Back().Value.(*link))
	}
}

// arm has the idle links looked at after d, or before. Callers hold mu.
func (p *pool) arm(d time.Duration) {
	at := time.Now().Add(d)
	if p.sweeper != nil {
		if !at.Before(p.sweepAt) || !p.sweeper.Stop() {
			return // it looks before that, or now
		}
		p.running.Done()
	}
	p.running.Add(1)
	p.sweeper, p.sweepAt = time.AfterFunc(d, p.sweep), at
}

// sweep closes the links that have been idle for too long, or are to be replaced.
func (p *pool) sweep() {
	defer p.running.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweeper = nil
	if p.closed {
		return
	}
	next := p.timeout
	for e := p.idle.Back(); e != nil; {
		l := e.Value.(*link)
		e = e.Prev()
		if left := min(p.timeout-time.Since(l.since), l.left()); left <= 0 {
			p.retireLocked(l)
		} else {
			next = min(next, left)
		}
	}
	if p.idle.Len() > 0 {
		p.arm(next)
	}
}

func (p *pool) onBroken(f func(addr string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = f
}

func (p *pool) limit(idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.max = max(0, idle)
	if !p.closed {
		p.trim()
	}
}

func (p *pool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links) + len(p.attempts)
}

// close ends every link and attempt and waits for all goroutines.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, a := range p.attempts {
		a.cancel()
	}
	var open []*link
	for l := range p.links {
		l.ours = true
		open = append(open, l)
	}
	clear(p.links)
	clear(p.byEndpoint)
	if p.sweeper != nil && p.sweeper.Stop() {
		p.running.Done()
	}
	p.mu.Unlock()

	var closing sync.WaitGroup
	for _, l := range open {
		closing.Go(l.close)
	}
	closing.Wait()
	p.running.Wait()
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}
