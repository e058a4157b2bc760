package remote

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/remote/adminpb"
)

// Services makes a gRPC server serve the admin service of a member. Who watches the
// member is let go when the context ends, or the member is stopped. leave is called
// when the member is to leave: it returns when the member has left, with an error if
// not all neighbours have acknowledged. It goes on if who asked for it gives up.
func Services(node *concord.Concord, leave func() error) func(context.Context, grpc.ServiceRegistrar) {
	return func(ctx context.Context, s grpc.ServiceRegistrar) {
		adminpb.RegisterAdminServer(s, &service{ctx: ctx, node: node, leave: leave})
	}
}

type service struct {
	adminpb.UnimplementedAdminServer
	ctx   context.Context // of the listener
	node  *concord.Concord
	leave func() error
}

func (s *service) Status(context.Context, *adminpb.StatusReq) (*adminpb.StatusResp, error) {
	out, err := pbStatus(s.node.Status())
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return out, nil
}

func (s *service) Watch(_ *adminpb.WatchReq, to grpc.ServerStreamingServer[adminpb.Event]) error {
	ctx, cancel := context.WithCancel(to.Context())
	defer cancel()
	detach := context.AfterFunc(s.ctx, cancel)
	defer detach()
	for e := range s.node.Watch(ctx) {
		if err := to.Send(pbEvent(e)); err != nil {
			return err
		}
	}
	if ctx.Err() != nil && s.node.Status().Phase != concord.PhaseStopped {
		return status.Error(codes.Unavailable, "the admin listener is closed")
	}
	return nil
}

func (s *service) SetWeight(ctx context.Context, req *adminpb.SetWeightReq) (*adminpb.SetWeightResp, error) {
	weight := max(-1, min(req.GetWeight(), concord.MaxVirtualNodes+1)) // as wrong on any system
	err := s.node.SetWeight(ctx, int(weight))
	switch {
	case err == nil:
		return &adminpb.SetWeightResp{}, nil
	case ctx.Err() != nil:
		return nil, status.FromContextError(ctx.Err()).Err()
	case errors.Is(err, concord.ErrWeight):
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return nil, status.Error(codes.FailedPrecondition, err.Error())
}

func (s *service) Leave(context.Context, *adminpb.LeaveReq) (*adminpb.LeaveResp, error) {
	out := &adminpb.LeaveResp{}
	if err := s.leave(); err != nil {
		out.Unacknowledged = err.Error()
	}
	return out, nil
}
