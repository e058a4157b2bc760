package routing

import (
	"errors"
	"slices"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/ring"
)

// Why a lookup ended without an owner.
var (
	ErrHopLimit = errors.New("hop limit reached")
	ErrStuck    = errors.New("nobody left to ask")
	// ErrNoTable: the process is in no ring, or is isolated.
	ErrNoTable = errors.New("in no ring")
)

// LookupTimeout bounds a lookup whose caller has set no deadline.
const LookupTimeout = 5 * time.Second

// maxOvertaken bounds the questions that a lookup has gone on without and still hears
// the answers of.
const maxOvertaken = 8

// MaxLease bounds how long the confirmation of an arc may answer lookups.
const MaxLease = time.Second

// Lease is how long the confirmation of an arc may answer lookups in a ring of that interval.
func Lease(interval time.Duration) time.Duration { return min(interval, MaxLease) }

// Recall is what memory knows of the owner of an identifier: the table, if the member
// itself is the owner, or the arc on which the identifier is, as far as known. Whether
// that arc may answer, Confirmed.Holds says. Both are nil in no ring, when the table is
// nil. Recall takes no lock, reads no clock and allocates nothing.
func Recall(t *Table, arcs *Arcs, id uint64) (own *Table, arc *Confirmed) {
	switch {
	case t == nil:
		return nil, nil
	case t.HasArc && t.Arc.Contains(id):
		return t, nil
	case arcs == nil:
		return nil, nil
	}
	return nil, arcs.Find(id)
}

// Knowledge is what a process knows at the instant at which a lookup takes a step.
type Knowledge struct {
	Now        time.Duration
	Table      *Table // nil: in no ring
	Arcs       *Arcs  // nil: none are kept
	Suspicions peer.Suspicions
	// Map, if not nil, tells whom the map of the ring has as the owner of an identifier,
	// however old that is; zero: nobody.
	Map func(id uint64) (ring.Member, ring.Arc)
	// RoundTrip, if not nil, tells how long a member takes to answer; 0: not known.
	RoundTrip func(ring.Member) time.Duration
	// Met, if not nil, tells whether a member has ever answered.
	Met func(ring.Member) bool
}

// Lookup finds the owner of an identifier, by asking. It is a machine without I/O: it
// is told what was answered and says what it wants next. Begin is first. Whoever
// carries it out tells it, at any time, of answers and failures; of patience that is
// over, by Overtake; and of a pause or a wait that is over, by Resume. Once it has said
// Found or GiveUp, nothing is to be told.
//
// A member has its own time for an answer, by how fast it answers. A lookup may have
// less. Then it waits for an answer for as long as its patience lasts and asks another
// member besides. An answer counts whenever it comes.
//
// A Lookup must not be copied.
type Lookup struct {
	id   uint64
	opts Options
	wait bool

	questions []Question
	room      [2]Question // of questions, mostly
	current   int         // the question that is waited for, -1 for none
	overtaken int         // questions gone on without that may still be answered
	search    *Search
	table     *Table // at which the search began
	failed    int    // questions of the search that had failed by then
	used      int    // the question whose answer was used last, -1 for none
	result    Answer
	source    Source

	verification *verification // nil: the lookup is not to be verified
}

// Source is where the owner that a lookup names comes from.
type Source uint8

const (
	OwnRange      Source = iota + 1 // the member's own arc
	ConfirmedArc                    // an arc confirmed of late
	SuccessorList                   // the member's own list, which suffices
	Asked                           // another member, asked during the lookup
	RingMap                         // the map of the ring
)

// Question is one that a lookup has asked.
type Question struct {
	Whom  ring.Member
	Query Query
	Why   Why
	// Shared: the answer to the same question by somebody else will do, unless it is
	// older than the lookup wants it.
	Shared bool
	// Joint: so will the answer to somebody else's question to the same member, about any
	// identifier, if Serves says so.
	Joint  bool
	State  QuestionState
	Answer Answer        // if it is Answered
	Gone   bool          // Failed: the member is known not to be there
	Sent   time.Duration // when it was sent; a shared one perhaps before it was wanted
	Took   time.Duration // how long it took, or was waited for

	wanted time.Duration // when it was asked for
}

// QuestionState is what has become of a question.
type QuestionState uint8

