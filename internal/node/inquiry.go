package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// maxHurried bounds the questions, of all lookups, that can outlast their lookup. One
// more ends with its lookup, and nothing is found out about the member asked.
const maxHurried = 64

// errLate is of a question that had no answer yet when the lookup went on.
var errLate = &protocol.Failure{Kind: protocol.TimedOut, Detail: "no answer yet"}

// errGivenUp is of a question that had no answer yet when the caller's time was over.
var errGivenUp = &protocol.Failure{Kind: protocol.Cancelled, Detail: "the caller gave up before there was an answer"}

// errStopping is of a question that the finder does not ask any more.
var errStopping = &protocol.Failure{Kind: protocol.Cancelled, Detail: "the member is stopping"}

// inquiry carries out one lookup: routing.Lookup says what is to be done, and the
// inquiry asks and waits.
type inquiry struct {
	fd       *Finder
	ctx      context.Context
	deadline time.Time          // of the lookup
	cancel   context.CancelFunc // nil: ctx does not end by the lookup's time yet
	tells    bool               // its result, too, says who was asked
	lookup   routing.Lookup
	snap     *Snapshot // that the lookup was told of last

	asked   []inquired    // for each question of the lookup
	room    [2]inquired   // of asked, mostly
	arrived chan arrival  // questions that were gone on without and have ended; made for the first
	over    chan struct{} // closed at the end of the lookup; made with arrived
}

// inquired is what the inquiry knows of a question.
type inquired struct {
	flight *flight
	err    error
	heard  bool // its end will be told by arrived
}

// arrival is the end of a question that was gone on without.
type arrival struct {
	question int
	flight   *flight
}

// inquiries are those of lookups that are over: one is large.
var inquiries = sync.Pool{New: func() any { return new(inquiry) }}

// release gives q back, of which nobody knows any longer.
func (q *inquiry) release() {
	q.fd, q.ctx, q.deadline, q.cancel, q.snap = nil, nil, time.Time{}, nil, nil
	q.asked, q.room, q.arrived, q.over = nil, [2]inquired{}, nil, nil
	q.lookup.Reset(0, routing.Options{}, 0, false)
	inquiries.Put(q)
}

func (q *inquiry) run() (Result, error) {
	q.asked = q.room[:0]
	defer func() {
		if q.over != nil {
			close(q.over)
		}
		if q.cancel != nil {
			q.cancel()
		}
	}()
	want := q.lookup.Begin(q.knowledge())
	for {
		var err error
		switch want.Do {
		case routing.Ask:
			want, err = q.ask(want.Question)
		case routing.Await:
			want, err = q.await(want.Question)
		case routing.Pause:
			want, err = q.pause(want.For)
		case routing.AwaitTable:
			want, err = q.awaitTable()
		case routing.Found:
			a, source := q.lookup.Result()
			r := Result{Answer: a, Source: source}
			if q.tells {
				r.Hops = q.hops()
			}
			return r, nil
		case routing.GiveUp:
			err = want.Err
		}
		if err != nil {
			return Result{}, q.failed(err)
		}
	}
}

// failed is the error of a lookup that ends with err.
func (q *inquiry) failed(err error) error {
	if errors.Is(err, routing.ErrNoTable) {
		return q.fd.outside()
	}
	return &LookupError{ID: q.lookup.ID(), Hops: q.hops(), Err: err}
}

// knowledge is what the finder knows now.
func (q *inquiry) knowledge() routing.Knowledge {
	fd := q.fd
	q.snap = fd.snap.Load()
	return routing.Knowledge{
		Now: fd.now(), Table: q.snap.Table, Arcs: fd.arcs, Suspicions: fd.peers.suspicions(), RoundTrip: fd.roundTrip, Met: fd.isMet,
		Map: fd.believes,
	}
}

