package protocol

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

const foundAfter = 3 * time.Second

// find lets h join or found, as the runtime does: a join that fails is begun
// again.
func (w *world) find(h *host, found time.Duration, via ...string) {
	w.findBy(h, Join{Via: via, Found: found})
}

func (w *world) findBy(h *host, join Join) {
	h.joinDone = nil
	w.step(h, join)
	var watch func()
	watch = func() {
		if h.joinDone != nil && h.joinDone.Causes != nil {
			join.Attempt++
			h.joinDone = nil
			w.step(h, join)
		}
		if h.joinDone == nil {
			w.after(50*time.Millisecond, watch)
		}
	}
	watch()
}

// group makes n members that are down and returns their addresses.
func (w *world) group(n int) []string {
	var via []string
	for i := range n {
		h := w.member(i)
		h.up = false
		via = append(via, h.addr)
	}
	return via
}

// startAt starts h after a while.
func (w *world) startAt(d time.Duration, h *host, found time.Duration, via ...string) {
	w.after(d, func() {
		h.up = true
		w.find(h, found, via...)
	})
}

// upTo is a duration drawn from [0, d).
func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

// founders are the members that founded.
func (w *world) founders() []*host {
	var out []*host
	for _, h := range w.order {
		if slices.ContainsFunc(h.ranges, func(r RangeChanged) bool { return r.Cause == CauseCreated }) {
			out = append(out, h)
		}
	}
	return out
}

// oneRing runs until the members that are up are one ideal ring of n, and says
// how long that took.
func (w *world) oneRing(limit time.Duration, n int) time.Duration {
	w.t.Helper()
	began := w.now
	for w.now-began < limit {
		if w.wrong(n) == "" {
			return w.now - began
		}
		w.run(50 * time.Millisecond)
	}
	w.t.Fatalf("not one ring after %v: %s\n%s", limit, w.wrong(n), w)
	return 0
}

var allSeeds = flag.Bool("all", false, "try all seeds, not a quarter of them")

// seedsOf is how many seeds are tried: count with -all, a quarter without it, and a tenth with
// -short and under the race detector, which has nothing to find in a single goroutine; but one.
func seedsOf(count int) uint64 {
	switch {
	case testing.Short() || raceEnabled:
		count /= 10
	case !*allSeeds:
		count /= 4
	}
	return uint64(max(count, 1))
}

// report says how long it took, over all seeds.
func report(t *testing.T, took []time.Duration) {
	slices.Sort(took)
	t.Logf("%d seeds: one ring after %v at the median, %v at most", len(took), took[len(took)/2], took[len(took)-1])
}

func TestSixteenFoundOneRing(t *testing.T) {
	for _, what := range []string{"at once", "one after another"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sixteenFound(t, what == "at once")
		})
	}
}

func sixteenFound(t *testing.T, atOnce bool) {
	var took []time.Duration
	for seed := range seedsOf(500) {
		w := newWorld(t, seed, 3)
		w.timeout = time.Second
		slowest := time.Millisecond + w.upTo(150*time.Millisecond)
		w.latency = func(string, string) time.Duration { return w.upTo(slowest) }
		via := w.group(16)
		spread := time.Millisecond
		if !atOnce {
			spread += w.upTo(2 * foundAfter)
		}
		for _, h := range w.order {
			w.startAt(w.upTo(spread), h, foundAfter, via...)
		}
		w.run(spread)
		took = append(took, w.oneRing(20*time.Second, 16))
		if f := w.founders(); len(f) != 1 {
			t.Fatalf("seed %d: %d founders\n%s", seed, len(f), w)
		}
	}
	report(t, took)
}

// Whoever is not in the list waits for those who are.
func TestOnlyThoseListedFound(t *testing.T) {
	for seed := range seedsOf(100) {
		w := newWorld(t, seed, 3)
		all := w.group(16)
		listed := all[:3]
		for _, h := range w.order[3:] {
			w.startAt(w.upTo(time.Second), h, foundAfter, listed...)
		}
		w.run(10 * time.Second)
		if f := w.founders(); len(f) > 0 {
			t.Fatalf("seed %d: %s founded, and is in no list", seed, f[0].m.self.Name)
		}
		for _, h := range w.order[:3] {
			w.startAt(w.upTo(time.Second), h, foundAfter, listed...)
		}
		w.run(time.Second)
		d := w.oneRing(5*time.Second, 16)
		if f := w.founders(); len(f) != 1 || !slices.Contains(listed, f[0].addr) {
			t.Fatalf("seed %d: %d founders", seed, len(f))
		}
		if d > 4*time.Second {
			t.Errorf("seed %d: one ring %v after the last of the list was started", seed, d)
		}
	}
}

