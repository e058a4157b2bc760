package concord

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ollelogdahl/concord/internal/node"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// MaxLookupN is the largest number of servers that LookupN accepts.
const MaxLookupN = 256

// maxKeyErrors bounds how many *LookupErrors the error of one LookupAll joins.
const maxKeyErrors = 8

// LookupOption says which answers a lookup accepts. The zero LookupOption changes nothing. If
// several options are given, the strictest counts.
type LookupOption struct {
	fresh    bool
	maxAge   time.Duration
	cold     bool
	verified bool
}

// Fresh makes a lookup accept only what the owner itself confirms during the lookup. It costs at
// least one request, unless this member is the owner. Lookups of keys of one member that begin at
// the same time, while others of such keys are under way, share a request.
func Fresh() LookupOption { return LookupOption{fresh: true} }

// MaxAge makes a lookup accept answers that were confirmed at most d ago. If d is zero or negative,
// MaxAge is Fresh. Without MaxAge, answers may be ten StabilizeIntervals old at a member and at a
// client that has subscribed, and one second at another client. A longer d does not change that.
func MaxAge(d time.Duration) LookupOption {
	return LookupOption{fresh: d <= 0, maxAge: max(0, d)}
}

// Cold makes a lookup ignore what earlier lookups have taught. A member then uses only its
// neighbours and fingers, and a client only its contacts. The answer is never better and the lookup
// is slower. Use Cold to measure and, with Trace, to see the whole path.
func Cold() LookupOption { return LookupOption{cold: true} }

// Verified makes a lookup rely on no single member. It searches for the owner twice, with members
// in the second search that were not asked in the first, and accepts an owner only if both searches
// name it and it confirms that itself during the lookup. It is Fresh and Cold, too. So one member
// that lies cannot make a verified lookup name a wrong owner, and two can only if one of them is
// the owner that is named. The exception is one with VirtualNodes that stands with one identifier
// between the owner that it falsely is at another and the last member asked.
//
// If an Identity is set, of TLSConfig or of ClientConfig, one search suffices for an owner whose
// own identifier is that of the key: its certificate proves its name, and nobody can be nearer.
//
// If no two searches agree, the lookup searches up to four times in all, and then fails with
// ErrUnverified. A client that knows one member only, and a ring with a SuccessorCount of 1, leave
// no second way to most owners. A verified lookup costs about twice the requests of a fresh one.
func Verified() LookupOption { return LookupOption{fresh: true, cold: true, verified: true} }

// options are those that the options of one lookup come to.
func options(opts []LookupOption) (o routing.Options) {
	for _, opt := range opts {
		o.Fresh = o.Fresh || opt.fresh
		o.Cold = o.Cold || opt.cold
		o.Verified = o.Verified || opt.verified
		if opt.maxAge > 0 && (o.MaxAge == 0 || opt.maxAge < o.MaxAge) {
			o.MaxAge = opt.maxAge
		}
	}
	return o
}

// Lookup returns the member that is responsible for key. It is LookupContext with a deadline of 5
// s.
func (c *Concord) Lookup(key []byte) (Server, error) {
	return c.LookupContext(context.Background(), key)
}

// LookupContext returns the member that is responsible for key, which is the first one at or after
// the identifier of the key. By default it answers from memory, without a request, if the member's
// map of the ring names the owner and was certified within the last ten StabilizeIntervals, or if
// the owner has confirmed its range within the last StabilizeInterval, and the last second.
//
// The answer is advice: it was right at some instant, and the owner may have died or handed over
// the key since. The server that is asked for the key should check Owns. If it refuses, its client
// should call Reject and look up the key again.
//
// LookupContext returns when ctx ends, or after 5 s if ctx has no deadline. The error is
// ErrNotStarted, ErrNotJoined, ErrIsolated, ErrStopped, ErrSuperseded or a *LookupError.
func (c *Concord) LookupContext(ctx context.Context, key []byte, opts ...LookupOption) (Server, error) {
	n, err := c.started()
	if err != nil {
		return Server{}, err
	}
	return finding{&n.Finder, c.space}.lookup(ctx, key, opts)
}

// LookupN returns n members that should keep what belongs to key. The first is the one that is
// responsible for it; the others come after it on the circle. The members are distinct, also if
// they have VirtualNodes. There are fewer than n if the ring is smaller.
//
// If no member has a Config.Zone, the others are the n−1 members after the first. If members have
// zones, the others are the nearest after the first that are in zones of their own, in clockwise
// order. If there are fewer zones than n, the nearest of the rest follow. Only the first 8n members
// are looked at. All members and clients choose alike.
//
// The first server is found as by LookupContext. The others may come from the successor list of the
// member before them, which can name a member that has just died. One request gives up to
// SuccessorCount of them. LookupN sends no request if memory knows all members that it looks at.
// With Fresh or MaxAge, it looks up each of them.
//
// The time for all servers together is bounded as by LookupContext. If n is not between 1 and
// MaxLookupN, the error is ErrCount. Otherwise it is one that LookupContext returns, and LookupN
// returns the servers that it has found, too.
func (c *Concord) LookupN(ctx context.Context, key []byte, n int, opts ...LookupOption) ([]Server, error) {
	live, err := c.started()
	if err != nil {
		return nil, err
	}
	return finding{&live.Finder, c.space}.lookupN(ctx, key, n, opts)
}

