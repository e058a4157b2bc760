package mapsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/ringmap"
)

// Run runs one seed. The same Config and seed give the same Result, but for Seconds.
func Run(cfg Config, seed uint64) (Result, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	w := newWorld(cfg, seed)
	w.settle()
	w.addClients()
	warm := Warmup * cfg.Interval
	w.loadFrom(cfg.Interval)
	w.advance(warm)
	w.size, w.count = [6]int{}, 0
	w.ages, w.circles = nil, nil
	r := &w.result
	r.Right, r.Wrong, r.Asked, r.Unknown, r.Old = 0, 0, 0, 0, 0
	if cfg.Session > 0 {
		w.queue.Push(w.now+w.pause(), event{kind: evDeath})
		w.queue.Push(w.now+w.pause(), event{kind: evJoin})
	}
	if cfg.Cut > 0 {
		w.queue.Push(warm+(cfg.Duration-cfg.Cut)/2, event{kind: evCut})
		w.queue.Push(warm+(cfg.Duration+cfg.Cut)/2, event{kind: evHeal})
	}
	w.advance(warm + cfg.Duration)
	w.report()
	w.quiet = true
	for k := range 60 {
		w.runTo(w.now + cfg.Interval)
		if cfg.Progress != nil {
			cfg.Progress(1)
		}
		if w.settled(false) {
			r.Settled = float64(k + 1)
			break
		}
	}
	if r.Settled < 0 {
		w.settled(true)
	}
	r.Trace = w.trace()
	r.Seconds = time.Since(began).Seconds()
	return *r, nil
}

// advance is runTo in steps, after each of which Progress is called.
func (w *world) advance(end time.Duration) {
	whole := Warmup*w.cfg.Interval + w.cfg.Duration
	for w.now < end {
		w.runTo(min(end, w.now+max(time.Millisecond, whole/100)))
		if w.cfg.Progress != nil {
			w.cfg.Progress(float64(w.now) / float64(whole))
		}
	}
}

func (w *world) runTo(end time.Duration) {
	for w.queue.Due(end) {
		var e event
		w.now, e = w.queue.Pop()
		w.result.Events++
		w.happen(e)
	}
	w.now = end
}

func (w *world) happen(e event) {
	switch e.kind {
	case evTick:
		if x := w.members[e.who]; x.up && x.tick == w.now {
			x.tick = -1
			x.m.Tick(x.clock(w.now))
			w.carry(e.who)
		}
	case evRound:
		if w.members[e.who].up {
			w.round(e.who)
			w.queue.Push(w.now+w.cfg.Interval, event{kind: evRound, who: e.who})
		}
	case evAskAgain:
		w.askAgain(e.who)
	case evRequest:
		w.request(e)
	case evReply:
		w.reply(e)
	case evTimeout:
		w.timeout(e)
	case evDetect:
		w.detect(e.who)
	case evDeath:
		w.death()
	case evJoin:
		w.join()
	case evLookup:
		w.lookUp()
		w.loadFrom(w.between(1 / w.cfg.Lookups))
	case evWatch:
		w.look(int(e.slot))
	case evCut:
		w.cut = true
	case evHeal:
		w.cut, w.changed = false, w.now
	default:
		w.happenToClient(e)
	}
}

func (w *world) happenToClient(e event) {
	switch e.kind {
	case evMove:
		w.move(e.who)
	case evFeed:
		if k := w.clients[e.who]; k.gen == e.gen {
			w.tell(e.who)
		}
	case evTold:
		w.receive(e)
	case evClientLooks:
		w.clientLooks(e.who)
	case evConfirmed:
		w.confirm(e)
	}
}

// request lets a request arrive.
func (w *world) request(e event) {
	c := &w.calls[e.slot]
	if c.gen != e.gen || !c.open {
		return
	}
	to, from := w.members[c.to], w.members[c.from]
	if !to.up {
		if !to.mute {
			w.fail(e.slot, true)
		}
		return
	}
	if w.cut && to.side != from.side {
		return
	}
	if !to.m.Allow(to.clock(w.now), from.self.Process(), &c.request) {
		w.violate("%s has pushed so much to %s that it is not answered", from.self.Name, to.self.Name)
	}
	c.reply = to.m.Receive(to.clock(w.now), &c.request)
	w.measure(0, c.reply.Size())
	if !w.lost() {
		w.queue.Push(w.now+w.cfg.Latency.Draw(w.net), event{kind: evReply, slot: e.slot, gen: e.gen})
	}
	w.carry(c.to)
}

func (w *world) reply(e event) {
	c := &w.calls[e.slot]
	if c.gen != e.gen || !c.open {
		return
	}
	x := w.members[c.from]
	i, id, r := c.from, c.id, c.reply
	if w.now-c.sent > w.cfg.Interval/slowly {
		w.slow = w.now
	}
	w.close(e.slot)
	if x.up {
		x.m.Answered(x.clock(w.now), id, &r)
		w.carry(i)
	}
}

func (w *world) timeout(e event) {
	if c := &w.calls[e.slot]; c.gen == e.gen && c.open {
		w.slow = w.now
		w.fail(e.slot, false)
	}
}

func (w *world) fail(slot int32, gone bool) {
	c := &w.calls[slot]
	i, id := c.from, c.id
	w.close(slot)
	if x := w.members[i]; x.up {
		x.m.Failed(x.clock(w.now), id, gone)
		w.carry(i)
	}
}

