package routing

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// world is a settled ring of tables, with fingers of which some lead nowhere.
type world struct {
	members []ring.Member // in order of identifiers
	tables  map[uint64]*Table
}

func (w *world) owner(id uint64) ring.Member {
	i, _ := slices.BinarySearchFunc(w.members, id, func(m ring.Member, id uint64) int {
		switch {
		case m.ID < id:
			return -1
		case m.ID > id:
			return 1
		}
		return 0
	})
	return w.members[i%len(w.members)]
}

// settle makes a ring of n with lists of r, and fingers and 16 acquaintances of
// which each leads to a dead member with the given chance.
func settle(rng *rand.Rand, n, r int, dead float64) *world {
	return settleProcesses(rng, n, 1, r, dead)
}

// settleProcesses is settle of processes at so many identifiers each.
func settleProcesses(rng *rand.Rand, n, each, r int, dead float64) *world {
	w := &world{tables: map[uint64]*Table{}}
	for i := range n {
		name := fmt.Sprintf("m%d", i/each)
		w.members = append(w.members, ring.Member{ID: rng.Uint64(), Name: name, Addr: name + ":1", Incarnation: 1})
	}
	slices.SortFunc(w.members, func(a, b ring.Member) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	for i, m := range w.members {
		k := Known{Self: m, Bits: 64, Full: r, HasArc: true, Arc: ring.Arc{After: m.ID, To: m.ID}}
		if n > 1 {
			k.Pred = w.members[(i+n-1)%n]
			k.Arc.After = k.Pred.ID
		}
		names := map[string]bool{m.Name: true}
		for j := 1; j < n && len(names) <= r; j++ {
			k.Succ = append(k.Succ, w.members[(i+j)%n])
			names[w.members[(i+j)%n].Name] = true
		}
		f := NewFingers(m.ID, 64)
		covered := ring.Arc{After: m.ID, To: m.ID}
		if len(names) > r {
			covered.To = k.Succ[len(k.Succ)-1].ID
		}
		f.Fill(covered, func(id uint64) (ring.Member, ring.Arc) {
			o := w.owner(id)
			return o, ring.Arc{After: id - 1, To: o.ID}
		})
		others := f.Members()
		for range min(16, n-1) {
			others = append(others, w.members[(i+1+rng.IntN(n-1))%n])
		}
		for _, x := range others {
			if rng.Float64() < dead {
				// A member that stood where the finger points and is gone.
				x = ring.Member{ID: x.ID - 1, Name: "dead" + x.Name, Addr: "dead" + x.Addr, Incarnation: 1}
			}
			k.Others = append(k.Others, x)
		}
		w.tables[m.ID] = NewTable(k)
	}
	return w
}

// search carries a search out, and says whom it named and how many it asked.
func (w *world) search(t *testing.T, from *Table, id uint64, opts Options) (ring.Member, int) {
	t.Helper()
	s := NewSearch(from, id, opts, nil, 0)
	closest := from.Self.ID
	progress := 0
	for {
		step, x := s.Next()
		switch step {
		case Done:
			return s.Result().Owner, s.Asked()
		case AskNext:
			table := w.tables[x.ID]
			if table == nil {
				s.Silent(true)
				continue
			}
			a := table.Answer(s.Query(), 0)
			if a.Verdict == Closer {
				for _, y := range a.Closer {
					if !ring.Between(x.ID, y.ID, id) {
						t.Fatalf("%v names %v, which is not closer to %d", x, y, id)
					}
				}
				// After a while it begins again at those that it knows by itself.
				detour := s.Asked() > s.known.patience
				if x.ID != closest && !ring.Between(closest, x.ID, id) && s.Why() != Between && !detour {
					t.Fatalf("asked %v after a closer member had answered", x)
				}
				if s.Why() != Between {
					closest = x.ID
				}
			}
			s.Answered(a)
		case Stuck:
			if s.Asked() == progress {
				t.Fatalf("search of %d from %v is stuck after %d", id, from.Self, s.Asked())
			}
			progress, closest = s.Asked(), from.Self.ID
			s.Restart(from, false, 0)
		default:
			t.Fatalf("search of %d from %v ended with %v after %d", id, from.Self, step, s.Asked())
		}
	}
}

func TestSearchFindsTheOwner(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 3, 5, 16, 100, 1024} {
		for _, r := range []int{1, 2, 3, 8} {
			for _, dead := range []float64{0, 0.5, 1} {
				if dead == 1 && n > 5 {
					continue // from list to list, with all else dead, is too long a way
				}
				w := settle(rng, n, r, dead)
				most, total := 0, 0
				const count = 300
				for range count {
					from := w.tables[w.members[rng.IntN(n)].ID]
					id := rng.Uint64()
					if rng.IntN(4) == 0 {
						id = w.members[rng.IntN(n)].ID // exactly on a member
					}
					got, asked := w.search(t, from, id, Options{})
					if want := w.owner(id); got != want {
						t.Fatalf("n=%d r=%d: owner of %d is %v, want %v", n, r, id, got, want)
					}
					if asked > from.HopLimit() {
						t.Fatalf("asked %d, limit %d", asked, from.HopLimit())
					}
					most = max(most, asked)
					total += asked
				}
				bound := 2*bits.Len(uint(n-1)) + 3*r
				if dead == 0.5 && r >= 3 && most > bound {
					t.Errorf("n=%d r=%d, half of the fingers dead: asked up to %d, want at most %d", n, r, most, bound)
				}
				if n == 1024 && r == 3 {
					t.Logf("n=%d r=%d, dead %.0f%%: asked %.2f on average, at most %d", n, r, 100*dead, float64(total)/count, most)
				}
			}
		}
	}
}

