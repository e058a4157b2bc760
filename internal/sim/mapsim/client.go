package mapsim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/invariant"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
)

// Of clients, in intervals unless said.
const (
	stays     = 4   // at one member, on average
	slowAsk   = 3   // at most from a question to its answer, of one in lateAsks
	lateAsks  = 8   // questions
	lateTells = 32  // of so many messages, one is late
	doubtful  = 32  // of so many lookups, before one the member takes another for gone
	watched   = 32  // points that each looks up and watches, a number
	asksIn    = 0.2 // from one lookup to the next, on average
)

// client subscribes at one member after another and looks keys up.
type client struct {
	name  string
	copy  *ringmap.Copy
	ahead time.Duration // by which its clock is before that of the world
	keys  []uint64

	gen  uint32 // of the subscription
	at   int32  // the member; -1: none
	feed *ringmap.Feed
	told *ringmap.Snapshot // of which the feed tells
	more bool              // the last message said that there is more
	busy bool              // a message is on its way
	due  time.Duration     // when the feed is asked again
	kept time.Duration     // until then it may keep what the member before has told
	last time.Duration     // when a message came

	has       []ringmap.Claim          // what it must have
	doubts    []uint64                 // of the member, in its last message
	doubted   map[uint64]time.Duration // by members before, and when
	forward   invariant.Forward
	answers   invariant.Forward
	confirmed invariant.Confirmed
}

func (k *client) clock(now time.Duration) time.Duration { return now + k.ahead }

// update is a message to a client on its way.
type update struct {
	message ringmap.Update
	of      *ringmap.Snapshot
	as      time.Duration // that the map of the member was certain as of
}

// confirmation is the answer of an owner to a client on its way.
type confirmation struct {
	owner ring.Member
	arc   ring.Arc
}

// spell is a time in which a member has claimed an arc.
type spell struct {
	from time.Duration
	arc  ring.Arc
}

// addClients adds the clients of a run.
func (w *world) addClients() {
	for i := range w.cfg.Clients {
		k := &client{
			name: fmt.Sprintf("client-%d", i), copy: ringmap.NewCopy(width), at: -1, doubted: map[uint64]time.Duration{},
			ahead: time.Duration(w.rng.Int64N(int64(spread * w.cfg.Interval))),
		}
		for range watched {
			k.keys = append(k.keys, w.load.Uint64())
		}
		w.clients = append(w.clients, k)
		w.queue.Push(w.now, event{kind: evMove, who: int32(i)})
		w.queue.Push(w.now+w.after(asksIn), event{kind: evClientLooks, who: int32(i)})
	}
}

// after is a time of so many intervals on average.
func (w *world) after(intervals float64) time.Duration {
	return w.between(intervals * w.cfg.Interval.Seconds())
}

// move has a client subscribe at another member.
func (w *world) move(i int32) {
	w.queue.Push(w.now+w.after(stays), event{kind: evMove, who: i})
	w.subscribe(i)
}

// subscribe lets another member tell a client of its map.
func (w *world) subscribe(i int32) {
	k := w.clients[i]
	w.unsubscribe(k)
	k.kept = k.last + ringmap.Promised(w.cfg.Interval)
	for _, id := range k.doubts {
		k.doubted[id] = k.last
	}
	k.doubts = nil
	at := w.members[w.ring[w.load.IntN(len(w.ring))]].first
	x := w.members[at]
	sub := k.copy.Subscribe(k.clock(w.now), x.self)
	k.at, k.gen, k.busy, k.more, k.due = at, k.gen+1, false, true, 0
	k.told = x.m.Snapshot()
	k.feed = ringmap.NewFeed(&sub, k.told, w.cfg.Interval, x.clock(w.now))
	w.tell(i)
}

func (w *world) unsubscribe(k *client) {
	if k.feed != nil {
		k.feed.Close()
	}
	k.feed, k.at = nil, -1
}

