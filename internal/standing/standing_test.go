package standing

import (
	"testing"
	"time"
)

const second = time.Second

// next checks one step, and takes it.
func next(t *testing.T, s *Standing, now time.Duration, phase Phase, held int, want Do, o Outcome) {
	t.Helper()
	do, _ := s.Next(now, phase, held, 0)
	if do != want {
		t.Fatalf("at %v, holding %d: %v, want %v", now, held, do, want)
	}
	if do != Rest {
		s.Done(now, do, o)
	}
}

func TestGrowsWhenItHasJoined(t *testing.T) {
	s := New(4, second, 7, 0)
	next(t, s, 0, Outside, 1, Rest, Taken)
	next(t, s, 0, Joined, 1, Grow, Taken)
	next(t, s, 0, Joined, 4, Rest, Taken)
	s.Want(6)
	next(t, s, 0, Joined, 4, Grow, Taken)
	s.Want(2)
	for held := 6; held > 2; held-- {
		next(t, s, 0, Joined, held, Shrink, Taken)
	}
	next(t, s, 0, Joined, 2, Rest, Taken)
}

func TestPausesGrowAndEnd(t *testing.T) {
	s := New(4, second, 0, 0)
	now := time.Duration(0)
	for _, pause := range []time.Duration{100, 200, 400, 800, 1600, 3200, 4000, 4000} {
		next(t, s, now, Joined, 1, Grow, Failed)
		do, at := s.Next(now, Joined, 1, 0)
		if want := now + pause*time.Millisecond; do != Rest || at != want {
			t.Fatalf("after a failure: %v until %v, want %v", do, at, want)
		}
		now = at
	}
	next(t, s, now, Joined, 1, Grow, Failed)
	s.Want(5)
	next(t, s, now, Joined, 1, Grow, Taken)
	next(t, s, now, Joined, 4, Grow, Failed)
	if _, at := s.Next(now, Joined, 4, 0); at != now+second/10 {
		t.Errorf("the first pause after a success lasts to %v", at)
	}
}

func TestDrainsAndReturns(t *testing.T) {
	s := New(3, second, 0, 0)
	s.Want(0)
	next(t, s, 0, Joined, 3, Shrink, Taken)
	next(t, s, 0, Joined, 2, Shrink, Taken)
	next(t, s, 0, Joined, 1, Drain, Failed)
	next(t, s, second, Joined, 1, Drain, Taken)
	if !s.Drained() {
		t.Fatal("it is not drained")
	}
	next(t, s, second, Outside, 1, Rest, Taken)
	s.Want(2)
	next(t, s, second, Outside, 1, Return, Failed)
	next(t, s, 2*second, Outside, 1, Return, Taken)
	next(t, s, 2*second, Joined, 1, Grow, Taken)
	if s.Drained() {
		t.Error("it has returned, and is drained")
	}
}

// Who alone holds the ring does not drain, and stands as before.
func TestTheLastStays(t *testing.T) {
	s := New(3, second, 0, 0)
	s.Want(0)
	next(t, s, 0, Joined, 1, Drain, Alone)
	if s.Weight() != 3 || s.Drained() {
		t.Errorf("weight %d, drained: %v", s.Weight(), s.Drained())
	}
	next(t, s, 0, Joined, 1, Grow, Taken)
}

func TestChoosesAnewSeldom(t *testing.T) {
	s := New(2, second, 3, 0)
	do, at := s.Next(0, Joined, 2, 0)
	if do != Rest || at < ChangeEvery*second || at > ChangeEvery*second*5/4 {
		t.Fatalf("%v until %v", do, at)
	}
	next(t, s, at, Joined, 2, Rechoose, Failed)
	if do, again := s.Next(at+5*second, Joined, 2, 0); do != Rest || again < at+ChangeEvery*second {
		t.Errorf("it is to choose anew %v after the last time", again-at)
	}
	one := New(1, second, 3, 0)
	next(t, one, 1000*second, Joined, 1, Rest, Taken)
}

func TestSupersededEndsTheOthers(t *testing.T) {
	s := New(4, second, 0, 0)
	next(t, s, 0, Superseded, 4, Forget, Taken)
	next(t, s, 0, Superseded, 1, Rest, Taken)
}

func TestLast(t *testing.T) {
	for _, c := range []struct {
		slots []int
		want  int
	}{{nil, -1}, {[]int{0}, -1}, {[]int{2, 0, 1}, 0}, {[]int{0, 1, 3, 2}, 2}} {
		if got := Last(c.slots); got != c.want {
			t.Errorf("%v: %d, want %d", c.slots, got, c.want)
		}
	}
}

// What another process of the name has taken is given up, and joined with again.
func TestDropsWhatAnotherHasTaken(t *testing.T) {
	s := New(4, second, 0, 0)
	next(t, s, 0, Joined, 1, Grow, Failed)
	if do, _ := s.Next(0, Joined, 4, 2); do != Drop {
		t.Fatalf("with two lost of four: %v", do)
	}
	s.Done(0, Drop, Taken)
	next(t, s, 0, Joined, 2, Grow, Taken)
	if do, _ := s.Next(0, Superseded, 4, 2); do != Forget {
		t.Errorf("out for good, with two lost of four: %v", do)
	}
}
