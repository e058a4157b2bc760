package interop_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
)

// scripted is a legacy member whose every answer the test decides: one that is
// mistaken in a way that no legacy member chooses to be, or that comes back where
// another was. It does nothing by itself.
type scripted struct {
	member
	asked atomic.Int64 // requests of FindSuccessor

	mu   sync.Mutex
	ring []byte // the answer to GetRing
	find func(ctx context.Context, id uint64) (concord.Server, error)
}

// startScripted starts a scripted member that has not joined, at addr or, if that is empty,
// anywhere.
func startScripted(t *testing.T, name, addr string) *scripted {
	t.Helper()
	if addr == "" {
		addr = cluster.Address()
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &scripted{member: member{Server: concord.Server{Name: name, Id: idOf(name), Address: lis.Addr().String()}}}
	p.finds(func(context.Context, uint64) (concord.Server, error) {
		return concord.Server{}, status.Error(codes.Unknown, "node has not joined a ring")
	})
	srv := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.WaitForHandlers(true))
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "concord.ChordService",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "FindSuccessor", Handler: answer((*scripted).serveFind)},
			{MethodName: "GetRing", Handler: answer((*scripted).serveRing)},
			{MethodName: "Notify", Handler: answer((*scripted).serveNotify)},
		},
	}, p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(lis)
	}()
	t.Cleanup(func() {
		srv.Stop()
		<-done
	})
	return p
}

// shows sets what the member says of its ring; without pred that it has none.
func (p *scripted) shows(pred concord.Server, succ ...concord.Server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ring = nil
	for i, s := range append([]concord.Server{pred}, succ...) {
		p.ring = protowire.AppendTag(p.ring, protowire.Number(min(i+1, 2)), protowire.BytesType)
		p.ring = protowire.AppendBytes(p.ring, encode(s))
	}
}

// finds sets what the member answers to lookups.
func (p *scripted) finds(f func(ctx context.Context, id uint64) (concord.Server, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.find = f
}

func (p *scripted) serveFind(ctx context.Context, req []byte) ([]byte, error) {
	p.asked.Add(1)
	p.mu.Lock()
	find := p.find
	p.mu.Unlock()
	var id uint64
	fields(req, func(num protowire.Number, n uint64, _ []byte) {
		if num == 1 {
			id = n
		}
	})
	s, err := find(ctx, id)
	if err != nil {
		return nil, err
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), encode(s)), nil
}

func (p *scripted) serveRing(context.Context, []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ring, nil
}

func (p *scripted) serveNotify(context.Context, []byte) ([]byte, error) { return nil, nil }

// caller makes requests as a legacy member does. It is closed by the test.
type caller struct {
	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

func newCaller(t *testing.T) *caller {
	c := &caller{conns: map[string]*grpc.ClientConn{}}
	t.Cleanup(func() {
		for _, cc := range c.conns {
			_ = cc.Close()
		}
	})
	return c
}

func (c *caller) call(ctx context.Context, addr, method string, req []byte) ([]byte, error) {
	c.mu.Lock()
	cc := c.conns[addr]
	if cc == nil {
		var err error
		if cc, err = grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
			c.mu.Unlock()
			return nil, err
		}
		c.conns[addr] = cc
	}
	c.mu.Unlock()
	var resp []byte
	err := cc.Invoke(ctx, "/concord.ChordService/"+method, &req, &resp, grpc.ForceCodecV2(raw{}))
	return resp, err
}

func (c *caller) findSuccessor(ctx context.Context, addr string, id uint64) (s concord.Server, err error) {
	resp, err := c.call(ctx, addr, "FindSuccessor", protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), id))
	fields(resp, func(num protowire.Number, _ uint64, b []byte) {
		if num == 1 {
			s = decode(b)
		}
	})
	return s, err
}

func (c *caller) notify(ctx context.Context, addr string, by concord.Server) error {
	_, err := c.call(ctx, addr, "Notify", encode(by))
	return err
}

func encode(s concord.Server) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), s.Id)
	b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), s.Name)
	return protowire.AppendString(protowire.AppendTag(b, 3, protowire.BytesType), s.Address)
}

func decode(b []byte) (s concord.Server) {
	fields(b, func(num protowire.Number, n uint64, b []byte) {
		switch num {
		case 1:
			s.Id = n
		case 2:
			s.Name = string(b)
		case 3:
			s.Address = string(b)
		}
	})
	return s
}

// fields reads what is well formed of a message.
func fields(b []byte, f func(num protowire.Number, n uint64, b []byte)) {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 {
				f(num, v, nil)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 {
				f(num, 0, v)
			}
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return
		}
		b = b[n:]
	}
}

// raw carries messages as the bytes that they are.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func answer(f func(*scripted, context.Context, []byte) ([]byte, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var req []byte
		if err := decode(&req); err != nil {
			return nil, err
		}
		resp, err := f(srv.(*scripted), ctx, req)
		if err != nil {
			return nil, err
		}
		return &resp, nil
	}
}
