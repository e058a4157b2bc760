package routing

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

func owned(by, id uint64) Answer {
	return Answer{Verdict: Owned, By: at(by), Owner: at(id), Arc: ring.Arc{After: by, To: id}, HasArc: true}
}

func TestVerifiedLookupWantsTwoWaysAndTheOwnersWord(t *testing.T) {
	k := knows(0, 96, 64, 48, 40, 36)
	l := newLookup(120, Options{Verified: true}, time.Second, false)
	expect(t, l, l.Begin(k), Ask, 96)
	w := l.Answer(0, owned(96, 128), 0, k)
	expect(t, l, w, Ask, 64)
	if q := l.Questions()[1].Query; !slices.Equal(q.Avoid, []ring.Instance{at(96).Instance()}) {
		t.Errorf("on the second way %v are to be named to nobody", q.Avoid)
	}
	expect(t, l, l.Answer(1, closer(96, 80), 0, k), Ask, 80)
	k.Now = 5
	expect(t, l, l.Answer(2, Answer{Verdict: Owned, By: at(80), Owner: at(128)}, 0, k), Ask, 128)
	if q := l.Questions()[3]; q.Why != Candidate || q.Shared {
		t.Errorf("the owner is asked as %v, shared %v", q.Why, q.Shared)
	}
	k.Now = 8
	expect(t, l, l.Answer(3, mine(128), 5, k), Found, 0)
	owner(t, l, 128, 3)
	ways := l.Ways(at(128))
	if len(ways) != 2 || len(ways[0]) != 1 || len(ways[1]) != 2 {
		t.Errorf("the ways are %+v", ways)
	}
}

func TestVerifiedLookupCountsNoOwnerOfOneWay(t *testing.T) {
	k := knows(0, 96, 64, 48, 40)
	l := newLookup(120, Options{Verified: true}, time.Second, false)
	expect(t, l, l.Begin(k), Ask, 96)
	// It says that it owns the key itself, which lies behind it.
	expect(t, l, l.Answer(0, Answer{Verdict: Mine, Arc: ring.Arc{After: 96, To: 96}, HasArc: true}, 0, k), Ask, 64)
	expect(t, l, l.Answer(1, owned(64, 128), 0, k), Ask, 48)
	expect(t, l, l.Answer(2, owned(48, 128), 0, k), Ask, 128)
	expect(t, l, l.Answer(3, mine(128), 0, k), Found, 0)
	owner(t, l, 128, 0)
}

func TestVerifiedLookupGivesUpWithoutTwoThatAgree(t *testing.T) {
	k := knows(0, 96, 64, 48, 40)
	different := newLookup(120, Options{Verified: true}, time.Second, true)
	w := different.Begin(k)
	for i, by := range []uint64{96, 64, 48, 40} {
		expect(t, different, w, Ask, by)
		w = different.Answer(i, owned(by, 200+uint64(i)), 0, k)
	}
	if w.Do != GiveUp || !errors.Is(w.Err, ErrUnverified) {
		t.Errorf("four named four: %+v", w)
	}

	denies := newLookup(120, Options{Verified: true}, time.Second, true)
	denies.Begin(k)
	denies.Answer(0, owned(96, 128), 0, k)
	expect(t, denies, denies.Answer(1, owned(64, 128), 0, k), Ask, 128)
	// The candidate's own arc does not hold the key.
	expect(t, denies, denies.Answer(2, Answer{Verdict: Mine, Arc: ring.Arc{After: 121, To: 128}, HasArc: true}, 0, k), Ask, 48)
	expect(t, denies, denies.Answer(3, owned(48, 128), 0, k), Ask, 40) // it has denied that
	if w := denies.Answer(4, owned(40, 124), 0, k); w.Do != GiveUp || !errors.Is(w.Err, ErrUnverified) {
		t.Errorf("the owner of two ways denied, and the other is of one: %+v", w)
	}

	nobody := newLookup(120, Options{Verified: true}, time.Second, true)
	k = knows(0, 96)
	expect(t, nobody, nobody.Begin(k), Ask, 96)
	expect(t, nobody, nobody.Answer(0, owned(96, 128), 0, k), Ask, 16)
	if w := nobody.Answer(1, closer(96), 0, k); w.Do != GiveUp || !errors.Is(w.Err, ErrUnverified) {
		t.Errorf("the second way leads back to the first: %+v", w)
	}
}

