package ringmap

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

// processesOf are the claims of an ideal ring of n processes that stand at v identifiers each.
func processesOf(n, v int) (all []Claim) {
	for i := range n {
		name := fmt.Sprintf("process-%d", i)
		for k := range v {
			x := &ring.Member{Name: name, Addr: fmt.Sprintf("10.0.0.%d:7946", i), Incarnation: 1, Home: ring.SHA256([]byte(name))}
			x.Choice = ring.Chosen(k, 0)
			x.ID = ring.SHA256(x.Choice.Text(name))
			all = append(all, Claim{ID: x.ID, Epoch: 1, Of: x})
		}
	}
	slices.SortFunc(all, func(a, b Claim) int { return cmp.Compare(a.ID, b.ID) })
	for i := range all {
		all[i].After = all[(i+len(all)-1)%len(all)].ID
	}
	return all
}

// mapsOf are the maps of the processes of a ring, by their homes. Each has the claims of all.
func mapsOf(all []Claim) map[uint64]*Map {
	maps := map[uint64]*Map{}
	for i, c := range all {
		m := maps[c.home()]
		if m == nil {
			m = newMap(*c.Of)
			m.Fill(NewTable(64, all))
			maps[c.home()] = m
		}
		m.Own(0, Owning{Self: *c.Of, Arc: c.Arc(), Has: true, Epoch: 1, Next: all[(i+1)%len(all)].Owner().Instance()})
	}
	for _, m := range maps {
		m.outbox, m.paced = nil, 0
		effects(m)
	}
	return maps
}

// exchange carries out what the maps want until nothing is left, and returns how many requests
// there were.
func exchange(maps map[uint64]*Map, now time.Duration) (sent int) {
	homes := make([]uint64, 0, len(maps))
	for home := range maps {
		homes = append(homes, home)
	}
	slices.Sort(homes)
	for busy := true; busy; {
		busy = false
		for _, home := range homes {
			m := maps[home]
			for _, e := range effects(m) {
				if e.Do != Send {
					continue
				}
				busy = true
				sent++
				to := maps[e.To.Process()]
				if to == nil {
					m.Failed(now, e.Call, true)
					continue
				}
				reply := to.Receive(now, &e.Request)
				m.Answered(now, e.Call, &reply)
			}
		}
	}
	return sent
}

// run lets the maps live until end.
func run(maps map[uint64]*Map, from, end time.Duration) (sent int) {
	for now := from; now < end; now += time.Second / (4 * paces) {
		for _, m := range maps {
			if now >= m.Next() {
				m.Tick(now)
			}
		}
		sent += exchange(maps, now)
	}
	return sent
}

func TestTableOfProcessesIsThatOfTheirClaims(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	all := slices.Concat(processesOf(6, 5), claims(rng, 9, 64))
	m := newMap(*all[0].Of)
	for range 2000 {
		c := all[rng.IntN(len(all))]
		if m.t.get(c.ID) != nil && rng.IntN(2) == 0 {
			m.remove(c.ID)
		} else {
			c.Epoch = rng.Uint64N(9)
			of := *c.Of
			of.Incarnation = 1 + rng.Uint64N(3)
			c.Of = &of
			m.put(c)
		}
	}
	held := map[uint64][]uint64{}
	for c := range m.t.all() {
		held[c.home()] = append(held[c.home()], c.ID)
	}
	if n := m.homes().Len(); n != len(held) || n == m.t.Len() {
		t.Fatalf("%d processes on the table, %d claim something, at %d identifiers", n, len(held), m.t.Len())
	}
	other := newMap(*all[0].Of)
	for _, k := range rng.Perm(m.t.Len()) {
		other.put(*m.t.at(k))
	}
	for home, ids := range held {
		var got []uint64
		var latest *Claim
		for _, c := range m.claims(home) {
			got = append(got, c.ID)
			if latest == nil || cmp.Or(cmp.Compare(c.Of.Incarnation, latest.Of.Incarnation), cmp.Compare(latest.Of.Choice, c.Of.Choice)) > 0 {
				latest = c
			}
		}
		if x := m.homes().get(home); x.asked() != latest.asked() {
			t.Errorf("for %d, %v is asked, want %v", home, x.asked(), latest.asked())
		}
		if !slices.Equal(got, ids) {
			t.Errorf("%d claims at %v, want %v", home, got, ids)
		}
		if a, b := m.homes().get(home), other.homes().get(home); a == nil || b == nil || a.hash() != b.hash() {
			t.Errorf("the claims of %d, put in another order, have another sum", home)
		}
	}
}

