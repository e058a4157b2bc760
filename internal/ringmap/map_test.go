package ringmap

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func newMap(self ring.Member) *Map {
	return New(self, Config{Bits: 64, Interval: time.Second})
}

// member is the map of all[i] in the ring of all.
func memberOf(all []Claim, i int) *Map {
	m := newMap(*all[i].Of)
	m.Fill(NewTable(64, all))
	m.Own(0, Owning{Self: *all[i].Of, Arc: all[i].Arc(), Has: true, Epoch: all[i].Epoch})
	effects(m)
	return m
}

// effects are all that a map wants done.
func effects(m *Map) (all []Effect) {
	for {
		e, ok := m.Effect()
		if !ok {
			return all
		}
		all = append(all, e)
	}
}

// history is claims of a ring as it changes: members join and go, epochs rise along owners.
// It returns the claims in their order, and those that hold in the end.
func history(rng *rand.Rand, members []Claim, steps int) (said []Claim, end []Claim) {
	var in []Claim
	put := func(k int, c Claim) { in[k] = c; said = append(said, c) }
	first := members[0]
	first.After = first.ID
	in = append(in, first)
	said = append(said, first)
	for range steps {
		c := members[rng.IntN(len(members))]
		k, there := slices.BinarySearchFunc(in, c.ID, func(x Claim, id uint64) int {
			return int(int8(b2i(x.ID > id) - b2i(x.ID < id)))
		})
		n := len(in)
		switch {
		case !there: // it joins: the rest of its successor's arc needs no word
			succ := &in[k%n]
			of := *c.Of
			of.Incarnation = uint64(len(said) + 1)
			c = Claim{ID: c.ID, After: succ.After, Epoch: succ.Epoch + 1, Of: &of}
			succ.After = c.ID
			in = slices.Insert(in, k, Claim{})
			put(k, c)
		case n > 1: // it is gone, and its successor takes over
			gone := in[k]
			in = slices.Delete(in, k, k+1)
			k %= n - 1
			c := in[k]
			c.After, c.Epoch = gone.After, max(c.Epoch, gone.Epoch)+1
			put(k, c)
		}
	}
	return said, in
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestClaimsInAnyOrderMakeTheSameMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		said, end := history(rng, claims(rng, 12, 64), 40)
		want := slices.Clone(end)
		for range 5 {
			m := newMap(ring.Member{ID: 1, Name: "observer", Addr: "x", Incarnation: 1})
			rng.Shuffle(len(said), func(i, j int) { said[i], said[j] = said[j], said[i] })
			for _, c := range said {
				m.merge(c)
			}
			got := slices.Collect(m.t.all())
			if !slices.EqualFunc(got, want, func(a, b Claim) bool { return same(&a, &b) }) {
				t.Fatalf("the map says\n%v\nand the ring is\n%v", got, want)
			}
		}
	}
}

func TestClaimIsRefutedByWhatCoversItAtALaterEpoch(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 8, 64)
	m := memberOf(all, 0)
	over := all[5]
	over.After, over.Epoch = all[3].ID, 2 // all[4] is gone
	if got, _ := m.merge(over); got != news {
		t.Fatalf("the claim of who takes over is %d", got)
	}
	if m.t.get(all[4].ID) != nil {
		t.Fatal("the member that was replaced is in the map")
	}
	got, by := m.merge(all[4])
	if got != refuted || !same(by, &over) {
		t.Fatalf("the claim of the member that was replaced is %d, by %v", got, by)
	}
	back := all[4]
	back.Epoch = 3
	if got, _ := m.merge(back); got != news {
		t.Fatalf("its claim of a later epoch is %d", got)
	}
	if c := m.t.get(over.ID); c.After != back.ID {
		t.Fatalf("the successor owns from %d on, and a member stands at %d", c.After, back.ID)
	}
}