func TestVerifiedLookupAsksOnlyTheOwnerOfWhatTheProcessKnowsItself(t *testing.T) {
	k := knows(0, 96)
	head := newLookup(10, Options{Verified: true}, time.Second, true)
	expect(t, head, head.Begin(k), Ask, 16)
	expect(t, head, head.Answer(0, mine(16), 0, k), Found, 0)
	own := newLookup(250, Options{Verified: true}, time.Second, true)
	if w := own.Begin(k); w.Do != Found {
		t.Fatalf("the process is the owner: %+v", w)
	}
	if _, source := own.Result(); source != OwnRange {
		t.Errorf("source %v", source)
	}
	// A head that has named somebody before it does not know that it is the owner.
	k = knows(-1, 96)
	unsure := newLookup(10, Options{Verified: true}, time.Second, true)
	expect(t, unsure, unsure.Begin(k), AwaitTable, 0)
	expect(t, unsure, unsure.Resume(knows(0, 96)), Ask, 16)
	if w := newLookup(10, Options{Verified: true}, time.Second, false).Begin(k); w.Do != GiveUp || !errors.Is(w.Err, ErrUnverified) {
		t.Errorf("without waiting it is not verified: %+v", w)
	}
}

func TestClientVerifiesByTwoContacts(t *testing.T) {
	contacts := func(ids ...uint64) Knowledge {
		k := Known{Bits: 8}
		for _, id := range ids {
			k.Others = append(k.Others, at(id))
		}
		return Knowledge{Table: NewTable(k)}
	}
	k := contacts(96, 128)
	l := newLookup(120, Options{Verified: true}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 96)
	expect(t, l, l.Answer(0, owned(96, 128), 0, k), Ask, 128)
	expect(t, l, l.Answer(1, mine(128), 0, k), Found, 0)
	owner(t, l, 128, 0)

	k = contacts(128)
	one := newLookup(120, Options{Verified: true}, time.Second, true)
	expect(t, one, one.Begin(k), Ask, 128)
	if w := one.Answer(0, mine(128), 0, k); w.Do != GiveUp || !errors.Is(w.Err, ErrUnverified) {
		t.Errorf("the only contact says that it is the owner: %+v", w)
	}
}

func TestCertificateThatNamesTheIdentifierNeedsNoSecondWay(t *testing.T) {
	for _, proven := range []bool{false, true} {
		k := knows(0, 96, 64)
		l := newLookup(128, Options{Verified: true, Proven: proven}, time.Second, true)
		expect(t, l, l.Begin(k), Ask, 96)
		whom := uint64(64)
		if proven {
			whom = 128
		}
		expect(t, l, l.Answer(0, owned(96, 128), 0, k), Ask, whom)
	}
}

func TestVerifiedLookupTakesNoLateAnswerOfAnotherWay(t *testing.T) {
	k := knows(0, 96, 64, 48, 40)
	l := newLookup(120, Options{Verified: true}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 96)
	expect(t, l, l.Overtake(k), Ask, 64)
	expect(t, l, l.Answer(1, owned(64, 128), 0, k), Ask, 48)
	expect(t, l, l.Answer(0, owned(96, 200), 0, k), 0, 0) // of the first way, which has ended
	expect(t, l, l.Answer(2, owned(48, 128), 0, k), Ask, 128)
	expect(t, l, l.Overtake(k), Await, 128) // nobody else can say it
	expect(t, l, l.Fail(3, false, k), Ask, 40)
	if w := l.Answer(4, owned(40, 128), 0, k); w.Do != GiveUp && w.Do != Ask {
		t.Errorf("wants %+v", w)
	}
}

// lookUp carries a lookup out in a settled ring, in which a member may lie.
func (w *world) lookUp(from *Table, id uint64, opts Options, lie func(x ring.Member, q Query) *Answer) (*Lookup, Want) {
	l := newLookup(id, opts, time.Second, false)
	k := Knowledge{Table: from}
	want := l.Begin(k)
	for want.Do == Ask {
		q := l.Questions()[want.Question]
		table := w.tables[q.Whom.ID]
		if a := lie(q.Whom, q.Query); a != nil {
			want = l.Answer(want.Question, *a, 0, k)
		} else if table == nil || table.Self != q.Whom {
			want = l.Fail(want.Question, true, k)
		} else {
			want = l.Answer(want.Question, table.Answer(q.Query, 0), 0, k)
		}
	}
	return l, want
}

// A process that lies at all of its identifiers is one liar: they name the nearest of them as the
// owner, and that says so itself.
func TestOneLiarAtSeveralIdentifiersMisleadsNoVerifiedLookup(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 2))
	misled, failed, all := 0, 0, 0
	for range 200 {
		n, each := 16+4*rng.IntN(10), 4
		w := settleProcesses(rng, n, each, 3, 0)
		liar := w.members[rng.IntN(n)].Name
		lie := func(x ring.Member, q Query) *Answer {
			if x.Name != liar {
				return nil
			}
			owner := x
			for _, y := range w.members {
				if y.Name == liar && y.ID-q.ID < owner.ID-q.ID {
					owner = y
				}
			}
			arc := ring.Arc{After: q.ID - 1, To: owner.ID}
			if owner == x {
				return &Answer{Verdict: Mine, Owner: x, Arc: arc, HasArc: true}
			}
			return &Answer{Verdict: Owned, By: x, Owner: owner, Arc: arc, HasArc: true}
		}
		for range 50 {
			from, id := w.members[rng.IntN(n)], rng.Uint64()
			if from.Name == liar {
				continue
			}
			l, want := w.lookUp(w.tables[from.ID], id, Options{Verified: true}, lie)
			got, _ := l.Result()
			switch {
			case want.Do != Found:
				failed++
			case got.Owner != w.owner(id):
				misled++
			}
			asked := map[string]int{} // by processes, the way
			for i, way := range l.Ways(got.Owner) {
				for _, q := range way {
					if on, ok := asked[q.Whom.Name]; ok && on != i {
						t.Fatalf("%s was asked on two ways", q.Whom.Name)
					}
					asked[q.Whom.Name] = i
				}
			}
			all++
		}
	}
	if misled > 0 {
		t.Errorf("%d of %d verified lookups were misled", misled, all)
	}
	if failed > all/8 {
		t.Errorf("%d of %d verified lookups failed", failed, all)
	}
}

