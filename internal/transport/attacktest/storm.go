package attacktest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/ollelogdahl/concord/internal/pb"
)

// Victim is a member as an attacker knows it.
type Victim struct {
	Name, Addr  string
	Incarnation uint64
}

// Storm sends hostile requests to members without TLS. Its methods may be called
// concurrently. The caller closes it.
type Storm struct {
	World World
	// Dial opens connections; nil: TCP of this process.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	mu      sync.Mutex
	clients map[string]*Client
	ghosts  int
}

// hitTimeout bounds one hostile request.
const hitTimeout = 2 * time.Second

// Hit makes one attack on a member, by chance. Others are members in whose names it may
// speak. It returns when it is answered or has taken two seconds.
func (s *Storm) Hit(ctx context.Context, rng *rand.Rand, m Victim, others []Victim) {
	ctx, cancel := context.WithTimeout(ctx, hitTimeout)
	defer cancel()
	c, err := s.client(m.Addr)
	if err != nil {
		return
	}
	self := s.World.Server(m.Name, m.Addr, m.Incarnation)
	ghost := s.ghost(rng)
	// Whatever is answered does not matter: the ring is judged, not the answer.
	switch rng.IntN(11) {
	case 0:
		garbage, answer := make([]byte, 1+rng.IntN(200)), []byte(nil)
		for i := range garbage {
			garbage[i] = byte(rng.Uint32())
		}
		_ = c.cc.Invoke(ctx, "/concord.ChordService/Notify", &garbage, &answer, grpc.ForceCodecV2(Raw{}))
	case 1:
		_, _ = c.Introduce(ctx, &pb.IntroduceReq{Subject: s.World.Server(m.Name, m.Addr, 1<<64-1), Request: s.World.Request(ghost, self)})
	case 2:
		e := s.World.Request(ghost, self)
		e.Settings.HashCheck++
		_, _ = c.Route(ctx, &pb.RouteReq{Id: rng.Uint64(), Request: e})
	case 3:
		ghost.Id = self.GetId() - 1
		_, _ = c.Place(ctx, &pb.PlaceReq{Subject: ghost, Request: s.World.Request(ghost, self)})
	case 4:
		_, _ = c.Introduce(ctx, &pb.IntroduceReq{Subject: ghost, Request: s.World.Request(ghost, self)})
	case 5, 6:
		_, _ = c.Notify(ctx, &pb.NotifyReq{
			Id: ghost.GetId(), Name: ghost.GetName(), Address: ghost.GetAddress(), Incarnation: ghost.GetIncarnation(),
			Request: s.World.Request(nil, self), Joining: rng.IntN(2) == 0,
		})
	case 7:
		x := others[rng.IntN(len(others))]
		leaver := s.World.Server(x.Name, x.Addr, x.Incarnation)
		_, _ = c.Leave(ctx, &pb.LeaveReq{Predecessor: ghost, Successors: []*pb.Server{ghost}, Request: s.World.Request(leaver, self)})
	case 8:
		later := s.World.Server(m.Name, ghost.GetAddress(), m.Incarnation+1)
		_, _ = c.Introduce(ctx, &pb.IntroduceReq{Subject: later, Request: s.World.Request(later, self)})
	case 9:
		large, answer := make([]byte, 128<<10), []byte(nil)
		_ = c.cc.Invoke(ctx, "/concord.ChordService/Leave", &large, &answer, grpc.ForceCodecV2(Raw{}))
	case 10:
		s.noise(ctx, m.Addr)
	}
}

// noise is a connection on which something else is spoken.
func (s *Storm) noise(ctx context.Context, addr string) {
	conn, err := s.dial(ctx, addr)
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: member\r\n\r\n"))
}

// ghost is a member that nobody has, at an address of the attacker's own host at which
// nobody listens.
func (s *Storm) ghost(rng *rand.Rand) *pb.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ghosts++
	return s.World.Server(fmt.Sprintf("ghost-%d", s.ghosts), fmt.Sprintf("127.0.0.1:%d", 1+rng.IntN(9)), Now())
}

func (s *Storm) dial(ctx context.Context, addr string) (net.Conn, error) {
	if s.Dial != nil {
		return s.Dial(ctx, addr)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

func (s *Storm) client(addr string) (*Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[addr]; c != nil {
		return c, nil
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(s.dial), grpc.WithIdleTimeout(time.Minute))
	if err != nil {
		return nil, err
	}
	if s.clients == nil {
		s.clients = map[string]*Client{}
	}
	c := &Client{ChordServiceClient: pb.NewChordServiceClient(cc), cc: cc}
	s.clients[addr] = c
	return c, nil
}

// Close ends its connections.
func (s *Storm) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		c.Close()
	}
	s.clients = nil
}
