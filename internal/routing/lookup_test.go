package routing

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
)

// knows is what the member at 0 knows, whose successor is at 16, and which has heard of
// some others.
func knows(now time.Duration, others ...uint64) Knowledge {
	k := Known{Self: at(0), Arc: ring.Arc{After: 240, To: 0}, HasArc: true, Succ: []ring.Member{at(16)}, Bits: 8, Full: 1, Certain: now}
	for _, id := range others {
		k.Others = append(k.Others, at(id))
	}
	return Knowledge{Now: now, Table: NewTable(k), Arcs: NewArcs(0, 8, 16)}
}

func newLookup(id uint64, opts Options, lease time.Duration, wait bool) *Lookup {
	l := new(Lookup)
	l.Reset(id, opts, lease, wait)
	return l
}

// mine is the answer of the owner at id.
func mine(id uint64) Answer {
	return Answer{Verdict: Mine, Owner: at(id), Arc: ring.Arc{After: id - 16, To: id}, HasArc: true}
}

func closer(ids ...uint64) Answer {
	a := Answer{Verdict: Closer}
	for _, id := range ids {
		a.Closer = append(a.Closer, at(id))
	}
	return a
}

// expect checks what a lookup wants, and whom it asks.
func expect(t *testing.T, l *Lookup, got Want, do Do, whom uint64) {
	t.Helper()
	if got.Do != do {
		t.Fatalf("wants %d (%v), not %d", got.Do, got.Err, do)
	}
	if do == Ask || do == Await {
		if x := l.Questions()[got.Question].Whom; x != at(whom) {
			t.Fatalf("asks %v, not the member at %d", x, whom)
		}
	}
}

// owner checks that a lookup has found the member at id.
func owner(t *testing.T, l *Lookup, id uint64, age time.Duration) {
	t.Helper()
	if a, source := l.Result(); a.Owner != at(id) || a.Age != age || source != Asked {
		t.Fatalf("owner %v, age %v, source %d", a.Owner, a.Age, source)
	}
}

func TestLookupAsksTheOwnerRememberedFirst(t *testing.T) {
	k := knows(0, 96)
	k.Arcs.Confirm(ring.Arc{After: 112, To: 128}, at(128), Confirmation{By: at(128)})
	for _, opts := range []Options{{}, {Fresh: true}} {
		l := newLookup(120, opts, time.Second, true)
		w := l.Begin(k)
		expect(t, l, w, Ask, 128)
		if q := l.Questions()[0]; q.Shared == opts.Fresh || q.Joint != opts.Fresh || q.Why != Remembered {
			t.Errorf("fresh %v: shared %v, joint %v, %v", opts.Fresh, q.Shared, q.Joint, q.Why)
		}
		k.Now = 10
		expect(t, l, l.Answer(0, mine(128), 0, k), Found, 0)
		owner(t, l, 128, 10)
		k.Now = 0
	}
	cold := newLookup(120, Options{Cold: true}, time.Second, true)
	expect(t, cold, cold.Begin(k), Ask, 96)
	k.Suspicions, _ = k.Suspicions.Suspect(at(128), false, 0, 1)
	avoids := newLookup(120, Options{}, time.Second, true)
	expect(t, avoids, avoids.Begin(k), Ask, 96)
}

func TestLookupSearchesIfTheOwnerRememberedIsNone(t *testing.T) {
	k := knows(0, 96)
	k.Arcs.Confirm(ring.Arc{After: 96, To: 128}, at(128), Confirmation{By: at(128)})
	l := newLookup(100, Options{Fresh: true}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 128)
	k.Arcs.Drop(func(ring.Member) bool { return true }) // the answer contradicts it
	w := l.Answer(0, mine(128), 0, k)                   // whose arc begins at 112 by now
	expect(t, l, w, Ask, 96)
	w = l.Answer(1, Answer{Verdict: Owned, Owner: at(112), By: at(96)}, 0, k)
	expect(t, l, w, Ask, 112)
	expect(t, l, l.Answer(2, mine(112), 0, k), Found, 0)
	owner(t, l, 112, 0)
}

func TestSharedAnswerThatIsTooOldIsAskedForAgain(t *testing.T) {
	k := knows(50)
	k.Arcs.Confirm(ring.Arc{After: 112, To: 128}, at(128), Confirmation{By: at(128)})
	l := newLookup(120, Options{MaxAge: 20}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 128)
	k.Now = 60
	expect(t, l, l.Answer(0, mine(128), 10, k), Ask, 128) // under way since before
	k.Now = 70
	expect(t, l, l.Answer(0, mine(128), 60, k), Found, 0)
	owner(t, l, 128, 10)
}

