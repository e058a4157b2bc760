package attacktest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"time"
)

// week is how long certificates last.
const week = 7 * 24 * time.Hour

// Authority issues certificates.
type Authority struct {
	Cert *x509.Certificate

	key *ecdsa.PrivateKey
}

// NewAuthority makes one with a key of its own.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(week),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert, key}, nil
}

// Pool is the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// Leaf is a certificate to be issued. The zero Leaf is good for both uses and names nobody.
type Leaf struct {
	Hosts           []string // DNS names and addresses
	URIs            []string
	Uses            []x509.ExtKeyUsage // nil: of a client and of a server
	Begins, Expires time.Duration      // from now; zero: an hour ago, in a week
}

// Issue issues a certificate.
func (a *Authority) Issue(l Leaf) (tls.Certificate, error) { return issue(a.Cert, a.key, l) }

// IssueBy issues one with the key of a certificate that may issue none. The chain has
// both.
func (a *Authority) IssueBy(by tls.Certificate, l Leaf) (tls.Certificate, error) {
	parent, err := x509.ParseCertificate(by.Certificate[0])
	if err != nil {
		return tls.Certificate{}, err
	}
	out, err := issue(parent, by.PrivateKey, l)
	out.Certificate = append(out.Certificate, by.Certificate...)
	return out, err
}

func issue(parent *x509.Certificate, signer crypto.PrivateKey, l Leaf) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "member"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(week),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: l.Uses,
	}
	if l.Begins != 0 {
		template.NotBefore = time.Now().Add(l.Begins)
	}
	if l.Expires != 0 {
		template.NotAfter = time.Now().Add(l.Expires)
	}
	if l.Uses == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	for _, h := range l.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	for _, s := range l.URIs {
		u, err := url.Parse(s)
		if err != nil {
			return tls.Certificate{}, err
		}
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Server and Client are the configurations of a member with that certificate, which
// trusts a.
func (a *Authority) Server(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: a.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13,
	}
}

// Client is the other half of Server.
func (a *Authority) Client(cert tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: a.Pool(), MinVersion: tls.VersionTLS13}
}
