package ringmap

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// snapshotOf is what a member at self knows, certain of all of it as of a time.
func snapshotOf(self uint64, bits uint, all []Claim, as time.Duration) *Snapshot {
	s := &Snapshot{t: *NewTable(bits, all), self: self, mask: ^uint64(0) >> (64 - bits)}
	s.levels = []level{{span: s.mask, as: as}}
	return s
}

// tell gives a copy all messages that there are.
func tell(t *testing.T, f *Feed, c *Copy, s *Snapshot, now time.Duration) (messages int) {
	t.Helper()
	for {
		u, ok := f.Next(s, now)
		if !ok {
			return messages
		}
		messages++
		if n := updateSize(&u); n > 64<<10 {
			t.Fatalf("a message of %d bytes", n)
		}
		sent := u.Clone()
		if err := c.Receive(now, &sent); err != nil {
			t.Fatal(err)
		}
	}
}

// updateSize is the size of the message on the wire, or more.
func updateSize(u *Update) int {
	n := 64 + 5*len(u.Cleared) + 8*len(u.Gone) + 8*len(u.Doubts)
	for i := range u.Claims {
		n += sizeNested(u.Claims[i].size())
	}
	return n
}

func sameClaims(a, b *Table) bool {
	return slices.EqualFunc(slices.Collect(a.all()), slices.Collect(b.all()), func(x, y Claim) bool {
		return same(&x, &y) && *x.Of == *y.Of
	})
}

// Whatever happens to a ring between two messages, and at whichever member the client
// subscribes, it knows the same as the member.
func TestCopyIsTheMapOfTheMember(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		members := claims(rng, 2+rng.IntN(200), 64)
		observer := newMap(ring.Member{ID: 1, Name: "observer", Addr: "x", Incarnation: 1})
		said, _ := history(rng, members, 300)
		c := NewCopy(64)
		var f *Feed
		for i, x := range said {
			observer.merge(x)
			now := time.Duration(i) * time.Second
			s := observer.Snapshot()
			switch rng.IntN(8) {
			case 0:
				if f != nil {
					f.Close()
				}
				sub := c.Subscribe(now, ring.Member{ID: 1})
				if err := sub.Check(); err != nil {
					t.Fatal(err)
				}
				f = NewFeed(&sub, s, time.Second, now)
				fallthrough
			case 1, 2:
				if f == nil {
					continue
				}
				tell(t, f, c, s, now)
				if !sameClaims(&c.told, &s.t) {
					t.Fatalf("the client has\n%v\nand the member\n%v", slices.Collect(c.told.all()), slices.Collect(s.t.all()))
				}
			}
		}
		if f != nil {
			f.Close()
		}
	}
}

