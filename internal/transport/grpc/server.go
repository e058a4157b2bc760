package grpctransport

import (
	"context"
	"net/netip"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
)

// service is the receiving side: it checks what arrives, hands it to the
// handler and answers in the caller's terms.
type service struct {
	pb.UnimplementedChordServiceServer
	t       *Transport
	handler transport.Handler
	methods []servedMethod
}

// meet checks the envelope of a request and learns who speaks the extension.
func (s *service) meet(ctx context.Context, r *pb.Request) (transport.Envelope, error) {
	var env transport.Envelope
	var err error
	if c, ok := ctx.(*serving); ok && c.request.Request == r {
		env, err = c.request.envelope()
	} else {
		env, err = envelope(r)
	}
	if err != nil {
		return env, s.t.malformed(ctx, err)
	}
	if err := s.t.sender(ctx, env.From); err != nil {
		return env, err
	}
	s.t.known.add(env.From)
	s.t.claim(ctx, env.From)
	return env, nil
}

// maintain has the handler answer req.
func (s *service) maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	env.Source = source(ctx)
	req.Origin = env.Origin
	reply, err := s.handler.Maintain(ctx, env, req)
	if err != nil {
		return protocol.Reply{}, statusFor(ctx, env, err)
	}
	return reply, nil
}

// source is the host that the request of ctx came from, invalid if it has no address.
func source(ctx context.Context) netip.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		return hostOf(p.Addr)
	}
	return netip.Addr{}
}

// statusFor is what a handler's error travels as to the caller. A legacy member
// hands a status on to whoever made it ask, details and all, where they would pass
// for its own word. It reads none of them, so it is sent none.
func statusFor(ctx context.Context, env transport.Envelope, err error) error {
	st := status.Convert(statusOf(ctx, err))
	if env.Legacy && len(st.Proto().GetDetails()) > 0 {
		return status.Error(st.Code(), detail(err.Error()))
	}
	return st.Err()
}

func (s *service) FindSuccessor(ctx context.Context, r *pb.FindReq) (*pb.FindResp, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	owner, err := s.handler.FindSuccessor(ctx, env, r.GetId())
	if err != nil {
		return nil, statusFor(ctx, env, err)
	}
	return &pb.FindResp{Server: server(owner)}, nil
}

func (s *service) GetRing(ctx context.Context, r *pb.RingReq) (*pb.Ring, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	req := protocol.Request{Kind: protocol.AskRing}
	if r.GetLooking() {
		req.Kind = protocol.Look
		if req.Subject, err = optional("founder", r.GetFounder()); err != nil {
			return nil, s.t.malformed(ctx, err)
		}
	}
	if req.Lease, err = leaseAsked(r.GetLease()); err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	reply, err := s.maintain(ctx, env, req)
	switch {
	case err != nil:
		return nil, err
	case env.Legacy:
		return legacyRing(ctx, env, reply.State, s.t.cfg.SuccessorCount)
	}
	out := fullRing(reply.State)
	if r.GetVersion() != 0 && r.GetVersion() == out.Version {
		// The version is of one incarnation, and the caller has named it.
		out.Predecessor, out.Successors, out.Replaced, out.Origin, out.Answer, out.Unchanged = nil, nil, nil, nil, &pb.Answer{}, true
		out.Epoch, out.Clock = 0, 0
		if out.Phase == pb.Phase_PHASE_JOINED && r.GetRequest().GetFeatures()&takesBrief != 0 {
			out.Answer, out.Phase, out.Version = nil, 0, 0
		}
	}
	return out, nil
}

func (s *service) Notify(ctx context.Context, r *pb.NotifyReq) (*pb.NotifyResp, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	by, err := member("notifier", &pb.Server{Id: r.GetId(), Name: r.GetName(), Address: r.GetAddress(), Incarnation: r.GetIncarnation(), Choice: r.GetChoice(), Home: r.GetHome()})
	if err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	if err := s.t.sender(ctx, by); err != nil {
		return nil, err
	}
	if env.Legacy {
		by.Incarnation = 0
		s.t.known.claim(by)
	}
	env.From = by
	s.t.known.add(by)
	clock, err := epoch("clock", r.GetClock())
	if err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	reply, err := s.maintain(ctx, env, protocol.Request{Kind: protocol.Notify, Joining: r.GetJoining(), Preparing: r.GetPreparing(), Clock: clock})
	switch {
	case err != nil:
		return nil, err
	case env.Legacy && reply.Refusal.Reason == protocol.NotInRing:
		return nil, statusFor(ctx, env, notJoined(reply.State))
	case env.Legacy:
		return &pb.NotifyResp{}, nil
	}
	return notifyResp(reply), nil
}

func (s *service) Route(ctx context.Context, r *pb.RouteReq) (*pb.RouteResp, error) {
	out := new(pb.RouteResp)
	if err := s.route(ctx, r, out); err != nil {
		return nil, err
	}
	return out, nil
}

// route answers r with out.
func (s *service) route(ctx context.Context, r *pb.RouteReq, out *pb.RouteResp) error {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return err
	}
	q, err := query(r)
	if err != nil {
		return s.t.malformed(ctx, err)
	}
	answer, err := s.handler.Route(s.t.extracted(ctx), env, q)
	if err != nil {
		return statusOf(ctx, err)
	}
	answerRoute(out, env, &answer)
	return nil
}

