package attack

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// secured is a ring with mutual TLS whose certificates are of one authority. Each member's
// is good for its own host.
func secured(t *testing.T, n int) (*target, *attacktest.Authority) {
	t.Helper()
	ca := authority(t, "ours")
	return attacked(t, n, func(_ int, cfg *concord.Config) {
		addr := cluster.Address()
		cfg.BindAddr = addr
		cert := issue(t, ca, attacktest.Leaf{Hosts: []string{hostOf(addr)}})
		cfg.TLS = &concord.TLSConfig{Server: ca.Server(cert), Client: ca.Client(cert)}
	}), ca
}

func authority(t *testing.T, name string) *attacktest.Authority {
	t.Helper()
	ca, err := attacktest.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *attacktest.Authority, l attacktest.Leaf) tls.Certificate {
	t.Helper()
	cert, err := ca.Issue(l)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// stranger connects to a member of a ring with TLS and fails the test unless it is refused
// there, counted and logged in those words.
func (r *target) stranger(words string, config *tls.Config) {
	r.t.Helper()
	m := r.member(0)
	r.unmoved(1, func() {
		r.counted(m, incoming, 1, func() {
			c, err := attacktest.Dial(m.Address(), config)
			if err != nil {
				r.t.Fatal(err)
			}
			r.t.Cleanup(c.Close)
			_, err = c.GetRing(bounded(r.t, patience), &pb.RingReq{Request: world.Request(nil, server(m))})
			refused(r.t, err, codes.Unavailable, "")
		})
	})
	r.logged(m, `msg="incoming connection refused"`)
	r.logged(m, words)
}

func TestPlaintextToAMemberWithTLS(t *testing.T) {
	r, _ := secured(t, 3)
	r.stranger("does not look like a TLS handshake", nil)
}

func TestNoCertificate(t *testing.T) {
	r, ca := secured(t, 3)
	r.stranger("client didn't provide a certificate", &tls.Config{RootCAs: ca.Pool()})
}

func TestCertificateOfAnotherAuthority(t *testing.T) {
	r, ca := secured(t, 3)
	other := authority(t, "theirs")
	r.stranger("unknown authority", &tls.Config{RootCAs: ca.Pool(), GetClientCertificate: show(issue(t, other, attacktest.Leaf{}))})
}

// An authority of the same name as ours, with another key.
func TestCertificateOfAnAuthorityOfTheSameName(t *testing.T) {
	r, ca := secured(t, 3)
	other := authority(t, "ours")
	r.stranger("unknown authority", &tls.Config{RootCAs: ca.Pool(), GetClientCertificate: show(issue(t, other, attacktest.Leaf{}))})
}

// show has a client show a certificate even if the server says that it would not take it.
func show(cert tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
}

func TestExpiredCertificate(t *testing.T) {
	r, ca := secured(t, 3)
	r.stranger("certificate has expired", ca.Client(issue(t, ca, attacktest.Leaf{Expires: -time.Minute})))
}

func TestCertificateOfTheFuture(t *testing.T) {
	r, ca := secured(t, 3)
	r.stranger("not yet valid", ca.Client(issue(t, ca, attacktest.Leaf{Begins: 30 * time.Minute})))
}

func TestCertificateThatIsOfAServerOnly(t *testing.T) {
	r, ca := secured(t, 3)
	r.stranger("incompatible key usage", ca.Client(issue(t, ca, attacktest.Leaf{Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})))
}

// A certificate that was signed with the key of a member, which is no authority.
func TestCertificateThatAMemberHasIssued(t *testing.T) {
	r, ca := secured(t, 3)
	leaf := issue(t, ca, attacktest.Leaf{})
	forged, err := ca.IssueBy(leaf, attacktest.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	r.stranger("certificate", &tls.Config{RootCAs: ca.Pool(), GetClientCertificate: show(forged)})
}

func TestOldTLS(t *testing.T) {
	r, ca := secured(t, 3)
	config := ca.Client(issue(t, ca, attacktest.Leaf{}))
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS12
	r.stranger("unsupported versions", config)
}

// A listener with a certificate for another host is told of, as a member that is nearer
// than any. Nobody takes it for one.
func TestListenerWithACertificateForAnotherHost(t *testing.T) {
	r, ca := secured(t, 4)
	r.impostor(ca, issue(t, ca, attacktest.Leaf{Hosts: []string{"elsewhere.example.com"}}))
}

func TestListenerWithACertificateOfAnotherAuthority(t *testing.T) {
	r, ca := secured(t, 4)
	other := authority(t, "theirs")
	p := r.impostor(ca, issue(t, other, attacktest.Leaf{Hosts: []string{"127.0.0.1"}}))
	if n := p.Asked(); n > 0 {
		t.Errorf("it was asked %d times", n)
	}
}

// impostor has a listener with the certificate given introduced at every member.
func (r *target) impostor(ca *attacktest.Authority, cert tls.Certificate) *attacktest.Peer {
	r.t.Helper()
	config := ca.Server(cert)
	p, err := attacktest.Listen("127.0.0.1:0", config)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Stop)
	p.Self = world.Server("impostor", p.Addr(), attacktest.Now())
	p.Serve()
	insider := ca.Client(issue(r.t, ca, attacktest.Leaf{Hosts: []string{"127.0.0.1"}}))
	m := r.member(0)
	failures := func(c concord.Counters) uint64 { return c.PeerFailures }
	r.unmoved(3, func() {
		r.counted(m, failures, 1, func() {
			for _, m := range r.Members() {
				c, err := attacktest.Dial(m.Address(), insider)
				if err != nil {
					r.t.Fatal(err)
				}
				r.t.Cleanup(c.Close)
				// Whether it is refused at once or not believed later is the members' choice.
				_, _ = c.Introduce(bounded(r.t, patience), &pb.IntroduceReq{Subject: p.Self, Request: world.Request(p.Self, server(m))})
				_, _ = c.Notify(bounded(r.t, patience), &pb.NotifyReq{
					Id: p.Self.GetId(), Name: p.Self.GetName(), Address: p.Self.GetAddress(), Incarnation: p.Self.GetIncarnation(),
					Request: world.Request(nil, server(m)), Joining: true,
				})
			}
		})
	})
	r.logged(m, "peer not reachable")
	return p
}
