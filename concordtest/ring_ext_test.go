package concordtest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick has the members of a ring on sockets act soon.
var quick = concord.Config{StabilizeInterval: 50 * time.Millisecond}

// both runs f on a ring in memory, in a bubble, and on one on sockets.
func both(t *testing.T, f func(t *testing.T, ring *concordtest.Ring)) {
	t.Helper()
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f(t, concordtest.New(t, concordtest.Options{Config: quick}))
		})
	})
	t.Run("sockets", func(t *testing.T) {
		t.Parallel()
		f(t, concordtest.New(t, concordtest.Options{Sockets: true, Config: quick}))
	})
}

// within is a context of at most d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func serverOf(m *concord.Concord) concord.Server {
	return concord.Server{Name: m.Name(), Id: m.Id(), Address: m.Address()}
}

// agree fails the test unless every member finds the true owner of some keys.
func agree(t *testing.T, ring *concordtest.Ring) {
	t.Helper()
	for _, m := range ring.Members() {
		for i := range 20 {
			key := fmt.Appendf(nil, "key-%d", i)
			got, err := m.LookupContext(within(t, 10*time.Second), key)
			if want := serverOf(ring.Owner(key)); err != nil || got != want {
				t.Errorf("%s: lookup of %s gives %v, %v; the owner is %v", m.Name(), key, got, err, want)
			}
		}
	}
}

// takes is how long a fresh lookup of a key of owner takes at m.
func takes(t *testing.T, m, owner *concord.Concord) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := m.LookupContext(within(t, 20*time.Second), []byte(owner.Name()), concord.Fresh()); err != nil {
		t.Fatalf("%s asks for %s: %v", m.Name(), owner.Name(), err)
	}
	return time.Since(began)
}

func TestSettledRingAgreesWithTheTruth(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		var changes atomic.Int64
		started := ring.Start(5, func(i int, c *concord.Config) {
			c.Meta = []byte{byte(i)}
			c.OnRangeChange = func(concord.Range) { changes.Add(1) }
		})
		ring.Settle(t.Context())
		agree(t, ring)
		if len(started) != 5 || len(ring.Members()) != 5 || len(ring.Addresses()) != 5 {
			t.Errorf("%d started, %d members", len(started), len(ring.Members()))
		}
		if changes.Load() < 5 {
			t.Errorf("%d range changes of 5 members", changes.Load())
		}
		client := ring.Client()
		for _, m := range started {
			if owner := ring.Owner([]byte(m.Name())); owner != m {
				t.Errorf("a key at %s belongs to %s", m.Name(), owner.Name())
			}
			s, err := client.Lookup([]byte(m.Name()))
			if err != nil || s != serverOf(m) {
				t.Errorf("client: %v, %v, want %s", s, err, m.Name())
			}
		}
	})
}

func TestKilledMemberIsReplacedAndComesBack(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		members := ring.Start(5, nil)
		ring.Settle(t.Context())
		dead := ring.Owner([]byte("a key"))
		ring.Kill(dead)
		if len(ring.Members()) != 4 || ring.Owner([]byte("a key")) == dead {
			t.Error("the dead member still counts")
		}
		ring.Settle(t.Context())
		agree(t, ring)
		ring.Restart(dead)
		if ring.Owner([]byte("a key")) != dead {
			t.Error("the member that is back does not count")
		}
		ring.Settle(t.Context())
		agree(t, ring)
		// Those who go by themselves do not count either.
		members[0].Stop()
		if err := members[1].Leave(within(t, 10*time.Second)); err != nil {
			t.Error(err)
		}
		ring.Settle(t.Context())
		if len(ring.Members()) != 3 {
			t.Errorf("%d members of 5, of whom one stopped and one left", len(ring.Members()))
		}
	})
}

func TestHungMemberIsSilentUntilResume(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		ring.Start(5, nil)
		ring.Settle(t.Context())
		hung := ring.Members()[0]
		client := ring.Client()
		ring.Hang(hung)
		// Its status is there: the process is stopped for the others only.
		if hung.Status().Phase != "joined" || len(ring.Members()) != 4 {
			t.Errorf("phase %s, %d members", hung.Status().Phase, len(ring.Members()))
		}
		ring.Settle(t.Context())
		agree(t, ring)
		if s, err := client.LookupContext(within(t, 10*time.Second), []byte(hung.Name())); err != nil || s.Name == hung.Name() {
			t.Errorf("client: %v, %v", s, err)
		}
		ring.Resume(hung)
		ring.Settle(t.Context())
		agree(t, ring)
		if len(ring.Members()) != 5 {
			t.Errorf("%d members", len(ring.Members()))
		}
	})
}