func (s *service) Place(ctx context.Context, r *pb.PlaceReq) (*pb.PlaceResp, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	req := protocol.Request{Kind: protocol.Place}
	if r.GetSeek() {
		req.Kind = protocol.Seek
	}
	if req.Subject, err = member("subject", r.GetSubject()); err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	reply, err := s.maintain(ctx, env, req)
	if err != nil {
		return nil, err
	}
	return placeResp(reply), nil
}

func (s *service) Introduce(ctx context.Context, r *pb.IntroduceReq) (*pb.Ring, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	subject, err := member("subject", r.GetSubject())
	if err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	reply, err := s.maintain(ctx, env, protocol.Request{Kind: protocol.Introduce, Subject: subject})
	if err != nil {
		return nil, err
	}
	return refusingRing(reply), nil
}

func (s *service) Changed(ctx context.Context, r *pb.ChangedReq) (*emptypb.Empty, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	if _, err := s.maintain(ctx, env, protocol.Request{Kind: protocol.Changed}); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (s *service) Leave(ctx context.Context, r *pb.LeaveReq) (*pb.Ring, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	req := protocol.Request{Kind: protocol.Leave}
	if req.Pred, err = optional("predecessor", r.GetPredecessor()); err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	if req.Succ, err = members("successors", r.GetSuccessors(), maxMembers); err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	if req.Clock, err = epoch("clock", r.GetClock()); err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	reply, err := s.maintain(ctx, env, req)
	if err != nil {
		return nil, err
	}
	return refusingRing(reply), nil
}

func (s *service) Meta(ctx context.Context, r *pb.MetaReq) (*pb.MetaResp, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	meta, err := s.handler.Meta(ctx, env)
	if err != nil {
		return nil, statusOf(ctx, err)
	}
	return &pb.MetaResp{Meta: meta, Answer: &pb.Answer{}}, nil
}

func (s *service) Map(ctx context.Context, r *pb.MapReq) (*pb.MapResp, error) {
	env, err := s.meet(ctx, r.GetRequest())
	if err != nil {
		return nil, err
	}
	req, err := mapRequest(r)
	if err != nil {
		return nil, s.t.malformed(ctx, err)
	}
	reply, err := s.handler.Map(ctx, env, req)
	if err != nil {
		return nil, statusOf(ctx, err)
	}
	return mapResp(&reply), nil
}

// refusingRing is the answer to Introduce and Leave.
func refusingRing(r protocol.Reply) *pb.Ring {
	out := fullRing(r.State)
	out.Refusal = pbRefusal(r.Refusal)
	return out
}

// notJoined says that the member whose state st is is in no ring.
func notJoined(st protocol.State) *protocol.Failure {
	return &protocol.Failure{Kind: protocol.NotJoined, By: st.Self, Detail: st.Phase.String()}
}

// legacyRing is the answer to GetRing for a legacy member: an error while not in the ring, oneself in both places in a ring of one,
// and a successor list that is never short. To such a caller any answer is a sign
// of life in the ring, and an empty ring a list to take over. It drops the last
// entry of a list that it takes over and is isolated when the only entry of its
// list fails, so the list is repeated, oneself included, up to count entries.
func legacyRing(ctx context.Context, env transport.Envelope, st protocol.State, count int) (*pb.Ring, error) {
	if !st.Phase.InRing() {
		return nil, statusFor(ctx, env, notJoined(st))
	}
	if st.Pred.IsZero() && len(st.Succ) == 0 {
		st.Pred = st.Self
		count = 1
	}
	list := append(append([]ring.Member(nil), st.Succ...), st.Self)
	for n := len(list); len(list) < count; {
		list = append(list, list[len(list)-n])
	}
	if keep := max(count, len(st.Succ)); keep < len(list) {
		list = list[:keep]
	}
	return &pb.Ring{Predecessor: server(st.Pred), Successors: servers(list)}, nil
}

// description is the service as generated, but that the member is told of messages that
// gRPC refuses, since they are too large or cannot be decoded, and that each request gives
// back what take has taken of the budgets. gRPC has answered such messages by then.
func description() *grpc.ServiceDesc {
	d := pb.ChordService_ServiceDesc
	d.Methods = slices.Clone(d.Methods)
	for i := range d.Methods {
		handle := d.Methods[i].Handler
		d.Methods[i].Handler = func(srv any, ctx context.Context, dec func(any) error, in grpc.UnaryServerInterceptor) (any, error) {
			w, _ := ctx.Value(workingKey{}).(*working)
			switch {
			case w == nil:
			case w.refused != nil:
				return nil, w.refused
			default:
				defer w.over()
			}
			return handle(srv, ctx, func(m any) error {
				err := dec(m)
				switch st := status.Convert(err); st.Code() {
				case codes.Internal, codes.ResourceExhausted:
					srv.(*service).t.refuseRequest(ctx, st.Message())
				}
				if err == nil && w != nil {
					w.request.Came()
				}
				return err
			}, in)
		}
	}
	d.Streams = slices.Clone(d.Streams)
	for i := range d.Streams {
		handle := d.Streams[i].Handler
		d.Streams[i].Handler = func(srv any, stream grpc.ServerStream) error {
			if d.Streams[i].StreamName == linkName {
				return srv.(*service).serveStream(stream)
			}
			return serveSubscription(handle, srv, stream)
		}
	}
	return &d
}