func TestOwnerDefendsItsArc(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 8, 64)
	m := memberOf(all, 4)
	over := all[5]
	over.After, over.Epoch = all[3].ID, 7
	m.Receive(0, &Request{Kind: Push, Parts: []Part{{To: all[4].ID, Claims: []Announcement{announce(&over, false)}}}})
	e := slices.DeleteFunc(effects(m), func(e Effect) bool { return e.Do == Hear })
	if len(e) != 1 || e[0].Do != Defend || e[0].Epoch != 7 {
		t.Fatalf("effects: %+v", e)
	}
	m.Own(0, Owning{Self: *all[4].Of, Arc: all[4].Arc(), Has: true, Epoch: 8})
	if c := m.t.get(all[4].ID); c == nil || c.Epoch != 8 {
		t.Fatalf("its claim is %v", c)
	}
	if c := m.t.get(all[5].ID); c.After != all[4].ID {
		t.Fatalf("the other still owns from %d on", c.After)
	}
}

func TestMemberInTheOwnArcIsToBeAsked(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 9, 64)
	without := slices.Delete(slices.Clone(all), 4, 5)
	without[4].After = all[3].ID
	c := all[4]
	c.Epoch = 5
	for _, there := range []bool{true, false} {
		m := memberOf(without, 4)
		m.Receive(0, &Request{Kind: Push, Parts: []Part{{To: all[5].ID, Claims: []Announcement{announce(&c, true)}}}})
		m.Tick(time.Second)
		e := slices.DeleteFunc(slices.Clone(effects(m)), func(e Effect) bool { return e.To.ID != c.ID || e.Request.Kind != Ask })
		if len(e) != 1 || e[0].Do != Send {
			t.Fatalf("effects: %+v", e)
		}
		if there {
			m.Answered(time.Second, e[0].Call, &Reply{})
		} else {
			m.Failed(time.Second, e[0].Call, true)
		}
		e = effects(m)
		if there && (len(e) != 1 || e[0].Do != Consider || e[0].Member != c.Owner()) {
			t.Fatalf("one that is there: %+v", e)
		}
		if !there && (len(e) != 1 || e[0].Do != Defend || e[0].Epoch != 5) {
			t.Fatalf("one that is gone: %+v", e)
		}
	}
}

// ringOf carries out what maps want, at once and without loss.
type ringOf struct {
	maps  map[uint64]*Map
	dead  map[uint64]bool
	got   map[uint64]int // claims of whom were received how often
	depth int
}

func (r *ringOf) run(now time.Duration, begin *Map) {
	type effect struct {
		from *Map
		Effect
	}
	var todo []effect
	collect := func(m *Map) {
		for _, e := range effects(m) {
			todo = append(todo, effect{m, e})
		}
	}
	collect(begin)
	for len(todo) > 0 {
		r.depth++
		e := todo[0]
		todo = todo[1:]
		if e.Do != Send {
			continue
		}
		to := r.maps[e.To.ID]
		if r.dead[e.To.ID] {
			e.from.Failed(now, e.Call, true)
			now += hold
			e.from.Tick(now)
			collect(e.from)
			continue
		}
		for _, p := range e.Request.Parts {
			r.got[e.To.ID] += len(p.Claims)
		}
		reply := to.Receive(now, &e.Request)
		collect(to)
		e.from.Answered(now, e.Call, &reply)
		to.Tick(now + hold)
		collect(to)
		collect(e.from)
	}
}

func newRingOf(all []Claim) *ringOf {
	r := &ringOf{maps: map[uint64]*Map{}, dead: map[uint64]bool{}, got: map[uint64]int{}}
	for i := range all {
		m := memberOf(all, i)
		m.nextRound, m.sweep.began = time.Hour, time.Hour
		r.maps[all[i].ID] = m
	}
	return r
}

func TestEveryMemberIsToldOnce(t *testing.T) {
	for _, n := range []int{2, 3, 7, 64, 100, 500} {
		all := claims(rand.New(rand.NewPCG(uint64(n), 3)), n, 64)
		r := newRingOf(all)
		owner := r.maps[all[0].ID]
		owner.Own(0, Owning{Self: *all[0].Of, Arc: all[0].Arc(), Has: true, Epoch: 9})
		r.run(0, owner)
		for i := range all[1:] {
			if got := r.got[all[i+1].ID]; got != 1 {
				t.Fatalf("of %d members, one was told %d times", n, got)
			}
			if c := r.maps[all[i+1].ID].t.get(all[0].ID); c.Epoch != 9 {
				t.Fatalf("of %d members, one knows of epoch %d", n, c.Epoch)
			}
		}
		if r.got[all[0].ID] != 0 {
			t.Fatal("the owner was told of its own claim")
		}
	}
}