// One who comes back is told only of the slices in which something has changed, and nothing
// if there are none.
func TestClientThatComesBackIsToldWhatHasChanged(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(5, 5)), 2000, 64)
	s := snapshotOf(all[0].ID, 64, all, 0)
	c := NewCopy(64)
	told := func(s *Snapshot) (claims, messages int) {
		sub := c.Subscribe(0, *all[0].Of)
		f := NewFeed(&sub, s, time.Second, 0)
		defer f.Close()
		for {
			u, ok := f.Next(s, 0)
			if !ok {
				return claims, messages
			}
			claims += len(u.Claims)
			messages++
			if err := c.Receive(0, &u); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n, messages := told(s); n != 2000 || messages < 2 {
		t.Errorf("at first it is told %d claims in %d messages", n, messages)
	}
	if n, messages := told(s); n != 0 || messages != 1 {
		t.Errorf("one that knows everything is told %d claims in %d messages", n, messages)
	}
	changed := slices.Clone(all)
	changed[77].Epoch++
	later := snapshotOf(all[0].ID, 64, changed, 0)
	if n, _ := told(later); n == 0 || n > 3*perBlock {
		t.Errorf("after one change it is told %d claims", n)
	}
	if !sameClaims(&c.told, &later.t) {
		t.Error("it does not know the change")
	}
}

// subscribed is a copy of nothing yet that has subscribed at the first of the owners, with the map
// of that and its feed.
func subscribed(all []Claim) (*Copy, *Snapshot, *Feed) {
	c, s := NewCopy(64), snapshotOf(all[0].ID, 64, all, 0)
	sub := c.Subscribe(0, *all[0].Of)
	return c, s, NewFeed(&sub, s, time.Second, 0)
}

// A claim answers once its owner has confirmed it, for as much as it has; a part of it
// still does, and what grows beyond does not.
func TestCopyAnswersWhatOwnersHaveConfirmed(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(6, 6)), 8, 64)
	c, s, f := subscribed(all)
	defer f.Close()
	tell(t, f, c, s, 0)
	owner := func(id uint64) *Claim {
		x, _, _ := c.Snapshot().Lookup(id, 0, time.Hour)
		return x
	}
	x := all[3]
	middle := x.After + (x.ID-x.After)/2
	if owner(x.ID) != nil {
		t.Error("a claim that nobody has confirmed answers")
	}
	if k := c.Snapshot().Known(x.ID); k == nil || !same(k, &x) {
		t.Errorf("whom to ask is %v", k)
	}
	stranger := x.Owner()
	stranger.Incarnation++
	c.Confirm(stranger, x.Arc())
	c.Confirm(all[4].Owner(), x.Arc())
	if owner(x.ID) != nil {
		t.Error("another than the owner has confirmed it")
	}
	c.Confirm(x.Owner(), ring.Arc{After: middle, To: x.ID})
	if owner(x.ID) == nil || owner(middle) != nil {
		t.Errorf("half of an arc is confirmed; the owners are %v and %v", owner(x.ID), owner(middle))
	}
	c.Confirm(x.Owner(), ring.Arc{After: all[1].ID, To: x.ID})
	if owner(middle) == nil || owner(x.After) != nil {
		t.Errorf("more than the arc is confirmed; the owners are %v and %v", owner(middle), owner(x.After))
	}
	c.Confirm(all[2].Owner(), all[2].Arc())
	// The one before it is gone, and the first half goes to one that joins.
	changed := slices.Delete(slices.Clone(all), 2, 3)
	changed[2].After, changed[2].Epoch = changed[1].ID, 9
	s = snapshotOf(all[0].ID, 64, changed, 0)
	tell(t, f, c, s, time.Second)
	if owner(x.ID) == nil || owner(middle) == nil || owner(all[2].ID) != nil {
		t.Errorf("the arc has grown; the owners are %v, %v and %v", owner(x.ID), owner(middle), owner(all[2].ID))
	}
	joined := Claim{ID: middle, After: changed[2].After, Epoch: 10, Of: &ring.Member{ID: middle, Name: "new", Addr: "new:1", Incarnation: 5}}
	changed[2].After = middle
	s = snapshotOf(all[0].ID, 64, slices.Insert(changed, 2, joined), 0)
	tell(t, f, c, s, 2*time.Second)
	if owner(x.ID) == nil || owner(middle) != nil {
		t.Errorf("one has joined; the owners are %v and %v", owner(x.ID), owner(middle))
	}
}