func TestFreshSearchEndsAtTheOwner(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	w := settle(rng, 200, 3, 0.2)
	for range 500 {
		from := w.tables[w.members[rng.IntN(200)].ID]
		id := rng.Uint64()
		s := NewSearch(from, id, Options{Fresh: true}, nil, 0)
		var last ring.Member
		for {
			step, x := s.Next()
			if step == Done {
				break
			}
			if step != AskNext {
				t.Fatalf("ended with %v", step)
			}
			if table := w.tables[x.ID]; table != nil {
				last = x
				s.Answered(table.Answer(s.Query(), 0))
			} else {
				s.Silent(true)
			}
		}
		if r := s.Result(); r.Verdict != Mine || r.Owner != w.owner(id) || !last.IsZero() && last != r.Owner {
			t.Fatalf("%v by %v, want the answer of %v", r, last, w.owner(id))
		}
	}
}

func TestMaxAgeAsksTheOwnerWhenTheConfirmationIsOld(t *testing.T) {
	w := settle(rand.New(rand.NewPCG(3, 3)), 4, 2, 0)
	k := w.tables[w.members[0].ID].Known
	k.Certain = time.Second
	id := w.members[1].ID
	for _, tc := range []struct {
		age  time.Duration
		want Step
	}{{3 * time.Second, Done}, {time.Second, AskNext}} {
		s := NewSearch(NewTable(k), id, Options{MaxAge: tc.age}, nil, 3*time.Second)
		if step, _ := s.Next(); step != tc.want {
			t.Errorf("MaxAge %v with a confirmation of 2 s ago: step %v, want %v", tc.age, step, tc.want)
		}
	}
}

func TestSearchStopsAtTheHopLimit(t *testing.T) {
	// Everybody names ever closer members that do not exist.
	self := ring.Member{ID: 0, Name: "self", Addr: "self:1"}
	table := NewTable(Known{Self: self, Bits: 64, Full: 3, Succ: []ring.Member{{ID: 1, Name: "a", Addr: "a:1"}}})
	s := NewSearch(table, 1<<40, Options{}, nil, 0)
	next := uint64(2)
	for asked := 0; ; asked++ {
		step, x := s.Next()
		if step == Exceeded {
			if asked != table.HopLimit() {
				t.Errorf("asked %d, limit %d", asked, table.HopLimit())
			}
			return
		}
		if step != AskNext || asked > 300 {
			t.Fatalf("%v after %d", step, asked)
		}
		s.Answered(Answer{Verdict: Closer, Closer: []ring.Member{{ID: x.ID + next, Name: "liar", Addr: "liar:1"}}})
	}
}

