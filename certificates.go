package concord

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
)

const (
	// certificateMargin is how long before its end a certificate is warned of.
	certificateMargin = 24 * time.Hour
	// inspectionTimeout bounds the handshake by which certificates are found out.
	inspectionTimeout = 5 * time.Second
)

// inspection finds out what is wrong with the certificates that a member or a client
// shows to others.
type inspection struct {
	server *tls.Config                 // nil: a client, which shows no server certificate
	client func() (*tls.Config, error) // of the connection made next
	host   string                      // that the server's certificate must be good for
	// proves says why the others do not take one with these certificates for this
	// member; nil: nobody asks.
	proves func(chain []*x509.Certificate) error
}

// inspectMember is what looks at the certificates of a member that is reached at addr;
// nil without TLS.
func inspectMember(c *TLSConfig, self Peer) func(context.Context) []node.Remark {
	if c == nil {
		return nil
	}
	host, _, err := net.SplitHostPort(self.Address)
	if err != nil {
		host = self.Address
	}
	client := c.client()
	if client == nil {
		client = func() (*tls.Config, error) { return c.Client, nil }
	}
	if name := c.Client.ServerName; name != "" {
		host = name
	}
	rule := c.rule()
	proves := func(chain []*x509.Certificate) error {
		self.TLS = &tls.ConnectionState{PeerCertificates: chain, HandshakeComplete: true}
		return rule(self)
	}
	return inspection{server: c.Server, client: client, host: host, proves: proves}.remarks
}

// inspectClient is what looks at the certificate of a client; nil without TLS.
func inspectClient(c *tls.Config) func(context.Context) []node.Remark {
	if c == nil {
		return nil
	}
	c = c.Clone() // what the caller does with it later does not matter
	return inspection{client: func() (*tls.Config, error) { return c, nil }}.remarks
}

// shown is a certificate chain as the other side of a connection sees it, leaf first.
type shown struct {
	uses  []string // "server", "client"
	chain []*x509.Certificate
}

// remarks is what people should know of the certificates now.
func (i inspection) remarks(ctx context.Context) []node.Remark {
	client, err := i.client()
	var server, own []*x509.Certificate
	if err == nil {
		server, own, err = i.handshake(ctx, client)
	}
	if ctx.Err() != nil {
		return nil
	}
	if own == nil || i.server != nil && server == nil {
		return []node.Remark{{Message: "own certificate cannot be checked", Attrs: []slog.Attr{slog.Any("err", err)}}}
	}
	chains := []shown{{[]string{"client"}, own}}
	switch {
	case i.server == nil:
	case bytes.Equal(server[0].Raw, own[0].Raw):
		chains[0].uses = []string{"server", "client"}
	default:
		chains = append([]shown{{[]string{"server"}, server}}, chains...)
	}
	var out []node.Remark
	for _, s := range chains {
		out = append(out, s.dates(time.Now())...)
		out = append(out, i.identity(s)...)
	}
	if i.server != nil && !client.InsecureSkipVerify { // else the others verify it in their own way
		out = append(out, lacks(server[0], "server", x509.ExtKeyUsageServerAuth)...)
		if err := server[0].VerifyHostname(i.host); err != nil {
			out = append(out, remark("own certificate does not name the advertised host", server[0],
				slog.String("host", i.host), slog.Any("err", err)))
		}
	}
	return append(out, lacks(own[0], "client", x509.ExtKeyUsageClientAuth)...)
}

func remark(message string, c *x509.Certificate, attrs ...slog.Attr) node.Remark {
	return node.Remark{Message: message, Attrs: append([]slog.Attr{slog.String("subject", c.Subject.String())}, attrs...)}
}

