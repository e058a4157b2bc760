// Package shared lets several members of one process receive at one address, over one
// transport: requests are led to them by the identifier that they are meant for.
package shared

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
	"github.com/ollelogdahl/concord/internal/routing"
	"github.com/ollelogdahl/concord/internal/transport"
)

// Hub is one transport that several members share. It is closed when the last of their
// transports is. Its methods may be called concurrently.
type Hub struct {
	tr      transport.Transport
	address string // by which others reach it

	mu      sync.Mutex // guards all below, and the fields of members that are marked so
	members []*Member  // that are not closed, the first made first
	serving bool       // tr is
	closed  bool
}

// New makes a Hub of a transport that nobody uses otherwise, and that does not serve yet.
// What its members ask at the address, by which others reach them, does not travel.
func New(tr transport.Transport, address string) *Hub {
	h := &Hub{tr: tr, address: address}
	tr.Broken(func(addr string) {
		for _, m := range h.all() {
			if f := m.told(); f.broken != nil {
				f.broken(addr)
			}
		}
	})
	tr.Refused(func(r transport.Refusal) {
		if all := h.all(); len(all) > 0 {
			if f := all[0].told(); f.refused != nil {
				f.refused(r)
			}
		}
	})
	return h
}

// Member makes the transport of the member at an identifier. The first that was made, of
// those that are not closed, also receives what is meant for nobody in particular and for
// identifiers at which no member of the Hub stands, and hears of connections and requests
// that are refused. It fails if the identifier has a member, or the Hub is closed.
func (h *Hub) Member(id uint64) (*Member, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errors.New("the transport is closed")
	}
	for _, m := range h.members {
		if m.id == id {
			return nil, fmt.Errorf("a member at identifier %d uses the transport already", id)
		}
	}
	m := &Member{hub: h, id: id, served: make(chan struct{})}
	m.ctx, m.end = context.WithCancel(context.Background())
	h.members = append(h.members, m)
	return m, nil
}

func (h *Hub) all() []*Member {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*Member(nil), h.members...)
}

// at is the member that a request meant for to is led to, nil if all are closed. A request
// that is at work holds it.
func (h *Hub) at(to ring.Member) *Member {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found *Member
	for _, m := range h.members {
		if m.id == to.ID && (to.ID != 0 || to.Incarnation != 0) {
			found = m
		}
	}
	if found == nil && len(h.members) > 0 {
		found = h.members[0]
	}
	if found != nil {
		found.running.Add(1)
	}
	return found
}

// Member is the transport of one member of a Hub.
type Member struct {
	hub *Hub
	id  uint64

	ctx     context.Context // ends at Close
	end     context.CancelFunc
	running sync.WaitGroup // requests, in both directions; added to with hub.mu held and the member not closed

	handler transport.Handler // set before served is closed
	served  chan struct{}

	// The hub's mu guards the rest.
	tell   told
	limit  int
	closed bool
}

// told are the functions that a member is told by.
type told struct {
	broken  func(addr string)
	refused func(transport.Refusal)
}

var _ transport.Transport = (*Member)(nil)

func (m *Member) told() told {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	return m.tell
}

// Addr implements transport.Transport: all members of a Hub have one.
func (m *Member) Addr() string { return m.hub.tr.Addr() }

// Serve implements transport.Transport. The first member that serves lets the Hub receive.
// Requests for members that do not serve yet wait.
func (m *Member) Serve(h transport.Handler) {
	m.handler = h
	close(m.served)
	m.hub.mu.Lock()
	begin := !m.hub.serving
	m.hub.serving = true
	m.hub.mu.Unlock()
	if begin {
		m.hub.tr.Serve((*receiver)(m.hub))
	}
}

// begin counts a question under way, unless the member is closed.
func (m *Member) begin(ctx context.Context) (context.Context, func(), *protocol.Failure) {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	if m.closed {
		return nil, nil, closedFailure()
	}
	m.running.Add(1)
	ctx, end := m.bounded(ctx)
	return ctx, func() { end(); m.running.Done() }, nil
}

// bounded is ctx until the member is closed.
func (m *Member) bounded(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func closedFailure() *protocol.Failure {
	return &protocol.Failure{Kind: protocol.Cancelled, Detail: "the transport is closed"}
}

// Maintain implements transport.Transport.
func (m *Member) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	ctx, done, f := m.begin(ctx)
	if f != nil {
		return protocol.Reply{}, f
	}
	defer done()
	if env.To.Addr == m.hub.address {
		return (*receiver)(m.hub).Maintain(ctx, inside(env, req.Origin), req)
	}
	return m.hub.tr.Maintain(ctx, env, req)
}

// inside is an envelope that does not leave the process, as its receiver sees it.
func inside(env transport.Envelope, o *ring.Origin) transport.Envelope {
	env.Host, env.Source = "", netip.Addr{}
	env.Origin = o
	return env
}

// Route implements transport.Transport.
func (m *Member) Route(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
	ctx, done, f := m.begin(ctx)
	if f != nil {
		return routing.Answer{}, f
	}
	defer done()
	if env.To.Addr == m.hub.address {
		return (*receiver)(m.hub).Route(ctx, inside(env, env.Origin), q)
	}
	return m.hub.tr.Route(ctx, env, q)
}

// Meta implements transport.Transport.
func (m *Member) Meta(ctx context.Context, env transport.Envelope) ([]byte, error) {
	ctx, done, f := m.begin(ctx)
	if f != nil {
		return nil, f
	}
	defer done()
	if env.To.Addr == m.hub.address {
		return (*receiver)(m.hub).Meta(ctx, inside(env, env.Origin))
	}
	return m.hub.tr.Meta(ctx, env)
}

