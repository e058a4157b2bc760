package grpctransport

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// raw is a client that can send anything.
func raw(t *testing.T, tr *Transport) pb.ChordServiceClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+tr.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return pb.NewChordServiceClient(cc)
}

func TestMalformedRequestsDoNotReachTheHandler(t *testing.T) {
	b := begin(t, Config{}, &transporttest.Handler{
		OnMaintain: func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
			t.Error("the handler was called")
			return protocol.Reply{}, nil
		},
	})
	c, ctx := raw(t, b), patient(t)
	bad := &pb.Server{Name: "x", Address: "no port"}
	many := make([]*pb.Server, 65)
	for i := range many {
		many[i] = &pb.Server{Name: "x", Address: "h:1"}
	}
	for _, x := range []struct {
		words string
		call  func() error
	}{
		{"subject is missing", func() error { _, err := c.Place(ctx, &pb.PlaceReq{Request: &pb.Request{}}); return err }},
		{"subject: address", func() error {
			_, err := c.Introduce(ctx, &pb.IntroduceReq{Subject: bad, Request: &pb.Request{}})
			return err
		}},
		{"sender: address", func() error {
			_, err := c.GetRing(ctx, &pb.RingReq{Request: &pb.Request{Sender: bad}})
			return err
		}},
		{"hash_bits", func() error {
			_, err := c.Changed(ctx, &pb.ChangedReq{Request: &pb.Request{Settings: &pb.Settings{HashBits: 65}}})
			return err
		}},
		{"notifier has no name", func() error { _, err := c.Notify(ctx, &pb.NotifyReq{Address: "h:1"}); return err }},
		{"avoid has", func() error {
			_, err := c.Route(ctx, &pb.RouteReq{Avoid: make([]*pb.Target, routing.MaxAvoid+1)})
			return err
		}},
		{"successors has 65", func() error { _, err := c.Leave(ctx, &pb.LeaveReq{Successors: many}); return err }},
	} {
		err := x.call()
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), x.words) {
			t.Errorf("error %v; want InvalidArgument with %q", err, x.words)
		}
	}
	_, err := c.GetRing(ctx, &pb.RingReq{Request: &pb.Request{Sender: &pb.Server{Name: strings.Repeat("x", maxMessage)}}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message beyond the limit: %v", err)
	}
}

// What a legacy member is told, as wire.md has it.
func TestLegacyCallersAreToldARingTheyCanUse(t *testing.T) {
	self, x, y := transporttest.Member("self", "h:1", 7), transporttest.Member("x", "h:2", 7), transporttest.Member("y", "h:3", 0)
	joined := func(pred ring.Member, succ ...ring.Member) protocol.State {
		return protocol.State{Self: self, Phase: protocol.Joined, Pred: pred, Succ: succ}
	}
	for _, c := range []struct {
		name  string
		state protocol.State
		err   error
		pred  string
		succ  string
		fails string // what the error says
	}{
		{name: "outside", state: protocol.State{Self: self, Phase: protocol.Outside}, fails: "not joined (answered by self"},
		{name: "looking", state: protocol.State{Self: self, Phase: protocol.Bootstrapping}, fails: "looking"},
		{name: "joining", state: protocol.State{Self: self, Phase: protocol.Joining, Succ: []ring.Member{x}}, fails: "joining"},
		{name: "superseded", state: protocol.State{Self: self, Phase: protocol.Superseded, Succ: []ring.Member{x}}, fails: "superseded"},
		{name: "not joined", err: &protocol.Failure{Kind: protocol.NotJoined}, fails: "not joined"},
		{name: "alone", state: joined(ring.Member{}), pred: "self", succ: "self"},
		{name: "two", state: joined(x, x), pred: "x", succ: "x self x self"},
		{name: "three", state: joined(y, x, y), pred: "y", succ: "x y self x"},
		{name: "no predecessor", state: joined(ring.Member{}, x), succ: "x self x self"},
		{name: "leaving", state: protocol.State{Self: self, Phase: protocol.Leaving, Pred: y, Succ: []ring.Member{x}}, pred: "y", succ: "x self x self"},
		{name: "long", state: joined(y, x, y, x, y, x), pred: "y", succ: "x y x y x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := begin(t, Config{SuccessorCount: 4}, &transporttest.Handler{
				OnMaintain: func(_ context.Context, env transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
					if !env.Legacy || env.From != (ring.Member{}) {
						t.Errorf("envelope %+v; want a legacy caller's", env)
					}
					return protocol.Reply{State: c.state}, c.err
				},
			})
			r, err := raw(t, b).GetRing(patient(t), &pb.RingReq{})
			if c.fails != "" {
				wantPlain(t, err, c.fails)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range r.GetSuccessors() {
				names = append(names, s.GetName())
			}
			if r.GetPredecessor().GetName() != c.pred || strings.Join(names, " ") != c.succ || r.GetAnswer() != nil {
				t.Errorf("predecessor %q, successors %q; want %q and %q", r.GetPredecessor().GetName(), names, c.pred, c.succ)
			}
		})
	}
}

