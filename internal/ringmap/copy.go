package ringmap

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// Copy is the map of a ring that a client has from one member after another, by Updates. Its
// methods are events, as those of a Map. A Copy is not for concurrent use; a Snapshot is.
//
// A client that moves to another member never goes back in time: while the map of that one is
// older than what the client has, it keeps what it has, for as long as that is promised to answer.
//
// A claim in it answers lookups once the owner itself has confirmed its arc to the client, as
// far as it has. So a member that lies about others makes the client ask them, and no more.
type Copy struct {
	bits uint
	mask uint64

	told   Table // what the last complete message said; handed out
	sure   Table // of it, what has been confirmed
	shared bool  // sure was handed out
	next   *Table

	doubts []doubt
	theirs []uint64 // doubts of the member

	// Of the subscription:
	by        uint64        // the home of the member
	asked     time.Duration // when it was asked
	heard     time.Duration // when the last message came
	begun     bool          // a message has come
	slices    int           // of the Subscription
	current   bool          // what the client has is of the member
	until     time.Duration // until then what the client has is kept, if the member's map is older
	interval  time.Duration
	followers int // the SuccessorCount of the member, 0 if it does not say
	certified bool
	level     level

	self    uint64 // the home of the member that level speaks of
	has     bool   // told is complete
	latest  *Snapshot
	changed bool
}

// NewCopy returns a Copy of nothing, on a circle of 2^width points.
func NewCopy(width uint) *Copy {
	return &Copy{bits: width, mask: ^uint64(0) >> (64 - width), told: newTable(width), sure: newTable(width)}
}

// Times of subscriptions.
const (
	// Regular is after how long a client that looks keys up again does so regularly, and
	// subscribes.
	Regular = time.Second
	// Idle is after how long without a lookup it has no use for the map any more, and after
	// how long a client asks again whose members have told it nothing of their maps.
	Idle = time.Minute
	// Renewed is after how long a client subscribes at another member. A member that hides
	// what it knows hides it for as long, and clocks drift apart for as long.
	Renewed = 5 * time.Minute
	// mostInterval bounds the interval that a member is believed to have.
	mostInterval = time.Minute
	// drift is how much more the clock of a member may show than that of the client, a part
	// of what it shows.
	drift = 1 << 10
	// silent is for how many intervals a member may say nothing, and minSilent for how long.
	silent    = 4
	minSilent = 2 * time.Second
)

// Subscribe begins a subscription at a member, which is asked at the time now.
func (c *Copy) Subscribe(now time.Duration, by ring.Member) Subscription {
	if c.current {
		for _, id := range c.theirs {
			c.doubt(c.heard, id) // the next member may not know of it yet
		}
		c.until = c.heard + Promised(c.interval)
	}
	c.by, c.asked, c.heard, c.begun, c.current, c.next = by.Process(), now, now, false, false, nil
	var out Subscription
	if c.told.Len() > 0 {
		for _, b := range c.told.blocks {
			out.Sums = append(out.Sums, uint32(b.sum))
		}
	}
	c.slices = len(out.Sums)
	return out
}

// Silent is when the member has not been heard of for too long, once a message has come.
func (c *Copy) Silent() time.Duration {
	return c.heard + max(minSilent, silent*c.interval)
}

// Promised is how old what answers a lookup by default may be, 0 if that is not known yet.
func (c *Copy) Promised() time.Duration { return Promised(c.interval) }

// Successors is the SuccessorCount of the member that has told last, 0 if it has not said.
func (c *Copy) Successors() int { return c.followers }

// Complete reports whether a member has told all of its map.
func (c *Copy) Complete() bool { return c.has }

// Current reports whether what the client has is of the member that it has asked last.
func (c *Copy) Current() bool { return c.current }

// Len is the number of claims that a member has told.
func (c *Copy) Len() int { return c.told.Len() }

// At is the member at a place of the map, which wraps. It is not ok if there is none.
func (c *Copy) At(place int) (x ring.Member, ok bool) {
	if c.told.Len() == 0 {
		return x, false
	}
	return c.told.at(place).Owner(), true
}

