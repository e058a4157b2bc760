package concord_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// issue makes a certificate that is good for 127.0.0.1 and member1, in both
// directions, for ten days, unless the edits say otherwise.
func (a *authority) issue(t testing.TB, edits ...func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 24 * time.Hour),
		DNSNames: []string{"member1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, edit := range edits {
		edit(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// mutual is mutual TLS by a certificate and the authority.
func (a *authority) mutual(server, client tls.Certificate) *concord.TLSConfig {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &concord.TLSConfig{
		Server: &tls.Config{
			Certificates: []tls.Certificate{server}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
		},
		Client: &tls.Config{Certificates: []tls.Certificate{client}, RootCAs: pool, MinVersion: tls.VersionTLS13},
	}
}

func until(d time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotAfter = time.Now().Add(d) }
}

// of keeps the records that hold s.
func (j *journal) of(s string) []string {
	var out []string
	for line := range strings.Lines(j.String()) {
		if strings.Contains(line, s) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func TestMistakesOfOnesOwnCertificateAreLoggedAtStart(t *testing.T) {
	serverOnly := func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }
	clientOnly := func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }
	elsewhere := func(c *x509.Certificate) { c.DNSNames = []string{"elsewhere"} }
	later := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }
	for what, c := range map[string]struct {
		edits  []func(*x509.Certificate)
		change func(*concord.TLSConfig)
		want   []string
	}{
		"nothing is wrong": {},
		"ends within a day": {edits: []func(*x509.Certificate){until(23 * time.Hour)}, want: []string{
			`msg="own certificate ends within a day" member=member1 subject="CN=leaf" use="server, client" until=2000-01-01T23:00:00.000Z`,
		}},
		"has expired":                    {edits: []func(*x509.Certificate){until(-time.Minute)}, want: []string{`msg="own certificate has expired" member=member1 subject="CN=leaf" use="server, client" until=1999-12-31T23:59:00.000Z`}},
		"is not valid yet":               {edits: []func(*x509.Certificate){later}, want: []string{`msg="own certificate is not valid yet" member=member1 subject="CN=leaf" use="server, client" from=2000-01-01T01:00:00.000Z`}},
		"is none for clients":            {edits: []func(*x509.Certificate){serverOnly}, want: []string{`msg="own certificate may not be used" member=member1 subject="CN=leaf" use=client`}},
		"is none for servers":            {edits: []func(*x509.Certificate){clientOnly}, want: []string{`msg="own certificate may not be used" member=member1 subject="CN=leaf" use=server`}},
		"is of another host":             {edits: []func(*x509.Certificate){elsewhere}, want: []string{`msg="own certificate does not name the advertised host" member=member1 subject="CN=leaf" host=member1 err="x509: certificate is valid for elsewhere, not member1"`}},
		"is of the name that all verify": {edits: []func(*x509.Certificate){elsewhere}, change: func(c *concord.TLSConfig) { c.Client.ServerName = "elsewhere" }},
		"is verified in another way": {edits: []func(*x509.Certificate){elsewhere}, change: func(c *concord.TLSConfig) {
			c.Client.InsecureSkipVerify, c.Client.VerifyConnection = true, func(tls.ConnectionState) error { return nil }
		}},
		"cannot be had": {change: func(c *concord.TLSConfig) {
			c.Server.Certificates = nil
			c.Server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, fmt.Errorf("the vault is closed") }
		}, want: []string{`msg="own certificate cannot be checked" member=member1 err="the vault is closed"`}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAuthority(t)
				leaf := a.issue(t, c.edits...)
				secured := a.mutual(leaf, leaf)
				if c.change != nil {
					c.change(secured)
				}
				var j journal
				m := memoryMember(t, memory.NewNetwork(1), "member1", j.takes, func(cfg *concord.Config) { cfg.TLS = secured })
				defer m.Stop()
				synctest.Wait()
				got := j.of("own certificate")
				if len(got) != len(c.want) {
					t.Fatalf("the log says %q, want %q", got, c.want)
				}
				for i, want := range c.want {
					if !strings.Contains(got[i], "level=WARN "+want) {
						t.Errorf("the log says %q, want %q", got[i], want)
					}
				}
			})
		})
	}
}