func TestVerifiedLookupFindsTheOwnerInSettledRings(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for _, n := range []int{1, 2, 3, 4, 5, 8, 16, 100, 1000} {
		for _, r := range []int{2, 3, 8} {
			w := settle(rng, n, r, 0)
			asked, fresh := 0, 0
			for range 300 {
				from := w.tables[w.members[rng.IntN(n)].ID]
				id := rng.Uint64()
				if rng.IntN(4) == 0 {
					id = w.members[rng.IntN(n)].ID
				}
				l, want := w.lookUp(from, id, Options{Verified: true}, func(ring.Member, Query) *Answer { return nil })
				if got, _ := l.Result(); want.Do != Found || got.Owner != w.owner(id) {
					t.Fatalf("%d members, lists of %d: a lookup of %d ended with %+v, owner %v", n, r, id, want, got.Owner)
				}
				asked += len(l.Questions())
				ways := l.Ways(w.owner(id))
				for i, q := range slices.Concat(ways...) {
					if slices.ContainsFunc(slices.Concat(ways...)[:i], func(o Question) bool { return o.Whom == q.Whom }) {
						t.Fatalf("%v was asked on two ways", q.Whom)
					}
				}
				other, _ := w.lookUp(from, id, Options{Fresh: true}, func(ring.Member, Query) *Answer { return nil })
				fresh += len(other.Questions())
			}
			t.Logf("%d members, lists of %d: %.2f requests a verified lookup, %.2f a fresh one", n, r, float64(asked)/300, float64(fresh)/300)
			if asked > 3*fresh {
				t.Errorf("%d members, lists of %d: %d requests, and %d of fresh lookups", n, r, asked, fresh)
			}
		}
	}
}

// Whatever one member says, no verified lookup of another names a wrong owner. In a settled
// ring as small as these no fresh one does either: who asks has met members that stand between.
func TestOneLiarMisleadsNoVerifiedLookup(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	misled, failed, all := 0, 0, 0
	for range 200 {
		n := 3 + rng.IntN(30)
		w := settle(rng, n, 2+rng.IntN(3), 0)
		liar := w.members[rng.IntN(n)]
		lie := func(x ring.Member, q Query) *Answer {
			if x != liar {
				return nil
			}
			other := w.members[rng.IntN(n)]
			return []*Answer{
				{Verdict: Mine, Arc: ring.Arc{After: x.ID, To: x.ID}, HasArc: true},
				{Verdict: Mine, Arc: ring.Arc{After: q.ID - 1, To: x.ID}, HasArc: true},
				{Verdict: Owned, By: x, Owner: x, Arc: ring.Arc{After: q.ID - 1, To: x.ID}, HasArc: true},
				{Verdict: Owned, By: x, Owner: other, Arc: ring.Arc{After: x.ID, To: other.ID}, HasArc: true},
				{Verdict: Closer, By: x, Closer: []ring.Member{at(q.ID - 2), other}},
			}[rng.IntN(5)]
		}
		for range 50 {
			from, id := w.members[rng.IntN(n)], rng.Uint64()
			if from == liar {
				continue
			}
			for _, opts := range []Options{{Fresh: true}, {Verified: true}} {
				l, want := w.lookUp(w.tables[from.ID], id, opts, lie)
				got, _ := l.Result()
				wrong := want.Do == Found && got.Owner != w.owner(id)
				switch {
				case opts.Fresh && wrong:
					misled++
				case opts.Verified && wrong:
					t.Fatalf("%d members: %v has a verified lookup of %d name %v, not %v", n, liar, id, got.Owner, w.owner(id))
				case opts.Verified && want.Do != Found:
					failed++
				}
			}
			all++
		}
	}
	if misled > 0 {
		t.Errorf("%d of %d fresh lookups were misled", misled, all)
	}
	if failed > all/8 { // in rings of three there is no way round it
		t.Errorf("%d of %d verified lookups failed", failed, all)
	}
}
