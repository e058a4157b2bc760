package protocol

import (
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// A name that stands for several addresses may not list all of them yet.
func TestAnOpenListIsNotFoundedOnAtOnce(t *testing.T) {
	for _, open := range []bool{false, true} {
		w := newWorld(t, 1, 3)
		via := w.group(3)
		for _, h := range w.order {
			h.up = true
			w.findBy(h, Join{Via: via, Found: foundAfter, Open: open})
		}
		took := w.oneRing(foundAfter+2*time.Second, 3)
		if waited := took >= foundAfter; waited != open {
			t.Errorf("open %v: one ring after %v", open, took)
		}
		if f := w.founders(); len(f) != 1 {
			t.Errorf("open %v: %d founders", open, len(f))
		}
	}
}

// The name first stands for each member alone, then for more and more of them.
func TestMembersFoundTogetherThatTheirNameDoesNotListYet(t *testing.T) {
	for seed := range seedsOf(200) {
		w := newWorld(t, seed, 3)
		via := w.group(8)
		for i, h := range w.order {
			h.up = true
			w.findBy(h, Join{Via: []string{h.addr}, Found: foundAfter, Open: true})
			for k := range via {
				// Each learns of the others at a time of its own.
				w.after(w.upTo(foundAfter*2/3), func() {
					w.step(h, Redirect{Via: via[:max(i, k)+1], Open: true})
				})
			}
			w.after(foundAfter*2/3, func() { w.step(h, Redirect{Via: via, Open: true}) })
		}
		w.oneRing(foundAfter+5*time.Second, 8)
		if f := w.founders(); len(f) != 1 {
			t.Fatalf("seed %d: %d founders\n%s", seed, len(f), w)
		}
	}
}

func TestRedirectReplacesWhatIsAsked(t *testing.T) {
	w := ringOf(t, 1, 3, 2)
	h := w.add("zero", 0, "zero:1", 1000)
	w.findBy(h, Join{Via: []string{"gone1:1", "gone2:1", h.addr}, Found: time.Hour})
	w.run(5 * time.Second)
	if h.m.phase != Bootstrapping || !h.m.bootstrap.listed {
		t.Fatalf("%v, listed %v", h.m.phase, h.m.bootstrap.listed)
	}
	w.step(h, Redirect{Via: []string{"gone2:1", "gone3:1"}})
	w.run(5 * time.Second)
	var asked []string
	for _, o := range h.m.bootstrap.others {
		if !o.own {
			asked = append(asked, o.addr)
		}
	}
	if want := []string{"gone2:1", "gone3:1"}; !slices.Equal(asked, want) || h.m.bootstrap.listed {
		t.Errorf("asks %v, listed %v; want %v, and not listed any more", asked, h.m.bootstrap.listed, want)
	}
	w.step(h, Redirect{Via: []string{w.order[1].addr}})
	w.oneRing(2*time.Second, 3)
	w.step(h, Redirect{Via: []string{"gone4:1"}})
	if h.m.phase != Joined {
		t.Errorf("a redirect that comes too late: %v", h.m.phase)
	}
}

// Every address that was configured is gone for good. The members remember each
// other.
func TestMembersFoundAgainWithThoseTheyRemember(t *testing.T) {
	for seed := range seedsOf(200) {
		w := newWorld(t, seed, 3)
		all := w.group(6)
		for i, h := range w.order {
			recalled := slices.Clone(all)
			if i%2 == 1 { // each has known some of the others only
				recalled = append(recalled[i:], recalled[:(i+4)%6]...)
			}
			w.after(w.upTo(foundAfter/2), func() {
				h.up = true
				w.findBy(h, Join{Via: []string{"gone1:1", "gone2:1"}, Found: foundAfter, Recalled: recalled})
			})
		}
		w.run(foundAfter / 2)
		w.oneRing(2*foundAfter, 6)
		if f := w.founders(); len(f) != 1 {
			t.Fatalf("seed %d: %d founders\n%s", seed, len(f), w)
		}
	}
}

func TestTheDeadThatAreRememberedAreNoReasonToWait(t *testing.T) {
	w := newWorld(t, 1, 3)
	via := w.group(3)
	for _, h := range w.order {
		h.up = true
		w.findBy(h, Join{Via: via, Found: foundAfter, Recalled: []string{"gone1:1", "gone2:1"}})
	}
	if took := w.oneRing(foundAfter, 3); took >= foundAfter/2 {
		t.Errorf("one ring after %v", took)
	}
}

// What is remembered may belong to others by now. That does not end a join.
func TestRememberedAddressOfAnotherKindOfRing(t *testing.T) {
	self := named(500, "m", 1)
	m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	other := Failure{Kind: WrongRing, Differing: []string{"Cluster"}}
	answer := func(out []Effect, f map[string]*Failure) {
		for _, e := range slices.Clone(out) {
			if q, ok := e.(Ask); ok {
				m.Step(0, Answer{Call: q.Call, Failure: f[q.To.Addr]})
			}
		}
	}
	answer(m.Step(0, Join{Via: []string{"a:1"}, Found: foundAfter, Recalled: []string{"b:1"}}),
		map[string]*Failure{"a:1": {Kind: Refused}, "b:1": &other})
	if m.phase != Bootstrapping {
		t.Fatalf("phase %v", m.phase)
	}
	causes, _ := m.JoinCauses()
	if len(causes) != 2 {
		t.Errorf("causes %+v, want those of both", causes)
	}
}

func TestWhatIsKeptOfAJoin(t *testing.T) {
	self := named(500, "m", 1)
	for _, join := range []Join{
		{Via: []string{"10.0.0.1:1", "10.0.0.2:1"}, Seeds: []string{"name:1", self.Addr, "name:1"}},
		{Via: []string{"10.0.0.1:1", "10.0.0.2:1"}, Seeds: []string{"name:1", self.Addr}, Found: foundAfter},
	} {
		m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
		m.Step(0, join)
		if got, want := m.Knows(), []ring.Member{{Addr: "name:1"}}; !slices.Equal(got, want) {
			t.Errorf("keeps %v, want %v", got, want)
		}
	}
	m := New(self, Config{Bits: 64, Successors: 3, Interval: time.Second}, 1)
	m.Step(0, Create{Seeds: []string{"a:1"}})
	asked := false
	for range 2 {
		for _, e := range m.Step(0, Tick{}) {
			q, ok := e.(Ask)
			asked = asked || ok && q.To.Addr == "a:1"
		}
	}
	if !asked {
		t.Error("a founder that knows an address does not ask there soon")
	}
}