func TestFoundingWithFaults(t *testing.T) {
	smallest := func(w *world) *host {
		return slices.MinFunc(w.order, func(a, b *host) int { return cmp.Compare(a.m.self.ID, b.m.self.ID) })
	}
	start := func(w *world, spread time.Duration, via []string, hosts ...*host) {
		for _, h := range hosts {
			w.startAt(w.upTo(spread), h, foundAfter, via...)
		}
	}
	for _, tc := range []struct {
		name     string
		run      func(w *world, via []string)
		members  int
		founders int // at most
		limit    time.Duration
	}{
		{"a fifth of the messages lost", func(w *world, via []string) {
			normal := w.latency
			w.latency = func(a, b string) time.Duration {
				if w.now < 10*time.Second && w.rng.IntN(5) == 0 {
					return -1
				}
				return normal(a, b)
			}
			start(w, time.Second, via, w.order...)
		}, 16, 2, 60 * time.Second},
		{"one is dead", func(w *world, via []string) {
			start(w, time.Second, via, w.order[1:]...)
		}, 15, 1, 6 * time.Second},
		{"the smallest is dead", func(w *world, via []string) {
			low := smallest(w)
			start(w, time.Second, via, slices.DeleteFunc(slices.Clone(w.order), func(h *host) bool { return h == low })...)
		}, 15, 1, 6 * time.Second},
		{"the smallest dies when it was chosen", func(w *world, via []string) {
			// One that never comes up keeps the others from founding at once.
			low := smallest(w)
			others := slices.DeleteFunc(slices.Clone(w.order), func(h *host) bool { return h == low })
			start(w, time.Second, via, append(others[1:], low)...)
			w.after(time.Second+w.upTo(time.Second), func() {
				if f := others[1].m.State().Founder; f != low.m.self {
					w.t.Errorf("%v would found, want %v", f, low.m.self)
				}
				low.up = false
			})
		}, 14, 1, 8 * time.Second},
		{"the smallest hangs when it was chosen", func(w *world, via []string) {
			low := smallest(w)
			others := slices.DeleteFunc(slices.Clone(w.order), func(h *host) bool { return h == low })
			start(w, time.Second, via, append(others[1:], low)...)
			normal := w.latency
			w.latency = func(a, b string) time.Duration {
				if !low.up && (a == low.addr || b == low.addr) {
					return -1
				}
				return normal(a, b)
			}
			w.after(1500*time.Millisecond, func() { low.up = false })
			w.after(2*time.Minute, func() {
				low.up = true
				for _, o := range slices.Clone(low.m.bootstrap.others) {
					if o.call != 0 {
						w.step(low, Answer{Call: o.call, Failure: &Failure{Kind: TimedOut}})
					}
				}
				w.step(low, Tick{})
			})
			w.run(time.Minute)
			if f := w.founders(); w.wrong(14) != "" || len(f) != 1 {
				w.t.Errorf("%d founders, without the one that hangs: %s", len(f), w.wrong(14))
			}
			w.run(time.Minute)
		}, 15, 1, 10 * time.Second},
		{"the smallest dies when it has founded", func(w *world, via []string) {
			start(w, time.Second, via, w.order...)
			low := smallest(w)
			var watch func()
			watch = func() {
				if len(w.founders()) > 0 {
					low.up = false
					return
				}
				w.after(time.Millisecond, watch)
			}
			watch()
		}, 15, 2, 30 * time.Second},
		{"half of them come late", func(w *world, via []string) {
			start(w, time.Second, via, w.order[:8]...)
			w.run(10 * time.Second)
			start(w, time.Second, via, w.order[8:]...)
		}, 16, 1, 6 * time.Second},
		{"two halves cut apart", func(w *world, via []string) {
			normal, side := w.latency, map[string]bool{}
			for i, h := range w.order {
				side[h.addr] = i%2 == 0
			}
			w.latency = func(a, b string) time.Duration {
				if w.now < 2*time.Minute && side[a] != side[b] {
					return -1
				}
				return normal(a, b)
			}
			start(w, time.Second, via, w.order...)
			w.run(2 * time.Minute)
			if f := w.founders(); len(f) != 2 {
				w.t.Errorf("%d founders, want one on either side", len(f))
			}
		}, 16, 2, 60 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var took []time.Duration
			for seed := range seedsOf(50) {
				w := newWorld(t, seed, 3)
				via := w.group(16)
				tc.run(w, via)
				w.run(time.Second)
				took = append(took, w.oneRing(tc.limit, tc.members))
				if f := w.founders(); len(f) == 0 || len(f) > tc.founders {
					for _, h := range f {
						t.Logf("%s %+v", h.m.self, h.ranges)
					}
					t.Fatalf("seed %d: %d founders, want at most %d\n%s", seed, len(f), tc.founders, w)
				}
			}
			report(t, took)
		})
	}
}

