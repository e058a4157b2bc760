package node

import (
	"context"
	"time"

	"github.com/ollelogdahl/concord/internal/peer"
	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// Bounds on questions that outlast the patience of a lookup.
const (
	// maxOvertaken is how many of one lookup it still hears.
	maxOvertaken = 8
	// maxHurried is how many of all lookups can outlast them. One more ends with
	// its lookup, and nothing is found out about the member asked.
	maxHurried = 64
)

// errLate is of a question that had no answer yet when the lookup went on.
var errLate = &protocol.Failure{Kind: protocol.TimedOut, Detail: "no answer yet"}

// errGivenUp is of a question that had no answer yet when the caller's time was over.
var errGivenUp = &protocol.Failure{Kind: protocol.Cancelled, Detail: "the caller gave up before there was an answer"}

// inquiry is one lookup: the questions that it has asked.
//
// A member has its own time for an answer, by how fast it answers. A lookup may have
// less time than that. Then it waits for one answer until half of its time is over
// and asks another member besides. It still hears the first: an answer counts
// whenever it comes. Whether the first is under suspicion depends on its own time.
type inquiry struct {
	fd   *Finder
	ctx  context.Context // with a deadline
	id   uint64
	hops []Hop

	open    int            // questions overtaken that are still heard
	late    []overtaken    // those, and those heard
	arrived chan overtaken // gets them when they have ended; made for the first
}

// overtaken is a question that had no answer yet when the lookup went on.
type overtaken struct {
	*flight
	hop  int
	most time.Duration // how long it may have been under way to be of use; 0: any time
}

// owns reports whether x has answered that the identifier is its own.
func (q *inquiry) owns(x ring.Member, a routing.Answer) bool {
	if a.HasArc {
		return a.Verdict == routing.Mine && a.Arc.Contains(q.id)
	}
	return a.Verdict == routing.Mine && q.id == x.ID
}

// result is the lookup's, of the answer of hop h, by the owner itself.
func (q *inquiry) result(h int) Result {
	hop := q.hops[h]
	r := Result{Answer: hop.Answer, Source: Asked, Hops: q.hops}
	r.Owner, r.By = hop.Member, hop.Member
	r.Age += hop.Took
	return r
}

// patience is how long the lookup waits for one answer before it goes on.
func (q *inquiry) patience() time.Duration {
	end, _ := q.ctx.Deadline()
	return peer.Patience(time.Until(end))
}

// ask asks x and waits for its answer, and returns the hop that says what became of
// it. If s is not nil, answers to earlier questions that come meanwhile go to it. If
// one of them ends the search, late is true and the hop is that of this answer.
func (q *inquiry) ask(x ring.Member, query routing.Query, why routing.Why, s *routing.Search) (hop int, late bool) {
	fd := q.fd
	patience := q.patience()
	for _, o := range q.late {
		if o.id == query.ID && q.hops[o.hop].Member == x && q.hops[o.hop].Err == errLate {
			return q.await(o, patience, s)
		}
	}
	h := len(q.hops)
	sent := time.Now()
	q.hops = append(q.hops, Hop{Member: x, Why: why})
	if q.open == 0 && fd.peers.routeTimeout(x.Addr) <= patience {
		hop := &q.hops[h]
		hop.Answer, hop.Err = fd.route(q.ctx, x, query)
		hop.Took = time.Since(sent)
		return h, false
	}
	f := fd.launch(q.ctx, x, query)
	if f == nil {
		q.hops[h].Err = &protocol.Failure{Kind: protocol.Cancelled, Detail: "the member is stopping"}
		return h, false
	}
	return q.await(overtaken{flight: f, hop: h}, patience, s)
}

// launch asks x on a goroutine of its own, for as long as x may take, though ctx may
// end before. It returns nil if the finder is closed.
func (fd *Finder) launch(ctx context.Context, x ring.Member, query routing.Query) *flight {
	fd.boarding.Lock()
	defer fd.boarding.Unlock()
	if fd.ended {
		return nil
	}
	f := &flight{id: query.ID, sent: time.Now(), done: make(chan struct{})}
	var bound context.Context = asking{fd.ctx, ctx}
	if fd.hurried >= maxHurried {
		bound = ctx
	}
	fd.hurried++
	query.Avoid = append([]ring.Life(nil), query.Avoid...) // the search goes on to change it
	fd.wg.Go(func() {
		f.answer, f.err = fd.route(bound, x, query)
		fd.boarding.Lock()
		fd.hurried--
		fd.boarding.Unlock()
		close(f.done)
	})
	return f
}

// await waits for a question that was asked, as ask does.
func (q *inquiry) await(o overtaken, patience time.Duration, s *routing.Search) (hop int, late bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-o.done:
			q.note(o)
			return o.hop, false
		case other := <-q.arrived:
			if other.hop == o.hop {
				q.open--
				q.note(o)
				return o.hop, false
			}
			if q.arrive(other, s) && s.Ended() {
				q.overtake(o)
				return other.hop, true
			}
		case <-timer.C:
			q.overtake(o)
			return o.hop, false
		case <-q.ctx.Done():
			q.hops[o.hop].Err, q.hops[o.hop].Took = errGivenUp, time.Since(o.sent)
			return o.hop, false
		}
	}
}

