package concordgrpc_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordgrpc"
)

// opinion is a member that owns nothing, and takes another for the owner of every key. Calls to
// members go straight to the interceptors of their guards.
type opinion struct {
	name   string
	owner  string
	guards map[string]*concordgrpc.Guard
	asked  map[string]int // guards, by callers of all opinions
}

func named(name string) concord.Server { return concord.Server{Name: name, Address: name + ":1"} }

func (o *opinion) Name() string                    { return o.name }
func (o *opinion) OwnsEpoch([]byte) (uint64, bool) { return 0, false }
func (o *opinion) Reject([]byte, concord.Server)   {}

func (o *opinion) LookupContext(ctx context.Context, _ []byte, _ ...concord.LookupOption) (concord.Server, error) {
	if o.owner == "" {
		return concord.Server{}, concord.ErrNotJoined
	}
	return named(o.owner), ctx.Err()
}

func (o *opinion) Conn(s concord.Server) (grpc.ClientConnInterface, error) {
	return straight{o, s.Name}, nil
}

type straight struct {
	*opinion

	to string
}

func (s straight) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	s.asked[s.to]++
	sent, _ := metadata.FromOutgoingContext(ctx)
	out, err := s.guards[s.to].Unary(metadata.NewIncomingContext(context.Background(), sent), args,
		&grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) {
			return nil, errors.New("a handler was called")
		})
	if err == nil {
		proto.Merge(reply.(proto.Message), out.(proto.Message))
	}
	return err
}

func (straight) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams here")
}

// disagreeing are two members that each take the other for the owner of every key.
func disagreeing(forward bool) *opinion {
	guards := make(map[string]*concordgrpc.Guard)
	asked := make(map[string]int)
	a := &opinion{name: "a", owner: "b", guards: guards, asked: asked}
	b := &opinion{name: "b", owner: "a", guards: guards, asked: asked}
	guards["a"] = &concordgrpc.Guard{Member: a, Forward: forward, Forwards: 5}
	guards["b"] = &concordgrpc.Guard{Member: b, Forward: forward, Forwards: 5}
	return a
}

func TestMembersThatTakeEachOtherForTheOwnerCauseNoLoop(t *testing.T) {
	t.Parallel()
	for _, forward := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := disagreeing(forward)
			began := time.Now()
			_, err := check(t.Context(), &concordgrpc.Router{Ring: a, Tries: 6}, []byte("apple"))
			e, ok := errors.AsType[*concordgrpc.RouteError](err)
			if !ok || status.Code(err) != codes.Aborted || len(e.Asked) != 6 {
				t.Fatalf("forwarding %v: %v", forward, err)
			}
			most, called := 6, "called: b, a, b"
			if forward { // b forwards each call to a, which refuses and names b
				most, called = 12, "called: b, b"
			}
			if !strings.Contains(err.Error(), called) {
				t.Errorf("the error does not say who was called: %v", err)
			}
			if n := a.asked["a"] + a.asked["b"]; n > most {
				t.Errorf("forwarding %v: members were called %d times", forward, n)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestCallIsGivenUpWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := check(ctx, &concordgrpc.Router{Ring: disagreeing(false), Tries: 1000}, []byte("apple"))
		if status.Code(err) != codes.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 300*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if !strings.Contains(err.Error(), "does not serve the key") {
			t.Errorf("the error does not say what the last member answered: %v", err)
		}
	})
}

func TestCallEndsWhenNoOwnerIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, err := check(t.Context(), &concordgrpc.Router{Ring: &opinion{}}, []byte("apple"))
		if status.Code(err) != codes.Unavailable || !errors.Is(err, concord.ErrNotJoined) || !strings.Contains(err.Error(), "none was called") {
			t.Errorf("%v", err)
		}
	})
}

func TestGuardSaysWhyItDoesNotForward(t *testing.T) {
	t.Parallel()
	a := disagreeing(true)
	for _, tc := range []struct {
		what, method, words string
		trail               []string
		owner               string
	}{
		{"no generated code", "/unknown.Service/Do", "unknown.Service is not in the registry", nil, "b"},
		{"forwarded too often", "/grpc.health.v1.Health/Check", "was forwarded by c, c, c, c, c already", []string{"c", "c", "c", "c", "c"}, "b"},
		{"by one with another alphabet", "/grpc.health.v1.Health/Check", "ä b, which has forwarded the call", []string{"%C3%A4%20b"}, "ä b"},
		{"by the one named", "/grpc.health.v1.Health/Check", "b, which has forwarded the call", []string{"b"}, "b"},
		{"not ready", "/grpc.health.v1.Health/Check", "it is not ready to", nil, "a"},
		{"nobody known", "/grpc.health.v1.Health/Check", "knows no owner: concord: not joined", nil, ""},
	} {
		a.owner = tc.owner
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{"concord-key-bin": {"apple"}, "concord-forwarded-by": tc.trail})
		_, err := a.guards["a"].Unary(ctx, &grpc_health_v1.HealthCheckRequest{}, &grpc.UnaryServerInfo{FullMethod: tc.method}, nil)
		if owner, refused := concordgrpc.Refused(err); !refused || owner.Name != tc.owner || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: %v, names %v", tc.what, err, owner)
		}
	}
}
