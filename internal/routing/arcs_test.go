package routing

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func at(id uint64) ring.Member {
	return ring.Member{ID: id, Name: fmt.Sprint("m", id), Addr: fmt.Sprintf("m%d:1", id), Incarnation: 1}
}

// confirmed is a confirmation by nobody in particular, which holds for a second.
func confirmed(when time.Duration) Confirmation {
	return Confirmation{At: when, Until: when + time.Second}
}

func owners(a *Arcs) string {
	var out string
	for _, c := range a.All() {
		out += fmt.Sprintf("(%d %d]", c.Arc.After, c.Arc.To)
	}
	return out
}

func TestArcsKeepTheLaterConfirmationWhereTwoOverlap(t *testing.T) {
	for _, tc := range []struct {
		name   string
		arcs   [][2]uint64 // after and to, confirmed in this order
		when   []time.Duration
		result string
	}{
		{"apart", [][2]uint64{{0, 10}, {10, 20}}, []time.Duration{1, 1}, "(0 10](10 20]"},
		{"a joiner splits an arc", [][2]uint64{{0, 20}, {0, 10}}, []time.Duration{1, 2}, "(0 10](10 20]"},
		{"a joiner in the middle", [][2]uint64{{0, 20}, {5, 10}}, []time.Duration{1, 2}, "(5 10](10 20]"},
		{"the same, heard of in the other order", [][2]uint64{{5, 10}, {0, 20}}, []time.Duration{2, 1}, "(5 10](10 20]"},
		{"an owner has gone", [][2]uint64{{0, 10}, {10, 20}, {0, 20}}, []time.Duration{1, 1, 2}, "(0 20]"},
		{"old confirmation of one that has gone", [][2]uint64{{0, 20}, {0, 10}}, []time.Duration{2, 1}, "(0 20]"},
		{"round the circle", [][2]uint64{{90, 10}, {90, 5}}, []time.Duration{1, 2}, "(90 5](5 10]"},
		{"the whole circle, then a second member", [][2]uint64{{7, 7}, {7, 50}}, []time.Duration{1, 2}, "(50 7](7 50]"},
		{"the whole circle again", [][2]uint64{{50, 7}, {7, 50}, {7, 7}}, []time.Duration{1, 1, 2}, "(7 7]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := NewArcs(0, 64, 16)
			for i, arc := range tc.arcs {
				a.Confirm(ring.Arc{After: arc[0], To: arc[1]}, at(arc[1]), confirmed(tc.when[i]))
			}
			if got := owners(a); got != tc.result {
				t.Errorf("%s, want %s", got, tc.result)
			}
		})
	}
}

func TestArcAnswersUntilItsTimeIsOver(t *testing.T) {
	a := NewArcs(0, 64, 16)
	a.Confirm(ring.Arc{After: 90, To: 10}, at(10), Confirmation{By: at(10), At: 5 * time.Second, Until: 6 * time.Second})
	for _, id := range []uint64{91, 99, 0, 10} {
		c := a.Find(id)
		if c == nil || c.Owner != at(10) {
			t.Fatalf("%d: %v", id, c)
		}
		if !c.Holds(6*time.Second-1, 0) || c.Holds(6*time.Second, 0) {
			t.Error("does not hold until, and only until, its time is over")
		}
		if c.Holds(5500*time.Millisecond, 400*time.Millisecond) || !c.Holds(5500*time.Millisecond, 500*time.Millisecond) {
			t.Error("a bound on the age is not kept")
		}
	}
	if c := a.Find(11); c != nil {
		t.Errorf("11 is said to be of %v", c.Owner)
	}
	if c := a.Find(90); c != nil {
		t.Errorf("90 is said to be of %v: an arc is open at its start", c.Owner)
	}
	// An earlier confirmation changes nothing, a later one does.
	a.Confirm(ring.Arc{After: 90, To: 10}, at(10), Confirmation{At: 4 * time.Second, Until: 9 * time.Second})
	if w := a.Find(10).Latest(); w.Until != 6*time.Second {
		t.Errorf("an earlier confirmation counts: until %v", w.Until)
	}
	a.Confirm(ring.Arc{After: 90, To: 10}, at(10), confirmed(6*time.Second))
	if w := a.Find(10).Latest(); w.Until != 7*time.Second {
		t.Errorf("until %v, want 7s", w.Until)
	}
}

func TestArcOfSomebodyElseThanItsEndIsNotKept(t *testing.T) {
	a := NewArcs(0, 64, 16)
	a.Confirm(ring.Arc{After: 0, To: 20}, at(10), confirmed(1))
	if a.Len() != 0 {
		t.Error("kept")
	}
}

func TestArcsAreDoubtedDroppedAndContradicted(t *testing.T) {
	a := NewArcs(0, 64, 16)
	for i := uint64(10); i <= 50; i += 10 {
		a.Confirm(ring.Arc{After: i - 10, To: i}, at(i), confirmed(0))
	}
	if !a.Doubt(func(m ring.Member) bool { return m.Addr == "m20:1" }) {
		t.Error("nothing doubted")
	}
	if a.Doubt(func(m ring.Member) bool { return m.Addr == "m21:1" }) {
		t.Error("doubted a member that is not there")
	}
	if c := a.Find(15); c == nil || c.Holds(0, 0) {
		t.Error("holds though its owner is doubted, or is forgotten")
	}
	a.Drop(func(m ring.Member) bool { return m.ID == 30 })
	if c := a.Find(25); c != nil {
		t.Errorf("still %v", c.Owner)
	}
	a.Contradict(ring.Arc{After: 32, To: 45})
	if got := owners(a); got != "(0 10](10 20](45 50]" {
		t.Error(got)
	}
	a.NoteMember(at(20)) // known already
	a.NoteMember(at(13))
	a.NoteMember(at(25))
	if got := owners(a); got != "(0 10](13 20](45 50]" {
		t.Error(got)
	}
}

