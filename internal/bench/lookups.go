package bench

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/ring"
)

// keyCount is how many keys are looked up in turn. It is a power of two.
const keyCount = 4096

// Keys are n random keys of 16 bytes for which keep holds; the same for the same
// seed. The error says that they cannot be found.
func Keys(n int, seed uint64, keep func(key []byte) bool) ([][]byte, error) {
	rng := rand.New(rand.NewPCG(seed, 16))
	out := make([][]byte, 0, n)
	for range n * 4096 {
		key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, rng.Uint64()), rng.Uint64())
		if keep(key) {
			if out = append(out, key); len(out) == n {
				return out, nil
			}
		}
	}
	return nil, errors.New("no member owns enough of the circle to find keys of its own")
}

// Lookups are the cases in which one member of a ring looks keys up, and what
// they are held against. It asks as an application does, through the face.
type Lookups struct {
	Asker *concord.Concord // the member that owns most
	// Others are keys whose owners are other members, Own those of the asker.
	Others, Own [][]byte

	members []*concord.Concord
	owners  []int    // of Others, as numbers in ids
	one     [][]byte // of Others, those of one owner
	ids     []uint64
	bare    *Bare
}

// NewLookups prepares the ideal ring c and as many bare gRPC servers, to be
// closed by Close. Every key is looked up first, and must be answered right.
func NewLookups(ctx context.Context, c *cluster.Cluster) (*Lookups, error) {
	if err := ideal(ctx, c); err != nil {
		return nil, err
	}
	members := c.Members()
	if len(members) < 2 {
		return nil, fmt.Errorf("%d members: no lookup leads to another one", len(members))
	}
	width := func(m *concord.Concord) uint64 { r := m.Range(); return r.End - r.Start }
	l := &Lookups{members: members, Asker: slices.MaxFunc(members, func(a, b *concord.Concord) int { return cmp.Compare(width(a), width(b)) })}
	for _, m := range members {
		l.ids = append(l.ids, m.Id())
	}
	var err error
	if l.Others, err = Keys(keyCount, 1, func(k []byte) bool { return !l.Asker.Owns(k) }); err != nil {
		return nil, err
	}
	if l.Own, err = Keys(keyCount, 2, l.Asker.Owns); err != nil {
		return nil, err
	}
	first := make(map[int][]byte) // a key of each owner
	for _, k := range l.Others {
		at := search(l.ids, ring.SHA256(k))
		if l.owners = append(l.owners, at); at == l.owners[0] {
			l.one = append(l.one, k)
		}
		if first[at] == nil {
			first[at] = k
		}
	}
	right := func(key []byte, opts ...concord.LookupOption) error {
		s, err := l.Asker.LookupContext(ctx, key, opts...)
		if err != nil {
			return err
		}
		if want := c.Truth(key); s != want {
			return fmt.Errorf("lookup of %x gives %s, not %s", key, s.Name, want.Name)
		}
		return nil
	}
	// The owners' own words are heard first: what was confirmed before may be
	// older than the ring is ideal.
	for at := range l.ids {
		if k := first[at]; k != nil {
			if err := right(k, concord.Fresh()); err != nil {
				return nil, err
			}
		}
	}
	for _, k := range slices.Concat(l.Others, l.Own) {
		if err := right(k); err != nil {
			return nil, err
		}
	}
	l.bare, err = NewBare(len(members), routeSizes(l.Asker.Status(), members[l.owners[0]].Status()))
	if err != nil {
		return nil, err
	}
	for i := range members {
		if err := l.bare.Connect(ctx, i); err != nil {
			l.bare.Close()
			return nil, err
		}
	}
	return l, nil
}

// Close ends the bare servers. The ring is its owner's.
func (l *Lookups) Close() { l.bare.Close() }

// search is the number of the first of the sorted identifiers that is id or after
// it on the circle.
func search(ids []uint64, id uint64) int {
	lo, hi := 0, len(ids)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if ids[mid] < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(ids) {
		return 0
	}
	return lo
}

// sink keeps results in use, so that the compiler does not leave work out.
var sink atomic.Uint64

// caseCount is how many cases there are.
const caseCount = 5

// Cases are the calls and lookups to be timed, in this order: grpc-unary,
// floor-hash-search, lookup-owned, lookup-confirmed, lookup-fresh.
func (l *Lookups) Cases() []Case {
	asked := func() uint64 { return l.Asker.Status().Counters.RouteRequests }
	return []Case{
		{Name: "grpc-unary", Loop: l.unary(l.owners), RPCs: 1},
		{Name: "floor-hash-search", Batch: Batch, Loop: l.floor},
		{Name: "lookup-owned", Batch: Batch, Loop: l.lookup(l.Own), Requests: asked},
		{Name: "lookup-confirmed", Batch: Batch, Loop: l.lookup(l.Others), Requests: asked},
		{Name: "lookup-fresh", Loop: l.fresh(l.Others), Requests: asked},
	}
}

// More are cases that only make bench times: lookup-all-members, of random keys by random
// members, and grpc-unary-one and lookup-fresh-one, which ask one member only.
func (l *Lookups) More() []Case {
	asked := func() uint64 { return l.Asker.Status().Counters.RouteRequests }
	return []Case{
		{Name: "lookup-all-members", Batch: Batch, Loop: l.anyMember},
		{Name: "grpc-unary-one", Loop: l.unary(l.owners[:1]), RPCs: 1},
		{Name: "lookup-fresh-one", Loop: l.fresh(l.one), Requests: asked},
	}
}

// anyMember is a lookup of a random key by a random member.
func (l *Lookups) anyMember(_ context.Context, from, n int) error {
	var sum uint64
	rng := rand.New(rand.NewPCG(uint64(from), 7))
	for range n {
		x := rng.Uint64()
		s, err := l.members[x%uint64(len(l.members))].Lookup(l.Others[(x>>32)%keyCount])
		if err != nil {
			return err
		}
		sum += s.Id
	}
	sink.Add(sum)
	return nil
}

// unary is a call of the bare server that stands for the owner of a key.
func (l *Lookups) unary(owners []int) func(context.Context, int, int) error {
	return func(ctx context.Context, from, n int) error {
		for i := from; i < from+n; i++ {
			if err := l.bare.Call(ctx, owners[i%len(owners)]); err != nil {
				return err
			}
		}
		return nil
	}
}

// floor is the least that a lookup from memory must do: hash the key, search the
// members, look at the clock to see whether that still holds.
func (l *Lookups) floor(_ context.Context, from, n int) error {
	confirmed := time.Now()
	var sum uint64
	for i := from; i < from+n; i++ {
		at := search(l.ids, ring.SHA256(l.Others[i%keyCount]))
		if time.Since(confirmed) < time.Hour {
			sum += l.ids[at]
		}
	}
	sink.Add(sum)
	return nil
}

// lookup is a lookup as one asks for it by default.
func (l *Lookups) lookup(keys [][]byte) func(context.Context, int, int) error {
	return func(_ context.Context, from, n int) error {
		var sum uint64
		for i := from; i < from+n; i++ {
			s, err := l.Asker.Lookup(keys[i%keyCount])
			if err != nil {
				return err
			}
			sum += s.Id
		}
		sink.Add(sum)
		return nil
	}
}

// fresh is a lookup that counts only the owner's own word.
func (l *Lookups) fresh(keys [][]byte) func(context.Context, int, int) error {
	return func(ctx context.Context, from, n int) error {
		for i := from; i < from+n; i++ {
			if _, err := l.Asker.LookupContext(ctx, keys[i%len(keys)], concord.Fresh()); err != nil {
				return err
			}
		}
		return nil
	}
}