// Founders that did not wait long enough to hear each other become one ring.
func TestHastyFoundersMerge(t *testing.T) {
	var took []time.Duration
	several := 0
	for seed := range seedsOf(50) {
		w := newWorld(t, seed, 3)
		w.latency = func(string, string) time.Duration { return 50*time.Millisecond + w.upTo(100*time.Millisecond) }
		via := w.group(16)
		for _, h := range w.order {
			w.startAt(w.upTo(200*time.Millisecond), h, 20*time.Millisecond, via...)
		}
		w.run(200 * time.Millisecond)
		took = append(took, w.oneRing(60*time.Second, 16))
		if len(w.founders()) > 1 {
			several++
		}
	}
	report(t, took)
	if several < len(took)/2 {
		t.Errorf("several founders in %d of %d seeds only: this tests nothing", several, len(took))
	}
}

// Nobody need be listed by all: those that look tell each other of others.
func TestFoundingWithDifferentLists(t *testing.T) {
	var took []time.Duration
	most := 0
	for seed := range seedsOf(200) {
		w := newWorld(t, seed, 3)
		all := w.group(8)
		for i, h := range w.order {
			// A chain: each knows itself and the one before it.
			w.startAt(w.upTo(time.Second), h, foundAfter, all[i], all[(i+7)%8])
		}
		w.run(time.Second)
		took = append(took, w.oneRing(60*time.Second, 8))
		most = max(most, len(w.founders()))
	}
	report(t, took)
	t.Logf("at most %d founders", most)
	if most > 3 {
		t.Errorf("%d founders", most)
	}
}

func TestWhoeverIsAloneInTheListFoundsAtOnce(t *testing.T) {
	w := newWorld(t, 1, 3)
	h := w.member(0)
	w.find(h, foundAfter, h.addr)
	w.run(foundAfter / 10) // it asks who answers there
	if h.joinDone == nil || h.joinDone.Causes != nil || h.m.phase != Joined {
		t.Errorf("phase %v", h.m.phase)
	}
}

func TestOwnAddressIsKnownByItsAnswer(t *testing.T) {
	w := newWorld(t, 1, 3)
	a, b := w.member(0), w.member(1)
	w.hosts["alias of a:1"], w.hosts["alias of b:1"] = a, b
	via := []string{"alias of a:1", "alias of b:1"}
	w.find(a, foundAfter, via...)
	w.find(b, foundAfter, via...)
	if took := w.oneRing(foundAfter+time.Second, 2); took < foundAfter {
		t.Errorf("one ring after %v: others may be at addresses that are nobody's own", took)
	}
	if f := w.founders(); len(f) != 1 {
		t.Errorf("%d founders", len(f))
	}
}

func TestJoinedMemberWinsOverFounding(t *testing.T) {
	for seed := range seedsOf(100) {
		w := ringOf(t, seed, 3, 3)
		h := w.add("zero", 0, "zero:1", 1000) // the smallest there can be
		w.find(h, foundAfter, h.addr, "nobody:1", w.order[1].addr)
		w.oneRing(2*time.Second, 4)
		if f := w.founders(); len(f) != 1 || f[0] == h {
			t.Errorf("%s founded", f[len(f)-1].m.self.Name)
		}
	}
}

