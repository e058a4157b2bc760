package concord

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord/internal/bootstrap"
	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/transport"
	grpctransport "github.com/ollelogdahl/concord/internal/transport/grpc"
)

// joinTimeout bounds a Join whose context has no deadline.
const joinTimeout = 30 * time.Second

// Range is an arc of the circle: the identifiers clockwise after Start, up to
// and including End. Start == End is the whole circle, except in the zero Range,
// which is no range at all: it contains nothing.
type Range struct {
	// Start is the identifier before the first on the arc.
	Start uint64 `json:"start,string"`
	// End is the last identifier on the arc.
	End uint64 `json:"end,string"`
}

// Contains reports whether the identifier lies on the arc. The zero Range contains
// nothing.
func (r Range) Contains(id uint64) bool {
	return r != Range{} && ring.Arc{After: r.Start, To: r.End}.Contains(id)
}

// rangeOf is the Range of an arc that a member has. It is never the zero Range: the
// whole circle of the member whose identifier is 0 is told from 1 to 1.
func rangeOf(a ring.Arc) Range {
	if a == (ring.Arc{}) {
		return Range{Start: 1, End: 1}
	}
	return Range{Start: a.After, End: a.To}
}

// Server is a member as the others know it.
type Server struct {
	// Name is unique in the ring.
	Name string `json:"name"`
	// Id is the member's place on the circle, the hash of its name.
	Id uint64 `json:"id,string"`
	// Address is the host:port at which the others reach it.
	Address string `json:"address"`
}

// Concord is one member of a ring. Make it with New. Its methods may be called
// concurrently, and from OnRangeChange.
type Concord struct {
	cfg   Config
	space ring.Space
	id    uint64
	dns   bootstrap.DNS // nil: host names are left to the network

	calls sync.Mutex // held during a call of OnRangeChange

	live atomic.Pointer[node.Node] // node while the member runs; set under mu

	mu      sync.Mutex
	node    *node.Node // nil before Start
	kept    *keeper    // nil without StateDir
	addr    string     // as advertised, once started
	bound   string     // as bound, once started
	joining *node.Node // the one on which a Create or Join is under way
}

// New makes a member that is in no ring. It does nothing yet and never fails:
// what is wrong with cfg is an error of Start. Name and Id are known from now
// on.
func New(cfg Config) *Concord {
	cfg.TLS = cfg.TLS.clone()
	cfg.Meta = slices.Clone(cfg.Meta)
	cfg.Observer = cfg.Observer.copied()
	c := &Concord{cfg: cfg, space: cfg.space(), dns: resolver(cfg.Network)}
	c.id = c.space.ID([]byte(cfg.Name))
	return c
}

// open opens the transport of a member.
func (c *Config) open() (transport.Transport, error) {
	o := transport.Options{
		Bind: c.BindAddr, Advertise: c.AdvAddr,
		SuccessorCount: c.successors(),
		IdleTimeout:    max(10*time.Second, 64*c.interval()),
		GetClient:      c.TLS.client(),
		Inject:         c.Observer.Inject,
		Extract:        c.Observer.Extract,
	}
	if c.TLS != nil {
		o.Server, o.Client = c.TLS.Server, c.TLS.Client
	}
	return network(c.Network).OpenMember(o)
}

// network is n, or TCP if that is nil.
func network(n transport.Network) transport.Network {
	if n == nil {
		return grpctransport.TCP{}
	}
	return n
}

// resolver is what names are resolved by on n; nil if n does that.
func resolver(n transport.Network) bootstrap.DNS {
	if n == nil {
		return net.DefaultResolver
	}
	return nil
}

