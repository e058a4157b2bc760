package concordgrpc_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"

	"github.com/ollelogdahl/concord/concordgrpc"
)

// bare is a proxy that passes each call of any method on to another server, and its answer back. It
// does nothing else, so a forwarded call costs no less.
func bare(tb testing.TB, to *app) *grpc.ClientConn {
	tb.Helper()
	onward := direct(tb, to)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(asIs{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		var request, reply mem.BufferSlice
		if err := s.RecvMsg(&request); err != nil {
			return err
		}
		defer request.Free()
		method, _ := grpc.MethodFromServerStream(s)
		if err := onward.Invoke(s.Context(), method, &request, &reply, grpc.ForceCodecV2(asIs{})); err != nil {
			return err
		}
		return s.SendMsg(&reply)
	}))
	go func() { _ = server.Serve(lis) }()
	tb.Cleanup(server.Stop)
	return direct(tb, &app{addr: lis.Addr().String()})
}

// asIs is a codec that leaves messages as they are.
type asIs struct{}

var _ encoding.CodecV2 = asIs{}

func (asIs) Name() string { return "proto" }

func (asIs) Marshal(v any) (mem.BufferSlice, error) {
	m := *v.(*mem.BufferSlice)
	m.Ref()
	return m, nil
}

func (asIs) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}

// BenchmarkForwarded makes the same call directly, through a bare proxy and through a member that
// forwards it, in turn, and reports the medians and their ratios.
func BenchmarkForwarded(b *testing.B) {
	apps := ring(b, 4, func(g *concordgrpc.Guard) { g.Forward, g.Key = true, health })
	key := keyOf(apps[2])
	apps[2].terse = true // a bare proxy passes no headers on
	request := &grpc_health_v1.HealthCheckRequest{Service: string(key)}
	ways := []*grpc.ClientConn{direct(b, apps[2]), bare(b, apps[2]), direct(b, apps[0])}
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, conn := range ways {
			began := time.Now()
			if _, err := grpc_health_v1.NewHealthClient(conn).Check(b.Context(), request); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	median := make([]float64, len(ways))
	for i, all := range took {
		slices.Sort(all)
		median[i] = float64(all[len(all)/2])
	}
	b.ReportMetric(median[0]/1e3, "direct-µs")
	b.ReportMetric(median[1]/1e3, "bare-µs")
	b.ReportMetric(median[2]/1e3, "forwarded-µs")
	b.ReportMetric(median[1]/median[0], "bare/direct")
	b.ReportMetric(median[2]/median[0], "forwarded/direct")
	b.ReportMetric(median[2]/median[1], "forwarded/bare")
}