// A member whose advertised address leads nowhere is heard and never met. It
// must not keep the others from founding.
func TestUnreachableMemberDoesNotHoldUpFounding(t *testing.T) {
	w := newWorld(t, 1, 3)
	via := w.group(3)
	bad := w.add("zero", 0, "nowhere:1", 1000)
	delete(w.hosts, bad.addr)
	for _, h := range w.order {
		w.startAt(0, h, foundAfter, append(via, bad.addr)...)
	}
	w.run(foundAfter + 2*time.Second)
	for _, h := range w.order[:3] {
		if h.m.phase != Joined {
			t.Errorf("%s is %v", h.m.self.Name, h.m.phase)
		}
	}
}

// The words that settle a case are given by hand here.
func TestWhoFounds(t *testing.T) {
	self, small, big := named(500, "m", 1), named(100, "s", 1), named(900, "b", 1)
	looks := func(who, founder ring.Member) Answer {
		return Answer{Reply: Reply{State: State{Self: who, Phase: Bootstrapping, Founder: founder}}}
	}
	refused := Answer{Failure: &Failure{Kind: Refused}}
	silent := Answer{Failure: &Failure{Kind: TimedOut}}
	otherRing := Answer{Failure: &Failure{Kind: WrongRing, Differing: []string{"Cluster"}}}
	for _, tc := range []struct {
		name    string
		small   Answer
		big     Answer
		founder ring.Member
		founds  bool // at once
		later   bool // when the time is over
	}{
		{"everybody names it", looks(ring.Member{}, ring.Member{}), looks(big, self), self, false, true},
		{"the other names it and one is refused", refused, looks(big, self), self, false, true},
		{"the other names itself yet", refused, looks(big, big), self, false, false},
		{"the other knows nobody", refused, looks(big, ring.Member{}), self, false, true},
		{"a smaller one looks", looks(small, small), looks(big, small), small, false, false},
		{"a smaller one may not found", looks(small, ring.Member{}), looks(big, self), self, false, true},
		{"a smaller one names it", looks(small, self), looks(big, self), self, true, true},
		{"the other names one that is unknown", refused, looks(big, named(300, "x", 1)), self, false, false},
		{"nobody answers", silent, silent, self, false, true},
		{"one is of another kind of ring", otherRing, refused, self, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
			var out []Effect
			step := func(ev Event) { out = append(out, m.Step(0, ev)...) }
			reply := func() {
				for len(out) > 0 {
					e := out[0]
					out = out[1:]
					q, ok := e.(Ask)
					if !ok || m.phase != Bootstrapping {
						continue
					}
					a := Answer{Failure: &Failure{Kind: Refused}}
					switch q.To.Addr {
					case small.Addr:
						a = tc.small
					case big.Addr:
						a = tc.big
					}
					a.Call = q.Call
					step(a)
				}
			}
			step(Join{Via: []string{self.Addr, small.Addr, big.Addr}, Found: foundAfter})
			reply()
			if m.phase == Bootstrapping && m.founder() != tc.founder {
				t.Errorf("names %v, want %v", m.founder(), tc.founder)
			}
			if got := m.phase == Joined; got != tc.founds {
				t.Errorf("founds at once: %v", got)
			}
			for range 2 * bootstrapRounds {
				step(Tick{})
				reply()
			}
			if got := m.phase == Joined; got != tc.later {
				t.Errorf("founds in the end: %v", got)
			}
		})
	}
}

func TestOnlyOtherKindsOfRingIsAnErrorAtOnce(t *testing.T) {
	self := named(500, "m", 1)
	m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	var done *JoinDone
	asks := slices.Clone(m.Step(0, Join{Via: []string{self.Addr, "a:1", "b:1"}, Found: foundAfter}))
	for _, e := range asks {
		if q, ok := e.(Ask); ok {
			for _, e := range m.Step(0, Answer{Call: q.Call, Failure: &Failure{Kind: WrongRing, Differing: []string{"Cluster"}}}) {
				if e, ok := e.(JoinDone); ok {
					done = &e
				}
			}
		}
	}
	if done == nil || len(done.Causes) != 2 || m.phase != Outside {
		t.Fatalf("%+v, phase %v; want both causes, and outside", done, m.phase)
	}
	for _, c := range done.Causes {
		if !c.Permanent() {
			t.Errorf("%+v can get better", c)
		}
	}
}

