package voting

import (
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
)

const lease = 10 * time.Second

// electorate is three processes, of which two have to vote, on a circle of sixteen points. Each
// has run for long.
func electorate() (a, b, c *Votes) {
	of := func(name string) *Votes {
		return New(Config{Process: name, Lease: lease, Interval: time.Second, Hang: 2 * time.Second, Needed: 2}, -lease, 0)
	}
	return of("a"), of("b"), of("c")
}

func instance(id uint64) ring.Instance { return ring.Instance{ID: id, Incarnation: 1} }

// polls has a process ask others for their votes, which answer at the same time.
func pollsAt(now time.Duration, p *Votes, of ...*Votes) {
	for _, x := range of {
		claims, words := p.Ask(x.Process, now)
		p.Take(x.Process, now, claims, x.Vote(claims, words, now))
	}
}

// holdsAt fails unless the member is voted what comes after a point, of as many processes as
// have to vote for it.
func holdsAt(t *testing.T, what string, p *Votes, id uint64, now time.Duration, after uint64, want bool) time.Duration {
	t.Helper()
	got, until, has := p.Held(instance(id), now)
	if has != want || has && got != after {
		t.Errorf("%s: at %v it holds what comes after %d, %v, want %d, %v", what, now, got, has, after, want)
	}
	return until
}

func TestVotesAreForOneAtATime(t *testing.T) {
	a, b, c := electorate()
	a.Claim(instance(8), ring.Arc{After: 2, To: 8}, true, 0)
	pollsAt(0, a, a)
	holdsAt(t, "one vote of two", a, 8, 0, 0, false)
	pollsAt(0, a, a)
	holdsAt(t, "one vote, cast twice", a, 8, 0, 0, false)
	pollsAt(time.Second, a, c)
	if until := holdsAt(t, "two votes", a, 8, time.Second, 2, true); until != lease/10*9 {
		t.Errorf("it holds until %v, and the older vote is of 0", until)
	}
	for what, other := range map[string]ring.Arc{
		"the same": {After: 2, To: 8}, "a part": {After: 3, To: 5}, "over the start": {After: 15, To: 3}, "all": {After: 4, To: 4},
	} {
		before := c.Cast(time.Second)
		got := c.Vote([]Stake{{Who: ring.Instance{ID: other.To, Incarnation: 2}, Arc: other, Has: true, Number: 1}}, nil, 2*time.Second)
		if len(got) != 1 || got[0].Given || len(c.Cast(time.Second)) != len(before) {
			t.Errorf("%s: it has voted for 8, and votes %+v", what, got)
		}
	}
	b.Claim(instance(12), ring.Arc{After: 2, To: 12}, true, 0)
	pollsAt(2*time.Second, b, b, c)
	holdsAt(t, "past one that has votes", b, 12, 2*time.Second, 8, true)
	pollsAt(lease, b, b, c)
	holdsAt(t, "the other's vote of 1 s", b, 12, lease, 8, true)
	pollsAt(lease+time.Second, b, b, c)
	holdsAt(t, "when that has run out", b, 12, lease+time.Second, 2, true)
	holdsAt(t, "and the owner has none", a, 8, lease+time.Second, 0, false)
}

func TestNoVotesForALeaseAfterAStart(t *testing.T) {
	a, _, _ := electorate()
	young := New(Config{Process: "young", Lease: lease, Interval: time.Second, Hang: 2 * time.Second, Needed: 2}, time.Second, time.Second)
	a.Claim(instance(8), ring.Arc{After: 2, To: 8}, true, 0)
	pollsAt(lease, a, a, young)
	holdsAt(t, "it has run for 9 s", a, 8, lease, 0, false)
	pollsAt(lease+time.Second, a, a, young)
	holdsAt(t, "it has run for a lease", a, 8, lease+time.Second, 2, true)
}

