package concord_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport"
	grpctransport "github.com/ollelogdahl/concord/internal/transport/grpc"
)

// aging is TCP whose connections become no older than maxAge, give or take a tenth.
type aging struct {
	grpctransport.TCP
	maxAge time.Duration
}

func (n aging) OpenMember(o transport.Options) (transport.Transport, error) {
	cfg := grpctransport.ConfigOf(o)
	cfg.MaxAge = n.maxAge
	return grpctransport.Listen(cfg)
}

func (n aging) OpenClient(o transport.Options) (transport.Transport, error) {
	cfg := grpctransport.ConfigOf(o)
	cfg.MaxAge = n.maxAge
	return grpctransport.NewClient(cfg), nil
}

// keyring is what one process uses of TLS at a time: a certificate, and the authorities
// that it trusts.
type keyring struct {
	now atomic.Pointer[concord.TLSConfig]
}

// use changes what new connections use.
func (k *keyring) use(cert tls.Certificate, trusted ...*authority) {
	pool := x509.NewCertPool()
	for _, a := range trusted {
		pool.AddCert(a.cert)
	}
	certs := []tls.Certificate{cert}
	k.now.Store(&concord.TLSConfig{
		Server: &tls.Config{Certificates: certs, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13},
		Client: &tls.Config{Certificates: certs, RootCAs: pool, MinVersion: tls.VersionTLS13},
	})
}

func (k *keyring) trust(trusted ...*authority) {
	k.use(k.now.Load().Client.Certificates[0], trusted...)
}

func (k *keyring) config() *concord.TLSConfig {
	first := k.now.Load()
	server := first.Server.Clone()
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.now.Load().Server, nil }
	return &concord.TLSConfig{
		Server: server, Client: first.Client,
		GetClient: func() (*tls.Config, error) { return k.now.Load().Client, nil },
	}
}

// An operator replaces the certificate of every member, and then the CA, of a ring at work.
// No lookup fails, nobody is refused, and in the end nothing of the old CA is left.
func TestEveryMemberIsRotatedUnderLookups(t *testing.T) {
	t.Parallel()
	const size, maxAge = 5, 1500 * time.Millisecond
	old, next := newAuthority(t), newAuthority(t)
	var members []*concord.Concord
	var keyrings []*keyring
	var outdated atomic.Int64 // connections made by certificates of the old CA
	for i := range size {
		name := fmt.Sprintf("member%d", i)
		k := &keyring{}
		k.use(old.issue(t, uris("concord:///"+name)), old)
		c := start(t, name, onLocalhost, func(cfg *concord.Config) {
			cfg.Network, cfg.TLS, cfg.StabilizeInterval = aging{maxAge: maxAge}, k.config(), 4*testInterval
			cfg.TLS.Identity = func(p concord.Peer) error {
				if p.Leaf().CheckSignatureFrom(next.cert) != nil {
					outdated.Add(1)
				}
				if err := p.VerifyName(concord.MemberURI); err != nil {
					return err
				}
				return p.VerifyHost()
			}
		})
		if i == 0 {
			if err := c.Create(); err != nil {
				t.Fatal(err)
			}
		} else {
			join(t, c, members[0].Address())
		}
		members, keyrings = append(members, c), append(keyrings, k)
	}
	awaitIdeal(t, members)

	var looking sync.WaitGroup
	over, end := context.WithCancel(t.Context())
	defer looking.Wait()
	defer end()
	var done atomic.Int64
	for _, m := range members {
		looking.Go(func() {
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for i := 0; over.Err() == nil; i++ {
				<-pace.C
				key := fmt.Sprintf("%s-%d", m.Name(), i)
				// One that is only slow, on a machine with much else to do, has not failed.
				ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
				got, err := m.LookupContext(ctx, []byte(key), concord.Fresh())
				cancel()
				if want := ownerOf(members, idOf(key)); err != nil || got != want {
					t.Errorf("%s: lookup of %q: %v, %v, want %v", m.Name(), key, got, err, want)
					return
				}
				done.Add(1)
			}
		})
	}
	// settle lets all connections be replaced, twice.
	settle := func() {
		from, at := done.Load(), time.Now()
		eventually(t, func() error {
			if n := done.Load() - from; n < 100 || time.Since(at) < 2*maxAge {
				return fmt.Errorf("%d lookups in %v", n, time.Since(at))
			}
			return nil
		})
	}
	step := func(change func(i int)) {
		for i := range members {
			from := done.Load()
			change(i)
			eventually(t, func() error {
				if n := done.Load() - from; n < 20 {
					return fmt.Errorf("%d lookups", n)
				}
				return nil
			})
		}
		settle()
	}
	settle()
	step(func(i int) { keyrings[i].trust(old, next) })
	step(func(i int) { keyrings[i].use(next.issue(t, uris("concord:///"+members[i].Name())), old, next) })
	outdated.Store(0)
	step(func(i int) { keyrings[i].trust(next) })
	if n := outdated.Load(); n > 0 {
		t.Errorf("%d connections by certificates of the old CA", n)
	}
	end()
	looking.Wait()
	awaitIdeal(t, members)
	for _, m := range members {
		if s := m.Status(); s.Counters.Denied > 0 || s.Counters.IncomingRefused > 0 {
			t.Errorf("%s has refused others: %+v", m.Name(), s.Failures)
		}
	}
	t.Logf("%d lookups", done.Load())
}