// Receive takes the next message of the subscription. Its error says why no member would
// send it. Then the subscription is to be ended.
func (c *Copy) Receive(now time.Duration, u *Update) error {
	if err := u.Check(); err != nil {
		return err
	}
	if err := u.On(c.bits); err != nil {
		return err
	}
	if err := c.begin(u); err != nil {
		return err
	}
	c.heard = now
	if c.next == nil {
		t := c.told.clone()
		c.next = &t
	}
	for _, i := range u.Cleared {
		if int(i) >= c.slices {
			return fmt.Errorf("cleared names slice %d of %d", i, c.slices)
		}
		c.clear(i)
	}
	for _, id := range u.Gone {
		if c.next.get(id) == nil {
			return fmt.Errorf("gone names %d, which is not on the map", id)
		}
		c.next.remove(id, nil)
	}
	for i := range u.Claims {
		if err := c.put(&u.Claims[i]); err != nil {
			return err
		}
	}
	if u.More {
		return nil
	}
	if sum := uint32(c.next.total()); u.Summed && u.Sum != sum {
		return fmt.Errorf("the sum of the map is %08x, and that of what was told is %08x: a change was lost", u.Sum, sum)
	}
	if !c.current && now < c.until && c.behind() {
		return nil
	}
	c.complete()
	c.theirs = slices.Clone(u.Doubts)
	c.certify(now, u)
	c.settle()
	c.current = true
	return nil
}

// behind reports whether the member has not heard yet of what the client has.
func (c *Copy) behind() bool {
	for x := range Changes(&Snapshot{t: c.told}, &Snapshot{t: *c.next}) {
		switch {
		case x.Old == nil && replaced(&c.told, x.New),
			x.New == nil && c.next.Len() > 0 && !replaced(c.next, x.Old) && c.next.next(x.Old.ID).covers(x.Old.ID),
			x.Old != nil && x.New != nil && x.Old.later(x.New) > 0:
			return true
		}
	}
	return false
}

// replaced reports whether another has claimed the identifier of a claim since.
func replaced(t *Table, c *Claim) bool {
	if t.Len() == 0 {
		return false
	}
	over := t.next(c.ID)
	return over.covers(c.ID) && over.Epoch >= c.Epoch
}

// begin takes what only the first message has.
func (c *Copy) begin(u *Update) error {
	switch {
	case c.begun && (u.Interval != 0 || u.Successors != 0 || len(u.Cleared) > 0):
		return errors.New("it begins anew")
	case c.begun:
		return nil
	case u.Interval == 0:
		return errors.New("the first message has no interval")
	}
	c.begun, c.interval, c.followers = true, min(u.Interval, mostInterval), u.Successors
	return nil
}

// clear empties a slice.
func (c *Copy) clear(i uint32) {
	each := c.mask/uint64(c.slices) + 1 // 0: the whole circle of 2^64 points
	from := uint64(i) * each
	first, n := c.next.rank(from), c.next.upTo(from+(each-1))
	for range n - first {
		c.next.remove(c.next.at(first).ID, nil)
	}
}

func (c *Copy) put(a *Announcement) error {
	old := c.next.get(a.ID)
	x := Claim{ID: a.ID, After: a.After, Epoch: a.Epoch, Of: a.Of}
	switch {
	case old != nil && old.Of.Incarnation == a.Incarnation && (a.Of == nil || *a.Of == *old.Of):
		x.Of = old.Of // one process is kept once
	case a.Of == nil:
		return fmt.Errorf("claims does not name who stands at %d", a.ID)
	case c.next.Len() >= maxCopied:
		return fmt.Errorf("the map has more than %d claims", maxCopied)
	}
	c.next.put(x, nil)
	return nil
}

// complete takes over what was told. Of a confirmed arc that has become smaller the rest
// is confirmed.
func (c *Copy) complete() {
	if c.has && c.next.equal(&c.told) {
		c.next = nil
		return
	}
	was, now := &Snapshot{t: c.told}, &Snapshot{t: *c.next}
	for x := range Changes(was, now) {
		if x.Old == nil {
			continue
		}
		s := c.sure.get(x.Old.ID)
		if s == nil {
			continue
		}
		if x.New == nil || x.New.Owner() != x.Old.Owner() {
			c.surely().remove(s.ID, nil)
			continue
		}
		c.surely().put(narrowed(*x.New, s.After), nil)
	}
	c.told, c.next, c.has, c.changed = *c.next, nil, true, true
}

