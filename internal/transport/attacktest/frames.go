package attacktest

import (
	"bytes"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Frames is a connection on which HTTP/2 is written frame by frame. The caller closes it.
// It is for one goroutine that writes, and one that reads.
type Frames struct {
	*http2.Framer

	conn net.Conn
	head bytes.Buffer
	enc  *hpack.Encoder
}

// DialFrames connects, and says what a client says first.
func DialFrames(addr string, limit time.Duration) (*Frames, error) {
	conn, err := net.DialTimeout("tcp", addr, limit)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		conn.Close()
		return nil, err
	}
	f := FramesOn(conn)
	if err := f.Begin(); err != nil {
		conn.Close()
		return nil, err
	}
	return f, nil
}

// FramesOn writes on a connection on which nothing has been said; Begin is next.
func FramesOn(conn net.Conn) *Frames {
	f := &Frames{Framer: http2.NewFramer(conn, conn), conn: conn}
	f.AllowIllegalReads, f.AllowIllegalWrites = true, true
	f.enc = hpack.NewEncoder(&f.head)
	return f
}

// Begin says what a client says first.
func (f *Frames) Begin() error {
	if _, err := io.WriteString(f.conn, http2.ClientPreface); err != nil {
		return err
	}
	return f.WriteSettings()
}

// Headers are those of a request of a method of the service, and more of them, encoded.
func (f *Frames) Headers(method string, more ...hpack.HeaderField) []byte {
	f.head.Reset()
	for _, h := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "member"},
		{Name: ":path", Value: "/concord.ChordService/" + method}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...) {
		_ = f.enc.WriteField(h)
	}
	return bytes.Clone(f.head.Bytes())
}

// Open begins a request that goes on.
func (f *Frames) Open(stream uint32, method string, more ...hpack.HeaderField) error {
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.Headers(method, more...), EndHeaders: true})
}

// Ended reads until the other side has closed the connection, and returns the code of
// its GOAWAY, if there was one. The error is nil if the connection has ended in time.
func (f *Frames) Ended() (code http2.ErrCode, err error) {
	for {
		frame, err := f.ReadFrame()
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			return code, err
		}
		if err != nil {
			return code, nil //nolint:nilerr // that is the end waited for
		}
		if away, ok := frame.(*http2.GoAwayFrame); ok {
			code = away.ErrCode
		}
	}
}

// Close ends the connection.
func (f *Frames) Close() { _ = f.conn.Close() }