// Start begins to listen. The member is in no ring until Create or Join has
// succeeded. A mistake in the Config is a *ConfigError; all of them are
// reported at once, joined, and nothing is started.
//
// A member that was stopped can be started again; it is then a new incarnation
// of its name. Start returns ErrStarted if the member is running.
func (c *Concord) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live.Load() != nil {
		return ErrStarted
	}
	if err := c.cfg.validate(); err != nil {
		return err
	}
	kept, notes, err := openKeeper(&c.cfg)
	if err != nil {
		return err
	}
	started := false
	defer func() {
		if !started {
			kept.end()
		}
	}()
	tr, err := c.cfg.open()
	if err != nil {
		return &ConfigError{Field: "BindAddr", Err: err}
	}
	addr, err := c.cfg.advertised(tr.Addr())
	if err != nil {
		tr.Close()
		return err
	}
	var log *slog.Logger
	if c.cfg.LogHandler != nil {
		log = slog.New(c.cfg.LogHandler)
	}
	var n *node.Node
	var onRange func(ring.Arc)
	if f := c.cfg.OnRangeChange; f != nil {
		onRange = func(a ring.Arc) {
			// A call of a former life may still run.
			c.calls.Lock()
			defer c.calls.Unlock()
			c.mu.Lock() // Start holds it until n is set
			current := c.live.Load() == n
			c.mu.Unlock()
			if !current {
				return // stopped while it waited
			}
			f(rangeOf(a))
		}
	}
	former := kept.incarnation()
	if c.node != nil {
		if last := c.node.Snapshot().View.Self.Incarnation; node.Plausible(last, time.Now()) {
			former = max(former, last)
		}
	}
	c.addr, c.bound, c.kept, started = addr, tr.Addr(), kept, true
	n = node.New(node.Config{
		Self:       ring.Member{ID: c.id, Name: c.cfg.Name, Addr: addr},
		Space:      c.space,
		Settings:   c.space.Settings(c.cfg.Cluster),
		Seed:       network(c.cfg.Network).Seed(c.cfg.Name),
		Successors: c.cfg.successors(),
		Interval:   c.cfg.interval(),
		MinMembers: int(c.cfg.MinMembers),
		Log:        log,
		OnRange:    onRange,
		Meta:       c.cfg.Meta,
		Former:     former,
		Resolver:   &bootstrap.Resolver{DNS: c.dns},
		Remember:   kept.remember(),
		Inspect:    inspectMember(c.cfg.TLS, addr),
		Ended:      kept.end,
		Observer:   c.cfg.Observer.inside(),
	}, tr)
	for _, err := range notes {
		n.Note(slog.LevelError, "state not used", slog.Any("error", err))
	}
	c.node = n
	c.live.Store(n)
	return nil
}

