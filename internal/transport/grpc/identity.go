package grpctransport

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// This file judges who the other side of a connection claims to be. A process is one
// member, so a connection is judged once, unless the process claims to be another.

// party is the other side of one connection after its handshake.
type party struct {
	credentials.AuthInfo
	remote   net.Addr
	tls      *tls.ConnectionState        // nil without TLS
	admitted atomic.Pointer[ring.Member] // the last one; never modified
}

func partyOf(conn net.Conn, info credentials.AuthInfo) *party {
	p := &party{AuthInfo: info, remote: conn.RemoteAddr()}
	if secured, ok := info.(credentials.TLSInfo); ok {
		p.tls = &secured.State
	}
	return p
}

// admit says why p is not taken for m; nil: it is.
func (t *Transport) admit(p *party, m ring.Member, incoming bool) error {
	if t.admits == nil || p == nil || m.Name == "" {
		return nil
	}
	if a := p.admitted.Load(); a != nil && a.SameMember(m) {
		return nil
	}
	if err := t.admits(transport.Claim{Member: m, Incoming: incoming, Remote: p.remote.String(), TLS: p.tls}); err != nil {
		return err
	}
	admitted := m // m itself stays on the stack of the many that are admitted already
	p.admitted.Store(&admitted)
	return nil
}

// Admit registers f; see transport.Transport.
func (t *Transport) Admit(f func(transport.Claim) error) { t.admits = f }

// sender says that the caller of a request is not the member that it claims to be, if
// so, and tells of it. The error is the answer to the request.
func (t *Transport) sender(ctx context.Context, m ring.Member) error {
	if t.admits == nil {
		return nil
	}
	from, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	var p *party
	if c := t.lis.connection(ctx); c != nil {
		p = c.party.Load()
	}
	err := t.admit(p, m, true)
	if err == nil {
		return nil
	}
	why := detail(err.Error())
	if t.refused != nil {
		t.refused(transport.Refusal{From: host(from.Addr), Request: true, Sender: m, Why: why})
	}
	return explain(codes.PermissionDenied, &protocol.Failure{Detail: why}, &pb.Denied{})
}

// vouch is err, the failure of an answer on l, or that who has answered is none of those
// that it says it is, or that was asked.
func (t *Transport) vouch(l *link, env transport.Envelope, err error, says ...ring.Member) error {
	if err != nil {
		return unusable(env, err)
	}
	for _, m := range says {
		if f := t.deny(l, m); f != nil {
			return f
		}
	}
	return nil
}

// deny is the failure of an answer on l that is not taken for one of m; nil: it is.
func (t *Transport) deny(l *link, m ring.Member) *protocol.Failure {
	err := t.admit(l.party.Load(), m, false)
	if err == nil {
		return nil
	}
	return failure(protocol.Denied, "%s: %s", l.addr, detail(err.Error()))
}

// asked is err, the error of a question to the member to on l, or that the answer is not
// that member's.
func (t *Transport) asked(l *link, to ring.Member, err error) error {
	if err == nil {
		if f := t.deny(l, to); f != nil {
			err = f
		}
	}
	return err
}

// proven is the failure f of a question to the member to on l, unless that is a word of
// who is not taken for the member that it speaks for.
func (t *Transport) proven(l *link, to ring.Member, f *protocol.Failure) *protocol.Failure {
	switch f.Kind {
	case protocol.TimedOut, protocol.Unreachable, protocol.Refused, protocol.Denied, protocol.Relayed, protocol.Cancelled, protocol.Overloaded:
		return f
	}
	if f.Kind != protocol.WrongMember {
		if denied := t.deny(l, to); denied != nil {
			return denied
		}
	}
	if denied := t.deny(l, f.By); denied != nil {
		return denied
	}
	return f
}
