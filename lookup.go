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

// MaxLookupN is how many servers LookupN can be asked for at most.
const MaxLookupN = 256

// maxKeyErrors bounds how many *LookupErrors the error of one LookupAll joins.
const maxKeyErrors = 8

// LookupOption says what the answer of one lookup must be worth. The zero
// LookupOption asks for nothing.
type LookupOption struct {
	fresh  bool
	maxAge time.Duration
	cold   bool
}

// Fresh makes a lookup count only the owner's own word, asked for and given during
// the lookup. It costs at least one request unless this member is the owner.
func Fresh() LookupOption { return LookupOption{fresh: true} }

// MaxAge bounds how long ago an answer may have been certain that is not the
// owner's own word, given during the lookup. Zero or less is Fresh. It can only
// make the bound that holds without it tighter, which is the StabilizeInterval,
// and at most a second.
func MaxAge(d time.Duration) LookupOption {
	return LookupOption{fresh: d <= 0, maxAge: max(0, d)}
}

// Cold makes a lookup leave out what earlier lookups have taught: it goes by this
// member's pointers and fingers alone, a client's by its contacts. It is slower,
// never better, and there to measure and, with Trace, to see the path.
func Cold() LookupOption { return LookupOption{cold: true} }

// options are those that the options of one lookup come to.
func options(opts []LookupOption) (o routing.Options) {
	for _, opt := range opts {
		o.Fresh = o.Fresh || opt.fresh
		o.Cold = o.Cold || opt.cold
		if opt.maxAge > 0 && (o.MaxAge == 0 || opt.maxAge < o.MaxAge) {
			o.MaxAge = opt.maxAge
		}
	}
	return o
}

// Lookup finds the member that is responsible for key: LookupContext with a
// bound of 5 s.
func (c *Concord) Lookup(key []byte) (Server, error) {
	return c.LookupContext(context.Background(), key)
}

// LookupContext finds the member that is responsible for key, the first at or
// after the key's identifier. Unless options say otherwise it answers from
// memory, without asking anybody, where the owner itself has said less than a
// second ago that the key is its own.
//
// The answer is advice: it was right at some instant, and the owner may since
// have died or handed the key on. The server asked should check Owns, and its
// client call Reject and look up again if it refuses.
//
// It waits no longer than ctx allows, or 5 s if ctx has no deadline. The error
// is ErrNotStarted, ErrNotJoined, ErrIsolated, ErrStopped, ErrSuperseded, or a
// *LookupError.
func (c *Concord) LookupContext(ctx context.Context, key []byte, opts ...LookupOption) (Server, error) {
	n, err := c.started()
	if err != nil {
		return Server{}, err
	}
	return finding{&n.Finder, c.space}.lookup(ctx, key, opts)
}

// LookupN finds the member that is responsible for key and the n−1 members after
// it, distinct, the nearest first: where copies of what belongs to key are kept.
// They are fewer than n if the ring has fewer. n is from 1 to MaxLookupN, anything
// else is ErrCount.
//
// Of each of them holds what LookupContext says of the one that it finds, but that
// a member's word on its successors suffices where memory does not answer: one
// request for up to SuccessorCount of them, and none if memory knows all n. With Fresh or MaxAge each is looked up.
// The time is bounded as that of LookupContext, for all together; with an error
// come those that were found.
func (c *Concord) LookupN(ctx context.Context, key []byte, n int, opts ...LookupOption) ([]Server, error) {
	live, err := c.started()
	if err != nil {
		return nil, err
	}
	return finding{&live.Finder, c.space}.lookupN(ctx, key, n, opts)
}

// LookupAll finds for each of the keys the member that is responsible for it. Of
// each holds what LookupContext says. What memory does not answer costs about one
// request for each owner, not for each key; they go to up to 16 owners at once.
//
// The servers are in the order of the keys. Those of keys whose lookup failed are
// zero; then the error joins up to eight *LookupErrors and says how many more
// there are. The time is bounded as that of LookupContext, for all together: many
// keys in a large ring want a ctx with a deadline of their own.
func (c *Concord) LookupAll(ctx context.Context, keys [][]byte, opts ...LookupOption) ([]Server, error) {
	n, err := c.started()
	if err != nil {
		return make([]Server, len(keys)), err
	}
	return finding{&n.Finder, c.space}.lookupAll(ctx, keys, opts)
}

// Reject reports that s, named as the owner of key, did not serve it. For two
// intervals, at least a second, lookups at this member go round s, and name it as
// an owner only on its own word, given during the lookup; if it is this member's
// successor, that is looked into at once.
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
	if len(opts) == 0 && ctx.Err() == nil { // the others may be answered from memory, too, but not as quickly
		if owner := f.finder.Local(id, 0); owner != nil {
			return Server{Name: owner.Name, Id: owner.ID, Address: owner.Addr}, nil
		}
	}
	return f.search(ctx, key, id, opts)
}

// search is lookup of a key that hashes to id.
func (f finding) search(ctx context.Context, key []byte, id uint64, opts []LookupOption) (Server, error) {
	r, err := f.finder.Lookup(ctx, id, options(opts))
	if err != nil {
		return Server{}, lookupError(key, err)
	}
	return server(r.Owner), nil
}

func (f finding) lookupN(ctx context.Context, key []byte, n int, opts []LookupOption) ([]Server, error) {
	if n < 1 || n > MaxLookupN {
		return nil, fmt.Errorf("%w: %d, from 1 to %d are allowed", ErrCount, n, MaxLookupN)
	}
	found, err := f.finder.LookupN(ctx, f.space.ID(key), n, options(opts))
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
		f.finder.Reject(ring.Member{ID: s.Id, Name: s.Name, Addr: s.Address})
	}
}