// started returns the running node, or why there is none.
func (c *Concord) started() (*node.Node, error) {
	if n := c.live.Load(); n != nil {
		return n, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live.Load(), c.ended()
}

// ended is why no node runs, nil if one does. Callers hold mu.
func (c *Concord) ended() error {
	switch {
	case c.live.Load() != nil:
		return nil
	case c.node != nil:
		return ErrStopped
	}
	return ErrNotStarted
}

// beginJoin claims the running node for one Create or Join.
func (c *Concord) beginJoin() (*node.Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ended(); err != nil {
		return nil, err
	}
	if c.joining == c.node || c.node.Snapshot().View.Phase.InRing() {
		return nil, ErrAlreadyJoined
	}
	c.joining = c.node
	return c.node, nil
}

func (c *Concord) endJoin(n *node.Node) {
	c.mu.Lock()
	if c.joining == n {
		c.joining = nil
	}
	c.mu.Unlock()
}

// Create makes the member a ring of one, which others can join. With MinMembers
// above one it is isolated until enough of them have. If Config.StateDir remembers
// members of a ring that lives, the two rings become one.
func (c *Concord) Create() error {
	n, err := c.beginJoin()
	if err != nil {
		return err
	}
	defer c.endJoin(n)
	if n.Snapshot().View.Phase == protocol.Superseded {
		return ErrSuperseded
	}
	if !n.Create(slices.DeleteFunc(c.recalled(), func(addr string) bool { return addr == c.Address() })...) {
		if _, err := c.started(); err != nil {
			return err
		}
		return ErrAlreadyJoined
	}
	return nil
}

// Join makes the member one of the ring that the addresses lead to; they are
// tried in order, and one that answers suffices. It returns nil when the
// member's successor has accepted it, and its predecessor points at it if that
// can be told.
//
// An address is host:port, or the name of SRV records without a port, as
// "_concord._tcp.example.com". A name is resolved anew at each try; a host with
// several IPv4 or IPv6 addresses, and SRV records, stand for as many addresses. A
// name that cannot be resolved is like an address that is silent. A certificate must
// be good for the host as it was given, with SRV records for their target. After
// the addresses come those that Config.StateDir remembers; with these, none need
// be given. All are kept, to find the ring again when everybody known is lost.
//
// What can get better (an address that refuses or is silent, a member that has
// not joined itself, an address that leads to this member now and may lead to
// another later, as one of a load balancer does) is tried again until ctx ends, or
// for 30 s if ctx has no deadline. What cannot (a name taken; every address of
// another kind of ring, or this member's own for certain: its AdvAddr, the address
// that it has bound, the loopback with that port; another member that advertises the
// same AdvAddr; an AdvAddr where the others do not reach it, twice in a row or, as
// names take a while to be known, for 30 s if it is a name) is an error without
// further tries. The error is a *JoinError,
// which matches ctx's error and the last cause of each address. After an error the
// member is in no ring and can try again.
func (c *Concord) Join(ctx context.Context, addrs ...string) error {
	return c.join(ctx, addrs, 0)
}

// JoinOrCreate makes the member one of the ring that the addresses lead to, as
// Join does, or founds one with the others that look for one. Every member of a
// cluster can call it with the same addresses, at any time: at the first start,
// after a restart, after a restart of all.
//
// If a member of a ring answers at any address, that ring is joined. Otherwise
// those that call JoinOrCreate tell each other of it, and the one with the
// smallest identifier to which one of the addresses leads founds; the others join
// it. It does so at once if all of the addresses are the AdvAddrs of members that
// look and agree, and after Config.FoundAfter in any case. A member to which none of
// the addresses leads never founds, but waits for those that are there. Given no
// address but its AdvAddr, it founds as soon as it has answered there itself.
//
// An address may be that of a load balancer with all members behind it, and the only
// one: those that answer there tell each other their own addresses. Whether an
// address is a member's own or leads to anyone is not known, unless the member
// advertises it; so nobody founds before Config.FoundAfter then.
//
// Addresses are as with Join. Names are resolved again every second. If one stands
// for several members, or only one name was given, there may be others that the DNS
// does not list yet: then it founds after Config.FoundAfter, not before. What
// Config.StateDir remembers counts as given, so that a ring whose members all
// restart is found again though every address given is gone; but those that do not
// answer are no reason to wait.
//
// Members that cannot reach each other for as long as FoundAfter may found
// several rings. These become one when they can reach each other; until then
// each owns every key, unless Config.MinMembers prevents that.
//
// It goes on until it has succeeded or ctx ends: for ever, if ctx does not. Only
// what cannot get better is an error at once, as with Join. That includes that
// every other address belongs to another kind of ring, and that none given is
// an address at all. Nil means what it means with Join, or that the member
// has founded.
func (c *Concord) JoinOrCreate(ctx context.Context, addrs ...string) error {
	return c.join(ctx, addrs, c.cfg.foundAfter())
}

// join joins a ring, or founds one after the time found if that is above zero.
func (c *Concord) join(ctx context.Context, addrs []string, found time.Duration) error {
	n, err := c.beginJoin()
	if err != nil {
		return err
	}
	defer c.endJoin(n)
	if err := ctx.Err(); err != nil {
		return &JoinError{Err: err}
	}
	if n.Snapshot().View.Phase == protocol.Superseded {
		return ErrSuperseded
	}
	out := &JoinError{}
	var usable []string
	for _, a := range addrs {
		switch err := bootstrap.Check(a); {
		case err != nil:
			out.Attempts = append(out.Attempts, JoinAttempt{Address: a, Err: fmt.Errorf("%w: %w", ErrAddress, err)})
		case c.own(a) && found == 0:
			out.Attempts = append(out.Attempts, JoinAttempt{Address: a, Other: c.self(), Err: ErrSelf})
		case c.own(a):
			usable = append(usable, c.Address())
		default:
			usable = append(usable, a)
		}
	}
	recalled := c.recalled()
	if found == 0 {
		recalled = slices.DeleteFunc(recalled, func(addr string) bool { return addr == c.Address() })
	}
	if len(usable)+len(recalled) == 0 {
		if len(addrs) == 0 {
			out.Attempts = []JoinAttempt{{Err: fmt.Errorf("%w: no address given", ErrAddress)}}
		}
		return out
	}
	if _, ok := ctx.Deadline(); !ok && found == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, joinTimeout)
		defer cancel()
	}
	if err := n.JoinOrFound(ctx, usable, recalled, found); err != nil {
		return joinError(err, n.Snapshot().View.Self, out.Attempts)
	}
	return nil
}

// Stop ends the member at once. To the others that is a failure; Leave is the
// polite way. When it returns, nothing of the member is left: no goroutine, no
// connection, no listener. Only a call of OnRangeChange, or of the LogHandler,
// that is being made is not waited for longer than 100 ms, since it may be the
// one that stops. Stop may be called at any time and more than once; it returns
// nil.
func (c *Concord) Stop() error {
	c.mu.Lock()
	n := c.node
	c.live.Store(nil)
	c.mu.Unlock()
	if n != nil {
		n.Close()
	}
	return nil
}

