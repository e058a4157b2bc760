package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/pb"
)

// Bare is what a request costs without a ring around it: gRPC servers, as many as
// the ring has members, that answer a unary call with a fixed message, and
// connections to them.
//
// The same as between members: the process, loopback, a server and a listener
// each, gRPC's options (which make a call quicker than the defaults do), the sizes of question and answer, and which server is
// asked for which key. Not the same: the messages are one string of bytes, which
// is encoded and decoded quicker than a question and an answer with seven messages
// in them; the question is not even made anew for each call; the server looks
// nothing up; the caller sets no deadline, checks nothing and learns nothing; and
// it holds its connections instead of looking for them. Each of that is in favour
// of the bare call.
type Bare struct {
	servers []*grpc.Server
	addrs   []string
	serving sync.WaitGroup

	question *wrapperspb.BytesValue
	conns    []*grpc.ClientConn
}

const (
	bareMethod  = "/bench.Bare/Call"
	bareMessage = 64 << 10
)

// NewBare starts n servers.
func NewBare(n int, size Sizes) (*Bare, error) {
	b := &Bare{question: filled(size.Question)}
	answer := filled(size.Answer)
	desc := &grpc.ServiceDesc{
		ServiceName: "bench.Bare", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Call",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				if err := decode(new(wrapperspb.BytesValue)); err != nil {
					return nil, err
				}
				return answer, nil
			},
		}},
	}
	for range n {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Close()
			return nil, fmt.Errorf("bare gRPC server: %w", err)
		}
		srv := grpc.NewServer(
			grpc.Creds(insecure.NewCredentials()),
			grpc.MaxConcurrentStreams(256),
			grpc.MaxRecvMsgSize(bareMessage),
			grpc.MaxSendMsgSize(bareMessage),
			grpc.MaxHeaderListSize(bareMessage/4),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
			grpc.StaticStreamWindowSize(bareMessage),
			grpc.StaticConnWindowSize(4*bareMessage),
			grpc.ReadBufferSize(4<<10),
			grpc.WriteBufferSize(4<<10),
			grpc.WaitForHandlers(true),
		)
		srv.RegisterService(desc, nil)
		b.servers = append(b.servers, srv)
		b.addrs = append(b.addrs, lis.Addr().String())
		b.serving.Go(func() { _ = srv.Serve(lis) }) // until Stop
	}
	return b, nil
}

// Connect opens one more connection to the server of that number and makes a
// call on it.
func (b *Bare) Connect(ctx context.Context, server int) error {
	cc, err := grpc.NewClient("passthrough:///"+b.addrs[server],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(bareMessage), grpc.MaxCallSendMsgSize(bareMessage)),
		grpc.WithMaxHeaderListSize(bareMessage/4),
		grpc.WithStaticStreamWindowSize(bareMessage),
		grpc.WithStaticConnWindowSize(4*bareMessage),
		grpc.WithReadBufferSize(4<<10),
		grpc.WithWriteBufferSize(4<<10),
	)
	if err != nil {
		return err
	}
	b.conns = append(b.conns, cc)
	return b.Call(ctx, len(b.conns)-1)
}

// Call makes a call on the connection of that number.
func (b *Bare) Call(ctx context.Context, conn int) error {
	return b.conns[conn].Invoke(ctx, bareMethod, b.question, new(wrapperspb.BytesValue))
}

// Close ends the connections and the servers.
func (b *Bare) Close() error {
	var errs []error
	for _, cc := range b.conns {
		errs = append(errs, cc.Close())
	}
	for _, srv := range b.servers {
		srv.Stop()
	}
	b.serving.Wait()
	return errors.Join(errs...)
}

// Sizes of messages, in bytes.
type Sizes struct{ Question, Answer int }

// routeSizes are those of the messages in which one member asks another for an
// identifier that is its own: what a lookup with a known owner costs.
func routeSizes(asker, owner concord.Status) Sizes {
	of := func(s concord.Status) *pb.Server {
		return &pb.Server{Id: s.Self.Id, Name: s.Self.Name, Address: s.Self.Address, Incarnation: s.Incarnation}
	}
	var start uint64
	if owner.Range != nil {
		start = owner.Range.Start
	}
	return Sizes{
		Question: proto.Size(&pb.RouteReq{Id: owner.Self.Id, Request: &pb.Request{
			Target:   &pb.Target{Id: owner.Self.Id, Incarnation: owner.Incarnation},
			Sender:   of(asker),
			Settings: &pb.Settings{HashBits: concord.DefaultHashBits, HashCheck: asker.Self.Id}, // as large as any
		}}),
		Answer: proto.Size(&pb.RouteResp{
			Verdict: pb.RouteResp_VERDICT_MINE,
			Arc:     &pb.Arc{After: start, To: owner.Self.Id}, LeaseNs: uint64(time.Second),
		}),
	}
}

// filled is the largest message of bytes that is encoded in at most size.
func filled(size int) *wrapperspb.BytesValue {
	for n := size; n > 0; n-- {
		if m := (&wrapperspb.BytesValue{Value: make([]byte, n)}); proto.Size(m) <= size {
			return m
		}
	}
	return &wrapperspb.BytesValue{}
}