func TestPartOfAMemberThatIsGoneIsHandedOn(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(4, 3)), 200, 64)
	r := newRingOf(all)
	for i := 1; i < len(all); i++ {
		r.dead[all[i].ID] = i%3 == 0
	}
	owner := r.maps[all[0].ID]
	owner.Own(0, Owning{Self: *all[0].Of, Arc: all[0].Arc(), Has: true, Epoch: 9})
	r.run(0, owner)
	for i := range all {
		if c := r.maps[all[i].ID].t.get(all[0].ID); !r.dead[all[i].ID] && c.Epoch != 9 {
			t.Fatalf("member %d was not told", i)
		}
	}
}

func TestLookupsOfASettledRingAreRight(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 3))
	all := claims(rng, 100, 64)
	m := memberOf(all, 17)
	m.certify(0, all[17].ID, 5*time.Second)
	s := m.Snapshot()
	for range 2000 {
		key := rng.Uint64()
		c, as, ok := s.Lookup(key, 6*time.Second, 2*time.Second)
		if want := list(all).next(key); !ok || c.ID != want.ID {
			t.Fatalf("the owner of %d is said to be %v (%t), not %v", key, c, ok, want)
		}
		if c.ID != all[17].ID && as != 5*time.Second {
			t.Fatalf("it is certain as of %v", as)
		}
	}
	if _, _, ok := s.Lookup(all[3].ID, 9*time.Second, 2*time.Second); ok {
		t.Fatal("an answer is older than allowed")
	}
	if c, _, ok := s.Lookup(all[17].ID, 9*time.Second, 2*time.Second); !ok || c.ID != all[17].ID {
		t.Fatal("a member does not know that it owns its own identifier")
	}
	circle := s.Circle(all[17].ID, 6*time.Second, 2*time.Second)
	for i, c := range circle {
		if c.ID != all[(17+i)%100].ID {
			t.Fatalf("member %d is %v", i, c)
		}
	}
	if len(circle) != 100 || s.Circle(all[17].ID, 9*time.Second, 2*time.Second) != nil {
		t.Fatalf("%d members of 100, and %d of too long ago", len(circle), len(s.Circle(all[17].ID, 9*time.Second, 2*time.Second)))
	}
	m.Strike(6*time.Second, 0, all[50].Owner().Instance())
	if got := m.Snapshot().Circle(all[17].ID, 6*time.Second, 2*time.Second); got != nil {
		t.Fatalf("%d members though one is in doubt", len(got))
	}
}

func TestDoubtsEndWhenTheMemberIsHeardOf(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(5, 3)), 20, 64)
	m := memberOf(all, 0)
	m.certify(0, all[0].ID, time.Second)
	who := all[7].Owner().Instance()
	known := func() bool { _, _, ok := m.Snapshot().Lookup(all[7].ID, time.Second, time.Second); return ok }
	if !known() {
		t.Fatal("it is not known at the start")
	}
	m.Strike(time.Second, 0, who)
	if known() {
		t.Fatal("it is named although it is in doubt")
	}
	m.Heard(who)
	if !known() {
		t.Fatal("it is not named although it was heard of")
	}
	m.Strike(time.Second, 3*time.Second, who)
	m.Heard(who)
	if known() {
		t.Fatal("it is named although it was rejected for a while")
	}
	m.settle(3 * time.Second)
	if !known() {
		t.Fatal("it is not named although the while is over")
	}
	m.Strike(4*time.Second, 0, who)
	m.certify(0, all[0].ID, 5*time.Second)
	m.settle(5 * time.Second)
	if !known() {
		t.Fatal("it is not named although it was certified since")
	}
}

