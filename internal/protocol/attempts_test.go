package protocol

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func at(addr string) ring.Member { return ring.Member{Addr: addr} }

func failed(addr string, kind FailureKind, by ring.Member) JoinCause {
	return JoinCause{At: at(addr), Failure: &Failure{Kind: kind, By: by}}
}

func refused(addr string, why Reason) JoinCause {
	return JoinCause{At: at(addr), Refusal: Refusal{Reason: why}}
}

func TestWhichAttemptsAreHopeless(t *testing.T) {
	self := ring.Member{ID: 7, Name: "self", Addr: "self:1", Incarnation: 3}
	shared := refused("a:1", NotReached)
	shared.Refusal.Other = ring.Member{ID: 8, Name: "other", Addr: self.Addr}
	back := shared
	back.Refusal.Other = self
	for _, c := range []struct {
		name   string
		who    Newcomer
		causes []JoinCause
		want   bool
	}{
		{"silence", Newcomer{Self: self}, []JoinCause{failed("a:1", TimedOut, ring.Member{})}, false},
		{"nobody to ask", Newcomer{Self: self}, []JoinCause{}, true},
		{"another kind of ring", Newcomer{Self: self}, []JoinCause{failed("a:1", WrongRing, ring.Member{})}, true},
		{"that, and silence", Newcomer{Self: self}, []JoinCause{failed("a:1", WrongRing, ring.Member{}), failed("b:1", TimedOut, ring.Member{})}, false},
		{"the name is taken", Newcomer{Self: self}, []JoinCause{failed("a:1", TimedOut, ring.Member{}), refused("b:1", NameTaken)}, true},
		{"a ring that is being rebuilt", Newcomer{Self: self}, []JoinCause{refused("a:1", Busy)}, false},
		{"its own address, which may lead to others", Newcomer{Self: self}, []JoinCause{failed("a:1", NotJoined, self)}, false},
		{"another that advertises the same address", Newcomer{Self: self}, []JoinCause{failed("b:1", TimedOut, ring.Member{}), shared}, true},
		{"an earlier incarnation of itself at its address", Newcomer{Self: self}, []JoinCause{back}, false},
		{"one that is in no ring, of a client", Newcomer{}, []JoinCause{failed("a:1", NotJoined, ring.Member{})}, false},
		{"not reached once", Newcomer{Self: self}, []JoinCause{refused("a:1", NotReached)}, false},
	} {
		if _, hopeless := (Attempts{}).Fail(c.causes, c.who, time.Hour); hopeless != c.want {
			t.Errorf("%s: hopeless is %t", c.name, hopeless)
		}
	}
}

func TestNotBeingReachedIsHopelessWhenItLasts(t *testing.T) {
	unreached := []JoinCause{refused("a:1", NotReached)}
	silence := []JoinCause{failed("a:1", TimedOut, ring.Member{})}
	self := Newcomer{Self: ring.Member{ID: 1, Name: "n", Addr: "n:1"}}
	named := self
	named.Named = true
	for _, c := range []struct {
		name   string
		who    Newcomer
		causes [][]JoinCause // one attempt a second
		after  int           // attempts it is hopeless; 0: never
	}{
		{"by an address, twice in a row", self, [][]JoinCause{unreached, unreached}, 2},
		{"with something else in between", self, [][]JoinCause{unreached, silence, unreached, silence}, 0},
		{"by a name, for a few seconds", named, [][]JoinCause{unreached, unreached, unreached, unreached}, 0},
	} {
		var a Attempts
		for i, causes := range c.causes {
			var hopeless bool
			a, hopeless = a.Fail(causes, c.who, time.Duration(i)*time.Second)
			if hopeless != (i+1 == c.after) {
				t.Errorf("%s: attempt %d: hopeless is %t", c.name, i+1, hopeless)
			}
		}
	}
	a, _ := (Attempts{}).Fail(unreached, named, time.Second)
	a, early := a.Fail(unreached, named, time.Second+namesLag)
	if _, late := a.Fail(unreached, named, 2*time.Second+namesLag); early || !late {
		t.Errorf("by a name: hopeless after %v is %t, a second later %t", namesLag, early, late)
	}
}

