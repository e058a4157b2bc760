package grpctransport

import (
	"context"
	"reflect"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// Whatever arrives at any method, the handler is given nothing beyond the bounds of the
// contract, and what is not given to it is answered as malformed.
func FuzzServe(f *testing.F) {
	anna := &pb.Server{Id: 1, Name: "anna", Address: "h:1", Incarnation: 9}
	request := &pb.Request{Target: &pb.Target{Id: 4}, Sender: anna, Settings: &pb.Settings{HashBits: 64}}
	for _, m := range []proto.Message{
		&pb.FindReq{Id: 1}, &pb.RingReq{Request: request, Looking: true, Founder: anna, Version: 3},
		&pb.NotifyReq{Id: 1, Name: "anna", Address: "h:1", Incarnation: 9, Request: request, Joining: true},
		&pb.RouteReq{Id: 7, Avoid: []*pb.Target{{Id: 1}}, Request: request}, &pb.PlaceReq{Subject: anna, Seek: true, Request: request},
		&pb.IntroduceReq{Subject: anna, Request: request}, &pb.ChangedReq{Request: request},
		&pb.LeaveReq{Predecessor: anna, Successors: []*pb.Server{anna, anna}, Request: request}, &pb.MetaReq{Request: request},
		&pb.MapReq{Kind: pb.MapReq_KIND_ASK, To: 7, Level: 3, Request: request},
		&pb.MapReq{Kind: pb.MapReq_KIND_COMPARE, From: 2, To: 7, Hashes: []uint32{1, 2}, Request: request},
		&pb.MapReq{Kind: pb.MapReq_KIND_PUSH, Request: request, Parts: []*pb.MapPart{{To: 9, Claims: []*pb.Claim{
			{Id: 1, After: 9, Epoch: 4, Incarnation: 9, Name: "anna", Address: "h:1"}, {Id: 5, After: 4, Epoch: 2, Incarnation: 3},
		}}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		for i := range description().Methods {
			f.Add(uint8(i), b)
		}
	}
	methods := description().Methods
	f.Fuzz(func(t *testing.T, method uint8, b []byte) {
		tr := NewClient(Config{SuccessorCount: 3})
		defer tr.Close()
		handled := false
		s := &service{t: tr, handler: judging(t, &handled)}
		m := methods[int(method)%len(methods)]
		answer, err := m.Handler(s, context.Background(), func(v any) error { return proto.Unmarshal(b, v.(proto.Message)) }, nil)
		switch {
		case err == nil && (answer == nil || !handled):
			t.Errorf("%s: answered %v, handled %v", m.MethodName, answer, handled)
		case err != nil && handled:
			t.Errorf("%s: handled, and answered %v", m.MethodName, err)
		}
		if msg, ok := answer.(proto.Message); ok && err == nil {
			if _, err := proto.Marshal(msg); err != nil {
				t.Errorf("%s: the answer cannot be written: %v", m.MethodName, err)
			}
		}
	})
}

// judging is a handler that fails the test if it is given what breaks the contract.
func judging(t *testing.T, handled *bool) transport.Handler {
	member := func(field string, x ring.Member) {
		if x.IsZero() {
			return
		}
		if err := ring.CheckAddress(x.Addr); err != nil || x.Name == "" || len(x.Name) > ring.MaxNameLength {
			t.Errorf("%s is %q at %q: %v", field, x.Name, x.Addr, err)
		}
	}
	self := transporttest.Member("self", "s:1", 1)
	h := &transporttest.Handler{Self: self}
	meet := func(env transport.Envelope) {
		*handled = true
		member("sender", env.From)
		if env.Settings.Bits > 64 {
			t.Errorf("%d bits", env.Settings.Bits)
		}
	}
	h.OnMaintain = func(_ context.Context, env transport.Envelope, r protocol.Request) (protocol.Reply, error) {
		meet(env)
		member("subject", r.Subject)
		member("predecessor", r.Pred)
		if len(r.Succ) > maxMembers {
			t.Errorf("%d successors", len(r.Succ))
		}
		for _, x := range r.Succ {
			member("successors", x)
		}
		return protocol.Reply{State: protocol.State{Self: self, Phase: protocol.Joined, Pred: env.From, Succ: r.Succ, Version: 1}, Verdict: protocol.Taken}, nil
	}
	h.OnRoute = func(_ context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
		meet(env)
		if len(q.Avoid) > routing.MaxAvoid {
			t.Errorf("%d to avoid", len(q.Avoid))
		}
		return routing.Answer{Verdict: routing.Mine, Owner: self, By: self}, nil
	}
	h.OnFindSuccessor = func(_ context.Context, env transport.Envelope, _ uint64) (ring.Member, error) {
		meet(env)
		return self, nil
	}
	h.OnMeta = func(_ context.Context, env transport.Envelope) ([]byte, error) {
		meet(env)
		return nil, nil
	}
	h.OnMap = func(_ context.Context, env transport.Envelope, r *ringmap.Request) (ringmap.Reply, error) {
		meet(env)
		if err := r.Check(); err != nil {
			t.Error(err)
		}
		var reply ringmap.Reply
		for _, p := range r.Parts {
			for _, a := range p.Claims {
				if a.Of != nil {
					member("claims", *a.Of)
				}
			}
			reply.Claims = p.Claims
		}
		return reply, nil
	}
	return h
}

// Whatever a peer answers about a map is refused, or within the bounds of the contract,
// and the same after another journey.
func FuzzMapReply(f *testing.F) {
	for _, m := range []*pb.MapResp{
		{Same: true, AgeNs1: 5, Through: 9, Beat: 3},
		{Stretches: []*pb.MapStretch{{To: 5, Sum: 4}}, Lacks: []uint32{0, 63}},
		{Claims: []*pb.Claim{{Id: 1, After: 9, Epoch: 4, Incarnation: 9, Name: "anna", Address: "h:1"}, {Id: 5}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(pb.MapResp)
		if proto.Unmarshal(b, m) != nil {
			return
		}
		got, err := mapReply(m)
		if err != nil {
			return
		}
		if err := got.Check(); err != nil {
			t.Error(err)
		}
		again, err := mapReply(mapResp(&got))
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%+v becomes %+v, %v", got, again, err)
		}
	})
}

// Whatever a peer fails with, it is a failure, in words that are bounded.
func FuzzFailure(f *testing.F) {
	anna := &pb.Server{Id: 1, Name: "anna", Address: "h:1", Incarnation: 9}
	for i, m := range []proto.Message{
		&pb.WrongMember{Answerer: anna}, &pb.WrongRing{Differing: []string{"Cluster"}, Answerer: anna}, &pb.NotJoined{Answerer: anna}, &pb.Isolated{Answerer: anna},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(codes.FailedPrecondition), "no", uint8(i), b)
	}
	f.Add(uint32(codes.Unavailable), "\x1b[2J\xff", uint8(0), []byte{})
	names := []string{"concord.WrongMember", "concord.WrongRing", "concord.NotJoined", "concord.Isolated", "concord.Answer", "concord.Nothing"}
	f.Fuzz(func(t *testing.T, code uint32, words string, name uint8, b []byte) {
		st := &status.Status{Code: int32(code % 20), Message: words, Details: []*anypb.Any{{
			TypeUrl: "type.googleapis.com/" + names[int(name)%len(names)], Value: b,
		}}}
		if st.GetCode() == 0 {
			return
		}
		got := failureOf(context.Background(), "h:1", grpcstatus.FromProto(st).Err(), &link{})
		if got == nil || got.Kind == 0 || len(got.Detail) > 2*maxDetail || len(got.Differing) > maxDiffering {
			t.Fatalf("%v is %+v", st, got)
		}
		if by := got.By; !by.IsZero() && (ring.CheckAddress(by.Addr) != nil || by.Name == "") {
			t.Errorf("answered by %+v", by)
		}
		if len(got.Error()) > 4*maxDetail {
			t.Errorf("%d bytes of words", len(got.Error()))
		}
	})
}