func (w *world) close(slot int32) {
	c := &w.calls[slot]
	*c = message{gen: c.gen}
	w.free = append(w.free, slot)
}

// round is one in which a member asks its successor for its ring.
func (w *world) round(i int32) {
	x := w.members[i]
	if len(w.ring) < 2 {
		return
	}
	if x.succ >= 0 && !w.reaches(x, w.members[x.succ]) {
		w.queue.Push(w.now+w.patience(), event{kind: evDetect, who: i})
		return
	}
	s := w.owner(x.self.ID+1, x.side)
	if s < 0 || s == i {
		return
	}
	x.succ = s
	w.setPred(s, i)
	if asked, answered := !w.lost(), !w.lost(); !asked || !answered {
		// As in the protocol, one time-out is no evidence: it asks once more.
		w.queue.Push(w.now+w.patience(), event{kind: evAskAgain, who: i})
		return
	}
	w.headSays(i)
}

// askAgain is the second question of a round whose first got no answer.
func (w *world) askAgain(i int32) {
	x := w.members[i]
	asked, answered := !w.lost(), !w.lost()
	if x.up && x.succ >= 0 && w.reaches(x, w.members[x.succ]) && asked && answered {
		w.headSays(i)
	}
}

// headSays lets a member hear what its successor says of itself.
func (w *world) headSays(i int32) {
	x := w.members[i]
	y := w.members[x.succ]
	x.m.Head(x.clock(w.now), x.clock(w.now), x.self.ID, ringmap.Claim{ID: y.self.ID, After: y.after, Epoch: y.epoch, Of: &y.self})
	w.carry(i)
}

// detect lets a member notice that its successor is gone.
func (w *world) detect(i int32) {
	x := w.members[i]
	if !x.up || x.succ < 0 || w.reaches(x, w.members[x.succ]) {
		return
	}
	x.m.Strike(x.clock(w.now), 0, w.members[x.succ].self.Instance())
	s := w.owner(x.self.ID+1, x.side)
	if s < 0 {
		return
	}
	if x.succ = s; s == i {
		x.epoch = max(x.epoch, x.m.MaxEpoch(ring.Arc{After: x.self.ID, To: x.self.ID})) + 1
		x.after = x.self.ID
		w.own(i)
		return
	}
	w.setPred(s, i)
	y := w.members[s]
	x.m.Head(x.clock(w.now), x.clock(w.now), x.self.ID, ringmap.Claim{ID: y.self.ID, After: y.after, Epoch: y.epoch, Of: &y.self})
	w.carry(i)
}

// pause is the time until the next death, or the next join.
func (w *world) pause() time.Duration {
	return w.between(w.cfg.Session.Seconds() / float64(w.cfg.Members))
}

func (w *world) between(mean float64) time.Duration {
	return time.Duration(w.rng.ExpFloat64() * mean * float64(time.Second))
}

func (w *world) death() {
	if w.quiet {
		return
	}
	w.queue.Push(w.now+w.pause(), event{kind: evDeath})
	if len(w.ring) < 3*w.cfg.Identifiers {
		return
	}
	w.result.Deaths++
	w.changed = w.now
	k := w.rng.IntN(len(w.ring))
	i := w.ring[k]
	first := w.members[i].first
	all := w.members[first : int(first)+w.cfg.Identifiers]
	mute := w.rng.Float64() < w.cfg.Silent
	w.ring = slices.DeleteFunc(w.ring, func(i int32) bool { return w.members[i].first == first })
	for _, x := range all {
		x.up, x.m, x.mute, x.died = false, nil, mute, w.now
	}
	w.lostClients(first)
	for _, x := range all {
		if p := w.before(x.self.ID, x.side); p >= 0 && !mute {
			w.queue.Push(w.now+3*w.cfg.Latency.Draw(w.net), event{kind: evDetect, who: p})
		}
		w.watch(x.self.ID, false)
	}
}

func (w *world) join() {
	if w.quiet {
		return
	}
	w.queue.Push(w.now+w.pause(), event{kind: evJoin})
	w.result.Joins++
	w.changed = w.now
	for _, i := range w.newcomer() {
		w.joinAt(i)
	}
}

// joinAt lets a process join at one of its identifiers.
func (w *world) joinAt(i int32) {
	x := w.members[i]
	s := w.owner(x.self.ID, x.side)
	if s < 0 {
		return
	}
	p := w.before(x.self.ID, x.side)
	w.ring = slices.Insert(w.ring, w.place(x.self.ID), i)
	x.up, x.succ = true, s
	w.setPred(s, i)
	y := w.members[s]
	x.m.Head(x.clock(w.now), x.clock(w.now), x.self.ID, ringmap.Claim{ID: y.self.ID, After: y.after, Epoch: y.epoch, Of: &y.self})
	w.carry(i)
	w.begin(i)
	if q := w.members[p]; q.succ == s {
		q.succ = i
		w.setPred(i, p)
		q.m.Head(q.clock(w.now), q.clock(w.now), q.self.ID, ringmap.Claim{ID: x.self.ID, After: x.after, Epoch: x.epoch, Of: &x.self})
		w.carry(p)
	}
	w.watch(x.self.ID, true)
}

func (w *world) violate(format string, args ...any) {
	if len(w.result.Violations) < 5 {
		w.result.Violations = append(w.result.Violations, fmt.Sprintf("at %v: ", w.now)+fmt.Sprintf(format, args...))
	}
}