// dates says whether a certificate of the chain is good now, and for a day.
func (s shown) dates(now time.Time) []node.Remark {
	first := slices.MinFunc(s.chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	last := slices.MaxFunc(s.chain, func(a, b *x509.Certificate) int { return a.NotBefore.Compare(b.NotBefore) })
	use := slog.String("use", strings.Join(s.uses, ", "))
	switch {
	case now.After(first.NotAfter):
		return []node.Remark{remark("own certificate has expired", first, use, slog.Time("until", first.NotAfter))}
	case now.Before(last.NotBefore):
		return []node.Remark{remark("own certificate is not valid yet", last, use, slog.Time("from", last.NotBefore))}
	case first.NotAfter.Sub(now) <= certificateMargin:
		return []node.Remark{remark("own certificate ends within a day", first, use, slog.Time("until", first.NotAfter))}
	}
	return nil
}

// identity says that others do not take one who shows the chain for this member. What
// the certificate of the server lacks in hosts is told apart from that.
func (i inspection) identity(s shown) []node.Remark {
	if i.proves == nil {
		return nil
	}
	err := i.proves(s.chain)
	if _, host := errors.AsType[x509.HostnameError](err); err == nil || host && slices.Contains(s.uses, "server") {
		return nil
	}
	return []node.Remark{remark("own certificate does not prove the name and the address", s.chain[0],
		slog.String("use", strings.Join(s.uses, ", ")), slog.Any("err", err))}
}

// lacks says that a certificate may not be used as a server's, or a client's.
func lacks(c *x509.Certificate, use string, usage x509.ExtKeyUsage) []node.Remark {
	unlimited := len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0
	if unlimited || slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	return []node.Remark{remark("own certificate may not be used", c, slog.String("use", use))}
}

// handshake has the two halves of the configuration shake hands with each other in
// memory, and returns what each shows the other. So certificates are found out in the
// one way in which they are used, whichever of the configuration's functions they
// come from. Neither is verified.
func (i inspection) handshake(ctx context.Context, client *tls.Config) (server, own []*x509.Certificate, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspectionTimeout)
	defer cancel()
	accept := i.server
	if accept == nil {
		if accept, err = throwaway(); err != nil {
			return nil, nil, err
		}
	}
	there, here := net.Pipe()
	defer there.Close()
	defer here.Close()
	accepting := make(chan error, 1)
	go func() {
		err := tls.Server(loopback{there}, lenient(accept, &own)).HandshakeContext(ctx)
		if err != nil {
			there.Close()
		}
		accepting <- err
	}()
	asks := client.Clone()
	asks.InsecureSkipVerify = true
	asks.VerifyPeerCertificate = nil
	asks.VerifyConnection = capture(&server)
	asks.ClientSessionCache = nil
	asks.NextProtos = []string{"h2"}
	if asks.ServerName == "" {
		asks.ServerName = i.host
	}
	asking := tls.Client(loopback{here}, asks).HandshakeContext(ctx)
	if asking != nil {
		here.Close()
	}
	return server, own, reason(<-accepting, asking)
}

// lenient is a server's configuration that takes any certificate, and keeps it.
func lenient(c *tls.Config, into *[]*x509.Certificate) *tls.Config {
	out := c.Clone()
	out.ClientAuth = tls.RequireAnyClientCert
	out.VerifyPeerCertificate = nil
	out.VerifyConnection = capture(into)
	out.SessionTicketsDisabled = true // nobody would read a ticket
	out.NextProtos = []string{"h2"}
	if get := c.GetConfigForClient; get != nil {
		out.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			s, err := get(hello)
			if s == nil || err != nil {
				return nil, err
			}
			s = lenient(s, into)
			s.GetConfigForClient = nil
			return s, nil
		}
	}
	return out
}

func capture(into *[]*x509.Certificate) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		*into = s.PeerCertificates
		return nil
	}
}

// reason is that of two errors which does not come of the other.
func reason(errs ...error) error {
	var out error
	for _, err := range errs {
		var op *net.OpError
		echo := errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &op) && op.Op == "remote error"
		if err != nil && (out == nil || !echo) {
			out = err
		}
	}
	return out
}

// throwaway is the configuration of a server that a client's certificate is shown to.
func throwaway() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}

// loopback is one end of a pipe that looks like a connection of this host, to what a
// configuration's functions may do with its addresses.
type loopback struct{ net.Conn }

func (loopback) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (loopback) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
