package grpctransport

import (
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/budget"
)

const (
	// maxCalls bounds the calls under way on one stream.
	maxCalls = 256
	// linkName is the stream of requests, the first of the service's streams.
	linkName = "Link"
	// maxLinks bounds the streams of requests of one connection. A member uses one.
	maxLinks = 4
)

// rpcMethod is one unary method of the service.
type rpcMethod struct {
	number uint32 // in frames, from 1
	kind   budget.Kind
	// lookup: it serves lookups, which give way to the ring's maintenance.
	lookup bool
}

// prompt reports whether the handler answers at once: it waits for no other member, and neither
// does the machine.
func (m *rpcMethod) prompt() bool { return m.kind == budget.Lookup || m.kind == budget.Ring }

// methods are the unary methods by their full names.
var methods = func() map[string]rpcMethod {
	all := make(map[string]rpcMethod)
	for i, m := range pb.ChordService_ServiceDesc.Methods {
		name := "/" + pb.ChordService_ServiceDesc.ServiceName + "/" + m.MethodName
		all[name] = rpcMethod{number: uint32(i + 1), kind: methodKinds[name], lookup: isLookup(methodKinds[name])}
	}
	return all
}()

func isLookup(k budget.Kind) bool { return k == budget.Lookup || k == budget.Forwarded }

// requestOf is the field of m that says who asks whom.
func requestOf(m proto.Message) **pb.Request {
	switch m := m.(type) {
	case *pb.FindReq:
		return &m.Request
	case *pb.RingReq:
		return &m.Request
	case *pb.NotifyReq:
		return &m.Request
	case *pb.RouteReq:
		return &m.Request
	case *pb.PlaceReq:
		return &m.Request
	case *pb.IntroduceReq:
		return &m.Request
	case *pb.ChangedReq:
		return &m.Request
	case *pb.LeaveReq:
		return &m.Request
	case *pb.MapReq:
		return &m.Request
	case *pb.MetaReq:
		return &m.Request
	}
	return nil
}
