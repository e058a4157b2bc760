package concordgrpc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/ollelogdahl/concord"
)

// DefaultForwards is the Forwards of a Guard that sets none.
const DefaultForwards = 1

// Member is what a Guard needs of the member. [concord.Concord] is one.
type Member interface {
	Ring
	Name() string
	OwnsEpoch(key []byte) (epoch uint64, ok bool)
}

// Guard lets only those calls reach the handlers of a server whose key the member owns. Its methods
// Unary and Stream are interceptors. They may be called concurrently. Its fields must not be
// changed once it is used.
//
// Ownership can end while a handler runs. A handler that writes passes the epoch on, see [Epoch],
// or asks again, and returns [Guard.Refuse].
type Guard struct {
	// Member is the member of the program. It is required.
	Member Member
	// Serves tells whether the program serves a key, and by which epoch, such as
	// [concord.Service.Serves]. If nil, it is Member.OwnsEpoch.
	Serves func(key []byte) (epoch uint64, ok bool)
	// Key returns the key of a call. If nil, it is the one that the Router has sent along. The
	// client chooses that: a program that must not handle a request for another member's key takes
	// the key from the request here. Calls without a key are let through.
	Key KeyFunc
	// Forward has unary calls for other members forwarded to the owner. If it is false, or if a
	// call cannot be forwarded, the call is refused, with the name of the owner. Calls are
	// forwarded with the credentials of the member, so the owner's handlers see this member as
	// their peer. A forwarded call takes about 2.3 times as long as one to the owner; see
	// docs/USAGE.md. Only services that protoc has generated code for can be forwarded. Streams are
	// refused.
	Forward bool
	// Forwards is how many times one call is forwarded, at most. If zero, once.
	Forwards int

	// replies are the types that methods return, which are as many as the generated code has.
	replies sync.Map
}

// Unary is a grpc.UnaryServerInterceptor. It calls the handler if the member owns the key of the
// call, or if the call has no key. Otherwise it forwards the call, if Forward is true, and returns
// the answer of the owner, or refuses it with an error that [Refused] knows.
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	key, ok := g.Key.key(ctx, info.FullMethod, req)
	if !ok {
		return handler(ctx, req)
	}
	if epoch, ok := g.serves(key); ok {
		return handler(context.WithValue(ctx, epochContext{}, epoch), req)
	}
	makeRoom()
	owner, err := g.Member.LookupContext(ctx, key)
	if !g.Forward || err != nil {
		return nil, g.refuse(owner, err)
	}
	return g.forward(ctx, key, owner, info.FullMethod, req)
}

// Stream is a grpc.StreamServerInterceptor. It calls the handler if the member owns the key of the
// stream, or if the stream has no key, as that of the requests to the member itself. Otherwise it
// refuses the stream with an error that [Refused] knows.
func (g *Guard) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	key, ok := g.Key.key(ss.Context(), info.FullMethod, nil)
	if !ok {
		return handler(srv, ss)
	}
	epoch, ok := g.serves(key)
	if !ok {
		return g.Refuse(ss.Context(), key)
	}
	return handler(srv, &guarded{ServerStream: ss, ctx: context.WithValue(ss.Context(), epochContext{}, epoch)})
}

// Refuse returns the error by which the Guard refuses calls for key. It is for a handler that finds
// that the program does not serve the key any more, under the lock by which it writes, for example.
// A Router then calls the owner, so the handler must not have done anything yet.
func (g *Guard) Refuse(ctx context.Context, key []byte) error {
	owner, err := g.Member.LookupContext(ctx, key)
	return g.refuse(owner, err)
}

// guarded is a stream whose context has the epoch.
type guarded struct {
	grpc.ServerStream

	ctx context.Context
}

func (s *guarded) Context() context.Context { return s.ctx }

func (g *Guard) serves(key []byte) (uint64, bool) {
	if g.Serves != nil {
		return g.Serves(key)
	}
	return g.Member.OwnsEpoch(key)
}

// refuse refuses a call whose owner, as far as the member knows, is owner; with err if it knows
// none.
func (g *Guard) refuse(owner concord.Server, err error) error {
	self := g.Member.Name()
	switch {
	case err != nil:
		return refuse(self, concord.Server{}, fmt.Sprintf("it knows no owner: %v", err))
	case owner.Name == self:
		return refuse(self, owner, "it is not ready to")
	}
	return refuse(self, owner, fmt.Sprintf("the owner is %s at %s", owner.Name, owner.Address))
}

