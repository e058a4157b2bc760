package grpctransport

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/legacytest"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// legacyRingOf is a converged ring of legacy members in order of identifier.
func legacyRingOf(t *testing.T, names ...string) []*legacytest.Member {
	t.Helper()
	var ms []*legacytest.Member
	for _, name := range names {
		m := legacyMember(t, name)
		if len(ms) == 0 {
			m.Create()
		} else if err := m.Join(patient(t), ms[0].Self().Addr); err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	slices.SortFunc(ms, func(a, b *legacytest.Member) int {
		if ring.Between(0, a.Self().ID, b.Self().ID) {
			return -1
		}
		return 1
	})
	eventually(t, func() bool {
		for i, m := range ms {
			next := ms[(i+1)%len(ms)]
			if s := m.Successors(); len(s) == 0 || s[0] != next.Self() || next.Predecessor() != m.Self() {
				return false
			}
		}
		return true
	})
	return ms
}

func legacyMember(t *testing.T, name string) *legacytest.Member {
	t.Helper()
	m, err := legacytest.Listen(legacytest.Config{Name: name, Space: transporttest.Space, Interval: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	return m
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	end := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited in vain")
		}
	}
}

func maintain(t *testing.T, a *Transport, env transport.Envelope, req protocol.Request) protocol.Reply {
	t.Helper()
	env.Settings.Bits = 64
	r, err := a.Maintain(patient(t), env, req)
	if err != nil {
		t.Fatalf("%v of %v: %v", req.Kind, env.To, err)
	}
	return r
}

func anyone(m *legacytest.Member) ring.Member { return ring.Member{Addr: m.Self().Addr} }

func TestLegacyMemberShowsItsRing(t *testing.T) {
	a := begin(t, Config{}, nil)
	askRing := protocol.Request{Kind: protocol.AskRing}
	t.Run("outside", func(t *testing.T) {
		m := legacyMember(t, "m")
		if s := maintain(t, a, transport.Envelope{To: m.Self()}, askRing).State; s.Phase != protocol.Outside || s.Self != m.Self() {
			t.Errorf("state %+v", s)
		}
	})
	t.Run("alone", func(t *testing.T) {
		m := legacyRingOf(t, "m")[0]
		for _, to := range []ring.Member{m.Self(), anyone(m)} {
			s := maintain(t, a, transport.Envelope{To: to}, askRing).State
			if s.Phase != protocol.Joined || s.Self != m.Self() || !s.Pred.IsZero() || len(s.Succ) > 0 {
				t.Errorf("to %v: state %+v", to, s)
			}
		}
	})
	t.Run("among others", func(t *testing.T) {
		ms := legacyRingOf(t, "m0", "m1")
		eventually(t, func() bool {
			s := maintain(t, a, transport.Envelope{To: ms[0].Self()}, askRing).State
			return s.Self == ms[0].Self() && s.Pred == ms[1].Self() && slices.Equal(s.Succ, []ring.Member{ms[1].Self()})
		})
		if s := maintain(t, a, transport.Envelope{To: anyone(ms[0])}, askRing).State; !s.Self.IsZero() || s.Phase != protocol.Joined {
			t.Errorf("asked as anyone: %+v", s)
		}
	})
}

func TestLegacyMemberIsNotified(t *testing.T) {
	a := begin(t, Config{}, nil)
	ms := legacyRingOf(t, "m0", "m1", "m2")
	// Whoever is not between the member and its predecessor is not taken.
	env := transport.Envelope{From: ms[1].Self(), To: ms[0].Self()}
	env.From.Incarnation = 5
	if r := maintain(t, a, env, protocol.Request{Kind: protocol.Notify}); r.Refusal.Reason != protocol.Nearer || r.State.Pred != ms[2].Self() {
		t.Errorf("reply %+v; want it to name the nearer predecessor", r)
	}
	env = transport.Envelope{From: ms[2].Self(), To: anyone(ms[0])}
	if r := maintain(t, a, env, protocol.Request{Kind: protocol.Notify}); r.Refusal.Reason != protocol.Consent {
		t.Errorf("reply %+v; want consent", r)
	}
	for _, kind := range []protocol.RequestKind{protocol.Introduce, protocol.Changed, protocol.Leave} {
		for _, to := range []ring.Member{ms[1].Self(), anyone(ms[2])} {
			if r := maintain(t, a, transport.Envelope{From: env.From, To: to}, protocol.Request{Kind: kind, Subject: ms[0].Self()}); r.Refusal.Reason != protocol.Consent {
				t.Errorf("%v: %+v", kind, r)
			}
		}
	}
}

func TestLegacyMemberRoutes(t *testing.T) {
	a := begin(t, Config{}, nil)
	ms := legacyRingOf(t, "m0", "m1", "m2")
	for _, to := range []ring.Member{ms[0].Self(), anyone(ms[1])} {
		for i, m := range ms {
			next := ms[(i+1)%len(ms)].Self()
			got, err := a.Route(patient(t), transport.Envelope{To: to}, routing.Query{ID: m.Self().ID + 1})
			if err != nil || got.Verdict != routing.Owned || got.Owner != next || got.HasArc {
				t.Errorf("after %v: %+v, %v; want %v", m.Self(), got, err, next)
			}
		}
	}
	outside := legacyMember(t, "outside")
	for _, to := range []ring.Member{outside.Self(), anyone(outside)} {
		_, err := a.Route(patient(t), transport.Envelope{To: to}, routing.Query{ID: 1})
		wantKind(t, err, protocol.NotJoined, "not joined")
		_, err = a.Maintain(patient(t), transport.Envelope{To: to}, protocol.Request{Kind: protocol.Seek, Subject: ms[0].Self()})
		wantKind(t, err, protocol.NotJoined, "empty ring")
	}
}

// Following the answers to Seek from any member leads to the one before.
func TestLegacyMembersSeek(t *testing.T) {
	a := begin(t, Config{}, nil)
	ms := legacyRingOf(t, "m0", "m1", "m2", "m3")
	for i, m := range ms {
		next := ms[(i+1)%len(ms)]
		y := ring.Member{ID: m.Self().ID + 1, Name: "y", Addr: "127.0.0.1:1", Incarnation: 3}
		for _, start := range ms {
			for _, to := range []ring.Member{start.Self(), anyone(start)} {
				steps := 0
				for ; steps < 3; steps++ {
					r := maintain(t, a, transport.Envelope{To: to}, protocol.Request{Kind: protocol.Seek, Subject: y})
					if r.Verdict == protocol.Taken {
						if r.State.Self != m.Self() || r.State.Head() != next.Self() {
							t.Errorf("from %v: taken by %+v; want %v", start.Self(), r.State, m.Self())
						}
						break
					}
					if r.Verdict != protocol.Next || len(r.Closer) == 0 {
						t.Fatalf("from %v: %+v", to, r)
					}
					to = r.Closer[0]
				}
				if steps == 3 {
					t.Errorf("from %v: no end", start.Self())
				}
			}
		}
		r := maintain(t, a, transport.Envelope{To: m.Self()}, protocol.Request{Kind: protocol.Place, Subject: next.Self()})
		if r.Verdict != protocol.Found || r.State.Head() != next.Self() {
			t.Errorf("placing a member that is there: %+v", r)
		}
	}
}

// A member of ours that legacy ones name, without its incarnation, is found out.
func TestOurMemberNamedByALegacyOneIsNotTakenForOne(t *testing.T) {
	kinds := make(chan protocol.RequestKind, 8)
	h := &transporttest.Handler{}
	h.OnMaintain = func(_ context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
		if env.Legacy {
			t.Error("asked as by a legacy member")
		}
		kinds <- req.Kind
		return protocol.Reply{State: protocol.State{Self: h.Self, Phase: protocol.Joined}, Verdict: protocol.Taken}, nil
	}
	tr, err := Listen(Config{Bind: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	h.Self = at("ours", tr)
	tr.Serve(h)

	a := begin(t, Config{}, nil)
	bare := h.Self
	bare.Incarnation = 0
	from := transporttest.Member("from", "127.0.0.1:1", 5)
	r := maintain(t, a, transport.Envelope{From: from, To: bare}, protocol.Request{Kind: protocol.Place, Subject: transporttest.Member("y", "h:1", 2)})
	if r.State.Self != h.Self || <-kinds != protocol.AskRing || <-kinds != protocol.Place {
		t.Errorf("reply %+v", r)
	}
	got, err := a.Route(patient(t), transport.Envelope{To: bare}, routing.Query{ID: 1})
	if err != nil || got.Verdict != routing.Mine || !got.HasArc {
		t.Errorf("Route = %+v, %v; want it asked in our terms", got, err)
	}
}

func TestLegacyMembersAreNotAdmittedToACluster(t *testing.T) {
	a := begin(t, Config{}, nil)
	m := legacyRingOf(t, "m")[0]
	from := transporttest.Member("from", "127.0.0.1:1", 5)
	for _, to := range []ring.Member{m.Self(), anyone(m)} {
		env := transport.Envelope{From: from, To: to, Settings: transporttest.Space.Settings("blue")}
		for kind := protocol.AskRing; kind <= protocol.Leave; kind++ {
			_, err := a.Maintain(patient(t), env, protocol.Request{Kind: kind, Subject: from})
			wantKind(t, err, protocol.WrongRing, "no cluster")
		}
		_, err := a.Route(patient(t), env, routing.Query{ID: 1})
		wantKind(t, err, protocol.WrongRing, "no cluster")
	}
	if p := m.Predecessor(); p != m.Self() {
		t.Errorf("the legacy member took %v for its predecessor", p)
	}
}

// baseRing is a ring as a legacy member shows it.
func baseRing(pred ring.Member, succ ...ring.Member) func(*pb.RingReq) (*pb.Ring, error) {
	return func(*pb.RingReq) (*pb.Ring, error) {
		return &pb.Ring{Predecessor: server(pred), Successors: servers(succ)}, nil
	}
}

// At the address of one that was seen with an incarnation a legacy member may answer
// that is somebody else: addresses are used again, and its answers do not say who it is.
// What passes for a legacy member there for a moment is not one either.
func TestStrangerIsNotTakenForAMemberOfOursThatWasRolledBack(t *testing.T) {
	t.Parallel()
	x, y := transporttest.Member("x", "127.0.0.1:1", 0), transporttest.Member("y", "127.0.0.1:2", 0)
	var showsOther, showsOurs scripted
	other, stillOurs := transporttest.Member("s", showsOther.serve(t), 0), transporttest.Member("s", showsOurs.serve(t), 0)
	for what, c := range map[string]struct {
		ring  func(*pb.RingReq) (*pb.Ring, error)
		claim bool // with a Notify of the base contract besides
	}{
		"of an empty ring":                        {ring: baseRing(ring.Member{}), claim: true},
		"that knows no method":                    {claim: true},
		"whose successor has another predecessor": {ring: baseRing(y, other, y)},
		"whose successor still has ours":          {ring: baseRing(y, stillOurs, y)},
		"whose successor does not answer":         {ring: baseRing(y, x, y)},
		"alone, of another name":                  {ring: baseRing(y, y, y)},
	} {
		t.Run(what, func(t *testing.T) {
			s := &scripted{ring: c.ring, find: func(context.Context, *pb.FindReq) (*pb.FindResp, error) { return &pb.FindResp{Server: server(x)}, nil }}
			m := transporttest.Member("m", s.serve(t), 0)
			later := m
			later.Incarnation = 8
			showsOther.ring = baseRing(y, x)
			showsOurs.ring = baseRing(later, x)
			a := begin(t, Config{}, nil)
			a.known.add(later)
			if c.claim {
				a.known.claim(m)
			}
			for _, to := range []ring.Member{m, later} {
				env := transport.Envelope{From: x, To: to, Settings: ring.Settings{Bits: 64}}
				for kind := protocol.AskRing; kind <= protocol.Leave; kind++ {
					_, err := a.Maintain(patient(t), env, protocol.Request{Kind: kind, Subject: y})
					if r, ok := errors.AsType[*protocol.Failure](err); !ok || r.Kind != protocol.WrongMember && c.ring != nil || !r.By.IsZero() {
						t.Errorf("%v of %v: %v; want it to be another, not known whom", kind, to, err)
					}
				}
				if _, err := a.Route(patient(t), env, routing.Query{ID: 1}); err == nil {
					t.Errorf("Route of %v had an answer", to)
				}
			}
		})
	}
}

// A legacy member in the place of one of ours is known by its name, its identifier and
// its address together: its successor, or it itself, says so.
func TestLegacyMemberInThePlaceOfOursIsTakenForOne(t *testing.T) {
	t.Parallel()
	y := transporttest.Member("y", "127.0.0.1:2", 0)
	for what, claims := range map[string]bool{"its successor has it for its predecessor": false, "it has notified this member": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, next := &scripted{}, &scripted{}
			m, n := transporttest.Member("m", s.serve(t), 0), transporttest.Member("n", next.serve(t), 0)
			later := m
			later.Incarnation = 8
			s.ring = baseRing(y, n, y)
			s.find = func(context.Context, *pb.FindReq) (*pb.FindResp, error) { return &pb.FindResp{Server: server(n)}, nil }
			next.ring = baseRing(later, y)
			if !claims {
				next.ring = baseRing(m, y)
			}
			a := begin(t, Config{}, &transporttest.Handler{})
			a.known.add(later)
			if claims {
				if _, err := raw(t, a).Notify(patient(t), &pb.NotifyReq{Id: m.ID, Name: m.Name, Address: m.Addr}); err != nil {
					t.Fatal(err)
				}
			}
			env := transport.Envelope{From: y, To: later, Settings: ring.Settings{Bits: 64}}
			_, err := a.Maintain(patient(t), env, protocol.Request{Kind: protocol.AskRing})
			if f, ok := errors.AsType[*protocol.Failure](err); !ok || f.Kind != protocol.WrongMember || f.By != m {
				t.Errorf("asked as ours: %v; want to be told of %v", err, m)
			}
			env.To = m
			r, err := a.Maintain(patient(t), env, protocol.Request{Kind: protocol.AskRing})
			if err != nil || r.State.Self != m || r.State.Pred != y {
				t.Errorf("%+v, %v; want the ring of %v", r, err, m)
			}
			if got, err := a.Route(patient(t), env, routing.Query{ID: 1}); err != nil || got.Owner != n {
				t.Errorf("%+v, %v; want %v", got, err, n)
			}
			// Ours again: what has lapsed holds again.
			a.known.add(later)
			if !a.known.has(m) {
				t.Error("one of ours that has come back is not remembered")
			}
		})
	}
}

// A connection on which one of ours has answered does not lead to a legacy member
// later: something between the two passes for one.
func TestConnectionToOursDoesNotTurnIntoOneToALegacyMember(t *testing.T) {
	t.Parallel()
	s := &scripted{}
	m := transporttest.Member("m", s.serve(t), 8)
	bare := m
	bare.Incarnation = 0
	full := func(*pb.RingReq) (*pb.Ring, error) {
		return fullRing(protocol.State{Self: m, Phase: protocol.Joined}), nil
	}
	s.ring = full
	a := begin(t, Config{}, nil)
	ask := func() error {
		_, err := a.Maintain(patient(t), transport.Envelope{To: m, Settings: ring.Settings{Bits: 64}}, protocol.Request{Kind: protocol.AskRing})
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	s.ring = baseRing(bare, bare)
	wantKind(t, ask(), protocol.WrongMember, "but \"m\" is none")
	s.ring = full
	if err := ask(); err != nil {
		t.Errorf("after that: %v", err)
	}
	if !a.known.has(m) {
		t.Error("it is not known any longer")
	}
}

func TestKnownMembersAreBounded(t *testing.T) {
	var k known
	id := func(n int) ring.Member { return ring.Member{ID: uint64(n), Name: "x", Incarnation: 1} }
	for n := range 3 * maxKnown / 2 {
		k.add(id(n))
		k.add(id(n))
	}
	if k.ids.Len() != maxKnown || k.has(id(0)) || !k.has(id(maxKnown/2)) || !k.has(id(3*maxKnown/2-1)) {
		t.Errorf("%d members are remembered", k.ids.Len())
	}
}

// A legacy member joins through one of ours and is served by it.
func TestLegacyMemberJoinsThroughOurs(t *testing.T) {
	h := &transporttest.Handler{}
	tr, err := Listen(Config{Bind: "127.0.0.1:0", SuccessorCount: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	h.Self = at("ours", tr)
	notified := make(chan ring.Member, 64)
	h.OnMaintain = func(_ context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
		if req.Kind == protocol.Notify {
			select {
			case notified <- env.From:
			default:
			}
		}
		return protocol.Reply{State: protocol.State{Self: h.Self, Phase: protocol.Joined}}, nil
	}
	tr.Serve(h)
	m := legacyMember(t, "m")
	if err := m.Join(patient(t), tr.Addr()); err != nil {
		t.Fatal(err)
	}
	if by := transporttest.Await(t, notified, "the notification"); by != m.Self() {
		t.Errorf("notified by %v; want %v", by, m.Self())
	}
	if s := m.Successors(); s[0].Addr != tr.Addr() {
		t.Errorf("its successors are %v", s)
	}
}
