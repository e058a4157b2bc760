package concord

import (
	"cmp"
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

// Server identifies a member.
type Server struct {
	// Name is the name of the member, unique in the ring.
	Name string `json:"name"`
	// Id is the identifier of the member, the hash of its name. It is the member's place on the
	// circle, unless the member has VirtualNodes. In an argument it may be left out.
	Id uint64 `json:"id,string"`
	// Address is the host:port at which other members reach the member.
	Address string `json:"address"`
}

// Concord is one member of a ring. Use New to make one. Its methods may be called concurrently, and
// from OnRangeChange.
type Concord struct {
	cfg   Config
	space ring.Space
	id    uint64
	dns   bootstrap.DNS // nil: host names are left to the network

	calls sync.Mutex // held during a call of OnRangeChange

	live atomic.Pointer[node.Node] // node while the member runs; set under mu

	mu       sync.Mutex
	node     *node.Node          // nil before Start
	kept     *keeper             // nil without StateDir
	port     *grpctransport.Port // nil before ServerOptions
	tr       transport.Transport // of node
	addr     string              // as advertised, once started
	bound    string              // as bound, once started
	services []*Service          // that have not ended
	joining  *node.Node          // the one on which a Create or Join is under way
}

// New makes a member that is in no ring. It does nothing else and never fails: Start reports
// mistakes in cfg. Name and Id return the member's name and identifier from now on.
func New(cfg Config) *Concord {
	cfg.TLS = cfg.TLS.clone()
	cfg.Meta = slices.Clone(cfg.Meta)
	cfg.Observer = cfg.Observer.copied()
	c := &Concord{cfg: cfg, space: cfg.space(), dns: resolver(cfg.Network)}
	c.id = c.space.ID([]byte(cfg.Name))
	return c
}

// options are those of the transport of a member.
func (c *Config) options() transport.Options {
	o := transport.Options{
		Bind: c.BindAddr, Advertise: c.AdvAddr,
		SuccessorCount: c.successors(),
		Limits:         c.Limits.inside(),
		IdleTimeout:    max(10*time.Second, 32*c.interval()),
		GetClient:      c.TLS.client(),
		Inject:         c.Observer.Inject,
		Extract:        c.Observer.Extract,
		Prompt:         c.Observer.Serve == nil && c.Observer.Extract == nil && c.Authorize == nil && (c.TLS == nil || c.TLS.Identity == nil),
	}
	if c.TLS != nil {
		o.Server, o.Client = c.TLS.Server, c.TLS.Client
	}
	return o
}

// open opens the transport of a member, which receives by port if that is not nil.
func (c *Config) open(port *grpctransport.Port) (transport.Transport, error) {
	if port == nil {
		tr, err := network(c.Network).OpenMember(c.options())
		if err != nil {
			err = &ConfigError{Field: "BindAddr", Err: err}
		}
		return tr, err
	}
	o := grpctransport.ConfigOf(c.options())
	o.Port, o.Advertise = port, c.AdvAddr
	tr, err := grpctransport.Listen(o)
	if err != nil {
		return nil, fmt.Errorf("concord: %w", err)
	}
	return tr, nil
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

// Start makes the member listen, or receive on the server that it is registered on. The member is
// in no ring until Create or Join has succeeded.
//
// Each mistake in the Config is a *ConfigError. Start returns all of them, joined, and starts
// nothing. It returns ErrStarted if the member is running. A member that was stopped can be started
// again. It is a new incarnation of its name then.
func (c *Concord) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live.Load() != nil {
		return ErrStarted
	}
	port := c.registered()
	if err := c.cfg.validate(port != nil); err != nil {
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
	tr, err := c.cfg.open(port)
	if err != nil {
		return err
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
			// A call of a former incarnation may still run.
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
	former, origin := kept.incarnation(), kept.origin()
	if c.node != nil {
		origin = cmp.Or(c.node.Snapshot().View.Origin, origin)
		if last := c.node.Snapshot().View.Self.Incarnation; node.Plausible(last, time.Now()) {
			former = max(former, last)
		}
	}
	c.addr, c.bound, c.kept, c.tr, started = addr, tr.Addr(), kept, tr, true
	n = node.New(node.Config{
		Self:        c.cfg.first(c.space, addr),
		Identifiers: int(c.cfg.VirtualNodes),
		Variants:    kept.variants(),
		Space:       c.space,
		Settings:    c.space.Settings(c.cfg.Cluster),
		Seed:        network(c.cfg.Network).Seed(c.cfg.Name),
		Successors:  c.cfg.successors(),
		Interval:    c.cfg.interval(),
		MinMembers:  int(c.cfg.MinMembers),
		Lease:       c.cfg.Lease,
		Log:         log,
		OnRange:     onRange,
		Meta:        c.cfg.Meta,
		Zone:        c.cfg.Zone,
		Former:      former,
		Origin:      origin,
		Resolver:    &bootstrap.Resolver{DNS: c.dns},
		Remember:    kept.remember(),
		Inspect:     inspectMember(c.cfg.TLS, Peer{Server: Server{Name: c.cfg.Name, Id: c.id, Address: addr}, Cluster: c.cfg.Cluster}),
		Admit:       c.cfg.admission().admits(),
		Proven:      c.cfg.TLS != nil && c.cfg.TLS.Identity != nil,
		Takeover:    c.takeover,
		Prepare:     c.prepare,
		GivesUp:     c.givesUp,
		FoundAfter:  c.cfg.foundAfter(),
		Remains:     c.resume,
		Ended:       kept.end,
		Observer:    c.cfg.Observer.inside(),
	}, tr)
	for _, err := range notes {
		n.Note(slog.LevelError, "state not used", slog.Any("err", err))
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
	if _, drained := c.node.Weight(); drained {
		return nil, ErrDrained
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

// Create creates a ring of which this member is the only one. Others can join it. If MinMembers is
// above one, the member is isolated until enough members have joined. If Config.StateDir remembers
// a ring that still exists, the two rings become one. Any other ring stays apart from this one.
//
// With VirtualNodes, Create returns when the member has all its identifiers and a range at each, or
// after 30 s. Those that are missing then come later. If Serve was called before, each but the
// first waits for a Take; see Config.TakeoverTimeout. An isolated member has no range to wait for.
//
// The error is ErrNotStarted, ErrStopped, ErrAlreadyJoined or ErrSuperseded.
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
	ctx, cancel := context.WithTimeout(context.Background(), joinTimeout)
	defer cancel()
	_ = n.Standing(ctx) // those that are missing come later
	return nil
}

// Join makes the member join the ring that the addresses lead to. The addresses are tried in order,
// and one that answers is enough. Join returns nil when the member's successor has accepted it and,
// if that can be told, its predecessor has it as its successor. With VirtualNodes, Join then waits
// for the other identifiers, and a range at each, until its time is up. Those that are missing come
// later.
//
// An address is host:port, or the name of SRV records without a port, such as
// "_concord._tcp.example.com". Join resolves names anew at each try. A host with several IPv4 or
// IPv6 addresses stands for all of them, and so do SRV records. A name that cannot be resolved
// counts as an address that does not answer. With TLS, the certificate of a member must be valid
// for the host of its address as given, or for the target of the SRV record.
//
// After the given addresses Join tries those that Config.StateDir remembers. If there are any, no
// address has to be given. The member keeps all addresses, to find the ring again when it has lost
// everybody it knew.
//
// Join retries while success is possible: when an address refuses or does not answer, when the
// member there is not in a ring itself, or when the address leads back to this member but may lead
// to another later, as the address of a load balancer does. It does so until ctx ends, or for 30 s
// if ctx has no deadline.
//
// If the program has called [Concord.Serve] with a Take, Join calls that before the member owns
// anything, and waits for it; see Config.TakeoverTimeout. The 30 s are as much longer then.
//
// Join fails without another try in these cases:
//
//   - Another member has the name or the identifier, or advertises the same AdvAddr.
//   - Every address leads to another kind of ring, or is certainly the member's own: its AdvAddr,
//     the address it listens on, or that port on the loopback interface.
//   - The members of the ring cannot reach this one at its AdvAddr. That must happen twice in a row
//     or, if the AdvAddr is a name, for 30 s, because names take time to become known.
//
// The error is a *JoinError, which matches the error of ctx and the last cause at each address.
// After an error the member is in no ring, and Join may be called again.
func (c *Concord) Join(ctx context.Context, addrs ...string) error {
	return c.join(ctx, addrs, 0)
}

// JoinOrCreate makes the member join the ring that the addresses lead to, as Join does. If there is
// no such ring, it creates one together with the other members that call JoinOrCreate. Every member
// of a cluster can call it with the same addresses at any time: at the first start, after a
// restart, and after a restart of all members.
//
// If a member of a ring answers at any address, JoinOrCreate joins that ring. Otherwise the members
// that call JoinOrCreate tell each other so. The one with the smallest identifier among those that
// the addresses lead to creates the ring, and the others join it. It creates the ring as soon as
// every address is the AdvAddr of a member that searches and agrees, and after Config.FoundAfter in
// any case. A member that no address leads to never creates a ring but waits for the others. A
// member that is given only its own AdvAddr creates the ring as soon as it has answered itself
// there.
//
// Addresses are as with Join. Names are resolved again every second. An address may be that of a
// load balancer in front of all members, and it may be the only one: the members that answer there
// tell each other their own addresses. If a name stands for several members, if only one name is
// given, or if no member advertises the address, there may be members that are not known yet. Then
// the ring is not created before Config.FoundAfter. Members that Config.StateDir remembers count as
// given, so the members of a ring find each other after all of them have restarted. JoinOrCreate
// does not wait for remembered members that do not answer.
//
// Members that cannot reach each other for FoundAfter may create several rings. If the members were
// given an address in common, these rings become one when the members can reach each other. Until
// then each ring owns every key, unless Config.MinMembers prevents that.
//
// JoinOrCreate returns nil when the member has joined a ring, as Join does, or has created one. It
// retries until ctx ends, forever if ctx does not end. It fails at once where Join does. It also
// fails at once if every other address leads to another kind of ring, or if nothing given is an
// address.
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
		ownLast(out.Attempts)
		return out
	}
	by := seeking{bare: c.cfg.TLS == nil}
	if _, ok := ctx.Deadline(); !ok && found == 0 {
		by.own = joinTimeout + c.takeoverWanted()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, by.own)
		defer cancel()
	}
	c.forgetPrepared()
	return c.onceServed(ctx, func() error {
		if err := n.JoinOrFound(ctx, usable, recalled, found); err != nil {
			c.forgetPrepared()
			return joinError(err, by, n.Snapshot().View.Self, slices.Clip(out.Attempts))
		}
		_ = n.Standing(ctx) // those that are missing come later
		return nil
	})
}

// Stop stops the member at once. To the other members it has failed; use Leave to leave the ring
// properly. When Stop returns, the member has no goroutine, connection or listener left. Stop waits
// at most 100 ms for a running call of OnRangeChange or the LogHandler, because that call may be
// the one that stops the member.
// It does not wait for running calls of a Handler: their contexts end, and Service.Done tells when
// they have returned.
//
// Stop may be called at any time and more than once. It always returns nil.
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

// LeaveOption changes what Leave does.
type LeaveOption interface{ leave(*leaving) }

// leaving is what the options of a Leave say.
type leaving struct{ returning time.Duration }

type returning time.Duration

func (d returning) leave(l *leaving) { l.returning = time.Duration(d) }

// Returning says that the member is to be back in its place within d, as after a restart of its
// process. Release is not called: the data stays where it is. The successor is told, and its
// program, too: Event.Returns is set, and with Handler.StandIn it serves the range without a Take
// until then. A d of more than an hour counts as an hour. With a d of zero or less, Leave does what
// it does without Returning.
func Returning(d time.Duration) LeaveOption { return returning(d) }

// Leave leaves the ring and stops the member. First it waits for Release of every Service; see
// [Concord.Serve]. Then it tells the neighbours, and answers requests until they have acknowledged
// that they no longer rely on this member. Then it does what Stop does.
//
// If ctx ends before that, Leave stops the member all the same and returns the error of ctx. It
// returns ErrNotStarted or ErrStopped if the member is not running.
func (c *Concord) Leave(ctx context.Context, options ...LeaveOption) error {
	n, err := c.started()
	if err != nil {
		return err
	}
	var l leaving
	for _, o := range options {
		o.leave(&l)
	}
	c.release(ctx, l.returning > 0)
	err = n.Leave(ctx, l.returning)
	c.mu.Lock()
	if c.node == n {
		c.live.Store(nil)
	}
	c.mu.Unlock()
	return err
}

// Name returns the name of the member.
func (c *Concord) Name() string { return c.cfg.Name }

// Id returns the identifier of the member, the hash of its name.
func (c *Concord) Id() uint64 { return c.id }

// Address returns the address that the member advertises. That is AdvAddr or, if AdvAddr is empty,
// the bound address, which is known after Start.
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

// Joined reports whether the member is in a ring. An isolated member is in a ring, too; see Status.
func (c *Concord) Joined() bool {
	_, ok := c.snapshot()
	return ok
}

// Range returns the range of identifiers that the member is responsible for: those after its
// predecessor, up to and including its own. Of a member with VirtualNodes it is the range of the
// first of its identifiers; see Ranges.
//
// It returns the zero Range, which contains nothing, before Create or Join has succeeded, after
// Join until the member knows its predecessor, and after Stop or Leave. While the member is
// isolated, Range returns the range that OnRangeChange was called with last; see Config.MinMembers.
func (c *Concord) Range() Range {
	s, ok := c.snapshot()
	if !ok || !s.View.HasArc {
		return Range{}
	}
	return rangeOf(s.View.Arc)
}

// Ranges returns all ranges that the member is responsible for: one, or one for each identifier of
// a member with VirtualNodes, in the order in which they end. It is nil where Range is zero.
func (c *Concord) Ranges() []Range {
	n, err := c.started()
	if err != nil {
		return nil
	}
	return ranges(n)
}

// ranges are those of a running member.
func ranges(n *node.Node) (out []Range) {
	for _, x := range n.Nodes() {
		if r, ok := rangeAt(x); ok {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.End, b.End) })
	return out
}

// rangeAt is the range of a running member at one of its identifiers, if it has one.
func rangeAt(x *node.Node) (Range, bool) {
	v := x.Snapshot().View
	if !v.Phase.InRing() || !v.HasArc {
		return Range{}, false
	}
	return rangeOf(v.Arc), true
}

// Owns reports whether the key lies in one of the Ranges and the member may serve it. It returns
// false while the member has no range, while it is isolated, and while it is in doubt.
//
// A member is in doubt if the process hung, because others may have taken it for dead meanwhile. It
// finds by its monotonic clock that it hung: a round begins late by more than a StabilizeInterval
// and more than half a second. It owns nothing until its successor has named it as predecessor
// again, which takes one round trip if nobody has taken over. A member that is alone is never in
// doubt. Linux does not count the time for which a machine is suspended.
//
// With VirtualNodes, that successor may be another identifier of the member, which hung with it
// and names it all the same. Then, without a Lease, Owns can return true for keys that others have
// taken over, until these have answered: see docs/GUARANTEES.md.
//
// With Config.Lease, Owns returns true only while the member's lease holds.
func (c *Concord) Owns(key []byte) bool {
	_, ok := c.OwnsEpoch(key)
	return ok
}

// OwnsEpoch reports what Owns reports, and the epoch by which the member owns the key. Whenever
// another member takes over an identifier, its epoch rises. So the epoch is a fencing token: a
// store that remembers the greatest epoch that a key was written with, and refuses lesser ones, is
// not changed by a member that another has replaced.
//
// The epoch rises also when the member owns the same range again after others have, and it never
// falls. Two members that have not heard of each other, as on both sides of a partition, can own a
// key by the same epoch; docs/GUARANTEES.md says when. The epoch is 0 if the member does not own
// the key, and never 0 if it does.
func (c *Concord) OwnsEpoch(key []byte) (epoch uint64, ok bool) {
	n := c.live.Load()
	if n == nil {
		return 0, false
	}
	return n.Owns(c.space.ID(key))
}

// OwnedUntil reports what Owns reports, and when the member's lease ends if it is not renewed. See
// Config.Lease. The time has a reading of the monotonic clock, by which it should be compared, as
// time.Until does. The lease is renewed all the time, and the time becomes later: in each round, or
// about twelve times in a Lease if that is less often.
//
// The time is an upper bound. Until then nobody takes over from a member that hangs, crashes or is
// cut off, so what it does with the key must have ended by then. A joiner does not wait for that
// time: it takes over at once, and Owns is false from then on. Work that must not overlap with that
// of a joiner asks Owns again, or is fenced by the epoch; see [Concord.OwnsEpoch].
//
// Without a Lease, OwnedUntil returns the zero time and false. A member that is alone in its ring
// needs nobody's grant: the time is a Lease from the call.
func (c *Concord) OwnedUntil(key []byte) (until time.Time, ok bool) {
	n := c.live.Load()
	if n == nil {
		return time.Time{}, false
	}
	return n.OwnedUntil(c.space.ID(key))
}

// KeyID returns the identifier of a key, which is the low HashBits bits of its hash. The key
// belongs to the member that has it in one of its Ranges.
func (c *Concord) KeyID(key []byte) uint64 { return c.space.ID(key) }

// Successors returns the next members clockwise, nearest first. There are at most SuccessorCount.
// Of a member with VirtualNodes they are those after its first identifier; LookupN names the
// members that should keep what belongs to a key.
// In a ring of one it returns the member itself. It returns nil while the member is in no ring, and
// an empty slice while the member has lost all successors and searches for others.
func (c *Concord) Successors() []Server {
	s, ok := c.snapshot()
	if !ok {
		return nil
	}
	if s.View.Alone && len(s.View.Succ) == 0 {
		return []Server{server(s.View.Self)}
	}
	return c.following(s.View)
}

// following are the members of a list, each once, without this one, which follows itself if it
// has VirtualNodes.
func (c *Concord) following(v *protocol.View) []Server {
	out := servers(v.Succ)[:0]
	for _, x := range v.Succ {
		if y := server(x); !slices.Contains(out, y) && (y.Id != c.id || v.Self.Choice == 0) {
			out = append(out, y)
		}
	}
	if len(out) == 0 && len(v.Succ) > 0 {
		out = append(out, server(v.Self)) // all identifiers of the ring are its own
	}
	return out
}

// Predecessor returns the nearest member counterclockwise and reports whether it is known. In a
// ring of one it returns the member itself. Of a member with VirtualNodes it is the one before its
// first identifier, which can be the member itself.
func (c *Concord) Predecessor() (Server, bool) {
	s, ok := c.snapshot()
	switch {
	case !ok:
		return Server{}, false
	case !s.View.Pred.IsZero():
		return server(s.View.Pred), true
	case s.View.Alone:
		return server(s.View.Self), true
	}
	return Server{}, false
}

// member is what s stands for. Without an Id, a name stands for its hash: to the other members, 0
// is whoever answers at the address.
func member(space ring.Space, s Server) ring.Member {
	if s.Id == 0 && s.Name != "" {
		s.Id = space.ID([]byte(s.Name))
	}
	return ring.Member{ID: s.Id, Name: s.Name, Addr: s.Address}
}

func server(m ring.Member) Server {
	return Server{Name: m.Name, Id: m.Process(), Address: m.Addr}
}

func servers(ms []ring.Member) []Server {
	out := make([]Server, len(ms))
	for i, m := range ms {
		out[i] = server(m)
	}
	return slices.Clip(out)
}
