package node

import (
	"runtime"
	"sync"
	"time"

	"github.com/ollelogdahl/concord/internal/protocol"
	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// joint is how lookups that want to hear an owner itself, at the same time, ask it once: the
// first to come lets those join it that come before its question is sent, and asks for all.
// Nobody waits for a question that has been sent before, and nobody for others to come,
// longer than it takes to let goroutines go first that can run.
type joint struct {
	mu      sync.Mutex
	parties map[ring.Instance]party
	spare   *jointQuestion // nobody knows of
}

// party is the lookups that want the word of one member now.
type party struct {
	size int            // how many they are
	next *jointQuestion // that they can join; nil: there is none
}

// jointQuestion is one that is asked for several lookups.
type jointQuestion struct {
	done   chan struct{} // closed when the rest is set; nil: nobody has joined
	answer routing.Answer
	err    error
	sent   time.Duration
	void   bool // whoever asked has given up, and nothing is known
}

// enter has a lookup want the word of x. It joins the question that it is returned, unless it
// leads: then it is to ask that itself, after depart, for those that have joined by then. A
// lookup that has x for itself leads, with no question that others could join.
func (j *joint) enter(x ring.Instance) (q *jointQuestion, leads bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.parties == nil {
		j.parties = make(map[ring.Instance]party)
	}
	p := j.parties[x]
	p.size++
	switch {
	case p.next != nil:
		if p.next.done == nil {
			p.next.done = make(chan struct{})
		}
	case p.size > 1:
		leads = true
		if p.next, j.spare = j.spare, nil; p.next == nil {
			p.next = new(jointQuestion)
		}
	default:
		leads = true
	}
	j.parties[x] = p
	return p.next, leads
}

// depart says that nobody can join q any more. It returns nil if nobody has.
func (j *joint) depart(x ring.Instance, q *jointQuestion) *jointQuestion {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.parties[x]
	p.next = nil
	j.parties[x] = p
	if q.done == nil {
		j.spare = q
		return nil
	}
	return q
}

// leave has a lookup not want the word of x any more.
func (j *joint) leave(x ring.Instance) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.parties[x]
	if p.size--; p.size == 0 {
		delete(j.parties, x)
		return
	}
	j.parties[x] = p
}

// askJointly puts question i, which is x, and waits for its answer, or for that of another
// lookup's that serves as well.
func (q *inquiry) askJointly(i int, x *routing.Question) (routing.Want, error) {
	fd, to := q.fd, x.Whom.Instance()
	shared, leads := fd.joint.enter(to)
	defer fd.joint.leave(to)
	if !leads {
		select {
		case <-shared.done:
		case <-q.ctx.Done():
			return q.tell(i, routing.Answer{}, errGivenUp, fd.now())
		}
		switch {
		case shared.void:
		case shared.err != nil:
			return q.tell(i, routing.Answer{}, shared.err, shared.sent)
		case q.lookup.Serves(i, &shared.answer, shared.sent):
			return q.tell(i, shared.answer, nil, shared.sent)
		}
		shared = nil
	}
	if shared != nil {
		runtime.Gosched()
		shared = fd.joint.depart(to, shared)
	}
	sent := fd.now()
	a, err := fd.route(q.ctx, x.Whom, x.Query)
	if shared != nil {
		shared.answer, shared.err, shared.sent = a, err, sent
		shared.void = err != nil && (failure(err).Kind == protocol.Cancelled || over(q.ctx))
		close(shared.done)
	}
	return q.tell(i, a, err, sent)
}
