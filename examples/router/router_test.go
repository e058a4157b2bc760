package main

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordgrpc"
	"github.com/ollelogdahl/concord/concordtest"
	"github.com/ollelogdahl/concord/examples/router/limiterpb"
)

// inMemory is a member of a ring in memory. The connections to the limiters of others are in memory
// as well.
type inMemory struct {
	*concord.Concord

	conns map[string]*grpc.ClientConn // by the names of members
}

func (m inMemory) Conn(s concord.Server) (grpc.ClientConnInterface, error) {
	cc, ok := m.conns[s.Name]
	if !ok {
		return nil, fmt.Errorf("no limiter of %s", s.Name)
	}
	return cc, nil
}

// limiters starts the limiters of members.
func limiters(t *testing.T, members []*concord.Concord, forward bool) map[string]*grpc.ClientConn {
	conns := make(map[string]*grpc.ClientConn)
	for _, m := range members {
		lis := bufconn.Listen(1 << 16)
		server := newServer(inMemory{m, conns}, newLimiter(m.Name(), 5, 1), forward)
		go server.Serve(lis) //nolint:errcheck // it ends with Stop
		cc, err := grpc.NewClient("passthrough:///"+m.Name(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		conns[m.Name()] = cc
		t.Cleanup(func() {
			cc.Close()
			server.Stop()
		})
	}
	return conns
}

// Whoever is asked, a user may make as many requests as one limiter allows; and the next owner goes
// on when the first is gone.
func TestUserIsCountedByOneMember(t *testing.T) {
	for _, forward := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ring := concordtest.New(t, concordtest.Options{})
			members := ring.Start(4, func(i int, c *concord.Config) { c.VirtualNodes, c.Zone = 4, fmt.Sprint("zone", i%3) })
			ring.Settle(t.Context())
			conns := limiters(t, members, forward)
			allow := func(by grpc.ClientConnInterface) *limiterpb.AllowReply {
				reply, err := limiterpb.NewLimiterClient(by).Allow(t.Context(), &limiterpb.AllowRequest{User: "alice"})
				if err != nil {
					t.Fatal(err)
				}
				return reply
			}
			owner := ring.Owner([]byte("alice"))
			allowed := 0
			for i := range 12 {
				m := members[i%4]
				var by grpc.ClientConnInterface = &concordgrpc.Router{Ring: inMemory{m, conns}, Key: userOf}
				if forward {
					by = conns[m.Name()]
				}
				reply := allow(by)
				if reply.GetMember() != owner.Name() {
					t.Errorf("forwarding %v: %s has counted, the owner is %s", forward, reply.GetMember(), owner.Name())
				}
				if reply.GetAllowed() {
					allowed++
				}
			}
			if allowed != 5 {
				t.Errorf("forwarding %v: %d of 12 requests were allowed, want 5", forward, allowed)
			}
			time.Sleep(time.Minute)
			if reply := allow(&concordgrpc.Router{Ring: inMemory{members[0], conns}, Key: userOf}); !reply.GetAllowed() || reply.GetLeft() != 4 {
				t.Errorf("a minute later: %v", reply)
			}

			ring.Kill(owner)
			ring.Settle(t.Context())
			next := ring.Owner([]byte("alice"))
			if reply := allow(&concordgrpc.Router{Ring: inMemory{ring.Members()[0], conns}, Key: userOf}); reply.GetMember() != next.Name() {
				t.Errorf("%s has counted, the owner is %s", reply.GetMember(), next.Name())
			}
		})
	}
}

func TestLimiterForgetsUsersWhenItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter("node1", 2, 1)
		fill := func(n int) {
			for i := range n {
				if _, err := l.Allow(t.Context(), &limiterpb.AllowRequest{User: fmt.Sprint("user", i)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		fill(maxBuckets)
		time.Sleep(time.Minute)
		if _, err := l.Allow(t.Context(), &limiterpb.AllowRequest{User: "another"}); err != nil || len(l.buckets) != 1 {
			t.Errorf("%d users are remembered, %v", len(l.buckets), err)
		}
		fill(maxBuckets)
		if len(l.buckets) > maxBuckets {
			t.Errorf("%d users are remembered", len(l.buckets))
		}
	})
}