const (
	Waiting   QuestionState = iota // for its answer
	Overtaken                      // the lookup has gone on without the answer, which still counts
	Answered
	Failed
)

// Do is what a lookup wants done.
type Do uint8

const (
	// Ask: send the question, and wait for its answer.
	Ask Do = iota + 1
	// Await: wait for the answer to a question that has been sent.
	Await
	// Pause: wait for the time given, then call Resume.
	Pause
	// AwaitTable: wait for another table than the one that the lookup was told of
	// last, then call Resume.
	AwaitTable
	// Found: the lookup has ended. Result tells of it.
	Found
	// GiveUp: the lookup has ended without an owner.
	GiveUp
)

// Want is what a lookup wants next. The zero Want says that nothing is wanted but what
// was: to go on waiting.
type Want struct {
	Do       Do
	Question int           // of Ask and Await
	For      time.Duration // of Pause
	Err      error         // of GiveUp
}

// Reset makes l a lookup by what its options ask for; Begin is next. Lease is how long the
// confirmation of an arc may answer lookups: an answer that is not asked for is never older.
// Wait says that a lookup with nobody left to ask waits until the ring has mended.
func (l *Lookup) Reset(id uint64, opts Options, lease time.Duration, wait bool) {
	if !opts.Fresh {
		opts.Lenient = opts.MaxAge == 0
		if opts.Lenient || opts.MaxAge > lease {
			opts.MaxAge = lease
		}
	}
	*l = Lookup{id: id, opts: opts, wait: wait, current: -1, used: -1}
	l.questions = l.room[:0]
	if opts.Verified {
		l.verification = &verification{word: -1}
	}
}

// ID is the identifier whose owner is wanted.
func (l *Lookup) ID() uint64 { return l.id }

// Begin takes the first step: the owner of the arc that the identifier is on, as far
// as remembered or on the map, is asked first.
func (l *Lookup) Begin(k Knowledge) Want {
	if k.Table == nil {
		return Want{Do: GiveUp, Err: ErrNoTable}
	}
	if l.opts.Cold || l.opts.Verified {
		return l.begin(k)
	}
	if k.Arcs != nil {
		if c := k.Arcs.Find(l.id); c != nil && !k.Suspicions.Avoided(c.Owner, k.Now) {
			return l.askOwner(c.Owner, c.Arc, k.Now)
		}
	}
	if k.Map != nil {
		if x, arc := k.Map(l.id); !x.IsZero() && x.ID != k.Table.Self.ID && !k.Suspicions.Avoided(x, k.Now) {
			return l.askOwner(x, arc, k.Now)
		}
	}
	return l.begin(k)
}

// askOwner asks x, which is believed to own arc.
func (l *Lookup) askOwner(x ring.Member, arc ring.Arc, now time.Duration) Want {
	if !l.opts.Fresh {
		return l.ask(x, Query{ID: arc.To}, Remembered, true, now)
	}
	want := l.ask(x, Query{ID: l.id}, Remembered, false, now)
	l.questions[want.Question].Joint = true
	return want
}

// begin begins to search at what is known now.
func (l *Lookup) begin(k Knowledge) Want {
	if k.Table == nil {
		return Want{Do: GiveUp, Err: ErrNoTable}
	}
	avoid, rejected := k.Suspicions.Avoid(k.Now)
	opts := l.opts
	opts.Arcs, opts.RoundTrip, opts.Confirm, opts.Met = k.Arcs, k.RoundTrip, rejected, k.Met
	if l.verification != nil {
		opts = l.verification.options(opts)
		opts.Arcs, opts.Met = k.Arcs, nil // two have to name an owner, met or not
	}
	l.table, l.failed = k.Table, 0
	l.search = NewSearch(k.Table, l.id, opts, avoid, k.Now)
	l.source = ownSource(l.search)
	if l.verification != nil {
		l.search.asked = len(l.questions) // on other ways
	}
	for i := range l.questions { // the owner believed in was asked
		if q := &l.questions[i]; q.State != Answered {
			l.search.Failed(q.Whom, q.Gone)
			if !q.Gone {
				l.search.falls(q.Whom)
			}
		}
	}
	return l.next(k)
}