// A process asks no more often whatever the number of its identifiers, and is certain of all.
func TestProcessesAreCertifiedAtOnce(t *testing.T) {
	const sweeps = 4
	var asked []int
	for _, v := range []int{1, 2, 16} {
		all := processesOf(32, v)
		maps := mapsOf(all)
		end := sweeps * sweepEvery * time.Second
		asked = append(asked, run(maps, 0, end))
		for _, m := range maps {
			s := m.Snapshot()
			if age, ok := s.Age(end); !ok || age > Promised(time.Second) {
				t.Fatalf("%d identifiers each: the circle is certain %t, as of %v ago", v, ok, age)
			}
			for i := range all {
				if c, _, ok := s.Lookup(all[i].ID, end, Promised(time.Second)); !ok || c.ID != all[i].ID {
					t.Fatalf("%d identifiers each: %d is owned by %v (%t)", v, all[i].ID, c, ok)
				}
			}
		}
	}
	if asked[2] > asked[1]*11/10 || asked[2] > asked[0]*3/2 {
		t.Errorf("%d questions of processes at 1 identifier, %d at 2, %d at 16", asked[0], asked[1], asked[2])
	}
}

// Of an identifier that a process has given up, its map says nothing until another claims it.
func TestMapDoesNotNameItsProcessForWhatItGaveUp(t *testing.T) {
	all := processesOf(4, 3)
	maps := mapsOf(all)
	m := maps[all[5].home()]
	m.certify(0, m.home, 0)
	if c, _, ok := m.Snapshot().Lookup(all[5].ID, 0, time.Second); !ok || c.ID != all[5].ID {
		t.Fatalf("the owner of an own identifier is %v (%t)", c, ok)
	}
	m.Left(all[5].ID)
	if c, _, ok := m.Snapshot().Lookup(all[5].ID, 0, time.Hour); ok {
		t.Fatalf("after it was given up, it is %v", c)
	}
	run(maps, 0, 8*time.Second)
	for home, x := range maps {
		if s := x.Snapshot(); home != m.home {
			if _, _, ok := s.Lookup(all[5].ID, 8*time.Second, 5*time.Second); ok {
				t.Fatal("it is certified although its owner does not claim it")
			}
		}
	}
	over := all[6]
	over.After, over.Epoch = all[4].ID, 2
	maps[over.home()].Own(8*time.Second, Owning{Self: *over.Of, Arc: over.Arc(), Has: true, Epoch: 2})
	run(maps, 8*time.Second, 24*time.Second)
	for _, x := range maps {
		if c, _, ok := x.Snapshot().Lookup(all[5].ID, 24*time.Second, Promised(time.Second)); !ok || c.ID != over.ID {
			t.Fatalf("who took it over is %d, and the owner on a map %v (%t)", over.ID, c, ok)
		}
	}
}

// The claims of a process that do not fit in one message come in several.
func TestProcessOfManyIdentifiersIsToldInPages(t *testing.T) {
	all := processesOf(3, ring.MaxIdentifiers)
	maps := mapsOf(all)
	run(maps, 0, 8*time.Second)
	joining := *all[0].Of
	joining.Name, joining.Home = "joining", ring.SHA256([]byte("joining"))
	joining.ID = ring.SHA256(joining.Choice.Text(joining.Name))
	m := newMap(joining)
	maps[m.home] = m
	over := slices.IndexFunc(all, func(c Claim) bool { return c.ID > joining.ID })
	if over < 0 {
		over = 0
	}
	succ := all[over]
	const now = 8 * time.Second
	m.Own(now, Owning{Self: joining, Arc: ring.Arc{After: succ.After, To: joining.ID}, Has: true, Epoch: 2, Next: succ.Owner().Instance()})
	succ.After = joining.ID
	m.Head(now, now, joining.ID, succ)
	run(maps, now, now+time.Second)
	if n := m.Snapshot().Len(); n != len(all)+1 {
		t.Fatalf("it has %d claims of %d", n, len(all)+1)
	}
	if _, ok := m.Snapshot().Age(now + time.Second); !ok {
		t.Fatal("it is not certain of them")
	}
	// One process differs in the middle of its claims: that is found as well.
	other := maps[succ.home()]
	for k := range 30 {
		c := all[over]
		if ids := other.claims(other.home); k < len(ids)-1 {
			c = *ids[len(ids)/2+k]
		}
		c.Epoch = 7
		other.put(c)
		other.own(c.ID).claim = c
	}
	run(maps, now+time.Second, now+15*time.Second)
	for home, x := range maps {
		if x.homes().sum(0, 0) != other.homes().sum(0, 0) {
			t.Errorf("the map of %d differs", home)
		}
	}
}