func TestGivingUpToLook(t *testing.T) {
	w := newWorld(t, 1, 3)
	a, b := w.member(0), w.member(1)
	w.step(a, Join{Via: []string{"nobody:1", b.addr}, Found: foundAfter})
	w.step(b, Join{Via: []string{a.addr}, Found: foundAfter})
	w.run(time.Second)
	causes, _ := a.m.JoinCauses()
	got := ""
	for _, c := range causes {
		got += fmt.Sprintf("%s %v; ", c.At.Addr, c.Failure)
	}
	if want := "nobody:1 connection refused; h1:1 not joined (answered by " + b.m.self.String() + "): looking; "; got != want {
		t.Errorf("causes %q, want %q", got, want)
	}
	w.step(a, GiveUp{})
	if a.m.phase != Outside || a.m.seeds != nil {
		t.Errorf("phase %v, seeds %v", a.m.phase, a.m.seeds)
	}
}

// A list longer than what may be asked at once is asked all the same, and what
// strangers name is bounded.
func TestLookingIsBounded(t *testing.T) {
	self := named(500, "m", 1)
	m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	var via []string
	for i := range 200 {
		via = append(via, fmt.Sprintf("h%d:1", i))
	}
	asked := map[string]bool{}
	var open []uint64
	take := func(out []Effect) {
		for _, e := range out {
			if q, ok := e.(Ask); ok {
				asked[q.To.Addr] = true
				open = append(open, q.Call)
			}
		}
		if len(open) > maxBootstrapAsks {
			t.Fatalf("%d questions open", len(open))
		}
	}
	take(m.Step(0, Join{Via: via, Found: foundAfter}))
	for range 10 {
		for len(open) > 0 {
			call := open[0]
			open = open[1:]
			take(m.Step(0, Answer{Call: call, Failure: &Failure{Kind: TimedOut}}))
		}
		take(m.Step(0, Tick{}))
	}
	if len(asked) != len(via) {
		t.Errorf("%d of %d addresses asked", len(asked), len(via))
	}
	for i := range uint64(100) {
		x := named(i, fmt.Sprintf("x%d", i), 1)
		take(m.Step(0, Asked{Token: i, From: x, Request: Request{Kind: Look, Subject: named(i, fmt.Sprintf("y%d", i), 1)}}))
	}
	if n := len(m.bootstrap.others) - len(via); n > maxLearned {
		t.Errorf("%d others, want at most %d", n, maxLearned)
	}
}

// behindOne starts n members, one after another within spread, that were all given
// the address of one load balancer, and runs until they are one ring.
func behindOne(w *world, n int, spread time.Duration) time.Duration {
	w.t.Helper()
	w.vip = "vip:1"
	w.group(n)
	for _, h := range w.order {
		w.startAt(w.upTo(spread), h, foundAfter, w.vip)
	}
	w.run(spread)
	return w.oneRing(foundAfter+5*time.Second, n)
}

func TestMembersBehindOneAddressFoundOneRing(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5, 16, 40} {
		for _, spread := range []time.Duration{time.Millisecond, 2 * foundAfter} {
			t.Run(fmt.Sprintf("%d within %v", n, spread), func(t *testing.T) {
				t.Parallel()
				var took []time.Duration
				for seed := range seedsOf(max(10, 200/n)) {
					w := newWorld(t, seed, 3)
					took = append(took, behindOne(w, n, spread))
					if f := w.founders(); len(f) != 1 {
						t.Fatalf("seed %d: %d founders\n%s", seed, len(f), w)
					}
				}
				report(t, took)
			})
		}
	}
}