func TestPausesBetweenAttemptsGrowToABound(t *testing.T) {
	busy := []JoinCause{refused("a:1", Busy)}
	for _, c := range []struct {
		name  string
		fail  func(Attempts) Attempts
		limit time.Duration
	}{
		{"nobody answers", func(a Attempts) Attempts { return a.Repeat() }, attemptPauseMax},
		{"the ring is being rebuilt", func(a Attempts) Attempts { a, _ = a.Fail(busy, Newcomer{}, 0); return a }, attemptPauseBusy},
	} {
		var a Attempts
		last := time.Duration(0)
		for i := range 20 {
			a = c.fail(a)
			if p := a.Pause(0.5); a.Failed != i+1 || p < last || p > c.limit || i == 0 && p != attemptPauseMin || i == 19 && p != c.limit {
				t.Errorf("%s: pause %v after %d attempts, %v before", c.name, p, a.Failed, last)
			}
			last = a.Pause(0.5)
		}
		if lo, hi := a.Pause(0), a.Pause(1); lo != c.limit/2 || hi != c.limit*3/2 {
			t.Errorf("%s: pauses of %v to %v", c.name, lo, hi)
		}
	}
	// One answer of the ring is enough for the next pause to be short.
	a := Attempts{}
	for range 20 {
		a = a.Repeat()
	}
	if a, _ = a.Fail(busy, Newcomer{}, 0); a.Pause(0.5) != attemptPauseBusy {
		t.Errorf("pause %v though the ring answers", a.Pause(0.5))
	}
}

func TestCausesOfTheAttemptBeforeAreKeptUntilTheNextComesToThem(t *testing.T) {
	var a Attempts
	a, _ = a.Fail([]JoinCause{failed("a:1", Refused, ring.Member{}), failed("b:1", TimedOut, ring.Member{})}, Newcomer{}, 0)
	got := a.Open([]JoinCause{failed("a:1", TimedOut, ring.Member{})}, at("c:1"))
	if len(got) != 3 || got[0].At.Addr != "a:1" || got[0].Failure.Kind != TimedOut || got[1].At.Addr != "c:1" || got[1].Failure.Detail != "no answer yet" || got[2].At.Addr != "b:1" {
		t.Errorf("causes %+v", got)
	}
	if got := a.Open(nil, at("b:1")); len(got) != 2 || got[0].Failure.Detail != "no answer yet" || got[1].At.Addr != "a:1" {
		t.Errorf("causes while b is asked: %+v", got)
	}
	if got := a.Open(nil, at("a:1")); len(got) != 2 || got[0].At.Addr != "a:1" || got[0].Failure.Kind != Refused || got[1].At.Addr != "b:1" {
		t.Errorf("causes while a, which has refused, is asked again: %+v", got)
	}
}

// A member that has told why, and is busy then, is still said to have told why.
func TestBusyHidesNoCause(t *testing.T) {
	at := ring.Member{ID: 1, Name: "m", Addr: "m:1", Incarnation: 1}
	why := JoinCause{At: at, Refusal: Refusal{Reason: NotReached, Detail: "nobody listens"}}
	busy := JoinCause{At: at, Refusal: Refusal{Reason: Busy}}
	other := JoinCause{At: ring.Member{ID: 2, Name: "n", Addr: "n:1", Incarnation: 1}, Refusal: Refusal{Reason: Busy}}
	var a Attempts
	for _, causes := range [][]JoinCause{{why}, {busy, other}, {busy, other}} {
		a, _ = a.Fail(causes, Newcomer{Named: true}, 0)
	}
	if len(a.Causes) != 2 || a.Causes[0].Refusal != why.Refusal || a.Causes[1].Refusal != other.Refusal {
		t.Errorf("the causes are %v", a.Causes)
	}
}

// Whoever reads why a join has failed finds first what it can do something about.
func TestMostTellingCauseComesFirst(t *testing.T) {
	self := ring.Member{ID: 7, Name: "self", Addr: "self:1", Incarnation: 3}
	want := []JoinCause{
		failed("h:1", WrongRing, ring.Member{}),
		refused("i:1", NameTaken),
		failed("g:1", Isolated, ring.Member{}),
		refused("f:1", Busy),
		failed("e:1", NotJoined, ring.Member{}),
		failed("c:1", Refused, ring.Member{}),
		failed("d:1", Unreachable, ring.Member{}),
		failed("a:1", TimedOut, ring.Member{}),
		failed("b:1", TimedOut, ring.Member{}),
		failed("0:1", NotJoined, self),
	}
	for seed := range uint64(20) {
		got := slices.Clone(want)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		if got = MostTelling(got, self); !slices.EqualFunc(got, want, func(a, b JoinCause) bool { return a.At == b.At }) {
			t.Fatalf("seed %d: %v", seed, got)
		}
	}
	if MostTelling(nil, self) != nil {
		t.Error("causes where there are none")
	}
}