func TestPartitionIsTwoRingsUntilHealed(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		ring.Start(4, nil)
		ring.Settle(t.Context())
		all := ring.Members()
		ring.Partition(all[0], all[2])
		wait(t, "each side to be a ring of its own", func() bool {
			a, okA := all[0].Predecessor()
			b, okB := all[1].Predecessor()
			return okA && okB && a.Name == all[2].Name() && b.Name == all[3].Name()
		})
		ring.Heal()
		ring.Settle(t.Context())
		agree(t, ring)
	})
}

func TestCutMemberIsFoundByTheOthers(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		ring.Start(2, nil)
		ring.Settle(t.Context())
		a, b := ring.Members()[0], ring.Members()[1]
		ring.Cut(a, b)
		wait(t, "each to be alone", func() bool {
			return a.Range().Start == a.Range().End && b.Range().Start == b.Range().End
		})
		ring.Heal()
		ring.Settle(t.Context())
		agree(t, ring)
	})
}

// What one says does not arrive, so that neither gets an answer of the other.
func TestCutOneWayKeepsAnswersToo(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		ring.Start(2, nil)
		ring.Settle(t.Context())
		a, b := ring.Members()[0], ring.Members()[1]
		ring.CutOneWay(a, b)
		wait(t, "each to be alone", func() bool {
			return a.Range().Start == a.Range().End && b.Range().Start == b.Range().End
		})
		ring.Heal()
		ring.Settle(t.Context())
	})
}

func TestMessagesAreDelayed(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		ring.Start(2, nil)
		ring.Settle(t.Context())
		a, b := ring.Members()[0], ring.Members()[1]
		const d = 50 * time.Millisecond
		ring.Delay(d, d)
		if took := takes(t, a, b); took < 2*d {
			t.Errorf("a question and its answer took %v, want at least %v", took, 2*d)
		}
		ring.DelayBetween(a, b, 4*d, 4*d)
		if took := takes(t, a, b); took < 5*d {
			t.Errorf("took %v, want at least %v", took, 5*d)
		}
		ring.DelayBetween(a, b, 0, 0)
		ring.Delay(0, 0)
		ring.Settle(t.Context())
		agree(t, ring)
	})
}

func TestRingOutlastsLoss(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		ring.Start(3, nil)
		ring.Settle(t.Context())
		members := ring.Members()
		ring.Lose(1)
		began := time.Now()
		_, err := members[0].LookupContext(within(t, 250*time.Millisecond), []byte(members[1].Name()), concord.Fresh())
		if err == nil {
			t.Errorf("an answer after %v though all is lost", time.Since(began))
		}
		ring.Lose(0.1)
		ring.Start(1, nil) // joins all the same
		ring.Lose(0)
		ring.Settle(t.Context())
		agree(t, ring)
	})
}

// wait polls until f holds.
func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !f() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Names that exist nowhere, as a program's own configuration has them.
func TestProgramsOwnMemberIsAdopted(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		ring.Start(2, nil)
		cfg := ring.Config("mine")
		cfg.AdvAddr = "mine.example.com:0"
		mine := concord.New(cfg)
		if err := mine.Start(); err != nil {
			t.Fatal(err)
		}
		defer mine.Stop()
		if err := mine.Join(within(t, 10*time.Second), ring.Addresses()...); err != nil {
			t.Fatal(err)
		}
		ring.Adopt(mine)
		ring.Settle(t.Context())
		if !strings.HasPrefix(mine.Address(), "mine.example.com:") || ring.Owner([]byte("mine")) != mine {
			t.Errorf("at %s; a key at it belongs to %s", mine.Address(), ring.Owner([]byte("mine")).Name())
		}
		client, err := concord.Dial(within(t, 10*time.Second), ring.ClientConfig(), mine.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if s, err := client.Lookup([]byte("mine")); err != nil || s != serverOf(mine) {
			t.Errorf("%v, %v", s, err)
		}
		ring.Kill(mine)
		if mine.Joined() || len(ring.Members()) != 2 {
			t.Error("it cannot be killed")
		}
	})
}

