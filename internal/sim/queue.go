package sim

import "time"

// event is something that is going to happen. What its fields mean depends on
// the kind.
type event struct {
	gen  uint32 // of the call or lookup in slot, or the start of the host
	host int32
	slot int32
	kind eventKind
}

type eventKind uint8

const (
	evTick      eventKind = iota + 1 // a machine's wake-up
	evRequest                        // a call arrives
	evReply                          // the answer to a call arrives
	evTimeout                        // the time of a call is over
	evBroken                         // host hears that a connection to slot broke
	evFingers                        // a host's turn to tend its fingers
	evErrand                         // it is to tend them before that
	evJoin                           // a host tries to join
	evJoinLimit                      // the time of its Join is over
	evResume                         // a lookup goes on at a newer table
	evImpatient                      // a lookup has waited long enough for one answer
	evGiveUp                         // the time of a lookup is over
	evConfirm                        // a host looks which arcs are due
	evSeek                           // a client's turn to ask for a way into the ring
	evLoad                           // the next lookup of the load
	evAction                         // action slot begins
	evActionEnd                      // action slot ends
	evStart                          // a process starts
	evStop                           // a process that leaves has waited long enough
	evSession                        // a member's session is over
	evMap                            // the time of a member's map
	evLie                            // a hostile member's turn
	evLook                           // a look at which points have an owner
	evTaken                          // the program of a joiner has taken over
	evTakenLate                      // the joiner does not wait for it any longer
	evStand                          // a process whose weight has changed takes its next step
	evBack                           // a process that has left to return starts again
	evStandIn                        // who is stood in for should be back
)

// Queue gives events in the order of their times, and of two at one time first the one
// that was put in first. It is a heap of four children a node, which is shallower than one
// of two and keeps children in a cache line or two. The zero Queue is empty.
type Queue[E any] struct {
	heap []entry[E]
	seq  uint64
}

type entry[E any] struct {
	at    time.Duration
	seq   uint64
	event E
}

func (e *entry[E]) before(o *entry[E]) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// Due reports whether there is an event that happens until a time.
func (q *Queue[E]) Due(until time.Duration) bool { return len(q.heap) > 0 && q.heap[0].at <= until }

// Push puts in an event that happens at a time.
func (q *Queue[E]) Push(at time.Duration, event E) {
	q.seq++
	e := entry[E]{at, q.seq, event}
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

// Pop takes out the first event, which must be there.
func (q *Queue[E]) Pop() (at time.Duration, event E) {
	first := q.heap[0]
	n := len(q.heap) - 1
	e := q.heap[n]
	q.heap = q.heap[:n]
	if n > 0 {
		q.sink(e)
	}
	return first.at, first.event
}

// sink puts e in the place of the first, and moves up what comes before it.
func (q *Queue[E]) sink(e entry[E]) {
	i, n := 0, len(q.heap)
	for 4*i+1 < n {
		best := 4*i + 1
		for c := best + 1; c < min(4*i+5, n); c++ {
			if q.heap[c].before(&q.heap[best]) {
				best = c
			}
		}
		if !q.heap[best].before(&e) {
			break
		}
		q.heap[i] = q.heap[best]
		i = best
	}
	q.heap[i] = e
}