func TestSearchIgnoresMembersThatAreNotCloser(t *testing.T) {
	self := ring.Member{ID: 0, Name: "self", Addr: "self:1"}
	a := ring.Member{ID: 10, Name: "a", Addr: "a:1"}
	back := ring.Member{ID: 5, Name: "back", Addr: "back:1"}
	s := NewSearch(NewTable(Known{Self: self, Bits: 64, Full: 1, Succ: []ring.Member{a}}), 100, Options{}, nil, 0)
	if step, x := s.Next(); step != AskNext || x != a {
		t.Fatalf("%v %v", step, x)
	}
	s.Answered(Answer{Verdict: Closer, Closer: []ring.Member{a, back, self}})
	if step, x := s.Next(); step != Stuck {
		t.Errorf("%v %v, want to be stuck rather than to go in a loop", step, x)
	}
}

func TestWholeListDeadIsNotOwnership(t *testing.T) {
	self := ring.Member{ID: 0, Name: "self", Addr: "self:1"}
	a := ring.Member{ID: 10, Name: "a", Addr: "a:1"}
	s := NewSearch(NewTable(Known{Self: self, Bits: 64, Full: 1, Succ: []ring.Member{a}, Pred: a,
		HasArc: true, Arc: ring.Arc{After: 10, To: 0}}), 5, Options{Fresh: true}, nil, 0)
	if step, x := s.Next(); step != AskNext || x != a {
		t.Fatalf("%v %v", step, x)
	}
	s.Silent(true)
	if step, _ := s.Next(); step != Stuck {
		t.Errorf("%v, want no answer at all", step)
	}
}

func TestClientTableAnswersByClosenessOnly(t *testing.T) {
	var known []ring.Member
	for _, id := range []uint64{10, 20, 30, 40} {
		known = append(known, ring.Member{ID: id, Name: fmt.Sprint(id), Addr: "x:1"})
	}
	table := NewTable(Known{Bits: 64, Full: 3, Others: known})
	a := table.Answer(Query{ID: 25}, 0)
	if a.Verdict != Closer || len(a.Closer) != 3 || a.Closer[0].ID != 20 || a.Closer[1].ID != 10 || a.Closer[2].ID != 40 {
		t.Errorf("%+v", a)
	}
}

func TestFingersKeepDistinctMembersOnly(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	w := settle(rng, 256, 3, 0)
	for _, m := range w.members[:32] {
		f := NewFingers(m.ID, 64)
		covered := ring.Arc{After: m.ID, To: w.tables[m.ID].Succ[2].ID}
		for round := range 3 {
			looked := 0
			for {
				e, _, ok := f.due(covered)
				if !ok {
					break
				}
				looked++
				o := w.owner(f.Start(e))
				i := slices.Index(w.members, o)
				f.set(e, o, ring.Arc{After: w.members[(i+255)%256].ID, To: o.ID})
			}
			list := f.Distinct()
			if looked != len(list) {
				t.Fatalf("round %d: looked up %d points for %d fingers", round, looked, len(list))
			}
			if len(list) > 18 {
				t.Errorf("%d fingers in a ring of 256", len(list))
			}
			last := 128
			for i, e := range list {
				if e.High != last-1 || e.Low > e.High {
					t.Fatalf("finger %d covers %d to %d after %d", i, e.Low, e.High, last)
				}
				if i > 0 && list[i-1].Member == e.Member {
					t.Fatalf("finger %d is the same member as the one before", i)
				}
				for x := e.Low; x <= e.High; x++ {
					if o := w.owner(f.Start(x)); o != e.Member {
						t.Fatalf("finger %d: %v, want %v", x, e.Member, o)
					}
				}
				last = e.Low
			}
		}
	}
}

func TestFingerLostIsForgotten(t *testing.T) {
	f := NewFingers(0, 8)
	a, b := ring.Member{ID: 130, Name: "a"}, ring.Member{ID: 70, Name: "b"}
	f.set(14, a, ring.Arc{After: 100, To: 130})
	f.set(12, b, ring.Arc{After: 60, To: 70})
	f.set(14, ring.Member{}, ring.Arc{})
	if got := f.Members(); len(got) != 1 || got[0] != b {
		t.Errorf("fingers %v, want only %v", got, b)
	}
}