// An hour of virtual time, which takes half a second or so: members come, die,
// hang and are cut off all the while, and the ring settles whenever it is let be.
func TestRingLivesThroughAnHourOfChurn(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		ring := concordtest.New(t, concordtest.Options{Seed: 1})
		ring.Delay(time.Millisecond, 5*time.Millisecond)
		ring.Start(5, nil)
		start := time.Now()
		for i := 0; time.Since(start) < time.Hour; i++ {
			members := ring.Members()
			m := members[i%len(members)]
			switch i % 4 {
			case 0:
				ring.Kill(m)
			case 1:
				ring.Start(1, nil)
			case 2:
				ring.Hang(m)
				time.Sleep(time.Minute)
				ring.Resume(m)
			case 3:
				ring.Partition(m)
				time.Sleep(time.Minute)
				ring.Heal()
			}
			time.Sleep(4 * time.Minute)
			ring.Settle(t.Context())
			agree(t, ring)
		}
	})
	t.Logf("an hour took %v", time.Since(began))
}

func TestNamesAreLeftToTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := concordtest.New(t, concordtest.Options{})
		ring.Start(1, nil)
		m := concord.New(ring.Config("lost"))
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		defer m.Stop()
		for _, addr := range []string{"nowhere.example.com:7946", "_concord._tcp.example.com"} {
			if err := m.Join(within(t, 3*time.Second), addr); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("join through %s: %v", addr, err)
			}
		}
	})
}

// traceKey is under which a context has the trace that it belongs to.
type traceKey struct{}

func TestTracesTravelWithLookups(t *testing.T) {
	both(t, func(t *testing.T, ring *concordtest.Ring) {
		served := make(chan string, 64)
		ring.Start(2, func(_ int, c *concord.Config) {
			c.Observer = &concord.Observer{
				Inject: func(ctx context.Context, set func(key, value string)) {
					if trace, ok := ctx.Value(traceKey{}).(string); ok {
						set("X-Trace", trace)
					}
				},
				Extract: func(ctx context.Context, get func(key string) string) context.Context {
					return context.WithValue(ctx, traceKey{}, get("X-Trace"))
				},
				Serve: func(ctx context.Context, _ concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
					if trace, _ := ctx.Value(traceKey{}).(string); trace != "" {
						served <- trace
					}
					return ctx, func(concord.RequestEnd) {}
				},
			}
		})
		ring.Settle(t.Context())
		a, b := ring.Members()[0], ring.Members()[1]
		ctx := context.WithValue(within(t, 10*time.Second), traceKey{}, "mine")
		if _, err := a.LookupContext(ctx, []byte(b.Name()), concord.Fresh()); err != nil {
			t.Fatal(err)
		}
		if len(served) != 1 || <-served != "mine" {
			t.Errorf("%d requests were served with a trace, want one with this lookup's", len(served))
		}
	})
}

// The members of a ring on sockets use the TLS of their configuration, and so do
// its clients.
func TestRingOnSocketsUsesTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	ring := concordtest.New(t, concordtest.Options{Sockets: true, Config: concord.Config{
		StabilizeInterval: 50 * time.Millisecond,
		TLS: &concord.TLSConfig{
			Server: &tls.Config{Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
			Client: &tls.Config{Certificates: own, RootCAs: pool},
		},
	}})
	ring.Start(3, nil)
	ring.Settle(t.Context())
	agree(t, ring)
	m := ring.Members()[1]
	if s, err := ring.Client().Lookup([]byte(m.Name())); err != nil || s != serverOf(m) {
		t.Errorf("client: %v, %v", s, err)
	}
	plain := ring.ClientConfig()
	plain.TLS = nil
	if c, err := concord.Dial(within(t, 300*time.Millisecond), plain, ring.Addresses()...); err == nil {
		c.Close()
		t.Error("a client without TLS was served")
	}
}

// The addresses given to Dial lead nowhere once every member has been replaced. A client that went
// on looking up keys must not depend on them, not even when its last answer came from a member
// that was alone and is gone.
func TestClientOutlivesAllMembersThatItBeganWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := concordtest.New(t, concordtest.Options{})
		old := ring.Start(5, nil)
		ring.Settle(t.Context())
		client := ring.Client()
		lookUp := func() {
			for i := range 40 {
				client.Lookup(fmt.Append(nil, "key", i))
			}
		}
		for _, m := range old {
			ring.Start(1, nil)
			ring.Kill(m)
			ring.Settle(t.Context())
			lookUp()
		}
		loner := ring.Owner([]byte("key"))
		ring.Partition(loner)
		for range 40 { // until it owns every key, as the client learns
			time.Sleep(time.Second / 2)
			client.Lookup([]byte("key"))
		}
		ring.Kill(loner)
		ring.Heal()
		ring.Settle(t.Context())
		for i := range 40 {
			key := fmt.Append(nil, "key", i)
			if s, err := client.Lookup(key); err != nil || s.Name != ring.Owner(key).Name() {
				t.Fatalf("%s belongs to %v, %v; %d contacts", key, s, err, len(client.Status().Contacts))
			}
		}
	})
}