func TestMembersBehindOneAddressWithFaults(t *testing.T) {
	for _, tc := range []struct {
		name    string
		set     func(w *world)
		founded int // at most
	}{
		{"it never leads back to the asker", func(w *world) {
			w.backend = func(asker *host) *host {
				for {
					if h := w.order[w.rng.IntN(len(w.order))]; h != asker && h.up {
						return h
					}
				}
			}
		}, 1},
		{"it leads each asker to the same member always", func(w *world) {
			w.backend = func(asker *host) *host {
				i := slices.Index(w.order, asker)
				return w.order[(i+1)%len(w.order)]
			}
		}, 1},
		{"it times out where it leads back to the asker", func(w *world) {
			w.backend = func(asker *host) *host {
				if h := w.order[w.rng.IntN(len(w.order))]; h != asker {
					return h
				}
				return &host{up: true, frozen: true}
			}
		}, 1},
		{"slow", func(w *world) {
			w.timeout = time.Second
			w.latency = func(string, string) time.Duration { return 20*time.Millisecond + w.upTo(180*time.Millisecond) }
		}, 1},
		{"a fifth of the messages lost", func(w *world) {
			normal := w.latency
			w.latency = func(a, b string) time.Duration {
				if w.now < 10*time.Second && w.rng.IntN(5) == 0 {
					return -1
				}
				return normal(a, b)
			}
		}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var took []time.Duration
			several := 0
			for seed := range seedsOf(100) {
				w := newWorld(t, seed, 3)
				tc.set(w)
				w.vip = "vip:1"
				w.group(5)
				for _, h := range w.order {
					h.up = true
				}
				for _, h := range w.order {
					w.find(h, foundAfter, w.vip)
				}
				took = append(took, w.oneRing(30*time.Second, 5))
				f := w.founders()
				if len(f) > tc.founded {
					t.Fatalf("seed %d: %d founders\n%s", seed, len(f), w)
				}
				if len(f) > 1 {
					several++
				}
			}
			report(t, took)
			t.Logf("several founders in %d", several)
		})
	}
}

// What leads only to the member itself may be a load balancer that the others are
// not behind yet.
func TestAddressThatLeadsToOneselfIsNoReasonToFoundAtOnce(t *testing.T) {
	w := newWorld(t, 1, 3)
	h := w.member(0)
	w.hosts["vip:1"] = h
	w.find(h, foundAfter, "vip:1")
	w.run(foundAfter - time.Millisecond)
	if h.m.phase != Bootstrapping {
		t.Fatalf("phase %v before FoundAfter is over", h.m.phase)
	}
	w.run(time.Second)
	if h.m.phase != Joined {
		t.Errorf("phase %v after it", h.m.phase)
	}
}

// A ring that cannot be joined just now is not forgotten when it is looked for again,
// though the address given leads to others that look, too.
func TestRingThatWasFoundIsAskedAgain(t *testing.T) {
	self, member, other := named(500, "m", 1), named(100, "r", 1), named(900, "b", 1)
	m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	join := Join{Via: []string{"vip:1"}, Found: foundAfter}
	asked := func(out []Effect) (calls map[string]uint64) {
		calls = map[string]uint64{}
		for _, e := range out {
			if q, ok := e.(Ask); ok {
				calls[q.To.Addr] = q.Call
			}
		}
		return calls
	}
	call := asked(m.Step(0, join))["vip:1"]
	inRing := Answer{Call: call, Reply: Reply{State: State{Self: member, Phase: Joined}}}
	call, ok := asked(m.Step(0, inRing))[member.Addr]
	if !ok {
		t.Fatal("the member in a ring is not asked at its own address")
	}
	for range 2 { // there, and at the address given
		for _, c := range asked(m.Step(0, Answer{Call: call, Failure: &Failure{Kind: NotJoined, By: other}})) {
			call = c
		}
	}
	if m.phase != Outside {
		t.Fatalf("phase %v", m.phase)
	}
	join.Attempt++
	if _, ok := asked(m.Step(0, join))[member.Addr]; !ok {
		t.Error("the member of the ring is asked no more")
	}
}

