package grpctransport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/budget"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// secure is mutual TLS of one self-signed certificate for 127.0.0.1 that is good
// from one time to another, trusting itself and others.
func secure(t *testing.T, from, until time.Time, trusted ...Config) Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	for _, o := range trusted {
		roots.AddCert(o.Server.Certificates[0].Leaf)
	}
	return Config{
		Server: &tls.Config{
			Certificates: []tls.Certificate{cert}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
			MinVersion: tls.VersionTLS13,
		},
		Client: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, MinVersion: tls.VersionTLS13},
	}
}

// turned is what Refused tells.
type turned struct{ from, why string }

func refusals(tr *Transport) chan turned {
	ch := make(chan turned, 64)
	tr.Refused(func(r transport.Refusal) { ch <- turned{r.From, r.Why} })
	return ch
}

func awaitRefusal(t *testing.T, ch chan turned) turned {
	t.Helper()
	return transporttest.Await(t, ch, "what is told of the refusal")
}

// bindWith listens and serves; refused hears what is refused.
func bindWith(t *testing.T, cfg Config) (*Transport, chan turned) {
	t.Helper()
	cfg.Bind = "127.0.0.1:0"
	tr, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	refused := refusals(tr)
	tr.Serve(&transporttest.Handler{Self: at("m", tr)})
	return tr, refused
}

// With TLS 1.3 the server refuses a certificate when the client has done with its
// handshake, and its connection may break under a write before the alert is read.
func TestServersRefusalOfACertificateIsToldInItsAlertsWords(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := secure(t, now.Add(-time.Hour), now.Add(time.Hour))
	expired := secure(t, now.Add(-2*time.Hour), now.Add(-time.Hour), good)
	good.Server.ClientCAs.AddCert(expired.Server.Certificates[0].Leaf)
	server, refused := bindWith(t, good)
	to := ring.Member{Addr: server.Addr()}
	for range 60 {
		a := NewClient(expired)
		err := ask(patient(t), a, to)
		a.Close()
		wantKind(t, err, protocol.Unreachable, to.Addr+": remote error: tls: expired certificate")
		if r := awaitRefusal(t, refused); r.from != "127.0.0.1" || !strings.Contains(r.why, "certificate has expired") {
			t.Fatalf("the server tells of %+v", r)
		}
	}
}

func TestExpiredCertificateOfAServerIsToldWithItsEnd(t *testing.T) {
	t.Parallel()
	now := time.Now()
	until := now.Add(-time.Hour).UTC().Truncate(time.Second)
	expired := secure(t, now.Add(-2*time.Hour), until)
	server, refused := bindWith(t, expired)
	a := NewClient(expired)
	defer a.Close()
	err := ask(patient(t), a, ring.Member{Addr: server.Addr()})
	wantKind(t, err, protocol.Unreachable, "x509: certificate has expired or is not yet valid: good from ")
	wantKind(t, err, protocol.Unreachable, " until "+until.Format(time.RFC3339))
	if r := awaitRefusal(t, refused); r.why != "remote error: tls: expired certificate" && r.why != "remote error: tls: bad certificate" {
		t.Errorf("the server tells of %+v", r)
	}
}

func TestPlaintextAtATLSListenerIsTold(t *testing.T) {
	t.Parallel()
	now := time.Now()
	server, refused := bindWith(t, secure(t, now.Add(-time.Hour), now.Add(time.Hour)))
	a := NewClient(Config{})
	defer a.Close()
	wantKind(t, ask(patient(t), a, ring.Member{Addr: server.Addr()}), protocol.Unreachable, server.Addr())
	if r := awaitRefusal(t, refused); !strings.Contains(r.why, "does not look like a TLS handshake") {
		t.Errorf("the server tells of %+v", r)
	}
}

// Probes of load balancers connect and go. That is no refusal.
func TestConnectionThatSaysNothingIsNotToldOf(t *testing.T) {
	t.Parallel()
	now := time.Now()
	server, refused := bindWith(t, secure(t, now.Add(-time.Hour), now.Add(time.Hour)))
	for range 8 {
		conn, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	server.Close()
	if n := len(refused); n > 0 {
		t.Errorf("%d were told of, as %+v", n, <-refused)
	}
}

func TestConnectionBeyondTheBoundIsToldOf(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, refused := bindWith(t, Config{Listener: lis, Limits: budget.Limits{Connections: 2}})
	for range 3 {
		conn, err := net.Dial("tcp", server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	if r := awaitRefusal(t, refused); r != (turned{"127.0.0.1", "too many connections: 2, and none at rest"}) {
		t.Errorf("the server tells of %+v", r)
	}
}

func TestWordsOfACause(t *testing.T) {
	op := func(op string, err error) error {
		return &net.OpError{
			Op: op, Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 41234},
			Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7946}, Err: err,
		}
	}
	for want, err := range map[string]error{
		"the connection was closed":        io.EOF,
		"read: connection reset by peer":   op("read", syscall.ECONNRESET),
		"write: broken pipe":               op("write", syscall.EPIPE),
		"remote error: tls: handshake bad": &net.OpError{Op: "remote error", Err: errors.New("tls: handshake bad")},
		"tls: nothing else":                errors.New("tls: nothing else"),
	} {
		if got := words(err); got != want {
			t.Errorf("words(%v) = %q, want %q", err, got, want)
		}
	}
}

func TestWordsOfGRPCAreFreedOfTheirWrapping(t *testing.T) {
	for from, want := range map[string]string{
		`connection error: desc = "error reading server preface: http2: frame too large"`: "error reading server preface: http2: frame too large",
		`connection error: desc = "cut off`:                                               `connection error: desc = "cut off`,
		"keepalive ping failed":                                                           "keepalive ping failed",
	} {
		if got := unwrapped(from); got != want {
			t.Errorf("unwrapped(%q) = %q, want %q", from, got, want)
		}
	}
}

// quiet is a connection that always has the same to read.
type quiet struct{ net.Conn }

func (quiet) Read(b []byte) (int, error)  { return len(b), nil }
func (quiet) Write(b []byte) (int, error) { return len(b), nil }

func TestReadingFromASecuredConnectionAllocatesNothing(t *testing.T) {
	s, buf := &secured{Conn: quiet{}, cause: new(cause)}, make([]byte, 16)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = s.Read(buf)
		_, _ = s.Write(buf)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
