package ringmap

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"time"
)

// Subscription is what a client asks a member for that is to tell it of its map: all
// claims, and then each change.
type Subscription struct {
	// Sums are of the claims that the client has already, the low halves of those of slices
	// of the circle. All slices are equally wide, so that their number is a power of two.
	// There are none if the client has nothing.
	Sums []uint32
}

// Update is one message to a client that has subscribed. It is applied in the order of its
// fields.
type Update struct {
	// Cleared are the slices of the subscription of which the client has to forget
	// everything. Only the first messages have some.
	Cleared []uint32
	// Gone are the identifiers whose claims are no longer on the map.
	Gone []uint64
	// Claims replace those of the same identifiers. The process is left out if it is that of
	// the claim replaced.
	Claims []Announcement
	// More says that the map is not complete before the next message.
	More bool
	// Doubts are the identifiers whose claims answer no lookups now. They replace those
	// of the message before.
	Doubts []uint64
	// The rest speaks of the member's map as it is after this message. Aged: its owners have
	// said what it says at most Age before the message was made. Partly: only those with homes
	// from the member's on up to Through.
	Aged, Partly bool
	Age          time.Duration
	Through      uint64
	// Sum is the sum of all claims of that map, its low half, if Summed. A client whose copy has
	// another has lost a change.
	Summed bool
	Sum    uint32
	// Clock is how long ago, by the member's clock, the subscription was taken, when the message
	// was made.
	Clock time.Duration
	// Interval is the StabilizeInterval of the member. Only the first message has it.
	Interval time.Duration
	// Successors is the SuccessorCount of the member, 0 if it does not say. Only the first message
	// has it.
	Successors int
}

// Precision of the times in an Update. What is sent is rounded to the side that is older.
const (
	AgePrecision   = time.Millisecond
	ClockPrecision = time.Millisecond
)

// maxSuccessors bounds what a member may say of its SuccessorCount.
const maxSuccessors = 64

// maxCopied bounds the claims that a client takes from a member.
const maxCopied = 1 << 16

// Check reports what no client would ask for.
func (s *Subscription) Check() error {
	if n := len(s.Sums); n > maxBlocks || n&(n-1) != 0 {
		return fmt.Errorf("sums has %d entries (a power of two, at most %d)", n, maxBlocks)
	}
	return nil
}

// Clone returns a copy that shares nothing that may change.
func (s *Subscription) Clone() Subscription {
	return Subscription{Sums: slices.Clone(s.Sums)}
}

// Clone returns a copy that shares nothing that may change.
func (u *Update) Clone() Update {
	out := *u
	out.Cleared, out.Gone, out.Claims, out.Doubts = slices.Clone(u.Cleared), slices.Clone(u.Gone), slices.Clone(u.Claims), slices.Clone(u.Doubts)
	return out
}

// Check reports what no member would send.
func (u *Update) Check() error {
	for _, list := range []struct {
		field   string
		n, most int
	}{
		{"cleared", len(u.Cleared), maxBlocks},
		{"gone", len(u.Gone), maxSent},
		{"claims", len(u.Claims), maxSent},
		{"doubts", len(u.Doubts), maxDoubts},
	} {
		if list.n > list.most {
			return fmt.Errorf("%s has %d entries (at most %d)", list.field, list.n, list.most)
		}
	}
	switch {
	case u.Age < 0 || u.Age > maxTold:
		return fmt.Errorf("age is %v", u.Age)
	case u.Clock < 0 || u.Clock > maxTold:
		return fmt.Errorf("clock is %v", u.Clock)
	case u.Interval < 0 || u.Interval > maxTold:
		return fmt.Errorf("interval is %v", u.Interval)
	case u.Successors < 0 || u.Successors > maxSuccessors:
		return fmt.Errorf("successors is %d", u.Successors)
	}
	return nil
}

// maxTold bounds the times in a message, so that what is reckoned with them does not wrap.
const maxTold = 1 << 20 * time.Second

// On reports an identifier that is not on the circle of 2^width points.
func (u *Update) On(width uint) error {
	o := outside{mask: ^uint64(0) >> (64 - width)}
	for _, id := range u.Gone {
		o.look("gone", id)
	}
	for _, id := range u.Doubts {
		o.look("doubts", id)
	}
	o.look("through", u.Through)
	o.claims("claims", u.Claims)
	return o.err
}

// Feed is what one client is told: it makes the messages from one snapshot of a member's map
// after another. Changes between two of them are merged. A Feed is not for concurrent use.
type Feed struct {
	interval time.Duration
	began    time.Duration
	last     *Snapshot // that the client has, or is being told of
	doubts   []uint64  // that it was told of
	cleared  []uint32  // still to be told
	started  bool
	sent     time.Duration // when the last message was made
	held     bool          // what has changed since waits for more
	due      time.Duration // when it is told the age again

	next    func() (Change, bool) // what of last it has still to be told; nil: nothing
	stop    func()
	pending *Change // taken from next, and not told
}