// Others may tell a claim that they have not heard a contradiction of. That is no news of it.
func TestContradictedClaimIsNotNamedWhenOthersTellItAgain(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(6, 4)), 10, 64)
	m := memberOf(all, 0)
	m.certify(0, all[0].ID, 0)
	known := func() bool { return m.Snapshot().Known(all[5].ID) != nil }
	m.Named(time.Second, all[5].ID, all[7].Owner().Instance())
	later := all[6]
	later.After, later.Epoch = all[4].ID, 2
	m.merge(later) // which covers it
	m.remove(later.ID)
	m.take(time.Second, announce(&all[5], true))
	if known() {
		t.Fatal("it is named by the claim that was contradicted")
	}
	m.certify(0, all[0].ID, 500*time.Millisecond)
	if m.settle(2 * time.Second); known() {
		t.Fatal("it is named by a certificate from before the contradiction")
	}
	m.certify(0, all[0].ID, 2*time.Second)
	if m.settle(2 * time.Second); !known() {
		t.Fatal("it is not named although it was certified since")
	}
	m.Named(3*time.Second, all[5].ID, all[7].Owner().Instance())
	again := all[5]
	again.Epoch = 3
	if m.take(3*time.Second, announce(&again, true)); !known() {
		t.Fatal("it is not named although it has claimed its arc again")
	}
}

// A certificate that reaches farther may be older. What was certain nearer stays as young as it was.
func TestNothingGrowsOlderByACertificate(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 5))
	all := claims(rng, 100, 64)
	m := memberOf(all, 0)
	youngest := make([]time.Duration, len(all))
	for range 2000 {
		level, end, as := rng.IntN(8), 1+rng.IntN(len(all)-1), time.Duration(rng.IntN(1000))
		m.certify(level, all[end].ID, as)
		for i := 1; i <= end; i++ {
			youngest[i] = max(youngest[i], as)
		}
		for i := 1; i < len(all); i++ {
			if at, ok := m.certain(all[i].ID); ok && at > youngest[i] {
				t.Fatalf("member %d is certain as of %d, by certificates as of %d", i, at, youngest[i])
			}
		}
		if at, ok := m.certain(all[end].ID); !ok || at < as {
			t.Fatalf("member %d is certain as of %d (%t), by one as of %d", end, at, ok, as)
		}
	}
	for i := 1; i < len(all); i++ {
		if at, _ := m.certain(all[i].ID); at != youngest[i] {
			t.Errorf("member %d is certain as of %d, by certificates as of %d", i, at, youngest[i])
		}
	}
}

func TestChangesAreThoseBetweenTwoSnapshots(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(6, 3)), 300, 64)
	m := memberOf(all[:299], 0)
	before := m.Snapshot()
	gone := all[101]
	gone.After, gone.Epoch = all[99].ID, 2
	m.merge(gone)
	changed := all[200]
	changed.Epoch = 4
	m.merge(changed)
	var lost, added, other int
	for c := range Changes(before, m.Snapshot()) {
		switch {
		case c.New == nil && c.Old.ID == all[100].ID:
			lost++
		case c.Old == nil:
			added++
		case c.New.ID == all[101].ID || c.New.ID == all[200].ID:
			other++
		default:
			t.Fatalf("unexpected %v", c)
		}
	}
	if lost != 1 || added != 0 || other != 2 {
		t.Fatalf("%d lost, %d new, %d others", lost, added, other)
	}
	n := 0
	for c := range Changes(&Snapshot{}, before) {
		if c.Old != nil {
			t.Fatal("something was there before")
		}
		n++
	}
	if n != 299 {
		t.Fatalf("%d changes from nothing to 299 members", n)
	}
}

func TestMapKeepsWhatItsLimitAllows(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(7, 3)), 100, 64)
	m := New(*all[10].Of, Config{Bits: 64, Interval: time.Second, Limit: 30})
	m.Own(0, Owning{Self: *all[10].Of, Arc: all[10].Arc(), Has: true, Epoch: 1})
	for _, c := range all {
		m.merge(c)
	}
	if m.t.Len() != 30 {
		t.Fatalf("it holds %d claims", m.t.Len())
	}
	for i := range 30 {
		if m.t.get(all[10+i].ID) == nil {
			t.Fatalf("the member %d places on is not in it", i)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(8, 3)), 64, 64)
	m := memberOf(all, 0)
	m.certify(0, all[0].ID, time.Second)
	s := m.Snapshot()
	key := uint64(1)
	if n := testing.AllocsPerRun(1000, func() {
		key *= 0x9e3779b97f4a7c15
		if _, _, ok := s.Lookup(key, time.Second, time.Second); !ok {
			t.Fatal("not known")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{64, 1024, 16384} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			all := claims(rand.New(rand.NewPCG(8, 3)), n, 64)
			m := memberOf(all, 0)
			m.certify(0, all[0].ID, time.Second)
			s := m.Snapshot()
			b.ReportAllocs()
			key := uint64(1)
			for b.Loop() {
				key *= 0x9e3779b97f4a7c15
				if _, _, ok := s.Lookup(key^key>>7, time.Second, time.Second); !ok {
					b.Fatal("not known")
				}
			}
		})
	}
}