// Certificates that come from functions are those in use now, not those at start.
func TestEndOfACertificateIsLoggedHourlyUntilItIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		old := a.issue(t, until(26*time.Hour+time.Minute))
		var now atomic.Pointer[concord.TLSConfig]
		now.Store(a.mutual(old, old))
		secured := a.mutual(old, old)
		secured.Server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if _, _, err := net.SplitHostPort(hello.Conn.RemoteAddr().String()); err != nil {
				return nil, err
			}
			return now.Load().Server, nil
		}
		secured.GetClient = func() (*tls.Config, error) { return now.Load().Client, nil }
		var j journal
		m := memoryMember(t, memory.NewNetwork(1), "member1", j.takes, func(cfg *concord.Config) { cfg.TLS = secured })
		defer m.Stop()
		const ends, ended = "own certificate ends within a day", "own certificate has expired"
		for hour := range 30 {
			time.Sleep(time.Minute) // past the hour
			synctest.Wait()
			// From the third hour on a day or less is left, after the 26th nothing.
			wantEnds, wantEnded := min(max(0, hour-2), 24), max(0, hour-26)
			if got := len(j.of(ends)); got != wantEnds {
				t.Errorf("after %d hours: %d times %q, want %d", hour, got, ends, wantEnds)
			}
			if got := len(j.of(ended)); got != wantEnded {
				t.Errorf("after %d hours: %d times %q, want %d", hour, got, ended, wantEnded)
			}
			time.Sleep(59 * time.Minute)
		}
		renewed := a.issue(t)
		now.Store(a.mutual(renewed, renewed))
		before := len(j.of("own certificate"))
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		// One may have been due at that instant.
		if got := len(j.of("own certificate")); got > before+1 {
			t.Errorf("%d records of a certificate that has been renewed", got-before)
		}
	})
}

// Mistakes of the two halves are told apart.
func TestHalvesOfMutualTLSAreInspectedEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		secured := a.mutual(a.issue(t), a.issue(t, until(time.Hour)))
		secured.Client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &secured.Client.Certificates[0], nil
		}
		var j journal
		m := memoryMember(t, memory.NewNetwork(1), "member1", j.takes, func(cfg *concord.Config) { cfg.TLS = secured })
		defer m.Stop()
		synctest.Wait()
		if got := j.of("own certificate"); len(got) != 1 || !strings.Contains(got[0], "within a day") || !strings.Contains(got[0], "use=client ") {
			t.Errorf("the log says %q", got)
		}
	})
}

func TestCertificateOfAClientIsInspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		ring := newMemoryRing(t, network, 1)
		a := newAuthority(t)
		leaf := a.issue(t, until(-time.Hour))
		var j journal
		cfg := concord.ClientConfig{TLS: a.mutual(leaf, leaf).Client, LogHandler: j.handler(), Network: network}
		c, err := concord.Dial(t.Context(), cfg, ring[0].Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		synctest.Wait()
		if got := j.of("own certificate"); len(got) != 1 || !strings.Contains(got[0], `msg="own certificate has expired" subject="CN=leaf" use=client `) {
			t.Errorf("the log says %q", got)
		}
		stopAll(ring)
	})
}

// Over real sockets: of two that are listed one has a certificate that has expired.
// Each says why it does not reach the other, and that it founds a ring all the same.
func TestLogSaysWhichCertificateKeepsMembersApart(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	good, expired := a.issue(t), a.issue(t, until(-time.Minute))
	var log1, log2 journal
	member1 := start(t, "member1", onLocalhost, log1.takes, func(cfg *concord.Config) { cfg.TLS = a.mutual(good, good) })
	if err := member1.Create(); err != nil {
		t.Fatal(err)
	}
	member2 := start(t, "member2", onLocalhost, log2.takes, func(cfg *concord.Config) {
		cfg.TLS, cfg.FoundAfter = a.mutual(expired, expired), 300*time.Millisecond
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := member2.JoinOrCreate(ctx, member1.Address(), member2.Address()); err != nil {
		t.Fatal(err)
	}
	const refused = "remote error: tls: expired certificate"
	eventually(t, func() error {
		for _, c := range []struct {
			log  *journal
			want string
		}{
			{&log1, `msg="incoming connection refused" member=member1 addr=127.0.0.1 err="x509: certificate has expired or is not yet valid: good from `},
			{&log2, fmt.Sprintf(`msg="peer not reachable" member=member2 addr=%s err="%s"`, member1.Address(), refused)},
			{&log2, fmt.Sprintf(`msg="ring founded, though not every address has answered" member=member2 answers="%s: %s"`, member1.Address(), refused)},
			{&log2, `msg="own certificate has expired"`},
		} {
			if n := len(c.log.of("level=WARN " + c.want)); n != 1 {
				return fmt.Errorf("%d times %q in %s", n, c.want, c.log.String())
			}
		}
		return nil
	})
	if s := member1.Status(); s.Counters.IncomingRefused == 0 || len(s.Failures) != 1 || !s.Failures[0].Incoming || s.Failures[0].Address != "127.0.0.1" ||
		s.Failures[0].Count == 0 || s.Failures[0].Cause != concord.OutcomeUnreachable {
		t.Errorf("member1's status: %+v", s)
	}
	s := member2.Status()
	if len(s.Failures) != 1 || s.Counters.PeerFailures == 0 {
		t.Fatalf("member2's status: %+v", s)
	}
	if f := s.Failures[0]; f.Address != member1.Address() || f.Incoming || f.Error != refused || f.Cause != concord.OutcomeUnreachable ||
		f.Count == 0 || f.First.IsZero() || f.Last.Before(f.First) {
		t.Errorf("member2's failure: %+v", f)
	}
}