// A member that joins becomes the finger of exactly those whose starts it comes to
// own, and those stand where Followers says.
func TestFingersOfAJoiner(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	w := settle(rng, 200, 3, 0)
	x := w.members[77]
	before := &world{members: slices.Delete(slices.Clone(w.members), 77, 78)}
	arc := ring.Arc{After: w.members[76].ID, To: x.ID}
	offered := 0
	for i, m := range before.members {
		covered := ring.Arc{After: m.ID, To: before.members[(i+3)%199].ID}
		f := NewFingers(m.ID, 64)
		f.Fill(covered, func(id uint64) (ring.Member, ring.Arc) {
			o := before.owner(id)
			return o, ring.Arc{After: id - 1, To: o.ID}
		})
		follows := false
		for _, e := range f.Distinct() {
			for k := e.Low; k <= e.High; k++ {
				is := Followers(k, arc, ring.Space{Bits: 64}).Contains(m.ID)
				if is != (w.owner(f.Start(k)) == x) {
					t.Fatalf("start %d of %v: follows %v", k, m, is)
				}
				follows = follows || is
			}
		}
		if f.Offer(x) != follows {
			t.Fatalf("%v: offered %v, follows %v", m, !follows, follows)
		}
		if follows {
			offered++
			table := NewTable(Known{Self: m, Bits: 64, Full: 3})
			e, ok := f.Errand(table)
			if !ok || !e.Offered || e.Believed != x {
				t.Fatalf("%v: the errand is %+v", m, e)
			}
			before := slices.Clone(f.Distinct())
			if got, _ := f.Found(table, e, Answer{}); !got.IsZero() || !slices.Equal(f.Distinct(), before) {
				t.Fatalf("%v: one that does not answer as a member has become a finger", m)
			}
			f.Offer(x)
			f.Found(table, e, Answer{Verdict: Mine, Owner: x, Arc: arc, HasArc: true})
		}
		for _, e := range f.Distinct() {
			for k := e.Low; k <= e.High; k++ {
				if want := w.owner(f.Start(k)); e.Member != want {
					t.Fatalf("start %d of %v is %v, want %v", k, m, e.Member, want)
				}
			}
		}
	}
	if offered == 0 {
		t.Error("nobody's finger")
	}
}

func TestFingerDistrustedIsLookedUpNext(t *testing.T) {
	f := NewFingers(0, 8)
	a, b := ring.Member{ID: 130, Name: "a", Addr: "a:1"}, ring.Member{ID: 70, Name: "b", Addr: "b:1"}
	f.set(14, a, ring.Arc{After: 100, To: 130})
	f.set(12, b, ring.Arc{After: 60, To: 70})
	if f.Distrust("c:1") {
		t.Error("a member that is no finger")
	}
	if !f.Distrust("a:1") {
		t.Error("not found")
	}
	f.Distrust("b:1")
	f.Distrust("a:1")
	next := func(start int, believed ring.Member) {
		t.Helper()
		if i, x, ok := f.due(ring.Arc{After: 0, To: 3}); i != start || x != believed || !ok {
			t.Fatalf("next is %d, %v, %v; want %d, %v", i, x, ok, start, believed)
		}
	}
	next(14, a)
	f.set(14, a, ring.Arc{After: 100, To: 130}) // it is there after all
	next(12, b)
	c := ring.Member{ID: 65, Name: "c", Addr: "c:1"}
	f.set(12, c, ring.Arc{After: 63, To: 65})
	if len(f.doubted) > 0 {
		t.Error("all that was doubted has been looked up")
	}
	next(11, ring.Member{}) // where the round stood
}

// One that is gone may have been the finger of more starts than its successor is.
func TestAllStartsOfFingerDistrustedAreLookedUp(t *testing.T) {
	f := NewFingers(0, 8)
	a, b, c := ring.Member{ID: 200, Name: "a", Addr: "a:1"}, ring.Member{ID: 70, Name: "b", Addr: "b:1"}, ring.Member{ID: 130, Name: "c", Addr: "c:1"}
	f.set(14, a, ring.Arc{After: 40, To: 200}) // of 128, 96 and 64
	f.Distrust("a:1")
	f.set(14, c, ring.Arc{After: 100, To: 130})
	if i, x, ok := f.due(ring.Arc{After: 0, To: 3}); i != 13 || x != a || !ok || len(f.doubted) == 0 {
		t.Fatalf("next is %d, %v, %v", i, x, ok)
	}
	f.set(13, c, ring.Arc{After: 70, To: 130})
	f.set(12, b, ring.Arc{After: 40, To: 70})
	if len(f.doubted) > 0 {
		t.Error("nothing is left of it")
	}
	f.Distrust("b:1")
	f.set(12, ring.Member{}, ring.Arc{})
	if len(f.doubted) > 0 {
		t.Error("nobody knows: the round asks again")
	}
}