// tellAll lets a process tell its clients what is new.
func (w *world) tellAll(of int32) {
	for i, k := range w.clients {
		if k.at == of {
			w.tell(int32(i))
		}
	}
}

// tell makes the next message to a client, if it has the one before.
func (w *world) tell(i int32) {
	k := w.clients[i]
	if k.busy || k.feed == nil {
		return
	}
	x := w.members[k.at]
	s := x.m.Snapshot()
	u, ok := k.feed.Next(s, x.clock(w.now))
	if !ok {
		if at := k.feed.Due() - x.ahead; k.due <= w.now || at < k.due {
			k.due = max(at, w.now)
			w.queue.Push(k.due, event{kind: evFeed, who: i, gen: k.gen})
		}
		return
	}
	if !k.more {
		k.told = s
	}
	k.more = u.More
	age, _ := k.told.Age(x.clock(w.now))
	w.updates = append(w.updates, update{u.Clone(), k.told, w.now - age})
	arrives := w.now + w.cfg.Latency.Draw(w.net)
	if w.net.IntN(lateTells) == 0 {
		arrives += w.after(stays) // it hangs; what changes is merged meanwhile
	}
	k.busy = true
	w.queue.Push(arrives, event{kind: evTold, who: i, gen: k.gen, slot: int32(len(w.updates) - 1)})
}

// receive lets a message arrive at a client.
func (w *world) receive(e event) {
	k := w.clients[e.who]
	if e.gen != k.gen || k.at < 0 {
		return
	}
	k.busy = false
	u := &w.updates[e.slot]
	if w.net.Float64() < w.cfg.Drops { // no stream does this; a member may
		w.tell(e.who)
		return
	}
	if err := k.copy.Receive(k.clock(w.now), &u.message); err != nil {
		w.result.Restarts++
		w.subscribe(e.who)
		return
	}
	if k.copy.Current() {
		k.last = w.now
		if !u.message.More {
			k.doubts = u.message.Doubts
			k.has = slices.Collect(u.of.All())
		}
	}
	w.judgeCopy(k, u)
	w.tell(e.who)
}

// judgeCopy holds what a client has against what it was told.
func (w *world) judgeCopy(k *client, u *update) {
	s := k.copy.Snapshot()
	same := func(a, b ringmap.Claim) bool {
		return a.ID == b.ID && a.After == b.After && a.Epoch == b.Epoch && a.Owner() == b.Owner()
	}
	if got := slices.Collect(s.All()); !slices.EqualFunc(got, k.has, same) {
		w.violate("%s: %s has %d claims, and others than the %d that it was told", invariant.CopyIsTold, k.name, len(got), len(k.has))
		k.has = got
	}
	if age, ok := s.Age(k.clock(w.now)); ok {
		if as := w.now - age; k.copy.Current() && !u.message.More && as > u.as {
			w.violate("%s: %s takes its map for %v old, and that of its member was certain as of %v ago", invariant.CopyAge, k.name, age, w.now-u.as)
		}
		maps.DeleteFunc(k.doubted, func(_ uint64, at time.Duration) bool { return w.now-age > at }) // certain again
	}
	for _, c := range s.Circle(0, k.clock(w.now), ringmap.Promised(w.cfg.Interval)) {
		broken := cmp.Or(k.confirmed.Name(c.Owner(), c.ID), k.confirmed.Name(c.Owner(), c.After+1))
		if broken != "" {
			w.violate("%s: %s: of the whole circle, %s", invariant.CopyConfirmed, k.name, broken)
			break
		}
	}
	for _, key := range k.keys {
		c := s.Known(key)
		if c == nil {
			continue
		}
		if broken := k.forward.See(key, c.Epoch); broken != "" && w.now < k.kept && w.cfg.Cut == 0 {
			w.violate("%s: %s: %s", invariant.CopyForward, k.name, broken)
		}
	}
}

