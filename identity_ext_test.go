package concord_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/transport/memory"
)

// uris puts URIs into a certificate.
func uris(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.URIs = nil
		for _, name := range names {
			u, err := url.Parse(name)
			if err != nil {
				panic(err)
			}
			c.URIs = append(c.URIs, u)
		}
	}
}

// host makes a certificate good for an address of its own.
func host(ip string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(ip)} }
}

// secured is a member whose certificate, for both directions, the edits make.
func (a *authority) secured(t *testing.T, name string, cert []func(*x509.Certificate), edits ...func(*concord.Config)) *concord.Concord {
	t.Helper()
	leaf := a.issue(t, cert...)
	return start(t, name, append([]func(*concord.Config){onLocalhost, func(cfg *concord.Config) { cfg.TLS = a.mutual(leaf, leaf) }}, edits...)...)
}

type edits = []func(*x509.Certificate)

// deniedJoin is the error of a Join that must be denied. The ring must be as before it, and have
// counted and named the stranger.
func deniedJoin(t *testing.T, ring []*concord.Concord, stranger *concord.Concord) error {
	t.Helper()
	before := pointers(ring)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := stranger.Join(ctx, ring[0].Address())
	wantErr(t, "the stranger", err, concord.ErrDenied)
	if after := pointers(ring); !reflect.DeepEqual(after, before) {
		t.Errorf("the ring has changed: %v, %v", before, after)
	}
	return err
}

func TestNameThatIsNotInTheCertificateIsDenied(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	var log journal
	member1 := a.secured(t, "member1", edits{uris("concord:///member1")}, log.takes)
	if err := member1.Create(); err != nil {
		t.Fatal(err)
	}
	member2 := a.secured(t, "member2", edits{uris("concord:///other", "concord:///member2")})
	join(t, member2, member1.Address())
	ring := []*concord.Concord{member1, member2}
	awaitIdeal(t, ring)

	for what, names := range map[string][]string{
		"another name":            {"concord:///member2"},
		"another cluster":         {"concord://prod/member3"},
		"a longer name":           {"concord:///member33"},
		"a name in another place": {"concord:///x/member3"},
	} {
		stranger := a.secured(t, "member3", edits{uris(names...)})
		err := deniedJoin(t, ring, stranger)
		mentions(t, err, "denies this side", `member "member3" at "`+stranger.Address(), "not \"concord:///member3\"")
		if t.Failed() {
			t.Fatal(what)
		}
	}
	s := member1.Status()
	if s.Counters.Denied == 0 || s.Counters.IncomingRefused == 0 {
		t.Errorf("nothing is counted: %+v", s.Counters)
	}
	told := 0
	for _, f := range s.Failures {
		switch {
		case f.Name == "member2": // on a slow machine it may once be late
		case !f.Incoming || f.Cause != concord.OutcomeDenied || f.Name != "member3":
			t.Errorf("member1 tells of %+v", f)
		default:
			told++
		}
	}
	if told == 0 {
		t.Errorf("member1 tells of %+v, and not of member3", s.Failures)
	}
	if len(log.of(`msg="incoming request refused" member=member1 peer=member3`)) == 0 {
		t.Errorf("nothing is logged: %s", log.String())
	}
	join(t, a.secured(t, "member3", edits{uris("concord:///member3")}), member1.Address())
}

// The certificate that a member shows to others must be good for its host, too.
func TestAddressThatIsNotInTheClientCertificateIsDenied(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	member1 := a.secured(t, "member1", nil)
	if err := member1.Create(); err != nil {
		t.Fatal(err)
	}
	server, client := a.issue(t), a.issue(t, host("192.0.2.1"))
	stranger := start(t, "member2", onLocalhost, func(cfg *concord.Config) { cfg.TLS = a.mutual(server, client) })
	err := deniedJoin(t, []*concord.Concord{member1}, stranger)
	mentions(t, err, "denies this side", "certificate is valid for 192.0.2.1, not 127.0.0.1")
}

// Who answers is judged as is who asks, by members and by clients.
func TestImpostorThatAnswersIsDenied(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	gullible := func(cfg *concord.Config) { cfg.TLS.Identity = func(concord.Peer) error { return nil } }
	impostor := a.secured(t, "member1", edits{uris("concord:///mallory")}, gullible)
	if err := impostor.Create(); err != nil {
		t.Fatal(err)
	}
	member2 := a.secured(t, "member2", edits{uris("concord:///member2")})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := member2.Join(ctx, impostor.Address())
	wantErr(t, "joining an impostor", err, concord.ErrDenied)
	mentions(t, err, impostor.Address(), "concord:///mallory")
	if strings.Contains(err.Error(), "denies this side") || member2.Status().Counters.Denied == 0 {
		t.Errorf("it was not this side that denied: %v, %+v", err, member2.Status().Counters)
	}
	leaf := a.issue(t, uris("concord:///client"))
	cfg := concord.ClientConfig{TLS: a.mutual(leaf, leaf).Client}
	_, err = concord.Dial(ctx, cfg, impostor.Address())
	wantErr(t, "dialling an impostor", err, concord.ErrDenied)
	cfg.Identity = func(p concord.Peer) error {
		if p.Name != "member1" || p.Incoming || p.Leaf() == nil {
			t.Errorf("asked of %+v", p)
		}
		return nil
	}
	c, err := concord.Dial(ctx, cfg, impostor.Address())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.LookupContext(ctx, []byte("key")); err != nil || got.Name != "member1" {
		t.Errorf("a lookup of a client with a rule of its own: %v, %v", got, err)
	}
	c.Close()
}

