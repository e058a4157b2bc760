package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
)

// maxDiffering bounds how many settings a peer may name as differing, and
// maxSetting the length of each name.
const (
	maxDiffering = 8
	maxSetting   = 64
)

func failure(kind protocol.FailureKind, format string, args ...any) *protocol.Failure {
	return &protocol.Failure{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// statusOf is what a handler's error travels as.
func statusOf(ctx context.Context, err error) error {
	var f *protocol.Failure
	if !errors.As(err, &f) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return status.FromContextError(err).Err()
		}
		return status.Error(codes.Internal, detail(err.Error()))
	}
	switch f.Kind {
	case protocol.WrongMember:
		return explain(codes.FailedPrecondition, f, &pb.WrongMember{Answerer: server(f.By), Origin: pbOrigin(f.Origin)})
	case protocol.WrongRing:
		return explain(codes.FailedPrecondition, f, &pb.WrongRing{Differing: f.Differing, Answerer: server(f.By)})
	case protocol.NotJoined:
		return explain(codes.FailedPrecondition, f, &pb.NotJoined{Answerer: server(f.By)})
	case protocol.Isolated:
		return explain(codes.FailedPrecondition, f, &pb.Isolated{Answerer: server(f.By)})
	case protocol.Invalid:
		return explain(codes.InvalidArgument, f, &pb.Answer{Answerer: server(f.By)})
	case protocol.Overloaded:
		return busy(f.Detail)
	case protocol.Cancelled, protocol.TimedOut:
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return status.Error(codes.DeadlineExceeded, detail(f.Detail))
		}
		return status.Error(codes.Canceled, detail(f.Detail))
	default:
		return status.Error(codes.Unavailable, detail(f.Error()))
	}
}

// explain is a status with a detail that the asker makes the same failure of.
func explain(code codes.Code, f *protocol.Failure, why protoadapt.MessageV1) error {
	st := status.New(code, detail(f.Detail))
	if detailed, err := st.WithDetails(why); err == nil {
		st = detailed
	}
	return st.Err()
}

// malformed is the answer to a request that breaks the contract.
func malformed(err error) error { return status.Error(codes.InvalidArgument, detail(err.Error())) }

// dialFailure is why no connection to addr could be had.
func dialFailure(ctx context.Context, addr string, err error) *protocol.Failure {
	switch {
	case errors.Is(err, errClosed):
		return failure(protocol.Cancelled, "%s: %v", addr, err)
	case ctx.Err() != nil:
		return contextFailure(ctx, addr)
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure(protocol.Refused, "nobody listens at %s", addr)
	default:
		return failure(protocol.Unreachable, "%s: %s", addr, detail(err.Error()))
	}
}

func contextFailure(ctx context.Context, addr string) *protocol.Failure {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return failure(protocol.TimedOut, "no answer from %s in time", addr)
	}
	return failure(protocol.Cancelled, "the request to %s was given up", addr)
}

// failureOf is why a request to addr that got as far as gRPC had no answer. What
// the peer said in words is handed on as it is; what gRPC says gets the address, and
// gives way to why the link is of no use, if that is known. What a peer cannot accept
// counts as a member's word only if the peer has shown itself to be one.
func failureOf(ctx context.Context, addr string, err error, l *link) *protocol.Failure {
	st := status.Convert(err)
	text := detail(unwrapped(st.Message()))
	switch st.Code() {
	case codes.FailedPrecondition, codes.InvalidArgument:
		if f := explained(st); f != nil {
			f.Detail = text
			return f
		}
		if st.Code() == codes.InvalidArgument {
			return failure(protocol.Invalid, "%s: %s", addr, text)
		}
	case codes.PermissionDenied:
		if slices.ContainsFunc(st.Details(), isDenied) {
			return failure(protocol.Denied, "%s: denies this side: %s", addr, text)
		}
	case codes.Internal:
		if l.dialect() != unknown {
			return failure(protocol.Invalid, "%s: %s", addr, text)
		}
	case codes.ResourceExhausted:
		if explained(st) != nil {
			return failure(protocol.Overloaded, "%s: %s", addr, text)
		}
		return failure(protocol.Invalid, "%s: %s", addr, text)
	case codes.DeadlineExceeded:
		return failure(protocol.TimedOut, "no answer from %s in time", addr)
	case codes.Canceled:
		if ctx.Err() != nil {
			return contextFailure(ctx, addr)
		}
		return &protocol.Failure{Kind: protocol.Cancelled, Detail: text}
	case codes.Unavailable:
		if slices.ContainsFunc(st.Details(), isNotRunning) {
			return failure(protocol.Refused, "%s: %s", addr, text)
		}
		if ctx.Err() != nil {
			return contextFailure(ctx, addr)
		}
		if cause := l.cause.get(); cause != nil {
			return failure(protocol.Unreachable, "%s: %s", addr, detail(words(cause)))
		}
	}
	return failure(protocol.Unreachable, "%s: %s (%s)", addr, text, st.Code())
}

// isDenied reports whether a detail of a status says that a member, and not something
// between, denies this side.
func isDenied(d any) bool {
	_, ok := d.(*pb.Denied)
	return ok
}

// isNotRunning reports whether a detail of a status says that no member is at the
// address, as the server of an application does.
func isNotRunning(d any) bool {
	_, ok := d.(*pb.NotRunning)
	return ok
}

// explained is the failure that the details of a status describe, nil if they
// describe none.
func explained(st *status.Status) *protocol.Failure {
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *pb.WrongMember:
			o, err := optionalOrigin("origin", d.GetOrigin())
			if err != nil {
				return &protocol.Failure{Kind: protocol.WrongMember}
			}
			return &protocol.Failure{Kind: protocol.WrongMember, By: answerer(d.GetAnswerer()), Origin: o}
		case *pb.WrongRing:
			return &protocol.Failure{Kind: protocol.WrongRing, By: answerer(d.GetAnswerer()), Differing: differing(d.GetDiffering())}
		case *pb.NotJoined:
			return &protocol.Failure{Kind: protocol.NotJoined, By: answerer(d.GetAnswerer())}
		case *pb.Isolated:
			return &protocol.Failure{Kind: protocol.Isolated, By: answerer(d.GetAnswerer())}
		case *pb.Answer:
			return &protocol.Failure{Kind: protocol.Invalid, By: answerer(d.GetAnswerer())}
		}
	}
	return nil
}

// answerer reads who failed a request. One that is malformed is left out: the
// failure itself is the news.
func answerer(s *pb.Server) ring.Member {
	m, err := optional("answerer", s)
	if err != nil {
		return ring.Member{}
	}
	return m
}

func differing(names []string) []string {
	var out []string
	for _, name := range names[:min(len(names), maxDiffering)] {
		if len(name) <= maxSetting {
			out = append(out, name)
		}
	}
	return out
}