// A client cannot tell how large the ring is.
func TestClientMayAskAsManyAsAnybody(t *testing.T) {
	if got := NewTable(Known{Bits: 64}).HopLimit(); got != maxHops {
		t.Errorf("at most %d, want %d", got, maxHops)
	}
}

// The closest member that has answered names an owner that is gone, and finds
// that out a moment later.
func TestStuckSearchAsksTheClosestAgain(t *testing.T) {
	self := ring.Member{ID: 0, Name: "self", Addr: "self:1", Incarnation: 1}
	a, dead, next := at(10), at(20), at(30)
	table := NewTable(Known{Self: self, Bits: 64, Full: 1, Succ: []ring.Member{a}})
	s := NewSearch(table, 15, Options{Lenient: true, MaxAge: time.Second}, nil, 0)
	ask := func(want ring.Member) {
		t.Helper()
		if step, x := s.Next(); step != AskNext || x != want {
			t.Fatalf("step %v, %v; want to ask %v", step, x, want)
		}
	}
	stuck := func() {
		t.Helper()
		if step, _ := s.Next(); step != Stuck {
			t.Fatalf("step %v, want to be stuck", step)
		}
	}
	ask(a)
	s.Answered(Answer{Verdict: Owned, Owner: dead})
	ask(dead)
	s.Silent(true)
	ask(a)
	s.Answered(Answer{Verdict: Owned, Owner: dead})
	stuck()
	var last time.Duration
	for range 2 {
		d, ok := s.Retry()
		if !ok || d <= last {
			t.Fatalf("pause %v after %v, %v", d, last, ok)
		}
		last = d
		ask(a)
		s.Answered(Answer{Verdict: Owned, Owner: dead})
		stuck()
	}
	if _, ok := s.Retry(); !ok {
		t.Fatal("gives up too soon")
	}
	ask(a)
	s.Answered(Answer{Verdict: Owned, Owner: next, HasArc: true, Arc: ring.Arc{After: 10, To: 30}})
	if step, x := s.Next(); step != Done || x != next {
		t.Errorf("step %v, %v", step, x)
	}
}

func TestStuckSearchGivesUpOnTheClosestInTheEnd(t *testing.T) {
	self := ring.Member{ID: 0, Name: "self", Addr: "self:1", Incarnation: 1}
	s := NewSearch(NewTable(Known{Self: self, Bits: 64, Full: 1, Succ: []ring.Member{at(10)}}), 15, Options{Fresh: true}, nil, 0)
	if _, ok := s.Retry(); ok {
		t.Error("asks the member itself again")
	}
	for retries := 0; ; {
		switch step, _ := s.Next(); step {
		case AskNext:
			s.Answered(Answer{Verdict: Closer})
		case Stuck:
			if _, ok := s.Retry(); !ok {
				if retries != maxRetries {
					t.Errorf("%d retries", retries)
				}
				return
			}
			if retries++; retries > maxRetries {
				t.Fatal("without end")
			}
		default:
			t.Fatalf("step %v", step)
		}
	}
}

func TestTableNamesThoseBeyondAnIdentifier(t *testing.T) {
	at := func(id uint64) ring.Member { return ring.Member{ID: id, Name: "m", Addr: "m:1"} }
	table := NewTable(Known{Self: at(100), Bits: 64, Full: 2, Succ: []ring.Member{at(120), at(140)}, Pred: at(90), Others: []ring.Member{at(10), at(200)}})
	for _, tc := range []struct {
		id   uint64
		want []uint64
	}{
		{130, []uint64{140, 200, 10, 90, 120}},
		{140, []uint64{200, 10, 90, 120}}, // the member at the identifier itself is left out
		{50, []uint64{90, 120, 140, 200, 10}},
		{95, []uint64{120, 140, 200, 10, 90}},
	} {
		var got []uint64
		for _, x := range table.After(tc.id) {
			got = append(got, x.ID)
		}
		if want := tc.want[:min(len(tc.want), MaxCloser)]; !slices.Equal(got, want) {
			t.Errorf("beyond %d: %v, want %v", tc.id, got, want)
		}
	}
}

