package grpctransport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin listens and serves; the test closes it.
func begin(t *testing.T, cfg Config, h transport.Handler) *Transport {
	t.Helper()
	if cfg.Bind == "" {
		cfg.Bind = "127.0.0.1:0"
	}
	tr, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	if h == nil {
		h = &transporttest.Handler{Self: at("m", tr)}
	}
	tr.Serve(h)
	return tr
}

func at(name string, tr *Transport) ring.Member { return transporttest.Member(name, tr.Addr(), 7) }

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func ask(ctx context.Context, a *Transport, to ring.Member) error {
	_, err := a.Maintain(ctx, transport.Envelope{To: to, Settings: transporttest.Settings}, protocol.Request{Kind: protocol.AskRing})
	return err
}

func wantKind(t *testing.T, err error, kind protocol.FailureKind, words string) {
	t.Helper()
	f, ok := errors.AsType[*protocol.Failure](err)
	if !ok || f.Kind != kind || !strings.Contains(f.Detail, words) {
		t.Errorf("error %v; want %v with %q", err, kind, words)
	}
}

// mute accepts connections and never answers.
func mute(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	return lis.Addr().String()
}

func TestPeerThatNeverAnswersTimesOut(t *testing.T) {
	a, addr := begin(t, Config{}, nil), mute(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	wantKind(t, ask(ctx, a, ring.Member{Addr: addr}), protocol.TimedOut, addr)
}

func TestPeerThatIsNoMemberIsUnreachable(t *testing.T) {
	a := begin(t, Config{}, nil)
	addr := transporttest.Stranger(t, "127.0.0.1:0", "220 mail.example.org\r\n")
	wantKind(t, ask(patient(t), a, ring.Member{Addr: addr}), protocol.Unreachable, addr)
}

func TestBadAddressIsInvalid(t *testing.T) {
	a := begin(t, Config{}, nil)
	wantKind(t, ask(patient(t), a, ring.Member{Addr: "nowhere"}), protocol.Invalid, "host:port")
}

func TestDialErrorIsUnreachable(t *testing.T) {
	a := begin(t, Config{Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("no route") }}, nil)
	wantKind(t, ask(patient(t), a, ring.Member{Addr: "h:1"}), protocol.Unreachable, "h:1: no route")
	if n := a.Connections(); n != 0 {
		t.Errorf("%d connections after a failure", n)
	}
}

