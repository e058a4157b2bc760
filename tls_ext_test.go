package concord_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// files writes the three files that the sample reads into a new directory: a
// certificate for hosts, its key, and the authority's own certificate.
func (a *authority) files(t *testing.T, hosts ...string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test member"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"node_1.pem":     {Type: "CERTIFICATE", Bytes: der},
		"node_1_key.pem": {Type: "PRIVATE KEY", Bytes: keyDER},
		"ca_pool.pem":    {Type: "CERTIFICATE", Bytes: a.cert.Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// mtls is the sample's configuration for name, read from the files in dir.
func mtls(t *testing.T, dir, name string) concord.Config {
	t.Helper()
	t.Chdir(dir)
	cfg := onLoopback(mtlsSample(), name)
	cfg.StabilizeInterval = testInterval
	return cfg
}

// secureRing is a ring of n whose members have certificates of a.
func secureRing(t *testing.T, a *authority, n int) []*concord.Concord {
	t.Helper()
	var members []*concord.Concord
	for i := range n {
		c := run(t, mtls(t, a.files(t, "127.0.0.1", "node1.example.com"), string(rune('a'+i))))
		members = enter(t, members, c)
	}
	awaitIdeal(t, members)
	return members
}

func TestMutualTLSSampleMakesRingOfThree(t *testing.T) {
	members := secureRing(t, newAuthority(t), 3)
	for _, c := range members {
		for _, key := range []string{"my-key", "x", "y", "z"} {
			if got, want := lookup(t, c, key, concord.Fresh()), ownerOf(members, idOf(key)); got != want {
				t.Errorf("%s: %q: %v, want %v", c.Name(), key, got, want)
			}
		}
	}
	members[1].Stop()
	awaitIdeal(t, []*concord.Concord{members[0], members[2]})
}

func TestMutualTLSRefusesStrangers(t *testing.T) {
	ours := newAuthority(t)
	members := secureRing(t, ours, 2)
	before := pointers(members)
	theirs := newAuthority(t)
	strangers := map[string]concord.Config{
		"plaintext":               configure("stranger"),
		"another authority":       mtls(t, theirs.files(t, "127.0.0.1"), "stranger"),
		"certificate of no help":  mtls(t, ours.files(t, "elsewhere.example.com"), "stranger"),
		"trusts us, is not known": mtls(t, theirs.files(t, "127.0.0.1"), "stranger"),
	}
	trusting := strangers["trusts us, is not known"]
	trusting.TLS.Client.RootCAs = x509.NewCertPool()
	trusting.TLS.Client.RootCAs.AddCert(ours.cert)
	for what, cfg := range strangers {
		t.Run(what, func(t *testing.T) {
			c := run(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			began := time.Now()
			err := c.Join(ctx, members[0].Address())
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
			t.Log(err)
			if err == nil {
				t.Fatal("joined")
			}
			if c.Joined() {
				t.Error("joined all the same")
			}
			if what == "plaintext" {
				mentions(t, err, "as a member with TLS does to one without")
			}
			if what != "certificate of no help" {
				wantErr(t, what, err, concord.ErrUnavailable, context.DeadlineExceeded)
			}
		})
	}
	samePointers(t, members, before)
}

func TestMutualTLSMemberRefusesPlaintextRing(t *testing.T) {
	plain := create(t, "plain")
	c := run(t, mtls(t, newAuthority(t).files(t, "127.0.0.1"), "secure"))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := c.Join(ctx, plain.Address())
	wantErr(t, "join", err, concord.ErrUnavailable, context.DeadlineExceeded)
	t.Log(err)
}

func TestTLSConfigIsCloned(t *testing.T) {
	a := newAuthority(t)
	cfg := mtls(t, a.files(t, "127.0.0.1"), "a")
	c := run(t, cfg)
	cfg.TLS.Client.RootCAs = x509.NewCertPool()
	cfg.TLS.Client.Certificates = nil
	cfg.TLS.Server.Certificates = nil
	cfg.TLS.Server.ClientCAs = x509.NewCertPool()
	if err := c.Create(); err != nil {
		t.Fatal(err)
	}
	d := run(t, mtls(t, a.files(t, "127.0.0.1"), "b"))
	join(t, d, c.Address())
	awaitIdeal(t, []*concord.Concord{c, d})
}

func TestServerNameSetIsTheOneVerified(t *testing.T) {
	a := newAuthority(t)
	var members []*concord.Concord
	for _, name := range []string{"a", "b", "c"} {
		cfg := mtls(t, a.files(t, "members.internal"), name)
		cfg.TLS.Client.ServerName = "members.internal"
		c := run(t, cfg)
		if len(members) == 0 {
			if err := c.Create(); err != nil {
				t.Fatal(err)
			}
		} else {
			join(t, c, members[0].Address())
		}
		members = append(members, c)
	}
	awaitIdeal(t, members)
}

func TestCertificatesByCallbackSuffice(t *testing.T) {
	a := newAuthority(t)
	var members []*concord.Concord
	for _, name := range []string{"a", "b"} {
		cfg := mtls(t, a.files(t, "127.0.0.1"), name)
		cert := cfg.TLS.Server.Certificates[0]
		cfg.TLS.Server.Certificates, cfg.TLS.Client.Certificates = nil, nil
		cfg.TLS.Server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }
		cfg.TLS.Client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		c := run(t, cfg)
		if len(members) == 0 {
			if err := c.Create(); err != nil {
				t.Fatal(err)
			}
		} else {
			join(t, c, members[0].Address())
		}
		members = append(members, c)
	}
	awaitIdeal(t, members)
}

// A certificate is good for a name, and the name stands for several addresses.
func TestCertificateIsVerifiedForTheNameThatWasGiven(t *testing.T) {
	dns := &fakeDNS{}
	_, addrs := loopbacks(t, 1)
	dir := newAuthority(t).files(t, "localhost", "ring.example")
	advertised := func(name string) concord.Config {
		cfg := mtls(t, dir, name)
		cfg.AdvAddr = "localhost:0"
		return cfg
	}
	a := run(t, advertised("a"))
	if err := a.Create(); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(a.Address())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ring.example", "other.example"} {
		dns.set(name, "127.0.0.1", addrs[0])
	}
	b := concord.New(advertised("b"))
	concord.UseDNS(b, dns)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop() })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = b.Join(ctx, "other.example:"+port)
	wantErr(t, "a name that the certificate is not good for", err, concord.ErrUnavailable)
	mentions(t, err, "other.example")
	join(t, b, "ring.example:"+port)
	awaitIdeal(t, []*concord.Concord{a, b})
}

