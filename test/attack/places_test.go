package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

// tell has a member introduced at another. Whether it is refused at once or asked and not
// believed is that one's choice.
func tell(t *testing.T, at *concord.Concord, about, by *pb.Server) {
	t.Helper()
	_, err := client(t, at).Introduce(bounded(t, patience), &pb.IntroduceReq{Subject: about, Request: world.Request(by, server(at))})
	switch status.Code(err) {
	case codes.OK, codes.InvalidArgument, codes.FailedPrecondition, codes.ResourceExhausted, codes.PermissionDenied, codes.Unavailable:
	default:
		t.Errorf("introduced at %s: %v", at.Name(), err)
	}
}

// The Leave of an earlier incarnation, sent again when the member is back.
func TestReplayedLeave(t *testing.T) {
	r := attacked(t, 4)
	victim := r.member(1)
	earlier := server(victim)
	next := r.after(victim)
	leave := &pb.LeaveReq{
		Predecessor: server(r.before(victim)), Successors: []*pb.Server{server(next)}, Request: world.Request(earlier, server(next)),
	}
	if err := r.Leave(bounded(t, patience), victim); err != nil {
		t.Fatal(err)
	}
	again, err := r.Again([]*concord.Concord{victim}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Join(bounded(t, patience), again); err != nil {
		t.Fatal(err)
	}
	r.stands()
	r.unmoved(3, func() {
		for range 10 {
			_, _ = client(t, next).Leave(bounded(t, patience), leave)
		}
	})
}

// A Leave whose lists lead elsewhere: the leaver is one of the attacker's own.
func TestLeaveThatNamesGhosts(t *testing.T) {
	r := attacked(t, 4)
	m := r.member(0)
	var ghosts []*pb.Server
	for i := range 16 {
		ghosts = append(ghosts, world.Server(fmt.Sprint("ghost-", i), "127.0.0.1:1", attacktest.Now()))
	}
	r.unmoved(3, func() {
		for range 10 {
			_, _ = client(t, m).Leave(bounded(t, patience), &pb.LeaveReq{
				Predecessor: ghosts[0], Successors: ghosts, Request: world.Request(ghosts[1], server(m)),
			})
		}
	})
}

// Notify says that somebody is the predecessor: at an address where nobody is, where
// another member is, and where nothing but a listener is.
func TestForgedNotify(t *testing.T) {
	r := attacked(t, 4)
	m := r.member(0)
	before := world.Server(r.near(m, "near"), "", 0)
	p := peer(t, "listener", attacktest.Now(), nil)
	r.unmoved(3, func() {
		for _, addr := range []string{"127.0.0.1:1", r.member(1).Address(), m.Address(), p.Addr()} {
			for _, joining := range []bool{false, true} {
				_, _ = client(t, m).Notify(bounded(t, patience), &pb.NotifyReq{
					Id: before.GetId(), Name: before.GetName(), Address: addr, Incarnation: attacktest.Now(),
					Request: world.Request(nil, server(m)), Joining: joining,
				})
			}
		}
	})
}

// A request may be cut off at any moment.
func TestRequestsThatAreGivenUp(t *testing.T) {
	r := attacked(t, 3)
	m := r.member(0)
	c := client(t, m)
	r.unmoved(2, func() {
		for i := range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
			x := world.Server(fmt.Sprint("ghost-", i), "127.0.0.1:1", attacktest.Now())
			_, _ = c.Notify(ctx, &pb.NotifyReq{
				Id: x.GetId(), Name: x.GetName(), Address: x.GetAddress(), Incarnation: x.GetIncarnation(), Joining: true, Request: world.Request(nil, server(m)),
			})
			cancel()
		}
	})
}

// "A later incarnation of you is here": once, at a listener that answers once.
func TestLaterIncarnationThatAnswersOnce(t *testing.T) {
	r := attacked(t, 5)
	victim := r.member(2)
	p := later(t, victim, 1)
	tell(t, victim, p.Self, p.Self)
	r.rounds(5)
	p.Stop()
	r.rounds(5)
	r.stands()
	if victim.Status().Phase != concord.PhaseJoined {
		t.Errorf("the victim is %s", victim.Status().Phase)
	}
}

// The same of every member at once.
func TestLaterIncarnationsOfAWholeRing(t *testing.T) {
	r := attacked(t, 5)
	for _, m := range r.Members() {
		p := later(t, m, 1)
		tell(t, m, p.Self, p.Self)
	}
	r.rounds(8)
	r.stands()
}