func TestLookupJoinsAQuestionWhoseAnswerWillBeYoungEnough(t *testing.T) {
	for _, c := range []struct {
		age, sent, trip time.Duration // wanted, and of the question; it is 100 now
		joins           bool
	}{
		{20, 90, 15, true},
		{20, 70, 15, false}, // it has been under way for long
		{20, 90, 30, false}, // it will be
		{20, 90, 0, true},   // nothing is known of the member
		{1, 100, 500, true}, // it is sent now
	} {
		l := newLookup(120, Options{MaxAge: c.age}, time.Second, true)
		if l.Joins(c.sent, 100, c.trip) != c.joins {
			t.Errorf("%+v", c)
		}
	}
}

func TestFreshLookupIsServedByTheOwnersWordOnAnotherIdentifier(t *testing.T) {
	k := knows(50)
	k.Now = 60
	k.Arcs.Confirm(ring.Arc{After: 112, To: 128}, at(128), Confirmation{By: at(128)})
	l := newLookup(120, Options{Fresh: true}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 128)
	whole := mine(128)
	smaller, bare, hearsay := whole, whole, whole
	smaller.Arc.After = 120
	bare.HasArc = false
	hearsay.Verdict = Owned
	for _, c := range []struct {
		name   string
		a      Answer
		sent   time.Duration
		serves bool
	}{
		{"all of the arc", whole, 60, true},
		{"asked before the lookup began", whole, 59, false},
		{"a part of the arc without the identifier", smaller, 60, false},
		{"no arc", bare, 60, false},
		{"the word of another", hearsay, 60, false},
	} {
		if got := l.Serves(0, &c.a, c.sent); got != c.serves {
			t.Errorf("%s: serves: %v", c.name, got)
		}
	}
}

func TestLookupGoesOnWithoutASlowAnswerAndStillHearsIt(t *testing.T) {
	k := knows(0, 96, 64)
	l := newLookup(120, Options{Fresh: true}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 96)
	expect(t, l, l.Overtake(k), Ask, 64)
	if w := l.Fail(1, false, k); w.Do != Ask || l.Questions()[w.Question].Whom != at(16) {
		t.Fatalf("wants %+v", w)
	}
	k.Now = 5
	expect(t, l, l.Answer(0, Answer{Verdict: Owned, Owner: at(128), By: at(96)}, 0, k), 0, 0) // waits for 16 still
	expect(t, l, l.Fail(2, false, k), Ask, 128)
	expect(t, l, l.Answer(3, mine(128), 5, k), Found, 0)
	owner(t, l, 128, 0)
	if l.Answer(1, closer(), 0, k).Do != 0 {
		t.Error("an answer after the end is used")
	}
}

func TestLateAnswerOfTheOwnerEndsTheLookup(t *testing.T) {
	k := knows(0, 96)
	l := newLookup(120, Options{Fresh: true}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 96)
	expect(t, l, l.Answer(0, Answer{Verdict: Owned, Owner: at(128), By: at(96)}, 0, k), Ask, 128)
	w := l.Overtake(k)
	expect(t, l, w, Ask, 96) // does it know another?
	k.Now = 7
	expect(t, l, l.Answer(1, mine(128), 0, k), Found, 0)
	owner(t, l, 128, 7)
}

func TestLookupWithNobodyLeftWaitsForAnotherTable(t *testing.T) {
	for _, wait := range []bool{true, false} {
		k := knows(0)
		l := newLookup(120, Options{Fresh: true}, time.Second, wait)
		expect(t, l, l.Begin(k), Ask, 16)
		w := l.Fail(0, true, k)
		// Somebody was found silent, so it begins again at what is known, once.
		if !wait {
			expect(t, l, w, GiveUp, 0)
			if w.Err != ErrStuck {
				t.Errorf("%v", w.Err)
			}
			continue
		}
		expect(t, l, w, AwaitTable, 0)
		next := knows(10, 96)
		expect(t, l, l.Resume(next), Ask, 96)
		expect(t, l, l.Answer(1, Answer{Verdict: Owned, Owner: at(128), By: at(96)}, 10, next), Ask, 128)
	}
}

