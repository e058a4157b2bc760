package grpctransport

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// scripted is a member whose every answer the test decides. A method whose function
// is nil is Unimplemented.
type scripted struct {
	pb.UnimplementedChordServiceServer
	find func(ctx context.Context, r *pb.FindReq) (*pb.FindResp, error)
	ring func(r *pb.RingReq) (*pb.Ring, error)
	// route is what it speaks of the extension, beside what ring says.
	route func(r *pb.RouteReq) (*pb.RouteResp, error)
}

func (s *scripted) FindSuccessor(ctx context.Context, r *pb.FindReq) (*pb.FindResp, error) {
	if s.find == nil {
		return s.UnimplementedChordServiceServer.FindSuccessor(ctx, r)
	}
	return s.find(ctx, r)
}

func (s *scripted) GetRing(ctx context.Context, r *pb.RingReq) (*pb.Ring, error) {
	if s.ring == nil {
		return s.UnimplementedChordServiceServer.GetRing(ctx, r)
	}
	return s.ring(r)
}

// Notify is answered as a legacy member does, by one that shows a ring.
func (s *scripted) Notify(ctx context.Context, r *pb.NotifyReq) (*pb.NotifyResp, error) {
	if s.ring == nil {
		return s.UnimplementedChordServiceServer.Notify(ctx, r)
	}
	return &pb.NotifyResp{}, nil
}

func (s *scripted) Route(ctx context.Context, r *pb.RouteReq) (*pb.RouteResp, error) {
	if s.route == nil {
		return s.UnimplementedChordServiceServer.Route(ctx, r)
	}
	return s.route(r)
}

// serve has s answer on the loopback, and gives its address.
func (s *scripted) serve(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.WaitForHandlers(true))
	pb.RegisterChordServiceServer(srv, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(lis)
	}()
	t.Cleanup(func() {
		srv.Stop()
		<-done
	})
	return lis.Addr().String()
}

// handedOn are the failures of a third member, as a legacy one hands them on.
func handedOn(third ring.Member) map[string]error {
	detailed := func(code codes.Code, d protoadapt.MessageV1) error {
		st, err := status.New(code, "of another").WithDetails(d)
		if err != nil {
			panic(err)
		}
		return st.Err()
	}
	out := map[string]error{
		"not joined":   detailed(codes.FailedPrecondition, &pb.NotJoined{Answerer: server(third)}),
		"isolated":     detailed(codes.FailedPrecondition, &pb.Isolated{Answerer: server(third)}),
		"wrong ring":   detailed(codes.FailedPrecondition, &pb.WrongRing{Differing: []string{"Cluster"}, Answerer: server(third)}),
		"wrong member": detailed(codes.FailedPrecondition, &pb.WrongMember{Answerer: server(third)}),
		"invalid":      detailed(codes.InvalidArgument, &pb.Answer{Answerer: server(third)}),
	}
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Internal, codes.ResourceExhausted, codes.Unknown, codes.Unimplemented} {
		out[code.String()] = status.Error(code, "of another")
	}
	return out
}

// What a legacy member passes on says nothing of itself: neither that it is in no
// ring nor that it is somebody else or did not answer. Where a member belongs, its
// own neighbours show.
func TestFailureOfAThirdIsNotThatOfTheLegacyMember(t *testing.T) {
	t.Parallel()
	joiner := transporttest.Member("joiner", "127.0.0.1:1", 7)
	pred, next := transporttest.Member("pred", "127.0.0.1:2", 0), transporttest.Member("next", "127.0.0.1:3", 0)
	for what, passed := range handedOn(joiner) {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := &scripted{
				find: func(context.Context, *pb.FindReq) (*pb.FindResp, error) { return nil, passed },
				ring: func(*pb.RingReq) (*pb.Ring, error) {
					return &pb.Ring{Predecessor: server(pred), Successors: servers([]ring.Member{next, pred})}, nil
				},
			}
			m := transporttest.Member("m", s.serve(t), 0)
			a := begin(t, Config{}, nil)
			for _, to := range []ring.Member{m, {Addr: m.Addr}} {
				env := transport.Envelope{From: joiner, To: to, Settings: ring.Settings{Bits: 64}}
				_, err := a.Route(patient(t), env, routing.Query{ID: 1})
				wantKind(t, err, protocol.Relayed, "of another")
				if f, ok := errors.AsType[*protocol.Failure](err); ok && !f.By.IsZero() {
					t.Errorf("the failure names %v", f.By)
				}
				r, err := a.Maintain(patient(t), env, protocol.Request{Kind: protocol.Seek, Subject: joiner})
				if err != nil || r.Verdict != protocol.Next && r.Verdict != protocol.Taken {
					t.Fatalf("Seek of %v: %+v, %v", to, r, err)
				}
				if r.Verdict == protocol.Next && len(r.Closer) == 0 {
					t.Errorf("Seek of %v leads nowhere", to)
				}
			}
		})
	}
}

// One that waits for dead members does not keep the joiner from what it says itself.
func TestLegacyMemberThatIsStuckStillShowsTheWay(t *testing.T) {
	t.Parallel()
	joiner := transporttest.Member("joiner", "127.0.0.1:1", 7)
	pred, next := transporttest.Member("pred", "127.0.0.1:2", 0), transporttest.Member("next", "127.0.0.1:3", 0)
	s := &scripted{
		find: func(ctx context.Context, _ *pb.FindReq) (*pb.FindResp, error) { <-ctx.Done(); return nil, ctx.Err() },
		ring: func(*pb.RingReq) (*pb.Ring, error) {
			return &pb.Ring{Predecessor: server(pred), Successors: servers([]ring.Member{next, pred})}, nil
		},
	}
	a := begin(t, Config{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	env := transport.Envelope{From: joiner, To: ring.Member{Addr: s.serve(t)}, Settings: ring.Settings{Bits: 64}}
	r, err := a.Maintain(ctx, env, protocol.Request{Kind: protocol.Seek, Subject: joiner})
	if err != nil || len(r.Closer) != 2 || r.Closer[0] != pred || r.Closer[1] != next {
		t.Errorf("%+v, %v; want both its neighbours", r, err)
	}
}

// A member of ours that a legacy one had named is asked anew in our terms when it
// fails a lookup: of that its word is its own.
func TestOurMemberTakenForALegacyOneIsAskedInOurTerms(t *testing.T) {
	t.Parallel()
	owner := transporttest.Member("owner", "127.0.0.1:2", 3)
	var m ring.Member
	s := &scripted{
		find: func(context.Context, *pb.FindReq) (*pb.FindResp, error) {
			return nil, status.Error(codes.Canceled, "the lookup goes in a loop")
		},
		ring: func(*pb.RingReq) (*pb.Ring, error) {
			return fullRing(protocol.State{Self: m, Phase: protocol.Joined, Succ: []ring.Member{owner}}), nil
		},
		route: func(*pb.RouteReq) (*pb.RouteResp, error) {
			return routeResp(transport.Envelope{}, routing.Answer{Verdict: routing.Owned, Owner: owner, By: m}), nil
		},
	}
	m = transporttest.Member("m", s.serve(t), 9)
	bare := m
	bare.Incarnation = 0
	a := begin(t, Config{}, nil)
	got, err := a.Route(patient(t), transport.Envelope{To: bare, Settings: ring.Settings{Bits: 64}}, routing.Query{ID: 1})
	if err != nil || got.Owner != owner {
		t.Errorf("%+v, %v; want %v", got, err, owner)
	}
}