// Of a process that did not answer at one identifier, the others are asked when nobody else is
// left; by a client, which looks for other members then, not before it has found some.
func TestSilentProcessIsAskedLastAtItsOtherIdentifiers(t *testing.T) {
	others := []ring.Member{identifier("q", 50), identifier("p", 60), identifier("p", 70), identifier("p", 80)}
	begin := func(k Known) *Search {
		k.Others, k.Bits = others, 8
		return NewSearch(NewTable(k), 90, Options{}, nil, 0)
	}
	asks := func(s *Search, want ring.Member) {
		t.Helper()
		if step, x := s.Next(); step != AskNext || x != want {
			t.Fatalf("step %d to %v, want to ask %v", step, x, want)
		}
	}
	s := begin(Known{Self: at(16), Arc: ring.Arc{After: 0, To: 16}, HasArc: true, Succ: []ring.Member{at(32)}, Full: 1})
	asks(s, others[3])
	s.Silent(true) // who is not there says nothing about the process
	asks(s, others[2])
	s.Silent(false)
	asks(s, others[0])
	s.Silent(false)
	asks(s, at(32))
	s.Silent(false)
	asks(s, others[1])

	others = slices.Delete(others, 1, 3)
	client := begin(Known{})
	asks(client, others[1])
	client.Silent(false)
	asks(client, others[0])
	client.Silent(false)
	if step, x := client.Next(); step != Stuck {
		t.Fatalf("step %d to %v of a client that knows only processes that did not answer", step, x)
	}
	client.Restart(NewTable(Known{Others: others, Bits: 8}), true, 0)
	asks(client, others[1])

	late := begin(Known{})
	asks(late, others[1])
	late.Silent(false)
	late.Late(others[1], Answer{Verdict: Closer, Closer: []ring.Member{identifier("p", 85)}})
	asks(late, identifier("p", 85))
}

// Whoever did not answer a client is not asked first again when others have been found meanwhile.
func TestWhoDidNotAnswerIsAskedLastOnceOthersAreFound(t *testing.T) {
	const key = 90
	silent, found := at(80), at(60)
	table := func(others ...ring.Member) *Table {
		return NewTable(Known{Others: others, Bits: 8, Certain: -1})
	}
	s := NewSearch(table(silent), key, Options{}, nil, 0)
	if step, x := s.Next(); step != AskNext || x != silent {
		t.Fatalf("step %d to %v", step, x)
	}
	s.Silent(false)
	s.Restart(table(silent, found), true, 0)
	for _, want := range []ring.Member{found, silent} {
		if step, x := s.Next(); step != AskNext || x != want {
			t.Fatalf("step %d to %v, want to ask %v", step, x, want)
		}
		s.Silent(false)
	}
}

// A member's search that begins again, since the ring has changed, asks again who has answered it
// before: that one may know another owner now.
func TestSearchThatBeginsAgainAsksAgain(t *testing.T) {
	const key = 90
	next, gone, owner := at(32), at(100), at(110)
	table := func(pred ring.Member) *Table {
		return NewTable(Known{Self: at(16), Pred: pred, Succ: []ring.Member{next}, Full: 1, Bits: 8})
	}
	s := NewSearch(table(at(8)), key, Options{Fresh: true}, nil, 0)
	asks := func(want ring.Member) {
		t.Helper()
		if step, x := s.Next(); step != AskNext || x != want {
			t.Fatalf("step %d to %v, want to ask %v", step, x, want)
		}
	}
	names := func(owner ring.Member) { s.Answered(Answer{Verdict: Owned, Owner: owner}) }
	asks(next)
	names(gone)
	asks(gone)
	s.Silent(false)
	asks(next) // does it know others?
	names(gone)
	s.Restart(table(at(9)), true, 0)
	asks(next)
	names(owner)
	asks(owner)
}
