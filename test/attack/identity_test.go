package attack

import (
	"crypto/tls"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// identified is a ring whose certificates have the names and the hosts of the members.
func identified(t *testing.T, n int) (*target, *attacktest.Authority) {
	t.Helper()
	ca := authority(t, "ours")
	return attacked(t, n, func(_ int, cfg *concord.Config) {
		cfg.BindAddr = cluster.Address()
		cert := issue(t, ca, attacktest.Leaf{Hosts: []string{hostOf(cfg.BindAddr)}, URIs: []string{"concord:///" + cfg.Name}})
		cfg.TLS = &concord.TLSConfig{Server: ca.Server(cert), Client: ca.Client(cert)}
	}), ca
}

// insider is a connection to m by a certificate.
func insider(t *testing.T, m *concord.Concord, config *tls.Config) *attacktest.Client {
	t.Helper()
	c, err := attacktest.Dial(m.Address(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func denied(c concord.Counters) uint64 { return c.Denied }

// claims sends every method to m with a sender whom the certificate does not prove, and
// fails the test unless each is denied, counted and logged, and the ring does not move.
func (r *target) claims(m *concord.Concord, config *tls.Config, sender *pb.Server, words string) {
	r.t.Helper()
	c := insider(r.t, m, config)
	r.unmoved(2, func() {
		r.counted(m, denied, uint64(len(methods)), func() {
			for _, x := range methods {
				err := x.ask(bounded(r.t, patience), c, world.Request(sender, server(m)), sender)
				refused(r.t, err, codes.PermissionDenied, words)
			}
		})
	})
	r.logged(m, `msg="incoming request refused"`)
	r.logged(m, "peer="+sender.GetName())
}

// A holder of a certificate speaks in the name of a member.
func TestCertificateOfAnotherNameThanTheSender(t *testing.T) {
	r, ca := identified(t, 4)
	m, victim := r.member(0), r.member(1)
	mallory := issue(t, ca, attacktest.Leaf{
		Hosts: []string{hostOf(victim.Address())}, URIs: []string{"concord:///mallory", "concord://other/" + victim.Name()},
	})
	r.claims(m, ca.Client(mallory), server(victim), "not \"concord:///"+victim.Name())
}

// The same from another host, with a certificate without names.
func TestCertificateOfAnotherHostThanTheSender(t *testing.T) {
	r, ca := identified(t, 4)
	m, victim := r.member(0), r.member(1)
	elsewhere := issue(t, ca, attacktest.Leaf{Hosts: []string{"192.0.2.1"}})
	r.claims(m, ca.Client(elsewhere), server(victim), "certificate is valid for 192.0.2.1")
}

// A member with a place in the ring and a certificate of its own answers as a later
// incarnation of another.
func TestListenerThatAnswersAsAnother(t *testing.T) {
	r, ca := identified(t, 4)
	m, victim := r.member(0), r.member(1)
	cert := issue(t, ca, attacktest.Leaf{Hosts: []string{"127.0.0.1"}, URIs: []string{"concord:///mallory"}})
	p, err := attacktest.Listen("127.0.0.1:0", ca.Server(cert))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	mallory := world.Server("mallory", p.Addr(), attacktest.Now())
	p.Self = world.Server(victim.Name(), p.Addr(), attacktest.Now())
	p.Serve()
	r.unmoved(3, func() {
		r.counted(m, denied, 1, func() {
			for _, m := range r.Members() {
				c := insider(t, m, ca.Client(cert))
				// It may say that it is itself. What it answers then is what matters.
				_, _ = c.Introduce(bounded(t, patience), &pb.IntroduceReq{Subject: mallory, Request: world.Request(mallory, server(m))})
				_, _ = c.Notify(bounded(t, patience), &pb.NotifyReq{
					Id: mallory.GetId(), Name: mallory.GetName(), Address: mallory.GetAddress(), Incarnation: mallory.GetIncarnation(),
					Request: world.Request(nil, server(m)), Joining: true,
				})
			}
		})
	})
	r.logged(m, "concord:///mallory")
}

// Requests that only members make, without a sender that could be judged.
func TestRequestsWithoutASender(t *testing.T) {
	r, ca := identified(t, 3)
	m := r.member(0)
	c := insider(t, m, ca.Client(issue(t, ca, attacktest.Leaf{})))
	e := world.Request(nil, server(m))
	ghost := world.Server("ghost", "127.0.0.1:1", attacktest.Now())
	r.unmoved(2, func() {
		r.counted(m, incoming, 5, func() {
			ctx := bounded(t, patience)
			_, err := c.GetRing(ctx, &pb.RingReq{Request: e, Looking: true, Founder: ghost})
			refused(t, err, codes.InvalidArgument, "sender is missing")
			_, err = c.Place(ctx, &pb.PlaceReq{Subject: ghost, Request: e})
			refused(t, err, codes.InvalidArgument, "sender is missing")
			_, err = c.Introduce(ctx, &pb.IntroduceReq{Subject: ghost, Request: e})
			refused(t, err, codes.InvalidArgument, "sender is missing")
			_, err = c.Changed(ctx, &pb.ChangedReq{Request: e})
			refused(t, err, codes.InvalidArgument, "sender is missing")
			_, err = c.Leave(ctx, &pb.LeaveReq{Request: e})
			refused(t, err, codes.InvalidArgument, "sender is missing")
		})
	})
	r.logged(m, "sender is missing")
}

// Whoever is not on the list of the members takes no part, by any method.
func TestMemberThatIsNotAuthorized(t *testing.T) {
	errStranger := errors.New("not on the list")
	r := attacked(t, 4, func(_ int, cfg *concord.Config) {
		cfg.Authorize = func(p concord.Peer) error {
			if len(p.Name) == 2 && p.Name[0] == 'm' {
				return nil
			}
			return errStranger
		}
	})
	r.claims(r.member(0), nil, world.Server("stranger", "127.0.0.1:1", attacktest.Now()), errStranger.Error())
}

// mallory is a certificate of the ring's authority for the host 127.0.0.1 and a name.
func mallory(t *testing.T, ca *attacktest.Authority, uri string) *tls.Config {
	t.Helper()
	return ca.Client(issue(t, ca, attacktest.Leaf{Hosts: []string{"127.0.0.1"}, URIs: []string{uri}}))
}

// A holder of a certificate says that it is a later incarnation of a member, at its own
// address.
func TestNameOfAnotherAtTheOwnAddress(t *testing.T) {
	r, ca := identified(t, 4)
	victim := r.member(1)
	later := world.Server(victim.Name(), "127.0.0.1:9", victim.Status().Incarnation+1)
	r.claims(r.member(0), mallory(t, ca, "concord:///mallory"), later, "concord:///mallory")
}

// It bears its own name, and says that it is at the address of a member.
func TestOwnNameAtTheAddressOfAnother(t *testing.T) {
	r, ca := identified(t, 4)
	r.claims(r.member(0), mallory(t, ca, "concord:///mallory"), world.Server("mallory", r.member(1).Address(), attacktest.Now()), "certificate is valid for 127.0.0.1")
}

// Its certificate is for a member of another cluster.
func TestCertificateOfAnotherCluster(t *testing.T) {
	r, ca := identified(t, 4)
	r.claims(r.member(0), mallory(t, ca, "concord://staging/mallory"), world.Server("mallory", "127.0.0.1:9", attacktest.Now()), "concord://staging/mallory")
}
