package grpctransport

import (
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/ollelogdahl/concord/internal/transport"
	"github.com/ollelogdahl/concord/internal/transport/transporttest"
)

// applications are servers of applications, by their addresses. They serve until the end
// of the test.
type applications struct {
	t  *testing.T
	mu sync.Mutex
	on map[string]*Port
}

// serve has an application serve at addr, which may be that of one that serves.
func (a *applications) serve(addr string, cfg Config) (*Port, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.on[addr]; p != nil {
		return p, addr, nil
	}
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, "", err
	}
	p := NewPort(cfg)
	s := grpc.NewServer(p.Options()...)
	if err := p.Register(s); err != nil {
		return nil, "", err
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(lis) })
	a.t.Cleanup(func() {
		s.Stop()
		serving.Wait()
	})
	a.on[lis.Addr().String()] = p
	return p, lis.Addr().String(), nil
}

// listen makes a transport that receives on the server at addr.
func (a *applications) listen(addr string) (transport.Transport, error) {
	p, at, err := a.serve(addr, Config{})
	if err != nil {
		return nil, err
	}
	return Listen(Config{Port: p, Advertise: at})
}

// Over servers that go on when the transports on them are closed.
func TestConformanceOnServersOfApplications(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Listen {
		return transporttest.Widen((&applications{t: t, on: map[string]*Port{}}).listen)
	})
}