// A connection is judged once.
func TestIdentityIsAskedOnceForEachConnection(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	calls := make(chan concord.Peer, 1024)
	counting := func(cfg *concord.Config) {
		cfg.TLS.Identity = func(p concord.Peer) error {
			calls <- p
			return nil
		}
	}
	member1 := a.secured(t, "member1", nil, counting)
	if err := member1.Create(); err != nil {
		t.Fatal(err)
	}
	member2 := a.secured(t, "member2", nil)
	join(t, member2, member1.Address())
	awaitIdeal(t, []*concord.Concord{member1, member2})
	before := len(calls)
	for range 50 {
		for _, m := range []*concord.Concord{member1, member2} {
			if _, err := m.LookupContext(t.Context(), []byte("key"), concord.Fresh()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if after := len(calls); after > before+2 || before == 0 {
		t.Errorf("asked %d times before 100 lookups and %d times after them", before, after)
	}
}

func TestAuthorizeDecidesWhoMayBeAMember(t *testing.T) {
	errUnknown := errors.New("unknown at the registry")
	synctest.Test(t, func(t *testing.T) {
		network := memory.NewNetwork(1)
		var log journal
		ours := func(cfg *concord.Config) {
			cfg.Authorize = func(p concord.Peer) error {
				if p.TLS != nil || p.Cluster != "" || p.Id == 0 || p.Address == "" || p.Remote == "" {
					t.Errorf("asked of %+v", p)
				}
				if !strings.HasPrefix(p.Name, "member") {
					return errUnknown
				}
				return nil
			}
		}
		members := newMemoryRing(t, network, 3, ours, log.takes)
		stranger := memoryMember(t, network, "stranger")
		err := deniedJoin(t, members, stranger)
		mentions(t, err, "Config.Authorize does not accept", errUnknown.Error(), `member "stranger"`)
		stranger.Stop()

		elsewhere := memoryMember(t, network, "elsewhere")
		if err := elsewhere.Create(); err != nil {
			t.Fatal(err)
		}
		late := memoryMember(t, network, "member4", ours)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err = late.Join(ctx, elsewhere.Address())
		wantErr(t, "a ring of strangers", err, concord.ErrDenied, concord.ErrDenied)
		join(t, late, members[0].Address())
		awaitIdeal(t, append(members, late))
		if n := len(log.of(`peer=stranger`)); n == 0 {
			t.Errorf("nothing is logged of the stranger: %s", log.String())
		}
		elsewhere.Stop()
		stopAll(append(members, late))
	})
}

func TestNamesInCertificates(t *testing.T) {
	a := newAuthority(t)
	for _, c := range []struct {
		template, name, cluster string
		cert                    func(*x509.Certificate)
		ok                      bool
	}{
		{concord.MemberURI, "node1", "prod", uris("concord://prod/node1"), true},
		{concord.MemberURI, "node1", "", uris("concord:///node1"), true},
		{concord.MemberURI, "node1", "prod", uris("concord:///node1"), false},
		{concord.MemberURI, "node1", "prod", uris("concord://prod/NODE1"), false},
		{concord.MemberURI, "node1", "prod", uris("concord://prod/node1/"), false},
		{concord.MemberURI, "node1", "prod", uris("concord://prod/node1?x=y"), false},
		{concord.MemberURI, "a/b", "prod", uris("concord://prod/a/b"), false},
		{concord.MemberURI, "a/b", "prod", uris("concord://prod/a%2Fb"), true},
		{concord.MemberURI, "{cluster}", "prod", uris("concord://prod/prod"), false},
		{concord.MemberURI, "å", "prod", uris("concord://prod/%C3%A5"), true},
		{concord.MemberURI, "node1", "prod", uris(), false},
		{"spiffe://example.org/{cluster}/{name}", "node1", "prod", uris("spiffe://example.org/other", "spiffe://example.org/prod/node1"), true},
		{"spiffe://example.org/{cluster}/{name}", "node1", "prod", uris("spiffe://example.com/prod/node1"), false},
		{"{name}.{cluster}.example.org", "node1", "prod", func(c *x509.Certificate) { c.DNSNames = []string{"Node1.prod.example.org"} }, true},
		{"{name}.{cluster}.example.org", "node1", "prod", func(c *x509.Certificate) { c.DNSNames = []string{"*.prod.example.org"} }, false},
		{"{name}.{cluster}.example.org", "node1", "prod", func(c *x509.Certificate) { c.DNSNames = []string{"node2.prod.example.org"} }, false},
	} {
		p := concord.Peer{Server: concord.Server{Name: c.name}, Cluster: c.cluster}
		if err := p.VerifyName(c.template); err == nil {
			t.Errorf("%q without a certificate proves %q", c.name, c.template)
		}
		p.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{a.issue(t, c.cert).Leaf}}
		if err := p.VerifyName(c.template); (err == nil) != c.ok {
			t.Errorf("%q of %q by %q: %v, want success: %v", c.name, c.cluster, c.template, err, c.ok)
		}
	}
}

// A member learns from its log that others will deny it.
func TestOwnCertificateWithoutTheNameIsLoggedAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		leaf := a.issue(t, uris("concord:///other"))
		var j journal
		m := memoryMember(t, memory.NewNetwork(1), "member1", j.takes, func(cfg *concord.Config) { cfg.TLS = a.mutual(leaf, leaf) })
		defer m.Stop()
		synctest.Wait()
		const want = `level=WARN msg="own certificate does not prove the name and the address" member=member1 subject="CN=leaf" use="server, client" err="the certificate has the URIs [\"concord:///other\"], not \"concord:///member1\""`
		if got := j.of("own certificate"); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("the log says %q", got)
		}
	})
}