// A copy has the whole circle once all owners have confirmed what they claim, at the age at which
// lookups have it, and says who is still to be asked.
func TestCopyHasTheCircleThatOwnersHaveConfirmed(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(8, 8)), 8, 64)
	c, s, f := subscribed(all)
	defer f.Close()
	circle := func(now, age time.Duration) int { return len(c.Snapshot().Circle(all[3].ID, now, age)) }
	unconfirmed := func(now, age time.Duration) []uint64 { return c.Snapshot().Unconfirmed(now, age) }
	if circle(0, time.Hour) != 0 || unconfirmed(0, time.Hour) != nil {
		t.Error("a copy of nothing has a circle")
	}
	tell(t, f, c, s, 0)
	for i, x := range all {
		if n := circle(0, time.Second); n != 0 {
			t.Errorf("%d of 8 have confirmed, and the circle has %d", i, n)
		}
		if ids := unconfirmed(0, time.Second); len(ids) != 8-i || ids[0] != x.ID {
			t.Errorf("%d of 8 have confirmed, and left are %v", i, ids)
		}
		c.Confirm(x.Owner(), x.Arc())
	}
	got := c.Snapshot().Circle(all[3].ID, 0, time.Second)
	for i, x := range got {
		if !same(x, &all[(i+3)%8]) {
			t.Errorf("%d of the circle is %v", i, x)
		}
	}
	if len(got) != 8 || unconfirmed(0, time.Second) != nil {
		t.Errorf("all have confirmed, and the circle has %d, left are %v", len(got), unconfirmed(0, time.Second))
	}
	if circle(3*time.Second, 2*time.Second) != 0 {
		t.Error("it is older than asked for")
	}
	c.Strike(0, func(x ring.Member) bool { return x == all[5].Owner() })
	if circle(0, time.Second) != 0 {
		t.Error("one is in doubt")
	}
	c.Confirm(all[5].Owner(), all[5].Arc())
	if circle(0, time.Second) != 8 {
		t.Error("the doubt is over")
	}
	// One is gone, and the next has more.
	changed := slices.Delete(slices.Clone(all), 2, 3)
	changed[2].After, changed[2].Epoch = changed[1].ID, 9
	s = snapshotOf(all[0].ID, 64, changed, 5*time.Second)
	tell(t, f, c, s, 5*time.Second)
	if ids := unconfirmed(5*time.Second, time.Second); circle(5*time.Second, time.Second) != 0 || !slices.Equal(ids, []uint64{all[3].ID}) {
		t.Errorf("what one has gained is confirmed; left are %v", ids)
	}
	if unconfirmed(7*time.Second, time.Second) != nil {
		t.Error("somebody is to be asked though the map is too old")
	}
	c.Confirm(changed[2].Owner(), changed[2].Arc())
	if circle(5*time.Second, time.Second) != 7 {
		t.Error("the seven that are left have confirmed all of it")
	}
	// Nobody has what was the last one's.
	s = snapshotOf(all[0].ID, 64, changed[:6], 6*time.Second)
	tell(t, f, c, s, 6*time.Second)
	if circle(6*time.Second, time.Second) != 0 || unconfirmed(6*time.Second, time.Second) != nil {
		t.Error("there is a gap in the map")
	}
}

// The age counts from when the member was certain, by the clock of the client, however long
// a message was on its way and whatever the clock of the member shows.
func TestCopyIsAsOldAsTheMapAndTheStream(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(7, 7)), 8, 64)
	const asked = 100 * time.Second // by the client's clock; the member's shows 7 s
	for _, x := range []struct {
		name                   string
		certain, made, came    time.Duration // the first two by the member's clock
		oldest, youngest, rate time.Duration
	}{
		{"at once", 6 * time.Second, 7 * time.Second, asked, time.Second, time.Second, 1},
		{"late", 16 * time.Second, 17 * time.Second, asked + 90*time.Second, 81 * time.Second, 81*time.Second + 20*time.Millisecond, 1},
		{"a clock that is ahead", 16 * time.Second, 17 * time.Second, asked + time.Second, time.Second, time.Second, 1},
	} {
		c := NewCopy(64)
		sub := c.Subscribe(asked, *all[0].Of)
		s := snapshotOf(all[0].ID, 64, all, x.certain)
		f := NewFeed(&sub, s, time.Second, 7*time.Second)
		if u, ok := f.Next(s, x.made); !ok || c.Receive(x.came, &u) != nil {
			t.Fatalf("%s: there is no message", x.name)
		}
		f.Close()
		c.Confirm(all[3].Owner(), all[3].Arc())
		_, as, ok := c.Snapshot().Lookup(all[3].ID, x.came, time.Hour)
		if age := x.came - as; !ok || age < x.oldest || age > x.youngest {
			t.Errorf("%s: the age is %v, %v; want %v to %v", x.name, age, ok, x.oldest, x.youngest)
		}
		if _, _, ok := c.Snapshot().Lookup(all[3].ID, x.came, x.oldest-1); ok {
			t.Errorf("%s: it answers although it is too old", x.name)
		}
	}
}