// A Leave in the name of a live member, again and again.
func TestForgedLeave(t *testing.T) {
	r := attacked(t, 5)
	victim := r.member(2)
	r.unmoved(2, func() {
		for range 20 {
			for _, at := range []*concord.Concord{r.after(victim), r.before(victim)} {
				_, _ = client(t, at).Leave(bounded(t, patience), &pb.LeaveReq{
					Predecessor: server(r.before(victim)), Successors: []*pb.Server{server(r.after(victim))},
					Request: world.Request(server(victim), server(at)),
				})
			}
			r.rounds(1)
		}
	})
}

// A member of another ring with the same settings is introduced here, in both directions.
// Rings that have nothing in common stay two.
func TestMemberOfAnotherRing(t *testing.T) {
	production := attacked(t, 3)
	staging := &target{t: t, Cluster: productionLike(t, "s")}
	staging.stands()
	for range 5 {
		for _, x := range staging.Members() {
			for _, m := range production.Members() {
				tell(t, m, server(x), server(x))
				tell(t, x, server(m), server(m))
			}
		}
		production.rounds(2)
	}
	staging.stands()
	production.stands()
}

// later is a listener that says that it is a later incarnation of m, for so many answers.
func later(t *testing.T, m *concord.Concord, answers int64) *attacktest.Peer {
	t.Helper()
	return peer(t, m.Name(), m.Status().Incarnation+1, func(p *attacktest.Peer) {
		p.OnRing = func(*pb.RingReq) (*pb.Ring, error) {
			if p.Asked() > answers {
				return nil, status.Error(codes.Unavailable, "gone")
			}
			return p.Ring(), nil
		}
	})
}

// A later incarnation that is told to everybody but the victim, and answers as a member.
// Its neighbours see that the one that they know lives.
func TestLaterIncarnationToldToTheOthers(t *testing.T) {
	r := attacked(t, 5)
	victim := r.member(2)
	p := later(t, victim, 1)
	for _, m := range r.Members() {
		if m != victim {
			tell(t, m, p.Self, p.Self)
		}
	}
	r.rounds(8)
	p.Stop()
	r.rounds(4)
	r.stands()
}

// stolen counts lookups at all members and of a client that name one at addr, unless it is
// owner, for a key in the range that it would have as a member: without TLS whoever answers
// as a member is one. A lookup that fails fails the test.
func (r *target) stolen(addr string, owner *pb.Server) (n int) {
	r.t.Helper()
	c, err := concord.Dial(bounded(r.t, patience), r.client, r.member(0).Address())
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	place := r.place(owner.GetId())
	for i := range 24 {
		key := fmt.Appendf(nil, "stolen-%d", i)
		judge := func(at string, got concord.Server, err error) {
			switch own := got.Id == owner.GetId() && place.Contains(world.Space.ID(key)); {
			case err != nil:
				r.t.Errorf("a lookup at %s: %v", at, err)
			case got.Address == addr && !own:
				n++
			}
		}
		for _, m := range r.Members() {
			got, err := m.LookupContext(bounded(r.t, patience), key, concord.Fresh())
			judge(m.Name(), got, err)
		}
		got, err := c.LookupContext(bounded(r.t, patience), key, concord.Fresh())
		judge("a client", got, err)
	}
	return n
}

// ghosts are forty names at one listener, which is whoever a member asks for. Lookups it
// answers in a name of its own.
func ghosts(t *testing.T, addr string, config *tls.Config) (*attacktest.Peer, []*pb.Server) {
	t.Helper()
	var all []*pb.Server
	p := listen(t, addr, config, "ghost", attacktest.Now(), func(p *attacktest.Peer) {
		for i := range 40 {
			all = append(all, world.Server(fmt.Sprint("ghost-", i), p.Addr(), attacktest.Now()))
		}
		asked := func(q *pb.Request) *pb.Server {
			for _, g := range all {
				if g.GetId() == q.GetTarget().GetId() {
					return g
				}
			}
			return p.Self
		}
		whoever := func(q *pb.Request) *pb.Ring {
			r := p.Ring()
			r.Answer.Answerer, r.Successors = asked(q), all[:16]
			return r
		}
		p.OnRing = func(q *pb.RingReq) (*pb.Ring, error) { return whoever(q.GetRequest()), nil }
		p.OnIntroduce = func(q *pb.IntroduceReq) (*pb.Ring, error) { return whoever(q.GetRequest()), nil }
		p.OnNotify = func(q *pb.NotifyReq) (*pb.NotifyResp, error) {
			return &pb.NotifyResp{Ring: whoever(q.GetRequest()), Accepted: true}, nil
		}
	})
	return p, all
}

