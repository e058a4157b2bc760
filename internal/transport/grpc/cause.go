package grpctransport

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"
)

// alertTimeout bounds the wait for an alert after a write has failed. By then what
// the other side has said is here, so only its silence takes that long.
const alertTimeout = time.Second

// cause is why a connection is of no use. gRPC gives an error that depends on which
// of its goroutines finds out first; this is what the connection itself said.
type cause struct {
	tls atomic.Pointer[error] // of the handshake, or an alert after it
	io  atomic.Pointer[error] // what reading or writing gave first
}

// get is the most telling error, nil if there is none.
func (c *cause) get() error {
	if err := c.tls.Load(); err != nil {
		return *err
	}
	if err := c.io.Load(); err != nil {
		return *err
	}
	return nil
}

// broke notes an error of reading or writing, unless this side has closed the
// connection.
func (c *cause) broke(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return
	}
	noted := err // so that err itself, which is nil mostly, need not be allocated
	c.io.CompareAndSwap(nil, &noted)
}

// noteAlert notes an alert of the other side, and reports whether err is one.
func (c *cause) noteAlert(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	c.tls.CompareAndSwap(nil, &err)
	return true
}

// secured is a connection after its TLS handshake. With TLS 1.3 the other side
// verifies this side's certificate after this side is done with the handshake. If it
// refuses it, a write may fail before the alert that says why has been read.
type secured struct {
	net.Conn
	cause  *cause
	spoken atomic.Bool // the other side has sent data
}

func (s *secured) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 {
		s.spoken.Store(true)
	}
	if err != nil {
		s.cause.noteAlert(err)
	}
	return n, err
}

func (s *secured) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if err == nil || s.spoken.Load() {
		return n, err
	}
	// Nothing but an alert can be there to be read, if gRPC has not read it already;
	// then the connection gives it again.
	_ = s.SetReadDeadline(time.Now().Add(alertTimeout))
	if _, alert := s.Conn.Read(make([]byte, 1)); s.cause.noteAlert(alert) {
		err = alert
	}
	return n, err
}

// words are an error of a connection without what differs from one connection to the
// next, such as the port of this side.
func words(err error) string {
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		// The standard library's words have the time of day in them.
		return fmt.Sprintf("x509: certificate has expired or is not yet valid: good from %s until %s",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timed out"
	case errors.As(err, &op) && (op.Op == "read" || op.Op == "write"):
		if sys, ok := errors.AsType[*os.SyscallError](op.Err); ok {
			return op.Op + ": " + sys.Err.Error()
		}
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// unwrapped is what gRPC has to say of a connection without the words around it.
func unwrapped(text string) string {
	if quoted, ok := strings.CutPrefix(text, "connection error: desc = "); ok {
		if plain, err := strconv.Unquote(quoted); err == nil {
			return plain
		}
	}
	return text
}

// telling tells of connections whose handshake fails at this side.
type telling struct {
	credentials.TransportCredentials
	refused func(from net.Addr, why string)
	maxAge  time.Duration
}

func (c telling) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	out, info, err := c.TransportCredentials.ServerHandshake(conn)
	switch {
	case err == nil:
		p := partyOf(conn, info)
		if from, ok := conn.(*inbound); ok {
			from.party.Store(p)
			if p.tls != nil {
				from.expire(*p.tls, c.maxAge)
			}
		}
		info = p
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, net.ErrClosed):
		// It has gone, as probes do, or this side is closing.
	default:
		c.refused(conn.RemoteAddr(), words(err))
	}
	return out, info, err
}

func (c telling) Clone() credentials.TransportCredentials {
	return telling{c.TransportCredentials.Clone(), c.refused, c.maxAge}
}

// host is an address without its port, empty if there is none.
func host(a net.Addr) string {
	if a == nil {
		return ""
	}
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}