// Nothing is taken over before it is complete, and a member that is not certain leaves the
// client uncertain.
func TestCopyHasNoHalves(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(8, 8)), 1000, 64)
	c, s, f := subscribed(all)
	defer f.Close()
	u, _ := f.Next(s, 0)
	if err := c.Receive(0, &u); err != nil || !u.More {
		t.Fatalf("%v, more: %v", err, u.More)
	}
	if n := c.Snapshot().Len(); n != 0 || c.Complete() {
		t.Errorf("the first of several messages gives %d claims", n)
	}
	tell(t, f, c, s, 0)
	if n := c.Snapshot().Len(); n != 1000 || !c.Complete() {
		t.Errorf("all messages give %d claims", n)
	}
	c.Confirm(all[3].Owner(), all[3].Arc())
	if _, _, ok := c.Snapshot().Lookup(all[3].ID, 0, time.Hour); !ok {
		t.Error("it does not answer")
	}
	uncertain := *s
	uncertain.levels = nil
	if u, ok := f.Next(&uncertain, time.Second); !ok || c.Receive(time.Second, &u) != nil {
		t.Fatal("there is no message after an interval")
	}
	if _, _, ok := c.Snapshot().Lookup(all[3].ID, time.Second, time.Hour); ok {
		t.Error("it answers by a map of which nobody is certain")
	}
}

// What proves wrong does not answer, until the map is certain of it as of later.
func TestCopyDoubts(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(9, 9)), 100, 64)
	c, s, f := subscribed(all)
	defer f.Close()
	tell(t, f, c, s, 0)
	for _, x := range all {
		c.Confirm(x.Owner(), x.Arc())
	}
	answers := func(now time.Duration) (n int) {
		for _, x := range all {
			if _, _, ok := c.Snapshot().Lookup(x.ID, now, time.Hour); ok {
				n++
			}
		}
		return n
	}
	at := func(addr string) func(ring.Member) bool {
		return func(x ring.Member) bool { return x.Addr == addr }
	}
	c.Strike(time.Second, at(all[3].Of.Addr))
	c.Named(time.Second, all[5].ID, all[6].Owner().Instance())
	c.Named(time.Second, all[7].ID, all[7].Owner().Instance())
	if n := answers(time.Second); n != 98 {
		t.Errorf("%d answer after a strike and another owner", n)
	}
	c.Confirm(all[5].Owner(), all[5].Arc())
	if n := answers(time.Second); n != 99 {
		t.Errorf("%d answer after the owner has confirmed its arc", n)
	}
	tell(t, f, c, s, 2*time.Second) // as of 0
	if n := answers(2 * time.Second); n != 99 {
		t.Errorf("%d answer after an old certificate", n)
	}
	s = snapshotOf(all[0].ID, 64, all, 3*time.Second)
	tell(t, f, c, s, 3*time.Second)
	if n := answers(3 * time.Second); n != 100 {
		t.Errorf("%d answer after a certificate of later", n)
	}
	doubting := *s
	doubting.doubts = []uint64{all[9].ID}
	tell(t, f, c, &doubting, 3*time.Second+hold)
	if n := answers(3 * time.Second); n != 99 {
		t.Errorf("%d answer while the member doubts one", n)
	}
	c.Strike(4*time.Second, func(ring.Member) bool { return true })
	if n := answers(4 * time.Second); n != 0 {
		t.Errorf("%d answer after all were struck", n)
	}
}

// A client that has lost a change says so, and goes on with what it had.
func TestCopyNoticesALostChange(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(10, 10)), 50, 64)
	c, s, f := subscribed(all)
	tell(t, f, c, s, 0)
	changed := slices.Clone(all)
	for i := range 3 {
		changed[7+i].Epoch++
		s = snapshotOf(all[0].ID, 64, slices.Clone(changed), 0)
		u, ok := f.Next(s, time.Duration(i+1)*time.Second)
		switch {
		case !ok:
			t.Fatal("there is no message")
		case i == 1:
			continue // lost
		}
		if err := c.Receive(time.Second, &u); (err != nil) != (i == 2) || err != nil && !strings.Contains(err.Error(), "a change was lost") {
			t.Errorf("message %d: %v", i, err)
		}
	}
	f.Close()
	if x := c.Snapshot().Known(all[7].ID); x.Epoch != changed[7].Epoch {
		t.Errorf("what came before has the epoch %d", x.Epoch)
	}
	sub := c.Subscribe(time.Second, *all[1].Of)
	f = NewFeed(&sub, s, time.Second, 0)
	defer f.Close()
	tell(t, f, c, s, time.Second)
	if !sameClaims(&c.told, &s.t) {
		t.Error("begun anew, it has not all")
	}
}