// TestMapOfManyMembersIsSmall bounds what a full map takes, names and addresses of some 20
// bytes each included.
func TestMapOfManyMembersIsSmall(t *testing.T) {
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	rng := rand.New(rand.NewPCG(9, 9))
	before := heap()
	m := New(ring.Member{ID: 1, Name: "n", Addr: "a", Incarnation: 1}, Config{Bits: 64, Interval: time.Second})
	for i := range DefaultLimit {
		name, addr := fmt.Sprintf("member-%05d.example", i), fmt.Sprintf("10.0.%d.%d:7946", i/256, i%256)
		of := &ring.Member{ID: rng.Uint64(), Name: name, Addr: addr, Incarnation: 1_700_000_000_000}
		m.merge(Claim{ID: of.ID, After: of.ID - 1, Epoch: uint64(i), Of: of})
	}
	effects(m)
	if n := m.t.Len(); n != DefaultLimit {
		t.Fatalf("it holds %d claims", n)
	}
	size := heap() - before
	t.Logf("%d members take %.2f MiB", DefaultLimit, float64(size)/(1<<20))
	if size > 2.5*(1<<20) {
		t.Errorf("%d members take %d bytes", DefaultLimit, size)
	}
	runtime.KeepAlive(m)
}

// BenchmarkLookupAllMembers looks random keys up at random members of a ring of 64.
func BenchmarkLookupAllMembers(b *testing.B) {
	all := claims(rand.New(rand.NewPCG(8, 3)), 64, 64)
	maps := make([]*Snapshot, len(all))
	for i := range all {
		m := memberOf(all, i)
		m.certify(0, all[i].ID, time.Second)
		maps[i] = m.Snapshot()
	}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		key := rand.Uint64()
		for p.Next() {
			key = mix(key + 1)
			if _, _, ok := maps[key%64].Lookup(key, time.Second, time.Second); !ok {
				b.Error("not known")
				return
			}
		}
	})
}

// Names may be long: what is pushed and answered stays within the bytes of a message.
func TestMessagesAreBoundedByBytes(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 500, 64)
	for i := range all {
		of := *all[i].Of
		of.Name, of.Addr = strings.Repeat("n", 255), strings.Repeat("a", 255)
		all[i].Of = &of
	}
	m := memberOf(all, 4)
	reply := m.Receive(0, &Request{Kind: Compare, From: all[4].ID, To: all[4].ID})
	if n := reply.Size(); n > 60<<10 || len(reply.Claims) < 50 || reply.Through == all[4].ID {
		t.Errorf("an answer of %d claims has %d bytes, up to %d", len(reply.Claims), n, reply.Through)
	}
	for i := range all {
		m.post(all[5].ID, all[5].ID, announce(&all[i], true))
	}
	now := time.Second
	m.flush(now)
	sent := 0
	for todo := effects(m); len(todo) > 0; todo = append(todo, effects(m)...) {
		e := todo[0]
		todo = todo[1:]
		if e.Do != Send {
			continue
		}
		now += hold
		m.Answered(now, e.Call, &Reply{})
		if n := e.Request.Size(); n > 60<<10 {
			t.Errorf("a request has %d bytes", n)
		}
		for _, p := range e.Request.Parts {
			sent += len(p.Claims)
		}
	}
	if sent != len(all) {
		t.Errorf("%d of %d claims were sent", sent, len(all))
	}
}

