package peer

import (
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func TestTimeoutFollowsTheRoundTrip(t *testing.T) {
	for _, c := range []struct {
		name    string
		seen    []time.Duration
		attempt int
		want    time.Duration
	}{
		{"nothing known", nil, 0, InitialTimeout},
		{"nothing known, asked again", nil, 1, 2 * InitialTimeout},
		{"quick", []time.Duration{time.Millisecond}, 0, MinTimeout},
		{"quick, asked again", []time.Duration{time.Millisecond}, 1, 2 * MinTimeout},
		{"a first answer counts with half of it as deviation", []time.Duration{100 * time.Millisecond}, 0, 600 * time.Millisecond},
		{"very slow", []time.Duration{30 * time.Second}, 0, MaxTimeout},
		{"asked ever again", []time.Duration{time.Millisecond}, 1000, MaxTimeout},
	} {
		var e Estimate
		for _, d := range c.seen {
			e.Observe(d)
		}
		if got := e.Timeout(c.attempt); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestEstimateConverges(t *testing.T) {
	var e Estimate
	e.Observe(2 * time.Second)
	for range 200 {
		e.Observe(40 * time.Millisecond)
	}
	if d := e.RoundTrip() - 40*time.Millisecond; d.Abs() > time.Millisecond || e.Timeout(0) != MinTimeout {
		t.Errorf("round trip %v, timeout %v", e.RoundTrip(), e.Timeout(0))
	}
}

func TestLateLookupIsAllowedMoreUntilAnAnswer(t *testing.T) {
	var e Estimate
	if e.Late(); e.RouteTimeout(Estimate{}) != InitialTimeout {
		t.Errorf("nothing known, %v", e.RouteTimeout(Estimate{}))
	}
	e.Observe(time.Millisecond)
	for _, want := range []time.Duration{2 * MinTimeout, time.Second, time.Second} {
		if e.Late(); e.RouteTimeout(Estimate{}) != want || e.Timeout(0) != MinTimeout {
			t.Errorf("route %v, want %v; maintenance %v", e.RouteTimeout(Estimate{}), want, e.Timeout(0))
		}
	}
	if e.Observe(time.Millisecond); e.RouteTimeout(Estimate{}) != MinTimeout {
		t.Errorf("after an answer %v", e.RouteTimeout(Estimate{}))
	}
}

func TestUnknownPeerMayBeAsFarAsTheOthers(t *testing.T) {
	var near, far, unknown Estimate
	for range 50 {
		near.Observe(time.Millisecond)
		far.Observe(1500 * time.Millisecond)
	}
	for _, c := range []struct {
		what         string
		peer, common Estimate
		want         time.Duration
	}{
		{"nothing known of anybody", unknown, unknown, InitialTimeout},
		{"the others are near", unknown, near, InitialTimeout},
		{"the others are far", unknown, far, far.Timeout(0)},
		{"it is known to be near, the others are far", near, far, MinTimeout},
	} {
		if got := c.peer.RouteTimeout(c.common); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
		if got := c.peer.Timeout(0); got > InitialTimeout {
			t.Errorf("%s: maintenance waits %v", c.what, got)
		}
	}
}

func TestEvictionDropsHalf(t *testing.T) {
	for _, uses := range [][]uint32{{1}, {1, 1, 1, 1}, {1, 2, 3, 4}, {9, 1, 9, 1, 9}} {
		bar := EvictionBar(slices.Clone(uses))
		dropped := 0
		for _, n := range uses {
			if n <= bar {
				dropped++
			}
		}
		if 2*dropped < len(uses) {
			t.Errorf("%v: %d dropped", uses, dropped)
		}
	}
}

func TestSuspicionEndsByTimeOrAnswer(t *testing.T) {
	x := ring.Member{ID: 1, Name: "x", Addr: "x:1", Incarnation: 5}
	s, news := Suspicions(nil).Suspect(x, false, 0, 10)
	if !news || !s.Avoided(x, 9) || s.Avoided(x, 10) {
		t.Errorf("news %v, avoided %v, later %v", news, s.Avoided(x, 9), s.Avoided(x, 10))
	}
	longer, news := s.Suspect(x, false, 5, 20)
	if news || len(longer) != 1 || !longer.Avoided(x, 15) || s.Avoided(x, 15) {
		t.Errorf("suspected again: news %v, %d kept", news, len(longer))
	}
	if _, news := s.Suspect(x, false, 11, 20); !news {
		t.Error("one whose time was over is no news")
	}
	reborn := x
	reborn.Incarnation++
	if s.Avoided(reborn, 1) {
		t.Error("a later incarnation is avoided for an earlier one")
	}
	if len(s.Clear(x)) != 0 || len(s) != 1 {
		t.Error("an answer did not clear it, or changed the value that others read")
	}
}

// Who does not answer at one of its identifiers does not at the others. Who only does not stand at
// one is asked at the others.
func TestSuspicionOfARunIsOfAllItsIdentifiers(t *testing.T) {
	at := func(id uint64) ring.Member {
		return ring.Member{ID: id, Name: "x", Addr: "x:1", Incarnation: 5, Choice: ring.Choice(2), Home: 100}
	}
	a, b := at(1), at(2)
	if !a.Choice.Several() || a.Run() != b.Run() {
		t.Fatalf("%v and %v are no identifiers of one process", a, b)
	}
	later, alone := b, ring.Member{ID: 100, Name: "y", Addr: "y:1", Incarnation: 6}
	later.Incarnation++
	s, _ := Suspicions(nil).Suspect(a, false, 0, 10)
	if !s.Avoided(a, 1) || !s.Avoided(b, 1) || !s.Suspected(b, 1) || s.Avoided(b, 10) || s.Avoided(later, 1) || s.Avoided(alone, 1) {
		t.Errorf("of a run: %v", s)
	}
	if len(s.Clear(b)) != 0 || len(s.Clear(later)) != 1 {
		t.Error("an answer at another identifier did not clear it, or one of a later run did")
	}
	s, _ = Suspicions(nil).Suspect(a, true, 0, 10)
	if !s.Avoided(a, 1) || s.Avoided(b, 1) || len(s.Clear(b)) != 1 {
		t.Errorf("of one identifier: %v", s)
	}
}

func TestRejectionOutlastsAnswersAndSuspicions(t *testing.T) {
	x := ring.Member{ID: 7, Name: "x", Addr: "x:1", Incarnation: 3}
	s := Suspicions(nil).Reject(x.ID, x.Addr, 0, time.Second)
	for i := range 2 * MaxSuspicions {
		s, _ = s.Suspect(ring.Member{ID: uint64(100 + i), Incarnation: 1}, false, 1, time.Second)
	}
	s = s.Clear(x)
	moved := x
	moved.Addr = "x:2"
	if !s.Rejected(x, 2) || !s.Avoided(x, 2) || s.Avoided(moved, 2) || len(s) != MaxSuspicions {
		t.Errorf("rejected %v, at another address %v, %d kept", s.Rejected(x, 2), s.Avoided(moved, 2), len(s))
	}
	instances, rejected := s.Avoid(2)
	if len(instances) != MaxSuspicions-1 || len(rejected) != 1 || rejected[0].Addr != x.Addr {
		t.Errorf("%d avoided, %v rejected", len(instances), rejected)
	}
	for i := range MaxSuspicions {
		s = s.Reject(uint64(i), "y:1", 2, time.Second)
	}
	if len(s) != MaxSuspicions {
		t.Errorf("%d rejections kept", len(s))
	}
}

func TestPausesBeforeABusyPeerIsAskedAgain(t *testing.T) {
	for i, ms := range []int{5, 10, 20, 40, 80, 160, 320, 320} {
		want := time.Duration(ms) * time.Millisecond
		if got := BusyPause(i, 0.5); got != want {
			t.Errorf("after %d refusals the pause is %v; want %v", i+1, got, want)
		}
		if low, high := BusyPause(i, 0), BusyPause(i, 1); low != want/2 || high != want*3/2 {
			t.Errorf("it is spread over %v … %v; want a half less and more than %v", low, high, want)
		}
	}
	if got := BusyPause(1000, 0.5); got != busyPauseMax {
		t.Errorf("after many refusals the pause is %v", got)
	}
}

// That one member was met at an address says nothing of others that are said to be there,
// nor of other incarnations of it.
func TestMetIsWhoAnsweredLast(t *testing.T) {
	a, b := ring.Instance{ID: 1, Incarnation: 7}, ring.Instance{ID: 2, Incarnation: 7}
	var e Estimate
	e.Meet(a)
	if e.Met(a) {
		t.Error("met before it has answered")
	}
	e.Observe(time.Millisecond)
	e.Meet(a)
	if !e.Met(a) || e.Met(b) || e.Met(ring.Instance{ID: 1, Incarnation: 8}) {
		t.Errorf("met: %v, others: %v, %v", e.Met(a), e.Met(b), e.Met(ring.Instance{ID: 1, Incarnation: 8}))
	}
	e.Meet(b)
	if e.Met(a) || !e.Met(b) {
		t.Error("the one before still counts")
	}
}
