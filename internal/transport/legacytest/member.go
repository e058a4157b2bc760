// Package legacytest is a legacy member, for tests of how ours get along with the
// existing library. It is written to the base contract alone. With the members it is
// tested against it shares no code but package ring's arithmetic. It has the habits that
// ours must live with:
//
//   - for an identifier that is exactly a member's, its FindSuccessor names that
//     member's predecessor;
//   - FindSuccessor is recursive, with no limit but the deadline. It goes to a finger
//     first, if there is one, and if that fails to its successors in turn; the last
//     failure is its answer, as it came: code, words and details;
//   - before it has joined it errs on FindSuccessor, but answers GetRing empty;
//   - it fills a short successor list with copies of members already named, and
//     drops the last entry of a list it takes over;
//   - it is isolated when the only entry of its list fails;
//   - it finishes a join only once GetRing names a predecessor;
//   - in a ring of one it is its own predecessor and successor.
package legacytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Config describes a member.
type Config struct {
	Name  string
	Space ring.Space
	// Successors is the length of its list; zero means 3.
	Successors int
	// Interval is between two rounds of maintenance; zero means 20 ms.
	Interval time.Duration
	// Addr is where it listens; empty means a free port of the loopback.
	Addr string
}

// Member is a running member. Its methods may be called concurrently.
type Member struct {
	self     server
	count    int
	interval time.Duration
	lis      net.Listener
	srv      *grpc.Server

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	owned  sync.WaitGroup
	stop   sync.Once

	mu     sync.Mutex // guards all below
	joined bool
	pred   *server
	succ   []server // isolated once empty
	finger *server
	conns  map[string]*grpc.ClientConn
}

// ErrIsolated is the error of a member whose successors have all failed.
var ErrIsolated = errors.New("legacytest: no successor is left")

var errNotJoined = errors.New("node has not joined a ring")

// Listen starts a member. It is in no ring until Create or Join. The caller stops
// it.
func Listen(cfg Config) (*Member, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	lis, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	if cfg.Successors == 0 {
		cfg.Successors = 3
	}
	if cfg.Interval == 0 {
		cfg.Interval = 20 * time.Millisecond
	}
	m := &Member{
		self:     server{cfg.Space.ID([]byte(cfg.Name)), cfg.Name, lis.Addr().String()},
		count:    cfg.Successors,
		interval: cfg.Interval,
		lis:      lis,
		srv:      grpc.NewServer(grpc.ForceServerCodecV2(codec{}), grpc.WaitForHandlers(true)),
		conns:    make(map[string]*grpc.ClientConn),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.srv.RegisterService(&description, m)
	m.owned.Go(func() { _ = m.srv.Serve(lis) })
	return m, nil
}

// Self is the member as others know it.
func (m *Member) Self() ring.Member { return m.self.member() }

// Predecessor is zero while unknown.
func (m *Member) Predecessor() ring.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pred == nil {
		return ring.Member{}
	}
	return m.pred.member()
}

// Successors is the list as the member keeps it, copies and all.
func (m *Member) Successors() []ring.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []ring.Member
	for i := range m.succ {
		out = append(out, m.succ[i].member())
	}
	return out
}

// SetFinger has lookups of what lies beyond x go to x first. It stays the finger,
// whatever becomes of x.
func (m *Member) SetFinger(x ring.Member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finger = &server{x.ID, x.Name, x.Addr}
}

func (s *server) member() ring.Member {
	return ring.Member{ID: s.id, Name: s.name, Addr: s.address}
}

// Create makes a ring of one.
func (m *Member) Create() {
	m.mu.Lock()
	self := m.self
	m.pred, m.succ, m.joined = &self, m.fill([]server{m.self}), true
	m.mu.Unlock()
	m.owned.Go(m.run)
}

// Join enters the ring of the member at addr and returns once its successor
// names a predecessor.
func (m *Member) Join(ctx context.Context, addr string) error {
	s, err := m.findSuccessorAt(ctx, addr, m.self.id)
	if err != nil {
		return fmt.Errorf("legacytest: join via %s: %w", addr, err)
	}
	for {
		r, err := m.ringOf(ctx, s.address)
		if err != nil {
			return fmt.Errorf("legacytest: join before %s: %w", s.name, err)
		}
		if p := r.predecessor; p != nil {
			m.mu.Lock()
			m.succ, m.joined = m.takeOver(s, r.successors), true
			m.mu.Unlock()
			break
		}
		if err := m.sleep(ctx); err != nil {
			return err
		}
	}
	m.owned.Go(m.run)
	return nil
}

// Stop ends the member as a kill does: nobody is told. It returns when nothing
// of it is left.
func (m *Member) Stop() {
	m.stop.Do(func() {
		m.cancel()
		m.srv.Stop()
		_ = m.lis.Close()
		m.owned.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, cc := range m.conns {
			_ = cc.Close()
		}
	})
}

// Lookup is the owner of id, as the ring tells this member.
func (m *Member) Lookup(ctx context.Context, id uint64) (ring.Member, error) {
	s, err := m.lookup(ctx, id)
	if err != nil {
		return ring.Member{}, err
	}
	return s.member(), nil
}

func (m *Member) sleep(ctx context.Context) error {
	t := time.NewTimer(m.interval)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

// run is the maintenance: Chord's stabilize and check-predecessor in rounds.
func (m *Member) run() {
	for m.sleep(m.ctx) == nil {
		m.stabilize()
		m.checkPredecessor()
	}
}

// stabilize asks the successor for its predecessor, adopts that if it is nearer,
// and notifies. A successor that fails is dropped.
func (m *Member) stabilize() {
	m.mu.Lock()
	if len(m.succ) == 0 {
		m.mu.Unlock()
		return
	}
	head := m.succ[0]
	m.mu.Unlock()

	ctx, cancel := context.WithTimeout(m.ctx, 10*m.interval+time.Second)
	defer cancel()
	r, err := m.ringOf(ctx, head.address)
	if err != nil {
		m.drop(head)
		return
	}
	if p := r.predecessor; p != nil && ring.Between(m.self.id, p.id, head.id) {
		if nearer, err := m.ringOf(ctx, p.address); err == nil && len(nearer.successors) > 0 {
			head, r = *p, nearer
		}
	}
	m.mu.Lock()
	m.succ = m.takeOver(head, r.successors)
	if head.id == m.self.id && m.pred == nil {
		m.pred = &head
	}
	m.mu.Unlock()
	if head.id != m.self.id {
		_ = m.invoke(ctx, head.address, "Notify", &m.self, new(empty))
	}
}

func (m *Member) drop(head server) {
	if m.ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// A lookup may be reading the list as it was.
	m.succ = slices.DeleteFunc(slices.Clone(m.succ), func(s server) bool { return s == head })
}

func (m *Member) checkPredecessor() {
	m.mu.Lock()
	p := m.pred
	m.mu.Unlock()
	if p == nil || p.id == m.self.id {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, 10*m.interval+time.Second)
	defer cancel()
	if _, err := m.ringOf(ctx, p.address); err != nil && m.ctx.Err() == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.pred == p {
			m.pred = nil
		}
	}
}

// takeOver is head with what it said follows it, without the last entry.
func (m *Member) takeOver(head server, list []*server) []server {
	out := []server{head}
	for i, s := range list {
		if i < len(list)-1 {
			out = append(out, *s)
		}
	}
	return m.fill(out)
}

// fill makes a list as long as it should be with copies of what is in it.
func (m *Member) fill(list []server) []server {
	for n := len(list); len(list) < m.count; {
		list = append(list, list[len(list)-n])
	}
	return list[:m.count]
}