// note writes down what became of a question.
func (q *inquiry) note(o overtaken) {
	hop := &q.hops[o.hop]
	hop.Answer, hop.Err, hop.Took = o.answer, o.err, time.Since(o.sent)
}

// overtake goes on without the answer to a question, which still counts when it
// comes.
func (q *inquiry) overtake(o overtaken) {
	fd := q.fd
	q.hops[o.hop].Err, q.hops[o.hop].Took = errLate, time.Since(o.sent)
	for _, known := range q.late {
		if known.hop == o.hop {
			return
		}
	}
	fd.boarding.Lock()
	defer fd.boarding.Unlock()
	if fd.ended || len(q.late) >= maxOvertaken {
		return
	}
	if q.arrived == nil {
		q.arrived = make(chan overtaken, maxOvertaken)
	}
	q.late = append(q.late, o)
	q.open++
	arrived := q.arrived
	fd.wg.Go(func() {
		<-o.done
		arrived <- o // there is room for all
	})
}

// arrive gives the search an answer that it had gone on without, and reports
// whether the search used it. A zero o is nothing.
func (q *inquiry) arrive(o overtaken, s *routing.Search) bool {
	if o.flight == nil {
		return false
	}
	q.open--
	if q.hops[o.hop].Err != errLate {
		return false // it was waited for again
	}
	q.note(o)
	hop := q.hops[o.hop]
	switch {
	case s == nil:
		return false
	case o.err != nil:
		if gone(failure(o.err)) {
			s.Failed(hop.Member, true)
		}
		return false
	case o.most > 0 && hop.Took > o.most:
		return false
	case o.id != q.id && !q.owns(hop.Member, hop.Answer):
		return false // it was asked about another identifier
	}
	s.Late(hop.Member, hop.Answer)
	return true
}

// askShared asks the owner of an arc about it. Those who want its word at the same
// time share one request, unless what it brings would be older than age by then.
func (q *inquiry) askShared(c *routing.Confirmed, age time.Duration) int {
	h := len(q.hops)
	q.hops = append(q.hops, Hop{Member: c.Owner, Why: routing.Remembered})
	patience := time.NewTimer(q.patience())
	defer patience.Stop()
	for began := time.Now(); ; {
		f := q.fd.board(q.ctx, c)
		if f == nil {
			q.hops[h].Err = &protocol.Failure{Kind: protocol.Cancelled, Detail: "the member is stopping"}
			return h
		}
		old := f.sent.Before(began)
		select {
		case <-f.done:
			if f.err == nil && old && time.Since(f.sent) > age {
				continue // it was under way for long; the next begins now
			}
			q.note(overtaken{flight: f, hop: h})
			return h
		case <-patience.C:
			o := overtaken{flight: f, hop: h}
			if old {
				o.most = age
			}
			q.overtake(o)
			return h
		case <-q.ctx.Done():
			q.hops[h].Err, q.hops[h].Took = errGivenUp, time.Since(f.sent)
			return h
		}
	}
}

// pause waits for d, or for an answer that is late.
func (q *inquiry) pause(d time.Duration) (late overtaken, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case late = <-q.arrived:
	case <-q.ctx.Done():
		err = q.ctx.Err()
	case <-q.fd.ctx.Done():
		err = ErrClosed
	}
	return late, err
}

// awaitNews waits until there is a newer snapshot than snap, or an answer that is
// late.
func (q *inquiry) awaitNews(snap *Snapshot) (late overtaken, err error) {
	fd := q.fd
	fd.waits.Add(1)
	defer fd.waits.Add(-1)
	if fd.stuck != nil {
		fd.stuck()
	}
	select {
	case <-snap.Next:
	case late = <-q.arrived:
	case <-q.ctx.Done():
		err = q.ctx.Err()
	case <-fd.ctx.Done():
		err = ErrClosed
	}
	return late, err
}