// Leave tells the neighbours, goes on answering until they have acknowledged
// that they do without this member, and then does what Stop does. If ctx ends
// before that, the member is stopped all the same and ctx's error returned.
func (c *Concord) Leave(ctx context.Context) error {
	n, err := c.started()
	if err != nil {
		return err
	}
	err = n.Leave(ctx)
	c.mu.Lock()
	if c.node == n {
		c.live.Store(nil)
	}
	c.mu.Unlock()
	return err
}

// Name returns the member's name.
func (c *Concord) Name() string { return c.cfg.Name }

// Id returns the member's identifier, the hash of its name.
func (c *Concord) Id() uint64 { return c.id }

// Address returns the address that the member advertises: AdvAddr, or the bound
// address once it has started.
func (c *Concord) Address() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.addr == "" {
		return c.cfg.AdvAddr
	}
	return c.addr
}

// own reports whether an address given is this member's own for certain: the one that
// it advertises or has bound, or one of this machine alone with the bound port. Any
// other may be that of a load balancer, though it has led back here.
func (c *Concord) own(given string) bool {
	advertised := c.Address()
	c.mu.Lock()
	bound := c.bound
	c.mu.Unlock()
	if given == advertised || given == bound {
		return true
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		return false
	}
	boundHost, boundPort, err := net.SplitHostPort(bound)
	if err != nil || port != boundPort {
		return false
	}
	at, _ := netip.ParseAddr(boundHost)
	everywhere := boundHost == "" || at.IsUnspecified()
	if host == "localhost" {
		return everywhere || at == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || at == netip.IPv6Loopback()
	}
	to, err := netip.ParseAddr(host)
	return err == nil && to.IsLoopback() && everywhere
}

func (c *Concord) self() Server {
	return Server{Name: c.cfg.Name, Id: c.id, Address: c.Address()}
}

// snapshot is the newest picture of a member that is in a ring.
func (c *Concord) snapshot() (*node.Snapshot, bool) {
	n, err := c.started()
	if err != nil {
		return nil, false
	}
	s := n.Snapshot()
	return s, s.View.Phase.InRing()
}

// Joined reports whether the member is in a ring. One that is isolated is; Status
// tells.
func (c *Concord) Joined() bool {
	_, ok := c.snapshot()
	return ok
}

// Range returns the range of identifiers that the member is responsible for:
// from its predecessor, excluded, to itself, included. It is the zero Range, which
// contains nothing, before Create or Join has succeeded, until a member
// that has joined knows its predecessor, and after Stop or Leave. While the member
// is isolated, see Config.MinMembers, it is what OnRangeChange was told last.
func (c *Concord) Range() Range {
	s, ok := c.snapshot()
	if !ok || !s.View.HasArc {
		return Range{}
	}
	return rangeOf(s.View.Arc)
}

// Owns reports whether the key lies in Range. It is false while there is none, and
// while the member is isolated.
func (c *Concord) Owns(key []byte) bool {
	s, ok := c.snapshot()
	return ok && s.View.HasArc && !s.View.Isolated && s.View.Arc.Contains(c.space.ID(key))
}

// Successors returns the next members clockwise, nearest first, at most
// SuccessorCount. In a ring of one that is the member itself. Nil while the
// member is in no ring; empty while all it knew are lost and it looks for others.
func (c *Concord) Successors() []Server {
	s, ok := c.snapshot()
	if !ok {
		return nil
	}
	if s.View.Lone && len(s.View.Succ) == 0 {
		return []Server{server(s.View.Self)}
	}
	return servers(s.View.Succ)
}

// Predecessor returns the nearest member counter-clockwise, and whether it is
// known. In a ring of one that is the member itself.
func (c *Concord) Predecessor() (Server, bool) {
	s, ok := c.snapshot()
	switch {
	case !ok:
		return Server{}, false
	case !s.View.Pred.IsZero():
		return server(s.View.Pred), true
	case s.View.Lone:
		return server(s.View.Self), true
	}
	return Server{}, false
}

func server(m ring.Member) Server { return Server{Name: m.Name, Id: m.ID, Address: m.Addr} }

func servers(ms []ring.Member) []Server {
	out := make([]Server, len(ms))
	for i, m := range ms {
		out[i] = server(m)
	}
	return slices.Clip(out)
}
