package grpctransport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// A certificate is verified when a connection is made, and never again. So connections
// are replaced in time: by the side that made them, between two requests, and if it does
// not, they are ended by the other side.
const (
	// defaultMaxAge is how old a connection becomes that others made, give or take a
	// tenth. gRPC asks the other side to use another one then.
	defaultMaxAge = 30 * time.Minute
	// ageGrace is how long the requests on it may take after that.
	ageGrace = 30 * time.Second
	// renewMargin is how long before the end of a certificate a connection is replaced.
	renewMargin = time.Minute
	// renewPause is how old a connection becomes at least, unless a certificate ends.
	renewPause = time.Minute
)

// ageOf is how long a connection that this side makes is used, of those that the other
// side ends at most: always less than that, and not the same for all connections that
// were made together.
func ageOf(most time.Duration) time.Duration {
	return most*2/3 + rand.N(most/6)
}

// renewIn is in how long a connection made now is replaced, if a certificate ends in left.
func renewIn(left time.Duration) time.Duration {
	return max(0, min(left, max(renewPause, left-renewMargin)))
}

// ends is when the certificates of the other side of a connection are of no more use.
func ends(s tls.ConnectionState) time.Time {
	var last time.Time
	for _, chain := range s.VerifiedChains {
		if end := firstEnd(chain); end.After(last) {
			last = end
		}
	}
	if len(s.VerifiedChains) == 0 { // they were verified in a way of the application's own
		return firstEnd(s.PeerCertificates)
	}
	return last
}

// firstEnd is the first end of the certificates; zero if there are none.
func firstEnd(chain []*x509.Certificate) (first time.Time) {
	for _, c := range chain {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// dated is what a handshake of this side has come to, with the end of the certificate
// that this side showed; zero if it showed none.
type dated struct {
	credentials.TLSInfo
	own time.Time
}

// outgoing is TLS of connections that this side makes. The configuration is taken anew
// for each handshake.
type outgoing struct {
	credentials.TransportCredentials
	get func() (*tls.Config, error)
}

func (o outgoing) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, err := o.get()
	if err != nil {
		return nil, nil, err // gRPC closes the connection
	}
	var own time.Time
	out, info, err := credentials.NewTLS(noting(c, &own)).ClientHandshake(ctx, authority, conn)
	if secured, ok := info.(credentials.TLSInfo); ok && err == nil {
		info = dated{secured, own}
	}
	return out, info, err
}

func (o outgoing) Clone() credentials.TransportCredentials {
	return outgoing{o.TransportCredentials.Clone(), o.get}
}

// noting is c, but that the end of the certificate that it shows is noted.
func noting(c *tls.Config, end *time.Time) *tls.Config {
	c = c.Clone()
	certs, get := c.Certificates, c.GetClientCertificate
	c.GetClientCertificate = func(asked *tls.CertificateRequestInfo) (cert *tls.Certificate, err error) {
		if get != nil {
			cert, err = get(asked)
		} else {
			cert = suitable(certs, asked)
		}
		if err == nil && cert != nil {
			*end = firstEnd(parsed(cert))
		}
		return cert, err
	}
	return c
}

// suitable is the first certificate that the other side takes, an empty one if it takes
// none, as in crypto/tls.
func suitable(certs []tls.Certificate, asked *tls.CertificateRequestInfo) *tls.Certificate {
	for i := range certs {
		if asked.SupportsCertificate(&certs[i]) == nil {
			return &certs[i]
		}
	}
	return new(tls.Certificate)
}

// parsed are the certificates of a chain that can be read.
func parsed(chain *tls.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for i, der := range chain.Certificate {
		if i == 0 && chain.Leaf != nil {
			out = append(out, chain.Leaf)
		} else if c, err := x509.ParseCertificate(der); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// shake has the link replaced before a certificate of its two sides ends.
func (l *link) shake(info credentials.AuthInfo) {
	d, ok := info.(dated)
	if !ok {
		return
	}
	for _, end := range []time.Time{ends(d.State), d.own} {
		if in := renewIn(time.Until(end)); !end.IsZero() && in < time.Duration(l.age.Load()) {
			l.age.Store(int64(in))
		}
	}
}

// due reports whether l is to be replaced.
func (l *link) due() bool { return l.left() <= 0 }

// left is how long l is used from now on.
func (l *link) left() time.Duration { return time.Duration(l.age.Load()) - time.Since(l.made) }

// expire ends c when the certificates of its other side are of no more use.
func (c *inbound) expire(s tls.ConnectionState, most time.Duration) {
	end := ends(s)
	left := time.Until(end)
	if end.IsZero() || left > 2*most {
		return // it is too old before that
	}
	c.lis.mu.Lock()
	defer c.lis.mu.Unlock()
	if _, open := c.lis.conns[c]; open {
		c.expiry = time.AfterFunc(left, func() { _ = c.Close() })
	}
}