// narrowed is a claim, but that its arc begins at after or later.
func narrowed(c Claim, after uint64) Claim {
	if c.covers(after) {
		c.After = after
	}
	return c
}

// surely is the table of what was confirmed, to be changed.
func (c *Copy) surely() *Table {
	if c.shared {
		c.sure, c.shared = c.sure.clone(), false
	}
	c.changed = true
	return &c.sure
}

// certify notes how old the map is. The message was made when the clock of the member showed
// as much more than when it was asked, at the earliest. How long it was on its way is not known.
func (c *Copy) certify(now time.Duration, u *Update) {
	c.changed = true
	c.certified = u.Aged
	if !u.Aged {
		return
	}
	c.self = c.by
	c.level = level{span: c.mask, as: min(now, c.asked+u.Clock-u.Clock/drift) - u.Age}
	if u.Partly {
		c.level.span = (u.Through - c.by) & c.mask
	}
}

// Confirm notes that the owner has said itself, to the client, that it owns the arc.
func (c *Copy) Confirm(owner ring.Member, arc ring.Arc) {
	x := c.told.get(owner.ID)
	if x == nil || arc.To != owner.ID || x.Owner() != owner {
		return
	}
	if n := len(c.doubts); n > 0 {
		c.doubts = slices.DeleteFunc(c.doubts, func(d doubt) bool { return d.id == owner.ID })
		c.changed = c.changed || n != len(c.doubts)
	}
	s := narrowed(*x, arc.After)
	if old := c.sure.get(owner.ID); old == nil || *old != s {
		c.surely().put(s, nil)
	}
}

// Strike notes that a member did not answer or does not own what the map says: it is not
// named until the map is certain of it as of later, or it has confirmed it.
func (c *Copy) Strike(now time.Duration, who func(ring.Member) bool) {
	for x := range c.sure.all() {
		if who(x.Owner()) {
			c.doubt(now, x.ID)
		}
	}
}

// Named notes that a member was named as the owner of a point. If the map has that as
// another's, it does not name that one until it is certain of it as of later.
func (c *Copy) Named(now time.Duration, id uint64, owner ring.Instance) {
	x := c.sure.next(id)
	if x != nil && (id == x.ID || x.covers(id)) && x.Owner().Instance() != owner {
		c.doubt(now, x.ID)
	}
}

func (c *Copy) doubt(now time.Duration, id uint64) {
	c.changed = true
	i := slices.IndexFunc(c.doubts, func(d doubt) bool { return d.id == id })
	switch {
	case i >= 0:
		c.doubts[i].since = max(c.doubts[i].since, now)
	case len(c.doubts) < maxDoubts:
		c.doubts = append(c.doubts, doubt{id: id, since: now})
	default:
		c.doubts, c.certified = c.doubts[:0], false // until the next message
	}
}

// settle ends the doubts that are older than the certificate, as far as that reaches.
func (c *Copy) settle() {
	if !c.certified {
		return
	}
	c.doubts = slices.DeleteFunc(c.doubts, func(d doubt) bool {
		x := c.told.get(d.id)
		return c.level.as > d.since && (x == nil || (x.home()-c.self)&c.mask <= c.level.span)
	})
}

// Snapshot returns what the client knows now. Known and All give what the member has told,
// Lookup what was confirmed of it.
func (c *Copy) Snapshot() *Snapshot {
	if c.latest != nil && !c.changed {
		return c.latest
	}
	sure := c.sure
	s := &Snapshot{
		t: c.told, copied: true, sure: &sure, self: c.self, last: c.last(), mask: c.mask, doubts: slices.Clone(c.theirs),
	}
	c.shared, c.changed = true, false
	for _, d := range c.doubts {
		s.doubts = append(s.doubts, d.id)
	}
	if c.certified {
		s.levels = []level{c.level}
	}
	c.latest = s
	return s
}

// last is the home of the last process of the circle from the member on.
func (c *Copy) last() (last uint64) {
	if !c.certified || c.level.span == c.mask {
		return (c.self - 1) & c.mask
	}
	var most uint64
	for x := range c.told.all() {
		if d := (x.home() - c.self) & c.mask; d >= most {
			most, last = d, x.home()
		}
	}
	return last
}