// A ring changes its CA under way: first the members trust both, then their
// certificates are exchanged, then the old CA is trusted no more.
func TestAuthorityIsChangedWhileMembersRun(t *testing.T) {
	old, next := newAuthority(t), newAuthority(t)
	pool := func(of ...*authority) *x509.CertPool {
		p := x509.NewCertPool()
		for _, a := range of {
			p.AddCert(a.cert)
		}
		return p
	}
	var mu sync.Mutex
	roots := pool(old)
	trust := func(p *x509.CertPool) {
		mu.Lock()
		defer mu.Unlock()
		roots = p
	}
	renewing := func(a *authority, name string) concord.Config {
		cfg := mtls(t, a.files(t, "127.0.0.1"), name)
		server, client := cfg.TLS.Server.Clone(), cfg.TLS.Client.Clone()
		cfg.TLS.Server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			mu.Lock()
			defer mu.Unlock()
			c := server.Clone()
			c.ClientCAs = roots
			return c, nil
		}
		cfg.TLS.GetClient = func() (*tls.Config, error) {
			mu.Lock()
			defer mu.Unlock()
			c := client.Clone()
			c.RootCAs = roots
			return c, nil
		}
		return cfg
	}
	a := run(t, renewing(old, "a"))
	if err := a.Create(); err != nil {
		t.Fatal(err)
	}
	newcomer := func(of *authority, name string) (*concord.Concord, error) {
		c := run(t, renewing(of, name))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return c, c.Join(ctx, a.Address())
	}
	_, err := newcomer(next, "b")
	wantErr(t, "a CA that is not trusted yet", err, concord.ErrUnavailable)
	trust(pool(old, next))
	c := run(t, renewing(next, "c"))
	join(t, c, a.Address())
	awaitIdeal(t, []*concord.Concord{a, c})
	a.Stop()
	a = run(t, renewing(next, "a"))
	join(t, a, c.Address())
	trust(pool(next))
	awaitIdeal(t, []*concord.Concord{a, c})
	_, err = newcomer(old, "d")
	wantErr(t, "a CA that is trusted no more", err, concord.ErrUnavailable)
}

// What GetClient gives must be as good as Client.
func TestClientConfigurationIsCheckedEachTime(t *testing.T) {
	ca := newAuthority(t)
	members := secureRing(t, ca, 1)
	for what, get := range map[string]func() (*tls.Config, error){
		"InsecureSkipVerify":             func() (*tls.Config, error) { return &tls.Config{InsecureSkipVerify: true}, nil },
		"returned no configuration":      func() (*tls.Config, error) { return nil, nil },
		"the file is gone, for instance": func() (*tls.Config, error) { return nil, errors.New("the file is gone, for instance") },
	} {
		cfg := mtls(t, ca.files(t, "127.0.0.1"), "b")
		cfg.TLS.GetClient = get
		b := run(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		joined := make(chan error, 1)
		go func() { joined <- b.Join(ctx, members[0].Address()) }()
		eventually(t, func() error {
			for _, f := range b.Status().Failures {
				if f.Address == members[0].Address() && strings.Contains(f.Error, what) {
					return nil
				}
			}
			return fmt.Errorf("%s: the failures are %+v", what, b.Status().Failures)
		})
		cancel()
		wantErr(t, what, <-joined, concord.ErrUnavailable)
	}
}

// A configuration for one connection cannot let in whoever has no certificate.
func TestServerConfigurationIsCheckedEachTime(t *testing.T) {
	ca := newAuthority(t)
	cfg := mtls(t, ca.files(t, "127.0.0.1"), "a")
	open := cfg.TLS.Server.Clone()
	open.ClientAuth = tls.NoClientCert
	cfg.TLS.Server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return open, nil }
	a := run(t, cfg)
	conn, err := tls.Dial("tcp", a.Address(), &tls.Config{RootCAs: mtls(t, ca.files(t, "127.0.0.1"), "x").TLS.Client.RootCAs, NextProtos: []string{"h2"}})
	if err == nil {
		conn.Close()
		t.Error("a connection without a certificate was accepted")
	}
}