// Map implements transport.Transport.
func (m *Member) Map(ctx context.Context, env transport.Envelope, req *ringmap.Request) (ringmap.Reply, error) {
	ctx, done, f := m.begin(ctx)
	if f != nil {
		return ringmap.Reply{}, f
	}
	defer done()
	if env.To.Addr == m.hub.address {
		kept := req.Clone()
		reply, err := (*receiver)(m.hub).Map(ctx, inside(env, env.Origin), &kept)
		return reply.Clone(), err
	}
	return m.hub.tr.Map(ctx, env, req)
}

// Subscribe implements transport.Transport.
func (m *Member) Subscribe(ctx context.Context, env transport.Envelope, sub *ringmap.Subscription, f func(*ringmap.Update) error) error {
	ctx, done, failure := m.begin(ctx)
	if failure != nil {
		return failure
	}
	defer done()
	if env.To.Addr == m.hub.address {
		return (*receiver)(m.hub).Subscribe(ctx, inside(env, env.Origin), sub, f)
	}
	return m.hub.tr.Subscribe(ctx, env, sub, f)
}

// Broken implements transport.Transport. Every member hears of every connection, since all
// use them.
func (m *Member) Broken(f func(addr string)) {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	m.tell.broken = f
}

// Refused implements transport.Transport. Only the first member of a Hub hears of what is
// refused, once.
func (m *Member) Refused(f func(transport.Refusal)) {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	m.tell.refused = f
}

// Intake implements transport.Transport: that of the Hub.
func (m *Member) Intake() transport.Intake { return m.hub.tr.Intake() }

// Admit implements transport.Transport. The members of a Hub are one process and admit
// whom it does: the last f counts for all.
func (m *Member) Admit(f func(transport.Claim) error) { m.hub.tr.Admit(f) }

// Limit implements transport.Transport. The Hub keeps as many as all members together.
func (m *Member) Limit(idle int) {
	m.hub.mu.Lock()
	defer m.hub.mu.Unlock()
	m.limit = max(0, idle)
	m.hub.limit()
}

func (h *Hub) limit() {
	sum := 0
	for _, m := range h.members {
		sum += m.limit
	}
	h.tr.Limit(sum)
}

// Connections implements transport.Transport: those of the Hub.
func (m *Member) Connections() int { return m.hub.tr.Connections() }

// Written implements transport.Transport: by all members of the Hub.
func (m *Member) Written() uint64 { return m.hub.tr.Written() }

// Close implements transport.Transport. It ends the member's requests in both directions,
// and the Hub if the member was its last. Whoever has asked it gets a failure of kind
// Cancelled while others of the Hub are left. A handler must not call it.
func (m *Member) Close() error {
	h := m.hub
	h.mu.Lock()
	if m.closed {
		h.mu.Unlock()
		m.running.Wait()
		return nil
	}
	m.closed = true
	for i, x := range h.members {
		if x == m {
			h.members = append(h.members[:i:i], h.members[i+1:]...)
			break
		}
	}
	last := len(h.members) == 0 && !h.closed
	if last {
		h.closed = true
	} else {
		h.limit()
	}
	h.mu.Unlock()
	var err error
	if last {
		err = h.tr.Close() // at whoever asks, the connection ends before an answer comes
	}
	m.end()
	m.running.Wait()
	return err
}

// receiver leads requests to members.
type receiver Hub

var _ transport.Handler = (*receiver)(nil)

// lead hands a request to the member that it is meant for, once that serves.
func lead[T any](r *receiver, ctx context.Context, env transport.Envelope, serve func(context.Context, transport.Handler) (T, error)) (out T, err error) {
	m := (*Hub)(r).at(env.To)
	if m == nil {
		return out, closedFailure()
	}
	defer m.running.Done()
	ctx, end := m.bounded(ctx)
	defer end()
	select {
	case <-m.served:
	case <-ctx.Done():
		return out, closedFailure()
	}
	return serve(ctx, m.handler)
}

func (r *receiver) Maintain(ctx context.Context, env transport.Envelope, req protocol.Request) (protocol.Reply, error) {
	return lead(r, ctx, env, func(ctx context.Context, h transport.Handler) (protocol.Reply, error) {
		return h.Maintain(ctx, env, req)
	})
}

func (r *receiver) Route(ctx context.Context, env transport.Envelope, q routing.Query) (routing.Answer, error) {
	return lead(r, ctx, env, func(ctx context.Context, h transport.Handler) (routing.Answer, error) {
		return h.Route(ctx, env, q)
	})
}

func (r *receiver) FindSuccessor(ctx context.Context, env transport.Envelope, id uint64) (ring.Member, error) {
	return lead(r, ctx, env, func(ctx context.Context, h transport.Handler) (ring.Member, error) {
		return h.FindSuccessor(ctx, env, id)
	})
}

func (r *receiver) Meta(ctx context.Context, env transport.Envelope) ([]byte, error) {
	return lead(r, ctx, env, func(ctx context.Context, h transport.Handler) ([]byte, error) {
		return h.Meta(ctx, env)
	})
}

func (r *receiver) Map(ctx context.Context, env transport.Envelope, req *ringmap.Request) (ringmap.Reply, error) {
	return lead(r, ctx, env, func(ctx context.Context, h transport.Handler) (ringmap.Reply, error) {
		return h.Map(ctx, env, req)
	})
}

func (r *receiver) Subscribe(ctx context.Context, env transport.Envelope, sub *ringmap.Subscription, send func(*ringmap.Update) error) error {
	_, err := lead(r, ctx, env, func(ctx context.Context, h transport.Handler) (struct{}, error) {
		return struct{}{}, h.Subscribe(ctx, env, sub, send)
	})
	return err
}