// All members advertise the address of the load balancer.
func TestTwoThatAdvertiseOneAddressAreRefused(t *testing.T) {
	self := ring.Member{ID: 500, Name: "m", Addr: "vip:1", Incarnation: 1}
	twin := ring.Member{ID: 100, Name: "s", Addr: "vip:1", Incarnation: 1}
	first := func(out []Effect) uint64 {
		for _, e := range out {
			if q, ok := e.(Ask); ok {
				return q.Call
			}
		}
		t.Fatal("nobody is asked")
		return 0
	}
	done := func(out []Effect) *JoinDone {
		for _, e := range out {
			if d, ok := e.(JoinDone); ok {
				return &d
			}
		}
		return nil
	}
	for name, tc := range map[string]struct {
		join   Join
		answer Answer
	}{
		"looking, the other is in a ring":         {Join{Via: []string{"vip:1"}, Found: foundAfter}, Answer{Reply: Reply{State: State{Self: twin, Phase: Joined}}}},
		"looking, the other looks too":            {Join{Via: []string{"vip:1"}, Found: foundAfter}, Answer{Reply: Reply{State: State{Self: twin, Phase: Bootstrapping, Founder: twin}}}},
		"joining through another address":         {Join{Via: []string{"a:1"}}, Answer{Reply: Reply{State: State{Self: twin, Phase: Joined}, Verdict: Taken}}},
		"joining, the other is in no ring":        {Join{Via: []string{"a:1"}}, Answer{Failure: &Failure{Kind: NotJoined, By: twin}}},
		"looking, at the address of another name": {Join{Via: []string{"b:1"}, Found: foundAfter}, Answer{Reply: Reply{State: State{Self: twin, Phase: Bootstrapping}}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
			tc.answer.Call = first(m.Step(0, tc.join))
			d := done(m.Step(0, tc.answer))
			if d == nil || len(d.Causes) != 1 || m.phase != Outside {
				t.Fatalf("%+v, phase %v; want one cause, and outside", d, m.phase)
			}
			c := d.Causes[0]
			if !c.Permanent() || c.Refusal.Other != twin || !strings.Contains(c.Refusal.Detail, "load balancer") {
				t.Errorf("%+v", c)
			}
		})
	}
	// A member refuses such a joiner, should it be asked by it.
	m := New(twin, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	m.Step(0, Create{})
	for _, e := range m.Step(0, Asked{Token: 1, From: self, Request: Request{Kind: Notify, Joining: true}}) {
		if r, ok := e.(Respond); ok {
			if r.Reply.Refusal.Reason != NotReached || r.Reply.Refusal.Other != twin {
				t.Errorf("%+v", r)
			}
			return
		}
	}
	t.Error("the joiner is not answered")
}

// Whoever founds alone at an address asks there first.
func TestFounderAsksWhoAnswersAtItsAddress(t *testing.T) {
	refusedTo := 0
	for seed := range uint64(200) {
		w := newWorld(t, seed, 3)
		a, b := w.add("a", 100, "vip:1", 1000), w.add("b", 200, "vip:1", 1000)
		w.vip = "vip:1"
		b.up = false
		w.find(a, foundAfter, w.vip)
		w.run(time.Second)
		if a.m.phase != Joined {
			t.Fatalf("seed %d: the first is %v", seed, a.m.phase)
		}
		b.up = true
		b.joinDone = nil
		w.step(b, Join{Via: []string{w.vip}, Found: foundAfter})
		w.run(time.Second)
		if b.joinDone != nil && b.joinDone.Causes != nil {
			refusedTo++
		}
	}
	if want := 200 - 2*200>>ownAsks; refusedTo < want {
		t.Errorf("the second was refused in %d of 200, want %d at least", refusedTo, want)
	}
}

// Two that are not listed yet tell each other that they name nobody. That is no
// promise: both may be listed a moment later.
func TestAnswerGivenBeforeTheMemberNamedItselfIsNoPromise(t *testing.T) {
	self, other := named(500, "m", 1), named(900, "b", 1)
	m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	leads := other // the address given, to this member
	var named []ring.Member
	answer := func(out []Effect) {
		for pending := slices.Clone(out); len(pending) > 0; pending = pending[1:] {
			q, ok := pending[0].(Ask)
			if !ok {
				continue
			}
			who := other
			if q.To.Addr == "vip:1" {
				who = leads
			} else {
				named = append(named, q.Request.Subject)
			}
			st := State{Self: who, Phase: Bootstrapping}
			if who == self {
				st.Founder = m.State().Founder
			}
			pending = append(pending, slices.Clone(m.Step(0, Answer{Call: q.Call, Reply: Reply{State: st}}))...)
			if m.phase == Joined && named[len(named)-1] != self {
				t.Fatalf("it has founded, and the other was told that it names %v", named)
			}
		}
	}
	w := &m.bootstrap
	answer(m.Step(0, Join{Via: []string{"vip:1"}, Found: foundAfter}))
	w.others[1].placed = false // as if it had been met through another
	for range 2 * bootstrapRounds {
		answer(m.Step(0, Tick{}))
		w.others[1].placed = false
	}
	if m.phase != Bootstrapping || w.listed {
		t.Fatalf("phase %v, listed %v", m.phase, w.listed)
	}
	leads = self
	for range bootstrapRounds {
		answer(m.Step(0, Tick{}))
	}
	if m.phase != Joined {
		t.Errorf("phase %v, though the other names nobody", m.phase)
	}
}
