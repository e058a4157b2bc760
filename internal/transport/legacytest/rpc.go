package legacytest

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ollelogdahl/concord/internal/ring"
)

// description is the service of the base contract, with its three methods.
var description = grpc.ServiceDesc{
	ServiceName: "concord.ChordService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "FindSuccessor", Handler: method((*Member).serveFind)},
		{MethodName: "GetRing", Handler: method((*Member).serveRing)},
		{MethodName: "Notify", Handler: method((*Member).serveNotify)},
	},
}

func method[Req any](f func(*Member, context.Context, *Req) (any, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		req := new(Req)
		if err := decode(req); err != nil {
			return nil, err
		}
		return f(srv.(*Member), ctx, req)
	}
}

func (m *Member) serveFind(ctx context.Context, r *findReq) (any, error) {
	s, err := m.lookup(ctx, r.id)
	if err != nil {
		return nil, err
	}
	return &findResp{&s}, nil
}

func (m *Member) serveRing(context.Context, *empty) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := new(ringMsg)
	if !m.joined {
		return out, nil
	}
	out.predecessor = m.pred
	for _, s := range m.succ {
		out.successors = append(out.successors, &s)
	}
	return out, nil
}

func (m *Member) serveNotify(_ context.Context, by *server) (any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.joined && (m.pred == nil || ring.Between(m.pred.id, by.id, m.self.id)) {
		m.pred = by
	}
	return new(empty), nil
}

// lookup answers for the member before and the one after, and passes the rest
// to the successor. An identifier that is the successor's own is answered with
// this member, its predecessor: the walk stops a step early.
func (m *Member) lookup(ctx context.Context, id uint64) (server, error) {
	m.mu.Lock()
	joined, succ, finger := m.joined, m.succ, m.finger
	m.mu.Unlock()
	switch {
	case !joined:
		return server{}, errNotJoined
	case len(succ) == 0:
		return server{}, ErrIsolated
	}
	head := succ[0]
	switch {
	case finger != nil && !ring.Between(m.self.id, id, head.id) && ring.Between(m.self.id, finger.id, id):
		return m.forward(ctx, append([]server{*finger}, succ...), id)
	case head.id == id:
		return m.self, nil
	case head.id == m.self.id || ring.Between(m.self.id, id, head.id):
		return head, nil
	}
	return m.findSuccessorAt(ctx, head.address, id)
}

// forward asks others in turn, each once.
func (m *Member) forward(ctx context.Context, others []server, id uint64) (s server, err error) {
	for i, x := range others {
		if x.id == m.self.id || slices.Contains(others[:i], x) {
			continue
		}
		if s, err = m.findSuccessorAt(ctx, x.address, id); err == nil {
			break
		}
	}
	return s, err
}

func (m *Member) findSuccessorAt(ctx context.Context, addr string, id uint64) (server, error) {
	resp := new(findResp)
	if err := m.invoke(ctx, addr, "FindSuccessor", &findReq{id}, resp); err != nil {
		return server{}, err
	}
	if resp.server == nil {
		return server{}, errNotJoined
	}
	return *resp.server, nil
}

func (m *Member) ringOf(ctx context.Context, addr string) (*ringMsg, error) {
	out := new(ringMsg)
	return out, m.invoke(ctx, addr, "GetRing", new(empty), out)
}

func (m *Member) invoke(ctx context.Context, addr, name string, req, resp message) error {
	cc, err := m.conn(addr)
	if err != nil {
		return err
	}
	return cc.Invoke(ctx, "/concord.ChordService/"+name, req, resp, grpc.ForceCodecV2(codec{}))
}

func (m *Member) conn(addr string) (*grpc.ClientConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return nil, m.ctx.Err()
	}
	if cc := m.conns[addr]; cc != nil {
		return cc, nil
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0))
	if err != nil {
		return nil, err
	}
	m.conns[addr] = cc
	return cc, nil
}