// One that is asked whether it is there is the member at that identifier.
func TestMemberOfAProcessIsProbedItself(t *testing.T) {
	all := processesOf(4, 3)
	maps := mapsOf(all)
	m := maps[all[5].home()]
	x := *all[5].Of
	c := Claim{ID: all[5].ID - 1, After: all[5].After, Epoch: 9, Of: &ring.Member{
		ID: all[5].ID - 1, Name: all[0].Of.Name, Addr: all[0].Of.Addr, Home: all[0].Of.Home, Incarnation: 1, Choice: ring.Chosen(7, 1),
	}}
	if m.home == c.home() {
		t.Fatal("the claim is to be of another process")
	}
	m.Receive(0, &Request{Kind: Push, Parts: []Part{{To: m.home, Claims: []Announcement{announce(&c, true)}}}})
	effects(m)
	m.Tick(time.Second)
	var probes []Effect
	for _, e := range effects(m) {
		if e.Do == Send && e.To.ID == c.ID {
			probes = append(probes, e)
		}
	}
	if len(probes) != 1 {
		t.Fatalf("asked: %+v", probes)
	}
	m.Answered(time.Second, probes[0].Call, &Reply{})
	e := slices.DeleteFunc(effects(m), func(e Effect) bool { return e.Do == Send })
	if len(e) != 1 || e[0].Do != Consider || e[0].By != x.ID || e[0].Member != *c.Of {
		t.Fatalf("effects: %+v", e)
	}
}

// What the map says of its own process and the process does not claim is certain to nobody, and
// not told to clients as certain.
func TestNobodyIsCertainOfWhatAProcessGaveUp(t *testing.T) {
	all := processesOf(4, 3)
	maps := mapsOf(all)
	run(maps, 0, 8*time.Second)
	m := maps[all[5].home()]
	if c := m.Snapshot().Circle(0, 8*time.Second, Promised(time.Second)); len(c) != len(all) {
		t.Fatalf("it is certain of %d claims of %d", len(c), len(all))
	}
	m.Left(all[5].ID)
	s := m.Snapshot()
	if c := s.Circle(0, 8*time.Second, Promised(time.Second)); c != nil {
		t.Errorf("it is certain of all, with what it gave up: %d claims", len(c))
	}
	f := NewFeed(&Subscription{}, s, time.Second, 8*time.Second)
	defer f.Close()
	if u, ok := f.Next(s, 8*time.Second); !ok || !u.Aged || !slices.Equal(u.Doubts, []uint64{all[5].ID}) {
		t.Errorf("a client is told %+v (%t)", u.Doubts, ok)
	}
}

// A process that has come back with a clock that was put back finds what it claimed before, by a
// greater epoch. Until it has raised its own, that answers no lookup.
func TestEarlierIncarnationDoesNotAnswerForTheOwnProcess(t *testing.T) {
	all := processesOf(4, 1)
	maps := mapsOf(all)
	run(maps, 0, 8*time.Second)
	m := maps[all[1].home()]
	again := *all[1].Of
	again.Incarnation = 2
	m.Left(again.ID)
	former := all[1]
	former.Epoch = 9
	m.merge(former)
	effects(m)
	m.Own(8*time.Second, Owning{Self: again, Arc: ring.Arc{After: former.ID - 1, To: former.ID}, Has: true, Epoch: 8})
	if e := effects(m); len(e) != 1 || e[0].Do != Defend {
		t.Errorf("effects: %+v", e)
	}
	if c, _, ok := m.Snapshot().Lookup(former.ID-9, 8*time.Second, Promised(time.Second)); ok {
		t.Errorf("the owner is %+v", c.Owner())
	}
}