// A request that joins an attempt from before it must not take that attempt's
// failure for an answer.
func TestRefusalIsOfAnAttemptBegunAfterTheRequest(t *testing.T) {
	b := begin(t, Config{}, nil)
	dialling, proceed := make(chan struct{}), make(chan error, 1)
	var dials atomic.Int32
	a := begin(t, Config{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			close(dialling)
			select {
			case err := <-proceed:
				return nil, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}, nil)
	first, second := make(chan error, 1), make(chan error, 1)
	ctx := patient(t)
	go func() { first <- ask(ctx, a, at("m", b)) }()
	transporttest.Await(t, dialling, "the attempt to connect")
	go func() { second <- ask(ctx, a, at("m", b)) }()
	eventually(t, func() bool { // the second waits for the first one's attempt
		a.pool.mu.Lock()
		defer a.pool.mu.Unlock()
		attempt := a.pool.attempts[endpoint{addr: b.Addr()}]
		return attempt != nil && attempt.waiters == 2
	})
	proceed <- &net.OpError{Op: "dial", Err: errors.New("stale")}
	wantKind(t, transporttest.Await(t, first, "the answer to the first"), protocol.Unreachable, "stale")
	if err := transporttest.Await(t, second, "the answer to the second"); err != nil {
		t.Errorf("the second request: %v", err)
	}
}

func TestRestartedPeerAnswersAtOnce(t *testing.T) {
	a, b := begin(t, Config{}, nil), begin(t, Config{}, nil)
	broken := make(chan string, 8)
	a.Broken(func(addr string) { broken <- addr })
	to := at("m", b)
	for range 10 {
		if err := ask(patient(t), a, to); err != nil {
			t.Fatal(err)
		}
		// Nothing is awaited: the connection may or may not be seen to be gone.
		b.Close()
		b = begin(t, Config{Bind: to.Addr}, nil)
	}
	b.Close()
	wantKind(t, ask(patient(t), a, to), protocol.Refused, to.Addr)
	for range 10 {
		if addr := transporttest.Await(t, broken, "what is told of the broken connection"); addr != to.Addr {
			t.Errorf("Broken(%q)", addr)
		}
	}
	a.Close()
	if len(broken) > 0 {
		t.Error("Broken was called more than once for a connection")
	}
}

// A connection on which nothing came back is not trusted with more.
func TestSilentConnectionIsReplaced(t *testing.T) {
	addr := mute(t)
	var dials atomic.Int32
	a := begin(t, Config{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}, nil)
	for i, limit := range []time.Duration{10 * time.Millisecond, peer.MinTimeout + 10*time.Millisecond, 10 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		wantKind(t, ask(ctx, a, transporttest.Member("m", addr, 7)), protocol.TimedOut, addr)
		cancel()
		if n := dials.Load(); n != int32(1+i/2) {
			t.Errorf("%d connections were made; want a second one only after a patient request", n)
		}
	}
}

// Behind a load balancer each connection to one address leads to another member.
func TestQuestionToAnAddressIsNotPinnedToWhoAnsweredBefore(t *testing.T) {
	b, c := begin(t, Config{}, nil), begin(t, Config{}, nil)
	var dials atomic.Int32
	a := begin(t, Config{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		if addr == "vip:1" {
			addr = []*Transport{b, c}[dials.Add(1)%2].Addr()
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}, nil)
	who := func(addr string) ring.Member {
		env := transport.Envelope{To: ring.Member{Addr: addr}, Settings: transporttest.Settings}
		reply, err := a.Maintain(patient(t), env, protocol.Request{Kind: protocol.AskRing})
		if err != nil {
			t.Fatal(err)
		}
		return reply.State.Self
	}
	last := who("vip:1")
	for range 10 {
		next := who("vip:1")
		if next == last {
			t.Errorf("%s answered twice", next)
		}
		last = next
	}
	if n := a.Connections(); n != 0 {
		t.Errorf("%d connections are kept to an address that is nobody's own", n)
	}
	// The connection to a member's own address is of use to whoever asks that member.
	for range 3 {
		who(b.Addr())
		if n := a.Connections(); n != 1 {
			t.Errorf("%d connections, want the one to the member that answered", n)
		}
	}
}

func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	both := Config{
		Server: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		Client: &tls.Config{RootCAs: roots},
	}
	b, plain := begin(t, both, nil), begin(t, Config{}, nil)
	a := begin(t, both, nil)
	if err := ask(patient(t), a, at("m", b)); err != nil {
		t.Errorf("both speak TLS: %v", err)
	}
	wantKind(t, ask(patient(t), a, at("m", plain)), protocol.Unreachable, plain.Addr())
	wantKind(t, ask(patient(t), plain, at("m", b)), protocol.Unreachable, b.Addr())
	strict := begin(t, Config{Client: &tls.Config{RootCAs: roots, ServerName: "elsewhere"}}, nil)
	wantKind(t, ask(patient(t), strict, at("m", b)), protocol.Unreachable, "elsewhere")
	stranger := begin(t, Config{Client: &tls.Config{RootCAs: x509.NewCertPool()}}, nil)
	wantKind(t, ask(patient(t), stranger, at("m", b)), protocol.Unreachable, "certificate")
}

// Whoever connects and says nothing does not hold up Close.
func TestCloseDoesNotWaitForHandshakes(t *testing.T) {
	b := begin(t, Config{}, nil)
	conn, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := ask(patient(t), b, at("m", b)); err != nil { // the accept loop is past conn
		t.Fatal(err)
	}
	began := time.Now()
	b.Close()
	if took := time.Since(began); took > connectTimeout/2 {
		t.Errorf("Close took %v", took)
	}
}