// A client that moves to a member that has not heard yet of what the client has keeps that,
// until the member has heard of it, or the time is over.
func TestCopyThatMovesNeverGoesBack(t *testing.T) {
	old := claims(rand.New(rand.NewPCG(11, 11)), 20, 64)
	joined := slices.Clone(old)
	half := joined[5].After + (joined[5].ID-joined[5].After)/2
	j := Claim{ID: half, After: joined[5].After, Epoch: joined[5].Epoch + 1, Of: &ring.Member{ID: half, Name: "new", Addr: "new:1", Incarnation: 5}}
	joined[5].After = half
	joined = slices.Insert(joined, 5, j)
	grown := slices.Delete(slices.Clone(old), 5, 6)
	grown[5].After, grown[5].Epoch = old[5].After, old[6].Epoch+9
	restarted := slices.Clone(old)
	of := *old[5].Of
	of.Incarnation++
	restarted[5].Of, restarted[5].Epoch = &of, old[5].Epoch+1
	for name, later := range map[string][]Claim{"a join": joined, "a death": grown, "a restart": restarted} {
		c := NewCopy(64)
		was, now := snapshotOf(old[0].ID, 64, old, 0), snapshotOf(old[0].ID, 64, later, 0)
		sub := c.Subscribe(0, *old[0].Of)
		f := NewFeed(&sub, now, time.Second, 0)
		tell(t, f, c, now, 0)
		f.Close()
		for _, end := range []time.Duration{5 * time.Second, 30 * time.Second} {
			at := end - time.Second
			sub = c.Subscribe(at, *old[2].Of)
			f = NewFeed(&sub, was, time.Second, at)
			for ; at <= end; at += time.Second {
				tell(t, f, c, was, at)
			}
			if kept := sameClaims(&c.told, &now.t); kept != (end < Promised(time.Second)) || kept == c.Current() {
				t.Errorf("%s: %v after it, it has kept what it had: %v", name, end, kept)
			}
			tell(t, f, c, now, at)
			if !sameClaims(&c.told, &now.t) || !c.Current() {
				t.Errorf("%s: the member has heard of it, and the client has not", name)
			}
			f.Close()
		}
	}
}

// What the member before has doubted is doubted until the next is certain of it as of later, as
// far as it is certain of the circle.
func TestCopyThatMovesTakesDoubtsAlong(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(12, 12)), 20, 64)
	c := NewCopy(64)
	doubting := snapshotOf(all[0].ID, 64, all, 0)
	doubting.doubts = []uint64{all[15].ID}
	sub := c.Subscribe(0, *all[0].Of)
	f := NewFeed(&sub, doubting, time.Second, 0)
	tell(t, f, c, doubting, 5*time.Second)
	f.Close()
	for _, x := range all {
		c.Confirm(x.Owner(), x.Arc())
	}
	sub = c.Subscribe(6*time.Second, *all[1].Of)
	sure := snapshotOf(all[1].ID, 64, all, 4*time.Second)
	f = NewFeed(&sub, sure, time.Second, 6*time.Second)
	defer f.Close()
	partly := snapshotOf(all[1].ID, 64, all, 7*time.Second)
	partly.last, partly.levels[0].span = all[0].ID, all[10].ID-all[1].ID
	for i, x := range []struct {
		s     *Snapshot
		names bool
	}{{sure, false}, {partly, false}, {sure, false}, {snapshotOf(all[1].ID, 64, all, 8*time.Second), true}} {
		now := time.Duration(10+i) * time.Second
		tell(t, f, c, x.s, now)
		if got, _, ok := c.Snapshot().Lookup(all[15].ID, now, time.Hour); ok != x.names {
			t.Errorf("message %d: it names %v", i, got)
		}
	}
}