func TestIdentifiersBeyondTheCircleAreFound(t *testing.T) {
	beyond := uint64(1 << 16)
	for _, r := range []Request{
		{From: beyond}, {To: beyond}, {Parts: []Part{{To: beyond}}},
		{Parts: []Part{{Claims: []Announcement{{ID: beyond}}}}}, {Parts: []Part{{Claims: []Announcement{{After: beyond}}}}},
	} {
		if r.On(16) == nil || r.On(17) != nil {
			t.Errorf("%+v: %v, %v", r, r.On(16), r.On(17))
		}
	}
	for _, r := range []Reply{{Through: beyond}, {Stretches: []Stretch{{To: beyond}}}, {Claims: []Announcement{{ID: beyond}}}} {
		if r.On(16) == nil || r.On(17) != nil {
			t.Errorf("%+v: %v, %v", r, r.On(16), r.On(17))
		}
	}
}

// A member for whose arc another was named is not named because it answers: it must have
// claimed its arc since.
func TestContradictedClaimIsNotNamedUntilItIsMadeAgain(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 8, 64)
	m := memberOf(all, 4)
	who := all[6].Owner().Instance()
	m.Named(time.Second, all[6].ID, all[7].Owner().Instance())
	m.Heard(who)
	if c := m.Snapshot().Known(all[6].ID); c != nil {
		t.Fatalf("named since it has answered: %+v", c)
	}
	again := all[6]
	again.Epoch++
	m.Receive(2*time.Second, &Request{Kind: Push, Parts: []Part{{To: all[4].ID, Claims: []Announcement{announce(&again, true)}}}})
	if c := m.Snapshot().Known(all[6].ID); c == nil {
		t.Fatal("not named though it has claimed its arc again")
	}
}

// Two members that join at the same time are on no map of each other: whoever has spread
// the claim of one tells the other of it, once that becomes known.
func TestClaimSpreadOfLateIsToldToWhoBecomesKnown(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 8, 64)
	m := newMap(*all[0].Of)
	m.Fill(NewTable(64, all[:6]))
	m.Own(0, Owning{Self: *all[0].Of, Arc: all[0].Arc(), Has: true, Epoch: all[0].Epoch})
	effects(m)
	tell := func(now time.Duration, c Claim) (told []uint64) {
		c.Epoch = 9
		m.Receive(now, &Request{Kind: Push, Parts: []Part{{To: m.home - 1, Claims: []Announcement{announce(&c, true)}}}})
		m.Tick(now + hold)
		for _, e := range effects(m) {
			if e.Do == Send && e.Request.Kind == Push && e.To.ID == c.ID {
				for _, p := range e.Request.Parts {
					for _, a := range p.Claims {
						told = append(told, a.ID)
					}
				}
			}
		}
		return told
	}
	tell(time.Second, all[6])
	if told := tell(time.Second+justSaid/2, all[7]); !slices.Contains(told, all[6].ID) {
		t.Errorf("the second of two that join at the same time is told of %v", told)
	}
	late := Claim{ID: all[7].ID - 1, After: all[6].ID, Of: &ring.Member{ID: all[7].ID - 1, Name: "late", Addr: "late", Incarnation: 1}}
	if told := tell(time.Second+3*justSaid, late); slices.Contains(told, all[6].ID) {
		t.Errorf("a member that joins later is told of %v", told)
	}
}

// What a slow member answers counts, though beats pass until it does: nobody is asked
// anew meanwhile, but once.
func TestAnswersCountThatAreSlowerThanBeats(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 8, 64)
	m, other := memberOf(all, 0), memberOf(all, 1)
	extra := all[4]
	extra.Epoch++
	if got, _ := other.merge(extra); got != news {
		t.Fatal(got)
	}
	type sent struct {
		at time.Duration
		e  Effect
	}
	var under []sent
	most := 0
	for now := time.Duration(0); now < 60*time.Second; now += 100 * time.Millisecond {
		if now >= m.Next() {
			m.Tick(now)
		}
		for _, e := range effects(m) {
			if e.Do == Send {
				under = append(under, sent{now, e})
			}
		}
		most = max(most, len(under))
		for len(under) > 0 && now-under[0].at > 5*time.Second {
			x := under[0]
			under = under[1:]
			r := other.Receive(now, &x.e.Request)
			effects(other)
			m.Answered(now, x.e.Call, &r)
		}
	}
	if c := m.t.get(extra.ID); c.Epoch != extra.Epoch {
		t.Error("what the other knew is not in the map")
	}
	if most > 4 {
		t.Errorf("%d questions were under way at once", most)
	}
}

