package concord_test

import (
	"context"
	"encoding/binary"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ollelogdahl/concord"
)

// What a lookup costs in a ring of 8, beside a bare gRPC call of about the same
// size on the same machine.

func benchKeys() func() []byte {
	var key [8]byte
	var n uint64
	return func() []byte {
		n++
		binary.BigEndian.PutUint64(key[:], n*0x9e3779b97f4a7c15)
		return key[:]
	}
}

// BenchmarkBareGRPC is a unary call with 8 bytes there and 200 bytes back.
func BenchmarkBareGRPC(b *testing.B) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	answer := &wrapperspb.BytesValue{Value: make([]byte, 200)}
	srv := grpc.NewServer()
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bare", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := dec(&emptypb.Empty{}); err != nil {
				return nil, err
			}
			return answer, nil
		}}},
	}, nil)
	go srv.Serve(lis)
	b.Cleanup(srv.Stop)
	cc, err := grpc.NewClient("passthrough:///"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cc.Close() })
	in, out := &emptypb.Empty{}, &wrapperspb.BytesValue{}
	b.ReportAllocs()
	for b.Loop() {
		if err := cc.Invoke(b.Context(), "/bare/Call", in, out); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRing(b *testing.B, edits ...func(*concord.Config)) *concord.Concord {
	b.Helper()
	var first *concord.Concord
	for i := range 8 {
		cfg := concord.Config{Name: "bench" + string(rune('a'+i)), BindAddr: "127.0.0.1:0"}
		for _, edit := range edits {
			edit(&cfg)
		}
		c := concord.New(cfg)
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Stop() })
		if first == nil {
			first = c
			if err := c.Create(); err != nil {
				b.Fatal(err)
			}
		} else if err := c.Join(b.Context(), first.Address()); err != nil {
			b.Fatal(err)
		}
	}
	return first
}

func benchLookup(b *testing.B, opts ...concord.LookupOption) {
	c := benchRing(b)
	next := benchKeys()
	before := c.Status().Counters.RouteRequests
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.LookupContext(b.Context(), next(), opts...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(c.Status().Counters.RouteRequests-before)/float64(b.N), "requests/op")
}

// BenchmarkLookup is a lookup of a random key, any member of the ring its owner.
func BenchmarkLookup(b *testing.B) { benchLookup(b) }

// BenchmarkLookupFresh is the same on the owner's own word.
func BenchmarkLookupFresh(b *testing.B) { benchLookup(b, concord.Fresh()) }

// BenchmarkMutualTLS is a lookup of a ring without TLS and one of a ring with mutual TLS, in
// turn, so that both meet the same machine. The certificates have names and hosts, which are
// checked. The metrics are medians, and the ratio of the second to the first.
func BenchmarkMutualTLS(b *testing.B) {
	plain := benchRing(b)
	a := newAuthority(b)
	secured := benchRing(b, func(cfg *concord.Config) {
		leaf := a.issue(b, uris("concord:///"+cfg.Name))
		cfg.TLS = a.mutual(leaf, leaf)
	})
	for _, c := range []struct {
		name string
		each int // lookups in a row that are timed together
		opts []concord.LookupOption
	}{{"fresh", 1, []concord.LookupOption{concord.Fresh()}}, {"confirmed", 500, nil}} {
		b.Run(c.name, func(b *testing.B) {
			next := benchKeys()
			var took [2][]time.Duration
			for b.Loop() {
				for i, m := range []*concord.Concord{plain, secured} {
					began := time.Now()
					for range c.each {
						if _, err := m.LookupContext(b.Context(), next(), c.opts...); err != nil {
							b.Fatal(err)
						}
					}
					took[i] = append(took[i], time.Since(began)/time.Duration(c.each))
				}
			}
			var median [2]float64
			for i := range took {
				slices.Sort(took[i])
				median[i] = float64(took[i][len(took[i])/2])
			}
			b.ReportMetric(median[0], "plain-ns")
			b.ReportMetric(median[1], "mtls-ns")
			b.ReportMetric(median[1]/median[0], "ratio")
		})
	}
}

// BenchmarkOwns asks a member whether a key is its own.
func BenchmarkOwns(b *testing.B) {
	c := benchRing(b)
	next := benchKeys()
	b.ReportAllocs()
	for b.Loop() {
		c.Owns(next())
	}
}

// BenchmarkOwnsEpoch is the same with the epoch.
func BenchmarkOwnsEpoch(b *testing.B) {
	c := benchRing(b)
	next := benchKeys()
	b.ReportAllocs()
	for b.Loop() {
		c.OwnsEpoch(next())
	}
}

// BenchmarkServes asks a Service of the member.
func BenchmarkServes(b *testing.B) {
	c := benchRing(b)
	s := c.Serve(b.Context(), concord.Handler{})
	for _, ok := s.Serves([]byte(c.Name())); !ok; _, ok = s.Serves([]byte(c.Name())) {
		runtime.Gosched()
	}
	next := benchKeys()
	b.ReportAllocs()
	for b.Loop() {
		s.Serves(next())
	}
}