// Words free what they leave out, unless they are older than what was voted on.
func TestWordsFree(t *testing.T) {
	a, b, c := electorate()
	a.Claim(instance(8), ring.Arc{After: 2, To: 8}, true, 0)
	all := a.Stake(instance(8))
	pollsAt(0, a, a, c)
	a.Claim(instance(8), ring.Arc{After: 5, To: 8}, true, 0)
	half := a.Stake(instance(8))
	a.Shown(instance(8))
	holdsAt(t, "claims less", a, 8, 0, 5, true)
	b.Claim(instance(5), ring.Arc{After: 2, To: 5}, true, 0)
	pollsAt(0, b, b, c)
	holdsAt(t, "without the word", b, 5, 0, 0, false)
	b.Hear(half, 0)
	b.Hear(all, 0) // late
	pollsAt(time.Second, b, b, c)
	holdsAt(t, "with the word", b, 5, time.Second, 2, true)

	// It claims all again, and an old answer and an old word come.
	b.Claim(instance(5), ring.Arc{}, false, 2*time.Second)
	b.Shown(instance(5))
	pollsAt(2*time.Second, b, c)
	a.Claim(instance(8), ring.Arc{After: 2, To: 8}, true, 2*time.Second)
	holdsAt(t, "votes of before do not count", a, 8, 2*time.Second, 5, true)
	a.Take("b", 2*time.Second, []Stake{all}, []Vote{{Given: true, After: 2}})
	a.Take("a", 2*time.Second, []Stake{all}, []Vote{{Given: true, After: 2}})
	holdsAt(t, "nor do late ones", a, 8, 2*time.Second, 5, true)
	pollsAt(3*time.Second, a, a, c)
	holdsAt(t, "votes of now do", a, 8, 3*time.Second, 2, true)
	c.Vote(nil, []Stake{half}, 3*time.Second)
	if cast := c.Cast(3 * time.Second); len(cast) != 1 || cast[0].Arc.After != 2 {
		t.Errorf("after an old word the votes are %+v", cast)
	}
	if got := c.Vote([]Stake{half}, nil, 3*time.Second); got[0].Given {
		t.Error("it votes on an old stake")
	}
}

// Nobody is told that a member claims less before that is shown to the program, which may still
// take the rest for its own.
func TestLessIsToldOnceItIsShown(t *testing.T) {
	a, _, _ := electorate()
	told := func(what string, want Stake) {
		t.Helper()
		if claims, _ := a.Ask("b", 0); len(claims) != 1 || claims[0] != want {
			t.Errorf("%s: it tells %+v, want %+v", what, claims, want)
		}
	}
	claim := func(after uint64, has bool) Stake {
		a.Claim(instance(8), ring.Arc{After: after, To: 8}, has, 0)
		return a.Stake(instance(8))
	}
	half := claim(5, true)
	told("the first", half)
	all := claim(2, true)
	told("more", all)
	half = claim(5, true)
	told("less", all)
	a.Shown(instance(9))
	told("another has shown", all)
	a.Shown(instance(8))
	told("it has shown", half)
	none := claim(0, false)
	told("nothing", half)
	a.Shown(instance(8))
	told("it has shown nothing", none)
	told("all again", claim(2, true))
}

// A member that becomes a later incarnation of itself claims by that alone, once it is shown that it
// owns nothing any more by the one before. Otherwise nobody would ever vote for it again.
func TestLaterIncarnationClaimsAlone(t *testing.T) {
	a, b, c := electorate()
	arc := ring.Arc{After: 2, To: 8}
	a.Claim(instance(8), arc, true, 0)
	a.Claim(instance(12), ring.Arc{After: 8, To: 12}, true, 0)
	pollsAt(0, a, a, c)
	holdsAt(t, "the first", a, 8, 0, 2, true)
	later := ring.Instance{ID: 8, Incarnation: 2}
	if !a.Claim(later, arc, true, time.Second) {
		t.Error("what the later incarnation claims is not new to it")
	}
	holdsAt(t, "outlived", a, 8, time.Second, 0, false)
	pollsAt(time.Second, a, a, c)
	if _, _, has := a.Held(later, time.Second); has {
		t.Error("the later incarnation owns before it is shown that the earlier one does not")
	}
	a.Shown(later)
	pollsAt(2*time.Second, a, a, b, c)
	if after, until, has := a.Held(later, 2*time.Second); !has || after != 2 || until != 2*time.Second+lease/10*9 {
		t.Errorf("the later incarnation holds what comes after %d until %v, %v", after, until, has)
	}
	holdsAt(t, "the neighbour", a, 12, 2*time.Second, 8, true)
	pollsAt(lease+3*time.Second, a, a, b, c)
	if claims, _ := a.Ask("c", lease+3*time.Second); len(claims) != 2 || claims[0].Who != later && claims[1].Who != later {
		t.Errorf("a lease later it claims %+v", claims)
	}
}