// One that divides what it is asked for without end, or says that it knew something before there
// was any time, does no more harm than one that does not answer.
func TestAnswersThatLeadNowhere(t *testing.T) {
	all := processesOf(200, 1)
	maps := mapsOf(all)
	m := maps[all[0].home()]
	rng := rand.New(rand.NewPCG(1, 2))
	asked := 0
	for now := time.Duration(0); now < 3*sweepEvery*time.Second; now += time.Second / paces {
		m.Tick(now)
		for e := effects(m); len(e) > 0; e = effects(m) {
			for _, e := range e {
				if e.Do != Send {
					continue
				}
				r := Reply{Through: e.Request.To}
				if asked++; e.Request.Kind == Ask {
					for range maxStretches {
						r.Stretches = append(r.Stretches, Stretch{rng.Uint64(), 1})
					}
				}
				m.Answered(now, e.Call, &r)
			}
			if asked > 1<<16 {
				t.Fatal("it is asked without end")
			}
		}
	}
	t.Log(asked)
	m = maps[all[1].home()]
	m.Tick(0)
	for _, e := range effects(m) {
		if e.Do == Send {
			m.Answered(0, e.Call, &Reply{Same: true, Aged: true, Age: 1<<63 - 1})
		}
	}
	for i := range all {
		if c, as, ok := m.Snapshot().Lookup(all[i].ID, time.Hour, Promised(time.Second)); ok && c.home() != m.home {
			t.Fatalf("it is certain of %d as of %v", c.ID, as)
		}
	}
}

// Whoever claims by an epoch that no other ever reaches is not believed: those whose arc that is
// could not claim it again.
func TestClaimsOfEpochsThatNobodyReachesAreNotTaken(t *testing.T) {
	all := processesOf(4, 1)
	for _, above := range []uint64{1, 1 << 20, 1 << 40, 1 << 61} {
		m := mapsOf(all)[all[0].home()]
		c := all[2]
		c.After, c.Epoch = all[0].ID, 1+above
		m.Receive(0, &Request{Kind: Push, Parts: []Part{{To: m.home - 1, Claims: []Announcement{announce(&c, true)}}}})
		want := above <= ring.MaxLeap
		if x := m.t.get(c.ID); same(x, &c) != want || m.t.Len() == len(all) == want {
			t.Errorf("a claim by an epoch greater by %d: on the map is %+v", above, x)
		}
		sent := slices.ContainsFunc(effects(m), func(e Effect) bool { return e.Do == Send })
		if sent != want {
			t.Errorf("a claim by an epoch greater by %d is told to others: %v", above, sent)
		}
	}
}

// Claims by epochs that are far above all that a map has heard of are believed in the end, if they
// are told again and again: others may have been brought so far by one that lies.
func TestEpochsFarAheadAreBelievedInTheEnd(t *testing.T) {
	all := processesOf(4, 1)
	m := mapsOf(all)[all[0].home()]
	c := all[2]
	c.After, c.Epoch = all[0].ID, 1+5*ring.MaxLeap
	push := &Request{Kind: Push, Parts: []Part{{To: m.home, Claims: []Announcement{announce(&c, true)}}}}
	var now time.Duration
	for ; now < 20*time.Second && !same(m.t.get(c.ID), &c); now += time.Second {
		m.Tick(now)
		m.Receive(now, push)
		m.Receive(now, push) // more than once in an interval is of no use
	}
	if now != 5*time.Second {
		t.Errorf("it is believed after %v", now)
	}
}

// When a rack of processes fails at once, the map goes on to answer for the others.
func TestManyProcessesThatFailAtOnceAreDoubtedAlone(t *testing.T) {
	all := processesOf(60, 16)
	maps := mapsOf(all)
	run(maps, 0, 8*time.Second)
	m := maps[all[0].home()]
	failed := map[uint64]bool{}
	for _, c := range all {
		if len(failed) < 40 && c.home() != m.home {
			failed[c.home()] = true
		}
	}
	for _, c := range all {
		if failed[c.home()] {
			m.Strike(8*time.Second, 0, c.Owner().Instance())
		}
	}
	s := m.Snapshot()
	for _, c := range all {
		if _, _, ok := s.Lookup(c.ID, 8*time.Second, Promised(time.Second)); ok == failed[c.home()] {
			t.Fatalf("%s has failed: %t, and the map is certain of it: %t", c.Of.Name, failed[c.home()], ok)
		}
	}
	f := NewFeed(&Subscription{}, s, time.Second, 8*time.Second)
	defer f.Close()
	for {
		u, ok := f.Next(s, 8*time.Second)
		if !ok {
			break
		}
		if err := u.Check(); err != nil || len(u.Doubts) != 40*16 {
			t.Fatalf("a client is told %d doubts, error %v", len(u.Doubts), err)
		}
	}
}

