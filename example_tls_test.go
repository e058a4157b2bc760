package concord_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"math/big"
	"net"
	"time"

	"github.com/ollelogdahl/concord"
)

// Members prove to each other who they are: each has a certificate that all of them
// trust. Clients of the ring need one, too.
func ExampleTLSConfig() {
	// Programs use tls.LoadX509KeyPair and x509.CertPool.AppendCertsFromPEM.
	certificate, authority := testCertificate()

	secured := &concord.TLSConfig{
		Server: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			ClientCAs:    authority,
			ClientAuth:   tls.RequireAndVerifyClientCert,
		},
		Client: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			RootCAs:      authority,
		},
	}
	node1 := concord.New(concord.Config{Name: "node1", BindAddr: "127.0.0.1:0", TLS: secured})
	node2 := concord.New(concord.Config{Name: "node2", BindAddr: "127.0.0.1:0", TLS: secured})
	defer node1.Stop()
	defer node2.Stop()
	for _, node := range []*concord.Concord{node1, node2} {
		if err := node.Start(); err != nil {
			log.Fatal(err)
		}
	}
	if err := node1.Create(); err != nil {
		log.Fatal(err)
	}
	err := node2.Join(context.Background(), node1.Address())
	fmt.Println("node2:", err)

	plain := concord.New(concord.Config{Name: "node3", BindAddr: "127.0.0.1:0"})
	if err := plain.Start(); err != nil {
		log.Fatal(err)
	}
	defer plain.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	fmt.Println("without TLS:", plain.Join(ctx, node1.Address()) != nil)
	// Output:
	// node2: <nil>
	// without TLS: true
}

// testCertificate makes a certificate for 127.0.0.1 and a pool that trusts it.
func testCertificate() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
