package grpctransport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/ollelogdahl/concord/internal/pb"
)

// issuer makes certificates for the host "b", or for addresses, and for both directions.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t *testing.T, good time.Duration) *issuer {
	t.Helper()
	i := &issuer{}
	pair := i.issue(t, good)
	return &issuer{pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)}
}

// issue makes a certificate; one that signs others if the issuer has none yet.
func (i *issuer) issue(t *testing.T, good time.Duration, ips ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{"b"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(good),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, ip := range ips {
		template.DNSNames, template.IPAddresses = nil, append(template.IPAddresses, net.ParseIP(ip))
	}
	parent, signer := i.cert, i.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.ExtKeyUsage = true, true, nil
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// config is both halves of mutual TLS.
func (i *issuer) config(cert tls.Certificate) Config {
	pool := x509.NewCertPool()
	pool.AddCert(i.cert)
	certs := []tls.Certificate{cert}
	return Config{
		Server: &tls.Config{Certificates: certs, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13},
		Client: &tls.Config{Certificates: certs, RootCAs: pool, MinVersion: tls.VersionTLS13},
	}
}

// secured is a transport in the bubble of n.
func (n *network) secured(t *testing.T, addr string, cfg Config) *Transport {
	lis := named{bufconn.Listen(64 << 10), addr}
	n.mu.Lock()
	n.at[addr] = lis
	n.mu.Unlock()
	cfg.Listener, cfg.Dial = lis, n.dial
	return begin(t, cfg, nil)
}

// Certificates of ten minutes are replaced two minutes before they end. No request fails and
// no connection breaks, and none is used for longer than its certificates are good.
func TestConnectionsAreReplacedBeforeACertificateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named), delay: time.Millisecond}
		ca := newIssuer(t, 100*time.Hour)
		const good, margin = 10 * time.Minute, 2 * time.Minute
		var now atomic.Pointer[Config]
		renew := func() {
			cfg := ca.config(ca.issue(t, good))
			now.Store(&cfg)
		}
		renew()
		cfg := *now.Load()
		cfg.Server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return now.Load().Server, nil }
		cfg.GetClient = func() (*tls.Config, error) { return now.Load().Client, nil }
		a, b := n.secured(t, "a:1", cfg), n.secured(t, "b:1", cfg)
		a.Broken(func(addr string) { t.Errorf("Broken(%q) after %v", addr, time.Now()) })
		start, renewed := time.Now(), time.Now()
		for time.Since(start) < time.Hour {
			if err := ask(t.Context(), a, at("m", b)); err != nil {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
			a.pool.mu.Lock()
			for l := range a.pool.links {
				if end := ends(*l.party.Load().tls); !l.retired && time.Now().After(end) {
					t.Errorf("after %v: a connection whose certificate has ended at %v", time.Since(start), end)
				}
			}
			a.pool.mu.Unlock()
			time.Sleep(5 * time.Second)
			if time.Since(renewed) >= good-margin {
				renew()
				renewed = time.Now()
			}
		}
		if n.dials < 6 || n.dials > 10 {
			t.Errorf("%d connections in an hour of certificates of ten minutes", n.dials)
		}
		a.Close()
		b.Close()
	})
}

// Who keeps a connection for longer than its certificate is good loses it then.
func TestConnectionWhoseCertificateEndsIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		ca := newIssuer(t, 100*time.Hour)
		b := n.secured(t, "b:1", ca.config(ca.issue(t, time.Hour)))
		const good = 4 * time.Second
		cfg := ca.config(ca.issue(t, good)).Client
		cfg.ServerName, cfg.NextProtos = "b", []string{"h2"}
		raw, err := n.dial(t.Context(), "b:1")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		conn := tls.Client(raw, cfg)
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = conn.Read(make([]byte, 1<<10))
		}
		// The certificate's end has no fractions of a second.
		if took := time.Since(start); took > good || took < good-2*time.Second {
			t.Errorf("closed after %v: %v", took, err)
		}
		conn.Close()
		b.Close()
	})
}

// Who does not replace its connections is asked to, and loses no request.
func TestOldConnectionsOfOthersAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		b := n.listen(t, "b:1", 0)
		cc, err := grpc.NewClient("passthrough:///b:1", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return n.dial(ctx, "b:1") }))
		if err != nil {
			t.Fatal(err)
		}
		stub := pb.NewChordServiceClient(cc)
		for range 3 * 60 * 6 {
			if _, err := stub.GetRing(t.Context(), &pb.RingReq{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if n.dials < 6 || n.dials > 7 { // each lasts for 27 to 33 minutes
			t.Errorf("%d connections in three hours", n.dials)
		}
		cc.Close()
		b.Close()
	})
}

// Many requests at a time lose nothing either, whichever side is the first to replace or to
// end a connection.
func TestRequestsSurviveTheEndsOfConnections(t *testing.T) {
	for what, ages := range map[string][2]time.Duration{
		"this side replaces them":     {3 * time.Second, 3 * time.Second},
		"the other side ends them":    {10 * time.Second, 3 * time.Second},
		"both sides at the same time": {3 * time.Second, 2200 * time.Millisecond},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{at: make(map[string]named), delay: 10 * time.Millisecond}
				ca := newIssuer(t, time.Hour)
				cfg := ca.config(ca.issue(t, time.Hour))
				cfg.MaxAge = ages[0]
				a := n.secured(t, "a:1", cfg)
				cfg.MaxAge = ages[1]
				b := n.secured(t, "b:1", cfg)
				var asking sync.WaitGroup
				start := time.Now()
				for i := range 4 {
					asking.Go(func() {
						for time.Since(start) < 9*time.Second {
							ctx, cancel := context.WithTimeout(t.Context(), time.Second)
							if err := ask(ctx, a, at("m", b)); err != nil {
								t.Errorf("after %v: %v", time.Since(start), err)
							}
							cancel()
							time.Sleep(time.Duration(i+1) * time.Millisecond)
						}
					})
				}
				asking.Wait()
				a.Close()
				b.Close()
			})
		})
	}
}

// A connection that nobody uses is closed when it is due, not by the other side.
func TestIdleConnectionIsClosedWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{at: make(map[string]named)}
		a, b := n.listen(t, "a:1", 24*time.Hour), n.listen(t, "b:1", 24*time.Hour)
		a.Broken(func(addr string) { t.Errorf("Broken(%q)", addr) })
		if err := ask(t.Context(), a, at("m", b)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(defaultMaxAge*2/3 - time.Second)
		if a.Connections() != 1 {
			t.Error("the connection was closed too early")
		}
		time.Sleep(defaultMaxAge/6 + 2*time.Second)
		if a.Connections() != 0 {
			t.Error("the connection was kept for too long")
		}
		time.Sleep(time.Hour)
		a.Close()
		b.Close()
	})
}

// Two certificates that have a minute each do not cause a connection for each request.
func TestCertificatesThatEndSoonCostAConnectionAMinute(t *testing.T) {
	for _, c := range []struct{ left, want time.Duration }{
		{-time.Second, 0},
		{30 * time.Second, 30 * time.Second},
		{90 * time.Second, time.Minute},
		{3 * time.Minute, 2 * time.Minute},
	} {
		if got := renewIn(c.left); got != c.want {
			t.Errorf("%v before the end: replaced in %v, want %v", c.left, got, c.want)
		}
	}
	for range 100 {
		if age := ageOf(defaultMaxAge); age < 20*time.Minute || age > 25*time.Minute {
			t.Errorf("replaced after %v", age)
		}
	}
}
