package grpctransport

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"

	"github.com/ollelogdahl/concord/internal/transport/budget"
)

// acceptRetry is longer than the time between two attempts to accept after a failure:
// gRPC waits for up to a second.
const acceptRetry = 3 * time.Second

// listener keeps count of the connections it accepted, so that Close can end
// them all. gRPC's Stop does not end those that are still shaking hands, but
// waits for them. That of a Port accepts none: it takes in those of an application.
type listener struct {
	net.Listener
	written *atomic.Uint64 // bytes
	budget  *budget.Budget
	refused func(from net.Addr, why string)
	byAddr  sync.Map // of a Port: *inbound by its address, a *net.TCPAddr of its own

	mu     sync.Mutex
	conns  map[*inbound]struct{}
	closed bool
	deaf   deafness
}

// deafness is how often, and since when, connections cannot be accepted.
type deafness struct {
	count       uint64
	first, last time.Time // of the failures in a row
	err         error
	lasting     bool // nothing will be accepted any more
}

// inbound is a connection that was accepted.
type inbound struct {
	net.Conn
	reader  *reader
	lis     *listener
	budget  *budget.Conn
	from    remote
	gone    chan struct{} // closed when it is
	ending  sync.Once
	streams atomic.Int32          // of requests, open
	party   atomic.Pointer[party] // the other side; nil before the handshake is done
	tcp     *net.TCPAddr          // in place of from, where an application looks at it; nil: not so
	asked   atomic.Bool           // a request of ours has come
	shared  atomic.Bool           // a request for the application has come
	expiry  *time.Timer           // guarded by lis.mu; nil: it has no end of its own
}

// remote is where a connection comes from: the address of a peer as gRPC has it.
type remote struct {
	net.Addr
	host netip.Addr // invalid: it comes from none
	conn *inbound
}

func newListener(lis net.Listener, written *atomic.Uint64, limits budget.Limits, refused func(net.Addr, string)) *listener {
	return &listener{
		Listener: lis, written: written, budget: budget.New(limits), refused: refused,
		conns: make(map[*inbound]struct{}),
	}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.failed(err)
			return nil, err
		}
		if c := l.admit(conn); c != nil {
			return c, nil
		}
	}
}

// admit takes a connection in, or closes it and returns nil.
func (l *listener) admit(conn net.Conn) *inbound {
	c := &inbound{Conn: conn, reader: newReader(conn), lis: l, gone: make(chan struct{})}
	c.from = remote{Addr: conn.RemoteAddr(), host: hostOf(conn.RemoteAddr()), conn: c}
	if tcp, ok := c.from.Addr.(*net.TCPAddr); ok && l.Listener == nil {
		own := *tcp
		c.tcp = &own
		l.byAddr.Store(c.tcp, c)
	}
	room, err := l.budget.Admit(c.from.host, func(why string) {
		l.refused(c.from, "closed: "+why)
		_ = c.Close()
	})
	if err != nil {
		l.refused(c.from, err.Error())
		l.forget(c)
		_ = conn.Close()
		return nil
	}
	c.budget = room
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.conns[c] = struct{}{}
	}
	l.mu.Unlock()
	if closed {
		_ = c.Close()
		return nil
	}
	return c
}

// failed notes that no connection could be accepted, unless that is the end.
func (l *listener) failed(err error) {
	now := time.Now()
	l.mu.Lock()
	closed := l.closed
	if !closed {
		if now.Sub(l.deaf.last) > acceptRetry {
			l.deaf.first = now
		}
		l.deaf.last, l.deaf.err = now, err
		l.deaf.count++
	}
	l.mu.Unlock()
	if !closed {
		l.refused(nil, "no connection can be accepted: "+words(err))
	}
}

// ended notes that nothing will be accepted any more, if that is not this side's doing.
func (l *listener) ended(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && err != nil {
		l.deaf.lasting, l.deaf.err, l.deaf.last = true, err, time.Now()
		if l.deaf.first.IsZero() {
			l.deaf.first = l.deaf.last
		}
	}
}

// deafFor is for how long nothing could be accepted, and why: 0 if it can.
func (l *listener) deafFor() (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := &l.deaf
	if d.err == nil || !d.lasting && time.Since(d.last) > acceptRetry {
		return 0, nil
	}
	return max(time.Since(d.first), time.Nanosecond), d.err
}

func (l *listener) failures() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deaf.count
}

// hostOf is the IP address of a, invalid if it has none.
func hostOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case remote:
		return a.host
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// RemoteAddr implements net.Conn. It tells the rest of this package which connection
// that of a request is.
func (c *inbound) RemoteAddr() net.Addr {
	if c.tcp != nil {
		return c.tcp
	}
	return c.from
}

// connection is that of the request of ctx, nil if it is not known.
func (l *listener) connection(ctx context.Context) *inbound {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	var c *inbound
	switch a := p.Addr.(type) {
	case remote:
		c = a.conn
	case *net.TCPAddr:
		if found, ok := l.byAddr.Load(a); ok {
			c, _ = found.(*inbound)
		}
	}
	if c == nil || c.lis != l {
		return nil
	}
	return c
}

// forget is for a connection that has ended, or was never taken in.
func (l *listener) forget(c *inbound) {
	if c.tcp != nil {
		l.byAddr.Delete(c.tcp)
	}
}

// Read implements net.Conn.
func (c *inbound) Read(b []byte) (int, error) {
	c.budget.Read()
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.budget.Await(c.gone)
	}
	return n, err
}

// ReadOnReady is for gRPC, in place of Read; see reader.
func (c *inbound) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	c.budget.Read()
	buf, n, err := c.reader.readOnReady(size, pool)
	if n > 0 {
		c.budget.Await(c.gone)
	}
	return buf, n, err
}

func (c *inbound) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if !c.shared.Load() {
		c.lis.written.Add(uint64(n))
	}
	return n, err
}

func (c *inbound) Close() error {
	c.ending.Do(func() {
		close(c.gone)
		c.budget.Close()
		c.lis.forget(c)
		c.lis.mu.Lock()
		delete(c.lis.conns, c)
		if c.expiry != nil {
			c.expiry.Stop()
		}
		c.lis.mu.Unlock()
	})
	return c.Conn.Close()
}

// firstCall is how long the first call to an application may be on its way: who makes a
// connection for that asks first which member it leads to.
const firstCall = time.Second

// endAsked closes the connections on which requests of ours have come and no others: at once if
// one is at work, or a stream for them is open, else when a call to the application would have come.
func (l *listener) endAsked() {
	var now, later []*inbound
	l.mu.Lock()
	for c := range l.conns {
		switch {
		case !c.asked.Load() || c.shared.Load():
		case c.streams.Load() > 0, c.budget.Busy():
			now = append(now, c)
		default:
			later = append(later, c)
		}
	}
	l.mu.Unlock()
	for _, c := range now {
		_ = c.Close()
	}
	for _, c := range later {
		time.AfterFunc(firstCall, func() {
			if !c.shared.Load() {
				_ = c.Close()
			}
		})
	}
}

// end closes the listener and every connection that came from it.
func (l *listener) end() {
	l.mu.Lock()
	l.closed = true
	open := make([]*inbound, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	_ = l.Close()
	for _, c := range open {
		_ = c.Close()
	}
}
