package grpctransport

import (
	"errors"
	"io"
	"net"
	"syscall"

	"google.golang.org/grpc/mem"
)

// reader reads from a connection. gRPC finds ReadOnReady on its connections by its
// name and asks for a buffer with it only once there is something to be read: half
// of the heap of a connection at rest, otherwise. One Read at a time.
type reader struct {
	conn net.Conn
	raw  syscall.RawConn // nil unless reads of it may be made here

	// Of the read under way; fields so that it allocates nothing.
	size   int
	pool   mem.BufferPool
	buf    *[]byte
	n      int
	err    error
	onData func(fd uintptr) bool
}

func newReader(conn net.Conn) *reader {
	r := &reader{conn: conn}
	// What wraps a connection may have it decrypted, and be a syscall.Conn as well.
	if tcp, ok := conn.(*net.TCPConn); ok && canReadRaw {
		if raw, err := tcp.SyscallConn(); err == nil {
			r.raw = raw
			r.onData = r.read
		}
	}
	return r
}

// read is called whenever there may be data; it says false if there is none yet.
func (r *reader) read(fd uintptr) bool {
	r.buf = r.pool.Get(r.size)
	for {
		r.n, r.err = readRaw(fd, *r.buf)
		if !errors.Is(r.err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(r.err, syscall.EAGAIN) {
		r.pool.Put(r.buf)
		r.buf = nil
		return false
	}
	return true
}

// readOnReady waits for data and reads up to size bytes into a buffer from the pool,
// which the caller gives back. With an error there is no buffer.
func (r *reader) readOnReady(size int, pool mem.BufferPool) (*[]byte, int, error) {
	if r.raw == nil {
		buf := pool.Get(size)
		n, err := r.conn.Read(*buf)
		if n == 0 && err != nil {
			pool.Put(buf)
			return nil, 0, err
		}
		return buf, n, err
	}
	r.size, r.pool, r.buf = size, pool, nil
	err := r.raw.Read(r.onData)
	buf, n := r.buf, r.n
	r.buf, r.pool = nil, nil
	switch {
	case err != nil: // closed
	case r.err != nil:
		err = &net.OpError{Op: "read", Net: "tcp", Source: r.conn.LocalAddr(), Addr: r.conn.RemoteAddr(), Err: r.err}
	case n == 0:
		err = io.EOF
	default:
		return buf, n, nil
	}
	if buf != nil {
		pool.Put(buf)
	}
	return nil, 0, err
}