func (l *Lookup) ask(x ring.Member, query Query, why Why, shared bool, now time.Duration) Want {
	for i := range l.questions {
		if q := &l.questions[i]; q.State == Overtaken && q.Query.ID == query.ID && q.Whom == x {
			q.State = Waiting
			l.overtaken--
			l.current = i
			return Want{Do: Await, Question: i}
		}
	}
	l.current = len(l.questions)
	query.Avoid = slices.Clone(query.Avoid) // the search goes on to change it
	l.questions = append(l.questions, Question{Whom: x, Query: query, Why: why, Shared: shared, Sent: now, wanted: now})
	return Want{Do: Ask, Question: l.current}
}

// Joins reports whether the lookup may wait for the answer to somebody else's question,
// sent at that time to a member of that round trip, instead of asking itself: whether the
// answer will not be older by then than is wanted, as far as can be told.
func (l *Lookup) Joins(sent, now, roundTrip time.Duration) bool {
	return sent >= now || max(now-sent, roundTrip) <= l.opts.MaxAge
}

// Serves reports whether the answer to somebody else's question, sent at that time to the
// member of question i, which is Joint, is as good as one to question i: whether the owner
// itself names all of an arc that the identifier is on, and was asked after that was wanted.
func (l *Lookup) Serves(i int, a *Answer, sent time.Duration) bool {
	q := &l.questions[i]
	return a.Verdict == Mine && a.HasArc && a.Arc.Contains(l.id) && sent >= q.wanted
}

// Answer takes the answer to question i, sent when it was sent.
func (l *Lookup) Answer(i int, a Answer, sent time.Duration, k Knowledge) Want {
	q := &l.questions[i]
	if q.ended() {
		return Want{}
	}
	q.Sent = sent
	stale := q.Shared && q.Sent < q.wanted && k.Now-q.Sent > l.opts.MaxAge
	if stale && i == l.current {
		// Somebody else's question was under way for long. The next one begins now.
		q.Sent, q.wanted = k.Now, k.Now
		return Want{Do: Ask, Question: i}
	}
	late := l.end(i, Answered, k)
	q.Answer = a
	if v := l.verification; v != nil && v.word >= 0 {
		if i == v.word {
			return l.heardWord(k)
		}
		return Want{} // of a way that has ended
	}
	switch {
	case late && l.verification != nil && i < l.verification.began:
		return l.unused(k)
	case late && (stale || q.Query.ID != l.id && !l.owns(q)):
		return l.unused(k)
	case late:
		l.search.Late(q.Whom, a)
		l.used, l.source = i, Asked
		if l.current >= 0 && !l.search.Ended() {
			return Want{}
		}
		return l.next(k)
	case l.search != nil:
		l.search.Answered(a)
		l.used, l.source = i, Asked
		return l.next(k)
	case !l.owns(q), !k.Table.alone(l.id, q.Whom):
		return l.begin(k) // the owner believed in is not the owner, or somebody met is in between
	}
	l.result, l.used, l.source = a, i, Asked
	l.result.Owner, l.result.By = q.Whom, q.Whom
	return Want{Do: Found}
}

// Fail notes that question i is not answered: not in the time that the member asked
// has, or not at all. Gone says that the member is known not to be there.
func (l *Lookup) Fail(i int, gone bool, k Knowledge) Want {
	q := &l.questions[i]
	if q.ended() {
		return Want{}
	}
	late := l.end(i, Failed, k)
	q.Gone = gone
	if v := l.verification; v != nil && v.word >= 0 {
		if i == v.word {
			return l.heardWord(k)
		}
		return Want{}
	}
	switch {
	case late:
		if gone {
			l.search.Failed(q.Whom, true)
		}
		return l.unused(k)
	case l.search == nil:
		return l.begin(k)
	}
	// A legacy member does a whole lookup when it is asked: that it did not answer in
	// time is no reason to make it do another.
	l.search.Silent(gone || q.Whom.Legacy())
	return l.next(k)
}

// unused goes on after a question has ended that the lookup had gone on without, and
// by which nothing is known. If it was the last hope, the lookup ends.
func (l *Lookup) unused(k Knowledge) Want {
	if l.current < 0 && l.overtaken == 0 && !l.wait {
		return l.next(k)
	}
	return Want{}
}

func (q *Question) ended() bool { return q.State == Answered || q.State == Failed }