// clientLooks lets a client look a key up, and ask its owner if memory does not answer.
func (w *world) clientLooks(i int32) {
	k := w.clients[i]
	w.queue.Push(w.now+w.after(asksIn), event{kind: evClientLooks, who: i})
	if w.net.IntN(doubtful) == 0 && k.at >= 0 && !w.quiet {
		x := w.members[k.at] // a connection breaks
		w.changed = w.now
		x.m.Strike(x.clock(w.now), 0, w.members[w.ring[w.net.IntN(len(w.ring))]].self.Instance())
		w.carry(k.at)
	}
	key := k.keys[w.load.IntN(len(k.keys))]
	c, as, ok := k.copy.Snapshot().Lookup(key, k.clock(w.now), ringmap.Promised(w.cfg.Interval))
	if !ok {
		w.result.ClientAsked++
		w.askOwner(i, key)
		return
	}
	w.result.ClientMemory++
	owner := c.Owner()
	if broken := k.confirmed.Name(owner, key); broken != "" {
		w.violate("%s: %s: %s", invariant.CopyConfirmed, k.name, broken)
	}
	if broken := k.answers.See(key, c.Epoch); broken != "" && w.cfg.Cut == 0 {
		w.violate("%s: %s: %s", invariant.CopyForward, k.name, broken)
	}
	as -= k.ahead
	if at, ok := k.doubted[c.ID]; ok && as <= at {
		w.violate("%s: %s names %s by what is %v old, and %v ago it was in doubt", invariant.CopyDoubts, k.name, owner.Name, w.now-as, w.now-at)
	}
	if !w.owned(owner, key, as) {
		w.violate("%s: %s says that %s owned %d %v ago or later, and it did not", invariant.CopyAge, k.name, owner.Name, key, w.now-as)
	}
}

// askOwner lets a client ask the owner of a key.
func (w *world) askOwner(i int32, key uint64) {
	k := w.clients[i]
	x := w.members[w.owner(key, false)]
	arc := ring.Arc{After: x.after, To: x.self.ID}
	if !x.has || !arc.Contains(key) {
		return
	}
	took := 2 * w.cfg.Latency.Draw(w.net)
	if w.net.IntN(lateAsks) == 0 {
		took += time.Duration(w.net.Int64N(int64(slowAsk * w.cfg.Interval)))
	}
	w.confirmations = append(w.confirmations, confirmation{x.self, arc})
	k.confirmed.Confirm(x.self, arc)
	w.queue.Push(w.now+took, event{kind: evConfirmed, who: i, slot: int32(len(w.confirmations) - 1)})
}

// confirm lets the answer of an owner arrive.
func (w *world) confirm(e event) {
	x, k := w.confirmations[e.slot], w.clients[e.who]
	k.copy.Confirm(x.owner, x.arc)
	delete(k.doubted, x.owner.ID)
}

// lostClients has the clients of a process that is gone subscribe elsewhere, and doubt it.
func (w *world) lostClients(process int32) {
	gone := w.members[process].self
	for i, k := range w.clients {
		if w.net.IntN(2) == 0 { // there is a connection to it
			k.copy.Strike(k.clock(w.now), func(x ring.Member) bool { return x.Addr == gone.Addr })
		}
		if k.at == process {
			w.subscribe(int32(i))
		}
	}
}

// note keeps what a member claims from now on, so that clients can be judged.
func (w *world) note(x *member) {
	if w.cfg.Clients > 0 {
		x.spells = append(x.spells, spell{w.now, ring.Arc{After: x.after, To: x.self.ID}})
	}
}

// owned reports whether a member has claimed an identifier at a time or later.
func (w *world) owned(owner ring.Member, id uint64, as time.Duration) bool {
	k := host(owner)
	for w.members[k].self.ID != owner.ID {
		k++
	}
	x := w.members[k]
	for i, s := range x.spells {
		end := w.now
		if i+1 < len(x.spells) {
			end = x.spells[i+1].from
		} else if !x.up {
			end = x.died
		}
		if end >= as && s.arc.Contains(id) {
			return x.self.Incarnation == owner.Incarnation
		}
	}
	return false
}