// LookupRange returns what LookupN returns for the keys of r. The caller need not know any of the
// keys. It is for ranges of one member at one identifier, and for parts of them: LookupN names the
// same servers for all keys of such a range. Those that a [Handler] is called with are such ranges,
// and so are those of Ranges. If r has keys of several members, the servers are those of its last
// keys. If r is the zero Range, the error is ErrRange. The LookupError of a lookup that fails has
// no Key.
func (c *Concord) LookupRange(ctx context.Context, r Range, n int, opts ...LookupOption) ([]Server, error) {
	live, err := c.started()
	if err != nil {
		return nil, err
	}
	if r == (Range{}) {
		return nil, ErrRange
	}
	return finding{&live.Finder, c.space}.lookupNAt(ctx, nil, r.End, n, opts)
}

// LookupAll returns the member that is responsible for each of the keys, in the order of the keys.
// Each is found as by LookupContext. The keys that memory does not answer cost about one request
// for each owner, not for each key. LookupAll asks up to 16 owners at once.
//
// If some lookups fail, their servers are zero. The error then joins up to eight *LookupErrors and
// says how many more there are. If the member cannot look up any key, the error is ErrNotStarted,
// ErrNotJoined, ErrIsolated, ErrStopped or ErrSuperseded. The time for all keys together is bounded
// as by LookupContext, so many keys in a large ring need a ctx with a longer deadline.
func (c *Concord) LookupAll(ctx context.Context, keys [][]byte, opts ...LookupOption) ([]Server, error) {
	n, err := c.started()
	if err != nil {
		return make([]Server, len(keys)), err
	}
	return finding{&n.Finder, c.space}.lookupAll(ctx, keys, opts)
}

// Reject tells the member that s did not serve key although a lookup named it as the owner. Before
// Start, and after Stop or Leave, it does nothing. For two StabilizeIntervals, and at least a
// second, lookups of this member go around s. They name it as an owner only if s itself confirms it
// during the lookup. If s is the member's successor, the member checks it at once.
func (c *Concord) Reject(key []byte, s Server) {
	if n, err := c.started(); err == nil {
		finding{&n.Finder, c.space}.reject(s)
	}
}

// finding is what the lookups of a Concord and of a Client are made of.
type finding struct {
	finder *node.Finder
	space  ring.Space
}

func (f finding) lookup(ctx context.Context, key []byte, opts []LookupOption) (Server, error) {
	id := f.space.ID(key)
	// Memory may answer lookups with options, too, but not as quickly.
	if len(opts) == 0 && ctx.Err() == nil {
		if owner := f.finder.Local(id, 0); owner != nil {
			return server(*owner), nil
		}
	}
	return f.search(ctx, key, id, opts)
}

// search is lookup of a key that hashes to id.
func (f finding) search(ctx context.Context, key []byte, id uint64, opts []LookupOption) (Server, error) {
	owner, err := f.finder.Owner(ctx, id, options(opts))
	if err != nil {
		return Server{}, lookupError(key, err)
	}
	return server(owner), nil
}

func (f finding) lookupN(ctx context.Context, key []byte, n int, opts []LookupOption) ([]Server, error) {
	return f.lookupNAt(ctx, key, f.space.ID(key), n, opts)
}

// lookupNAt is lookupN of a key that hashes to id.
func (f finding) lookupNAt(ctx context.Context, key []byte, id uint64, n int, opts []LookupOption) ([]Server, error) {
	if n < 1 || n > MaxLookupN {
		return nil, fmt.Errorf("%w: n is %d, must be between 1 and %d", ErrCount, n, MaxLookupN)
	}
	found, err := f.finder.LookupN(ctx, id, n, options(opts))
	if err != nil {
		err = lookupError(key, err)
	}
	return servers(found), err
}

func (f finding) lookupAll(ctx context.Context, keys [][]byte, opts []LookupOption) ([]Server, error) {
	ids := make([]uint64, len(keys))
	for i, key := range keys {
		ids[i] = f.space.ID(key)
	}
	owners, errs := f.finder.LookupAll(ctx, ids, options(opts))
	var first []error
	failed := 0
	for i, err := range errs {
		var le *node.LookupError
		switch {
		case err == nil:
			continue
		case !errors.As(err, &le):
			return servers(owners), publicError(err) // which is the same for all
		case len(first) < maxKeyErrors:
			first = append(first, lookupError(keys[i], err))
		}
		failed++
	}
	if more := failed - len(first); more > 0 {
		first = append(first, fmt.Errorf("concord: lookups of %d more keys failed", more))
	}
	return servers(owners), errors.Join(first...)
}

func (f finding) reject(s Server) {
	if s.Address != "" {
		f.finder.Reject(member(f.space, s))
	}
}