// Forty names at one listener are introduced at every member, as members of its ring. One
// address is one process: the first that answers gets the place of a member of its name,
// and the others get none.
func TestGhostsAtOneListener(t *testing.T) {
	r := attacked(t, 5)
	p, ghosts := ghosts(t, cluster.Address(), nil)
	r.haunt(ghosts)
	wrong := r.stolen(p.Addr(), ghosts[0])
	p.Stop()
	r.stands()
	if wrong > 0 {
		t.Errorf("%d lookups named a ghost", wrong)
	}
}

// The same with identities: the listener has a certificate for one name, which is none of
// the forty.
func TestGhostsWithOneCertificate(t *testing.T) {
	r, ca := identified(t, 5)
	addr := cluster.Address()
	cert := issue(t, ca, attacktest.Leaf{Hosts: []string{hostOf(addr)}, URIs: []string{"concord:///ghost"}})
	p, ghosts := ghosts(t, addr, ca.Server(cert))
	r.client.TLS = ca.Client(cert)
	m := r.member(0)
	r.counted(m, denied, uint64(len(ghosts)), func() {
		for _, x := range r.Members() {
			c := insider(t, x, ca.Client(cert))
			for _, g := range ghosts {
				_, err := c.Introduce(bounded(t, patience), &pb.IntroduceReq{Subject: g, Request: world.Request(g, server(x))})
				refused(t, err, codes.PermissionDenied, "concord:///"+g.GetName())
				_, _ = c.Introduce(bounded(t, patience), &pb.IntroduceReq{Subject: g, Request: world.Request(p.Self, server(x))})
			}
		}
	})
	if n := r.stolen(p.Addr(), p.Self); n > 0 { // who may be a member under that name
		t.Errorf("%d lookups named a ghost", n)
	}
	p.Stop()
	r.stands()
}

// haunt introduces ghosts at every member, and waits until the first has its place.
func (r *target) haunt(ghosts []*pb.Server) {
	r.t.Helper()
	for _, g := range ghosts {
		for _, m := range r.Members() {
			tell(r.t, m, g, g)
		}
	}
	r.await("a place for the first", func() bool {
		return slices.ContainsFunc(r.Members(), func(m *concord.Concord) bool {
			return m.Successors()[0].Name == ghosts[0].GetName()
		})
	})
}

// Ghosts that a member has only heard of are not what it remembers of its ring when it
// ends: not even the one that the member after it has met, and names in its list.
func TestGhostsInTheStateFile(t *testing.T) {
	dir := t.TempDir()
	r := attacked(t, 4, func(i int, cfg *concord.Config) {
		if i == 3 {
			cfg.StateDir = dir
		}
	})
	victim := r.member(3)
	p, ghosts := ghosts(t, cluster.Address(), nil)
	r.haunt(ghosts)
	r.await("a list with a ghost", func() bool {
		return slices.ContainsFunc(victim.Successors(), func(s concord.Server) bool { return s.Address == p.Addr() })
	})
	r.Kill(victim)
	p.Stop()
	text, err := os.ReadFile(filepath.Join(dir, "ring.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), p.Addr()) || strings.Contains(string(text), "ghost") {
		t.Errorf("it remembers %s", text)
	}
	again, err := r.Again([]*concord.Concord{victim}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := again[0].Join(bounded(t, patience)); err != nil { // by what it remembers alone
		t.Fatal(err)
	}
	r.Enter(again...)
	r.stands()
}

// Senders that nobody has replace no acquaintance.
func TestForgedSendersFillNoMemory(t *testing.T) {
	r := attacked(t, 6)
	m := r.member(0)
	c := client(t, m)
	r.unmoved(4, func() {
		for i := range 500 {
			x := world.Server(fmt.Sprint("ghost-", i), "127.0.0.1:1", attacktest.Now())
			_, _ = c.GetRing(bounded(t, patience), &pb.RingReq{Request: world.Request(x, server(m))})
			_, _ = c.Route(bounded(t, patience), &pb.RouteReq{Request: world.Request(x, server(m))})
		}
	})
	for _, x := range m.Status().Acquaintances {
		if x.Address == "127.0.0.1:1" {
			t.Errorf("%s is an acquaintance", x.Name)
		}
	}
}

// One in no ring introduces itself everywhere, and answers lookups with "all is mine". It gets
// no more than a member at its place would.
func TestOwnerOfTheWholeCircle(t *testing.T) {
	r := attacked(t, 6)
	p := peer(t, "everything", attacktest.Now(), nil)
	for range 4 {
		for _, m := range r.Members() {
			tell(t, m, p.Self, p.Self)
		}
	}
	wrong := r.stolen(p.Addr(), p.Self)
	p.Stop()
	r.stands()
	if wrong > 0 {
		t.Errorf("%d lookups named it", wrong)
	}
}