// hops tells of everybody that was asked.
func (q *inquiry) hops() []Hop {
	questions := q.lookup.Questions()
	if len(questions) == 0 {
		return nil
	}
	out := make([]Hop, len(questions))
	for i, x := range questions {
		hop := Hop{Member: x.Whom, Why: x.Why, Answer: x.Answer, Took: x.Took}
		switch x.State {
		case routing.Answered:
		case routing.Overtaken:
			hop.Err = errLate
		case routing.Waiting:
			hop.Err = errGivenUp
			hop.Took = q.fd.now() - x.Sent
		case routing.Failed:
			hop.Err = errLate
			if err := q.asked[i].err; err != nil {
				hop.Err = err
			}
		}
		out[i] = hop
	}
	return out
}

// patience is how long the lookup waits for one answer before it goes on.
func (q *inquiry) patience() time.Duration { return peer.Patience(time.Until(q.deadline)) }

// bound has the context end by the lookup's time. A question whose answer is awaited
// where it is asked has less time of its own, and needs no timer besides.
func (q *inquiry) bound() {
	if q.cancel == nil {
		q.ctx, q.cancel = context.WithDeadline(q.ctx, q.deadline)
	}
}

// ask puts question i and waits for its answer.
func (q *inquiry) ask(i int) (routing.Want, error) {
	fd := q.fd
	for len(q.asked) <= i {
		q.asked = append(q.asked, inquired{})
	}
	x := q.lookup.Questions()[i]
	var f *flight
	switch {
	case x.Shared:
		q.bound()
		trip := fd.peers.of(x.Whom.Addr).RoundTrip()
		f = fd.board(q.ctx, x.Whom, x.Query.ID, func(sent, now time.Duration) bool { return q.lookup.Joins(sent, now, trip) })
	case q.arrived == nil && fd.peers.routeTimeout(x.Whom.Addr) <= q.patience():
		// Nothing else can happen meanwhile.
		if x.Joint {
			return q.askJointly(i, &x)
		}
		sent := fd.now()
		a, err := fd.route(q.ctx, x.Whom, x.Query)
		return q.tell(i, a, err, sent)
	default:
		q.bound()
		f = fd.launch(q.ctx, x.Whom, x.Query)
	}
	if f == nil {
		return q.tell(i, routing.Answer{}, errStopping, fd.now())
	}
	q.asked[i] = inquired{flight: f}
	return q.await(i)
}

// await waits for question i, which was asked, until the patience is over, for an
// answer to another that the lookup has use for, or for the end of the context.
func (q *inquiry) await(i int) (routing.Want, error) {
	q.bound()
	f := q.asked[i].flight
	timer := time.NewTimer(q.patience())
	defer timer.Stop()
	for {
		select {
		case <-f.done:
			return q.end(i)
		case a := <-q.arrived:
			if want, err := q.hearEnd(a); err != nil || want.Do != 0 {
				q.hear(i)
				return want, err
			}
		case <-timer.C:
			q.hear(i)
			return q.lookup.Overtake(q.knowledge()), nil
		case <-q.ctx.Done():
			return routing.Want{}, q.ctx.Err()
		}
	}
}

// hear has the end of question i told by arrived: the lookup goes on without it.
func (q *inquiry) hear(i int) {
	if q.asked[i].heard {
		return
	}
	q.asked[i].heard = true
	if q.arrived == nil {
		q.arrived, q.over = make(chan arrival), make(chan struct{})
	}
	arrived, over, f := q.arrived, q.over, q.asked[i].flight
	q.fd.boarding.Lock()
	defer q.fd.boarding.Unlock()
	if q.fd.ended {
		return
	}
	q.fd.wg.Go(func() {
		select {
		case <-f.done:
		case <-over:
			return
		}
		select {
		case arrived <- arrival{i, f}:
		case <-over:
		}
	})
}

// end tells the lookup what has become of question i.
func (q *inquiry) end(i int) (routing.Want, error) {
	f := q.asked[i].flight
	return q.tell(i, f.answer, f.err, f.sent)
}