func TestArcsInUseAreDue(t *testing.T) {
	const ms = time.Millisecond
	a := NewArcs(0, 64, 16)
	due := func(now time.Duration, wantDue int, wantLive bool) []*Confirmed {
		t.Helper()
		due, live := a.Due(now, 9)
		if len(due) != wantDue || live != wantLive {
			t.Fatalf("%d due, live %v; want %d, %v", len(due), live, wantDue, wantLive)
		}
		return due
	}
	due(0, 0, false)
	a.Confirm(ring.Arc{After: 0, To: 10}, at(10), Confirmation{By: at(10), Until: time.Second})
	a.Confirm(ring.Arc{After: 10, To: 20}, at(20), Confirmation{By: at(10), At: 300 * ms, Until: 1300 * ms})
	due(700*ms, 0, true) // no lookup has found one
	a.Find(5)
	a.Find(15)
	due(500*ms, 0, true) // there is time yet
	got := due(700*ms, 1, true)
	if got[0].Owner != at(10) {
		t.Fatalf("due: %v", got[0].Owner)
	}
	got[0].Asked()
	due(700*ms, 0, true)
	a.Find(5)
	due(700*ms, 1, true)
	due(time.Second, 1, true) // the first is over, the second has come
	due(2*time.Second, 0, false)

	b := NewArcs(0, 64, 16)
	b.Confirm(ring.Arc{After: 0, To: 10}, at(10), Confirmation{By: at(0), Until: time.Second})
	if due, live := b.Due(0, 9); len(due) != 0 || live {
		t.Error("what the member itself confirms needs nobody to be asked")
	}
}

// However confirmations arrive, no two arcs overlap, Find agrees with a plain search, and
// the bound is kept.
func TestArcsAtRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		a := NewArcs(rng.Uint64N(256), 8, 1+rng.IntN(12))
		var now time.Duration
		for range 60 {
			now += time.Duration(rng.IntN(3)) * 100 * time.Millisecond
			switch id := rng.Uint64N(256); rng.IntN(8) {
			case 0:
				a.Contradict(ring.Arc{After: rng.Uint64N(256), To: id})
			case 1:
				a.Doubt(func(m ring.Member) bool { return m.ID == id })
			case 2:
				a.Due(now, 4)
			default:
				a.Confirm(ring.Arc{After: rng.Uint64N(256), To: id}, at(id), confirmed(now-time.Duration(rng.IntN(400))*time.Millisecond))
			}
			all := a.All()
			if len(all) > a.limit {
				t.Fatalf("%d arcs, limit %d", len(all), a.limit)
			}
			if !slices.IsSortedFunc(all, func(x, y *Confirmed) int { return int(x.Arc.To) - int(y.Arc.To) }) {
				t.Fatal("not in order:", owners(a))
			}
			for id := range uint64(256) {
				var want *Confirmed
				for _, c := range all {
					if c.Arc.Contains(id) {
						if want != nil {
							t.Fatalf("%d is in two arcs: %s", id, owners(a))
						}
						want = c
					}
				}
				if got := a.Find(id); got != want {
					t.Fatalf("%d: found %v, want %v in %s", id, got, want, owners(a))
				}
			}
		}
	}
}

func TestArcsEvictWhatNobodyWants(t *testing.T) {
	a := NewArcs(0, 64, 4)
	for i := uint64(10); i <= 40; i += 10 {
		a.Confirm(ring.Arc{After: i - 10, To: i}, at(i), confirmed(0))
	}
	a.Due(time.Hour, 9) // nobody wants any
	for _, id := range []uint64{5, 15, 35} {
		a.Find(id)
	}
	a.Confirm(ring.Arc{After: 40, To: 50}, at(50), confirmed(time.Hour))
	if got := owners(a); got != "(0 10](10 20](30 40](40 50]" {
		t.Error(got)
	}
}

func TestNearNamesOwnersBefore(t *testing.T) {
	a := NewArcs(0, 64, 16)
	if got := a.Near(5, 3); got != nil {
		t.Errorf("%v", got)
	}
	for i := uint64(10); i <= 40; i += 10 {
		a.Confirm(ring.Arc{After: i - 10, To: i}, at(i), confirmed(0))
	}
	if got := a.Near(31, 3); !slices.Equal(got, []ring.Member{at(30), at(20), at(10)}) {
		t.Errorf("%v", got)
	}
	if got := a.Near(20, 9); !slices.Equal(got, []ring.Member{at(10), at(40), at(30), at(20)}) {
		t.Errorf("%v", got)
	}
}

func TestArcsAreReadWhileTheyAreWritten(t *testing.T) {
	a := NewArcs(0, 64, 64)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 3000 {
				id := rng.Uint64N(1 << 10)
				if g == 0 {
					a.Confirm(ring.Arc{After: id - min(id, 16), To: id}, at(id), confirmed(time.Duration(i)))
				} else if c := a.Find(id); c != nil && (!c.Arc.Contains(id) || c.Owner.ID != c.Arc.To) {
					t.Errorf("%d: arc %v of %v", id, c.Arc, c.Owner)
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkFind is the search that a lookup from memory makes, in a table of 64.
func BenchmarkFind(b *testing.B) {
	a := NewArcs(0, 64, 1024)
	step := ^uint64(0)/64 + 1
	for i := range uint64(64) {
		a.Confirm(ring.Arc{After: i * step, To: (i + 1) * step}, at((i+1)*step), confirmed(0))
	}
	id := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		id = id*6364136223846793005 + 1442695040888963407
		if c := a.Find(id); c == nil || !c.Holds(0, 0) {
			b.Fatal("not found")
		}
	}
}