func TestLegacyCallersNotifyAndLookUp(t *testing.T) {
	var env transport.Envelope
	x := transporttest.Member("x", "h:2", 0)
	b := begin(t, Config{}, &transporttest.Handler{
		OnMaintain: func(_ context.Context, e transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
			env = e
			return protocol.Reply{Refusal: protocol.Refusal{Reason: protocol.Nearer}}, nil
		},
		OnFindSuccessor: func(_ context.Context, _ transport.Envelope, id uint64) (ring.Member, error) {
			if id == 0 {
				return ring.Member{}, &protocol.Failure{Kind: protocol.NotJoined}
			}
			return x, nil
		},
	})
	c := raw(t, b)
	r, err := c.Notify(patient(t), &pb.NotifyReq{Id: x.ID, Name: x.Name, Address: x.Addr, Incarnation: 99})
	if err != nil || proto.Size(r) != 0 {
		t.Errorf("Notify = %v, %v; want it empty", r, err)
	}
	if !env.Legacy || env.From != x {
		t.Errorf("notified by %+v; want %v", env, x)
	}
	found, err := c.FindSuccessor(patient(t), &pb.FindReq{Id: 3})
	if err != nil || found.GetServer().GetName() != "x" {
		t.Errorf("FindSuccessor = %v, %v", found, err)
	}
	_, err = c.FindSuccessor(patient(t), &pb.FindReq{})
	wantPlain(t, err, "not joined")
}

// A legacy member passes an error on to whoever asked it. Nothing in it may be taken
// for that member's own word.
func wantPlain(t *testing.T, err error, words string) {
	t.Helper()
	if st := status.Convert(err); st.Code() != codes.FailedPrecondition || !strings.Contains(st.Message(), words) || len(st.Proto().GetDetails()) > 0 {
		t.Errorf("%v with details %v; want a failed precondition without, that says %q", err, st.Proto().GetDetails(), words)
	}
}

func TestLegacyCallersAreRefusedByOneOnItsWayOut(t *testing.T) {
	for _, reason := range []protocol.Reason{protocol.NotInRing, protocol.Nearer, protocol.Busy} {
		b := begin(t, Config{}, &transporttest.Handler{
			OnMaintain: func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
				return protocol.Reply{State: protocol.State{Phase: protocol.Leaving}, Refusal: protocol.Refusal{Reason: reason}}, nil
			},
		})
		_, err := raw(t, b).Notify(patient(t), &pb.NotifyReq{Id: 5, Name: "x", Address: "h:2"})
		if reason == protocol.NotInRing {
			wantPlain(t, err, "leaving")
		} else if err != nil {
			t.Errorf("refused for %v: %v; the base contract has no word for it", reason, err)
		}
	}
}

