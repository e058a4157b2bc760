package concord

import (
	"context"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// LookupOption says what the answer of one lookup must be worth. The zero
// LookupOption asks for nothing.
type LookupOption struct {
	fresh  bool
	maxAge time.Duration
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

// Lookup finds the member that is responsible for key: LookupContext with a
// bound of 5 s.
func (c *Concord) Lookup(key []byte) (Server, error) {
	return c.LookupContext(context.Background(), key)
}

// LookupContext finds the member that is responsible for key, the first at or
// after the key's identifier. Unless options say otherwise the word of that
// member's predecessor suffices, which each gets anew in every round.
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
	var o routing.Options
	for _, opt := range opts {
		o.Fresh = o.Fresh || opt.fresh
		if opt.maxAge > 0 && (o.MaxAge == 0 || opt.maxAge < o.MaxAge) {
			o.MaxAge = opt.maxAge
		}
	}
	id := c.space.ID(key)
	if err := ctx.Err(); err == nil && !o.Fresh {
		if owner, ok := n.Local(id, o.MaxAge); ok {
			return server(owner), nil
		}
	}
	r, err := n.Lookup(ctx, id, o)
	if err != nil {
		return Server{}, lookupError(key, err)
	}
	return server(r.Owner), nil
}

// Reject reports that s, named as the owner of key, did not serve it. For two
// intervals, at least a second, lookups at this member go round s, and name it as
// an owner only on its own word, given during the lookup; if it is this member's
// successor, that is looked into at once.
func (c *Concord) Reject(key []byte, s Server) {
	n, err := c.started()
	if err != nil || s.Address == "" {
		return
	}
	n.Reject(ring.Member{ID: s.Id, Name: s.Name, Addr: s.Address})
}
