package ringmap

import (
	"math/bits"
	"slices"
)

// Table is the claims of a map in the order of their identifiers. The circle is cut into
// blocks of equal width, so that a search looks into one block, and a change copies one.
// A Table that was handed out is never changed.
type Table struct {
	bits   uint
	shift  uint     // an identifier belongs to the block of its bits above these
	blocks []*block // 2^(bits-shift)
	ranks  []int32  // how many claims are in the blocks before; one more than blocks
}

// block is the claims of one slice of the circle. It is never changed.
type block struct {
	claims []Claim
	sum    uint64 // of their hashes
}

var noClaims = &block{}

// A block has about perBlock claims on average: between half and twice that.
const perBlock = 32

// maxBlocks bounds the list of blocks.
const maxBlocks = 1 << 12

func newTable(width uint) Table {
	return Table{bits: width, shift: width, blocks: []*block{noClaims}, ranks: []int32{0, 0}}
}

// NewTable makes a table of claims, which are in the order of their identifiers and do not
// overlap, on a circle of 2^width points.
func NewTable(width uint, claims []Claim) *Table {
	t := newTable(width)
	t.fill(claims, nil)
	return &t
}

func (t *Table) fill(claims []Claim, pool *Pool) {
	n := 1
	for n*perBlock < len(claims) && n < maxBlocks && n < 1<<min(t.bits, 30) {
		n *= 2
	}
	t.shift = t.bits - uint(bits.TrailingZeros(uint(n)))
	t.blocks = make([]*block, n)
	t.ranks = make([]int32, n+1)
	for i, from := 0, 0; i < n; i++ {
		to := from
		for to < len(claims) && t.index(claims[to].ID) == i {
			to++
		}
		t.blocks[i] = pool.block(slices.Clip(claims[from:to]))
		t.ranks[i+1] = int32(to)
		from = to
	}
}

// Len is the number of claims.
func (t *Table) Len() int { return int(t.ranks[len(t.blocks)]) }

// index is the block of an identifier.
func (t *Table) index(id uint64) int {
	return int(id >> t.shift) // 0 if it is shifted by all of its bits
}

