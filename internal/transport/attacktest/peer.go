package attacktest

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ollelogdahl/concord/internal/pb"
)

// Peer listens and answers members what it is told to. What nothing is set for, it
// answers as a member of a ring of one would. The fields are set before Serve.
type Peer struct {
	pb.UnimplementedChordServiceServer

	// Self is who it says it is.
	Self *pb.Server
	// OnRing, if set, is the answer to GetRing. Likewise the others.
	OnRing      func(*pb.RingReq) (*pb.Ring, error)
	OnNotify    func(*pb.NotifyReq) (*pb.NotifyResp, error)
	OnRoute     func(*pb.RouteReq) (*pb.RouteResp, error)
	OnPlace     func(*pb.PlaceReq) (*pb.PlaceResp, error)
	OnIntroduce func(*pb.IntroduceReq) (*pb.Ring, error)
	OnFind      func(*pb.FindReq) (*pb.FindResp, error)
	OnMeta      func(*pb.MetaReq) (*pb.MetaResp, error)

	asked       atomic.Int64
	connections atomic.Int64
	lis         *counting
	srv         *grpc.Server
	serving     sync.WaitGroup
}

// Listen makes a peer at addr, with TLS if config is not nil. The caller stops it.
func Listen(addr string, config *tls.Config) (*Peer, error) {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if config != nil {
		creds = credentials.NewTLS(config)
	}
	p := &Peer{srv: grpc.NewServer(grpc.Creds(creds), grpc.MaxSendMsgSize(maxMessage), grpc.WaitForHandlers(true))}
	p.lis = &counting{Listener: lis, n: &p.connections}
	pb.RegisterChordServiceServer(p.srv, p)
	return p, nil
}

// counting counts the connections that it accepts.
type counting struct {
	net.Listener

	n *atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.n.Add(1)
	}
	return conn, err
}

// Serve begins to answer.
func (p *Peer) Serve() { p.serving.Go(func() { _ = p.srv.Serve(p.lis) }) }

// Stop ends the peer.
func (p *Peer) Stop() {
	p.srv.Stop()
	_ = p.lis.Close() // if it was never served
	p.serving.Wait()
}

// Addr is where it listens.
func (p *Peer) Addr() string { return p.lis.Addr().String() }

// Asked is how many requests have come.
func (p *Peer) Asked() int64 { return p.asked.Load() }

// Connections is how many connections were made to it.
func (p *Peer) Connections() int64 { return p.connections.Load() }

// Ring is the answer of a member of a ring of one.
func (p *Peer) Ring() *pb.Ring {
	return &pb.Ring{Answer: &pb.Answer{Answerer: p.Self}, Phase: pb.Phase_PHASE_JOINED, Version: 1}
}

// GetRing implements pb.ChordServiceServer, as do the others.
func (p *Peer) GetRing(_ context.Context, r *pb.RingReq) (*pb.Ring, error) {
	p.asked.Add(1)
	if p.OnRing != nil {
		return p.OnRing(r)
	}
	return p.Ring(), nil
}

// Notify accepts.
func (p *Peer) Notify(_ context.Context, r *pb.NotifyReq) (*pb.NotifyResp, error) {
	p.asked.Add(1)
	if p.OnNotify != nil {
		return p.OnNotify(r)
	}
	return &pb.NotifyResp{Ring: p.Ring(), Accepted: true}, nil
}

// Route says that all is its own.
func (p *Peer) Route(_ context.Context, r *pb.RouteReq) (*pb.RouteResp, error) {
	p.asked.Add(1)
	if p.OnRoute != nil {
		return p.OnRoute(r)
	}
	return p.Mine(), nil
}

// Mine is the answer to Route of one that owns the whole circle.
func (p *Peer) Mine() *pb.RouteResp {
	return &pb.RouteResp{
		Verdict: pb.RouteResp_VERDICT_MINE, Owner: p.Self, Arc: &pb.Arc{After: p.Self.GetId(), To: p.Self.GetId()},
		LeaseNs: 3_600_000_000_000, Answer: &pb.Answer{Answerer: p.Self},
	}
}

// Place says that everybody belongs after it.
func (p *Peer) Place(_ context.Context, r *pb.PlaceReq) (*pb.PlaceResp, error) {
	p.asked.Add(1)
	if p.OnPlace != nil {
		return p.OnPlace(r)
	}
	return &pb.PlaceResp{Verdict: pb.PlaceResp_VERDICT_TAKEN, Ring: p.Ring(), Answer: &pb.Answer{}}, nil
}

// Introduce takes note of nothing.
func (p *Peer) Introduce(_ context.Context, r *pb.IntroduceReq) (*pb.Ring, error) {
	p.asked.Add(1)
	if p.OnIntroduce != nil {
		return p.OnIntroduce(r)
	}
	return p.Ring(), nil
}

// Changed takes note of nothing.
func (p *Peer) Changed(context.Context, *pb.ChangedReq) (*emptypb.Empty, error) {
	p.asked.Add(1)
	return &emptypb.Empty{}, nil
}

// Leave takes note of nothing.
func (p *Peer) Leave(context.Context, *pb.LeaveReq) (*pb.Ring, error) {
	p.asked.Add(1)
	return p.Ring(), nil
}

// FindSuccessor says that all is its own.
func (p *Peer) FindSuccessor(_ context.Context, r *pb.FindReq) (*pb.FindResp, error) {
	p.asked.Add(1)
	if p.OnFind != nil {
		return p.OnFind(r)
	}
	return &pb.FindResp{Server: p.Self}, nil
}

// Meta says nothing.
func (p *Peer) Meta(_ context.Context, r *pb.MetaReq) (*pb.MetaResp, error) {
	p.asked.Add(1)
	if p.OnMeta != nil {
		return p.OnMeta(r)
	}
	return &pb.MetaResp{Answer: &pb.Answer{}}, nil
}
