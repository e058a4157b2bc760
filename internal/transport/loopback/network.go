// Package loopback connects members of one process by gRPC over TCP on this host,
// with the faults of package fault: every connection passes through a relay in this
// process, which delays or stops its bytes. It is for tests.
//
// The faults look as they do through TCP. A lost packet is sent again, so it arrives
// late: by 200 ms, and by twice as much for each time that it is lost again. What is
// sent through a cut arrives after the cut is healed, if the connection still exists.
// A paused process accepts connections, but neither reads nor writes.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/fault"
	grpctransport "github.com/ollelogdahl/concord/internal/transport/grpc"
)

// Network is a transport.Network over the sockets of this host. Make it with
// NewNetwork. Its methods may be called concurrently. Close the transports first,
// then the Network.
type Network struct {
	*fault.Faults
	seed uint64

	ctx     context.Context // ends at Close
	end     context.CancelFunc
	running sync.WaitGroup // the goroutines of relays; added to with mu held and closed false

	mu      sync.Mutex
	closed  bool
	clients int               // opened so far
	bound   map[string]string // where a member listens, by the address that others ask for
	relays  map[*relay]struct{}
}

var _ transport.Network = (*Network)(nil)

// NewNetwork makes a network without faults, whose draws the seed decides; see
// fault.New.
func NewNetwork(seed uint64) *Network {
	ctx, end := context.WithCancel(context.Background())
	return &Network{
		Faults: fault.New(seed), seed: seed, ctx: ctx, end: end,
		bound: make(map[string]string), relays: make(map[*relay]struct{}),
	}
}

// OpenMember implements transport.Network. The network itself leads o.Advertise to the
// member, so it need not be the name of a host.
func (n *Network) OpenMember(o transport.Options) (transport.Transport, error) {
	lis, err := net.Listen("tcp", o.Bind)
	if err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	bound := lis.Addr().String()
	known := transport.Advertised(o.Advertise, bound)
	n.mu.Lock()
	n.bound[known] = bound
	n.mu.Unlock()
	cfg := grpctransport.ConfigOf(o)
	cfg.Listener, cfg.Dial = lis, n.dialer(known)
	return grpctransport.Listen(cfg)
}

// OpenClient implements transport.Network. To the faults, the i-th client has the
// address "client:i".
func (n *Network) OpenClient(o transport.Options) (transport.Transport, error) {
	n.mu.Lock()
	n.clients++
	from := fmt.Sprintf("client:%d", n.clients)
	n.mu.Unlock()
	cfg := grpctransport.ConfigOf(o)
	cfg.Dial = n.dialer(from)
	return grpctransport.NewClient(cfg), nil
}

// Seed implements transport.Network: it is made of the network's own.
func (n *Network) Seed(name string) uint64 { return fault.Seed(n.seed, name) }

// Listens reports whether a member was opened that others ask for at addr.
func (n *Network) Listens(addr string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bound[addr] != ""
}

// Close ends every relay and returns when no goroutine of the network is left.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	n.end()
	for r := range n.relays {
		r.near.Close()
		r.far.Close()
	}
	n.mu.Unlock()
	n.running.Wait()
}

var errClosed = errors.New("loopback: the network is closed")

// dialer returns a dialer for the process at from.
func (n *Network) dialer(from string) func(ctx context.Context, to string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		// The handshake: one packet there and one back.
		if !n.Awake(ctx, from) || !n.cross(ctx, from, to) || !n.cross(ctx, to, from) {
			return nil, ctx.Err()
		}
		n.mu.Lock()
		bound, ok := n.bound[to]
		n.mu.Unlock()
		if !ok {
			bound = to
		}
		far, err := new(net.Dialer).DialContext(ctx, "tcp", bound)
		if err != nil {
			return nil, err
		}
		return n.relay(from, to, far)
	}
}

// cross takes one packet from from to to, and reports whether it arrived before ctx
// ended.
func (n *Network) cross(ctx context.Context, from, to string) bool {
	return fault.Wait(ctx, n.latency(from, to)) && n.Open(ctx, from, to)
}

// TCP sends a lost packet again after retransmit, and waits twice as long each time it
// is lost again. A packet that was sent again maxRetransmit times arrives.
const (
	retransmit    = 200 * time.Millisecond
	maxRetransmit = 4
)

// latency draws how long a packet takes, retransmissions included.
func (n *Network) latency(from, to string) time.Duration {
	wait, lost := n.Draw(from, to)
	for i := 0; lost && i < maxRetransmit; i++ {
		wait += retransmit << i
		_, lost = n.Draw(from, to)
	}
	return wait
}
