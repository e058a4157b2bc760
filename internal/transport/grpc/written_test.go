package grpctransport

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
)

// tally counts what is written under a transport.
type tally struct {
	net.Listener
	bytes atomic.Uint64
}

func (y *tally) Accept() (net.Conn, error) {
	conn, err := y.Listener.Accept()
	return tallied{conn, y}, err
}

func (y *tally) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	return tallied{conn, y}, err
}

type tallied struct {
	net.Conn
	y *tally
}

func (c tallied) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.y.bytes.Add(uint64(n))
	return n, err
}

func TestWrittenCountsBothDirections(t *testing.T) {
	listen := func() (*Transport, *tally) {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		y := &tally{Listener: lis}
		return begin(t, Config{Listener: y, Dial: y.dial}, nil), y
	}
	a, ta := listen()
	b, tb := listen()
	for _, ask1 := range []func() error{
		func() error { return ask(patient(t), a, at("m", b)) },
		func() error { return ask(patient(t), b, at("m", a)) },
	} {
		if err := ask1(); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	b.Close()
	for name, c := range map[string]struct {
		tr *Transport
		y  *tally
	}{"a": {a, ta}, "b": {b, tb}} {
		// An exchange of headers and a question is more than 200 bytes.
		if got, want := c.tr.Written(), c.y.bytes.Load(); got != want || got < 200 {
			t.Errorf("%s says %d bytes, its connections carried %d", name, got, want)
		}
	}
}