// hearEnd is end of a question that was gone on without. It may have been put again.
func (q *inquiry) hearEnd(a arrival) (routing.Want, error) {
	if q.asked[a.question].flight != a.flight {
		return routing.Want{}, nil
	}
	return q.end(a.question)
}

func (q *inquiry) tell(i int, a routing.Answer, err error, sent time.Duration) (routing.Want, error) {
	if err == nil {
		return q.lookup.Answer(i, a, sent, q.knowledge()), nil
	}
	q.asked[i].err = err
	want := q.lookup.Fail(i, gone(failure(err)), q.knowledge())
	return want, q.ctx.Err()
}

// pause waits for d, or for an answer that the lookup has gone on without.
func (q *inquiry) pause(d time.Duration) (routing.Want, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	return q.wait(timer.C, nil)
}

// awaitTable waits until there is a newer snapshot than the lookup knows, or for an
// answer that it has gone on without.
func (q *inquiry) awaitTable() (routing.Want, error) {
	fd := q.fd
	fd.waits.Add(1)
	defer fd.waits.Add(-1)
	if fd.stuck != nil {
		fd.stuck()
	}
	return q.wait(nil, q.snap.Next)
}

func (q *inquiry) wait(timer <-chan time.Time, news <-chan struct{}) (routing.Want, error) {
	q.bound()
	for {
		select {
		case <-timer:
			return q.lookup.Resume(q.knowledge()), nil
		case <-news:
			return q.lookup.Resume(q.knowledge()), nil
		case a := <-q.arrived:
			if want, err := q.hearEnd(a); err != nil || want.Do != 0 {
				return want, err
			}
			if news != nil {
				news = q.snap.Next // of which the lookup knows by now
			}
		case <-q.ctx.Done():
			return routing.Want{}, q.ctx.Err()
		case <-q.fd.ctx.Done():
			return routing.Want{}, ErrClosed
		}
	}
}

// flight is a question under way, for all who want to know the same.
type flight struct {
	sent   time.Duration
	done   chan struct{} // closed when the rest is set
	answer routing.Answer
	err    error
}

// launch asks x on a goroutine of its own, for as long as x may take, though ctx may
// end before. It returns nil if the finder is closed.
func (fd *Finder) launch(ctx context.Context, x ring.Member, query routing.Query) *flight {
	fd.boarding.Lock()
	defer fd.boarding.Unlock()
	if fd.ended {
		return nil
	}
	f := &flight{sent: fd.now(), done: make(chan struct{})}
	var bound context.Context = asking{fd.ctx, ctx}
	if fd.hurried >= maxHurried {
		bound = ctx
	}
	fd.hurried++
	fd.wg.Go(func() {
		f.answer, f.err = fd.route(bound, x, query)
		fd.boarding.Lock()
		fd.hurried--
		fd.boarding.Unlock()
		close(f.done)
	})
	return f
}

// board returns the flight to the owner of an arc that ends at id, nil if the finder
// is closed. It is one that is under way, if joins, given when that was sent and the time
// now, allows it. Of a new one an Observer is told with the values of ctx.
func (fd *Finder) board(ctx context.Context, owner ring.Member, id uint64, joins func(sent, now time.Duration) bool) *flight {
	fd.boarding.Lock()
	defer fd.boarding.Unlock()
	if fd.ended {
		return nil
	}
	instance := owner.Instance()
	now := fd.now()
	if f := fd.flights[instance]; f != nil && joins(f.sent, now) {
		return f
	}
	f := &flight{sent: now, done: make(chan struct{})}
	fd.flights[instance] = f
	bound := fd.ctx
	if fd.observer.Request != nil {
		bound = asking{fd.ctx, ctx}
	}
	fd.wg.Go(func() {
		f.answer, f.err = fd.route(bound, owner, routing.Query{ID: id})
		fd.boarding.Lock()
		if fd.flights[instance] == f {
			delete(fd.flights, instance)
		}
		fd.boarding.Unlock()
		close(f.done)
	})
	return f
}