// from is the place in the block at which its identifiers begin to be at least id.
func (b *block) from(id uint64) int {
	lo, hi := 0, len(b.claims)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if b.claims[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// near is from for a block of 2^width points in which identifiers are spread as those of
// hashes are: it begins where id would be if they were spread evenly.
func (b *block) near(id uint64, width uint) int {
	n := len(b.claims)
	hi, _ := bits.Mul64(id<<(64-width), uint64(n))
	k := int(hi)
	for range 8 {
		switch {
		case k > 0 && b.claims[k-1].ID >= id:
			k--
		case k < n && b.claims[k].ID < id:
			k++
		default:
			return k
		}
	}
	return b.from(id)
}

// next is the first claim that ends at id or clockwise after it, nil if there is none.
func (t *Table) next(id uint64) *Claim {
	i := t.index(id)
	b := t.blocks[i]
	if k := b.near(id, t.shift); k < len(b.claims) {
		return &b.claims[k]
	}
	for range t.blocks {
		if i++; i == len(t.blocks) {
			i = 0
		}
		if b := t.blocks[i]; len(b.claims) > 0 {
			return &b.claims[0]
		}
	}
	return nil
}

// get is the claim of an identifier, nil if there is none.
func (t *Table) get(id uint64) *Claim {
	b := t.blocks[t.index(id)]
	if k := b.from(id); k < len(b.claims) && b.claims[k].ID == id {
		return &b.claims[k]
	}
	return nil
}

// rank is how many claims have an identifier below id.
func (t *Table) rank(id uint64) int {
	i := t.index(id)
	return int(t.ranks[i]) + t.blocks[i].from(id)
}

// at is the claim of a rank, which wraps.
func (t *Table) at(rank int) *Claim {
	n := t.Len()
	if rank %= n; rank < 0 {
		rank += n
	}
	lo, hi := 0, len(t.blocks)-1 // the last block that begins at rank or before
	for lo < hi {
		mid := int(uint(lo+hi+1) >> 1)
		if int(t.ranks[mid]) <= rank {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return &t.blocks[lo].claims[rank-int(t.ranks[lo])]
}

// between is how many claims have identifiers clockwise after after, up to and including
// to. If both are the same, these are all.
func (t *Table) between(after, to uint64) int {
	n := t.upTo(to) - t.upTo(after)
	if to <= after {
		n += t.Len()
	}
	return n
}

// upTo is how many claims have an identifier of at most id.
func (t *Table) upTo(id uint64) int {
	r := t.rank(id)
	if t.get(id) != nil {
		r++
	}
	return r
}

// sum is the sum of the hashes of the claims in (after, to].
func (t *Table) sum(after, to uint64) uint64 {
	if after < to {
		return t.sumTo(to) - t.sumTo(after)
	}
	return t.total() - t.sumTo(after) + t.sumTo(to)
}

// sumTo is the sum of the hashes of claims with an identifier of at most id.
func (t *Table) sumTo(id uint64) uint64 {
	var sum uint64
	i := t.index(id)
	for _, b := range t.blocks[:i] {
		sum += b.sum
	}
	b := t.blocks[i]
	k := b.from(id)
	if k < len(b.claims) && b.claims[k].ID == id {
		k++
	}
	if 2*k <= len(b.claims) {
		for j := range k {
			sum += b.claims[j].hash()
		}
		return sum
	}
	sum += b.sum
	for j := k; j < len(b.claims); j++ {
		sum -= b.claims[j].hash()
	}
	return sum
}

// put adds a claim, or replaces that of the same identifier.
func (t *Table) put(c Claim, pool *Pool) {
	i := t.index(c.ID)
	b := t.blocks[i]
	k := b.from(c.ID)
	had := k < len(b.claims) && b.claims[k].ID == c.ID
	sum, n := b.sum+c.hash(), len(b.claims)+1
	if had {
		sum -= b.claims[k].hash()
		n--
	}
	if known := pool.find(sum, n); known != nil {
		t.blocks[i] = known
	} else {
		claims := make([]Claim, 0, n)
		claims = append(append(claims, b.claims[:k]...), c)
		if had {
			k++
		}
		t.blocks[i] = pool.add(&block{claims: append(claims, b.claims[k:]...), sum: sum})
	}
	if !had {
		t.recount(i, 1, pool)
	}
}

// remove takes out the claim of an identifier, which is there.
func (t *Table) remove(id uint64, pool *Pool) {
	i := t.index(id)
	b := t.blocks[i]
	k := b.from(id)
	sum, n := b.sum-b.claims[k].hash(), len(b.claims)-1
	if known := pool.find(sum, n); known != nil {
		t.blocks[i] = known
	} else {
		claims := append(make([]Claim, 0, n), b.claims[:k]...)
		t.blocks[i] = pool.add(&block{claims: append(claims, b.claims[k+1:]...), sum: sum})
	}
	t.recount(i, -1, pool)
}

// recount notes that block i has more claims or fewer, and cuts the circle anew if the
// blocks are too full or too empty.
func (t *Table) recount(i int, by int32, pool *Pool) {
	for k := i + 1; k < len(t.ranks); k++ {
		t.ranks[k] += by
	}
	n, blocks := t.Len(), len(t.blocks)
	if n > 2*perBlock*blocks && blocks < maxBlocks && t.shift > 0 || blocks > 1 && 4*n < perBlock*blocks {
		t.fill(slices.Collect(t.all()), pool)
	}
}

// all yields the claims in the order of their identifiers.
func (t *Table) all() func(yield func(Claim) bool) {
	return func(yield func(Claim) bool) {
		for _, b := range t.blocks {
			for _, c := range b.claims {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// clone is a table that can be changed without changing t.
func (t *Table) clone() Table {
	c := *t
	c.blocks, c.ranks = slices.Clone(t.blocks), slices.Clone(t.ranks)
	return c
}

// Pool lets the maps of many members in one process keep equal blocks once. It is for
// simulations: a map has no need of one. A Pool is not for concurrent use. A nil Pool
// keeps nothing.
type Pool struct {
	blocks map[poolKey]*block
}

type poolKey struct {
	sum uint64
	n   int
}

// NewPool returns an empty pool.
func NewPool() *Pool { return &Pool{blocks: map[poolKey]*block{}} }

func (p *Pool) find(sum uint64, n int) *block {
	if n == 0 {
		return noClaims
	}
	if p == nil {
		return nil
	}
	return p.blocks[poolKey{sum, n}]
}

func (p *Pool) add(b *block) *block {
	if p != nil {
		p.blocks[poolKey{b.sum, len(b.claims)}] = b
	}
	return b
}

// block is that of these claims.
func (p *Pool) block(claims []Claim) *block {
	var sum uint64
	for i := range claims {
		sum += claims[i].hash()
	}
	if b := p.find(sum, len(claims)); b != nil {
		return b
	}
	return p.add(&block{claims: slices.Clone(claims), sum: sum})
}