// A member of the process that has read the clock before it leapt casts its votes at the time that
// others of the process have seen.
func TestVotesAreNotCastInThePast(t *testing.T) {
	a, b, c := electorate()
	const start, leap = 3 * lease, 2 * lease
	for now := time.Second; now <= start; now += time.Second {
		c.Touch(now)
	}
	c.Touch(start + leap)
	a.Claim(instance(8), ring.Arc{After: 2, To: 8}, true, 0)
	pollsAt(start, a, a, c)
	holdsAt(t, "before the leap", a, 8, start, 2, true)
	b.Claim(instance(12), ring.Arc{After: 2, To: 12}, true, 0)
	claims, words := b.Ask("c", 0)
	if got := c.Vote(claims, words, start+leap+lease-1); !got[0].Given || got[0].After != 8 {
		t.Errorf("it votes %+v, and has voted for 8 less than a lease ago", got)
	}
	if got := c.Vote(claims, words, start+leap+lease); !got[0].Given || got[0].After != 2 {
		t.Errorf("when that vote has run out it votes %+v", got)
	}
}

// A process whose clock leaps keeps its votes for that much longer, and what it was voted runs out.
func TestVotesOutliveALeap(t *testing.T) {
	a, b, c := electorate()
	a.Claim(instance(8), ring.Arc{After: 2, To: 8}, true, 0)
	pollsAt(0, a, a, c)
	leap := 2 * lease
	for now := time.Second; now < 3*time.Second; now += time.Second {
		c.Touch(now)
	}
	c.Touch(2*time.Second + leap)
	b.Claim(instance(12), ring.Arc{After: 2, To: 12}, true, 0)
	claims, words := b.Ask("c", 0)
	if got := c.Vote(claims, words, 3*time.Second+leap); !got[0].Given || got[0].After != 8 {
		t.Errorf("after a leap it votes %+v, and has voted for 8", got)
	}
	if got := c.Vote(claims, words, 2*time.Second+leap+lease); !got[0].Given || got[0].After != 2 {
		t.Errorf("a lease after that it votes %+v", got)
	}
	a.Touch(leap)
	holdsAt(t, "after a leap", a, 8, leap, 0, false)
}

// Who asks is bounded in what it can have a process remember, and a stake that is over is told
// for a lease and forgotten.
func TestVotesAreBounded(t *testing.T) {
	a, _, c := electorate()
	for i := range uint64(3 * maxWords) {
		a.Hear(Stake{Who: ring.Instance{ID: i, Incarnation: 1}, Number: 1}, 0)
	}
	a.Claim(instance(8), ring.Arc{After: 2, To: 8}, true, 0)
	a.Claim(instance(8), ring.Arc{}, false, 0)
	a.Shown(instance(8))
	claims, words := a.Ask("c", 0)
	if len(words) != maxWords || words[maxWords-1].Who.ID != 3*maxWords-1 || len(claims) != 1 || claims[0].Has {
		t.Errorf("it passes on %d words, and says %+v", len(words), claims)
	}
	if claims, words = a.Ask("c", lease); len(claims) != 0 || len(words) != 0 {
		t.Errorf("a lease later it passes on %d words, and says %+v", len(words), claims)
	}
	for i := range uint64(maxVotes / MaxStakes) {
		many := make([]Stake, MaxStakes)
		for k := range many {
			id := (i*MaxStakes + uint64(k)) << 8
			many[k] = Stake{Who: ring.Instance{ID: id + 1, Incarnation: 1}, Arc: ring.Arc{After: id, To: id + 1}, Has: true, Number: 1}
		}
		c.Vote(many, nil, 0)
	}
	more := Stake{Who: instance(1 << 40), Arc: ring.Arc{After: 1<<40 - 1, To: 1 << 40}, Has: true, Number: 1}
	if got := c.Vote([]Stake{more}, nil, 0); got[0].Given || len(c.given) != maxVotes {
		t.Errorf("it remembers %d votes, and casts %+v", len(c.given), got)
	}
	if got := c.Vote([]Stake{more}, nil, lease); !got[0].Given || len(c.given) != 1 {
		t.Errorf("when they have run out it remembers %d, and casts %+v", len(c.given), got)
	}
}

// A word is passed on for a Lease from when it was heard first, though neighbours say it in every
// round: the votes that it frees have run out by then. A later word is a new one.
func TestWordIsPassedOnForALease(t *testing.T) {
	p := New(Config{Process: "a", Lease: 10 * time.Second, Interval: time.Second, Needed: 2}, -time.Hour, 0)
	word := Stake{Who: ring.Instance{ID: 7, Incarnation: 1}, Arc: ring.Arc{After: 5, To: 7}, Has: true, Number: 1}
	for s := range 30 {
		now := time.Duration(s) * time.Second
		if s == 20 {
			word.Number++
		}
		p.Hear(word, now)
		_, words := p.Ask("b", now)
		if passed := len(words) == 1 && words[0] == word; passed != (s < 10 || s >= 20) || len(words) > 1 {
			t.Errorf("after %v it passes on %+v", now, words)
		}
	}
}