func TestLookupEndsWhereThereIsNoRing(t *testing.T) {
	l := newLookup(120, Options{}, time.Second, true)
	if w := l.Begin(Knowledge{}); w.Do != GiveUp || w.Err != ErrNoTable {
		t.Errorf("%+v", w)
	}
	k := knows(0)
	l = newLookup(120, Options{Fresh: true}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 16)
	if w := l.Fail(0, true, Knowledge{}); w.Do != GiveUp || w.Err != ErrNoTable {
		t.Errorf("%+v", w)
	}
}

func TestLookupIsAnsweredByTheListIfThatIsRecent(t *testing.T) {
	k := knows(0)
	l := newLookup(10, Options{}, time.Second, true)
	if w := l.Begin(k); w.Do != Found {
		t.Fatalf("%+v", w)
	}
	if a, source := l.Result(); a.Owner != at(16) || source != SuccessorList || len(l.Questions()) > 0 {
		t.Errorf("%v, source %d", a, source)
	}
	l = newLookup(10, Options{Fresh: true}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 16)
}

// A lookup that is told of answers, failures and impatience in any order ends, with
// the right owner or with an error, and asks nobody more often than its limit.
func TestLookupEndsWhateverHappens(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		k := knows(0, 32, 64, 96, 160, 208)
		if rng.IntN(2) == 0 {
			k.Arcs.Confirm(ring.Arc{After: 112, To: 128}, at(128), Confirmation{By: at(128)})
		}
		id := uint64(rng.IntN(256))
		want := (id + 15) / 16 * 16 % 256
		l := newLookup(id, Options{Fresh: rng.IntN(2) == 0}, time.Second, rng.IntN(2) == 0)
		w := l.Begin(k)
		waited := 0 // for a table, without a question since; all may be known to be gone
		for step := 0; w.Do != Found && w.Do != GiveUp && waited < 10; step++ {
			if step > 2000 {
				t.Fatalf("seed %d: no end: wants %+v, of %+v", seed, w, l.Questions()[max(0, len(l.Questions())-6):])
			}
			k.Now++
			var got Want
			if w.Do == Pause || w.Do == AwaitTable {
				if w.Do == AwaitTable {
					waited++
					k.Table = knows(k.Now, 32, 64, 96, 160, 208).Table
				}
				got = l.Resume(k)
			} else {
				waited = 0
				open := []int{w.Question}
				for i, q := range l.Questions() {
					if q.State == Overtaken {
						open = append(open, i)
					}
				}
				i := open[rng.IntN(len(open))]
				q := l.Questions()[i]
				switch rng.IntN(4) {
				case 0:
					got = l.Fail(i, rng.IntN(2) == 0, k)
				case 1:
					got = l.Overtake(k)
				default:
					a := closer((q.Whom.ID + 16) & 255)
					if o := (q.Query.ID + 15) / 16 * 16 % 256; o == q.Whom.ID {
						a = mine(o)
					} else if o == (q.Whom.ID+16)&255 {
						a = Answer{Verdict: Owned, Owner: at(o), By: q.Whom}
					}
					got = l.Answer(i, a, q.Sent, k)
				}
			}
			if got.Do != 0 {
				w = got
			}
		}
		if a, _ := l.Result(); w.Do == Found && a.Owner != at(want) {
			t.Fatalf("seed %d: owner %v of %d", seed, a.Owner, id)
		}
		if n := len(l.Questions()); n > 2*k.Table.HopLimit() {
			t.Fatalf("seed %d: %d questions", seed, n)
		}
	}
}

// Who is suspected by the application counts only if it confirms that itself.
func TestLookupTakesARejectedOwnerOnlyIfItConfirmsItself(t *testing.T) {
	k := knows(0, 96)
	k.Suspicions = peer.Suspicions(nil).Reject(128, at(128).Addr, 0, time.Second)
	l := newLookup(120, Options{}, time.Second, true)
	expect(t, l, l.Begin(k), Ask, 96)
	a := Answer{Verdict: Owned, Owner: at(128), By: at(96), Arc: ring.Arc{After: 112, To: 128}, HasArc: true}
	expect(t, l, l.Answer(0, a, 0, k), Ask, 128)
	expect(t, l, l.Answer(1, mine(128), 0, k), Found, 0)
	if whom := l.Questions(); !slices.ContainsFunc(whom, func(q Question) bool { return q.Whom == at(128) }) {
		t.Error("not asked")
	}
}