// end notes what became of question i, and reports whether the lookup had gone on
// without it.
func (l *Lookup) end(i int, state QuestionState, k Knowledge) (late bool) {
	q := &l.questions[i]
	if late = q.State == Overtaken; late {
		l.overtaken--
	}
	q.State = state
	q.Took = k.Now - q.Sent
	if i == l.current {
		l.current = -1
	}
	return late
}

// Overtake goes on without the answer that is waited for: the patience is over.
func (l *Lookup) Overtake(k Knowledge) Want {
	if l.current < 0 {
		return Want{}
	}
	if v := l.verification; v != nil && v.word >= 0 {
		return Want{Do: Await, Question: v.word} // nobody else can say it
	}
	q := &l.questions[l.current]
	q.State, q.Took = Overtaken, k.Now-q.Sent
	l.current = -1
	if l.overtaken == maxOvertaken {
		q.State = Failed // its answer does not count any more
	} else {
		l.overtaken++
	}
	if l.search == nil {
		return l.begin(k)
	}
	l.search.Silent(q.Whom.Legacy())
	return l.next(k)
}

// Resume goes on after a pause, or when there is another table.
func (l *Lookup) Resume(k Knowledge) Want { return l.next(k) }

// next is what the search wants.
func (l *Lookup) next(k Knowledge) Want {
	for {
		switch step, x := l.search.Next(); step {
		case Done:
			if l.verification != nil {
				return l.endWay(k)
			}
			l.result = l.search.Result()
			if l.used >= 0 { // whoever was between had to be asked first
				l.result.Age += max(0, k.Now-l.questions[l.used].Sent-l.questions[l.used].Took)
			}
			return Want{Do: Found}
		case AskNext:
			return l.ask(x, l.search.Query(), l.search.Why(), false, k.Now)
		case Exceeded:
			return Want{Do: GiveUp, Err: ErrHopLimit}
		case Stuck:
			if want, again := l.stuck(k); !again {
				return want
			}
		}
	}
}

// stuck is what a search wants that has nobody left to ask. It reports true if the search
// has begun again.
func (l *Lookup) stuck(k Knowledge) (want Want, again bool) {
	second := l.verification != nil && len(l.verification.ways) > 0
	if l.wait && (!second || l.search.Unanswered() > 0) {
		if d, ok := l.search.Retry(); ok {
			return Want{Do: Pause, For: d}, false
		}
	}
	if second {
		return l.lost(k), false
	}
	// If what the process knows has changed, or somebody was found silent, begin again
	// at what is known now; otherwise wait until the ring has mended.
	if k.Table == l.table && l.failed == l.search.Unanswered() {
		if !l.wait && l.overtaken == 0 {
			return Want{Do: GiveUp, Err: ErrStuck}, false
		}
		return Want{Do: AwaitTable}, false
	}
	if k.Table == nil {
		return Want{Do: GiveUp, Err: ErrNoTable}, false
	}
	l.search.Restart(k.Table, k.Table != l.table, k.Now)
	l.used, l.source = -1, ownSource(l.search)
	l.table, l.failed = k.Table, l.search.Unanswered()
	return Want{}, true
}

// ownSource is the source of an answer that a search which has just begun has at once.
func ownSource(s *Search) Source {
	if s.Result().Verdict == Mine {
		return OwnRange
	}
	return SuccessorList
}

// owns reports whether the member asked has answered that the identifier is its own.
func (l *Lookup) owns(q *Question) bool {
	if q.Answer.HasArc {
		return q.Answer.Verdict == Mine && q.Answer.Arc.Contains(l.id)
	}
	return q.Answer.Verdict == Mine && l.id == q.Whom.ID
}

// Result is the answer of a lookup that has ended with Found. Its Age, if it has an
// arc, counts from the instant that the certainty is of.
func (l *Lookup) Result() (Answer, Source) {
	a := l.result
	if l.used >= 0 {
		a.Age += l.questions[l.used].Took
	}
	return a, l.source
}

// Table is the table at which the lookup has begun to search last, nil if it has not.
func (l *Lookup) Table() *Table { return l.table }

// Questions lists those asked, in their order. The slice is valid until the next step.
func (l *Lookup) Questions() []Question { return l.questions }
