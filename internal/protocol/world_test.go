package protocol

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// world drives machines over a network of its own: virtual time, one seed.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Duration
	seq   uint64
	queue events
	hosts map[string]*host // by address
	// vip, if set, is the address of a load balancer: each question to it goes to
	// one of all that are up, drawn anew.
	vip     string
	backend func(asker *host) *host // nil: anyone
	order   []*host
	latency func(from, to string) time.Duration // negative: the message is lost
	timeout time.Duration
	r       int
	sent    map[RequestKind]int
	// recorded counts answers about the head by how often facts were recorded when one
	// was used.
	recorded [5]int
}

type host struct {
	m        *Machine
	addr     string
	up       bool
	frozen   bool
	wake     time.Duration
	tokens   map[uint64]func(Reply, *Failure)
	token    uint64
	joinDone *JoinDone
	departed bool
	ranges   []RangeChanged
	met      []RingMet
	strange  []Stranger
	view     *View
}

type timed struct {
	at  time.Duration
	seq uint64
	do  func()
}
type events []timed

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(timed)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

const interval = time.Second

func newWorld(t *testing.T, seed uint64, r int) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), hosts: map[string]*host{}, r: r, timeout: 300 * time.Millisecond, sent: map[RequestKind]int{}}
	w.latency = func(string, string) time.Duration {
		return time.Duration(1+w.rng.IntN(20)) * time.Millisecond
	}
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, timed{w.now + d, w.seq, do})
}

func (w *world) add(name string, id uint64, addr string, inc uint64) *host {
	self := ring.Member{ID: id, Name: name, Addr: addr, Incarnation: inc}
	h := &host{addr: addr, up: true, tokens: map[uint64]func(Reply, *Failure){}}
	h.m = New(self, Config{Bits: 64, Successors: w.r, Interval: interval}, w.rng.Uint64())
	w.hosts[addr] = h
	w.order = append(w.order, h)
	return h
}

func (w *world) member(i int) *host {
	name := fmt.Sprintf("n%d", i)
	return w.add(name, ring.SHA256([]byte(name)), fmt.Sprintf("h%d:1", i), 1000)
}

func (w *world) step(h *host, ev Event) {
	if !h.up {
		return
	}
	a, answered := ev.(Answer)
	answered = answered && h.m.Role(a.Call) == RoleStabilize
	for _, e := range h.m.Step(w.now, ev) {
		w.effect(h, e)
	}
	if answered {
		w.recorded[min(h.m.recorded, len(w.recorded)-1)]++
	}
	for _, s := range h.m.succ {
		if s.ID == h.m.self.ID {
			w.t.Fatalf("%v lists itself", h.m.self)
		}
	}
	if len(h.m.acq.list) > h.m.cfg.Acquaintances {
		w.t.Fatalf("%d acquaintances", len(h.m.acq.list))
	}
}

func (w *world) effect(h *host, e Effect) {
	switch e := e.(type) {
	case Ask:
		w.request(h, e.To, e.Request, e.Attempt, e.Patient, func(r Reply, f *Failure) {
			w.step(h, Answer{Call: e.Call, Reply: r, Failure: f})
		})
	case Tell:
		w.request(h, e.To, e.Request, 0, false, func(Reply, *Failure) {})
	case Respond:
		if reply := h.tokens[e.Token]; reply != nil {
			delete(h.tokens, e.Token)
			reply(e.Reply, e.Failure)
		}
	case WakeAt:
		h.wake = e.At
		w.after(e.At-w.now, func() {
			if h.wake == e.At {
				w.step(h, Tick{})
			}
		})
	case Publish:
		h.view = e.View
	case RangeChanged:
		h.ranges = append(h.ranges, e)
	case RingMet:
		h.met = append(h.met, e)
	case Stranger:
		h.strange = append(h.strange, e)
	case JoinDone:
		h.joinDone = &e
	case DepartDone:
		h.departed = true
	}
}

// leads is who is reached by a question of h to addr.
func (w *world) leads(h *host, addr string) *host {
	if addr != w.vip || addr == "" {
		return w.hosts[addr]
	}
	if w.backend != nil {
		return w.backend(h)
	}
	var up []*host
	for _, x := range w.order {
		if x.up {
			up = append(up, x)
		}
	}
	return up[w.rng.IntN(len(up))]
}

// request carries a question to whoever is at the address, and what becomes of
// it back.
func (w *world) request(from *host, to ring.Member, req Request, attempt int, patient bool, done func(Reply, *Failure)) {
	w.sent[req.Kind]++
	over := false
	finish := func(r Reply, f *Failure) {
		if !over {
			over = true
			done(r, f)
		}
	}
	limit := w.timeout << attempt
	if patient {
		limit = 8 * time.Second
	}
	w.after(limit, func() { finish(Reply{}, &Failure{Kind: TimedOut}) })
	self := from.m.self
	d := w.latency(from.addr, to.Addr)
	if d < 0 {
		return
	}
	w.after(d, func() {
		back := func(r Reply, f *Failure) {
			if d := w.latency(to.Addr, from.addr); d >= 0 {
				w.after(d, func() { finish(r, f) })
			}
		}
		h := w.leads(from, to.Addr)
		if h == nil || !h.up {
			back(Reply{}, &Failure{Kind: Refused})
			return
		}
		if h.frozen {
			return
		}
		if to.Name != "" && (to.ID != h.m.self.ID || to.Incarnation != h.m.self.Incarnation) {
			back(Reply{}, &Failure{Kind: WrongMember, By: h.m.self, Origin: h.m.State().Origin})
			return
		}
		h.token++
		h.tokens[h.token] = back
		w.step(h, Asked{Token: h.token, From: self, Request: req})
	})
}