// A member that breaks the rules is found out before anything is used.
func TestCopyRefusesWhatNoMemberSends(t *testing.T) {
	x := Announcement{ID: 5, After: 2, Epoch: 1, Incarnation: 3, Of: &ring.Member{ID: 5, Name: "x", Addr: "x:1", Incarnation: 3}}
	unnamed := x
	unnamed.Of = nil
	outside := x
	outside.ID = 300
	many := make([]Announcement, maxSent+1)
	for _, u := range []struct {
		says string
		u    Update
	}{
		{"no interval", Update{Claims: []Announcement{x}}},
		{"does not name who", Update{Interval: 1, Claims: []Announcement{unnamed}}},
		{"not on the circle", Update{Interval: 1, Claims: []Announcement{outside}}},
		{"gone: identifier", Update{Interval: 1, Gone: []uint64{256}}},
		{"doubts: identifier", Update{Interval: 1, Doubts: []uint64{256}}},
		{"not on the map", Update{Interval: 1, Gone: []uint64{7}}},
		{"names slice", Update{Interval: 1, Cleared: []uint32{0}}},
		{"claims has 401", Update{Interval: 1, Claims: many}},
		{"age is", Update{Interval: 1, Aged: true, Age: -1}},
		{"clock is", Update{Interval: 1, Clock: maxTold + 1}},
	} {
		c := NewCopy(8)
		c.Subscribe(0, ring.Member{ID: 5})
		if err := c.Receive(0, &u.u); err == nil || !strings.Contains(err.Error(), u.says) {
			t.Errorf("%+v: the error is %v", u.u, err)
		}
		if c.Complete() || c.Snapshot().Len() > 0 {
			t.Errorf("%+v is used", u.u)
		}
	}
	c := NewCopy(8)
	c.Subscribe(0, ring.Member{ID: 5})
	first := Update{Interval: 1, Claims: []Announcement{x}}
	if err := c.Receive(0, &first); err != nil {
		t.Fatal(err)
	}
	if err := c.Receive(0, &first); err == nil {
		t.Error("it begins twice")
	}
	full := NewCopy(64)
	full.Subscribe(0, ring.Member{ID: 5})
	var err error
	for i := range uint64(maxCopied) + 1 {
		y := Announcement{ID: i * 0x9e3779b97f4a7c15, Incarnation: 3, Of: x.Of}
		u := Update{More: true, Claims: []Announcement{y}}
		if i == 0 {
			u.Interval = 1
		}
		if err = full.Receive(0, &u); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "claims") {
		t.Errorf("endless claims: %v", err)
	}
}

// Whatever a member sends, a client that takes it has a table in order, and answers with an
// owner that has confirmed an arc.
func FuzzCopy(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte{0, 0, 0, 0, 255, 255, 255, 255, 3, 1, 4, 1, 5, 9, 2, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewCopy(8)
		next := func() uint64 {
			if len(b) == 0 {
				return 0
			}
			x := b[0]
			b = b[1:]
			return uint64(x)
		}
		sub := c.Subscribe(0, ring.Member{ID: next()})
		first, now := true, time.Duration(0)
		for len(b) > 0 {
			var u Update
			if first || next() == 99 {
				u.Interval = time.Duration(next())
			}
			for range next() % 4 {
				a := Announcement{ID: next(), After: next(), Epoch: next(), Incarnation: next() % 3}
				if next()%4 > 0 {
					a.Of = &ring.Member{ID: a.ID, Name: "x", Addr: "x:1", Incarnation: a.Incarnation}
				}
				u.Claims = append(u.Claims, a)
			}
			for range next() % 3 {
				u.Gone = append(u.Gone, next())
			}
			if next()%3 == 0 {
				u.Cleared = append(u.Cleared, uint32(next()%4))
			}
			u.More, u.Aged, u.Partly = next()%3 == 0, next()%2 == 0, next()%2 == 0
			u.Age, u.Clock, u.Through = time.Duration(next()), time.Duration(next()), next()
			now += time.Duration(next())
			if c.Receive(now, &u) != nil {
				sub = c.Subscribe(now, ring.Member{ID: next()})
				first = true
				continue
			}
			first = false
			if x, ok := c.At(int(next())); ok {
				c.Confirm(x, ring.Arc{After: next(), To: x.ID})
			}
			if next()%4 == 0 {
				c.Named(now, next(), ring.Instance{ID: next()})
			}
			s := c.Snapshot()
			list := slices.Collect(s.All())
			if !slices.IsSortedFunc(list, func(a, b Claim) int { return int(int64(a.ID) - int64(b.ID)) }) || len(list) > 256 {
				t.Fatalf("the table is %v", list)
			}
			id := next()
			if x, as, ok := s.Lookup(id, now, time.Hour); ok && (x.Of.Incarnation == 0 || as > now || s.t.get(x.ID) == nil) {
				t.Errorf("the owner of %d is %+v as of %v", id, x, as)
			}
		}
		if err := sub.Check(); err != nil {
			t.Error(err)
		}
	})
}
