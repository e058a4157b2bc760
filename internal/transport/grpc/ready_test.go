package grpctransport

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// lender counts the buffers that it has lent.
type lender struct {
	mem.BufferPool
	lent, asked atomic.Int64
}

func (l *lender) Get(n int) *[]byte { l.lent.Add(1); l.asked.Add(1); return l.BufferPool.Get(n) }
func (l *lender) Put(b *[]byte)     { l.lent.Add(-1); l.BufferPool.Put(b) }

// pair is both ends of a connection on loopback.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	if a, err = net.Dial("tcp", lis.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = lis.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestReaderLendsNoBufferUntilThereIsData(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"tcp":   func(c net.Conn) net.Conn { return c },
		"other": func(c net.Conn) net.Conn { return struct{ net.Conn }{c} },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			pool := &lender{BufferPool: mem.DefaultBufferPool()}
			r := newReader(wrap(a))
			got := make(chan string, 8)
			go func() {
				for {
					buf, n, err := r.readOnReady(4096, pool)
					if err != nil {
						if buf != nil || n != 0 {
							t.Errorf("%v, %d with %v", buf, n, err)
						}
						got <- err.Error()
						close(got)
						return
					}
					s := string((*buf)[:n])
					pool.Put(buf)
					got <- s
				}
			}()
			for _, s := range []string{"one", "two"} {
				if _, err := b.Write([]byte(s)); err != nil {
					t.Fatal(err)
				}
				if x := transporttest.Await(t, got, "what was read"); x != s {
					t.Fatalf("%q was read, not %q", x, s)
				}
			}
			if r.raw == nil != (name == "other") {
				t.Errorf("read by itself: %v", r.raw != nil)
			}
			b.Close()
			if x := transporttest.Await(t, got, "what was read"); x != io.EOF.Error() {
				t.Errorf("the end is %q", x)
			}
			if n := pool.lent.Load(); n != 0 || pool.asked.Load() < 3 {
				t.Errorf("%d buffers are not given back, of %d", n, pool.asked.Load())
			}
		})
	}
}

// A read that waits holds nothing.
func TestWaitingReaderHoldsNothing(t *testing.T) {
	a, b := pair(t)
	pool := &lender{BufferPool: mem.DefaultBufferPool()}
	r := newReader(a)
	tried := make(chan struct{}, 8)
	if inner := r.onData; inner != nil {
		r.onData = func(fd uintptr) bool {
			done := inner(fd)
			if !done && pool.lent.Load() != 0 {
				t.Error("a buffer is held without data")
			}
			tried <- struct{}{}
			return done
		}
	} else {
		t.Skip("no raw reads on this system")
	}
	end := make(chan error, 1)
	go func() {
		_, _, err := r.readOnReady(64, pool)
		end <- err
	}()
	transporttest.Await(t, tried, "the first read")
	a.Close()
	if err := transporttest.Await(t, end, "the end"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading what is closed: %v", err)
	}
	b.Close()
}

func TestReaderTellsAReset(t *testing.T) {
	a, b := pair(t)
	if err := b.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	b.Close()
	_, n, err := newReader(a).readOnReady(64, mem.DefaultBufferPool())
	if n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d, %v", n, err)
	}
}