// NewFeed begins what a client is told that has subscribed at the time now: what of the
// snapshot it does not have.
func NewFeed(sub *Subscription, s *Snapshot, interval, now time.Duration) *Feed {
	f := &Feed{interval: interval, began: now, last: s}
	width := bits.TrailingZeros(uint(max(1, len(sub.Sums))))
	differ := make([]bool, max(1, len(sub.Sums)))
	for i := range differ {
		if len(sub.Sums) > 0 && uint32(s.sumOf(i, width)) == sub.Sums[i] {
			continue
		}
		differ[i] = true
		f.cleared = append(f.cleared, uint32(i))
	}
	if len(sub.Sums) == 0 {
		f.cleared = nil // there is nothing to forget
	}
	f.next, f.stop = iter.Pull(func(yield func(Change) bool) {
		for c := range s.All() {
			if differ[sliceOf(c.ID, width, s.t.bits)] && !yield(Change{New: &c}) {
				return
			}
		}
	})
	return f
}

// sliceOf is the slice of an identifier, if a circle of 2^bits points has 2^width.
func sliceOf(id uint64, width int, bits uint) int {
	if width == 0 {
		return 0
	}
	return int(id >> (bits - uint(width)))
}

// sumOf is the sum of a slice.
func (s *Snapshot) sumOf(i, width int) uint64 {
	switch {
	case s.t.blocks == nil:
		return 0
	case len(s.t.blocks) == 1<<width:
		return s.t.blocks[i].sum
	}
	each := (s.mask >> width) + 1 // 0: the whole circle of 2^64 points
	from := uint64(i) * each
	return s.t.sum((from-1)&s.mask, (from+each-1)&s.mask)
}

// Close is to be called at the end.
func (f *Feed) Close() { f.stop() }

// Due is when Next is to be called although there is no newer snapshot.
func (f *Feed) Due() time.Duration {
	if f.held {
		return f.sent + hold
	}
	return f.due
}

// Next returns the next message, if there is one: what has changed up to the snapshot of now,
// or how old that is, once in an interval. The Feed keeps nothing of the message.
func (f *Feed) Next(s *Snapshot, now time.Duration) (u Update, ok bool) {
	if f.held = f.started && f.next == nil && now < f.sent+hold; f.held {
		return u, false
	}
	if f.next == nil && s != f.last && !s.t.equal(&f.last.t) {
		f.next, f.stop = iter.Pull(Changes(f.last, s))
		f.last = s
	} else if f.next == nil {
		f.last = s // its claims are the same
	}
	doubts, told := f.last.doubts, len(f.last.doubts) <= maxDoubts
	if !told {
		doubts = nil // then the client is not to be certain of anything
	}
	if f.next == nil && f.started && now < f.due && slices.Equal(doubts, f.doubts) {
		return u, false
	}
	u.More = f.fill(&u)
	u.Doubts, f.doubts = doubts, doubts
	if !u.More {
		u.Summed, u.Sum = true, uint32(f.last.t.total())
	}
	u.Clock = (now - f.began).Truncate(ClockPrecision)
	if span, as, ok := f.last.whole(now); ok && told && !u.More && now-as < maxTold {
		u.Aged, u.Age = true, max(0, now-as+AgePrecision-1).Truncate(AgePrecision)
		if u.Partly = span != f.last.mask; u.Partly {
			u.Through = (f.last.self + span) & f.last.mask
		}
	}
	if !f.started {
		u.Interval, f.started = f.interval, true
	}
	f.sent, f.due = now, now+f.interval
	return u, true
}

// fill puts changes into a message until it is full, and reports whether there are more.
func (f *Feed) fill(u *Update) (more bool) {
	u.Cleared, f.cleared = f.cleared, nil
	room := maxBytes - 5*len(u.Cleared) - 8*min(len(f.last.doubts), maxDoubts)
	for f.next != nil {
		c := f.pending
		if f.pending = nil; c == nil {
			change, ok := f.next()
			if !ok {
				f.stop()
				f.next = nil
				return false
			}
			c = &change
		}
		full := len(u.Claims) == maxSent || len(u.Gone) == maxSent
		if c.New == nil {
			room -= 8
		} else {
			a := announce(c.New, c.Old == nil || c.Old.Of.Incarnation != c.New.Of.Incarnation)
			room -= sizeNested(a.size())
			if !full && room >= 0 {
				u.Claims = append(u.Claims, a)
				continue
			}
		}
		if full || room < 0 {
			f.pending = c
			return true
		}
		u.Gone = append(u.Gone, c.Old.ID)
	}
	return false
}

// whole is how far the map is certain, and as of when: of all claims, or else as far as its
// farthest certificate reaches. Of itself a member is always certain.
func (s *Snapshot) whole(now time.Duration) (span uint64, as time.Duration, ok bool) {
	if s.Len() == 0 {
		return 0, 0, false
	}
	if s.last == s.self {
		return s.mask, now, true
	}
	if as, ok = s.asOf(s.last); ok || len(s.levels) == 0 {
		return s.mask, as, ok
	}
	l := s.levels[len(s.levels)-1]
	as, ok = s.asOf((s.self + l.span) & s.mask)
	return l.span, as, ok
}

// equal reports whether two tables have the same blocks.
func (t *Table) equal(o *Table) bool {
	return t.shift == o.shift && slices.Equal(t.blocks, o.blocks)
}

// total is the sum of the hashes of all claims.
func (t *Table) total() (sum uint64) {
	for _, b := range t.blocks {
		sum += b.sum
	}
	return sum
}