func BenchmarkClaimsOfOneProcess(b *testing.B) {
	all := processesOf(1, ring.MaxIdentifiers)
	b.ReportAllocs()
	for b.Loop() {
		m := newMap(ring.Member{ID: 1, Name: "a", Addr: "10.0.0.1:1", Incarnation: 1})
		for _, c := range all {
			m.put(c)
		}
	}
}

// A process claims an arc again that another of its identifiers has claimed for a while, as if
// the first were gone. Nothing on its map speaks against that, and nobody tells it.
func TestProcessRestoresWhatItsOtherIdentifierClaimed(t *testing.T) {
	all := processesOf(4, 3)
	k := slices.IndexFunc(all, func(c Claim) bool { return c.ID != all[0].ID && c.home() == all[0].home() })
	maps := mapsOf(all)
	m := maps[all[0].home()]
	own := func(now time.Duration, epoch, after uint64) {
		m.Own(now, Owning{Self: *all[k].Of, Arc: ring.Arc{After: after, To: all[k].ID}, Has: true, Epoch: epoch})
	}
	own(0, 9, all[len(all)-1].ID) // over all between, and the own one
	if m.t.get(all[0].ID) != nil {
		t.Fatal("a claim by a greater epoch has removed nothing")
	}
	own(0, 9, all[k].After)
	run(maps, time.Second, 3*sweepEvery*time.Second)
	for _, x := range maps {
		if c := x.t.get(all[0].ID); c == nil || !same(c, &all[0]) {
			t.Errorf("the map of %d has %v, the process claims %v", x.home, c, all[0])
		}
	}
}

// An identifier with which a process joins later hears of the greatest epoch, too.
func TestLaterIdentifierHearsOfTheGreatestEpoch(t *testing.T) {
	all := processesOf(4, 3)
	k := slices.IndexFunc(all, func(c Claim) bool { return c.ID != all[0].ID && c.home() == all[0].home() })
	m := newMap(*all[0].Of)
	own := func(c Claim) []Effect {
		m.Own(0, Owning{Self: *c.Of, Arc: c.Arc(), Has: true, Epoch: c.Epoch})
		return slices.DeleteFunc(effects(m), func(e Effect) bool { return e.Do != Hear })
	}
	own(all[0])
	last := all[len(all)-1]
	last.Epoch = 77
	m.take(0, announce(&last, true))
	effects(m)
	if got := own(all[k]); len(got) != 1 || got[0].Epoch != 77 || !got[0].Concerns(all[k].ID) {
		t.Errorf("an identifier that is new to the map hears of %+v", got)
	}
	if got := own(all[k]); len(got) != 0 {
		t.Errorf("one that is not new hears again of %+v", got)
	}
}

// Whoever answers page after page without end is asked for no more than fits into a map.
func TestPagesOfAMapEnd(t *testing.T) {
	all := processesOf(3, 1)
	for _, empty := range []bool{false, true} {
		m := newMap(*all[0].Of)
		m.Own(0, Owning{Self: *all[0].Of, Arc: all[0].Arc(), Has: true, Epoch: 1, Next: all[1].Owner().Instance()})
		m.Head(0, 0, all[0].ID, all[1])
		pages := 0
		for list := effects(m); len(list) > 0; list = effects(m) {
			for _, e := range list {
				if e.Do != Send {
					continue
				}
				r := Reply{Same: true}
				if e.Request.Kind == Compare {
					pages++
					r = Reply{Through: e.Request.From + 1}
					if !empty {
						r.Claims = []Announcement{announce(&all[1], false)}
					}
				}
				m.Answered(0, e.Call, &r)
			}
		}
		want := maxLoads + 1
		if empty {
			want = 1
		}
		if pages != want || m.loading || !m.filled {
			t.Errorf("pages without claims %t: %d were asked for, want %d; loading %t", empty, pages, want, m.loading)
		}
	}
}
