package grpctransport

import (
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

// maxInbound bounds the connections that others may have to this side. Those
// beyond it are closed at once.
const maxInbound = 4096

// listener keeps count of the connections it accepted, so that Close can end
// them all. gRPC's Stop does not end those that are still shaking hands, but
// waits for them.
type listener struct {
	net.Listener
	written *atomic.Uint64 // bytes
	refused func(from net.Addr, why string)

	mu     sync.Mutex
	conns  map[*inbound]struct{}
	closed bool
}

type inbound struct {
	net.Conn
	reader *reader
	lis    *listener
}

func newListener(lis net.Listener, written *atomic.Uint64, refused func(net.Addr, string)) *listener {
	return &listener{Listener: lis, written: written, refused: refused, conns: make(map[*inbound]struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &inbound{conn, newReader(conn), l}
		l.mu.Lock()
		closed, full := l.closed, len(l.conns) >= maxInbound
		if !closed && !full {
			l.conns[c] = struct{}{}
		}
		l.mu.Unlock()
		if !closed && !full {
			return c, nil
		}
		if !closed {
			l.refused(conn.RemoteAddr(), "too many connections")
		}
		_ = conn.Close()
	}
}

// ReadOnReady is for gRPC, in place of Read; see reader.
func (c *inbound) ReadOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	return c.reader.readOnReady(size, pool)
}

func (c *inbound) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.lis.written.Add(uint64(n))
	return n, err
}

func (c *inbound) Close() error {
	c.lis.mu.Lock()
	delete(c.lis.conns, c)
	c.lis.mu.Unlock()
	return c.Conn.Close()
}

// end closes the listener and every connection that came from it.
func (l *listener) end() {
	_ = l.Close()
	l.mu.Lock()
	l.closed = true
	open := make([]*inbound, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}
