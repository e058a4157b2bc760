package loopback

import (
	"net"
	"time"

	"github.com/ollelogdahl/concord/internal/transport/fault"
)

const (
	chunkSize = 4 << 10 // bytes read at once
	maxQueued = 64      // chunks on their way in one direction; then the relay stops reading
)

// relay carries the bytes of one connection between near, whose other end the
// dialer has, and far, the TCP connection to who was dialed.
type relay struct {
	net       *Network
	near, far net.Conn
}

// chunk is some bytes on their way.
type chunk struct {
	data []byte
	due  time.Time
}

// relay starts a relay for far, a connection that from has made to to, and returns
// from's end.
func (n *Network) relay(from, to string, far net.Conn) (net.Conn, error) {
	theirs, near := net.Pipe()
	r := &relay{net: n, near: near, far: far}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		_ = far.Close()
		return nil, errClosed
	}
	n.relays[r] = struct{}{}
	there := r.carry(near, far, from, to)
	back := r.carry(far, near, to, from)
	n.running.Go(func() {
		<-there
		<-back
		n.mu.Lock()
		delete(n.relays, r)
		n.mu.Unlock()
	})
	return theirs, nil
}

// carry copies from src to dst what from sends to to, and closes dst at its end. The
// channel is closed when it is done. Callers hold the network's mu.
func (r *relay) carry(src, dst net.Conn, from, to string) <-chan struct{} {
	n, done := r.net, make(chan struct{})
	queue := make(chan chunk, maxQueued)
	n.running.Go(func() {
		defer close(queue)
		var last time.Time
		send := func(data []byte) {
			due := time.Now().Add(n.latency(from, to))
			if due.Before(last) {
				due = last // TCP keeps the order
			}
			last = due
			queue <- chunk{data, due}
		}
		for {
			buf := make([]byte, chunkSize)
			k, err := src.Read(buf)
			if k > 0 {
				send(buf[:k])
			}
			if err != nil {
				send(nil) // the end of the connection takes as long as its bytes
				return
			}
		}
	})
	n.running.Go(func() {
		defer close(done)
		gone := false
		for c := range queue {
			if gone || !r.arrives(c.due, from, to) {
				gone = true
				continue // so that the reader is never stuck at a full queue
			}
			if c.data == nil {
				break
			}
			if _, err := dst.Write(c.data); err != nil {
				gone = true
				_ = src.Close()
			}
		}
		_ = dst.Close()
	})
	return done
}

// arrives waits until what from sent reaches to, and reports whether that came
// before the network was closed.
func (r *relay) arrives(due time.Time, from, to string) bool {
	n := r.net
	if !fault.Wait(n.ctx, time.Until(due)) {
		return false
	}
	for {
		if !n.Awake(n.ctx, from) || !n.Awake(n.ctx, to) || !n.Open(n.ctx, from, to) {
			return false
		}
		// While it waited for one of them, another may have become a fault.
		if n.Passes(from, to) {
			return true
		}
	}
}
