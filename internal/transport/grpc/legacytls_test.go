package grpctransport

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// terminating dials addresses where there is no TLS, with TLS before them. certs are the
// certificates by address.
func terminating(t *testing.T, certs map[string]tls.Certificate) func(context.Context, string) (net.Conn, error) {
	var carrying sync.WaitGroup
	t.Cleanup(carrying.Wait)
	return func(ctx context.Context, addr string) (net.Conn, error) {
		plain, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		here, there := net.Pipe()
		secured := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{certs[addr]}, NextProtos: []string{"h2"}})
		carry := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_ = plain.Close()
			_ = there.Close()
		}
		carrying.Go(func() { carry(plain, secured) })
		carrying.Go(func() { carry(secured, plain) })
		return here, nil
	}
}

// The members that a legacy one names are verified by their own addresses, not by the name
// that the first one was asked for by.
func TestNeighboursOfALegacyMemberAreVerifiedByTheirOwnHosts(t *testing.T) {
	ms := legacyRingOf(t, "m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7")
	ca := newIssuer(t, time.Hour)
	byName, byAddress := ca.issue(t, time.Hour), ca.issue(t, time.Hour, "127.0.0.1")
	certs := map[string]tls.Certificate{ms[0].Self().Addr: byName}
	for _, m := range ms[1:] {
		certs[m.Self().Addr] = byAddress
	}
	cfg := ca.config(byAddress)
	a := NewClient(Config{Client: cfg.Client, Dial: terminating(t, certs)})
	t.Cleanup(func() { a.Close() })
	plain := begin(t, Config{}, nil)

	from := transporttest.Member("from", "127.0.0.1:1", 5)
	subject := ms[5].Self()
	subject.Name, subject.ID = "of none", subject.ID-1
	env := transport.Envelope{From: from, To: anyone(ms[0])}
	req := protocol.Request{Kind: protocol.Seek, Subject: subject}
	want := maintain(t, plain, env, req)
	env.Host = "b"
	got := maintain(t, a, env, req)
	if !slices.Equal(got.Closer, want.Closer) || len(want.Closer) == 0 {
		t.Errorf("with TLS the next to ask are %v, without %v", got.Closer, want.Closer)
	}
}