// A joiner tells the others what it has of its successor's arc. A legacy member tells
// nobody, so that its successor does.
func TestOwnerTellsThatItsArcIsSmallerForALegacyMember(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 8, 64)
	for _, mute := range []bool{false, true} {
		m := memberOf(all, 3)
		smaller := all[3].Arc()
		smaller.After++
		m.Own(time.Second, Owning{Self: *all[3].Of, Arc: smaller, Has: true, Epoch: all[3].Epoch, Mute: mute})
		told := 0
		for _, e := range effects(m) {
			if e.Do == Send && e.Request.Kind == Push {
				told++
				other := memberOf(all, 5)
				other.Receive(time.Second, &e.Request)
				if c := other.t.get(all[3].ID); c.After != smaller.After {
					t.Errorf("the arc begins at %d, want %d", c.After, smaller.After)
				}
			}
		}
		if told > 0 != mute {
			t.Errorf("legacy %v: %d are told", mute, told)
		}
	}
}

// What one sender may push is bounded, and others are answered meanwhile.
func TestSenderThatPushesWithoutEndIsRefused(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 64, 64)
	m := memberOf(all, 3)
	push := func(n int) *Request {
		return &Request{Kind: Push, Parts: []Part{{To: m.home, Claims: make([]Announcement, n)}}}
	}
	most := burst * (64 + fewClaims)
	taken := 0
	for m.Allow(time.Second, all[9].ID, push(8)) {
		if taken += 8; taken > most {
			t.Fatalf("%d claims at once are received", taken)
		}
	}
	if taken != most {
		t.Errorf("%d claims at once are received, want %d", taken, most)
	}
	if !m.Allow(time.Second, all[9].ID, &Request{Kind: Ask}) || !m.Allow(time.Second, all[10].ID, push(64)) {
		t.Error("questions, or others, are refused, too")
	}
	for now := time.Second; now < 61*time.Second; now += 10 * time.Millisecond {
		if m.Allow(now, all[9].ID, push(8)) {
			taken += 8
		}
	}
	if per := (taken - most) / 60; per < 64+fewClaims-8 || per > 64+fewClaims {
		t.Errorf("%d claims in an interval are received in the long run, of a map of 64", per)
	}
	for i := range uint64(2 * maxSenders) {
		m.Allow(time.Minute, i, push(1))
	}
	if n := m.pushed.Len(); n > maxSenders {
		t.Errorf("%d senders are told apart", n)
	}
}

// The map of a member does not name another for the place of the member's own successor.
func TestSuccessorThatIsOnNoMapContradictsIt(t *testing.T) {
	all := claims(rand.New(rand.NewPCG(3, 3)), 9, 64)
	without := slices.Delete(slices.Clone(all), 5, 6)
	without[5].After = all[4].ID
	m := memberOf(without, 4)
	m.certify(0, all[4].ID, 0) // the whole circle
	owner := func(id uint64) uint64 {
		if c, _, ok := m.Snapshot().Lookup(id, 0, time.Second); ok {
			return c.ID
		}
		return 0
	}
	if got := owner(all[5].ID); got != all[6].ID {
		t.Fatalf("before, the owner of %d is %d, want %d", all[5].ID, got, all[6].ID)
	}
	m.Own(0, Owning{Self: *all[4].Of, Arc: all[4].Arc(), Has: true, Epoch: all[4].Epoch, Next: all[5].Owner().Instance()})
	if got := owner(all[5].ID); got != 0 {
		t.Fatalf("%d joined, and the owner of its identifier is %d", all[5].ID, got)
	}
	joined := all[5]
	joined.Epoch = without[5].Epoch + 1
	m.Head(0, 1, all[4].ID, joined)
	if c := m.Snapshot().Known(all[5].ID); c == nil || c.ID != all[5].ID {
		t.Fatalf("after it has spoken, %d is claimed by %v", all[5].ID, c)
	}
}