// A ring that its asker has seen is not sent again.
func TestUnchangedRingIsNotRepeated(t *testing.T) {
	x := transporttest.Member("x", "h:2", 7)
	var self ring.Member
	version := uint64(1)
	b := begin(t, Config{}, &transporttest.Handler{
		OnMaintain: func(context.Context, transport.Envelope, protocol.Request) (protocol.Reply, error) {
			s := protocol.State{Self: self, Phase: protocol.Joined, Pred: x, Succ: []ring.Member{x}, Version: version}
			if version == 3 {
				s.Phase = protocol.Leaving
			}
			return protocol.Reply{State: s}, nil
		},
	})
	self = at("m", b)
	for _, x := range []struct {
		what              string
		features, version uint64
		want              *pb.Ring
	}{
		{"joined, for one that does not take less", 0, 1, &pb.Ring{Unchanged: true, Answer: &pb.Answer{}, Phase: pb.Phase_PHASE_JOINED, Version: 1}},
		{"joined", takesBrief, 1, &pb.Ring{Unchanged: true}},
		{"leaving", takesBrief, 3, &pb.Ring{Unchanged: true, Answer: &pb.Answer{}, Phase: pb.Phase_PHASE_LEAVING, Version: 3}},
	} {
		version = x.version
		req := &pb.RingReq{Request: &pb.Request{Features: x.features}, Version: x.version}
		if r, err := raw(t, b).GetRing(patient(t), req); err != nil || !proto.Equal(r, x.want) {
			t.Errorf("%s: GetRing = %v, %v; want %v", x.what, r, err, x.want)
		}
	}
	a := begin(t, Config{}, nil)
	for _, version = range []uint64{1, 1, 2, 2, 3, 3} {
		got, err := a.Maintain(patient(t), transport.Envelope{To: self, Settings: transporttest.Settings}, protocol.Request{Kind: protocol.AskRing})
		if err != nil || got.State.Version != version || got.State.Pred != x || len(got.State.Succ) != 1 || got.State.Succ[0] != x ||
			got.State.Self != self || (got.State.Phase == protocol.Joined) != (version < 3) {
			t.Errorf("version %d: %+v, %v", version, got.State, err)
		}
		clear(got.State.Succ) // the caller's own
	}
}

// briefly is a server that says of any ring that it is unchanged.
type briefly struct {
	pb.UnimplementedChordServiceServer
}

func (briefly) GetRing(context.Context, *pb.RingReq) (*pb.Ring, error) {
	return &pb.Ring{Unchanged: true}, nil
}

// Nothing is taken for unchanged of which the caller has seen nothing, least of all a member.
func TestUnchangedRingThatNobodyHasSeenIsNoAnswer(t *testing.T) {
	s := grpc.NewServer()
	pb.RegisterChordServiceServer(s, briefly{})
	addr := serveForeign(t, s.Serve, s.Stop)
	a := begin(t, Config{}, nil)
	for _, incarnation := range []uint64{7, 8, 7} {
		env := transport.Envelope{From: at("a", a), To: transporttest.Member("m", addr, incarnation), Settings: transporttest.Settings}
		got, err := a.Maintain(patient(t), env, protocol.Request{Kind: protocol.AskRing})
		if f := (*protocol.Failure)(nil); !errors.As(err, &f) || f.Kind == protocol.TimedOut {
			t.Errorf("incarnation %d: %+v, %v; want a failure", incarnation, got.State, err)
		} else {
			t.Log(err)
		}
	}
}

func TestRequestsTellWhichHostTheyCameFrom(t *testing.T) {
	var self ring.Member
	got := make(chan netip.Addr, 1)
	b := begin(t, Config{}, &transporttest.Handler{
		OnMaintain: func(_ context.Context, env transport.Envelope, _ protocol.Request) (protocol.Reply, error) {
			got <- env.Source
			return protocol.Reply{State: protocol.State{Self: self, Phase: protocol.Joined}}, nil
		},
	})
	self = at("m", b)
	env := transport.Envelope{To: self, Settings: transporttest.Settings, Source: netip.MustParseAddr("192.0.2.1")}
	if _, err := begin(t, Config{}, nil).Maintain(patient(t), env, protocol.Request{Kind: protocol.AskRing}); err != nil {
		t.Fatal(err)
	}
	if source := transporttest.Await(t, got, "where the request came from"); source != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("source %v", source)
	}
}