// makeRoom has the stack of a handler's goroutine grow once, while little is on it. On the way to
// the owner it would grow two or three times, and each time all that is on it is copied.
//
//go:noinline
func makeRoom() {
	var room [11 << 10]byte
	runtime.KeepAlive(&room[0])
}

// forward has owner handle the call.
func (g *Guard) forward(ctx context.Context, key []byte, owner concord.Server, method string, req any) (any, error) {
	self := g.Member.Name()
	trail := metadata.ValueFromIncomingContext(ctx, trailHeader)
	most := g.Forwards
	if most <= 0 {
		most = DefaultForwards
	}
	switch {
	case owner.Name == self:
		return nil, g.refuse(owner, nil)
	case slices.Contains(trail, url.PathEscape(owner.Name)):
		return nil, refuse(self, owner, fmt.Sprintf("%s, which has forwarded the call, is taken for the owner", owner.Name))
	case len(trail) >= most:
		return nil, refuse(self, owner, fmt.Sprintf("the call was forwarded by %s already, and the owner is %s at %s",
			strings.Join(trail, ", "), owner.Name, owner.Address))
	}
	reply, err := g.reply(method)
	if err != nil {
		return nil, refuse(self, owner, fmt.Sprintf("the owner is %s at %s, and the call cannot be forwarded: %v", owner.Name, owner.Address, err))
	}
	conn, err := g.Member.Conn(owner)
	if err != nil {
		return nil, refuse(self, owner, fmt.Sprintf("the owner cannot be called: %v", err))
	}
	var header, trailer metadata.MD
	var at peer.Peer
	err = conn.Invoke(onward(ctx, self), method, req, reply, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&at))
	passOn(ctx, header, trailer)
	if err == nil {
		return reply, nil
	}
	if _, refused := Refused(err); refused {
		g.Member.Reject(key, owner)
		return nil, err
	}
	if at.Addr == nil && errors.Is(err, concord.ErrUnavailable) {
		g.Member.Reject(key, owner)
		return nil, refuse(self, concord.Server{}, fmt.Sprintf("the owner cannot be reached: %v", err))
	}
	st := status.Convert(err)
	return nil, st.Err()
}

// passOn hands the headers of the owner's answer to the caller.
func passOn(ctx context.Context, header, trailer metadata.MD) {
	for _, md := range []metadata.MD{header, trailer} {
		for name := range md {
			if reserved(name) {
				delete(md, name)
			}
		}
	}
	// These fail only outside of a call, as in a test of the interceptor alone.
	if len(header) > 0 {
		_ = grpc.SetHeader(ctx, header)
	}
	if len(trailer) > 0 {
		_ = grpc.SetTrailer(ctx, trailer)
	}
}

// reserved reports whether a header is gRPC's own, and not the application's.
func reserved(name string) bool {
	switch name {
	case "content-type", "user-agent", "te", "connection", "host":
		return true
	}
	return strings.HasPrefix(name, ":") || strings.HasPrefix(name, "grpc-")
}

// reply is an empty message of the type that a method returns.
func (g *Guard) reply(method string) (proto.Message, error) {
	if t, ok := g.replies.Load(method); ok {
		return t.(protoreflect.MessageType).New().Interface(), nil
	}
	t, err := replyOf(method)
	if err != nil {
		return nil, err
	}
	g.replies.Store(method, t)
	return t.New().Interface(), nil
}

// replyOf is the type that a method returns.
func replyOf(method string) (protoreflect.MessageType, error) {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, fmt.Errorf("service %s is not in the registry of package protobuf", service)
	}
	of, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is not a service", service)
	}
	m := of.Methods().ByName(protoreflect.Name(name))
	if m == nil {
		return nil, fmt.Errorf("service %s has no method %s", service, name)
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return nil, fmt.Errorf("message %s is not in the registry of package protobuf", m.Output().FullName())
	}
	return t, nil
}

var (
	_ Member                       = (*concord.Concord)(nil)
	_ Ring                         = (*concord.Client)(nil)
	_ grpc.UnaryServerInterceptor  = (*Guard)(nil).Unary
	_ grpc.StreamServerInterceptor = (*Guard)(nil).Stream
)