func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(timed)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// until runs until the condition holds and says how long that took.
func (w *world) until(limit time.Duration, what string, cond func() bool) time.Duration {
	w.t.Helper()
	start := w.now
	for w.now-start < limit {
		if cond() {
			return w.now - start
		}
		w.run(10 * time.Millisecond)
	}
	w.t.Fatalf("after %v still not: %s\n%s", limit, what, w)
	return 0
}

func (w *world) live() []*host {
	var out []*host
	for _, h := range w.order {
		if h.up && !h.frozen && h.m.phase == Joined {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b *host) int {
		if a.m.self.ID < b.m.self.ID {
			return -1
		}
		return 1
	})
	return out
}

// ideal reports what is not yet exactly right among the live members.
func (w *world) wrong(want int) string {
	ms := w.live()
	if len(ms) != want {
		return fmt.Sprintf("%d members, want %d", len(ms), want)
	}
	n := len(ms)
	for i, h := range ms {
		var list []ring.Member
		for k := 1; k <= min(w.r, n-1); k++ {
			list = append(list, ms[(i+k)%n].m.self)
		}
		if !slices.Equal(list, h.m.succ) {
			return fmt.Sprintf("%v: successors %v, want %v", h.m.self, h.m.succ, list)
		}
		pred := ring.Member{}
		if n > 1 {
			pred = ms[(i+n-1)%n].m.self
		}
		if h.m.pred != pred {
			return fmt.Sprintf("%v: predecessor %v, want %v", h.m.self, h.m.pred, pred)
		}
	}
	return ""
}

func (w *world) ideal(limit time.Duration, want int) time.Duration {
	w.t.Helper()
	var last string
	start := w.now
	for w.now-start <= limit {
		if last = w.wrong(want); last == "" {
			return w.now - start
		}
		w.run(5 * time.Millisecond)
	}
	for _, h := range w.order {
		if len(h.m.rects) > 0 {
			w.t.Logf("RECTS of %s pred %s:", h.m.self.Name, h.m.pred.Name)
			for _, r := range h.m.rects {
				w.t.Logf("RECT n=%s asked=%s call=%d gone=%s steps=%d joining=%v met=%v token=%d", r.n.Name, r.asked.Name, r.call, r.gone.Name, r.steps, r.joining, r.met, r.token)
			}
		}
	}
	w.t.Fatalf("not ideal after %v: %s\n%s", limit, last, w)
	return 0
}

func (w *world) String() string {
	var b strings.Builder
	for _, h := range w.order {
		fmt.Fprintf(&b, "%s up=%v frozen=%v %v id=%d pred=%s succ=", h.m.self.Name, h.up, h.frozen, h.m.phase, h.m.self.ID, h.m.pred.Name)
		for _, s := range h.m.succ {
			b.WriteString(s.Name + " ")
		}
		b.WriteString(" acq=")
		for _, a := range h.m.acq.list {
			fmt.Fprintf(&b, "%s[p%v s%d n%d] ", a.Name, a.pending, a.failures, a.next)
		}
		fmt.Fprintf(&b, " round=%d stabilization=%v placing=%v rects=%d\n", h.m.round, h.m.stabilization.open, h.m.placing.open, len(h.m.rects))
	}
	return b.String()
}

// ringOf makes an ideal ring of n by joins.
func ringOf(t *testing.T, seed uint64, r, n int) *world {
	w := newWorld(t, seed, r)
	first := w.member(0)
	w.step(first, Create{})
	for i := 1; i < n; i++ {
		h := w.member(i)
		w.step(h, Join{Via: []string{w.order[w.rng.IntN(i)].addr}})
		w.until(5*time.Second, "joined", func() bool { return h.joinDone != nil })
		if h.joinDone.Causes != nil {
			t.Fatalf("join %d: %+v", i, h.joinDone.Causes)
		}
	}
	w.ideal(20*time.Second, n)
	return w
}

// kin makes the rings of some members akin.
func kin(of *host, others ...*host) {
	for _, h := range others {
		h.m.origin = of.m.origin
	}
}

// rejoin keeps trying as the runtime does.
func (w *world) rejoin(h *host, via string) {
	h.joinDone = nil
	w.step(h, Join{Via: []string{via}})
	var watch func()
	watch = func() {
		if h.joinDone != nil {
			if h.joinDone.Causes == nil {
				return
			}
			h.joinDone = nil
			w.step(h, Join{Via: []string{via}})
		}
		w.after(100*time.Millisecond, watch)
	}
	w.after(100*time.Millisecond, watch)
}

// place puts a member into the ring with the given pointers, as it might stand
// after any history.
func (h *host) place(succ []ring.Member, pred ring.Member, known ...ring.Member) {
	self := h.m.self
	slices.SortFunc(succ, func(a, b ring.Member) int { return cmp.Compare(a.ID-self.ID, b.ID-self.ID) })
	h.m = Restore(self, h.m.cfg, self.ID, Snapshot{Pred: pred, Succ: succ, Pending: known})
}
