package admin

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// HealthService is the name that the health of the members' service is asked by. The
// empty name asks for the whole process, which is the same.
const HealthService = "concord.ChordService"

// watchEvery is how often a watched member is looked at.
const watchEvery = 250 * time.Millisecond

// Register adds the gRPC health service, grpc.health.v1, to a server: SERVING
// exactly while Ready gives nil. Watches end when ctx does, which must be before
// the server is to stop gracefully.
func (p Probes) Register(ctx context.Context, s grpc.ServiceRegistrar) {
	healthpb.RegisterHealthServer(s, &healthServer{ctx: ctx, probes: p})
}

type healthServer struct {
	healthpb.UnimplementedHealthServer
	ctx    context.Context //nolint:containedctx // the life of the server, which gRPC does not hand to its streams
	probes Probes
}

func (s *healthServer) status(service string) healthpb.HealthCheckResponse_ServingStatus {
	switch {
	case service != "" && service != HealthService:
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	case s.probes.Ready() != nil:
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

func (s *healthServer) Check(_ context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	st := s.status(r.GetService())
	if st == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "unknown service %q; known are %q and \"\"", r.GetService(), HealthService)
	}
	return &healthpb.HealthCheckResponse{Status: st}, nil
}

func (s *healthServer) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	all := map[string]*healthpb.HealthCheckResponse{}
	for _, service := range []string{"", HealthService} {
		all[service] = &healthpb.HealthCheckResponse{Status: s.status(service)}
	}
	return &healthpb.HealthListResponse{Statuses: all}, nil
}

func (s *healthServer) Watch(r *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for last := healthpb.HealthCheckResponse_ServingStatus(-1); ; {
		if now := s.status(r.GetService()); now != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-s.ctx.Done():
			return status.Error(codes.Unavailable, "the process is stopping")
		}
	}
}
